//! Answers of a cloud that mislead: what they leave behind is found, nothing is doubled.

use isobar_providers_sim::{Fault, Operation, SimConfig};
use isobar_tests_sim::World;
use isobar_tests_sim::mortal::Life;

/// Deploys the shop on a cloud whose creates first go wrong so, then waits until it is well and checks every machine.
async fn deployed_after(wrong: &[Fault], adjust: impl FnOnce(&mut SimConfig)) {
    let mut config = SimConfig::of_regions(1, &["north", "south"]);
    adjust(&mut config);
    let world = World::with(config, isobar_engine_control::Bounds::default());
    for fault in wrong {
        world.cloud.fail_next(Operation::Create, *fault);
    }
    let engine = world.start(Life::long()).await.expect("it lives long");
    world.deploy_shop(&engine).await;
    for fault in wrong {
        assert!(world.cloud.counters().of(*fault) > 0, "{fault:?} never happened");
    }
}

/// Three machines are asked for at once: each meets the same.
fn each(faults: &[Fault]) -> Vec<Fault> {
    faults.iter().flat_map(|fault| [*fault; 3]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_refused_after_its_answer_was_lost_was_still_carried_out() {
    deployed_after(&each(&[Fault::LostAnswer, Fault::Unauthorized]), |_| {}).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_while_finding_out_says_nothing_of_what_was_made() {
    let wrong = each(&[Fault::LostAnswer, Fault::Unauthorized, Fault::Unauthorized]);
    deployed_after(&wrong, |config| {
        config.faults.late_visibility = 1000;
        config.visibility_delay_max_ms = 60_000;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_says_nothing_of_what_is_absent() {
    let mut config = SimConfig::of_regions(1, &["north", "south"]);
    // Every request is forgotten at once: only lists can tell what was made.
    config.token_validity_ms = 1;
    let world = World::with(config, isobar_engine_control::Bounds::default());
    for _ in 0..3 {
        world.cloud.fail_next(Operation::Create, Fault::LostAnswer);
    }
    for _ in 0..60 {
        world.cloud.fail_next(Operation::List, Fault::Unauthorized);
    }
    let engine = world.start(Life::long()).await.expect("it lives long");
    world.deploy_shop(&engine).await;
    assert!(world.cloud.counters().of(Fault::Unauthorized) > 3);
}
