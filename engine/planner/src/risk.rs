//! What a plan puts at risk or ends.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::{MachineId, ReplicaId, SiteName, WorkloadName};
use isobar_engine_model::observed::Observed;
use isobar_engine_model::plan::{Action, Risk, Step};
use isobar_engine_model::spec::{Spec, WorkloadKind};
use isobar_engine_scheduler::{Placement, serving};

/// Every risk of carrying `steps` out, in order of severity.
pub(crate) fn find(spec: Option<&Spec>, observed: &Observed, placement: &Placement, steps: &[Step]) -> Vec<Risk> {
    let Some(spec) = spec else {
        return vec![Risk::ClusterEnds];
    };
    let mut risks = Vec::new();
    for workload in observed.spec.iter().flat_map(|stored| stored.workloads.keys()) {
        if !spec.workloads.contains_key(workload) {
            risks.push(Risk::WorkloadEnds {
                workload: workload.clone(),
            });
        }
    }
    risks.extend(below_minimum(spec, observed));
    if !steps.is_empty() && spec.sites.len() > 1 {
        risks.extend(single_site(spec, observed, placement, steps));
    }
    risks
}

fn below_minimum(spec: &Spec, observed: &Observed) -> Vec<Risk> {
    let mut healthy: BTreeMap<&WorkloadName, u32> = BTreeMap::new();
    for replica in serving(observed) {
        *healthy.entry(&replica.workload).or_default() += 1;
    }
    let mut risks = Vec::new();
    for (name, before) in observed.spec.iter().flat_map(|stored| &stored.workloads) {
        let Some(after) = spec.workloads.get(name) else {
            continue;
        };
        // A minimum that this very plan raises is not lost yet.
        let minimum = before.min_available().min(after.min_available());
        let healthy = healthy.get(name).copied().unwrap_or(0);
        if healthy < minimum {
            risks.push(Risk::BelowMinimum {
                workload: name.clone(),
                healthy,
                minimum,
            });
        }
    }
    risks
}

/// Services with several replicas that are all on one site afterwards.
fn single_site(spec: &Spec, observed: &Observed, placement: &Placement, steps: &[Step]) -> Vec<Risk> {
    let mut site_of: BTreeMap<&MachineId, &SiteName> = BTreeMap::new();
    for machine in &observed.machines {
        if let Some(bought) = &machine.bought {
            site_of.insert(&machine.id, &bought.site);
        }
    }
    let kept: BTreeSet<&ReplicaId> = placement.kept.iter().collect();
    let mut places: Vec<(&WorkloadName, &MachineId)> = observed
        .replicas
        .iter()
        .filter(|r| kept.contains(&r.id))
        .map(|r| (&r.workload, &r.machine))
        .collect();
    for step in steps {
        match &step.action {
            Action::BuyMachine {
                machine, candidates, ..
            } => {
                if let Some(first) = candidates.first() {
                    site_of.insert(machine, &first.site);
                }
            }
            Action::StartReplica { workload, machine, .. } => places.push((workload, machine)),
            Action::StopReplica { .. }
            | Action::ReleaseMachine { .. }
            | Action::RemoveNetwork { .. }
            | Action::DeleteOrphan { .. }
            | Action::ChangeAdopted { .. }
            | Action::ReleaseAdopted { .. } => {}
        }
    }
    let mut sites: BTreeMap<&WorkloadName, (u32, BTreeSet<&SiteName>)> = BTreeMap::new();
    for (workload, machine) in places {
        let entry = sites.entry(workload).or_default();
        entry.0 += 1;
        entry.1.extend(site_of.get(machine));
    }
    let services = sites.into_iter().filter(|(name, _)| {
        spec.workloads
            .get(*name)
            .is_some_and(|w| matches!(w.kind, WorkloadKind::Service { .. }))
    });
    services
        .filter_map(
            |(workload, (replicas, sites))| match sites.into_iter().collect::<Vec<_>>()[..] {
                [site] if replicas > 1 => Some(Risk::SingleSite {
                    workload: workload.clone(),
                    site: site.clone(),
                }),
                _ => None,
            },
        )
        .collect()
}
