//! Places what is missing, replica by replica: the best of all possible places each time.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::{PoolName, SiteName, Zone};
use isobar_engine_model::plan::Unmet;
use isobar_engine_model::spec::{Spread, WorkloadSpec};

use crate::census::{is_daemon, may_be};
use crate::fleet::{ClassIx, GoingIx, HostIx, When};
use crate::open::Opening;
use crate::room::Title;
use crate::work::{Work, one_at_a_time};

/// The placing of one workload's missing replicas.
struct Round<'a> {
    demand: usize,
    spec: &'a WorkloadSpec,
    /// Classes that it may be in.
    classes: Vec<ClassIx>,
    /// Sites among them, for guessing how many replicas go to each.
    sites: u32,
    in_site: BTreeMap<&'a SiteName, u32>,
    in_zone: BTreeMap<(&'a SiteName, &'a Zone), u32>,
    /// By class, machines that hold so many replicas of it, kept from being found until all with fewer are full.
    crowded: BTreeMap<ClassIx, BTreeMap<u32, Vec<HostIx>>>,
    /// Replicas of it on each machine that can be found now, by class.
    level: BTreeMap<ClassIx, u32>,
    /// Machines kept from being found since they lack a port or may not stop enough.
    hidden: Vec<HostIx>,
    /// Those that may not stop enough, while none of this workload may be stopped.
    blocked: Vec<HostIx>,
    /// Stopped before any of it starts.
    after: Vec<GoingIx>,
    left: u32,
}

/// A place for a replica.
#[derive(Debug, Clone)]
enum Place<'a> {
    Host { host: HostIx, claims: Vec<GoingIx> },
    New { class: ClassIx, opening: Opening<'a> },
}

/// What makes a place better: smaller is better, the first difference decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Replicas in its domain, for spreads before `machine`.
    spread: [u32; 2],
    /// Micro-dollars an hour more.
    cost: i64,
    /// Whether something must be stopped first.
    waits: bool,
    /// Replicas on its machine, if they spread over machines.
    level: u32,
    /// Replicas in its domain, for spreads after `machine`.
    spread_after: [u32; 2],
    /// A machine that is there, one that must be bought anyway, one that was meant for another site.
    opens: u8,
    /// Free memory and processor that remain.
    slack: (u32, u32),
    class: ClassIx,
}

impl<'a> Work<'a> {
    /// Starts daemons on the machines there are. New machines get theirs when they are decided.
    pub(crate) fn fill_daemons(&mut self) {
        for demand in 0..self.demands.len() {
            let (name, spec) = (self.demands[demand].name, self.demands[demand].spec);
            if !is_daemon(self.input.spec, name) {
                continue;
            }
            let mut missing = 0;
            for host in 0..self.fleet.hosts.len() {
                if self.start_daemon(demand, host) {
                    self.fleet.index(host);
                } else {
                    missing += 1;
                }
            }
            if missing > 0 {
                self.unmet.push(Unmet {
                    about: name.to_string(),
                    missing,
                    requirement: format!(
                        "room for {} and {} on every machine",
                        spec.resources.cpu, spec.resources.memory
                    ),
                    nearest: Some("larger machines, or smaller replicas beside it".into()),
                });
                self.missing.insert(name.clone(), missing);
            }
        }
    }

    /// Places what services and jobs lack, those with the largest replicas first.
    pub(crate) fn fill_all(&mut self) {
        let mut order: Vec<usize> = (0..self.demands.len())
            .filter(|ix| self.demands[*ix].missing > 0)
            .collect();
        order.sort_by_key(|ix| {
            let need = self.demands[*ix].spec.resources;
            (std::cmp::Reverse((need.memory, need.cpu)), self.demands[*ix].name)
        });
        for demand in order {
            let mut round = self.begin(demand);
            self.run(&mut round);
            self.end(round);
        }
    }

