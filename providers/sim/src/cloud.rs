//! The simulated cloud as a test holds it: everything behind the provider's back, and the hooks to break it.
//!
//! A clone is the same cloud. Never waits, except [`Events::next`]. Used by tests and simulations; the engine sees only
//! [`crate::SimProvider`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isobar_engine_model::catalog::Offering;
use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_provider::{Clock, CreateResource, Owner, OwnerTags, ResourceKind, ResourceState, Result, Secret};
use tokio::sync::Notify;

use crate::config::SimConfig;
use crate::fault::{Counters, Fault, FaultRates, Operation};
use crate::machine::Machine;
use crate::world::World;

/// A machine as it truly is, whatever the provider's answers say.
#[derive(Debug, Clone)]
pub struct SimMachine {
    /// What the cloud calls it.
    pub handle: ResourceHandle,
    /// In which region.
    pub region: String,
    /// In which zone.
    pub zone: Zone,
    /// What a provider that lags behind nothing would answer.
    pub state: ResourceState,
    /// What its node would read first.
    pub identity: Secret,
    /// What it costs, with its parts, until it is gone.
    pub price: MicroUsdPerHour,
}

/// A part of a machine as it truly is.
#[derive(Debug, Clone)]
pub struct SimPart {
    /// What it is.
    pub kind: ResourceKind,
    /// In which region.
    pub region: String,
    /// What a provider that lags behind nothing would answer.
    pub state: ResourceState,
    /// Nothing uses it: it is billed by itself.
    pub loose: bool,
}

/// A part of a network as it truly is.
#[derive(Debug, Clone)]
pub struct SimNetworkPart {
    /// What it is.
    pub kind: ResourceKind,
    /// What it was made from.
    pub request: Arc<CreateResource>,
    /// What a provider that lags behind nothing would answer.
    pub state: ResourceState,
}

impl SimMachine {
    /// Its tags; absent where it is not ours.
    pub fn tags(&self) -> Option<&OwnerTags> {
        self.state.tags.as_ref()
    }
}

/// What became of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineChange {
    /// It is there, and billed.
    Made,
    /// It runs: its node may join.
    Running,
    /// It does not run any more.
    Stopped,
    /// It is no more.
    Gone,
}

/// A change of a machine, as it truly happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineEvent {
    /// When.
    pub at: Timestamp,
    /// Which machine.
    pub handle: ResourceHandle,
    /// What.
    pub change: MachineChange,
}

/// A simulated cloud. Cheap to clone; a clone is the same cloud.
#[derive(Clone)]
pub struct SimCloud {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    clock: Arc<dyn Clock>,
    changed: Notify,
}

