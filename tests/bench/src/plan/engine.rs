//! The whole engine on a cloud that takes no time: what buying a machine costs us in deciding, journaling, sealing,
//! joining (key, request, certificate) and bookkeeping. The real clock, SQLite with every commit synced to the disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use isobar_engine_control::api::{ApplyRequest, OperationGet, PlanRequest, WAIT_MAX_MS};
use isobar_engine_control::authority::Authority;
use isobar_engine_control::{Births, Boundaries, Bounds, Config, Engine, Pacing, Tenure};
use isobar_engine_model::id::{OperationId, ProviderId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::spec::{Spec, text};
use isobar_engine_provider::decorate::{self, RateBounds};
use isobar_engine_provider::{Clock, Entropy, Provider};
use isobar_engine_store::sql::SqlStore;
use isobar_node_image_protocol::watch;
use isobar_providers_sim::{SeededEntropy, SimCloud, SimConfig, SimProvider, Timing, TokioClock};
use isobar_tests_sim::mortal::Life;
use isobar_tests_sim::net::{Net, NetRates};
use isobar_tests_sim::nodes::{self, NodeRates, Pace, Population};
use isobar_tests_sim::process::{Process, Processes};
use isobar_tests_sim::witness::Witness;

/// Steps under way at a time: ours by default, and given to the peer.
pub(super) const STEPS_AT_A_TIME: usize = 256;
/// An account's limit, so high that it limits nothing: it is not what is measured.
const UNLIMITED: RateBounds = RateBounds {
    calls_per_second: 1_000_000,
    burst_calls: 1_000_000,
    queue_calls: 1_000_000,
};
/// The engine's key in every round.
const KEY: [u8; 32] = [7; 32];
const SEED: u64 = 1;
/// Where the engine listens.
const HOME: &str = "engine:7421";

/// What one round took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From the wish to the kept plan.
    pub(super) preview: Duration,
    /// From the plan's acceptance to its operation's success.
    pub(super) apply: Duration,
}

/// A cluster of so many machines and nothing on them.
pub(super) fn spec(machines: u32) -> anyhow::Result<Spec> {
    let yaml = format!(
        "cluster: many\n\
         sites:\n  \
           north: {{ provider: sim, region: north }}\n  \
           south: {{ provider: sim, region: south }}\n\
         pools:\n  \
           general:\n    \
             machines: {{ min: {machines}, max: {machines} }}\n"
    );
    text::read("many.yaml", &yaml).map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

/// The cloud of the benchmark.
pub(super) fn cloud() -> SimConfig {
    SimConfig {
        timing: Timing::instant(),
        ..SimConfig::of_regions(SEED, &["north", "south"])
    }
}

/// Plans and applies a cluster of so many machines.
pub(super) fn buy(machines: u32) -> anyhow::Result<Times> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?
        .block_on(round(machines))
}

async fn round(machines: u32) -> anyhow::Result<Times> {
    let folder = tempfile::tempdir()?;
    let store = SqlStore::open(folder.path(), "bench").await?;
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let cloud = SimCloud::new(cloud(), clock.clone());
    let living = watch::Sender::new(Processes::new());
    // It sees no store: to it nobody's machines join.
    let witness = Witness::new("none");
    let population = tokio::spawn(nodes::populate(Population {
        cloud: cloud.clone(),
        living: living.subscribe(),
        net: Net::new(SEED, NetRates::default(), Vec::new()),
        witness: witness.clone(),
        pace: Pace::instant(),
        rates: NodeRates::default(),
        seed: SEED,
    }));
    let engine = start(store, &cloud, clock).await?;
    let process = Process::alone((1, Life::long()), engine.clone());
    living.send_replace(Processes::from([(HOME.to_owned(), process)]));
    let times = measure(&engine, machines).await?;
    let joined = witness.joined_machines().len();
    ensure!(
        joined == usize::try_from(machines)?,
        "{joined} of {machines} nodes joined"
    );
    engine.shutdown().await;
    population.abort();
    Ok(times)
}

async fn start(store: SqlStore, cloud: &SimCloud, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<Engine>> {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(SEED));
    let sim: Arc<dyn Provider> = Arc::new(SimProvider::new(ProviderId::new("sim")?, cloud.clone()));
    let bounds = decorate::Bounds {
        rate: UNLIMITED,
        ..decorate::Bounds::default()
    };
    let provider = decorate::bounded(sim, clock.clone(), entropy.clone(), bounds);
    let config = Config {
        insecure_registries: Vec::new(),
        proven_for: BTreeSet::new(),
        key: KEY,
        authority: Arc::new(Authority::generate("bench", clock.now())?),
        births: Births::Nodes,
        bounds: Bounds {
            steps_at_a_time: STEPS_AT_A_TIME,
            ..Bounds::default()
        },
        pacing: Pacing::Interval,
        at_crash_point: None,
    };
    let tenure = Tenure::sole(&store, HOME).await?;
    let boundaries = Boundaries {
        store: Arc::new(store),
        providers: vec![provider],
        clock,
        entropy,
    };
    Ok(Engine::start(config, boundaries, tenure).await?)
}

async fn measure(engine: &Arc<Engine>, machines: u32) -> anyhow::Result<Times> {
    let intent = Intent::Deploy {
        spec: Box::new(spec(machines)?),
    };
    let started = Instant::now();
    let answer = engine
        .plan(PlanRequest {
            intent,
            limits: Limits::default(),
        })
        .await?;
    let preview = started.elapsed();
    let plan = answer.plan.id;
    let started = Instant::now();
    let view = engine
        .apply(ApplyRequest {
            idempotency_key: plan.to_string(),
            plan,
            why: None,
        })
        .await?;
    let end = follow(engine, &view.operation.id).await?;
    let apply = started.elapsed();
    ensure!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    Ok(Times { preview, apply })
}

/// Waits for an operation's end, as a client that shows its progress does.
async fn follow(engine: &Engine, operation: &OperationId) -> anyhow::Result<OperationState> {
    let mut seen = None;
    loop {
        let get = OperationGet {
            operation: operation.clone(),
            seen,
            wait_ms: Some(WAIT_MAX_MS),
        };
        let view = engine.operation_get(get).await.context("follow the operation")?;
        if view.operation.state.is_final() {
            return Ok(view.operation.state);
        }
        seen = Some(view.revision);
    }
}
