//! What outlives an engine: the cloud, the store, the nodes, and the means to start and kill engines in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isobar_engine_control::api::{
    ApiError, ApplyRequest, Condition, OperationGet, OperationView, PlanAnswer, PlanRequest, QueryAnswer, QueryRequest,
    QueryWhat,
};
use isobar_engine_control::authority::Authority;
use isobar_engine_control::{Boundaries, Bounds, Config, Engine, Tenure};
use isobar_engine_model::id::{ClusterName, MachineId, OperationId, ProviderId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::{Spec, text};
use isobar_engine_provider::{Clock, Provider};
use isobar_engine_store::memory::MemoryStore;
use isobar_providers_sim::{SeededEntropy, SimCloud, SimConfig, SimProvider, TokioClock};
use tokio::sync::watch;

use crate::mortal::{Life, Mortal};
use crate::nodes::{self, Deeds, Pace};

/// The engine's key in every simulation.
const KEY: [u8; 32] = [7; 32];
/// Virtual time within which every wish must have come true.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// See the module.
pub struct World {
    /// The cloud.
    pub cloud: SimCloud,
    /// What the nodes did.
    pub deeds: Arc<Mutex<Deeds>>,
    /// What the engine keeps.
    pub store: MemoryStore,
    clock: TokioClock,
    seed: u64,
    engines: u64,
    authority: String,
    living: watch::Sender<Option<(Arc<Engine>, Life)>>,
    bounds: Bounds,
}

impl World {
    /// An empty world of regions `north` and `south`. Needs a paused tokio runtime.
    pub fn new(seed: u64) -> Self {
        Self::with(SimConfig::of_regions(seed, &["north", "south"]), Bounds::default())
    }

    /// An empty world with this cloud.
    pub fn with(config: SimConfig, bounds: Bounds) -> Self {
        let clock = TokioClock::new();
        let seed = config.seed;
        let cloud = SimCloud::new(config, Arc::new(clock.clone()));
        let store_clock = clock.clone();
        let authority = Authority::generate("sim", Timestamp(1_800_000_000_000)).expect("an authority");
        let living = watch::Sender::new(None);
        let deeds = Arc::new(Mutex::new(Deeds::default()));
        tokio::spawn(nodes::populate(
            cloud.clone(),
            living.subscribe(),
            deeds.clone(),
            Pace::default(),
        ));
        Self {
            cloud,
            deeds,
            store: MemoryStore::new("sim-store", Arc::new(move || store_clock.now())),
            clock,
            seed,
            engines: 0,
            authority: authority.seal(&KEY, &SeededEntropy::new(seed)),
            living,
            bounds,
        }
    }

    /// Starts an engine that lives as long as `life`. None: it died while starting.
    pub async fn start(&mut self, life: Life) -> Option<Arc<Engine>> {
        self.engines += 1;
        let entropy = Arc::new(SeededEntropy::new(self.seed ^ (self.engines << 32)));
        let clock = Arc::new(Mortal {
            inner: self.clock.clone(),
            life: life.clone(),
        });
        let id = ProviderId::new("sim").expect("a name");
        let sim = Mortal {
            inner: SimProvider::new(id, self.cloud.clone()),
            life: life.clone(),
        };
        let sim: Arc<dyn Provider> = Arc::new(sim);
        let provider = isobar_engine_provider::decorate::standard(sim, clock.clone(), entropy.clone());
        let config = Config {
            insecure_registries: Vec::new(),
            key: KEY,
            authority: Arc::new(Authority::open(&KEY, &self.authority).expect("our own")),
            bounds: self.bounds,
            at_crash_point: None,
        };
        let store = Arc::new(Mortal {
            inner: self.store.clone(),
            life: life.clone(),
        });
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
            () = life.ended() => return None,
            engine = starting => engine.expect("the store answers"),
        };
        self.living.send_replace(Some((engine.clone(), life)));
        Some(engine)
    }

    /// Plans and applies; gives the operation.
    pub async fn apply(&self, engine: &Arc<Engine>, intent: Intent) -> Result<OperationView, ApiError> {
        let answer = self.plan(engine, intent).await?;
        let plan = answer.plan.id;
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
        let request = QueryRequest {
            what,
            cluster: cluster.clone(),
            after: None,
            limit: Some(500),
        };
        engine.query(request).await.expect("the cluster is known")
    }

    /// Waits until a cluster is as its spec says.
    pub async fn converge(&self, engine: &Engine, cluster: &ClusterName) {
        let converging = async {
            loop {
                let answer = self.query(engine, cluster, QueryWhat::Cluster).await;
                let summary = answer.cluster.expect("asked for");
                let settled = summary.condition == Condition::Converged;
                if settled && summary.machines_ready == summary.machines && self.looked_twice().await {
                    let again = self
                        .query(engine, cluster, QueryWhat::Cluster)
                        .await
                        .cluster
                        .expect("asked for");
                    if again.condition == Condition::Converged && again.machines_ready == again.machines {
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

    async fn looked_twice(&self) -> bool {
        tokio::time::sleep(Duration::from_millis(self.bounds.tick_ms * 2 + 100)).await;
        true
    }

    /// Panics unless what the cloud has is what the journal and the machines' records say, each machine once, and no
    /// machine was ever joined by two attempts.
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
        let deeds = self.deeds.lock().expect("no panic with the lock");
        for (machine, attempts) in &deeds.joined {
            assert_eq!(attempts.len(), 1, "{machine} was joined by attempts {attempts:?}");
        }
    }
}

/// The demo's cluster on the simulated provider.
pub fn shop() -> Spec {
    let yaml = r#"
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
  migrate:
    kind: { job: { attempts: 2 } }
    image: registry:5000/shop/web:1
    command: [migrate]
    resources: { cpu: 100m, memory: 64MiB }
"#;
    text::read("shop.yaml", yaml).expect("a good spec")
}