impl SimCloud {
    /// An empty cloud.
    pub fn new(config: SimConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                world: Mutex::new(World::new(config)),
                clock,
                changed: Notify::new(),
            }),
        }
    }

    /// What was asked and what failed until now.
    pub fn counters(&self) -> Counters {
        self.now_in(|world, _| world.counters.clone())
    }

    /// What all machines cost until now, in micro-dollars. Stopped machines are billed until they are gone.
    pub fn bill_micro_usd(&self) -> i128 {
        self.now_in(|world, now| world.bill_micro_usd(now))
    }

    /// Everything that a region rents, zones in order; empty: there is no such region.
    pub fn offerings(&self, region: &str) -> Vec<Offering> {
        self.now_in(|world, now| {
            world
                .region(region)
                .map(|region| region.offerings(now))
                .unwrap_or_default()
        })
    }

    /// How many machines the quota of a region leaves; no such region: none.
    pub fn quota_left(&self, region: &str) -> u32 {
        self.now_in(|world, _| world.machines_left(region).unwrap_or(0))
    }

    /// Every machine that is not gone, in handle order: also hidden, stopped and foreign ones.
    pub fn machines(&self) -> Vec<SimMachine> {
        self.now_in(|world, _| world.alive().filter_map(truth).collect())
    }

    /// The machines of `owner` that are not gone, in handle order.
    pub fn machines_of(&self, owner: &Owner) -> Vec<SimMachine> {
        let ours = |machine: &&Machine| machine.tags().is_some_and(|tags| tags.owner == *owner);
        self.now_in(|world, _| world.alive().filter(ours).filter_map(truth).collect())
    }

    /// Every part of a machine of ours that is not gone, in handle order.
    pub fn parts(&self) -> Vec<SimPart> {
        self.now_in(|world, now| {
            let parts = world.parts.alive().filter_map(|(handle, part)| {
                Some(SimPart {
                    kind: part.kind,
                    region: part.maker.region.clone(),
                    state: part.seen_at(handle, now)?,
                    loose: part.loose.is_some(),
                })
            });
            parts.collect()
        })
    }

    /// Every part of a network that is not gone, in handle order.
    pub fn networks(&self) -> Vec<SimNetworkPart> {
        self.now_in(|world, _| {
            let parts = world.networks.alive().filter_map(|(handle, thing)| {
                Some(SimNetworkPart {
                    kind: thing.kind(),
                    request: Arc::clone(thing.request()),
                    state: thing.seen_at(handle, Timestamp(u64::MAX))?,
                })
            });
            parts.collect()
        })
    }

    /// Brings a part of a network to where machines can use it. Whether it is there.
    pub fn connect(&self, region: &str, handle: &ResourceHandle) -> bool {
        self.now_in(|world, _| world.networks.connect(region, handle, Timestamp(u64::MAX)).is_ok())
    }

    /// Takes a part of a network away from outside, whatever is in it.
    pub fn remove_network(&self, handle: &ResourceHandle) {
        self.now_in(|world, now| world.vanish_network(handle, now));
    }

    /// One machine, unless it is gone.
    pub fn machine(&self, handle: &ResourceHandle) -> Option<SimMachine> {
        self.now_in(|world, _| world.machines.get(handle).and_then(truth))
    }

    /// What a machine was made from, also a while after it is gone; absent: nobody asked for it.
    pub fn request_of(&self, handle: &ResourceHandle) -> Option<Arc<CreateResource>> {
        self.now_in(|world, _| world.machines.get(handle).and_then(Machine::request).cloned())
    }

    /// Stops a machine from outside, as a crash of its host would. Whether there was one to stop.
    pub fn kill(&self, handle: &ResourceHandle) -> bool {
        self.now_in(|world, now| world.stop(handle, "killed from outside", now))
    }

    /// Its own node turns a machine off. Whether it ran.
    pub fn power_off(&self, handle: &ResourceHandle) -> bool {
        self.now_in(|world, now| world.stop(handle, "its node turned it off", now))
    }

    /// Takes a machine away from outside, as someone at the cloud's own console would.
    pub fn remove(&self, handle: &ResourceHandle) {
        self.now_in(|world, now| world.vanish(handle, None, now));
    }

    /// Puts in a machine that carries no tags of ours.
    pub fn add_foreign(&self, region: &str, name: &str) -> Result<ResourceHandle> {
        self.now_in(|world, now| world.add_foreign(region, name, None, now))
    }

    /// Puts in a machine with these tags that no create asked for: what an engine that nobody remembers left behind.
    pub fn add_tagged(&self, region: &str, name: &str, tags: OwnerTags) -> Result<ResourceHandle> {
        self.now_in(|world, now| world.add_foreign(region, name, Some(tags), now))
    }

    /// Puts in a machine that another engine asked for: with tags, and not ours.
    pub fn add_of_another(&self, request: CreateResource) -> Result<ResourceHandle> {
        self.now_in(|world, now| {
            world
                .create_machine(&Arc::new(request), None, now)
                .map(|created| created.handle)
        })
    }

    /// From now on, so many machines fit into a zone.
    pub fn set_zone_capacity(&self, region: &str, zone: &Zone, machines: u32) {
        self.now_in(|world, _| {
            let zones = world.config.regions.get_mut(region).map(|region| &mut region.zones);
            for found in zones.into_iter().flatten().filter(|found| found.zone == *zone) {
                found.capacity_machines = machines;
            }
        });
    }

    /// From now on, the account may have so many machines in a region.
    pub fn set_quota(&self, region: &str, machines: u32) {
        self.now_in(|world, _| {
            if let Some(region) = world.config.regions.get_mut(region) {
                region.quota_machines = machines;
            }
        });
    }

    /// From now on, things fail so often.
    pub fn set_faults(&self, faults: FaultRates) {
        self.now_in(|world, _| world.config.faults = faults);
    }

    /// The next call of this kind that has no such appointment yet fails so.
    ///
    /// [`Fault::LateVisibility`] and [`Fault::Death`] are not faults of a call: see [`Self::set_faults`] and
    /// [`Self::kill`].
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.now_in(|world, _| world.script(operation, fault));
    }

    /// What happens to machines, from the cloud's first moment on.
    pub fn events(&self) -> Events {
        Events {
            cloud: self.clone(),
            seen: 0,
        }
    }

    /// Looks at or changes the world as it is now.
    pub(crate) fn now_in<T>(&self, look: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let mut world = self.shared.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.clock.now();
        world.settle(now);
        let answer = look(&mut world, now);
        self.shared.changed.notify_waiters();
        answer
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn truth(machine: &Machine) -> Option<SimMachine> {
    Some(SimMachine {
        handle: machine.handle.clone(),
        region: machine.region().to_owned(),
        zone: machine.zone().clone(),
        state: machine.seen_at(Timestamp(u64::MAX))?,
        identity: Secret(machine.identity().to_vec()),
        price: machine.offering.price,
    })
}

/// What happens to machines, in order. Each holder sees everything.
pub struct Events {
    cloud: SimCloud,
    seen: usize,
}

impl Events {
    /// The next change. Waits until it happens, which lets time pass; forever in a cloud where nothing is left to
    /// happen. Cancel-safe.
    pub async fn next(&mut self) -> MachineEvent {
        loop {
            let shared = Arc::clone(&self.cloud.shared);
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            let (event, due) = {
                let mut world = self.cloud.world();
                world.settle(shared.clock.now());
                (world.log.get(self.seen).cloned(), world.next_due())
            };
            if let Some(event) = event {
                self.seen += 1;
                return event;
            }
            match due {
                None => changed.await,
                Some(due) => {
                    let pause = Duration::from_millis(due.since_ms(shared.clock.now()));
                    tokio::select! {
                        biased;
                        () = &mut changed => {}
                        () = shared.clock.sleep(pause) => {}
                    }
                }
            }
        }
    }
}
