//! Engines, their hosts and their database die at random for minutes while clusters grow, shrink and go; then machines in
//! the cloud, machines in the journal and machines wanted are the same, each once.
//!
//! `ISOBAR_SOAK_MINUTES` says how long (3), `ISOBAR_TEST_SEED` repeats a schedule.

#![cfg(feature = "vm")]

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use isobar_tests_e2e::engine::Setup;
use isobar_tests_e2e::group::Group;
use isobar_tests_e2e::vms;
use isobar_tests_e2e::wait::{BOOT, within};
use serde_json::{Value, json};

const ENGINES: usize = 3;
const CLUSTERS: [&str; 4] = ["red", "green", "blue", "white"];
/// Most machines of a cluster.
const MACHINES_MAX: u64 = 2;
/// Longer than a member's lease: whoever is frozen for so long loses what it has.
const FROZEN: Duration = Duration::from_secs(14);
/// An orphan is found, left alone, and deleted within this.
const SWEPT_MAX: Duration = Duration::from_secs(360);

/// What was done to them.
#[derive(Debug, Default)]
struct Deeds {
    applies: u32,
    destroys: u32,
    kills: u32,
    freezes: u32,
    database_crashes: u32,
}

/// A schedule: the same seed, the same choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }
}

fn spec(cluster: &str, machines: u64) -> String {
    format!(
        "cluster: {cluster}\nsites:\n  here: {{ provider: local, region: here }}\npools:\n  general: {{ machines: {{ min: \
         {machines}, max: {} }} }}\n",
        machines.max(1)
    )
}

/// Applies a spec or destroys the cluster, without waiting for its end. Refusals are part of the day.
fn wish(group: &Group, dice: &mut Dice, deeds: &mut Deeds) {
    let engine = &group.engines[dice.index(ENGINES)];
    let cluster = CLUSTERS[dice.index(CLUSTERS.len())];
    if dice.below(5) == 0 {
        deeds.destroys += 1;
        engine.run(&["destroy", cluster, "--yes", "--detach"]);
    } else {
        deeds.applies += 1;
        let file = engine.keep_spec(&spec(cluster, dice.below(MACHINES_MAX + 1)));
        engine.run(&["apply", &file, "--yes", "--detach"]);
    }
}

/// What may happen to them.
#[derive(Debug, Clone, Copy)]
enum Harm {
    DatabaseCrash,
    Freeze,
    Kill,
}

impl Harm {
    /// Each kind once, in an order that the dice choose, then any.
    fn next(dice: &mut Dice, first: &mut Vec<Self>) -> Self {
        if !first.is_empty() {
            return first.swap_remove(dice.index(first.len()));
        }
        match dice.below(8) {
            0 => Self::DatabaseCrash,
            1 | 2 => Self::Freeze,
            _ => Self::Kill,
        }
    }
}

fn harm(harm: Harm, group: &mut Group, dice: &mut Dice, deeds: &mut Deeds) {
    let victim = dice.index(ENGINES);
    match harm {
        Harm::DatabaseCrash => {
            deeds.database_crashes += 1;
            group.database.server.crash().expect("the database can be killed");
            thread::sleep(Duration::from_millis(dice.below(3_000)));
            group.database.server.up().expect("the database comes back");
        }
        Harm::Freeze => {
            deeds.freezes += 1;
            group.engines[victim].freeze();
            let thawed = Instant::now() + FROZEN;
            while Instant::now() < thawed {
                thread::sleep(Duration::from_millis(dice.below(3_000)));
                let other = (victim + 1 + dice.index(ENGINES - 1)) % ENGINES;
                deeds.applies += 1;
                let file = group.engines[other].keep_spec(&spec(CLUSTERS[dice.index(4)], dice.below(MACHINES_MAX + 1)));
                group.engines[other].run(&["apply", &file, "--yes", "--detach"]);
            }
            group.engines[victim].thaw();
        }
        Harm::Kill => {
            deeds.kills += 1;
            group.engines[victim].kill();
            thread::sleep(Duration::from_millis(dice.below(6_000)));
            group.engines[victim].start_again();
        }
    }
}

/// The state of a cluster, asked through the first engine.
fn ask(group: &Group, cluster: &str, what: &str) -> Result<Value, String> {
    let answer = group.engines[0].run(&["query", what, "--cluster", cluster, "--output", "json"]);
    if answer.code == Some(0) {
        Ok(answer.json())
    } else {
        Err(answer.stderr)
    }
}

