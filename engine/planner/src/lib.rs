//! From a wish to a plan: one pure function of the wish, what is, and what can be rented.
//!
//! No I/O, no clock, no randomness, no hashed iteration: the same input gives the same plan with the same hash. It
//! carries nothing out and decides nothing about who may: the engine in `control`, its only caller, does both.
//!
//! A wish is a change of the spec ([`intent`]); the scheduler says where everything goes; [`steps`] puts that into an
//! order in which no service ever falls below what its spec allows; [`words`] says it to people.

mod adopted;
pub mod error;
pub mod intent;
mod price;
mod risk;
mod steps;
pub mod sweep;
pub mod words;

use std::collections::BTreeSet;

use isobar_engine_model::catalog::Catalog;
use isobar_engine_model::id::MachineId;
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::{MachinePhase, Observed, ReplicaPhase};
use isobar_engine_model::plan::{Base, Origin, Plan, PlanBody};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::Spec;
use isobar_engine_model::spec::nearest::nearest;
use isobar_engine_scheduler::{Placement, PlacementInput, place};

pub use error::PlanError;
pub use isobar_engine_scheduler::WorkBudget;
pub use sweep::sweep;
pub use words::{outline, title};

/// What is wished for.
#[derive(Debug, Clone, Copy)]
pub enum Wish<'a> {
    /// A person or an agent wants this.
    Asked(&'a Intent),
    /// The cluster should be as its stored spec says; without one, it should be gone.
    Reconcile,
}

/// Everything a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// What is wished for.
    pub wish: Wish<'a>,
    /// What is. Of a cluster that does not exist yet: its name and nothing else.
    pub observed: &'a Observed,
    /// What the sites offer that the spec names after the wish: see [`intent::apply`].
    pub catalog: &'a Catalog,
    /// What it may cost.
    pub limits: Limits,
    /// When.
    pub now: Timestamp,
    /// How long the plan may be accepted, in ms.
    pub validity_ms: u64,
    /// How much may be looked at.
    pub budget: WorkBudget,
}

/// Makes the plan that brings the wish about. With no steps and an unchanged spec, the cluster is as wished.
///
/// What of the spec cannot be brought about is in the plan's `unmet`, beside steps for the rest of it.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let observed = input.observed;
    let mut leaving = BTreeSet::new();
    let (origin, spec) = match input.wish {
        Wish::Reconcile => (Origin::Reconcile, observed.spec.clone()),
        Wish::Asked(intent) => {
            leaving.extend(drained(intent, observed)?);
            (Origin::Asked, intent::apply(intent, observed)?)
        }
    };
    let before = price::before(observed);
    let mut placement = match &spec {
        Some(spec) => place(&PlacementInput {
            spec,
            observed,
            catalog: input.catalog,
            leaving: &leaving,
            ceiling: price::ceiling(&input.limits, before),
            now: input.now,
            budget: input.budget,
        }),
        None => everything_ends(observed),
    };
    if origin == Origin::Reconcile && input.limits == Limits::default() {
        price::drop_dear_fallbacks(observed, &mut placement, before);
    }
    let adopted = adopted::settle(&input.wish, spec.as_ref(), observed);
    let ordered = steps::order(spec.as_ref(), observed, &mut placement, adopted.actions);
    let cost = price::change(observed, &ordered, before);
    let mut risks = risk::find(spec.as_ref(), observed, &placement, &ordered);
    risks.extend(adopted.risks);
    placement.reasons.extend(adopted.reasons);
    placement.unmet.extend(adopted.unmet);
    let body = PlanBody {
        cluster: observed.cluster.clone(),
        origin,
        created: input.now,
        expires: input.now.plus_ms(input.validity_ms),
        base: base(observed),
        spec,
        steps: ordered,
        cost,
        risks,
        reasons: placement.reasons,
        unmet: placement.unmet,
    };
    Ok(body.seal())
}

/// Whether a plan changes nothing: no steps, nothing unmet, and the spec that is stored already.
pub fn is_converged(plan: &Plan, stored: Option<&Spec>) -> bool {
    plan.body.steps.is_empty() && plan.body.unmet.is_empty() && plan.body.spec.as_ref() == stored
}

fn drained(intent: &Intent, observed: &Observed) -> Result<Option<MachineId>, PlanError> {
    let Intent::Drain { machine, .. } = intent else {
        return Ok(None);
    };
    let there = observed
        .machines
        .iter()
        .filter(|m| !matches!(m.phase, MachinePhase::Gone { .. }))
        .map(|m| &m.id);
    if there.clone().any(|id| id == machine) {
        return Ok(Some(machine.clone()));
    }
    Err(PlanError::UnknownMachine {
        machine: machine.clone(),
        nearest: nearest(machine.as_str(), there.map(MachineId::as_str)).map(str::to_owned),
        known: there_are(observed),
    })
}

fn there_are(observed: &Observed) -> Vec<String> {
    observed.machines.iter().map(|machine| machine.id.to_string()).collect()
}

/// Nothing is wanted: every replica is stopped, every machine released.
fn everything_ends(observed: &Observed) -> Placement {
    let mut placement = Placement::default();
    let live = observed
        .replicas
        .iter()
        .filter(|replica| !matches!(replica.phase, ReplicaPhase::Stopped { .. }));
    placement.stops = live
        .map(|replica| isobar_engine_scheduler::Stop {
            replica: replica.id.clone(),
            workload: replica.workload.clone(),
            machine: replica.machine.clone(),
            healthy: false,
        })
        .collect();
    let there = observed
        .machines
        .iter()
        .filter(|machine| !matches!(machine.phase, MachinePhase::Gone { .. }));
    placement.releases = there.map(|machine| machine.id.clone()).collect();
    placement
}

/// All machines, replicas and adopted objects of the cluster: a plan reads every one.
fn base(observed: &Observed) -> Base {
    Base {
        generation: observed.generation,
        machines: observed
            .machines
            .iter()
            .map(|machine| (machine.id.clone(), machine.version))
            .collect(),
        replicas: observed
            .replicas
            .iter()
            .map(|replica| (replica.id.clone(), replica.version))
            .collect(),
        adopted: observed
            .adopted
            .iter()
            .map(|object| (object.name.clone(), object.version))
            .collect(),
    }
}
