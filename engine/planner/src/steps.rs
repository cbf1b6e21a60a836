//! Puts a placement into an order in which no service falls below what its spec allows.
//!
//! The rule: a service with `h` healthy replicas that must keep `m` may stop `h - m` of them at once; each one beyond
//! that is stopped only after a new one of its own is healthy, and no new one stands in for two. So at any moment, in
//! whatever order the steps are carried out that their needs allow, at least `min(h, m)` are healthy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use isobar_engine_model::id::{MachineId, ReplicaId, SiteName, StepId, WorkloadName};
use isobar_engine_model::observed::{Machine, Observed};
use isobar_engine_model::plan::{Action, Reason, Step, Unmet};
use isobar_engine_model::spec::{Spec, WorkloadSpec};
use isobar_engine_scheduler::{Assignment, Placement, Stop, serving};

/// The steps of a placement, each after those it needs, and those of what others made, which need nothing. What cannot be done in any allowed order is left out, and said
/// in the placement's `unmet` and `reasons`.
pub(crate) fn order(
    spec: Option<&Spec>,
    observed: &Observed,
    placement: &mut Placement,
    adopted: Vec<Action>,
) -> Vec<Step> {
    let mut ordering = Ordering::new(spec, observed, placement);
    for buy in &placement.buys {
        let action = Action::BuyMachine {
            machine: buy.machine.clone(),
            pool: buy.pool.clone(),
            candidates: buy.candidates.clone(),
        };
        let step = ordering.push(action, Vec::new());
        ordering.bought.insert(&buy.machine, step);
    }
    for assignment in &placement.assignments {
        ordering.start(assignment);
    }
    for stop in &placement.stops {
        ordering.stop(stop, &placement.missing);
    }
    for machine in &placement.releases {
        ordering.release(machine);
    }
    ordering.remove_networks(observed, placement);
    for action in adopted {
        ordering.push(action, Vec::new());
    }
    let Ordering {
        steps, unmet, reasons, ..
    } = ordering;
    placement.unmet.extend(unmet);
    placement.reasons.extend(reasons);
    steps
}

struct Ordering<'p> {
    steps: Vec<Step>,
    bought: BTreeMap<&'p MachineId, StepId>,
    stops: BTreeMap<&'p ReplicaId, &'p Stop>,
    /// Steps that stop a replica.
    stopped: BTreeMap<&'p ReplicaId, StepId>,
    stopped_on: BTreeMap<&'p MachineId, Vec<StepId>>,
    /// Steps that release a machine.
    released: BTreeMap<&'p MachineId, StepId>,
    /// Machines on which a replica stays that should go.
    occupied: BTreeSet<&'p MachineId>,
    /// How many healthy replicas of a workload may be stopped at once.
    spare: BTreeMap<&'p WorkloadName, u32>,
    /// Steps that start a replica and stand in for no other yet, the oldest first.
    fresh: BTreeMap<&'p WorkloadName, VecDeque<StepId>>,
    /// How many old replicas of a workload were left running for want of new ones.
    left: BTreeMap<&'p WorkloadName, u32>,
    unmet: Vec<Unmet>,
    reasons: Vec<Reason>,
}

impl<'p> Ordering<'p> {
    fn new(spec: Option<&Spec>, observed: &'p Observed, placement: &'p Placement) -> Self {
        let mut spare: BTreeMap<&WorkloadName, u32> = BTreeMap::new();
        for replica in serving(observed) {
            *spare.entry(&replica.workload).or_default() += 1;
        }
        for (workload, healthy) in &mut spare {
            *healthy = healthy.saturating_sub(must_serve(spec, workload));
        }
        Self {
            steps: Vec::new(),
            bought: BTreeMap::new(),
            stops: placement.stops.iter().map(|stop| (&stop.replica, stop)).collect(),
            stopped: BTreeMap::new(),
            stopped_on: BTreeMap::new(),
            released: BTreeMap::new(),
            occupied: BTreeSet::new(),
            spare,
            fresh: BTreeMap::new(),
            left: BTreeMap::new(),
            unmet: Vec::new(),
            reasons: Vec::new(),
        }
    }

    fn push(&mut self, action: Action, needs: Vec<StepId>) -> StepId {
        let id = StepId(u32::try_from(self.steps.len() + 1).expect("the work budget bounds a plan far below u32"));
        self.steps.push(Step { id, action, needs });
        id
    }

