//! The planner alone: one call of a pure function, from an empty cluster to all its machines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use isobar_engine_model::catalog::Catalog;
use isobar_engine_model::id::{Generation, ProviderId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::Observed;
use isobar_engine_planner::{PlanInput, Wish, WorkBudget, plan as decide};
use isobar_engine_provider::{Provider, Site};
use isobar_providers_sim::{SIMULATION_EPOCH, SimCloud, SimProvider, TokioClock};

use super::engine;

/// How long one plan takes.
pub(super) fn plan(machines: u32) -> anyhow::Result<Duration> {
    let spec = engine::spec(machines)?;
    let observed = Observed {
        cluster: spec.cluster.clone(),
        generation: Generation(0),
        spec: None,
        machines: Vec::new(),
        replicas: Vec::new(),
        networks: Default::default(),
        adopted: Vec::new(),
        next_machine: BTreeMap::new(),
        next_replica: BTreeMap::new(),
    };
    let catalog = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?
        .block_on(catalog(&spec))?;
    let intent = Intent::Deploy { spec: Box::new(spec) };
    let input = PlanInput {
        wish: Wish::Asked(&intent),
        observed: &observed,
        catalog: &catalog,
        limits: Limits::default(),
        now: SIMULATION_EPOCH,
        validity_ms: 3_600_000,
        budget: WorkBudget::default(),
    };
    let started = Instant::now();
    let plan = decide(&input)?;
    let took = started.elapsed();
    ensure!(
        plan.body.steps.len() == usize::try_from(machines)?,
        "the plan has {} steps for {machines} machines",
        plan.body.steps.len()
    );
    Ok(took)
}

async fn catalog(spec: &isobar_engine_model::spec::Spec) -> anyhow::Result<Catalog> {
    let cloud = SimCloud::new(engine::cloud(), Arc::new(TokioClock::new()));
    let provider = SimProvider::new(ProviderId::new("sim")?, cloud);
    let mut catalog = Catalog::default();
    for (name, site) in &spec.sites {
        let site = Site {
            name: name.clone(),
            provider: site.provider.clone(),
            region: site.region.clone(),
            settings: site.settings.clone(),
        };
        catalog.sites.push(provider.catalog(&site).await?);
    }
    Ok(catalog)
}