/// Applies the last wish until it is accepted, and waits until it has come true.
fn settle(group: &Group, cluster: &str, machines: u64) {
    let file = group.engines[0].keep_spec(&spec(cluster, machines));
    within(BOOT, "the last wish is accepted", || {
        let applied = group.engines[0].run(&["apply", &file, "--yes"]);
        if applied.code == Some(0) {
            Ok(())
        } else {
            Err(applied.stderr)
        }
    });
    within(BOOT, "the cluster is as its spec says", || {
        let answer = ask(group, cluster, "cluster")?;
        let done = answer["cluster"]["condition"]["condition"] == "converged"
            && answer["cluster"]["machines_ready"] == json!(machines)
            && answer["cluster"]["machines"] == json!(machines);
        if done {
            Ok(())
        } else {
            Err(answer["cluster"].to_string())
        }
    });
}

/// Names of what the journal says that a provider has.
fn journaled(group: &Group) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for cluster in CLUSTERS {
        let answer = ask(group, cluster, "attempts")?;
        let attempts = answer["attempts"].as_array().cloned().unwrap_or_default();
        let accepted = attempts.iter().filter(|attempt| attempt["state"] == "accepted");
        names.extend(accepted.filter_map(|attempt| attempt["handle"].as_str().map(str::to_owned)));
    }
    Ok(names)
}

/// Names of the VMs that run.
fn running(machines: &Path) -> Vec<String> {
    vms::of(machines).iter().map(vms::Vm::name).collect()
}

/// Machines that run more than once: names but for their attempts.
fn doubles(names: &[String]) -> usize {
    let machine = |name: &String| name.rsplit_once('-').map(|(machine, _)| machine.to_owned());
    let different: BTreeSet<_> = names.iter().map(machine).collect();
    names.len() - different.len()
}

#[test]
fn whoever_dies_nothing_is_left_behind_and_nothing_doubled() {
    let minutes: u64 = std::env::var("ISOBAR_SOAK_MINUTES").map_or(3, |text| text.parse().expect("a number"));
    let seed: u64 = std::env::var("ISOBAR_TEST_SEED").map_or_else(
        |_| u64::from(std::process::id()) << 16 | 1,
        |text| text.parse().expect("a number"),
    );
    println!("seed {seed}, {minutes} minutes");
    let (mut dice, mut deeds) = (Dice(seed), Deeds::default());
    let mut group = Group::start(ENGINES, Setup::with_machines());
    let mut first = vec![Harm::DatabaseCrash, Harm::Freeze, Harm::Kill];
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    while Instant::now() < until {
        for _ in 0..=dice.below(3) {
            wish(&group, &mut dice, &mut deeds);
            thread::sleep(Duration::from_millis(dice.below(2_000)));
        }
        let kind = Harm::next(&mut dice, &mut first);
        harm(kind, &mut group, &mut dice, &mut deeds);
    }
    let wanted: Vec<(&str, u64)> = CLUSTERS
        .iter()
        .map(|cluster| (*cluster, 1 + dice.below(MACHINES_MAX)))
        .collect();
    for (cluster, machines) in &wanted {
        settle(&group, cluster, *machines);
    }
    let wanted: u64 = wanted.iter().map(|(_, machines)| machines).sum();
    let names = within(SWEPT_MAX, "cloud, journal and wishes are the same", || {
        let (names, journaled) = (running(&group.shared.machines), journaled(&group)?);
        let same = names.len() as u64 == wanted && names.iter().cloned().collect::<BTreeSet<_>>() == journaled;
        if same {
            Ok(names)
        } else {
            Err(format!("running {names:?}, journaled {journaled:?}, wanted {wanted}"))
        }
    });
    let doubles = doubles(&names);
    for cluster in CLUSTERS {
        group.engines[1].run(&["destroy", cluster, "--yes"]).done();
    }
    let leaks = running(&group.shared.machines);
    let report = json!({
        "seed": seed, "minutes": minutes, "applies": deeds.applies, "destroys": deeds.destroys, "kills": deeds.kills,
        "freezes": deeds.freezes, "database_crashes": deeds.database_crashes, "leaks": leaks.len(), "doubles": doubles,
    });
    println!("{report}");
    assert_eq!((leaks.len(), doubles), (0, 0), "left: {leaks:?}");
    assert!(
        deeds.kills > 0 && deeds.freezes > 0 && deeds.database_crashes > 0,
        "{deeds:?}: too short a time"
    );
}
