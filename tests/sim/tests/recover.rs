//! A restored store under simulation: machines were bought, replaced and released since the backup. Nothing is bought or
//! deleted until somebody has said what becomes of each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::Engine;
use isobar_engine_control::api::{ApplyRequest, ErrorCode, RecoverAnswer, RecoverMachines, RecoverRequest};
use isobar_engine_model::id::{MachineId, ResourceHandle};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::spec::Spec;
use isobar_engine_store::Store;
use isobar_tests_sim::World;
use isobar_tests_sim::life::Life;
use isobar_tests_sim::shop::shop;
use tokio::time::sleep;

/// Longer than every grace period, pause and tombstone.
const LONG: Duration = Duration::from_secs(30 * 60 * 60);

/// Longer than what was quarantined is left alone.
const LONGER_THAN_A_GRACE: Duration = Duration::from_secs(20 * 60);

/// The shop with so many machines at least.
fn shop_of(machines: u32) -> Spec {
    let mut spec = shop();
    for pool in spec.pools.values_mut() {
        pool.machines.min = machines;
    }
    spec
}

async fn done(world: &World, engine: &Arc<Engine>, intent: Intent) {
    let applied = world.apply(engine, intent).await.expect("a good wish");
    let end = world.wait(engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    world.converge(engine, &shop().cluster).await;
}

async fn compared(engine: &Arc<Engine>) -> RecoverAnswer {
    let request = RecoverRequest {
        cluster: shop().cluster,
        sites: Default::default(),
    };
    engine.recover(request).await.expect("the backup knows the cluster")
}

fn unknown(answer: &RecoverAnswer) -> BTreeSet<&str> {
    let machines = answer.unknown.iter().filter(|one| one.kind == "machine");
    machines.map(|one| one.machine.as_str()).collect()
}

fn these(machines: &[&str]) -> RecoverMachines {
    RecoverMachines {
        cluster: shop().cluster,
        machines: machines.iter().map(|one| MachineId::new(*one)).collect(),
        idempotency_key: machines.join(","),
        why: None,
    }
}

fn living(world: &World) -> BTreeSet<ResourceHandle> {
    world
        .cloud
        .machines()
        .into_iter()
        .map(|machine| machine.handle)
        .collect()
}

/// A world whose store was put back: since the backup `general-4` and `general-5` were bought, and `general-1` was
/// replaced by `general-6`.
async fn restored(seed: u64) -> (World, Arc<Engine>) {
    let mut world = World::new(seed);
    let life = Life::long();
    let engine = world.start(life.clone()).await.expect("it lives long");
    done(&world, &engine, Intent::Deploy { spec: Box::new(shop()) }).await;
    let backup = world.store.restored();
    done(
        &world,
        &engine,
        Intent::Deploy {
            spec: Box::new(shop_of(5)),
        },
    )
    .await;
    let drain = Intent::Drain {
        cluster: shop().cluster,
        machine: MachineId::new("general-1"),
    };
    done(&world, &engine, drain).await;
    life.end();
    world.store = backup;
    let engine = world.start(Life::long()).await.expect("it lives long");
    (world, engine)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_bought_or_deleted_unasked_on_a_restored_store() {
    let (world, engine) = restored(1).await;
    let before = living(&world);
    sleep(LONG).await;
    assert_eq!(living(&world), before);

    let answer = compared(&engine).await;
    assert!(answer.recovering && answer.unlisted.is_empty());
    assert_eq!(
        unknown(&answer),
        BTreeSet::from(["general-4", "general-5", "general-6"]),
        "{answer:#?}"
    );
    let missing: Vec<&str> = answer.missing.iter().map(|one| one.machine.as_str()).collect();
    assert_eq!(missing, ["general-1"]);

    let plan = world
        .plan(
            &engine,
            Intent::Deploy {
                spec: Box::new(shop_of(4)),
            },
        )
        .await
        .expect("a plan");
    let apply = ApplyRequest {
        plan: plan.plan.id,
        idempotency_key: "now".to_owned(),
        why: None,
    };
    let refused = engine
        .apply(apply)
        .await
        .expect_err("not before the recovery has ended");
    assert_eq!(refused.code, ErrorCode::Recovering);
    assert!(refused.hint.is_some_and(|hint| hint.contains("isobar recover")));
    assert_eq!(living(&world), before);
}

#[tokio::test(start_paused = true)]
async fn each_is_adopted_or_released_and_then_the_cluster_is_as_its_spec_says() {
    for seed in 0..5 {
        let (world, engine) = restored(seed).await;
        let before = living(&world);
        let all = compared(&engine).await;
        assert_eq!(unknown(&all).len(), 3);
        let kept = engine
            .recover_adopt(these(&["general-4", "general-6"]))
            .await
            .expect("they are unknown");
        assert_eq!(kept.machines.len(), 2);
        let begun = engine
            .recover_release(these(&["general-5"]))
            .await
            .expect("it is unknown");
        let plan = begun.operation.plan.clone();
        world.witness.accepts(&plan);
        let end = world.wait(&engine, &begun.operation.id).await;
        assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
        assert!(compared(&engine).await.unknown.is_empty(), "seed {seed}");

        world.store.end_recovery().await.expect("nothing is undecided");
        sleep(LONGER_THAN_A_GRACE).await;
        let adopted = |world: &World| {
            let machines = world.cloud.machines();
            let there = |id: &str| {
                machines
                    .iter()
                    .any(|m| m.tags().is_some_and(|tags| tags.machine.as_str() == id))
            };
            there("general-4") && there("general-6")
        };
        assert!(adopted(&world), "seed {seed}: what was adopted went unasked");
        done(
            &world,
            &engine,
            Intent::Deploy {
                spec: Box::new(shop_of(3)),
            },
        )
        .await;
        world.check(&engine, &shop().cluster).await;
        // What was adopted stands in for what is gone: nothing new was bought, and what is too much went by a plan.
        let after = living(&world);
        assert!(
            after.is_subset(&before) && after.len() == 3,
            "seed {seed}: {after:?} of {before:?}"
        );
        let mut machines = world.cloud.machines().into_iter();
        assert!(machines.all(|machine| machine.tags().is_none_or(|tags| tags.machine.as_str() != "general-5")));

        // No ordinal comes twice.
        done(
            &world,
            &engine,
            Intent::Deploy {
                spec: Box::new(shop_of(6)),
            },
        )
        .await;
        world.check(&engine, &shop().cluster).await;
        let joined = world.witness.joined_machines();
        assert!(
            joined.values().all(|handles| handles.len() == 1),
            "seed {seed}: {joined:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_backup_knows_is_neither_adopted_nor_released() {
    let (_world, engine) = restored(2).await;
    compared(&engine).await;
    for refused in [
        engine.recover_adopt(these(&["general-2"])).await.err(),
        engine.recover_release(these(&["general-2"])).await.err(),
    ] {
        let refused = refused.expect("it is known");
        assert_eq!(refused.code, ErrorCode::NotFound, "{refused:?}");
    }
}
