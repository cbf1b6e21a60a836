//! The state of a simulated cloud and its rules: what a create, a deletion or the passing of time does to it.
//!
//! Synchronous and without a clock: every call is told the time, and what is due by then happens first. Knows nothing
//! of lost answers: whatever gets here takes effect. Called under the cloud's lock only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use isobar_engine_model::catalog::Offering;
use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{CreateResource, Created, OwnerTags, ProviderError, ResourceKind, Result, Token};

use crate::cloud::{MachineChange, MachineEvent};
use crate::config::{RegionConfig, SimConfig};
use crate::fault::{Counters, Fault, Operation, happens};
use crate::machine::{Machine, Origin, Phase, machine_of};
use crate::part::{self, Maker, Parts};
use crate::random::SplitMix64;
use crate::schedule::Schedule;

/// Something that will happen by itself.
#[derive(Debug, Clone)]
enum Due {
    /// A new machine has booted.
    Boot(ResourceHandle),
    /// A machine dies.
    Die(ResourceHandle),
    /// A machine that is being deleted is gone, but for this part of it.
    Vanish(ResourceHandle, Option<ResourceKind>),
    /// A part that is being deleted is gone.
    VanishPart(ResourceHandle),
    /// A request whose caller gave up arrives.
    Arrive(Arc<CreateResource>),
}

/// Something that is forgotten in time.
#[derive(Debug, Clone)]
enum Stale {
    /// A machine that has been gone for so long that no answer shows it.
    Machine(ResourceHandle),
    /// A token whose validity is over.
    Token(TokenKey),
}

/// Tokens and names are unique within a region.
type TokenKey = (String, Token);
type NameKey = (String, String);

/// What a token made first.
#[derive(Debug, Clone)]
struct TokenUse {
    request: Arc<CreateResource>,
    handle: ResourceHandle,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) config: SimConfig,
    pub(crate) random: SplitMix64,
    pub(crate) counters: Counters,
    pub(crate) machines: BTreeMap<ResourceHandle, Machine>,
    pub(crate) parts: Parts,
    pub(crate) log: Vec<MachineEvent>,
    scripted: BTreeMap<Operation, VecDeque<Fault>>,
    /// Handles of machines that are not gone.
    alive: BTreeSet<ResourceHandle>,
    names: BTreeMap<NameKey, ResourceHandle>,
    tokens: BTreeMap<TokenKey, TokenUse>,
    in_zone: BTreeMap<(String, Zone), u32>,
    dry_until: BTreeMap<(String, Zone), Timestamp>,
    due: Schedule<Due>,
    stale: Schedule<Stale>,
    last_serial: u32,
    billed_before: i128,
}

impl World {
    pub(crate) fn new(config: SimConfig) -> Self {
        Self {
            random: SplitMix64::new(config.seed),
            config,
            counters: Counters::default(),
            machines: BTreeMap::new(),
            parts: Parts::default(),
            log: Vec::new(),
            scripted: BTreeMap::new(),
            alive: BTreeSet::new(),
            names: BTreeMap::new(),
            tokens: BTreeMap::new(),
            in_zone: BTreeMap::new(),
            dry_until: BTreeMap::new(),
            due: Schedule::new(),
            stale: Schedule::new(),
            last_serial: 0,
            billed_before: 0,
        }
    }

    /// The fault of the call that comes in now: the oldest one asked for by name, else a drawn one.
    pub(crate) fn fault_of_call(&mut self, operation: Operation) -> Option<Fault> {
        self.counters.called(operation);
        let drawn = self.config.faults.draw(operation, &mut self.random);
        self.scripted
            .get_mut(&operation)
            .and_then(VecDeque::pop_front)
            .or(drawn)
    }

    pub(crate) fn script(&mut self, operation: Operation, fault: Fault) {
        self.scripted.entry(operation).or_default().push_back(fault);
    }

