//! What is there and what becomes of it: machines that stay or leave, replicas that stay or go, and how many are missing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::{MachineId, PoolName, ReplicaId, SiteName, WorkloadName, Zone};
use isobar_engine_model::observed::{Bought, Machine, MachinePhase, Replica, ReplicaPhase};
use isobar_engine_model::plan::{Reason, revision};
use isobar_engine_model::spec::{Spec, Spread, WorkloadKind, WorkloadSpec};

use crate::PlacementInput;
use crate::offers::{Offers, allows, meets};

/// A machine that stays.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) bought: &'a Bought,
}

/// Machines that stay, and those that do not.
#[derive(Debug, Default)]
pub(crate) struct Machines<'a> {
    pub(crate) standing: BTreeMap<&'a MachineId, Standing<'a>>,
    /// Every other machine that is not gone.
    pub(crate) ending: BTreeSet<&'a MachineId>,
}

/// What one workload still needs.
#[derive(Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) name: &'a WorkloadName,
    pub(crate) spec: &'a WorkloadSpec,
    pub(crate) revision: String,
    /// Stay as they are.
    pub(crate) kept: Vec<&'a Replica>,
    /// How many must be started; of a daemon, not counted here.
    pub(crate) missing: u32,
}

/// Which machines stay: usable, wanted by the spec as they are, and no more than their pool may have.
pub(crate) fn machines<'a>(input: &PlacementInput<'a>, offers: &Offers<'a>, why: &mut Vec<Reason>) -> Machines<'a> {
    let mut found = Machines::default();
    for machine in &input.observed.machines {
        match why_it_ends(input, offers, machine) {
            Ok(bought) => {
                found.standing.insert(&machine.id, Standing { machine, bought });
            }
            Err(None) => {}
            Err(Some(because)) => {
                found.ending.insert(&machine.id);
                why.push(Reason {
                    about: machine.id.to_string(),
                    because,
                });
            }
        }
    }
    end_surplus(input, &mut found, why);
    found
}

/// What was bought if the machine stays; else why it ends, or nothing if it is gone already.
fn why_it_ends<'a>(
    input: &PlacementInput<'a>,
    offers: &Offers<'a>,
    machine: &'a Machine,
) -> Result<&'a Bought, Option<String>> {
    let ends = |because: &str| Err(Some(because.to_owned()));
    match &machine.phase {
        MachinePhase::Wanted { .. } => return ends("released: it was never bought"),
        MachinePhase::Lost { reason, .. } => return Err(Some(format!("released: it is lost, {reason}"))),
        MachinePhase::Releasing { .. } => return ends("released: that has begun"),
        MachinePhase::Gone { .. } => return Err(None),
        MachinePhase::Creating { .. } | MachinePhase::Booting { .. } | MachinePhase::Ready { .. } => {}
    }
    let Some(bought) = &machine.bought else {
        return ends("released: nothing is known of what was bought");
    };
    if input.leaving.contains(&machine.id) {
        return ends("released: it is drained");
    }
    let Some(pool) = input.spec.pools.get(&machine.pool) else {
        return ends("released: its pool is no longer wanted");
    };
    if !input.spec.sites.contains_key(&bought.site) || !allows(pool, &bought.site) {
        return Err(Some(format!(
            "released: pool {} may not be in {}",
            machine.pool, bought.site
        )));
    }
    match offers.known(&bought.site, &bought.offering) {
        Some(offering) if !meets(&pool.requirements, offering) => Err(Some(format!(
            "released: {} is not what pool {} asks for",
            bought.offering, machine.pool
        ))),
        Some(_) | None => Ok(bought),
    }
}

/// Ends machines beyond their pool's maximum: first those with the fewest replicas that may stay, then the emptiest,
/// then the newest.
fn end_surplus<'a>(input: &PlacementInput<'a>, found: &mut Machines<'a>, why: &mut Vec<Reason>) {
    let loads = loads(input);
    let lasting = lasting(input, found);
    let count = |of: &BTreeMap<&'a MachineId, u32>, id: &MachineId| of.get(id).copied().unwrap_or(0);
    let mut of_pool: BTreeMap<&PoolName, Vec<Rank<'a>>> = BTreeMap::new();
    for (id, standing) in &found.standing {
        let newest = Reverse((id.as_str().len(), *id));
        of_pool
            .entry(&standing.machine.pool)
            .or_default()
            .push((count(&lasting, id), count(&loads, id), newest));
    }
    for (pool, mut machines) in of_pool {
        let max = usize::try_from(input.spec.pools[pool].machines.max).unwrap_or(usize::MAX);
        let surplus = machines.len().saturating_sub(max);
        machines.sort_unstable();
        for (_, _, Reverse((_, id))) in machines.into_iter().take(surplus) {
            found.standing.remove(id);
            found.ending.insert(id);
            let because = format!("released: pool {pool} may have at most {max}");
            why.push(Reason {
                about: id.to_string(),
                because,
            });
        }
    }
}

