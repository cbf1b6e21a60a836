//! Each invariant catches a bug: with a mutation at a boundary some seed of a bounded set fails, by the invariant that is
//! to catch it, and without it the same seeds hold.

use isobar_tests_sim::invariant::Invariant;
use isobar_tests_sim::mutation::Mutation;
use isobar_tests_sim::run::run;
use isobar_tests_sim::scenario::Scenario;

/// So many seeds have to do.
const SEEDS_MAX: u64 = 400;

/// A mutation is caught, by each of the right invariants.
fn caught(mutation: Mutation) {
    let mut missing = mutation.caught_by().to_vec();
    for seed in 0..SEEDS_MAX {
        let seen = run(&Scenario::of(seed).with(Some(mutation))).violations;
        let before = missing.len();
        missing.retain(|invariant| seen.iter().all(|violation| violation.invariant != *invariant));
        if missing.len() < before {
            let honest = run(&Scenario::of(seed));
            assert_eq!(honest.violations, [], "seed {seed} without {}", mutation.name());
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("{} is not caught by {missing:?} in {SEEDS_MAX} seeds", mutation.name());
}

#[test]
fn a_token_that_is_not_sent() {
    caught(Mutation::NoToken);
}

#[test]
fn a_journal_kept_after_the_call() {
    caught(Mutation::JournalAfterCall);
}

#[test]
fn a_list_without_a_tag_check() {
    caught(Mutation::NoTagCheck);
}

#[test]
fn an_epoch_that_is_not_compared() {
    caught(Mutation::NoEpoch);
}

#[test]
fn a_plan_that_nobody_accepted() {
    caught(Mutation::ForgedPlan);
}

#[test]
fn a_deletion_that_is_not_sent() {
    caught(Mutation::GoneUnseen);
}

#[test]
fn a_list_that_is_always_empty() {
    caught(Mutation::EmptyList);
}

#[test]
fn a_price_that_is_not_the_cloud_s() {
    caught(Mutation::WrongPrice);
}

#[test]
fn a_node_that_joins_with_another_s_token() {
    caught(Mutation::StolenToken);
}

#[test]
fn a_lease_that_never_ends() {
    caught(Mutation::StoppedClock);
}

#[test]
fn a_replica_that_is_called_healthy_before_it_is() {
    caught(Mutation::EarlyWord);
}

#[test]
fn every_invariant_has_a_mutation_that_it_catches() {
    let mut uncaught = Invariant::ALL.to_vec();
    uncaught.retain(|invariant| {
        Mutation::ALL
            .iter()
            .all(|mutation| !mutation.caught_by().contains(invariant))
    });
    assert_eq!(uncaught, []);
}

#[test]
fn a_claim_that_does_not_wait_for_a_lease() {
    caught(Mutation::LeaseIgnored);
}

#[test]
fn a_lease_that_is_counted_by_a_slow_clock() {
    caught(Mutation::SlowHost);
}

#[test]
fn a_process_that_gives_nothing_back_when_it_stops() {
    caught(Mutation::NothingGiven);
}

#[test]
fn a_shard_that_is_never_taken_from_the_dead() {
    caught(Mutation::NothingTaken);
}
