//! Says which requirement cannot be met, and the nearest that could.

use isobar_engine_model::catalog::{Architecture, Offering, Purchase};
use isobar_engine_model::id::PoolName;
use isobar_engine_model::plan::Unmet;
use isobar_engine_model::quantity::Resources;
use isobar_engine_model::spec::{PoolSpec, Requirements, WorkloadSpec};

use crate::census::{Demand, may_be};
use crate::fleet::ClassIx;
use crate::offers::{meets, pays, sites_of};
use crate::work::Work;

/// One requirement of a pool: what it asks for in words, what meets it, and the nearest there is.
type Check<'r, 'a> = (String, Box<dyn Fn(&Offering) -> bool + 'r>, Nearest<'r, 'a>);
type Nearest<'r, 'a> = Box<dyn Fn(&[&'a Offering]) -> Option<String> + 'r>;

impl<'a> Work<'a> {
    /// Why machines that a pool must have cannot be bought.
    pub(crate) fn pool_unmet(&self, name: &PoolName, pool: &PoolSpec, missing: u32) -> Unmet {
        let sites: Vec<_> = sites_of(pool, self.input.spec, self.input.catalog).collect();
        let offerings: Vec<&Offering> = sites.iter().flat_map(|site| &site.offerings).collect();
        let (requirement, nearest) = if sites.is_empty() {
            (
                "a site with a catalog".to_owned(),
                Some("none of its sites says now what it offers: try again later".into()),
            )
        } else if self.offers.of(name).is_empty() {
            if offerings.iter().any(|offering| meets(&pool.requirements, offering)) {
                (
                    "a node image for what it may buy".to_owned(),
                    Some("publish the node image in its sites".into()),
                )
            } else {
                unmet_requirement(&pool.requirements, &offerings)
            }
        } else {
            let left: u32 = sites.iter().filter_map(|site| site.machines_left).sum();
            (
                format!("{missing} machines more than its sites' quotas allow"),
                Some(format!("{left} more may be bought: raise the quota, or add a site")),
            )
        };
        Unmet {
            about: format!("pool {name}"),
            missing,
            requirement,
            nearest,
        }
    }

    /// Why replicas of a workload cannot be placed.
    pub(crate) fn workload_unmet(&self, demand: &Demand<'a>) -> Unmet {
        let (requirement, nearest) = self.what_lacks(demand);
        Unmet {
            about: format!("workload {}", demand.name),
            missing: demand.missing,
            requirement,
            nearest,
        }
    }

    fn what_lacks(&self, demand: &Demand<'a>) -> (String, Option<String>) {
        let spec = demand.spec;
        if self.budget == 0 {
            let budget = self.input.budget.0;
            return (
                format!("more than {budget} places looked at"),
                Some("plan in smaller changes".into()),
            );
        }
        let classes: Vec<ClassIx> = (0..self.fleet.classes.len())
            .filter(|ix| may_be(spec, self.fleet.classes[*ix].pool, self.fleet.classes[*ix].site))
            .collect();
        if classes.is_empty() {
            return (place_in_words(spec), Some(self.pools_in_words()));
        }
        let in_classes = |class: ClassIx| classes.binary_search(&class).is_ok();
        let held = self
            .fleet
            .hosts
            .iter()
            .any(|h| in_classes(h.class) && h.allocatable.fits(&spec.resources));
        let serving: Vec<ClassIx> = classes
            .iter()
            .copied()
            .filter(|ix| self.could_serve(*ix, spec))
            .collect();
        if serving.is_empty() && !held {
            return self.too_large(&spec.resources, &classes);
        }
        self.no_room(demand, &serving)
    }

    /// No offering is large enough for one replica.
    fn too_large(&self, need: &Resources, classes: &[ClassIx]) -> (String, Option<String>) {
        let offers = classes.iter().flat_map(|ix| &self.fleet.classes[*ix].offers);
        let largest = offers.max_by_key(|o| {
            let room = o.offering.allocatable;
            (
                room.cpu >= need.cpu,
                room.memory,
                room.cpu,
                std::cmp::Reverse(&o.offering.id),
            )
        });
        let requirement = format!(
            "an offering with {} of memory and {} cpu for one replica",
            need.memory, need.cpu
        );
        let nearest = largest.map(|offer| {
            let room = offer.offering.allocatable;
            let id = &offer.offering.id;
            format!(
                "the largest is {id} in {} with {} and {} for replicas",
                offer.site, room.memory, room.cpu
            )
        });
        (requirement, nearest)
    }

    /// There is something large enough, but no more of it.
    fn no_room(&self, demand: &Demand<'a>, serving: &[ClassIx]) -> (String, Option<String>) {
        let requirement = format!("room for {} more", replicas(demand.missing));
        let mut nearest = Vec::new();
        if let Some(class) = serving.first().map(|ix| &self.fleet.classes[*ix])
            && let Some(room) = self.rooms.get(class.pool)
        {
            if room.left() == 0 {
                nearest.push(format!(
                    "raise `machines.max` of pool {} above {}",
                    class.pool, room.count.max
                ));
            } else {
                nearest.push(format!("raise the quota of {}", class.site));
            }
        }
        let held_back = self
            .going
            .iter()
            .any(|g| g.replica.workload == *demand.name && g.healthy && !g.claimed);
        let minimum = demand.spec.min_available();
        if held_back && minimum > 0 && !demand.spec.singleton {
            nearest.push(format!(
                "set `min_available` of {} to {}, so that old replicas may stop first",
                demand.name,
                minimum - 1
            ));
        }
        (requirement, (!nearest.is_empty()).then(|| nearest.join(", or ")))
    }

    fn pools_in_words(&self) -> String {
        let pools = self.input.spec.pools.iter().map(|(name, pool)| match &pool.sites {
            Some(sites) => format!("{name} may be in {}", list(sites)),
            None => format!("{name} may be in {}", list(self.input.spec.sites.keys())),
        });
        pools.collect::<Vec<_>>().join("; ")
    }
}

/// The requirement that no offering meets, and the nearest; if each is met by some, the ones that fail together.
fn unmet_requirement(asked: &Requirements, offerings: &[&Offering]) -> (String, Option<String>) {
    if offerings.is_empty() {
        return ("an offering".into(), Some("its sites offer nothing".into()));
    }
    let checks = checks(asked);
    for (words, met, nearest) in &checks {
        if !offerings.iter().any(|offering| met(offering)) {
            return (format!("an offering with {words}"), nearest(offerings));
        }
    }
    let words: Vec<&str> = checks.iter().map(|(words, _, _)| words.as_str()).collect();
    let nearest = offerings.iter().max_by_key(|offering| {
        let met = checks.iter().filter(|(_, met, _)| met(offering)).count();
        (met, std::cmp::Reverse((offering.price, &offering.id)))
    });
    let nearest = nearest.map(|offering| {
        let lacks = checks
            .iter()
            .filter(|(_, met, _)| !met(offering))
            .map(|(words, _, _)| words.as_str());
        format!(
            "{} has all but {}",
            offering.id,
            lacks.collect::<Vec<_>>().join(" and ")
        )
    });
    (format!("an offering with {}", words.join(" and ")), nearest)
}

fn checks<'r, 'a>(asked: &'r Requirements) -> Vec<Check<'r, 'a>> {
    let mut checks: Vec<Check<'r, 'a>> = Vec::new();
    if let Some(memory) = asked.memory {
        let nearest: Nearest<'r, 'a> = Box::new(|all| {
            let largest = all.iter().max_by_key(|o| (o.total.memory, std::cmp::Reverse(&o.id)))?;
            Some(format!("the largest is {} with {}", largest.id, largest.total.memory))
        });
        checks.push((
            format!("{memory} of memory"),
            Box::new(move |o| o.total.memory >= memory),
            nearest,
        ));
    }
    if let Some(cpu) = asked.cpu {
        let nearest: Nearest<'r, 'a> = Box::new(|all| {
            let largest = all.iter().max_by_key(|o| (o.total.cpu, std::cmp::Reverse(&o.id)))?;
            Some(format!("the largest is {} with {}", largest.id, largest.total.cpu))
        });
        checks.push((format!("{cpu} cpu"), Box::new(move |o| o.total.cpu >= cpu), nearest));
    }
    if let Some(architecture) = asked.architecture {
        let nearest: Nearest<'r, 'a> = Box::new(|all| there_is(all.iter().map(|o| in_words(o.architecture))));
        let words = format!("architecture {}", in_words(architecture));
        checks.push((words, Box::new(move |o| o.architecture == architecture), nearest));
    }
    if let Some(zones) = &asked.zones {
        let nearest: Nearest<'r, 'a> = Box::new(|all| there_is(all.iter().map(|o| o.zone.as_str())));
        checks.push((
            format!("zone {}", list(zones)),
            Box::new(move |o| zones.contains(&o.zone)),
            nearest,
        ));
    }
    if let Some(ids) = &asked.offerings {
        let nearest: Nearest<'r, 'a> = Box::new(|all| there_is(all.iter().map(|o| o.id.as_str())));
        checks.push((
            format!("the id {}", list(ids)),
            Box::new(move |o| ids.contains(&o.id)),
            nearest,
        ));
    }
    let nearest: Nearest<'r, 'a> = Box::new(|all| there_is(all.iter().map(|o| way(o.purchase))));
    let ways = asked.purchase.clone().unwrap_or_else(|| vec![Purchase::OnDemand]);
    let words = format!("purchase {}", list(ways.iter().map(|purchase| way(*purchase))));
    checks.push((words, Box::new(|o| pays(asked, o.purchase)), nearest));
    checks
}

fn there_is<'w>(words: impl Iterator<Item = &'w str>) -> Option<String> {
    let words: std::collections::BTreeSet<&str> = words.collect();
    (!words.is_empty()).then(|| format!("there is {}", list(words)))
}

fn in_words(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64",
        Architecture::Arm64 => "arm64",
    }
}

fn way(purchase: Purchase) -> &'static str {
    match purchase {
        Purchase::OnDemand => "on_demand",
        Purchase::Spot => "spot",
    }
}

fn place_in_words(spec: &WorkloadSpec) -> String {
    match (&spec.placement.pools, &spec.placement.sites) {
        (Some(pools), Some(sites)) => format!("a pool {} in {}", list(pools), list(sites)),
        (Some(pools), None) => format!("a pool {} that may buy something", list(pools)),
        (None, Some(sites)) => format!("a pool that may be in {}", list(sites)),
        (None, None) => "a pool that may buy something".into(),
    }
}

fn replicas(count: u32) -> String {
    if count == 1 {
        "1 replica".into()
    } else {
        format!("{count} replicas")
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
