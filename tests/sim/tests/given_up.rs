//! Purchases that an operation gave up: the next plan, however soon it comes, builds on none of them.

use std::collections::BTreeSet;

use isobar_engine_control::Bounds;
use isobar_engine_model::id::MachineId;
use isobar_engine_model::intent::Intent;
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::plan::{Action, Step};
use isobar_providers_sim::{Fault, Operation, SimConfig};
use isobar_tests_sim::World;
use isobar_tests_sim::life::Life;
use isobar_tests_sim::net::Cut;
use isobar_tests_sim::shop::shop;
use isobar_tests_sim::world::Setup;

#[tokio::test(start_paused = true)]
async fn a_plan_made_at_the_end_of_a_failed_operation_releases_what_it_left_half_bought() {
    let bounds = Bounds {
        // Nobody looks after the cluster between the operation's end and the next plan.
        tick_ms: 24 * 60 * 60 * 1000,
        ..Bounds::default()
    };
    // No node joins, and what did not boot cannot be deleted.
    let deaf = Cut {
        from_ms: 0,
        until_ms: bounds.boot_max_ms + 60_000,
        every: 1,
    };
    let world = World::open(Setup {
        bounds,
        cuts: vec![deaf],
        ..Setup::of(SimConfig::of_regions(1, &["north", "south"]))
    });
    for _ in 0..3 {
        world.cloud.fail_next(Operation::Delete, Fault::Unauthorized);
    }
    let engine = world.start(Life::long()).await.expect("it lives long");
    let deploy = Intent::Deploy { spec: Box::new(shop()) };
    let applied = world.apply(&engine, deploy.clone()).await.expect("a good spec");
    let end = world.wait(&engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Failed { .. }), "{end:?}");

    let machines = world.cloud.machines();
    let left: BTreeSet<&MachineId> = machines.iter().filter_map(|m| Some(&m.tags()?.machine)).collect();
    assert!(!left.is_empty(), "nothing was left half bought");
    let next = world.plan(&engine, deploy.clone()).await.expect("a good spec");
    let released: BTreeSet<&MachineId> = next.plan.body.steps.iter().filter_map(released).collect();
    assert_eq!(released, left, "{:#?}", next.outline);

    let applied = world.apply(&engine, deploy).await.expect("nothing has changed");
    let end = world.wait(&engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
}

fn released(step: &Step) -> Option<&MachineId> {
    match &step.action {
        Action::ReleaseMachine { machine } => Some(machine),
        Action::BuyMachine { .. }
        | Action::RemoveNetwork { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ChangeAdopted { .. }
        | Action::ReleaseAdopted { .. } => None,
    }
}
