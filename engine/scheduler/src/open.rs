//! New machines: which to buy for replicas that nothing else has room for, and those that pools owe.

use std::collections::BTreeMap;

use isobar_engine_model::id::{PoolName, SiteName};
use isobar_engine_model::plan::Reason;
use isobar_engine_model::quantity::Resources;
use isobar_engine_model::spec::WorkloadSpec;

use crate::census::{Demand, may_be};
use crate::fleet::{ClassIx, GoingIx, HostIx, sum};
use crate::offers::Offer;
use crate::ports::replicas_per_machine;
use crate::room::Title;
use crate::work::Work;

/// A machine that could be bought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) offer: Offer<'a>,
    pub(crate) title: Title<'a>,
    /// What it costs more than what must be bought anyway, in micro-dollars an hour.
    pub(crate) cost: i64,
}

impl<'a> Work<'a> {
    /// What to buy in a class for `left` replicas: what serves them for the least money in all.
    pub(crate) fn opening(&self, class: ClassIx, spec: &WorkloadSpec, left: u32) -> Option<Opening<'a>> {
        let here = &self.fleet.classes[class];
        if here.offers.is_empty() {
            return None;
        }
        let room = self.rooms.get(here.pool)?;
        let title = room.title(here.site)?;
        if title != Title::Owed && self.quotas.get(here.site) == Some(&0) {
            return None;
        }
        let daemons = self.daemons_of(class);
        let base = here.offers[0].offering.price.0;
        let owed = i64::from(room.owed_in_all());
        let may_open = i64::from(room.owed_in_all()) + i64::from(room.left());
        let offer = here
            .offers
            .iter()
            .filter_map(|offer| {
                let fit = fit(&offer.offering.allocatable, &daemons, spec).min(left);
                if fit == 0 {
                    return None;
                }
                let machines = i64::from(left.div_ceil(fit));
                let price = offer.offering.price.0;
                let others_owed = base.saturating_mul((owed - machines).max(0));
                let in_all = price.saturating_mul(machines).saturating_add(others_owed);
                Some(((machines > may_open, in_all, price, &offer.offering.id), offer))
            })
            .min_by_key(|(key, _)| *key)?
            .1;
        let cost = match title {
            Title::Owed | Title::Moved(_) => offer.offering.price.0 - base,
            Title::Extra => offer.offering.price.0,
        };
        Some(Opening {
            offer: *offer,
            title,
            cost,
        })
    }

    /// Decides to buy a machine, with its daemons.
    pub(crate) fn open(&mut self, class: ClassIx, opening: &Opening<'a>) -> HostIx {
        let id = self.name_machine(class, opening.title);
        let offering = opening.offer.offering;
        let host = self.fleet.add(id, class, offering.price, offering.allocatable);
        self.fleet.hosts[host].new = true;
        for demand in 0..self.demands.len() {
            if !self.start_daemon(demand, host) {
                *self.missing.entry(self.demands[demand].name.clone()).or_default() += 1;
            }
        }
        self.fleet.index(host);
        host
    }

    /// Decides to buy what pools owe and no replica has asked for: the cheapest.
    pub(crate) fn open_owed(&mut self) {
        let owed: Vec<(&'a PoolName, &'a SiteName, u32)> = self
            .rooms
            .iter()
            .flat_map(|(pool, room)| room.owed.iter().map(|(site, count)| (*pool, *site, *count)))
            .collect();
        for (pool, site, count) in owed {
            let here = || self.offers.of(pool).iter().filter(|offer| offer.site == site).copied();
            let Some(cheapest) = here().next() else { continue };
            let daemons = self.daemons_of(self.class_in(pool, site, cheapest));
            let offer = here()
                .find(|offer| offer.offering.allocatable.fits(&daemons))
                .unwrap_or(cheapest);
            let class = self.class_in(pool, site, offer);
            for _ in 0..count {
                self.open(
                    class,
                    &Opening {
                        offer,
                        title: Title::Owed,
                        cost: 0,
                    },
                );
            }
        }
    }

    fn class_in(&self, pool: &PoolName, site: &SiteName, offer: Offer<'a>) -> ClassIx {
        let classes = self.fleet.classes.iter();
        let is_it = |c: &crate::fleet::Class<'a>| c.pool == pool && c.site == site && *c.zone == offer.offering.zone;
        classes.take_while(|c| !is_it(c)).count()
    }

    /// Makes room for a machine that serves `demand` in a pool that is full: gives up one that nothing stays on.
    /// Whether it could.
    pub(crate) fn make_way(&mut self, demand: &Demand<'a>, tried: &mut BTreeMap<&'a PoolName, HostIx>) -> bool {
        for class in 0..self.fleet.classes.len() {
            let here = &self.fleet.classes[class];
            let (pool, site) = (here.pool, here.site);
            if !may_be(demand.spec, pool, site) || !self.could_serve(class, demand.spec) {
                continue;
            }
            let Some(room) = self.rooms.get(pool) else { continue };
            if room.title(site).is_some() || room.count.max == 0 || self.quotas.get(site) == Some(&0) {
                continue;
            }
            let from = tried.entry(pool).or_default();
            let found = (*from..self.fleet.hosts.len()).find(|host| self.may_retire(*host, pool, demand));
            // Machines before it hold something, and will not be given up in this round.
            *from = found.unwrap_or(self.fleet.hosts.len());
            if let Some(host) = found {
                self.retire(host, pool, site);
                return true;
            }
        }
        false
    }

    /// Whether nothing stays on a machine, and what leaves it finds its place elsewhere.
    fn may_retire(&self, host: HostIx, pool: &PoolName, demand: &Demand<'a>) -> bool {
        let entry = &self.fleet.hosts[host];
        let finds_its_place = |ix: &GoingIx| {
            let going = &self.going[*ix];
            let workload = &going.replica.workload;
            !going.healthy
                || workload == demand.name
                || self.placed.contains(workload)
                || !self.input.spec.workloads.contains_key(workload)
        };
        self.fleet.class_of(host).pool == pool
            && !entry.new
            && !entry.retired
            && entry.load == 0
            && entry.going.iter().chain(&entry.claimed).all(finds_its_place)
    }

    fn retire(&mut self, host: HostIx, pool: &PoolName, to: &SiteName) {
        self.fleet.hosts[host].retired = true;
        self.fleet.index(host);
        if let Some(room) = self.rooms.get_mut(pool) {
            room.standing -= 1;
        }
        let because = format!("released: pool {pool} is full, and one in {to} is needed instead");
        self.reasons.push(Reason {
            about: self.fleet.hosts[host].id.to_string(),
            because,
        });
    }

    /// Whether something that a class offers could hold a replica, were there no other limit.
    pub(crate) fn could_serve(&self, class: ClassIx, spec: &WorkloadSpec) -> bool {
        let daemons = self.daemons_of(class);
        self.fleet.classes[class]
            .offers
            .iter()
            .any(|o| fit(&o.offering.allocatable, &daemons, spec) > 0)
    }

    /// Starts one daemon on a machine that lacks it and may have it. Whether it has it then, or should not.
    pub(crate) fn start_daemon(&mut self, demand: usize, host: HostIx) -> bool {
        let (name, spec) = (self.demands[demand].name, self.demands[demand].spec);
        let (class, entry) = (self.fleet.class_of(host), &self.fleet.hosts[host]);
        let is_one = crate::census::is_daemon(self.input.spec, name);
        if !is_one || !may_be(spec, class.pool, class.site) || entry.of_workload.contains_key(name) {
            return true;
        }
        let Some(claims) = self.claims(host, demand) else {
            return false;
        };
        self.start(demand, host, &claims, &[]);
        true
    }
}

/// How many replicas fit on an empty machine beside its daemons.
pub(crate) fn fit(allocatable: &Resources, daemons: &Resources, spec: &WorkloadSpec) -> u32 {
    if !allocatable.fits(&sum(daemons, &spec.resources)) {
        return 0;
    }
    let free = allocatable.less(daemons);
    let need = &spec.resources;
    let by_cpu = free.cpu.0.checked_div(need.cpu.0).unwrap_or(u32::MAX);
    let by_memory = free.memory.0.checked_div(need.memory.0).unwrap_or(u32::MAX);
    by_cpu.min(by_memory).min(replicas_per_machine(&spec.ports))
}
