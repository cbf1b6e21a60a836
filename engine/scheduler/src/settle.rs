//! Settles a placement: which machines are released, what may be bought for each new one, what it may cost.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::{MachineId, PoolName, SiteName};
use isobar_engine_model::observed::{Replica, ReplicaPhase};
use isobar_engine_model::plan::{Candidate, Reason, Unmet};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus};
use isobar_engine_model::spec::{Spread, WorkloadKind};

use crate::census::{Demand, may_be};
use crate::fleet::{ClassIx, HostIx};
use crate::offers::Offer;
use crate::work::{Work, is_stopping};
use crate::{Buy, MAX_CANDIDATES, Placement, Stop};

/// What decides which candidates a new machine has: equal ones have the same.
type Need = (ClassIx, (MilliCpus, Mebibytes), Vec<SiteName>, bool);

impl<'a> Work<'a> {
    /// Settles everything and tells it.
    pub(crate) fn settle(mut self) -> Placement {
        let released = self.release_empty();
        let mut buys = self.buys();
        self.keep_under_ceiling(&mut buys, &released);
        for (buy, first) in buys.iter().filter_map(|buy| Some((buy, buy.candidates.first()?))) {
            let because = format!(
                "bought: {} is the cheapest that serves in {}",
                first.offering, first.site
            );
            self.reasons.push(Reason {
                about: buy.machine.to_string(),
                because,
            });
        }
        let ending: BTreeSet<MachineId> = self
            .machines
            .ending
            .iter()
            .map(|id| (*id).clone())
            .chain(released.iter().map(|host| self.fleet.hosts[*host].id.clone()))
            .collect();
        let bought: BTreeSet<&MachineId> = buys.iter().map(|buy| &buy.machine).collect();
        let known = &self.input.observed.machines;
        let there: BTreeSet<&MachineId> = known.iter().map(|machine| &machine.id).chain(bought).collect();
        // Nothing starts on a machine that ends: only its daemons were.
        let assignments = std::mem::take(&mut self.assignments);
        let assignments: Vec<_> = assignments
            .into_iter()
            .filter(|a| there.contains(&a.machine) && !ending.contains(&a.machine))
            .collect();
        drop(there);
        self.tell_where(&assignments);
        let (kept, stopped): (Vec<&Replica>, Vec<&Replica>) = self
            .demands
            .iter()
            .flat_map(|demand| &demand.kept)
            .partition(|replica| !ending.contains(&replica.machine));
        let mut stops = self.stops(&ending, &stopped);
        stops.sort_by(|a, b| a.replica.cmp(&b.replica));
        let mut kept: Vec<_> = kept.into_iter().map(|replica| replica.id.clone()).collect();
        kept.sort_unstable();
        Placement {
            assignments,
            buys,
            stops,
            releases: ending.into_iter().collect(),
            kept,
            unmet: self.unmet,
            missing: self.missing,
            reasons: self.reasons,
        }
    }

    /// Machines that hold nothing and that their pool need not have: first where the pool has most, then the dearest,
    /// then the newest. With those that were given up.
    fn release_empty(&mut self) -> BTreeSet<HostIx> {
        let mut released: BTreeSet<HostIx> = BTreeSet::new();
        let mut in_site: BTreeMap<(&PoolName, &SiteName), u32> = BTreeMap::new();
        let mut empty: BTreeMap<(&PoolName, &SiteName), Vec<HostIx>> = BTreeMap::new();
        for (ix, host) in self.fleet.hosts.iter().enumerate() {
            let class = self.fleet.class_of(ix);
            if host.retired {
                released.insert(ix);
                continue;
            }
            *in_site.entry((class.pool, class.site)).or_default() += 1;
            if host.load == 0 && !host.new {
                empty.entry((class.pool, class.site)).or_default().push(ix);
            }
        }
        for hosts in empty.values_mut() {
            // Taken from the end.
            hosts.sort_by_key(|ix| (self.fleet.hosts[*ix].price, *ix));
        }
        for (name, room) in &self.rooms {
            let sites: BTreeSet<&SiteName> = empty.keys().filter(|(pool, _)| pool == name).map(|(_, s)| *s).collect();
            let mut most: BTreeSet<(u32, &SiteName)> =
                sites.iter().map(|site| (in_site[&(*name, *site)], *site)).collect();
            let mut surplus = (room.standing + room.new).saturating_sub(room.count.min);
            while surplus > 0
                && let Some((count, site)) = most.pop_last()
            {
                let Some(host) = empty.get_mut(&(*name, site)).and_then(Vec::pop) else {
                    continue;
                };
                surplus -= 1;
                most.insert((count - 1, site));
                released.insert(host);
                let because = format!("released: it holds nothing, and pool {name} needs {}", room.count.min);
                self.reasons.push(Reason {
                    about: self.fleet.hosts[host].id.to_string(),
                    because,
                });
            }
        }
        released
    }

