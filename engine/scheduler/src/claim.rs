//! Room that leaving replicas hold: which of them must stop first so that a new one fits, and starting it there.
//!
//! A replica that serves is claimed only while its workload can spare it, so that claims alone never take a service
//! below its minimum: each one costs a spare, each start of the same workload brings one.

use std::collections::BTreeMap;

use isobar_engine_model::id::ReplicaId;
use isobar_engine_model::spec::WorkloadKind;

use crate::Assignment;
use crate::fleet::{GoingIx, HostIx, sum};
use crate::ports::{Ports, bind};
use crate::work::Work;

impl<'a> Work<'a> {
    /// What must be stopped on a machine so that a replica of `demand` fits: nothing, as little as may be, or none if
    /// it cannot or may not be done.
    pub(crate) fn claims(&self, host: HostIx, demand: usize) -> Option<Vec<GoingIx>> {
        let spec = self.demands[demand].spec;
        let host = &self.fleet.hosts[host];
        if host.retired {
            return None;
        }
        let mut claims = Vec::new();
        let fits = |stay: &[GoingIx], may_not_stop: &[GoingIx]| {
            let going = stay.iter().chain(may_not_stop).map(|ix| self.going[*ix].replica);
            let (room, ports) = going.fold((host.committed, host.ports), |(room, ports), replica| {
                (sum(&room, &replica.resources), ports.and(Ports::of(replica)))
            });
            host.allocatable.fits(&sum(&room, &spec.resources)) && bind(&spec.ports, ports).is_some()
        };
        let own = |ix: &GoingIx| self.going[*ix].replica.workload == *self.demands[demand].name;
        // Popped from the end: first what does not serve, then its own kind.
        let mut stay = host.going.clone();
        stay.sort_by_key(|ix| std::cmp::Reverse((self.going[*ix].healthy, !own(ix), *ix)));
        let mut may_not_stop = Vec::new();
        let mut spent: BTreeMap<_, u32> = BTreeMap::new();
        while !fits(&stay, &may_not_stop) {
            let next = stay.pop()?;
            let replica = self.going[next].replica;
            let used = spent.entry(&replica.workload).or_default();
            let spare = self.spare.get(&replica.workload).copied().unwrap_or(0);
            if !self.going[next].healthy {
                claims.push(next);
            } else if *used < spare {
                *used += 1;
                claims.push(next);
            } else {
                may_not_stop.push(next);
            }
        }
        Some(claims)
    }

    /// Has new replicas wait for these to be stopped.
    pub(crate) fn claim(&mut self, claims: &[GoingIx]) {
        for ix in claims {
            let going = &mut self.going[*ix];
            if going.claimed {
                continue;
            }
            going.claimed = true;
            if going.healthy
                && let Some(spare) = self.spare.get_mut(&going.replica.workload)
            {
                *spare = spare.saturating_sub(1);
            }
            if let Some(host) = going.host {
                let entry = &mut self.fleet.hosts[host];
                entry.going.retain(|other| other != ix);
                entry.claimed.push(*ix);
                self.tally_lingering(host);
                self.fleet.index(host);
            }
        }
    }

    /// Decides to start a replica on a machine that has room for it once `claims` are stopped.
    pub(crate) fn start(&mut self, demand: usize, host: HostIx, claims: &[GoingIx], after: &[GoingIx]) {
        self.claim(claims);
        let wanted = &self.demands[demand];
        let daemon = matches!(wanted.spec.kind, WorkloadKind::Daemon {});
        let next = self.next_replica.entry(wanted.name).or_insert(1);
        let replica = ReplicaId::of(wanted.name, *next);
        *next += 1;
        *self.spare.entry(wanted.name).or_default() += 1;
        let entry = &mut self.fleet.hosts[host];
        let taken = entry.ports.and(entry.lingering_ports);
        let (ports, _) = bind(&wanted.spec.ports, taken).expect("claims were chosen so that its ports are free");
        entry.ports = ports.values().fold(entry.ports, |set, binding| set.with(binding.node));
        entry.committed = sum(&entry.committed, &wanted.spec.resources);
        entry.load += u32::from(!daemon);
        *entry.of_workload.entry(wanted.name).or_default() += 1;
        let waits: Vec<GoingIx> = entry.claimed.iter().chain(after).copied().collect();
        self.assignments.push(Assignment {
            replica,
            workload: wanted.name.clone(),
            revision: wanted.revision.clone(),
            machine: entry.id.clone(),
            ports,
            after: self.ids(&waits),
        });
    }
}
