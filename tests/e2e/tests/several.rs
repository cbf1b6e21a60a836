//! Several engines on one PostgreSQL: any of them answers for all, and what one leaves behind the others take over. No
//! machine boots in these.

use std::time::Duration;

use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::group::Group;
use isobar_tests_e2e::wait::within;
use serde_json::Value;

/// A member's lease, the time to notice its end and to read a shard: how long a cluster is without an engine.
const TAKE_OVER_MAX: Duration = Duration::from_secs(20);

/// A cluster without machines.
fn idle(name: &str) -> String {
    format!(
        "cluster: {name}\nsites:\n  north: {{ provider: local, region: north }}\npools:\n  general: {{ machines: {{ min: 0, max: 1 }} }}\n"
    )
}

fn make(engine: &Engine, name: &str) {
    let file = engine.keep_spec(&idle(name));
    engine.run(&["apply", &file, "--yes"]).done();
}

fn clusters(status: &Value) -> Vec<String> {
    let clusters = status["clusters"].as_array().expect("a list");
    clusters
        .iter()
        .map(|one| one["cluster"].as_str().expect("a name").to_owned())
        .collect()
}

/// So many that every shard has one or more, most likely: no test relies on it.
fn names() -> Vec<String> {
    (0..12).map(|number| format!("cluster-{number:02}")).collect()
}

/// Waits until an engine answers for every cluster, and can change each.
fn answers_for_all(engine: &Engine) {
    within(TAKE_OVER_MAX, "every cluster has an engine", || {
        let status = engine.run(&["status", "--output", "json"]);
        if status.code != Some(0) {
            return Err(status.stderr);
        }
        let known = clusters(&status.json());
        if known == names() {
            Ok(())
        } else {
            Err(format!("{known:?}"))
        }
    });
    for name in names() {
        let file = engine.keep_spec(&idle(&name).replace("max: 1", "max: 2"));
        within(TAKE_OVER_MAX, "the cluster can be changed", || {
            let applied = engine.run(&["apply", &file, "--yes"]);
            if applied.code == Some(0) {
                Ok(())
            } else {
                Err(applied.stderr)
            }
        });
    }
}

#[test]
fn any_engine_answers_for_the_clusters_of_all() {
    let group = Group::start(3, Setup::without_machines());
    for (number, name) in names().iter().enumerate() {
        make(&group.engines[number % 3], name);
    }
    for engine in &group.engines {
        let status = engine.json(&["status"]);
        assert_eq!(clusters(&status), names());
        for name in names() {
            engine.run(&["explain", "--cluster", &name]).done();
        }
        engine
            .run(&["explain", "--cluster", "cluster-13"])
            .ended_with(3)
            .says(&["there is no cluster", "did you mean `cluster-"]);
    }
}

#[test]
fn what_a_killed_engine_had_the_others_take_over() {
    let mut group = Group::start(3, Setup::without_machines());
    for name in names() {
        make(&group.engines[0], &name);
    }
    group.engines[0].kill();
    answers_for_all(&group.engines[1]);
    answers_for_all(&group.engines[2]);
    // It comes back as another member, and takes its part again.
    group.engines[0].start_again();
    group.balanced(1, 3);
    answers_for_all(&group.engines[0]);
}

#[test]
fn a_frozen_engine_is_fenced_when_it_wakes_and_serves_again() {
    let group = Group::start(2, Setup::without_machines());
    for name in names() {
        make(&group.engines[1], &name);
    }
    group.engines[0].freeze();
    answers_for_all(&group.engines[1]);
    group.engines[0].thaw();
    // What it had is the other's: whatever it is asked comes out right.
    answers_for_all(&group.engines[0]);
    group.balanced(0, 2);
    answers_for_all(&group.engines[1]);
}

#[test]
fn an_engine_that_stops_gives_its_clusters_away_at_once() {
    let mut group = Group::start(2, Setup::without_machines());
    for name in names() {
        make(&group.engines[0], &name);
    }
    assert!(group.engines[0].stop().success());
    group.balanced(1, 1);
    answers_for_all(&group.engines[1]);
}

#[test]
fn an_engine_with_another_key_is_refused() {
    let mut group = Group::start(1, Setup::without_machines());
    make(&group.engines[0], "cluster-00");
    group.shared.key_file = group.engines[0].home().join("another-key");
    let mut stranger = Setup::without_machines().sharing(&group.shared).prepare();
    let refused = stranger.serve().expect_err("the key is not the store's");
    refused.says(&["another-key is missing"]);
    std::fs::write(&group.shared.key_file, "00".repeat(32)).expect("the folder can be written");
    std::process::Command::new("chmod")
        .arg("600")
        .arg(&group.shared.key_file)
        .status()
        .expect("chmod");
    let refused = stranger.serve().expect_err("the key is not the store's");
    refused.says(&[
        "cannot be opened with this key",
        "every engine of a store needs the same key",
    ]);
}