    /// What may be bought for each new machine.
    fn buys(&mut self) -> Vec<Buy> {
        let mut known: BTreeMap<Need, Vec<Candidate>> = BTreeMap::new();
        let mut buys = Vec::new();
        for ix in 0..self.fleet.hosts.len() {
            if !self.fleet.hosts[ix].new {
                continue;
            }
            let need = self.need(ix);
            let candidates = known
                .entry(need)
                .or_insert_with_key(|need| self.candidates(ix, need))
                .clone();
            let host = &mut self.fleet.hosts[ix];
            host.price = candidates.first().map_or(host.price, |first| first.price);
            let id = host.id.clone();
            buys.push(Buy {
                machine: id,
                pool: self.fleet.class_of(ix).pool.clone(),
                candidates,
            });
        }
        buys
    }

    fn need(&self, host: HostIx) -> Need {
        let class = self.fleet.class_of(host);
        let host = &self.fleet.hosts[host];
        let workloads: Vec<_> = host
            .of_workload
            .keys()
            .map(|name| &self.input.spec.workloads[*name])
            .collect();
        let all = self.input.spec.sites.keys();
        let sites = all
            .filter(|site| workloads.iter().all(|spec| may_be(spec, class.pool, site)))
            .cloned()
            .collect();
        let by_zone = workloads
            .iter()
            .any(|spec| spec.placement.spread.contains(&Spread::Zone));
        (host.class, (host.committed.cpu, host.committed.memory), sites, by_zone)
    }

    /// Offerings that serve the very replicas of a new machine, best first.
    fn candidates(&self, host: HostIx, need: &Need) -> Vec<Candidate> {
        let class = self.fleet.class_of(host);
        let committed = self.fleet.hosts[host].committed;
        let (_, _, sites, by_zone) = need;
        let mut serve: Vec<&Offer<'a>> = self
            .offers
            .of(class.pool)
            .iter()
            .filter(|o| o.offering.allocatable.fits(&committed) && sites.contains(o.site))
            .collect();
        serve.sort_by_key(|o| {
            let elsewhere = o.offering.zone != *class.zone;
            (
                o.site != class.site,
                *by_zone && elsewhere,
                o.offering.price,
                elsewhere,
                o.site,
                &o.offering.id,
            )
        });
        serve.into_iter().take(MAX_CANDIDATES).map(Offer::candidate).collect()
    }

    /// Drops what would cost too much: first whole machines, then fallbacks that are dearer than what is left allows.
    fn keep_under_ceiling(&mut self, buys: &mut Vec<Buy>, released: &BTreeSet<HostIx>) {
        let Some(ceiling) = self.input.ceiling else { return };
        let hosts = self.fleet.hosts.iter().enumerate();
        let staying = hosts
            .filter(|(ix, host)| !host.new && !released.contains(ix))
            .map(|(_, host)| host.price);
        let staying: MicroUsdPerHour = staying.sum();
        let wanted = staying + buys.iter().filter_map(|buy| Some(buy.candidates.first()?.price)).sum();
        let mut left = ceiling.0.saturating_sub(staying.0);
        let (afforded, dropped): (Vec<Buy>, Vec<Buy>) = std::mem::take(buys).into_iter().partition(|buy| {
            let price = buy.candidates.first().map_or(0, |first| first.price.0);
            let affordable = price <= left;
            left -= if affordable { price } else { 0 };
            affordable
        });
        *buys = afforded;
        if !dropped.is_empty() || wanted > ceiling {
            self.note_dropped(&dropped, ceiling, wanted);
        }
        let mut to_go = i64::try_from(buys.len()).unwrap_or(i64::MAX);
        for buy in buys {
            let first = buy.candidates.first().map_or(0, |candidate| candidate.price.0);
            let most = first.saturating_add(left.max(0) / to_go);
            buy.candidates.retain(|candidate| candidate.price.0 <= most);
            let dearest = buy
                .candidates
                .iter()
                .map(|candidate| candidate.price.0)
                .max()
                .unwrap_or(first);
            left -= dearest - first;
            to_go -= 1;
        }
    }

