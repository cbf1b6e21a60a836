//! What outlives an engine: the cloud, the store, the network, the nodes, and the means to start engines in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_engine_control::api::{
    ApiError, ApplyRequest, Condition, OperationGet, OperationView, PlanAnswer, PlanRequest, QueryAnswer, QueryRequest,
    QueryWhat,
};
use isobar_engine_control::authority::Authority;
use isobar_engine_control::{Boundaries, Bounds, Config, Engine, Pacing, Tenure};
use isobar_engine_model::id::{ClusterName, MachineId, OperationId, ProviderId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::{Spec, text};
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

    /// Plans and applies; gives the operation.
    pub async fn apply(&self, engine: &Arc<Engine>, intent: Intent) -> Result<OperationView, ApiError> {
        let answer = self.plan(engine, intent).await?;
        let plan = answer.plan.id;
        self.witness.accepts(&plan);
        engine
            .apply(ApplyRequest {
                idempotency_key: plan.to_string(),
                plan,
                why: None,
            })
            .await
    }

    /// Plans.
    pub async fn plan(&self, engine: &Engine, intent: Intent) -> Result<PlanAnswer, ApiError> {
        engine
            .plan(PlanRequest {
                intent,
                limits: Limits::default(),
            })
            .await
    }

    /// Waits for an operation's end.
    pub async fn wait(&self, engine: &Engine, operation: &OperationId) -> OperationState {
        let waiting = async {
            let mut seen = None;
            loop {
                let get = OperationGet {
                    operation: operation.clone(),
                    seen,
                    wait_ms: Some(20_000),
                };
                let view = engine.operation_get(get).await.expect("it was accepted");
                if view.operation.state.is_final() {
                    return view.operation.state;
                }
                seen = Some(view.revision);
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("every operation ends")
    }

    /// Lists.
    pub async fn query(&self, engine: &Engine, cluster: &ClusterName, what: QueryWhat) -> QueryAnswer {
        self.try_query(engine, cluster, what)
            .await
            .expect("the cluster is known")
    }

    /// Lists, where there may be no such cluster.
    pub async fn try_query(
        &self,
        engine: &Engine,
        cluster: &ClusterName,
        what: QueryWhat,
    ) -> Result<QueryAnswer, ApiError> {
        let request = QueryRequest {
            what,
            cluster: cluster.clone(),
            after: None,
            limit: Some(500),
        };
        engine.query(request).await
    }

    /// Waits until a cluster is as its spec says.
    pub async fn converge(&self, engine: &Engine, cluster: &ClusterName) {
        let converging = async {
            loop {
                if self.is_converged(engine, cluster).await {
                    tokio::time::sleep(Duration::from_millis(self.bounds.tick_ms * 2 + 100)).await;
                    if self.is_converged(engine, cluster).await {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(PATIENCE, converging)
            .await
            .expect("every cluster converges");
    }

    async fn is_converged(&self, engine: &Engine, cluster: &ClusterName) -> bool {
        let answer = self.query(engine, cluster, QueryWhat::Cluster).await;
        let summary = answer.cluster.expect("asked for");
        summary.condition == Condition::Converged && summary.machines_ready == summary.machines
    }

    /// Panics unless what the cloud has is what the journal and the machines' records say, each machine once.
    pub async fn check(&self, engine: &Engine, cluster: &ClusterName) {
        let machines = self
            .query(engine, cluster, QueryWhat::Machines)
            .await
            .machines
            .expect("asked for");
        let mut kept: BTreeMap<MachineId, String> = BTreeMap::new();
        for machine in &machines {
            let MachinePhase::Ready { handle, .. } = &machine.phase else {
                panic!("{} is {:?} in a converged cluster", machine.id, machine.phase);
            };
            kept.insert(machine.id.clone(), handle.to_string());
        }
        let mut living: BTreeMap<MachineId, String> = BTreeMap::new();
        for machine in self.cloud.machines() {
            let Some(tags) = machine.tags() else { continue };
            let twin = living.insert(tags.machine.clone(), machine.handle.to_string());
            assert_eq!(twin, None, "two resources of {}", tags.machine);
        }
        assert_eq!(living, kept, "the cloud has what the engine knows");
        let attempts = self
            .query(engine, cluster, QueryWhat::Attempts)
            .await
            .attempts
            .expect("asked for");
        let journaled: BTreeMap<MachineId, String> = attempts
            .into_iter()
            .filter(|attempt| attempt.state == "accepted")
            .map(|attempt| (attempt.machine, attempt.handle.unwrap_or_default()))
            .collect();
        assert_eq!(journaled, kept, "the journal has what the engine knows");
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

/// The demo's cluster on the simulated provider, with a service that may run only once.
pub fn shop() -> Spec {
    static SHOP: std::sync::OnceLock<Spec> = std::sync::OnceLock::new();
    SHOP.get_or_init(|| text::read("shop.yaml", SHOP_YAML).expect("a good spec"))
        .clone()
}

const SHOP_YAML: &str = r#"
cluster: shop
sites:
  north: { provider: sim, region: north }
  south: { provider: sim, region: south }
pools:
  general:
    machines: { min: 3, max: 6 }
workloads:
  web:
    kind: { service: { replicas: 4, min_available: 3 } }
    image: registry:5000/shop/web:1
    resources: { cpu: 200m, memory: 64MiB }
    ports: { http: { container: 8080, publish: auto } }
    placement: { sites: [north], spread: [machine] }
  ledger:
    kind: { service: { replicas: 1 } }
    singleton: true
    image: registry:5000/shop/ledger:1
    resources: { cpu: 100m, memory: 64MiB }
  migrate:
    kind: { job: { attempts: 2 } }
    image: registry:5000/shop/web:1
    command: [migrate]
    resources: { cpu: 100m, memory: 64MiB }
"#;
