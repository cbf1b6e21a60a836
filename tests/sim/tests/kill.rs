//! The engine is killed at its calls to the outside, before and after each has happened, and started again: every time
//! the same cluster comes of it, nothing is leaked and nothing doubled.

use std::sync::Arc;

use isobar_engine_control::api::{ErrorCode, QueryRequest, QueryWhat};
use isobar_engine_control::{Bounds, Engine};
use isobar_engine_model::id::{OperationId, SiteName, WorkloadName};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::operation::OperationState;
use isobar_providers_sim::{FaultRates, SimConfig};
use isobar_tests_sim::World;
use isobar_tests_sim::mortal::Life;
use isobar_tests_sim::shop::shop;

/// How far a cluster is on its way.
enum Way {
    /// Its engine goes on with this.
    Busy(OperationId),
    /// Nothing was accepted yet.
    New,
    /// Its service is to run in the north.
    North,
    /// Its service is to run in the south.
    South,
    /// It was destroyed.
    Over,
}

async fn way(engine: &Engine) -> Way {
    let request = QueryRequest {
        what: QueryWhat::Cluster,
        cluster: shop().cluster,
        after: None,
        limit: None,
    };
    let Ok(answer) = engine.query(request).await else {
        return Way::New;
    };
    if let Some(operation) = answer.cluster.and_then(|summary| summary.operation) {
        return Way::Busy(operation);
    }
    let web = WorkloadName::new("web").expect("a name");
    let sites = answer
        .spec
        .map(|spec| spec.workloads[&web].placement.sites.clone().expect("some"));
    match sites.as_deref() {
        None => Way::Over,
        Some([site]) if site.as_str() == "south" => Way::South,
        Some(_) => Way::North,
    }
}

/// Takes a cluster from wherever it is to its end: bought, moved, destroyed.
async fn work(world: &World, engine: &Arc<Engine>) {
    let cluster = shop().cluster;
    loop {
        let next = match way(engine).await {
            Way::Busy(operation) => {
                let end = world.wait(engine, &operation).await;
                assert!(matches!(end, OperationState::Succeeded { .. }), "{operation}: {end:?}");
                continue;
            }
            Way::New => Intent::Deploy { spec: Box::new(shop()) },
            Way::North => Intent::Move {
                cluster: cluster.clone(),
                workload: WorkloadName::new("web").expect("a name"),
                to: vec![SiteName::new("south").expect("a name")],
                from: Vec::new(),
            },
            Way::South => Intent::Destroy {
                cluster: cluster.clone(),
            },
            Way::Over => return,
        };
        if !matches!(next, Intent::Deploy { .. }) {
            world.converge(engine, &cluster).await;
            world.check(engine, &cluster).await;
        }
        let applied = world.apply(engine, next).await;
        // The reconciler may have been faster: then its operation is next.
        if let Err(error) = applied {
            assert!(matches!(error.code, ErrorCode::Busy | ErrorCode::StalePlan), "{error}");
        }
    }
}

/// One run with an engine that dies at half-call `last`, and a second one that goes on. Gives whether it died.
async fn run(seed: u64, last: u64, faults: FaultRates) -> bool {
    let config = SimConfig::of_regions(seed, &["north", "south"]).with_faults(faults);
    let world = World::with(config, Bounds::default());
    let life = Life::until(last);
    let died = match world.start(life.clone()).await {
        None => true,
        Some(engine) => tokio::select! {
            biased;
            () = life.ended() => true,
            () = work(&world, &engine) => false,
        },
    };
    if died {
        let engine = world.start(Life::long()).await.expect("it lives long");
        work(&world, &engine).await;
    }
    let left: Vec<String> = world
        .cloud
        .machines()
        .iter()
        .map(|machine| machine.state.name.clone())
        .collect();
    assert!(left.is_empty(), "leaked: {left:?}");
    assert_eq!(world.witness.violations(), [], "{}", world.witness.history());
    died
}

fn in_virtual_time(run: impl Future<Output = bool>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(run)
}

#[test]
fn killed_before_and_after_each_call_it_ends_in_the_same_place() {
    let mut reached = 0;
    for last in 0..20_000 {
        if !in_virtual_time(run(1, last, FaultRates::none())) {
            break;
        }
        reached = last;
    }
    assert!(reached > 200, "only {reached} half-calls were reached");
}

#[test]
fn killed_anywhere_on_a_bad_day_it_ends_in_the_same_place() {
    for seed in 0..150 {
        in_virtual_time(run(seed, 3 + seed * 7 % 900, FaultRates::rough()));
    }
}
