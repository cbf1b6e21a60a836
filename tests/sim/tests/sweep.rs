//! What the cloud has under our tags and the journal does not know goes, in time; nothing else is ever touched.

use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::api::{Fate, Leak, LeaksRequest};
use isobar_engine_control::{Bounds, Engine};
use isobar_engine_model::id::{AttemptNo, MachineId, OperationId};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::operation::OperationState;
use isobar_engine_provider::OwnerTags;
use isobar_providers_sim::{Fault, FaultRates, Operation, SimConfig};
use isobar_tests_sim::World;
use isobar_tests_sim::mortal::Life;
use isobar_tests_sim::shop::shop;

/// A cluster that is as its spec says.
async fn converged() -> (World, Arc<Engine>) {
    let world = World::new(1);
    let engine = world.start(Life::long()).await.expect("it lives long");
    world.deploy_shop(&engine).await;
    (world, engine)
}

/// Machines with tags that nothing in the journal answers to, as a fenced engine would leave them.
fn strand(world: &World, how_many: u32, change: impl Fn(&mut OwnerTags)) {
    let ours = world.cloud.machines()[0].tags().expect("ours").clone();
    for number in 0..how_many {
        let mut tags = ours.clone();
        tags.machine = MachineId::new(format!("general-{}", 100 + number));
        tags.operation = OperationId::new("op-of-nobody");
        tags.attempt = AttemptNo(1);
        change(&mut tags);
        world
            .cloud
            .add_tagged("north", &format!("stray-{number}"), tags)
            .expect("north is there");
    }
}

async fn leaks(engine: &Engine) -> Vec<Leak> {
    let request = LeaksRequest {
        cluster: shop().cluster,
        after: None,
        limit: None,
    };
    engine.leaks(request).await.expect("the cluster is known").leaks
}

/// Longer than it takes to find and delete an orphan.
async fn a_sweep_and_its_grace() {
    let bounds = Bounds::default();
    let bound_ms = bounds.orphan_grace_ms + 3 * bounds.sweep_ms;
    tokio::time::sleep(Duration::from_millis(bound_ms)).await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_quarantined_and_then_deleted() {
    let (world, engine) = converged().await;
    strand(&world, 2, |_| {});
    tokio::time::sleep(Duration::from_millis(Bounds::default().sweep_ms + 1_000)).await;
    let found = leaks(&engine).await;
    assert_eq!(found.len(), 2);
    assert!(
        found.iter().all(|leak| matches!(leak.fate, Fate::Quarantined { .. })),
        "{found:?}"
    );
    assert_eq!(
        world.cloud.machines().len(),
        5,
        "nothing is deleted before its grace is over"
    );
    a_sweep_and_its_grace().await;
    let found = leaks(&engine).await;
    assert!(
        found.iter().all(|leak| matches!(leak.fate, Fate::Gone { .. })),
        "{found:?}"
    );
    world.check(&engine, &shop().cluster).await;
    world.converge(&engine, &shop().cluster).await;
}

#[tokio::test(start_paused = true)]
async fn the_orphans_of_a_cluster_that_was_destroyed_go_too() {
    let (world, engine) = converged().await;
    let cluster = shop().cluster;
    strand(&world, 1, |_| {});
    let destroyed = world
        .apply(&engine, Intent::Destroy { cluster })
        .await
        .expect("it is there");
    world.wait(&engine, &destroyed.operation.id).await;
    assert_eq!(world.cloud.machines().len(), 1);
    a_sweep_and_its_grace().await;
    assert!(world.cloud.machines().is_empty(), "{:?}", leaks(&engine).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_never_touched() {
    let (world, engine) = converged().await;
    world.cloud.add_foreign("north", "untagged").expect("north is there");
    strand(&world, 1, |tags| tags.owner.store = "another-store".into());
    strand(&world, 1, |tags| tags.epoch.0 += 1);
    a_sweep_and_its_grace().await;
    a_sweep_and_its_grace().await;
    assert_eq!(leaks(&engine).await, []);
    assert_eq!(world.cloud.machines().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_few_at_once_are_deleted_only_when_somebody_says_so() {
    let (world, engine) = converged().await;
    let few = u32::try_from(Bounds::default().sweep_machines_free).expect("a few");
    strand(&world, few + 1, |_| {});
    a_sweep_and_its_grace().await;
    let found = leaks(&engine).await;
    assert_eq!(world.cloud.machines().len(), 3 + found.len(), "{found:?}");
    let Fate::Asking { plan } = &found[0].fate else {
        panic!("{found:?}");
    };
    let request = isobar_engine_control::api::ApplyRequest {
        plan: plan.clone(),
        idempotency_key: "asked".into(),
        why: None,
    };
    let applied = engine.apply(request).await.expect("the plan is good");
    let end = world.wait(&engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    world.check(&engine, &shop().cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_arrives_after_it_was_given_up_is_found() {
    let mut config = SimConfig::of_regions(1, &["north", "south"]);
    // Forgotten at once, and it arrives after the lists that prove it absent.
    config.token_validity_ms = 1;
    config.visibility_delay_max_ms = 2_000;
    config.timing.late_by_ms = (120_000, 120_000);
    let world = World::with(config, Bounds::default());
    for _ in 0..3 {
        world.cloud.fail_next(Operation::Create, Fault::LateRequest);
    }
    let engine = world.start(Life::long()).await.expect("it lives long");
    let deploy = Intent::Deploy { spec: Box::new(shop()) };
    let applied = world.apply(&engine, deploy).await.expect("a good spec");
    world.wait(&engine, &applied.operation.id).await;
    world.converge(&engine, &shop().cluster).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!(world.cloud.machines().len(), 6, "the late ones came");
    world.cloud.set_faults(FaultRates::none());
    a_sweep_and_its_grace().await;
    world.check(&engine, &shop().cluster).await;
}
