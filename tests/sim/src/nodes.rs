//! Simulated nodes: one for each machine of ours that the cloud runs. Each is the real agent's node (its life, session,
//! supervisor and lease) with containers, clock and way home that are simulated. They outlive engines.

mod containers;
mod road;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::node::Peer;
use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId, ResourceHandle};
use isobar_node_image_agent::clock::Clock;
use isobar_node_image_agent::credentials::NodeKey;
use isobar_node_image_agent::identity::Home;
use isobar_node_image_agent::metrics::MachineUsage;
use isobar_node_image_agent::node::{Ended, Node};
use isobar_node_image_protocol::identity::Identity;
use isobar_providers_sim::{MachineChange, SimCloud, SimMachine};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::net::Net;
use crate::process::Living;
use crate::witness::Witness;
use containers::Containers;
use road::Road;

/// How long things take on simulated nodes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From a machine's start to its node's first call.
    pub boot: Duration,
    /// From being told to run a container to its running.
    pub start: Duration,
    /// From being told to stop a container to its end.
    pub stop: Duration,
    /// A job's container runs so long.
    pub job: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            boot: Duration::from_millis(1500),
            start: Duration::from_millis(700),
            stop: Duration::from_millis(300),
            job: Duration::from_millis(1000),
        }
    }
}

impl Pace {
    /// Nothing takes any time: for benchmarks on a real clock.
    pub fn instant() -> Self {
        Self {
            boot: Duration::ZERO,
            start: Duration::ZERO,
            stop: Duration::ZERO,
            job: Duration::ZERO,
        }
    }
}

/// What goes wrong on nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeRates {
    /// Containers, of a thousand, that fall by themselves.
    pub falls: u64,
    /// A node's clock is at most so many millionths faster or slower than true time.
    pub skew_max_ppm: u64,
    /// What a mutation changes.
    pub flaw: Option<Flaw>,
}

/// A flaw that a mutation gives to nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It joins with the token of the machine before it.
    StolenToken,
    /// Its clock stands still, so its lease never ends.
    StoppedClock,
    /// It says that a container runs long before it does.
    EarlyWord,
}

/// What every simulated node shares.
#[derive(Clone)]
pub struct Population {
    /// Where the machines are.
    pub cloud: SimCloud,
    /// Which engine answers.
    pub living: Living,
    /// What is between.
    pub net: Net,
    /// Sees what nodes do.
    pub witness: Witness,
    /// How long things take.
    pub pace: Pace,
    /// What goes wrong.
    pub rates: NodeRates,
    /// Everything that looks random follows from it.
    pub seed: u64,
}

/// Runs a node for each machine of the cloud, until dropped. Tells the witness what becomes of machines.
pub async fn populate(population: Population) {
    let mut events = population.cloud.events();
    let mut nodes: BTreeMap<ResourceHandle, (tokio::task::JoinHandle<()>, Containers)> = BTreeMap::new();
    let mut born = 0;
    let mut last_token = None;
    loop {
        let event = events.next().await;
        let machine = population.cloud.machine(&event.handle);
        population.witness.machine(&event, machine.as_ref());
        match event.change {
            MachineChange::Made => {}
            MachineChange::Running => {
                let Some(machine) = machine.filter(|machine| machine.tags().is_some()) else {
                    continue;
                };
                // Another engine's machines have nodes of their own.
                let Ok(identity) = serde_json::from_slice::<Identity>(&machine.identity.0) else {
                    continue;
                };
                born += 1;
                let mut token = unhex(&identity.token_hex);
                if population.rates.flaw == Some(Flaw::StolenToken)
                    && let Some(stolen) = last_token.replace(token.clone())
                {
                    token = stolen;
                }
                let (task, containers) = population.start(&machine, &identity, (born, token));
                nodes.insert(event.handle, (task, containers));
            }
            MachineChange::Stopped | MachineChange::Gone => {
                if let Some((task, containers)) = nodes.remove(&event.handle) {
                    task.abort();
                    containers.power_off();
                }
            }
        }
    }
}

impl Population {
    fn start(
        &self,
        machine: &SimMachine,
        identity: &Identity,
        (number, token): (u64, Vec<u8>),
    ) -> (tokio::task::JoinHandle<()>, Containers) {
        let dice = Dice::new(self.seed.wrapping_add(number), "node");
        let peer = peer_of(&token);
        let clock = Arc::new(NodeClock::new(&dice, self.rates));
        let containers = Containers::new(
            (machine.handle.clone(), peer.machine.clone()),
            self.witness.clone(),
            (self.pace, self.rates),
            Dice::new(self.seed.wrapping_add(number), "containers"),
        );
        let road = Road {
            living: self.living.clone(),
            net: self.net.clone(),
            witness: self.witness.clone(),
            number,
            handle: machine.handle.clone(),
            peer,
        };
        let node = Node {
            home: Home {
                engines: identity.engines.clone(),
                ca_der: Vec::new(),
                token,
                machine: identity.machine.clone(),
                insecure_registries: Vec::new(),
            },
            key: NodeKey::generate().expect("the kernel gives random bytes"),
            dial: Arc::new(road),
            runtime: Arc::new(containers.clone()),
            clock,
            stopped: Box::pin(std::future::pending()),
            on_joined: Box::new(|| {}),
            usage: MachineUsage::default,
            random: Box::new(move || u32::try_from(dice.within(0, u64::from(u32::MAX))).unwrap_or(0)),
        };
        let (pace, cloud, witness, handle) = (
            self.pace,
            self.cloud.clone(),
            self.witness.clone(),
            machine.handle.clone(),
        );
        let task = tokio::spawn(async move {
            tokio::time::sleep(pace.boot).await;
            let ended = node.live().await;
            let why = match ended {
                Ended::Released => "released",
                Ended::Abandoned => "abandoned",
                Ended::Refused(_) => "refused",
                Ended::Unusable(_) | Ended::NoKey(_) => "unusable",
                Ended::Stopped => "stopped",
            };
            witness.note(&handle, format_args!("powers off: {why}"));
            cloud.power_off(&handle);
        });
        (task, containers)
    }
}

/// A node's own clock: it started at some moment, and is a little fast or slow.
struct NodeClock {
    began: Instant,
    offset_ms: u64,
    ppm: u64,
}

/// A clock that is right runs so many millionths in a millionth.
const RIGHT_PPM: u64 = 1_000_000;

impl NodeClock {
    fn new(dice: &Dice, rates: NodeRates) -> Self {
        let skew = rates.skew_max_ppm;
        let ppm = dice.within(RIGHT_PPM - skew, RIGHT_PPM + skew);
        Self {
            began: Instant::now(),
            offset_ms: dice.within(1_000, 100_000),
            ppm: if rates.flaw == Some(Flaw::StoppedClock) { 0 } else { ppm },
        }
    }
}

impl Clock for NodeClock {
    fn boot_ms(&self) -> u64 {
        let true_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.offset_ms + true_ms.saturating_mul(self.ppm) / RIGHT_PPM
    }
}

/// Whom a join token belongs to: the engine begins it with `cluster/machine/attempt`.
fn peer_of(token: &[u8]) -> Peer {
    let credential = token.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let credential = String::from_utf8(credential.to_vec()).expect("keys are text");
    let mut parts = credential.split('/');
    let mut part = || parts.next().expect("cluster/machine/attempt");
    Peer {
        cluster: ClusterName::new(part()).expect("a name"),
        machine: MachineId::new(part()),
        attempt: AttemptNo(part().parse().expect("a number")),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .expect("hex")
    };
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
        .collect()
}