/// How readily a machine is ended.
type Rank<'a> = (u32, u32, Reverse<(usize, &'a MachineId)>);

/// How many replicas take room on each machine, without daemons.
fn loads<'a>(input: &PlacementInput<'a>) -> BTreeMap<&'a MachineId, u32> {
    let mut loads = BTreeMap::new();
    for replica in input
        .observed
        .replicas
        .iter()
        .filter(|r| r.takes_room() && !is_daemon(input.spec, &r.workload))
    {
        *loads.entry(&replica.machine).or_default() += 1;
    }
    loads
}

/// How many of them need not be replaced.
fn lasting<'a>(input: &PlacementInput<'a>, found: &Machines<'a>) -> BTreeMap<&'a MachineId, u32> {
    let revisions: BTreeMap<&WorkloadName, String> = input
        .spec
        .workloads
        .iter()
        .map(|(name, spec)| (name, revision(spec)))
        .collect();
    let mut lasting = BTreeMap::new();
    for replica in input
        .observed
        .replicas
        .iter()
        .filter(|r| r.takes_room() && !is_daemon(input.spec, &r.workload))
    {
        let spec = input.spec.workloads.get(&replica.workload);
        let same = revisions.get(&replica.workload) == Some(&replica.revision);
        let stopping = matches!(replica.phase, ReplicaPhase::Stopping { .. });
        let host = found.standing.get(&replica.machine);
        let allowed = host
            .zip(spec)
            .is_some_and(|(h, spec)| may_be(spec, &h.machine.pool, &h.bought.site));
        *lasting.entry(&replica.machine).or_default() += u32::from(same && allowed && !stopping);
    }
    lasting
}

/// Whether a workload runs once on every machine.
pub(crate) fn is_daemon(spec: &Spec, workload: &WorkloadName) -> bool {
    spec.workloads
        .get(workload)
        .is_some_and(|w| matches!(w.kind, WorkloadKind::Daemon {}))
}

/// Whether replicas of `workload` may be on machines of `pool` in `site`.
pub(crate) fn may_be(workload: &WorkloadSpec, pool: &PoolName, site: &SiteName) -> bool {
    workload
        .placement
        .sites
        .as_ref()
        .is_none_or(|sites| sites.contains(site))
        && workload
            .placement
            .pools
            .as_ref()
            .is_none_or(|pools| pools.contains(pool))
}

/// What every workload of the spec still needs, in name order, and the replicas that go.
pub(crate) fn replicas<'a>(
    input: &PlacementInput<'a>,
    machines: &Machines<'a>,
    why: &mut Vec<Reason>,
) -> (Vec<Demand<'a>>, Vec<&'a Replica>) {
    let mut of_workload: BTreeMap<&WorkloadName, Vec<&'a Replica>> = BTreeMap::new();
    for replica in &input.observed.replicas {
        if !matches!(replica.phase, ReplicaPhase::Stopped { .. }) {
            of_workload.entry(&replica.workload).or_default().push(replica);
        }
    }
    let loads = loads(input);
    let mut going = Vec::new();
    let mut demands = Vec::new();
    for (name, spec) in &input.spec.workloads {
        let there = of_workload.remove(name).unwrap_or_default();
        let sorting = Sorting {
            name,
            spec,
            revision: revision(spec),
            machines,
            loads: &loads,
        };
        demands.push(sorting.sort(there, &mut going, why));
    }
    // What no workload of the spec claims, goes.
    going.extend(of_workload.into_values().flatten());
    (demands, going)
}

/// Sorts the replicas of one workload into those that stay, those that go, and those that are history.
struct Sorting<'a, 'b> {
    name: &'a WorkloadName,
    spec: &'a WorkloadSpec,
    revision: String,
    machines: &'b Machines<'a>,
    loads: &'b BTreeMap<&'a MachineId, u32>,
}

