//! Where replicas go and which machines to buy: one pure function of spec, observed state and catalog.
//!
//! No I/O, no clock, no randomness, no hashed iteration: the same input gives the same placement, byte for byte. It
//! says *where*; in which order things happen is the planner's, except where a replica only fits into the room that
//! another one leaves ([`Assignment::after`]). The planner is its only caller.
//!
//! How it decides: what runs well and is still allowed where it is stays. What is missing is placed workload by
//! workload, the largest replicas first, each at the best of all possible places: as its spread asks, then for the
//! least money, then without waiting for another one to stop, then where it fits most tightly. Machines are kept by
//! shape of their free room, so that ten thousand of them are looked through in a few steps.

mod census;
mod claim;
mod fill;
mod fleet;
mod offers;
mod open;
mod ports;
mod room;
mod settle;
mod unmet;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::catalog::Catalog;
use isobar_engine_model::id::{MachineId, PoolName, ReplicaId, WorkloadName};
use isobar_engine_model::observed::{MachinePhase, Observed, PortBinding, Replica};
use isobar_engine_model::plan::{Candidate, Reason, Unmet};
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_model::spec::Spec;

/// At most so many candidates stand in a plan for one machine to be bought.
pub const MAX_CANDIDATES: usize = 8;
/// Prices older than this are remarked upon, in ms.
pub const CATALOG_FRESH_MS: u64 = 24 * 60 * 60 * 1000;

/// How much a placement may look at: places for replicas, each looked at counting one. Bounds its run time whatever
/// the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkBudget(pub u64);

impl Default for WorkBudget {
    /// Enough for 100,000 replicas on 10,000 machines.
    fn default() -> Self {
        Self(20_000_000)
    }
}

/// Everything a placement is made from.
#[derive(Debug, Clone, Copy)]
pub struct PlacementInput<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What is, with the next ordinals.
    pub observed: &'a Observed,
    /// What can be rented.
    pub catalog: &'a Catalog,
    /// Machines that must end, whatever the spec says.
    pub leaving: &'a BTreeSet<MachineId>,
    /// What the cluster may cost at most afterwards; absent: anything.
    pub ceiling: Option<MicroUsdPerHour>,
    /// When.
    pub now: Timestamp,
    /// How much may be looked at.
    pub budget: WorkBudget,
}

/// Where everything goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Replicas to start, in an order in which each one's room is free once its `after` are stopped.
    pub assignments: Vec<Assignment>,
    /// Machines to buy, in the order of their ids' making.
    pub buys: Vec<Buy>,
    /// Replicas to stop, in id order.
    pub stops: Vec<Stop>,
    /// Machines to release, in id order, once what they hold is stopped.
    pub releases: Vec<MachineId>,
    /// Replicas that stay as they are, in id order.
    pub kept: Vec<ReplicaId>,
    /// What of the spec cannot be met.
    pub unmet: Vec<Unmet>,
    /// Replicas of each workload that cannot be placed.
    pub missing: BTreeMap<WorkloadName, u32>,
    /// Why it came out so.
    pub reasons: Vec<Reason>,
}

/// A replica and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its id, new.
    pub replica: ReplicaId,
    /// Of which workload.
    pub workload: WorkloadName,
    /// Of which template.
    pub revision: String,
    /// On which machine, there already or among [`Placement::buys`].
    pub machine: MachineId,
    /// Its published ports.
    pub ports: BTreeMap<String, PortBinding>,
    /// Must be stopped first: it takes their room or ports, or must never run beside them.
    pub after: Vec<ReplicaId>,
}

/// A machine to buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buy {
    /// Its id, new.
    pub machine: MachineId,
    /// Of which pool.
    pub pool: PoolName,
    /// What serves the very replicas placed on it, best first, at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
}

/// A replica to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Which.
    pub replica: ReplicaId,
    /// Of which workload.
    pub workload: WorkloadName,
    /// On which machine.
    pub machine: MachineId,
    /// Whether it serves now and its service goes on, so that stopping it costs availability.
    pub healthy: bool,
}

/// Places everything that `input` asks for.
pub fn place(input: &PlacementInput<'_>) -> Placement {
    let mut work = work::Work::survey(input);
    work.fill_daemons();
    work.fill_all();
    work.open_owed();
    work.settle()
}

/// Replicas that serve now: healthy at their last report, and on a machine that is not lost or being released.
pub fn serving(observed: &Observed) -> impl Iterator<Item = &Replica> {
    let up: BTreeSet<&MachineId> = observed
        .machines
        .iter()
        .filter(|machine| match machine.phase {
            MachinePhase::Creating { .. } | MachinePhase::Booting { .. } | MachinePhase::Ready { .. } => true,
            MachinePhase::Wanted { .. }
            | MachinePhase::Lost { .. }
            | MachinePhase::Releasing { .. }
            | MachinePhase::Gone { .. } => false,
        })
        .map(|machine| &machine.id)
        .collect();
    observed
        .replicas
        .iter()
        .filter(move |replica| replica.is_healthy() && up.contains(&replica.machine))
}
