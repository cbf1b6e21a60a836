//! What outlives an engine: the cloud, the store, the network, the nodes, and the means to start engines in it.

mod ask;
pub mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_engine_control::authority::Authority;
use isobar_engine_control::{Births, Bounds};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::Clock;

use isobar_engine_store::memory::MemoryStore;
use isobar_node_image_protocol::watch;
use isobar_providers_sim::{SeededEntropy, SimCloud, SimConfig, TokioClock};

use crate::faulty::{StoreFaults, StoreRates};
use crate::mutation::Mutation;
use crate::net::{Cut, Net, NetRates};
use crate::nodes::{self, NodeRates, Pace, Population};
use crate::process::{Living, Processes};
use crate::witness::Witness;

/// The engine's key in every simulation.
const KEY: [u8; 32] = [7; 32];
/// The id of the store in every simulation.
pub const STORE: &str = "sim-store";
/// Virtual time within which every wish must have come true.
pub const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The cloud, and the seed of everything.
    pub cloud: SimConfig,
    /// The engine's bounds.
    pub bounds: Bounds,
    /// As what its machines are born.
    pub births: Births,
    /// The network's faults.
    pub net: NetRates,
    /// When the network is cut.
    pub cuts: Vec<Cut>,
    /// The nodes' faults.
    pub nodes: NodeRates,
    /// The store's faults.
    pub store: StoreRates,
    /// A bug at a boundary.
    pub mutation: Option<Mutation>,
}

impl Setup {
    /// Nothing goes wrong but what the cloud does.
    pub fn of(cloud: SimConfig) -> Self {
        Self {
            cloud,
            bounds: Bounds::default(),
            births: Births::Nodes,
            net: NetRates::default(),
            cuts: Vec::new(),
            nodes: NodeRates::default(),
            store: StoreRates::default(),
            mutation: None,
        }
    }
}

/// See the module.
pub struct World {
    /// The cloud.
    pub cloud: SimCloud,
    /// Sees what truly happens.
    pub witness: Witness,
    /// What the engine keeps.
    pub store: MemoryStore,
    /// What goes wrong with the store.
    pub store_faults: StoreFaults,
    /// Between engine and nodes.
    pub net: Net,
    clock: TokioClock,
    seed: u64,
    engines: AtomicU64,
    authority: String,
    living: watch::Sender<Processes>,
    bounds: Bounds,
    births: Births,
    mutation: Option<Mutation>,
}

impl World {
    /// An empty world of regions `north` and `south` in which nothing goes wrong. Needs a paused tokio runtime.
    pub fn new(seed: u64) -> Self {
        Self::with(SimConfig::of_regions(seed, &["north", "south"]), Bounds::default())
    }

    /// An empty world with this cloud.
    pub fn with(cloud: SimConfig, bounds: Bounds) -> Self {
        Self::open(Setup {
            bounds,
            ..Setup::of(cloud)
        })
    }

    /// An empty world.
    pub fn open(setup: Setup) -> Self {
        let clock = TokioClock::new();
        let seed = setup.cloud.seed;
        let cloud = SimCloud::new(setup.cloud, Arc::new(clock.clone()));
        let store_clock = clock.clone();
        let living = watch::Sender::new(Processes::new());
        let witness = Witness::new(STORE);
        let net = Net::new(seed, setup.net, setup.cuts);
        tokio::spawn(nodes::populate(Population {
            cloud: cloud.clone(),
            living: living.subscribe(),
            net: net.clone(),
            witness: witness.clone(),
            pace: Pace::default(),
            rates: NodeRates {
                flaw: setup.mutation.and_then(Mutation::flaw),
                ..setup.nodes
            },
            seed,
        }));
        Self {
            cloud,
            witness,
            store: MemoryStore::new(STORE, Arc::new(move || store_clock.now())),
            store_faults: StoreFaults::new(seed, setup.store),
            net,
            clock,
            seed,
            engines: AtomicU64::new(0),
            authority: sealed_authority(),
            living,
            bounds: setup.bounds,
            births: setup.births,
            mutation: setup.mutation,
        }
    }

    /// The processes that nodes and users reach now.
    pub fn living(&self) -> Living {
        self.living.subscribe()
    }

    /// How many processes were started.
    pub fn engines(&self) -> u64 {
        self.engines.load(Ordering::SeqCst)
    }
}

/// One authority for all worlds: making its key takes longer than many a run, and nothing depends on which it is.
fn sealed_authority() -> String {
    static SEALED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let make = || {
        let authority = Authority::generate("sim", Timestamp(1_800_000_000_000)).expect("an authority");
        authority.seal(&KEY, &SeededEntropy::new(0))
    };
    SEALED.get_or_init(make).clone()
}
