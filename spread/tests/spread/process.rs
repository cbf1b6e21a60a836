//! Engine processes on one store and one cloud, as the command wires them: each with its endpoint and its place in a ring.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use isobar_engine_control::api::{ApiError, ApplyRequest, ErrorCode, PlanRequest};
use isobar_engine_control::authority::Authority;
use isobar_engine_control::fleet::members::Answers;
use isobar_engine_control::fleet::{Route, Subject};
use isobar_engine_control::{Births, Boundaries, Bounds, Config, Engine, Fleet, Pacing};
use isobar_engine_model::id::{ClusterName, MemberId, ProviderId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::text;
use isobar_engine_provider::Clock;
use isobar_engine_store::memory::MemoryStore;
use isobar_engine_store::{Member, Store};
use isobar_providers_sim::{SeededEntropy, SimCloud, SimConfig, SimProvider, TokioClock};
use isobar_spread::{Server, Spread};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::PATIENCE;
use crate::witness::{Lists, Watched, Witness};

/// Between two rounds.
pub(crate) const PERIOD_MS: u64 = 2_000;
/// In five shards of the eight.
pub(crate) const CLUSTERS: [&str; 5] = ["shop", "blog", "wiki", "half", "a"];

pub(crate) struct World {
    clock: TokioClock,
    cloud: SimCloud,
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    witness: Witness,
}

pub(crate) struct Process {
    fleet: Arc<Fleet>,
    spread: Spread,
}

impl Process {
    pub(crate) fn asked(&self) -> u64 {
        self.spread.asked()
    }
}

/// What was done in a number of periods.
pub(crate) struct Counted {
    before: BTreeMap<ClusterName, Lists>,
    after: BTreeMap<ClusterName, Lists>,
}

impl Counted {
    pub(crate) fn assert_between(&self, least: u64, most: u64) {
        assert_eq!(self.after.len(), CLUSTERS.len());
        for (cluster, after) in &self.after {
            let rounds = after.ended - self.before.get(cluster).map_or(0, |before| before.ended);
            assert!(
                (least..=most).contains(&rounds),
                "{cluster}: {rounds} rounds, not {least} to {most}"
            );
            assert_eq!(after.at_once_max, 1, "{cluster}: rounds at once");
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let clock = TokioClock::starting_at(Timestamp(u64::try_from(since.as_millis()).unwrap()));
        let store_clock = clock.clone();
        Self {
            cloud: SimCloud::new(SimConfig::of_regions(1, &["north"]), Arc::new(clock.clone())),
            store: Arc::new(MemoryStore::new("test", Arc::new(move || store_clock.now()))),
            authority: Arc::new(Authority::generate("test", clock.now()).unwrap()),
            witness: Witness::default(),
            clock,
        }
    }

    pub(crate) async fn join(&self, name: &str, redis: &str) -> Process {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sim = SimProvider::new(ProviderId::new("sim").unwrap(), self.cloud.clone());
        let config = Config {
            insecure_registries: Vec::new(),
            proven_for: BTreeSet::new(),
            key: [7; 32],
            authority: self.authority.clone(),
            births: Births::Nodes,
            bounds: Bounds {
                tick_ms: PERIOD_MS,
                sweep_ms: PERIOD_MS,
                ..Bounds::default()
            },
            pacing: Pacing::Told,
            at_crash_point: None,
        };
        let boundaries = Boundaries {
            store: self.store.clone(),
            providers: vec![Arc::new(Watched {
                inner: sim,
                witness: self.witness.clone(),
            })],
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(name.bytes().map(u64::from).sum())),
        };
        let me = Member {
            id: MemberId::new(name),
            peers: address.clone(),
            nodes: vec![address],
        };
        let fleet = Fleet::start(config, boundaries, me).await.unwrap();
        tokio::spawn(fleet.clone().serve_nodes(listener, Arc::new(NoTools)));
        let spread = Spread::start(Server::read(redis).unwrap(), fleet.clone());
        Process { fleet, spread }
    }

    /// Returns when the work is shared out and every cluster is there to be swept.
    pub(crate) async fn settle(&self, engines: &[Process]) {
        eventually("each engine has shards, and all are held", async || {
            let known = engines[0].fleet.discover().await.engines;
            known.len() == engines.len()
                && known.iter().all(|engine| engine.shards > 0)
                && known.iter().map(|engine| engine.shards).sum::<u32>() == 8
        })
        .await;
        for cluster in CLUSTERS {
            deploy(&engine_of(engines, cluster).await, cluster).await;
        }
        eventually("every cluster is swept", async || {
            self.witness.lists().len() == CLUSTERS.len()
        })
        .await;
    }

    pub(crate) async fn count(&self, periods: u64) -> Counted {
        let before = self.witness.lists();
        tokio::time::sleep(Duration::from_millis(periods * PERIOD_MS)).await;
        Counted {
            before,
            after: self.witness.lists(),
        }
    }

    pub(crate) async fn end(&self, engines: impl IntoIterator<Item = Process>) {
        for Process { fleet, spread } in engines {
            spread.stop().await;
            fleet.shutdown().await;
        }
    }
}

/// A cluster's engine, in whichever process it is.
async fn engine_of(engines: &[Process], cluster: &str) -> Arc<Engine> {
    let cluster = ClusterName::new(cluster).unwrap();
    for process in engines {
        if let Route::Here(engine) = process.fleet.route(Subject::Cluster(&cluster)).await.unwrap() {
            return engine;
        }
    }
    panic!("{cluster} is nobody's");
}

/// A cluster of a site and nothing in it.
async fn deploy(engine: &Arc<Engine>, cluster: &str) {
    let spec = format!(
        "cluster: {cluster}\nsites:\n  north: {{ provider: sim, region: north }}\npools:\n  general: {{ machines: {{ min: 0, \
         max: 1 }} }}\nworkloads: {{}}\n"
    );
    let spec = Box::new(text::read("spec", &spec).unwrap());
    let request = PlanRequest {
        intent: Intent::Deploy { spec },
        limits: Limits::default(),
    };
    let plan = engine.plan(request).await.unwrap().plan.id;
    let request = ApplyRequest {
        idempotency_key: plan.to_string(),
        plan,
        why: None,
    };
    engine.apply(request).await.unwrap();
}

/// No tool is called in these tests.
struct NoTools;

#[async_trait]
impl Answers for NoTools {
    async fn answer(&self, tool: &str, _arguments: Value) -> Result<Value, ApiError> {
        Err(ApiError::new(ErrorCode::NotFound, format!("there is no tool `{tool}`")))
    }
}

pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
