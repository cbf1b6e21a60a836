//! Clouds on this computer, as the command finds real ones: over the wire, by its environment and its spec's sites. For
//! each machine that one of them runs there is a node: the agent's own code from its first call home on, with containers
//! that only say that they run.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_engine_model::id::ResourceHandle;
use isobar_node_image_agent::clock::BootClock;
use isobar_node_image_agent::identity;
use isobar_node_image_agent::metrics::MachineUsage;
use isobar_node_image_agent::node::Node;
use isobar_node_image_agent::supervisor::simulated::SimulatedRuntime;
use isobar_providers_sim::{MachineChange, SimCloud, SimConfig, SimMachine};
use isobar_tests_clouds::world::{Cloud, World};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How machines see the computer that they run on, by default.
const HOST_SEEN_BY_GUESTS: &str = "10.0.2.2";
/// How everybody on this computer does.
const LOOPBACK: &str = "127.0.0.1";

/// AWS, Azure and GCP with nodes on their machines, for as long as this lives.
pub struct Emulated {
    /// What answers.
    pub world: World,
    // Before the folder, which they write to.
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Emulated {
    /// Opens all three, which never fail by themselves, but for what `change` changes.
    ///
    /// # Panics
    ///
    /// When loopback has no free ports.
    pub fn open(change: impl Fn(Cloud, SimConfig) -> SimConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let world = runtime
            .block_on(World::serve(folder.path(), change))
            .expect("loopback has free ports");
        for cloud in Cloud::ALL {
            runtime.spawn(populate(world.cloud(cloud).clone()));
        }
        Self {
            world,
            _runtime: runtime,
            _folder: folder,
        }
    }

    /// How many machines there really are in a cloud.
    pub fn machines(&self, cloud: Cloud) -> usize {
        self.world.cloud(cloud).machines().len()
    }
}

/// Runs a node for each machine of a cloud.
async fn populate(cloud: SimCloud) {
    let mut events = cloud.events();
    let mut nodes: BTreeMap<ResourceHandle, JoinHandle<()>> = BTreeMap::new();
    loop {
        let event = events.next().await;
        match event.change {
            MachineChange::Made => {}
            MachineChange::Running => {
                if let Some(node) = cloud.machine(&event.handle).and_then(|machine| node_of(&machine)) {
                    let (cloud, handle) = (cloud.clone(), event.handle.clone());
                    let life = async move {
                        node.live().await;
                        cloud.power_off(&handle);
                    };
                    nodes.insert(event.handle, tokio::spawn(life));
                }
            }
            MachineChange::Stopped | MachineChange::Gone => {
                if let Some(life) = nodes.remove(&event.handle) {
                    life.abort();
                }
            }
        }
    }
}

/// Absent: it was not made by an engine.
fn node_of(machine: &SimMachine) -> Option<Node> {
    let mut home = identity::parse(&machine.identity.0).ok()?;
    for engine in &mut home.engines {
        *engine = engine.replace(HOST_SEEN_BY_GUESTS, LOOPBACK);
    }
    Some(Node {
        dial: Arc::new(home.clone()),
        home,
        runtime: Arc::new(SimulatedRuntime::default()),
        clock: Arc::new(BootClock),
        on_joined: Box::new(|| {}),
        usage: MachineUsage::default,
        random: Box::new(|| 0),
    })
}