    /// Lets everything happen that is due by `now`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        while let Some((at, due)) = self.due.take_due(now) {
            match due {
                Due::Boot(handle) => self.boot(&handle, at),
                Due::Die(handle) => {
                    if self.stop(&handle, "the machine died", at) {
                        self.counters.count(Fault::Death);
                    }
                }
                Due::Vanish(handle, left) => self.vanish(&handle, left, at),
                Due::VanishPart(handle) => self.parts.vanish(&handle, at),
                Due::Arrive(request) => {
                    // Nobody waits for the answer.
                    let _unheard = self.create(&request, None, at);
                }
            }
        }
        while let Some((_, stale)) = self.stale.take_due(now) {
            match stale {
                Stale::Machine(handle) => {
                    if let Some(machine) = self.machines.remove(&handle) {
                        self.billed_before += machine.billed(now);
                    }
                }
                Stale::Token(key) => {
                    self.tokens.remove(&key);
                }
            }
        }
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.next()
    }

    /// Makes a machine, or answers with the one that the token made.
    pub(crate) fn create(
        &mut self,
        request: &Arc<CreateResource>,
        fault: Option<Fault>,
        now: Timestamp,
    ) -> Result<Created> {
        let region = request.site.region.clone();
        let token = (region.clone(), request.token.clone());
        if let Some(known) = self.tokens.get(&token) {
            if known.request != *request {
                return Err(conflict("the token was used for another request"));
            }
            self.counters.replays += 1;
            return Ok(Created {
                handle: known.handle.clone(),
            });
        }
        let name = (region.clone(), request.name.clone());
        if self.names.contains_key(&name) {
            return Err(conflict("the name is taken"));
        }
        let machine = machine_of(request);
        let config = self.region(&region)?;
        let offering = config
            .offerings()
            .into_iter()
            .find(|offering| offering.id == machine.offering && offering.zone == machine.zone)
            .ok_or_else(|| invalid(format!("zone {} has no offering {}", machine.zone, machine.offering)))?;
        if config.images().iter().all(|image| image.id != machine.image) {
            return Err(invalid(format!("no image {}", machine.image)));
        }
        if machine.identity.0.len() > self.config.identity_max_bytes {
            return Err(invalid(format!(
                "an identity has at most {} bytes",
                self.config.identity_max_bytes
            )));
        }
        self.check_room(&region, &machine.zone, fault, now)?;

        let partial = (fault == Some(Fault::PartialCreate)).then(|| self.random.within((1, 2)));
        if let Some(parts) = partial {
            self.counters.count(Fault::PartialCreate);
            let made = usize::try_from(parts).unwrap_or(part::KINDS.len());
            let maker = maker_of(request);
            self.parts.make(&maker, &part::KINDS[..made], now);
            // One: the machine is there all the same, without address and disk.
            if parts == 2 {
                self.parts.loosen(&maker, now);
                return Err(ProviderError::Unavailable {
                    message: "it ended half-way".to_owned(),
                });
            }
        } else {
            self.parts.make(&maker_of(request), &part::KINDS, now);
        }
        let handle = self.make(Origin::Request(Arc::clone(request)), offering, (now, partial.is_none()));
        self.tokens.insert(
            token.clone(),
            TokenUse {
                request: Arc::clone(request),
                handle: handle.clone(),
            },
        );
        self.stale
            .add(now.plus_ms(self.config.token_validity_ms), Stale::Token(token));
        Ok(Created { handle })
    }

    /// Starts the deletion of a machine; one that is not visible cannot be deleted.
    pub(crate) fn delete(
        &mut self,
        region: &str,
        handle: &ResourceHandle,
        fault: Option<Fault>,
        now: Timestamp,
    ) -> Result<()> {
        let slow = fault == Some(Fault::SlowDelete);
        let range = if slow {
            self.config.timing.slow_delete_ms
        } else {
            self.config.timing.delete_ms
        };
        let takes_ms = self.random.within(range);
        let left = self.random.within((0, 2));
        match self.parts.delete(region, handle, now) {
            Some(true) => {
                self.due.add(now.plus_ms(takes_ms), Due::VanishPart(handle.clone()));
                return Ok(());
            }
            Some(false) => return Err(conflict("a machine uses it")),
            None => {}
        }
        let left = usize::try_from(left)
            .ok()
            .and_then(|left| part::KINDS.get(left))
            .filter(|_| fault == Some(Fault::LeftBehind));
        let machine = self
            .machines
            .get_mut(handle)
            .filter(|machine| machine.region() == region && machine.visible_from <= now)
            .ok_or(ProviderError::NotFound)?;
        match machine.phase() {
            Phase::Pending | Phase::Running | Phase::Stopped { .. } => {
                machine.enter(now, Phase::Deleting);
                if slow {
                    self.counters.count(Fault::SlowDelete);
                }
                if left.is_some() {
                    self.counters.count(Fault::LeftBehind);
                }
                self.due
                    .add(now.plus_ms(takes_ms), Due::Vanish(handle.clone(), left.copied()));
                Ok(())
            }
            Phase::Deleting => Ok(()),
            Phase::Gone => Err(ProviderError::NotFound),
        }
    }

    /// Puts in a machine that no create asked for.
    pub(crate) fn add_foreign(
        &mut self,
        region: &str,
        name: &str,
        tags: Option<OwnerTags>,
        now: Timestamp,
    ) -> Result<ResourceHandle> {
        let offering = self.region(region)?.offerings().into_iter().next();
        let offering = offering.ok_or_else(|| invalid(format!("region {region} offers nothing")))?;
        let origin = Origin::Foreign {
            region: region.to_owned(),
            zone: offering.zone.clone(),
            name: name.to_owned(),
            tags: tags.map(Box::new),
        };
        Ok(self.make(origin, offering, (now, true)))
    }

    /// Whether a machine was there to be stopped.
    pub(crate) fn stop(&mut self, handle: &ResourceHandle, reason: &str, at: Timestamp) -> bool {
        let Some(machine) = self.machines.get_mut(handle) else {
            return false;
        };
        match machine.phase() {
            Phase::Pending | Phase::Running => {
                machine.enter(
                    at,
                    Phase::Stopped {
                        reason: reason.to_owned(),
                    },
                );
                self.note(handle, at, MachineChange::Stopped);
                true
            }
            Phase::Stopped { .. } | Phase::Deleting | Phase::Gone => false,
        }
    }

    /// The end of a machine: its name, its place and its share of the quota are free.
    pub(crate) fn vanish(&mut self, handle: &ResourceHandle, left: Option<ResourceKind>, at: Timestamp) {
        let Some(machine) = self
            .machines
            .get_mut(handle)
            .filter(|machine| *machine.phase() != Phase::Gone)
        else {
            return;
        };
        machine.enter(at, Phase::Gone);
        if let Origin::Request(request) = &machine.origin {
            self.parts.vanish_with_machine(&maker_of(request), left, at);
        }
        let name = (machine.region().to_owned(), machine.name().to_owned());
        let place = (machine.region().to_owned(), machine.zone().clone());
        self.names.remove(&name);
        if let Some(taken) = self.in_zone.get_mut(&place) {
            *taken = taken.saturating_sub(1);
        }
        self.alive.remove(handle);
        self.stale.add(
            at.plus_ms(self.config.visibility_delay_max_ms),
            Stale::Machine(handle.clone()),
        );
        self.note(handle, at, MachineChange::Gone);
    }

    /// A request that arrives later than its caller waited for it.
    pub(crate) fn arrive_at(&mut self, at: Timestamp, request: Arc<CreateResource>) {
        self.due.add(at, Due::Arrive(request));
    }

    /// Machines that are not gone, in handle order.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &Machine> {
        self.alive.iter().filter_map(|handle| self.machines.get(handle))
    }

    /// How many machines the account may still make in a region.
    pub(crate) fn machines_left(&self, region: &str) -> Result<u32> {
        let taken: u32 = self
            .in_zone
            .iter()
            .filter(|((of, _), _)| of == region)
            .map(|(_, taken)| *taken)
            .sum();
        Ok(self.region(region)?.quota_machines.saturating_sub(taken))
    }

    /// What all machines cost until `now`, in micro-dollars.
    pub(crate) fn bill_micro_usd(&self, now: Timestamp) -> i128 {
        let running: i128 = self.machines.values().map(|machine| machine.billed(now)).sum();
        (self.billed_before + running + self.parts.billed(now)) / 3_600_000
    }

    pub(crate) fn region(&self, region: &str) -> Result<&RegionConfig> {
        self.config
            .regions
            .get(region)
            .ok_or_else(|| invalid(format!("no region {region}")))
    }

    /// Quota and capacity. Only a create that would really make a machine gets here: a replay needs no room.
    fn check_room(&mut self, region: &str, zone: &Zone, fault: Option<Fault>, now: Timestamp) -> Result<()> {
        let place = (region.to_owned(), zone.clone());
        let dry_ms = self.random.within(self.config.timing.dry_ms);
        if fault == Some(Fault::OverQuota) || self.machines_left(region)? == 0 {
            self.counters.count(Fault::OverQuota);
            return Err(ProviderError::QuotaExceeded {
                message: format!("no more machines in {region}"),
            });
        }
        if fault == Some(Fault::NoCapacity) {
            self.dry_until.insert(place.clone(), now.plus_ms(dry_ms));
        }
        let dry = fault == Some(Fault::NoCapacity) || self.dry_until.get(&place).is_some_and(|until| now < *until);
        let capacity = self
            .region(region)?
            .zones
            .iter()
            .find(|z| z.zone == *zone)
            .map_or(0, |z| z.capacity_machines);
        if dry || self.in_zone.get(&place).copied().unwrap_or(0) >= capacity {
            self.counters.count(Fault::NoCapacity);
            return Err(ProviderError::InsufficientCapacity {
                message: format!("no capacity in {zone}"),
            });
        }
        Ok(())
    }

    fn make(&mut self, origin: Origin, offering: Offering, (now, whole): (Timestamp, bool)) -> ResourceHandle {
        self.last_serial += 1;
        let timing = self.config.timing;
        let mut machine = Machine::new(self.last_serial, origin, offering, now);
        let handle = machine.handle.clone();

        let hidden_ms = self
            .random
            .within((1, (self.config.visibility_delay_max_ms / 2).max(1)));
        if happens(self.config.faults.late_visibility, &mut self.random) {
            machine.visible_from = now.plus_ms(hidden_ms);
            self.counters.count(Fault::LateVisibility);
        }
        let boots = now.plus_ms(self.random.within(timing.boot_ms));
        if whole {
            self.due.add(boots, Due::Boot(handle.clone()));
        }
        let dies = boots.plus_ms(self.random.within(timing.death_ms));
        if happens(self.config.faults.death, &mut self.random) {
            self.due.add(dies, Due::Die(handle.clone()));
        }

        self.names
            .insert((machine.region().to_owned(), machine.name().to_owned()), handle.clone());
        *self
            .in_zone
            .entry((machine.region().to_owned(), machine.zone().clone()))
            .or_default() += 1;
        self.alive.insert(handle.clone());
        self.machines.insert(handle.clone(), machine);
        self.counters.machines_made += 1;
        self.note(&handle, now, MachineChange::Made);
        handle
    }

    fn boot(&mut self, handle: &ResourceHandle, at: Timestamp) {
        let Some(machine) = self
            .machines
            .get_mut(handle)
            .filter(|machine| *machine.phase() == Phase::Pending)
        else {
            return;
        };
        machine.enter(at, Phase::Running);
        self.note(handle, at, MachineChange::Running);
    }

    fn note(&mut self, handle: &ResourceHandle, at: Timestamp, change: MachineChange) {
        self.log.push(MachineEvent {
            at,
            handle: handle.clone(),
            change,
        });
    }
}

/// Whose parts a request's are.
fn maker_of(request: &CreateResource) -> Maker {
    Maker {
        region: request.site.region.clone(),
        name: request.name.clone(),
        tags: request.tags.clone(),
    }
}

fn conflict(message: &str) -> ProviderError {
    ProviderError::Conflict {
        message: message.to_owned(),
    }
}

pub(crate) fn invalid(message: String) -> ProviderError {
    ProviderError::InvalidSpec { message }
}
