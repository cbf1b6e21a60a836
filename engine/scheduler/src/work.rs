//! A placement in the making: everything that filling, buying and settling share.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::{MachineId, PoolName, ReplicaId, WorkloadName};
use isobar_engine_model::observed::{Replica, ReplicaPhase};
use isobar_engine_model::plan::{Reason, Unmet};
use isobar_engine_model::quantity::Resources;
use isobar_engine_model::spec::{WorkloadKind, WorkloadSpec};

use crate::census::{self, Demand, Machines, is_daemon};
use crate::fleet::{ClassIx, Fleet, GoingIx, HostIx, sum};
use crate::offers::{Offers, sites_of};
use crate::ports::Ports;
use crate::room::{PoolRoom, Quotas, Rooms, Title, spread_owed};
use crate::{Assignment, CATALOG_FRESH_MS, PlacementInput, serving};

/// A replica that goes.
#[derive(Debug)]
pub(crate) struct Going<'a> {
    pub(crate) replica: &'a Replica,
    /// Its machine, if that stays.
    pub(crate) host: Option<HostIx>,
    /// Whether it serves now, so that stopping it costs availability.
    pub(crate) healthy: bool,
    /// Whether a new replica waits for it to be stopped.
    pub(crate) claimed: bool,
}

/// A placement in the making.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) input: PlacementInput<'a>,
    pub(crate) offers: Offers<'a>,
    pub(crate) machines: Machines<'a>,
    pub(crate) fleet: Fleet<'a>,
    pub(crate) host_of: BTreeMap<&'a MachineId, HostIx>,
    pub(crate) demands: Vec<Demand<'a>>,
    pub(crate) going: Vec<Going<'a>>,
    /// How many healthy replicas of a workload may be stopped before more of it are started.
    pub(crate) spare: BTreeMap<&'a WorkloadName, u32>,
    pub(crate) rooms: Rooms<'a>,
    pub(crate) quotas: Quotas<'a>,
    pub(crate) next_machine: BTreeMap<&'a PoolName, u32>,
    pub(crate) next_replica: BTreeMap<&'a WorkloadName, u32>,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) unmet: Vec<Unmet>,
    pub(crate) missing: BTreeMap<WorkloadName, u32>,
    pub(crate) reasons: Vec<Reason>,
    /// Workloads of which nothing is missing any more.
    pub(crate) placed: BTreeSet<&'a WorkloadName>,
    /// What is left of the work budget.
    pub(crate) budget: u64,
}

impl<'a> Work<'a> {
    /// Takes stock: what stays, what goes, what is owed.
    pub(crate) fn survey(input: &PlacementInput<'a>) -> Self {
        let offers = Offers::new(input.spec, input.catalog);
        let mut reasons = stale_prices(input);
        reasons.extend(silent_sites(input));
        let machines = census::machines(input, &offers, &mut reasons);
        let (demands, leaving) = census::replicas(input, &machines, &mut reasons);
        let mut work = Self {
            input: *input,
            offers,
            fleet: Fleet::default(),
            host_of: BTreeMap::new(),
            going: Vec::new(),
            spare: BTreeMap::new(),
            rooms: Rooms::new(),
            quotas: quotas(input),
            next_machine: input
                .observed
                .next_machine
                .iter()
                .map(|(pool, next)| (pool, *next))
                .collect(),
            next_replica: input
                .observed
                .next_replica
                .iter()
                .map(|(workload, next)| (workload, *next))
                .collect(),
            assignments: Vec::new(),
            unmet: Vec::new(),
            missing: BTreeMap::new(),
            reasons,
            placed: demands
                .iter()
                .filter(|demand| demand.missing == 0)
                .map(|demand| demand.name)
                .collect(),
            budget: input.budget.0,
            machines,
            demands,
        };
        work.build_fleet();
        work.note_kept();
        work.note_going(leaving);
        work.note_rooms();
        for host in 0..work.fleet.hosts.len() {
            work.fleet.index(host);
        }
        work
    }

    fn build_fleet(&mut self) {
        for (id, standing) in &self.machines.standing {
            let bought = standing.bought;
            let class = self.fleet.class(&standing.machine.pool, &bought.site, &bought.zone);
            let host = self.fleet.add((*id).clone(), class, bought.price, bought.allocatable);
            self.host_of.insert(id, host);
        }
        for pool in self.input.spec.pools.keys() {
            for offer in self.offers.of(pool).to_vec() {
                let class = self.fleet.class(pool, offer.site, &offer.offering.zone);
                self.fleet.classes[class].offers.push(offer);
            }
        }
    }

    fn note_kept(&mut self) {
        for demand in &self.demands {
            let daemon = matches!(demand.spec.kind, WorkloadKind::Daemon {});
            for replica in &demand.kept {
                let host = &mut self.fleet.hosts[self.host_of[&replica.machine]];
                host.committed = sum(&host.committed, &replica.resources);
                host.ports = host.ports.and(Ports::of(replica));
                host.load += u32::from(!daemon);
                *host.of_workload.entry(demand.name).or_default() += 1;
            }
            let healthy = demand.kept.iter().filter(|replica| replica.is_healthy()).count();
            self.spare
                .insert(demand.name, u32::try_from(healthy).unwrap_or(u32::MAX));
        }
    }