    fn note_dropped(&mut self, dropped: &[Buy], ceiling: MicroUsdPerHour, wanted: MicroUsdPerHour) {
        let mut by_pool: BTreeMap<String, u32> = BTreeMap::new();
        for buy in dropped {
            *by_pool.entry(format!("pool {}", buy.pool)).or_default() += 1;
        }
        if by_pool.is_empty() {
            by_pool.insert(format!("cluster {}", self.input.spec.cluster), 0);
        }
        for (about, missing) in by_pool {
            self.unmet.push(Unmet {
                about,
                missing,
                requirement: format!("a cost of at most {ceiling} for the cluster"),
                nearest: Some(format!("{wanted}")),
            });
        }
        let without: BTreeSet<&MachineId> = dropped.iter().map(|buy| &buy.machine).collect();
        let mut lost: BTreeMap<_, u32> = BTreeMap::new();
        for assignment in self.assignments.iter().filter(|a| without.contains(&a.machine)) {
            *lost.entry(assignment.workload.clone()).or_default() += 1;
        }
        for (workload, missing) in lost {
            self.unmet.push(Unmet {
                about: format!("workload {workload}"),
                missing,
                requirement: format!("a machine more within a cost of {ceiling} for the cluster"),
                nearest: Some(format!("{wanted}")),
            });
            *self.missing.entry(workload).or_default() += missing;
        }
    }

    fn tell_where(&mut self, assignments: &[crate::Assignment]) {
        let site_of: BTreeMap<&MachineId, &SiteName> = self
            .fleet
            .hosts
            .iter()
            .enumerate()
            .map(|(ix, host)| (&host.id, self.fleet.class_of(ix).site))
            .collect();
        let mut counts: BTreeMap<String, BTreeMap<&SiteName, u32>> = BTreeMap::new();
        for assignment in assignments {
            let sites = counts.entry(assignment.workload.to_string()).or_default();
            *sites.entry(site_of[&assignment.machine]).or_default() += 1;
        }
        for (about, sites) in counts {
            let sites: Vec<String> = sites.iter().map(|(site, count)| format!("{count} in {site}")).collect();
            self.reasons.push(Reason {
                about,
                because: format!("starts {}", sites.join(", ")),
            });
        }
    }

    /// Replicas to stop: those that go, and the daemons of machines that end.
    fn stops(&mut self, ending: &BTreeSet<MachineId>, daemons: &[&'a Replica]) -> Vec<Stop> {
        let mut stops = Vec::new();
        let known: BTreeSet<&MachineId> = self.input.observed.machines.iter().map(|machine| &machine.id).collect();
        for going in &self.going {
            let machine = &going.replica.machine;
            // One that is being stopped already is waited for only where something depends on it.
            if is_stopping(going.replica) && !going.claimed && !ending.contains(machine) && known.contains(machine) {
                continue;
            }
            stops.push(stop(going.replica, going.healthy && self.must_overlap(going.replica)));
            let because = self.why_it_goes(going.replica, ending);
            self.reasons.push(Reason {
                about: going.replica.id.to_string(),
                because,
            });
        }
        stops.extend(daemons.iter().map(|replica| stop(replica, false)));
        stops
    }

    /// Whether the workload of a replica is one whose replicas stand in for each other.
    fn must_overlap(&self, replica: &Replica) -> bool {
        let spec = self.input.spec.workloads.get(&replica.workload);
        spec.is_some_and(|spec| matches!(spec.kind, WorkloadKind::Service { .. }) && !spec.singleton)
    }

    fn why_it_goes(&self, replica: &Replica, ending: &BTreeSet<MachineId>) -> String {
        let Ok(demand) = self
            .demands
            .binary_search_by_key(&&replica.workload, |demand| demand.name)
        else {
            return "stopped: its workload is no longer wanted".into();
        };
        let Demand { spec, revision, .. } = &self.demands[demand];
        match &replica.phase {
            ReplicaPhase::Failed { reason, .. } => return format!("stopped: it has failed, {reason}"),
            ReplicaPhase::Stopping { .. } => return "stopped: that has begun".into(),
            ReplicaPhase::Assigned { .. }
            | ReplicaPhase::Starting { .. }
            | ReplicaPhase::Running { .. }
            | ReplicaPhase::BackOff { .. }
            | ReplicaPhase::Succeeded { .. }
            | ReplicaPhase::Stopped { .. } => {}
        }
        if replica.revision != *revision {
            "stopped: its template has changed".into()
        } else if ending.contains(&replica.machine) {
            format!("stopped: {} is released", replica.machine)
        } else if let Some(standing) = self.machines.standing.get(&replica.machine) {
            if may_be(spec, &standing.machine.pool, &standing.bought.site) {
                "stopped: fewer are wanted".into()
            } else {
                format!("stopped: {} may not be in {}", replica.workload, standing.bought.site)
            }
        } else {
            format!("stopped: {} is gone", replica.machine)
        }
    }
}

fn stop(replica: &Replica, healthy: bool) -> Stop {
    Stop {
        replica: replica.id.clone(),
        workload: replica.workload.clone(),
        machine: replica.machine.clone(),
        healthy,
    }
}
