//! Seeds: a fixed set, a fresh one, and what makes them worth anything: one seed is one run, byte for byte, in any
//! process, and nothing is counted as proved that never happened.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use isobar_tests_sim::run::run;
use isobar_tests_sim::scenario::Scenario;
use isobar_tests_sim::tally::Tally;

/// The fixed set: enough that every kind of fault and every await point is met.
const FIXED: u64 = 1_000;
/// The fresh one.
const FRESH: u64 = 150;

/// Runs seeds; panics with the history of the first that fails.
fn all_hold(first: u64, count: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in (0..count).map(|number| first.wrapping_add(number)) {
        let outcome = run(&Scenario::of(seed));
        tally.add(&outcome);
        let said: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(
            said.is_empty(),
            "{}\nseed {seed}: {}\nreplay it: ./dev sim --seed {seed}",
            outcome.history,
            said.join("; ")
        );
    }
    tally
}

#[test]
fn every_invariant_holds_on_the_fixed_seeds_and_every_fault_happens() {
    let tally = all_hold(0, FIXED);
    assert_eq!(tally.runs, FIXED);
    assert_eq!(tally.coverage.zeros(), Vec::<&str>::new());
}

#[test]
fn every_invariant_holds_on_fresh_seeds() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = u64::try_from(now.as_millis()).unwrap() << 12;
    assert!(all_hold(first, FRESH).kills > 0);
}

#[test]
fn one_seed_is_one_run_in_any_process() {
    for seed in [3, 4, 5, 6] {
        let replay = || {
            let output = Command::new(env!("CARGO_BIN_EXE_isobar-sim"))
                .args(["--seed", &seed.to_string()])
                .output();
            output.unwrap().stdout
        };
        let (first, second) = (replay(), replay());
        assert!(first.len() > 1000, "a history: {}", String::from_utf8_lossy(&first));
        assert!(first == second, "seed {seed} gave two histories");
        let here = run(&Scenario::of(seed)).history;
        assert!(
            String::from_utf8(first).unwrap().contains(&here),
            "seed {seed} differs here"
        );
    }
}

#[test]
fn the_last_line_is_json_and_a_zero_in_the_coverage_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_isobar-sim"))
        .args(["--seeds", "1", "--from", "1"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "one run meets not all");
    let text = String::from_utf8(output.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for number in ["runs", "kills", "leaks", "doubles", "violations"] {
        assert!(last[number].is_u64(), "{number} in {last}");
    }
    assert_eq!(last["runs"], 1);
    assert!(last["coverage"]["await_points"]["commit/before"].is_u64(), "{last}");
}
