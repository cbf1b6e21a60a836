//! An engine of its own store, cloud and authority.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isobar_engine_control::api::{ApiError, ApplyRequest, OperationView, PlanAnswer, PlanRequest};
use isobar_engine_control::authority::Authority;
use isobar_engine_control::fleet::{Route, Subject};
use isobar_engine_control::{Births, Boundaries, Bounds, Config, Engine, Fleet, Pacing};
use isobar_engine_model::id::{ClusterName, MemberId, PlanId, ProviderId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::text;
use isobar_engine_provider::Clock;
use isobar_engine_store::Member;
use isobar_engine_store::memory::MemoryStore;
use isobar_providers_sim::{SeededEntropy, SimCloud, SimConfig, SimProvider, TokioClock};

/// Real things take so long at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) cloud: SimCloud,
    pub(crate) ca_der: Vec<u8>,
}

/// A new authority.
pub(crate) fn authority(store: &str) -> Authority {
    Authority::generate(store, now()).unwrap()
}

/// The wall clock: whoever checks certificates reads it too.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

impl Running {
    pub(crate) async fn start(store: &str, authority: Authority, bounds: Bounds) -> Self {
        Self::start_at("127.0.0.1:1", store, authority, bounds, BTreeSet::new()).await
    }

    /// Which tells nodes this address, and proves it before it buys at some providers.
    pub(crate) async fn start_at(
        home: &str,
        store: &str,
        authority: Authority,
        bounds: Bounds,
        proven_for: BTreeSet<ProviderId>,
    ) -> Self {
        let clock = TokioClock::starting_at(now());
        let cloud = SimCloud::new(SimConfig::of_regions(1, &["north"]), Arc::new(clock.clone()));
        let ca_der = authority.certificate_der().to_vec();
        let config = Config {
            insecure_registries: Vec::new(),
            proven_for,
            key: [7; 32],
            authority: Arc::new(authority),
            births: Births::Nodes,
            bounds,
            pacing: Pacing::Interval,
            at_crash_point: None,
        };
        let provider = SimProvider::new(ProviderId::new("sim").unwrap(), cloud.clone());
        // Bytes that no other store's engine draws.
        let seed = store.bytes().map(u64::from).sum();
        let store_clock = clock.clone();
        let boundaries = Boundaries {
            store: Arc::new(MemoryStore::new(store, Arc::new(move || store_clock.now()))),
            providers: vec![Arc::new(provider)],
            clock: Arc::new(clock),
            entropy: Arc::new(SeededEntropy::new(seed)),
        };
        let me = Member {
            id: MemberId::new("test"),
            peers: "127.0.0.1:1".into(),
            nodes: vec![home.into()],
        };
        let fleet = Fleet::start(config, boundaries, me).await.unwrap();
        Self { fleet, cloud, ca_der }
    }

    /// The engine of a cluster.
    pub(crate) async fn engine(&self, cluster: &str) -> Arc<Engine> {
        let cluster = ClusterName::new(cluster).unwrap();
        match self.fleet.route(Subject::Cluster(&cluster)).await.unwrap() {
            Route::Here(engine) => engine,
            Route::There(member) => panic!("{cluster} is at {member:?}"),
        }
    }

    /// Plans a cluster of so many machines and replicas.
    pub(crate) async fn plan(&self, cluster: &str, machines: u32) -> PlanAnswer {
        let spec = format!(
            "cluster: {cluster}\nsites:\n  north: {{ provider: sim, region: north }}\npools:\n  general: {{ machines: {{ \
             min: {machines}, max: 9 }} }}\nworkloads:\n  web:\n    kind: {{ service: {{ replicas: {machines} }} }}\n    \
             image: registry.example/web:1\n    resources: {{ cpu: 100m, memory: 32MiB }}\n"
        );
        let spec = Box::new(text::read("spec", &spec).unwrap());
        let request = PlanRequest {
            intent: Intent::Deploy { spec },
            limits: Limits::default(),
        };
        self.engine(cluster).await.plan(request).await.unwrap()
    }

    /// Plans it and begins to make it.
    pub(crate) async fn deploy(&self, cluster: &str, machines: u32) -> OperationView {
        let plan = self.plan(cluster, machines).await.plan.id;
        self.apply(cluster, plan).await.unwrap()
    }

    /// Accepts a plan.
    pub(crate) async fn apply(&self, cluster: &str, plan: PlanId) -> Result<OperationView, ApiError> {
        let request = ApplyRequest {
            idempotency_key: plan.to_string(),
            plan,
            why: None,
        };
        self.engine(cluster).await.apply(request).await
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"))
}
