//! The state of a simulated cloud and its rules: what a create, a deletion or the passing of time does to it.
//!
//! Synchronous and without a clock: every call is told the time, and what is due by then happens first. Knows nothing
//! of lost answers: whatever gets here takes effect. Called under the cloud's lock only.

mod begin;
mod end;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{CreateResource, ProviderError, ResourceKind, Result, Token};

use crate::cloud::{MachineChange, MachineEvent};
use crate::config::{RegionConfig, SimConfig};
use crate::fault::{Counters, Fault, Operation};
use crate::machine::{Machine, Phase};
use crate::network::NetworkThings;
use crate::object::Objects;
use crate::part::{Maker, Parts};
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
    /// A part of a network that is being deleted is gone.
    VanishNetwork(ResourceHandle),
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
    pub(crate) networks: NetworkThings,
    pub(crate) objects: Objects,
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
            networks: NetworkThings::default(),
            objects: Objects::new(),
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
                Due::VanishNetwork(handle) => self.vanish_network(&handle, at),
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
