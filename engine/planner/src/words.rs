//! Plans in words, for people: what each step does and what it waits for.

use std::collections::BTreeMap;

use isobar_engine_model::id::StepId;
use isobar_engine_model::plan::{Action, Plan, Step};

/// A step in a few words, for progress lines: `buy machine general-1`.
pub fn title(step: &Step) -> String {
    match &step.action {
        Action::BuyMachine { machine, .. } => format!("buy machine {machine}"),
        Action::ReleaseMachine { machine } => format!("release machine {machine}"),
        Action::RemoveNetwork { site } => format!("remove the cluster's network in {site}"),
        Action::StartReplica { replica, machine, .. } => format!("start {replica} on {machine}"),
        Action::StopReplica { replica, machine, .. } => format!("stop {replica} on {machine}"),
        Action::DeleteOrphan { site, name, .. } => format!("delete the orphan {name} in {site}"),
        Action::ChangeAdopted { object, changes } => {
            let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
            format!("change {} of the adopted {object}", fields.join(", "))
        }
        Action::ReleaseAdopted { object } => format!("forget the adopted {object}, which stays in its cloud"),
    }
}

/// Each step of a plan in words, in order: `stop web-1 on general-1 once web-5 is healthy`.
pub fn outline(plan: &Plan) -> Vec<String> {
    let by_id: BTreeMap<StepId, &Step> = plan.body.steps.iter().map(|step| (step.id, step)).collect();
    let line = |step: &Step| {
        let needs = step.needs.iter().filter_map(|need| by_id.get(need).copied());
        format!("{}{}", what(step), once(step, needs))
    };
    plan.body.steps.iter().map(line).collect()
}

/// What a step does; of a purchase also what and where.
fn what(step: &Step) -> String {
    let title = title(step);
    let Action::BuyMachine { candidates, .. } = &step.action else {
        return title;
    };
    let Some(first) = candidates.first() else { return title };
    let fallbacks = match candidates.len() - 1 {
        0 => String::new(),
        1 => ", 1 fallback".into(),
        more => format!(", {more} fallbacks"),
    };
    format!(
        "{title} in {}: {}, {}{fallbacks}",
        first.site, first.offering, first.price
    )
}

/// What a step waits for, beyond what goes without saying: a machine's purchase and its replicas' end.
fn once<'s>(step: &Step, needs: impl Iterator<Item = &'s Step>) -> String {
    let waits: Vec<String> = needs
        .filter_map(|need| match (&step.action, &need.action) {
            (_, Action::StartReplica { replica, .. }) => Some(format!("{replica} is healthy")),
            (Action::ReleaseMachine { .. }, Action::StopReplica { .. }) => None,
            (_, Action::StopReplica { replica, .. }) => Some(format!("{replica} is stopped")),
            (
                _,
                Action::BuyMachine { .. }
                | Action::ReleaseMachine { .. }
                | Action::RemoveNetwork { .. }
                | Action::DeleteOrphan { .. }
                | Action::ChangeAdopted { .. }
                | Action::ReleaseAdopted { .. },
            ) => None,
        })
        .collect();
    if waits.is_empty() {
        String::new()
    } else {
        format!(" once {}", waits.join(" and "))
    }
}
