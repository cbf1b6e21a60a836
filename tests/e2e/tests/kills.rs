//! The engine is killed while real machines boot, move and go; the next engine ends in the same cluster: as many
//! machines run as are journaled and as the spec wants.

#![cfg(feature = "vm")]
#![expect(clippy::print_stdout, reason = "a failure shows its seed and how far it came")]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread;
use std::time::Duration;

use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::registry::Registry;
use isobar_tests_e2e::wait::{BOOT, within};
use serde_json::Value;

/// Kills at random moments.
const RANDOM_KILLS: u32 = 20;
/// The longest that an engine lives between two of them, in ms.
const LIFE_MAX_MS: u64 = 4_000;

/// Two sites, three machines, three replicas on one of the sites.
fn spec(registry: &Registry, site: &str) -> String {
    format!(
        "cluster: box\n\
         sites:\n  north: {{ provider: local, region: north }}\n  south: {{ provider: local, region: south }}\n\
         pools:\n  north: {{ sites: [north], machines: {{ min: 2, max: 3 }} }}\n  \
         south: {{ sites: [south], machines: {{ min: 1, max: 3 }} }}\n\
         workloads:\n  web:\n    kind: {{ service: {{ replicas: 3, min_available: 2 }} }}\n    image: {}\n    \
         resources: {{ cpu: 100m, memory: 64MiB }}\n    ports: {{ http: {{ container: 8080, publish: auto }} }}\n    \
         health: {{ probe: {{ http: {{ port: http, path: / }} }}, interval_seconds: 1 }}\n    \
         placement: {{ sites: [{site}] }}\n",
        registry.image()
    )
}

/// Waits until the cluster is as its spec says.
fn converge(engine: &Engine) {
    within(BOOT, "the cluster is as its spec says", || {
        let answer = engine.json(&["query", "cluster"]);
        let condition = &answer["cluster"]["condition"]["condition"];
        if condition == "converged" {
            Ok(())
        } else {
            Err(answer["cluster"].to_string())
        }
    });
}

fn texts(items: &Value, keep: impl Fn(&Value) -> bool, field: impl Fn(&Value) -> &Value) -> BTreeSet<String> {
    let items = items.as_array().expect("a list");
    items
        .iter()
        .filter(|item| keep(item))
        .map(|item| field(item).as_str().expect("text").to_owned())
        .collect()
}

/// That machines wanted, journaled and really running are the same.
#[track_caller]
fn compare(engine: &Engine, wanted: usize) {
    let machines = engine.json(&["query", "machines", "--limit", "500"]);
    let ready = texts(
        &machines["machines"],
        |machine| machine["phase"]["phase"] == "ready",
        |machine| &machine["phase"]["handle"],
    );
    let attempts = engine.json(&["query", "attempts", "--limit", "500"]);
    let journaled = texts(
        &attempts["attempts"],
        |one| one["state"] == "accepted",
        |one| &one["handle"],
    );
    let running: Vec<String> = engine.vms().iter().map(|vm| vm.name()).collect();
    assert_eq!(running.len(), wanted, "running: {running:?}");
    assert_eq!(journaled, ready, "journaled and known");
    let running: BTreeSet<String> = running.into_iter().collect();
    assert_eq!(running.len(), wanted, "no machine runs twice");
    for vm in &running {
        assert!(
            ready.iter().any(|handle| handle.contains(vm.as_str())),
            "{vm} runs and is not known: {ready:?}"
        );
    }
}

/// Ends a command that would wait for its engine to come back.
fn cut_off(command: &mut Child) {
    command.kill().expect("it is our child");
    command.wait().expect("it is our child");
}

fn destroy(engine: &mut Engine) {
    engine.run(&["destroy", "box", "--yes"]).done();
    let left: Vec<String> = engine.vms().iter().map(|vm| vm.name()).collect();
    assert!(left.is_empty(), "left: {left:?}");
}

fn killed_while_applying(point: &str) {
    let registry = Registry::start();
    let mut engine = Setup::with_machines()
        .registry(&registry)
        .crash_at(&format!("{point}:2"))
        .start();
    let file = engine.keep_spec(&spec(&registry, "north"));
    let mut apply = engine.begin(&["apply", &file, "--yes"]);
    let status = engine.ended();
    assert!(status.signal().is_some(), "it was not killed at {point}: {status:?}");
    cut_off(&mut apply);
    engine.start_again();
    converge(&engine);
    compare(&engine, 3);
    destroy(&mut engine);
}

#[test]
fn killed_after_the_intent_it_ends_in_the_same_cluster() {
    killed_while_applying("after-intent");
}

#[test]
fn killed_after_the_send_it_ends_in_the_same_cluster() {
    killed_while_applying("after-send");
}

#[test]
fn killed_before_the_outcome_it_ends_in_the_same_cluster() {
    killed_while_applying("before-outcome");
}

#[test]
fn killed_in_the_middle_of_a_move_it_ends_moved() {
    let registry = Registry::start();
    let mut engine = Setup::with_machines().registry(&registry).crash_at("mid-move").start();
    let file = engine.keep_spec(&spec(&registry, "north"));
    engine.run(&["apply", &file, "--yes"]).done();
    let mut moving = engine.begin(&["move", "web", "--to", "south", "--yes"]);
    let status = engine.ended();
    assert!(
        status.signal().is_some(),
        "it was not killed in the middle of the move: {status:?}"
    );
    cut_off(&mut moving);
    engine.start_again();
    converge(&engine);
    compare(&engine, 3);
    let replicas = engine.json(&["query", "replicas"]);
    let sites = texts(&replicas["replicas"], |_| true, |view| &view["site"]);
    assert_eq!(sites, BTreeSet::from(["south".to_owned()]));
    destroy(&mut engine);
}

/// Small and seeded: the seed is printed, and given again with `ISOBAR_TEST_SEED`.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var("ISOBAR_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
        println!("ISOBAR_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[test]
fn killed_at_random_while_it_applies_moves_and_heals_it_ends_in_the_same_cluster() {
    let registry = Registry::start();
    let mut moments = Moments::new();
    let mut engine = Setup::with_machines().registry(&registry).start();
    let files = [
        engine.keep_spec(&spec(&registry, "north")),
        engine.keep_spec(&spec(&registry, "south")),
    ];
    for kill in 0..RANDOM_KILLS {
        // What is asked may be refused, since an earlier wish is still being carried out: then that one is cut off.
        let file = &files[usize::from(moments.next(2) == 0)];
        let mut asked = engine.begin(&["apply", file, "--yes"]);
        if moments.next(4) == 0
            && let Some(vm) = engine.vms().first()
        {
            vm.kill();
        }
        thread::sleep(Duration::from_millis(moments.next(LIFE_MAX_MS)));
        engine.kill();
        cut_off(&mut asked);
        println!("kill {kill}: {} VMs run", engine.vms().len());
        engine.start_again();
    }
    converge(&engine);
    within(BOOT, "no operation is left", || {
        let answer = engine.json(&["query", "cluster"]);
        if answer["cluster"]["operation"].is_null() {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    });
    engine.run(&["apply", &files[0], "--yes"]).done();
    converge(&engine);
    compare(&engine, 3);
    destroy(&mut engine);
}
