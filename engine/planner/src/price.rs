//! What a plan costs: before, after, at most.

use std::collections::BTreeSet;

use isobar_engine_model::id::MachineId;
use isobar_engine_model::intent::Limits;
use isobar_engine_model::observed::{Machine, MachinePhase, Observed};
use isobar_engine_model::plan::{Action, CostChange, Step};
use isobar_engine_model::quantity::MicroUsdPerHour;
use isobar_engine_scheduler::Placement;

/// What the cluster costs now: all that may be billed, also what is lost or being released.
pub(crate) fn before(observed: &Observed) -> MicroUsdPerHour {
    observed.machines.iter().map(price).sum()
}

/// What the cluster may cost afterwards.
pub(crate) fn ceiling(limits: &Limits, before: MicroUsdPerHour) -> Option<MicroUsdPerHour> {
    let dearer = limits.max_dearer_percent.map(|percent| {
        let more = i128::from(before.0) * i128::from(percent) / 100;
        before.0.saturating_add(i64::try_from(more).unwrap_or(i64::MAX))
    });
    [dearer, limits.max_micro_usd_per_hour]
        .into_iter()
        .flatten()
        .min()
        .map(MicroUsdPerHour)
}

/// Healing takes no fallback that lifts the cost above what the cluster costs already: nobody is asked before it runs,
/// so it brings back what was accepted and buys nothing dearer on the way.
pub(crate) fn drop_dear_fallbacks(observed: &Observed, placement: &mut Placement, before: MicroUsdPerHour) {
    let released: BTreeSet<&MachineId> = placement.releases.iter().collect();
    let staying = observed
        .machines
        .iter()
        .filter(|machine| !released.contains(&machine.id))
        .map(price);
    let firsts = placement
        .buys
        .iter()
        .filter_map(|buy| Some(buy.candidates.first()?.price));
    let mut left = before
        .0
        .saturating_sub(staying.chain(firsts).sum::<MicroUsdPerHour>().0)
        .max(0);
    for buy in &mut placement.buys {
        let first = buy.candidates.first().map_or(0, |candidate| candidate.price.0);
        buy.candidates
            .retain(|candidate| candidate.price.0 <= first.saturating_add(left));
        let dearest = buy
            .candidates
            .iter()
            .map(|candidate| candidate.price.0)
            .max()
            .unwrap_or(first);
        left -= dearest - first;
    }
}

/// What `steps` make of it.
pub(crate) fn change(observed: &Observed, steps: &[Step], before: MicroUsdPerHour) -> CostChange {
    let mut released: BTreeSet<&MachineId> = BTreeSet::new();
    let (mut first, mut dearest) = (MicroUsdPerHour(0), MicroUsdPerHour(0));
    for step in steps {
        match &step.action {
            Action::BuyMachine { candidates, .. } => {
                let prices = candidates.iter().map(|candidate| candidate.price);
                first = first + prices.clone().next().unwrap_or_default();
                dearest = dearest + prices.max().unwrap_or_default();
            }
            Action::ReleaseMachine { machine } => {
                released.insert(machine);
            }
            Action::StartReplica { .. }
            | Action::StopReplica { .. }
            | Action::RemoveNetwork { .. }
            | Action::DeleteOrphan { .. }
            | Action::ChangeAdopted { .. }
            | Action::ReleaseAdopted { .. } => {}
        }
    }
    let staying = observed
        .machines
        .iter()
        .filter(|machine| !released.contains(&machine.id))
        .map(price)
        .sum();
    CostChange {
        before,
        after: first + staying,
        ceiling: dearest + staying,
    }
}

fn price(machine: &Machine) -> MicroUsdPerHour {
    match machine.phase {
        MachinePhase::Wanted { .. } | MachinePhase::Gone { .. } => MicroUsdPerHour(0),
        MachinePhase::Creating { .. }
        | MachinePhase::Booting { .. }
        | MachinePhase::Ready { .. }
        | MachinePhase::Lost { .. }
        | MachinePhase::Releasing { .. } => machine
            .bought
            .as_ref()
            .map_or(MicroUsdPerHour(0), |bought| bought.price),
    }
}
