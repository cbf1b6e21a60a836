//! The machines that replicas may be placed on, there already or to be bought, findable by the shape of their room.
//!
//! Machines of one pool, site and zone are a [`Class`]. Within a class, machines with the same free room are one
//! entry, so that the tightest fit is found without looking at every machine.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::{MachineId, PoolName, SiteName, WorkloadName, Zone};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources};

use crate::offers::Offer;
use crate::ports::Ports;

/// A machine's place in [`Fleet::hosts`].
pub(crate) type HostIx = usize;
/// A class's place in [`Fleet::classes`].
pub(crate) type ClassIx = usize;
/// A leaving replica's place among all of them.
pub(crate) type GoingIx = usize;

/// A machine that may run replicas.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    pub(crate) id: MachineId,
    pub(crate) class: ClassIx,
    /// What it costs; of a new one, what its first offering costs.
    pub(crate) price: MicroUsdPerHour,
    /// Whether it is still to be bought.
    pub(crate) new: bool,
    /// Whether it was given up to make room for another one.
    pub(crate) retired: bool,
    pub(crate) allocatable: Resources,
    /// What replicas take that stay or are to start.
    pub(crate) committed: Resources,
    /// Ports of those.
    pub(crate) ports: Ports,
    /// What leaving replicas take that nobody waits for.
    pub(crate) lingering: Resources,
    /// Ports of those.
    pub(crate) lingering_ports: Ports,
    /// Leaving replicas that nobody waits for.
    pub(crate) going: Vec<GoingIx>,
    /// Leaving replicas that new ones here wait for.
    pub(crate) claimed: Vec<GoingIx>,
    /// Replicas that stay or are to start here, without daemons: those do not keep a machine.
    pub(crate) load: u32,
    /// How many of each workload stay or are to start here.
    pub(crate) of_workload: BTreeMap<&'a WorkloadName, u32>,
    at: Option<Shape>,
    at_later: Option<Shape>,
}

/// Free memory and processor: the order in which a tight fit is looked for.
type Shape = (Mebibytes, MilliCpus);

/// Machines by free room.
pub(crate) type Shapes = BTreeMap<Shape, BTreeSet<HostIx>>;

/// Machines of one pool in one zone of a site, and what may be bought there.
#[derive(Debug)]
pub(crate) struct Class<'a> {
    pub(crate) pool: &'a PoolName,
    pub(crate) site: &'a SiteName,
    pub(crate) zone: &'a Zone,
    /// What may be bought, the cheapest first.
    pub(crate) offers: Vec<Offer<'a>>,
    /// By what is free at once.
    pub(crate) now: Shapes,
    /// Those with leaving replicas, by what is free once these are stopped.
    pub(crate) later: Shapes,
}

/// Every machine that may run replicas.
#[derive(Debug, Default)]
pub(crate) struct Fleet<'a> {
    pub(crate) hosts: Vec<Host<'a>>,
    pub(crate) classes: Vec<Class<'a>>,
    class_of: BTreeMap<(&'a PoolName, &'a SiteName, &'a Zone), ClassIx>,
}

/// Which machines of a class a search is among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Room that is free at once.
    Now,
    /// Room that is free once replicas are stopped.
    Later,
}

impl Host<'_> {
    /// What is free at once.
    pub(crate) fn free(&self) -> Resources {
        self.allocatable.less(&self.committed).less(&self.lingering)
    }

    /// What is free once every leaving replica is stopped.
    pub(crate) fn free_later(&self) -> Resources {
        self.allocatable.less(&self.committed)
    }
}

impl<'a> Fleet<'a> {
    /// The class of a pool in a zone of a site, made if need be.
    pub(crate) fn class(&mut self, pool: &'a PoolName, site: &'a SiteName, zone: &'a Zone) -> ClassIx {
        let classes = &mut self.classes;
        *self.class_of.entry((pool, site, zone)).or_insert_with(|| {
            classes.push(Class {
                pool,
                site,
                zone,
                offers: Vec::new(),
                now: Shapes::new(),
                later: Shapes::new(),
            });
            classes.len() - 1
        })
    }

    /// Adds a machine without replicas. It is found once it is [indexed](Self::index).
    pub(crate) fn add(&mut self, id: MachineId, class: ClassIx, price: MicroUsdPerHour, room: Resources) -> HostIx {
        self.hosts.push(Host {
            id,
            class,
            price,
            new: false,
            retired: false,
            allocatable: room,
            committed: Resources::default(),
            ports: Ports::default(),
            lingering: Resources::default(),
            lingering_ports: Ports::default(),
            going: Vec::new(),
            claimed: Vec::new(),
            load: 0,
            of_workload: BTreeMap::new(),
            at: None,
            at_later: None,
        });
        self.hosts.len() - 1
    }

    /// The class of a machine.
    pub(crate) fn class_of(&self, host: HostIx) -> &Class<'a> {
        &self.classes[self.hosts[host].class]
    }

    /// Makes a machine findable as it is now.
    pub(crate) fn index(&mut self, host: HostIx) {
        self.hide(host, When::Now);
        self.hide(host, When::Later);
        let entry = &mut self.hosts[host];
        if entry.retired {
            return;
        }
        let class = &mut self.classes[entry.class];
        let at = shape(&entry.free());
        class.now.entry(at).or_default().insert(host);
        entry.at = Some(at);
        if !entry.going.is_empty() {
            let at = shape(&entry.free_later());
            class.later.entry(at).or_default().insert(host);
            entry.at_later = Some(at);
        }
    }

    /// Keeps a machine from being found until it is indexed again.
    pub(crate) fn hide(&mut self, host: HostIx, when: When) {
        let entry = &mut self.hosts[host];
        let class = &mut self.classes[entry.class];
        let (shapes, at) = match when {
            When::Now => (&mut class.now, entry.at.take()),
            When::Later => (&mut class.later, entry.at_later.take()),
        };
        let Some(at) = at else { return };
        if let Some(there) = shapes.get_mut(&at) {
            there.remove(&host);
            if there.is_empty() {
                shapes.remove(&at);
            }
        }
    }

    /// The machine of a class that `need` fits into most tightly, and how many shapes were looked at.
    pub(crate) fn tightest(&self, class: ClassIx, when: When, need: &Resources) -> (Option<HostIx>, u64) {
        let class = &self.classes[class];
        let shapes = match when {
            When::Now => &class.now,
            When::Later => &class.later,
        };
        let mut looked = 1;
        for ((_, cpu), hosts) in shapes.range((need.memory, MilliCpus(0))..) {
            looked += 1;
            if *cpu >= need.cpu {
                return (hosts.first().copied(), looked);
            }
        }
        (None, looked)
    }
}

fn shape(free: &Resources) -> Shape {
    (free.memory, free.cpu)
}

/// Both amounts, as far as they can be counted.
pub(crate) fn sum(a: &Resources, b: &Resources) -> Resources {
    Resources {
        cpu: MilliCpus(a.cpu.0.saturating_add(b.cpu.0)),
        memory: Mebibytes(a.memory.0.saturating_add(b.memory.0)),
    }
}