impl<'a> Sorting<'a, '_> {
    fn sort(self, there: Vec<&'a Replica>, going: &mut Vec<&'a Replica>, why: &mut Vec<Reason>) -> Demand<'a> {
        let mut kept = Vec::new();
        let (mut succeeded, mut failed) = (0u32, 0u32);
        for replica in there {
            let same = replica.revision == self.revision;
            let job = matches!(self.spec.kind, WorkloadKind::Job { .. });
            match replica.phase {
                // A job's ended tries are its history: they stay known, and take no room.
                ReplicaPhase::Succeeded { .. } if job && same => succeeded += 1,
                ReplicaPhase::Failed { .. } if job && same => failed += 1,
                ReplicaPhase::Succeeded { .. } | ReplicaPhase::Failed { .. } | ReplicaPhase::Stopping { .. } => {
                    going.push(replica);
                }
                ReplicaPhase::Stopped { .. } => {}
                ReplicaPhase::Assigned { .. }
                | ReplicaPhase::Starting { .. }
                | ReplicaPhase::Running { .. }
                | ReplicaPhase::BackOff { .. } => {
                    if same && self.may_stay(replica) {
                        kept.push(replica)
                    } else {
                        going.push(replica)
                    }
                }
            }
        }
        let wanted = match self.spec.kind {
            WorkloadKind::Service { replicas, .. } => replicas,
            WorkloadKind::Job { attempts } => self.tries(attempts, succeeded, failed, why),
            WorkloadKind::Daemon {} => u32::MAX,
        };
        if matches!(self.spec.kind, WorkloadKind::Daemon {}) {
            self.one_a_machine(&mut kept, going);
        } else {
            self.cut(&mut kept, wanted, going);
        }
        let have = u32::try_from(kept.len()).unwrap_or(u32::MAX);
        let missing = match self.spec.kind {
            WorkloadKind::Service { .. } | WorkloadKind::Job { .. } => wanted.saturating_sub(have),
            WorkloadKind::Daemon {} => 0,
        };
        Demand {
            name: self.name,
            spec: self.spec,
            revision: self.revision,
            kept,
            missing,
        }
    }

    fn may_stay(&self, replica: &Replica) -> bool {
        self.machines
            .standing
            .get(&replica.machine)
            .is_some_and(|host| may_be(self.spec, &host.machine.pool, &host.bought.site))
    }

    /// How many replicas of a job should run: one, until it has succeeded or its tries are used up.
    fn tries(&self, attempts: u32, succeeded: u32, failed: u32, why: &mut Vec<Reason>) -> u32 {
        if succeeded > 0 {
            why.push(Reason {
                about: self.name.to_string(),
                because: "not started: it has succeeded".into(),
            });
            0
        } else if failed >= attempts {
            let because = format!("not started: it has failed {failed} times, and may be tried {attempts} times");
            why.push(Reason {
                about: self.name.to_string(),
                because,
            });
            0
        } else {
            1
        }
    }

    /// Keeps one daemon a machine, the oldest healthy one.
    fn one_a_machine(&self, kept: &mut Vec<&'a Replica>, going: &mut Vec<&'a Replica>) {
        kept.sort_by_key(|replica| (!replica.is_healthy(), age(replica)));
        let mut seen = BTreeSet::new();
        let all = std::mem::take(kept);
        for replica in all {
            if seen.insert(&replica.machine) {
                kept.push(replica)
            } else {
                going.push(replica)
            }
        }
    }

    /// Keeps `wanted` replicas: those that serve first, then as the spread asks, then on fuller machines, then the
    /// oldest.
    fn cut(&self, kept: &mut Vec<&'a Replica>, wanted: u32, going: &mut Vec<&'a Replica>) {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        if kept.len() <= wanted {
            return;
        }
        let load = |replica: &Replica| self.loads.get(&replica.machine).copied().unwrap_or(0);
        kept.sort_by_key(|r| (!r.is_healthy(), Reverse(load(r)), age(r)));
        for level in self.spec.placement.spread.iter().rev() {
            self.rank(kept, *level);
        }
        kept.sort_by_key(|replica| !replica.is_healthy());
        going.extend(kept.split_off(wanted));
    }

    /// Orders replicas so that the first of every domain come first, then the second of every domain ...
    fn rank(&self, kept: &mut [&'a Replica], level: Spread) {
        let mut counts: BTreeMap<Domain<'a>, u32> = BTreeMap::new();
        let mut rank_of: BTreeMap<&ReplicaId, u32> = BTreeMap::new();
        for replica in kept.iter() {
            let count = counts.entry(self.domain(replica, level)).or_default();
            rank_of.insert(&replica.id, *count);
            *count += 1;
        }
        kept.sort_by_key(|replica| rank_of[&replica.id]);
    }

    fn domain(&self, replica: &'a Replica, level: Spread) -> Domain<'a> {
        let bought = self.machines.standing.get(&replica.machine).map(|host| host.bought);
        match level {
            Spread::Site => (bought.map(|b| &b.site), None, None),
            Spread::Zone => (bought.map(|b| &b.site), bought.map(|b| &b.zone), None),
            Spread::Machine => (None, None, Some(&replica.machine)),
        }
    }
}

type Domain<'a> = (Option<&'a SiteName>, Option<&'a Zone>, Option<&'a MachineId>);

/// Orders replicas of one workload by their ordinals: `web-9` before `web-10`.
fn age(replica: &Replica) -> (usize, &str) {
    (replica.id.as_str().len(), replica.id.as_str())
}
