//! What outlives an engine: the cloud, the store, the network, the nodes, and the means to start engines in it.

mod ask;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_engine_control::authority::Authority;
use isobar_engine_control::{Boundaries, Bounds, Config, Engine, Pacing, Tenure};
use isobar_engine_model::id::ProviderId;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{Clock, Provider};
use isobar_engine_store::StoreError;
use isobar_engine_store::memory::MemoryStore;
use isobar_node_image_protocol::watch;
use isobar_providers_sim::{SeededEntropy, SimCloud, SimConfig, SimProvider, TokioClock};

use crate::around::Around;
use crate::faulty::{Faulty, StoreFaults, StoreRates};
use crate::life::Life;
use crate::mortal::Mortal;
use crate::mutation::{FlawedProvider, FlawedStore, Mutation};
use crate::net::{Cut, Net, NetRates};
use crate::nodes::{self, Living, NodeRates, Pace, Population};
use crate::watched::Watched;
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
    living: watch::Sender<Option<(Arc<Engine>, Life)>>,
    bounds: Bounds,
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
        let living = watch::Sender::new(None);
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
            mutation: setup.mutation,
        }
    }

    /// The engine that nodes and users reach now.
    pub fn living(&self) -> Living {
        self.living.subscribe()
    }

    /// How many engines were started.
    pub fn engines(&self) -> u64 {
        self.engines.load(Ordering::SeqCst)
    }

    /// Starts an engine that lives as long as `life`. None: it died while starting.
    ///
    /// # Panics
    ///
    /// If the store does not answer.
    pub async fn start(&self, life: Life) -> Option<Arc<Engine>> {
        self.try_start(life)
            .await
            .map(|engine| engine.expect("the store answers"))
    }

    /// Starts an engine that lives as long as `life`. None: it stopped while starting.
    pub async fn try_start(&self, life: Life) -> Option<Result<Arc<Engine>, StoreError>> {
        let number = self.engines.fetch_add(1, Ordering::SeqCst) + 1;
        let who = format!("engine {number}");
        self.witness.note(&who, format_args!("starts"));
        let entropy = Arc::new(SeededEntropy::new(self.seed ^ (number << 32)));
        let clock = Arc::new(Mortal {
            inner: self.clock.clone(),
            life: life.clone(),
        });
        let id = ProviderId::new("sim").expect("a name");
        let sim = Around(Watched {
            inner: SimProvider::new(id, self.cloud.clone()),
            engine: number,
            witness: self.witness.clone(),
        });
        let sim = Around(Mortal {
            inner: Around(FlawedProvider::new(sim, self.mutation, self.cloud.clone())),
            life: life.clone(),
        });
        let sim: Arc<dyn Provider> = Arc::new(sim);
        let provider = isobar_engine_provider::decorate::standard(sim, clock.clone(), entropy.clone());
        let config = Config {
            insecure_registries: Vec::new(),
            key: KEY,
            authority: Arc::new(Authority::open(&KEY, &self.authority).expect("our own")),
            bounds: self.bounds,
            pacing: Pacing::Interval,
            at_crash_point: None,
        };
        let store = Around(Watched {
            inner: self.store.clone(),
            engine: number,
            witness: self.witness.clone(),
        });
        let store = Around(Faulty {
            inner: Around(FlawedStore::new(store, self.mutation)),
            faults: self.store_faults.clone(),
        });
        let store = Arc::new(Around(Mortal {
            inner: store,
            life: life.clone(),
        }));
        let starting = async {
            let tenure = Tenure::sole(&*store, "engine:7421").await?;
            let boundaries = Boundaries {
                store,
                providers: vec![provider],
                clock,
                entropy,
            };
            Engine::start(config, boundaries, tenure).await
        };
        let engine = tokio::select! {
            biased;
            () = life.stopped() => return None,
            engine = starting => engine,
        };
        match engine {
            Ok(engine) => {
                self.living.send_replace(Some((engine.clone(), life)));
                Some(Ok(engine))
            }
            Err(error) => {
                self.witness.note(&who, format_args!("cannot start: {error}"));
                life.end();
                Some(Err(error))
            }
        }
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
