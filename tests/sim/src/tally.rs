//! What runs came to: one seed's outcome, and the sum of many with its coverage. A kind of fault that never happened and
//! an await point at which no engine was ever killed prove nothing; the sum says so.

use std::collections::BTreeMap;

use isobar_providers_sim::Fault;
use serde::Serialize;

use crate::faulty::StoreFault;
use crate::hosts::Ends;
use crate::invariant::{Invariant, Violation};
use crate::life::{Crossing, Moment};
use crate::net::NetFault;
use crate::run::point_name;
use crate::world::World;

/// What befalls a fleet: its processes stand still, are killed and stop by themselves; shards are given to another
/// process, and taken from one whose lease has run out.
const FLEET: [&str; 5] = [
    "fleet_frozen",
    "fleet_killed",
    "fleet_stopped",
    "shard_given",
    "shard_taken",
];

/// What one run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// All that happened.
    pub history: String,
    kills: Vec<(Crossing, Moment)>,
    faults: BTreeMap<String, u64>,
}

impl Outcome {
    /// What a run in this world came to.
    pub fn of(seed: u64, world: &World, ends: &Ends) -> Self {
        let mut faults = BTreeMap::new();
        for (fault, count) in world.cloud.counters().faults {
            faults.insert(cloud_fault_name(fault), count);
        }
        for (fault, count) in world.net.counts() {
            faults.insert(fault.name().to_owned(), count);
        }
        for (fault, count) in world.store_faults.counts() {
            faults.insert(fault.name().to_owned(), count);
        }
        let handovers = world.witness.handovers();
        let killed = u64::try_from(ends.killed.len()).unwrap_or(u64::MAX);
        let counts = [ends.frozen, killed, ends.stopped, handovers.given, handovers.taken];
        faults.extend(FLEET.map(str::to_owned).into_iter().zip(counts));
        Self {
            seed,
            violations: world.witness.violations(),
            history: world.witness.history(),
            kills: ends.killed.clone(),
            faults,
        }
    }
}

/// The sum of many runs: what `./dev sim` prints as its last line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Engines killed at an await point.
    pub kills: u64,
    /// Resources of ours that were left, or were never in the journal.
    pub leaks: u64,
    /// Machines that were there, joined or ran twice.
    pub doubles: u64,
    /// All violations of all invariants.
    pub violations: u64,
    /// The seeds of runs with violations.
    pub failed_seeds: Vec<u64>,
    /// What happened how often.
    pub coverage: Coverage,
}

/// What happened how often. A zero proves nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Coverage {
    /// Engines killed, by the crossing and the side of it.
    pub await_points: BTreeMap<String, u64>,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<String, u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        let points = Crossing::ALL
            .into_iter()
            .flat_map(|crossing| Moment::ALL.map(|moment| (point_name((crossing, moment)), 0)));
        let cloud = Fault::ALL.into_iter().map(cloud_fault_name);
        let others = NetFault::ALL
            .map(NetFault::name)
            .into_iter()
            .chain(StoreFault::ALL.map(StoreFault::name))
            .chain(FLEET)
            .map(str::to_owned);
        Self {
            await_points: points.collect(),
            faults: cloud.chain(others).map(|name| (name, 0)).collect(),
        }
    }
}

impl Coverage {
    /// What never happened.
    pub fn zeros(&self) -> Vec<&str> {
        let both = self.await_points.iter().chain(&self.faults);
        both.filter(|(_, count)| **count == 0)
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

impl Tally {
    /// One more run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.kills += u64::try_from(outcome.kills.len()).unwrap_or(u64::MAX);
        for violation in &outcome.violations {
            self.violations += 1;
            match violation.invariant {
                Invariant::Journaled | Invariant::NothingLeft | Invariant::Billed => self.leaks += 1,
                Invariant::OneJoins | Invariant::Single | Invariant::Once => self.doubles += 1,
                Invariant::Untouched
                | Invariant::Approved
                | Invariant::Available
                | Invariant::Fenced
                | Invariant::Owned
                | Invariant::Leased
                | Invariant::Held
                | Invariant::Met => {}
            }
        }
        if !outcome.violations.is_empty() {
            self.failed_seeds.push(outcome.seed);
        }
        for point in &outcome.kills {
            *self.coverage.await_points.entry(point_name(*point)).or_default() += 1;
        }
        for (fault, count) in &outcome.faults {
            *self.coverage.faults.entry(fault.clone()).or_default() += count;
        }
    }
}

fn cloud_fault_name(fault: Fault) -> String {
    let name = match fault {
        Fault::Refused => "refused",
        Fault::LostRequest => "lost_request",
        Fault::LostAnswer => "lost_answer",
        Fault::LateRequest => "late_request",
        Fault::Unauthorized => "unauthorized",
        Fault::Throttled => "throttled",
        Fault::NoCapacity => "no_capacity",
        Fault::OverQuota => "over_quota",
        Fault::LateVisibility => "late_visibility",
        Fault::StaleRead => "stale_read",
        Fault::SlowDelete => "slow_delete",
        Fault::Death => "death",
        Fault::PartialCreate => "partial_create",
        Fault::LeftBehind => "left_behind",
    };
    format!("cloud_{name}")
}