    fn begin(&mut self, demand: usize) -> Round<'a> {
        let (name, spec, left) = (
            self.demands[demand].name,
            self.demands[demand].spec,
            self.demands[demand].missing,
        );
        let may = |ix: &ClassIx| may_be(spec, self.fleet.classes[*ix].pool, self.fleet.classes[*ix].site);
        let classes: Vec<ClassIx> = (0..self.fleet.classes.len()).filter(may).collect();
        let mut round = Round {
            demand,
            spec,
            sites: 0,
            in_site: classes.iter().map(|ix| (self.fleet.classes[*ix].site, 0)).collect(),
            in_zone: BTreeMap::new(),
            crowded: BTreeMap::new(),
            level: BTreeMap::new(),
            hidden: Vec::new(),
            blocked: Vec::new(),
            after: Vec::new(),
            left,
            classes,
        };
        round.sites = u32::try_from(round.in_site.len().max(1)).unwrap_or(u32::MAX);
        let mut hosts = BTreeSet::new();
        for replica in &self.demands[demand].kept {
            let host = self.host_of[&replica.machine];
            let class = self.fleet.class_of(host);
            *round.in_site.entry(class.site).or_default() += 1;
            *round.in_zone.entry((class.site, class.zone)).or_default() += 1;
            hosts.insert(host);
        }
        for host in hosts {
            self.crowd(&mut round, host);
        }
        if one_at_a_time(spec) {
            round.after = (0..self.going.len())
                .filter(|ix| self.going[*ix].replica.workload == *name)
                .collect();
            self.claim(&round.after);
        }
        round
    }

    fn run(&mut self, round: &mut Round<'a>) {
        let mut tried: BTreeMap<&'a PoolName, HostIx> = BTreeMap::new();
        while round.left > 0 {
            if let Some(place) = self.best(round) {
                self.take(round, place);
                continue;
            }
            let demand = crate::census::Demand {
                name: self.demands[round.demand].name,
                spec: round.spec,
                revision: String::new(),
                kept: Vec::new(),
                missing: round.left,
            };
            if self.budget == 0 || !self.make_way(&demand, &mut tried) {
                let unmet = self.workload_unmet(&demand);
                self.missing.insert(demand.name.clone(), round.left);
                self.unmet.push(unmet);
                return;
            }
        }
        self.placed.insert(self.demands[round.demand].name);
    }

    fn end(&mut self, round: Round<'a>) {
        let crowded = round.crowded.into_values().flat_map(BTreeMap::into_values).flatten();
        for host in round.hidden.into_iter().chain(round.blocked).chain(crowded) {
            self.fleet.index(host);
        }
    }

    /// Keeps a machine with replicas of this workload from being found, if they spread over machines.
    fn crowd(&mut self, round: &mut Round<'a>, host: HostIx) {
        if !round.spec.placement.spread.contains(&Spread::Machine) {
            self.fleet.index(host);
            return;
        }
        self.fleet.hide(host, When::Now);
        self.fleet.hide(host, When::Later);
        let entry = &self.fleet.hosts[host];
        let count = entry
            .of_workload
            .get(self.demands[round.demand].name)
            .copied()
            .unwrap_or(0);
        round
            .crowded
            .entry(entry.class)
            .or_default()
            .entry(count)
            .or_default()
            .push(host);
    }

    fn best(&mut self, round: &mut Round<'a>) -> Option<Place<'a>> {
        if self.spare_of(round) > 0 {
            for host in std::mem::take(&mut round.blocked) {
                self.fleet.index(host);
            }
        }
        let mut best: Option<(Key, Place<'a>)> = None;
        for class in round.classes.clone() {
            for (key, place) in self.places(round, class) {
                if best.as_ref().is_none_or(|(other, _)| key < *other) {
                    best = Some((key, place));
                }
            }
            if !self.spend(1) {
                return None;
            }
        }
        best.map(|(_, place)| place)
    }

    /// The best place of each sort in one class.
    fn places(&mut self, round: &mut Round<'a>, class: ClassIx) -> Vec<(Key, Place<'a>)> {
        let mut places = Vec::new();
        loop {
            for when in [When::Now, When::Later] {
                if let Some((host, claims)) = self.find(round, class, when) {
                    let free = if when == When::Now {
                        self.fleet.hosts[host].free()
                    } else {
                        self.fleet.hosts[host].free_later()
                    };
                    let slack = free.less(&round.spec.resources);
                    let mut key = self.key(round, class, (slack.memory.0, slack.cpu.0));
                    key.waits = !claims.is_empty();
                    places.push((key, Place::Host { host, claims }));
                }
            }
            if !places.is_empty() || !self.uncrowd(round, class) {
                break;
            }
        }
        let share = if round.spec.placement.spread.contains(&Spread::Site) {
            round.left.div_ceil(round.sites)
        } else {
            round.left
        };
        if let Some(opening) = self.opening(class, round.spec, share) {
            let slack = opening.offer.offering.allocatable.less(&round.spec.resources);
            let mut key = self.key(round, class, (slack.memory.0, slack.cpu.0));
            (key.cost, key.level) = (opening.cost, 0);
            key.opens = if matches!(opening.title, Title::Moved(_)) { 2 } else { 1 };
            places.push((key, Place::New { class, opening }));
        }
        places
    }

    /// Lets the least crowded of a class's hidden machines be found. Whether there were any.
    fn uncrowd(&mut self, round: &mut Round<'a>, class: ClassIx) -> bool {
        let Some((level, hosts)) = round.crowded.get_mut(&class).and_then(BTreeMap::pop_first) else {
            return false;
        };
        round.level.insert(class, level);
        for host in hosts {
            self.fleet.index(host);
        }
        true
    }

    fn key(&self, round: &Round<'a>, class: ClassIx, slack: (u32, u32)) -> Key {
        let here = &self.fleet.classes[class];
        let levels = &round.spec.placement.spread;
        let by_machine = levels.iter().position(|level| *level == Spread::Machine);
        let mut key = Key {
            spread: [0; 2],
            cost: 0,
            waits: false,
            level: round.level.get(&class).copied().unwrap_or(0),
            spread_after: [0; 2],
            opens: 0,
            slack,
            class,
        };
        let (mut before, mut after) = (key.spread.iter_mut(), key.spread_after.iter_mut());
        for (ix, level) in levels.iter().enumerate() {
            let count = match level {
                Spread::Site => round.in_site.get(here.site),
                Spread::Zone => round.in_zone.get(&(here.site, here.zone)),
                Spread::Machine => continue,
            };
            let slot = if by_machine.is_none_or(|at| ix < at) {
                before.next()
            } else {
                after.next()
            };
            if let Some(slot) = slot {
                *slot = count.copied().unwrap_or(0);
            }
        }
        key
    }

    /// The machine of a class that a replica fits into most tightly, and what must be stopped there first.
    fn find(&mut self, round: &mut Round<'a>, class: ClassIx, when: When) -> Option<(HostIx, Vec<GoingIx>)> {
        loop {
            let (found, looked) = self.fleet.tightest(class, when, &round.spec.resources);
            let host = found?;
            if !self.spend(looked) {
                return None;
            }
            match (when, self.claims(host, round.demand)) {
                (When::Now, Some(claims)) if claims.is_empty() => return Some((host, claims)),
                (When::Later, Some(claims)) => return Some((host, claims)),
                // Room, but a port is taken: it may do once something is stopped.
                (When::Now, Some(_) | None) => {
                    self.fleet.hide(host, When::Now);
                    round.hidden.push(host);
                }
                (When::Later, None) => {
                    self.fleet.hide(host, When::Later);
                    let wait = if self.spare_of(round) == 0 {
                        &mut round.blocked
                    } else {
                        &mut round.hidden
                    };
                    wait.push(host);
                }
            }
        }
    }

    fn spare_of(&self, round: &Round<'a>) -> u32 {
        self.spare.get(self.demands[round.demand].name).copied().unwrap_or(0)
    }

    fn take(&mut self, round: &mut Round<'a>, place: Place<'a>) {
        let (host, claims) = match place {
            Place::Host { host, claims } => (host, claims),
            Place::New { class, opening } => (self.open(class, &opening), Vec::new()),
        };
        self.start(round.demand, host, &claims, &round.after);
        let class = self.fleet.class_of(host);
        *round.in_site.entry(class.site).or_default() += 1;
        *round.in_zone.entry((class.site, class.zone)).or_default() += 1;
        round.left -= 1;
        self.crowd(round, host);
    }
}