    /// Starts a replica, after those are stopped whose room it takes.
    fn start(&mut self, assignment: &'p Assignment) {
        let mut needs: Vec<StepId> = self.bought.get(&assignment.machine).copied().into_iter().collect();
        for replica in &assignment.after {
            let Some(stop) = self.stops.get(replica).copied() else {
                continue;
            };
            let Some(step) = self.stop_at_once(stop) else {
                // A machine that it counted on was too dear: so this one has no room either.
                self.unmet.push(Unmet {
                    about: format!("workload {}", assignment.workload),
                    missing: 1,
                    requirement: format!("stopping {replica} first"),
                    nearest: None,
                });
                *self.left.entry(&assignment.workload).or_default() += 1;
                return;
            };
            needs.push(step);
        }
        needs.sort_unstable();
        let step = self.push(
            Action::StartReplica {
                replica: assignment.replica.clone(),
                workload: assignment.workload.clone(),
                revision: assignment.revision.clone(),
                machine: assignment.machine.clone(),
                ports: assignment.ports.clone(),
            },
            needs,
        );
        self.fresh.entry(&assignment.workload).or_default().push_back(step);
    }

    /// Stops a replica whose room is needed: without waiting if that is allowed.
    fn stop_at_once(&mut self, stop: &'p Stop) -> Option<StepId> {
        if let Some(step) = self.stopped.get(&stop.replica) {
            return Some(*step);
        }
        if !stop.healthy {
            return Some(self.push_stop(stop, None));
        }
        if let Some(spare) = self.spare.get_mut(&stop.workload).filter(|spare| **spare > 0) {
            *spare -= 1;
            return Some(self.push_stop(stop, None));
        }
        let stand_in = self.fresh.get_mut(&stop.workload).and_then(VecDeque::pop_front)?;
        Some(self.push_stop(stop, Some(stand_in)))
    }

    /// Stops a replica that nothing waits for: after one stands in for it, if there is any.
    fn stop(&mut self, stop: &'p Stop, missing: &BTreeMap<WorkloadName, u32>) {
        if self.stopped.contains_key(&stop.replica) {
            return;
        }
        if !stop.healthy {
            self.push_stop(stop, None);
            return;
        }
        if let Some(stand_in) = self.fresh.get_mut(&stop.workload).and_then(VecDeque::pop_front) {
            self.push_stop(stop, Some(stand_in));
            return;
        }
        let left = self.left.entry(&stop.workload).or_default();
        let lacks = missing.get(&stop.workload).copied().unwrap_or(0) > *left;
        match self.spare.get_mut(&stop.workload).filter(|spare| **spare > 0 && !lacks) {
            Some(spare) => {
                *spare -= 1;
                self.push_stop(stop, None);
            }
            None => {
                *left += 1;
                self.occupied.insert(&stop.machine);
                let because = "left running: nothing stands in for it yet".to_owned();
                self.reasons.push(Reason {
                    about: stop.replica.to_string(),
                    because,
                });
            }
        }
    }

    fn push_stop(&mut self, stop: &'p Stop, stand_in: Option<StepId>) -> StepId {
        let action = Action::StopReplica {
            replica: stop.replica.clone(),
            workload: stop.workload.clone(),
            machine: stop.machine.clone(),
        };
        let step = self.push(action, stand_in.into_iter().collect());
        self.stopped.insert(&stop.replica, step);
        self.stopped_on.entry(&stop.machine).or_default().push(step);
        step
    }

    fn release(&mut self, machine: &'p MachineId) {
        if self.occupied.contains(machine) {
            let because = "kept: a replica on it cannot be stopped yet".to_owned();
            self.reasons.push(Reason {
                about: machine.to_string(),
                because,
            });
            return;
        }
        let needs = self.stopped_on.remove(machine).unwrap_or_default();
        let action = Action::ReleaseMachine {
            machine: machine.clone(),
        };
        let step = self.push(action, needs);
        self.released.insert(machine, step);
    }

    /// Removes the networks of sites that no machine is left in and none may come to.
    fn remove_networks(&mut self, observed: &'p Observed, placement: &'p Placement) {
        let candidates = placement.buys.iter().flat_map(|buy| &buy.candidates);
        for site in &observed.networks {
            let here = observed.machines.iter().filter(|machine| is_in(machine, site));
            let stays = here.clone().any(|machine| !self.released.contains_key(&machine.id));
            if stays || candidates.clone().any(|candidate| candidate.site == *site) {
                continue;
            }
            let needs = here
                .filter_map(|machine| self.released.get(&machine.id).copied())
                .collect();
            self.push(Action::RemoveNetwork { site: site.clone() }, needs);
        }
    }
}

fn is_in(machine: &Machine, site: &SiteName) -> bool {
    machine.bought.as_ref().is_some_and(|bought| bought.site == *site)
}

/// How many healthy replicas of a workload must never be fallen below. What is not wanted needs none.
fn must_serve(spec: Option<&Spec>, workload: &WorkloadName) -> u32 {
    spec.and_then(|spec| spec.workloads.get(workload))
        .map_or(0, WorkloadSpec::min_available)
}