    fn note_going(&mut self, mut leaving: Vec<&'a Replica>) {
        let serving: BTreeSet<&ReplicaId> = serving(self.input.observed).map(|replica| &replica.id).collect();
        leaving.sort_by_key(|replica| (&replica.workload, replica.id.as_str().len(), &replica.id));
        for replica in leaving {
            let host = self.host_of.get(&replica.machine).copied();
            if let Some(host) = host
                && replica.takes_room()
            {
                self.fleet.hosts[host].going.push(self.going.len());
            }
            let healthy = serving.contains(&replica.id);
            *self.spare.entry(&replica.workload).or_default() += u32::from(healthy);
            self.going.push(Going {
                replica,
                host,
                healthy,
                claimed: false,
            });
        }
        for (workload, healthy) in &mut self.spare {
            *healthy = healthy.saturating_sub(
                self.input
                    .spec
                    .workloads
                    .get(*workload)
                    .map_or(0, WorkloadSpec::min_available),
            );
        }
        for host in 0..self.fleet.hosts.len() {
            self.tally_lingering(host);
        }
    }

    /// Counts anew what the leaving replicas of a machine take that nobody waits for.
    pub(crate) fn tally_lingering(&mut self, host: HostIx) {
        let host = &mut self.fleet.hosts[host];
        let going = host.going.iter().map(|ix| self.going[*ix].replica);
        (host.lingering, host.lingering_ports) = going
            .fold((Resources::default(), Ports::default()), |(room, ports), replica| {
                (sum(&room, &replica.resources), ports.and(Ports::of(replica)))
            });
    }

    fn note_rooms(&mut self) {
        for (name, pool) in &self.input.spec.pools {
            let mut have: BTreeMap<_, u32> = sites_of(pool, self.input.spec, self.input.catalog)
                .filter(|site| self.offers.of(name).iter().any(|offer| *offer.site == site.site))
                .map(|site| (&site.site, 0))
                .collect();
            let mut standing = 0;
            for host in self
                .machines
                .standing
                .values()
                .filter(|host| host.machine.pool == *name)
            {
                standing += 1;
                if let Some(count) = have.get_mut(&host.bought.site) {
                    *count += 1;
                }
            }
            let owed = pool.machines.min.saturating_sub(standing);
            let (owed, nowhere) = spread_owed(owed, &mut have, &mut self.quotas);
            if nowhere > 0 {
                let unmet = self.pool_unmet(name, pool, nowhere);
                self.unmet.push(unmet);
            }
            self.rooms.insert(
                name,
                PoolRoom {
                    count: pool.machines,
                    standing,
                    new: 0,
                    owed,
                },
            );
        }
    }

    /// Ids of leaving replicas.
    pub(crate) fn ids(&self, going: &[GoingIx]) -> Vec<ReplicaId> {
        let ids: BTreeSet<&ReplicaId> = going.iter().map(|ix| &self.going[*ix].replica.id).collect();
        ids.into_iter().cloned().collect()
    }

    /// Counts `looked` against the work budget; false once that is used up.
    pub(crate) fn spend(&mut self, looked: u64) -> bool {
        self.budget = self.budget.saturating_sub(looked);
        self.budget > 0
    }

    /// Takes note of one more machine of a class, and says what it is called.
    pub(crate) fn name_machine(&mut self, class: ClassIx, title: Title<'a>) -> MachineId {
        let class = &self.fleet.classes[class];
        let room = self
            .rooms
            .get_mut(class.pool)
            .expect("every pool with offers has its room noted");
        room.new += 1;
        // The quota of an owed machine was taken when it was given its site.
        let (owed_in, takes_quota) = match title {
            Title::Owed => (Some(class.site), false),
            Title::Moved(from) => (Some(from), true),
            Title::Extra => (None, true),
        };
        if let Some(owed) = owed_in.and_then(|site| room.owed.get_mut(site)) {
            *owed -= 1;
        }
        if takes_quota && let Some(left) = self.quotas.get_mut(class.site) {
            *left = left.saturating_sub(1);
        }
        if let Title::Moved(from) = title
            && let Some(left) = self.quotas.get_mut(from)
        {
            *left += 1;
        }
        let next = self.next_machine.entry(class.pool).or_insert(1);
        *next += 1;
        MachineId::of(class.pool, *next - 1)
    }

    /// What daemons take of each new machine of a class.
    pub(crate) fn daemons_of(&self, class: ClassIx) -> Resources {
        let class = &self.fleet.classes[class];
        self.demands
            .iter()
            .filter(|d| is_daemon(self.input.spec, d.name) && census::may_be(d.spec, class.pool, class.site))
            .fold(Resources::default(), |room, demand| sum(&room, &demand.spec.resources))
    }
}

/// Whether a new replica may only start once all old ones are stopped.
pub(crate) fn one_at_a_time(spec: &WorkloadSpec) -> bool {
    spec.singleton || matches!(spec.kind, WorkloadKind::Job { .. })
}

/// Whether a leaving replica is on its way out already.
pub(crate) fn is_stopping(replica: &Replica) -> bool {
    matches!(replica.phase, ReplicaPhase::Stopping { .. })
}

fn quotas<'a>(input: &PlacementInput<'a>) -> Quotas<'a> {
    input
        .catalog
        .sites
        .iter()
        .filter_map(|site| Some((&site.site, site.machines_left?)))
        .collect()
}

fn silent_sites<'a>(input: &PlacementInput<'a>) -> impl Iterator<Item = Reason> + use<'a> {
    input.catalog.silent.iter().map(|silent| Reason {
        about: silent.site.to_string(),
        because: format!(
            "what it offers is not known, so nothing is bought there: {}",
            silent.because
        ),
    })
}

fn stale_prices(input: &PlacementInput<'_>) -> Vec<Reason> {
    let oldest = input.catalog.sites.iter().filter_map(|site| {
        let ages = site
            .offerings
            .iter()
            .map(|offering| input.now.since_ms(offering.priced));
        Some((site, ages.max().filter(|age_ms| *age_ms > CATALOG_FRESH_MS)?))
    });
    oldest
        .map(|(site, age_ms)| Reason {
            about: site.site.to_string(),
            because: format!("its prices are up to {} hours old", age_ms / 3_600_000),
        })
        .collect()
}
