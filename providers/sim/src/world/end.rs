//! How machines end: by deletion, by themselves, for good.

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{ProviderError, ResourceKind, Result};

use super::{Due, Stale, World, conflict, maker_of};
use crate::cloud::MachineChange;
use crate::fault::Fault;
use crate::machine::{Origin, Phase};
use crate::part;

impl World {
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
        if self.networks.get(handle).is_some() {
            let in_use = self.alive().any(|machine| machine.is_connected_to(handle));
            self.networks.delete(region, handle, (in_use, now))?;
            self.due.add(now.plus_ms(takes_ms), Due::VanishNetwork(handle.clone()));
            return Ok(());
        }
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
            Phase::Gone => Err(self.absent(region, handle, now)),
        }
    }

    /// The end of a part of a network: its name is free.
    pub(crate) fn vanish_network(&mut self, handle: &ResourceHandle, at: Timestamp) {
        let Some(request) = self.networks.vanish(handle, at) else {
            return;
        };
        let name = (request.site.region.clone(), request.name.clone());
        if self.names.get(&name) == Some(handle) {
            self.names.remove(&name);
        }
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
        if let Origin::Request { request, .. } = &machine.origin {
            self.parts.vanish_with_machine(&maker_of(request), left, at);
        }
        let name = (machine.region().to_owned(), machine.name().to_owned());
        let place = (machine.region().to_owned(), machine.zone().clone());
        self.names.remove(&name);
        if let Some(taken) = self.in_zone.get_mut(&place) {
            *taken = taken.saturating_sub(1);
        }
        self.alive.remove(handle);
        let forgotten_ms = self.config.visibility_delay_max_ms.max(self.config.remembers_ms);
        self.stale.add(at.plus_ms(forgotten_ms), Stale::Machine(handle.clone()));
        self.note(handle, at, MachineChange::Gone);
    }
}
