//! The node of a machine that boots nothing: the agent's own code from its first call home on, with containers that only
//! say that they run. Called for each machine that a cloud on this computer says it runs.

use std::future::pending;
use std::sync::Arc;

use isobar_node_image_agent::clock::BootClock;
use isobar_node_image_agent::credentials::NodeKey;
use isobar_node_image_agent::identity::{self, Born};
use isobar_node_image_agent::metrics::MachineUsage;
use isobar_node_image_agent::node::Node;
use isobar_node_image_agent::supervisor::simulated::SimulatedRuntime;

/// How machines see the computer that they run on, by default.
const HOST_SEEN_BY_GUESTS: &str = "10.0.2.2";
/// How everybody on this computer does.
const LOOPBACK: &str = "127.0.0.1";

/// The node that reads this identity. Absent: no engine wrote it, or the system gives no random bytes.
pub fn node(identity: &[u8]) -> Option<Node> {
    let mut home = identity::parse(identity).and_then(Born::node).ok()?;
    for engine in &mut home.engines {
        *engine = engine.replace(HOST_SEEN_BY_GUESTS, LOOPBACK);
    }
    Some(Node {
        dial: Arc::new(home.clone()),
        home,
        key: NodeKey::generate().ok()?,
        runtime: Arc::new(SimulatedRuntime::default()),
        clock: Arc::new(BootClock),
        stopped: Box::pin(pending()),
        on_joined: Box::new(|| {}),
        usage: MachineUsage::default,
        random: Box::new(|| 0),
    })
}
