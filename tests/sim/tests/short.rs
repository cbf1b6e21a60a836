//! A cloud that is short of machines for long: the engine says why its cluster is not as wished, asks at a bounded pace,
//! leaves nothing behind, and goes on by itself once there are machines again.

use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::api::{Condition, QueryWhat};
use isobar_engine_control::{Bounds, Engine};
use isobar_engine_model::id::Zone;
use isobar_engine_model::intent::Intent;
use isobar_engine_model::operation::OperationState;
use isobar_providers_sim::{Fault, SimConfig};
use isobar_tests_sim::World;
use isobar_tests_sim::life::Life;
use isobar_tests_sim::shop::shop;
use tokio::time::sleep;

/// How long the cloud is short.
const SHORT_FOR: Duration = Duration::from_secs(6 * 60 * 60);
/// No region gives more than so many.
const PLENTY: u32 = 1_000;

/// A shop that runs and then loses every machine to a cloud that `becomes_short`.
async fn stranded_shop(becomes_short: impl FnOnce(&World)) -> (World, Arc<Engine>) {
    let world = World::with(SimConfig::of_regions(1, &["north", "south"]), Bounds::default());
    let engine = world.start(Life::long()).await.expect("it lives long");
    let deploy = Intent::Deploy { spec: Box::new(shop()) };
    let applied = world.apply(&engine, deploy).await.expect("a good spec");
    let end = world.wait(&engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    world.converge(&engine, &shop().cluster).await;
    becomes_short(&world);
    for machine in world.cloud.machines() {
        world.cloud.remove(&machine.handle);
    }
    (world, engine)
}

/// What the cluster lacks, by the engine.
async fn drift(world: &World, engine: &Engine) -> Vec<String> {
    let answer = world.query(engine, &shop().cluster, QueryWhat::Cluster).await;
    match answer.cluster.expect("asked for").condition {
        Condition::Degraded { drift, .. } => drift,
        condition @ (Condition::Converged | Condition::Changing | Condition::Held) => {
            panic!("it is {condition:?} without a machine")
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_used_up_is_named_and_healing_goes_on_when_it_is_raised() {
    let (world, engine) = stranded_shop(|world| {
        world.cloud.set_quota("north", 0);
        world.cloud.set_quota("south", 0);
    })
    .await;
    sleep(SHORT_FOR).await;
    let drift = drift(&world, &engine).await;
    assert!(drift.iter().any(|why| why.contains("quota")), "{drift:#?}");
    let refused = world.plan(&engine, Intent::Deploy { spec: Box::new(shop()) }).await;
    let unmet = refused.expect("what cannot be met is in the plan").plan.body.unmet;
    assert!(!unmet.is_empty());
    assert!(world.cloud.machines().is_empty());

    world.cloud.set_quota("north", PLENTY);
    world.cloud.set_quota("south", PLENTY);
    world.converge(&engine, &shop().cluster).await;
    world.check(&engine, &shop().cluster).await;
}

#[tokio::test(start_paused = true)]
async fn zones_without_capacity_are_asked_at_a_bounded_pace() {
    let of = |region: &'static str| ["a", "b", "c"].map(|zone| (region, Zone::new(format!("{region}-{zone}"))));
    let zones = [of("north"), of("south")].concat();
    let (world, engine) = stranded_shop(|world| {
        for (region, zone) in &zones {
            world.cloud.set_zone_capacity(region, zone, 0);
        }
    })
    .await;
    let before = world.cloud.counters().of(Fault::NoCapacity);
    sleep(SHORT_FOR).await;
    let asked = world.cloud.counters().of(Fault::NoCapacity) - before;
    // Each healing asks once for every machine at every candidate, and comes again after a pause at most.
    let healings = SHORT_FOR.as_secs() * 1000 / Bounds::default().heal_pause_max_ms + 20;
    let at_once = 4 * u64::try_from(zones.len()).expect("six") * 3;
    assert!(
        asked > 0 && asked <= healings * at_once,
        "{asked} times in {healings} healings"
    );
    let drift = drift(&world, &engine).await;
    assert!(drift[0].contains("no candidate is left"), "{drift:#?}");
    assert!(world.cloud.machines().is_empty());

    for (region, zone) in &zones {
        world.cloud.set_zone_capacity(region, zone, PLENTY);
    }
    world.converge(&engine, &shop().cluster).await;
    world.check(&engine, &shop().cluster).await;
}
