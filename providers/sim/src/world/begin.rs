//! How machines begin: what is asked for, whether there is room, what is made of it.

use std::sync::Arc;

use isobar_engine_model::catalog::Offering;
use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{
    CreateResource, Created, MachineRequest, NetworkRequest, OwnerTags, ProviderError, Result,
};

use super::{Due, Stale, TokenUse, World, conflict, invalid, maker_of};
use crate::cloud::MachineChange;
use crate::fault::{Fault, happens};
use crate::machine::{Machine, Origin};
use crate::network::part_of;
use crate::part;

impl World {
    /// Makes what is asked for, or answers with what the token made.
    pub(crate) fn create(
        &mut self,
        request: &Arc<CreateResource>,
        fault: Option<Fault>,
        now: Timestamp,
    ) -> Result<Created> {
        match part_of(request) {
            Some(wanted) => self.create_part(request, wanted, (fault, now)),
            None => {
                // A replay makes nothing.
                let token = (request.site.region.clone(), request.token.clone());
                if !self.tokens.contains_key(&token) {
                    self.check_network(&request.site.region, request.spec.machine()?)?;
                }
                self.create_machine(request, fault, now)
            }
        }
    }

    /// Makes a part of a network. Where these know no tokens, the same request makes another one each time.
    fn create_part(
        &mut self,
        request: &Arc<CreateResource>,
        wanted: &NetworkRequest,
        (fault, now): (Option<Fault>, Timestamp),
    ) -> Result<Created> {
        let validity_ms = self.config.network_token_validity_ms;
        if validity_ms > 0
            && let Some(known) = self.made_before(request)?
        {
            return Ok(known);
        }
        self.region(&request.site.region)?;
        self.networks.check(&request.site.region, &wanted.within, false)?;
        if fault == Some(Fault::OverQuota) {
            self.counters.count(Fault::OverQuota);
            return Err(ProviderError::QuotaExceeded {
                message: format!("no more {}s in {}", wanted.part.kind.name(), request.site.region),
            });
        }
        let visible_from = self.visible_from(now);
        let handle = self.networks.make(request, wanted, (now, visible_from));
        self.counters.parts_made += 1;
        if validity_ms > 0 {
            let name = (request.site.region.clone(), request.name.clone());
            self.names.insert(name, handle.clone());
            self.remember(request, &handle, now.plus_ms(validity_ms));
        }
        Ok(Created { handle })
    }

    /// What a request's token made.
    fn made_before(&mut self, request: &Arc<CreateResource>) -> Result<Option<Created>> {
        let region = request.site.region.clone();
        if let Some(known) = self.tokens.get(&(region.clone(), request.token.clone())) {
            if known.request != *request {
                return Err(conflict("the token was used for another request"));
            }
            self.counters.replays += 1;
            return Ok(Some(Created {
                handle: known.handle.clone(),
            }));
        }
        if self.names.contains_key(&(region, request.name.clone())) {
            return Err(conflict("the name is taken"));
        }
        Ok(None)
    }

    fn remember(&mut self, request: &Arc<CreateResource>, handle: &ResourceHandle, until: Timestamp) {
        let token = (request.site.region.clone(), request.token.clone());
        self.tokens.insert(
            token.clone(),
            TokenUse {
                request: Arc::clone(request),
                handle: handle.clone(),
            },
        );
        self.stale.add(until, Stale::Token(token));
    }

    /// From when on something new is seen. Always the same number of draws.
    fn visible_from(&mut self, now: Timestamp) -> Timestamp {
        let hidden_ms = self
            .random
            .within((1, (self.config.visibility_delay_max_ms / 2).max(1)));
        if !happens(self.config.faults.late_visibility, &mut self.random) {
            return now;
        }
        self.counters.count(Fault::LateVisibility);
        now.plus_ms(hidden_ms)
    }

    /// Makes a machine, whatever it is connected to.
    pub(crate) fn create_machine(
        &mut self,
        request: &Arc<CreateResource>,
        fault: Option<Fault>,
        now: Timestamp,
    ) -> Result<Created> {
        if let Some(known) = self.made_before(request)? {
            return Ok(known);
        }
        let region = request.site.region.clone();
        let machine = request.spec.machine()?;
        let config = self.region(&region)?;
        let offering = config
            .offerings(now)
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
        let origin = Origin::Request {
            request: Arc::clone(request),
            machine: machine.clone(),
        };
        let handle = self.make(origin, offering, (now, partial.is_none()));
        self.remember(request, &handle, now.plus_ms(self.config.token_validity_ms));
        Ok(Created { handle })
    }

    /// A machine is connected to everything that its region has it connected to.
    fn check_network(&self, region: &str, machine: &MachineRequest) -> Result<()> {
        let kinds = &self.config.network;
        if let Some(missing) = kinds.iter().find(|kind| !machine.network.contains_key(kind)) {
            return Err(invalid(format!("a machine of {region} needs a {}", missing.name())));
        }
        self.networks.check(region, &machine.network, true)
    }

    /// Puts in a machine that no create asked for.
    pub(crate) fn add_foreign(
        &mut self,
        region: &str,
        name: &str,
        tags: Option<OwnerTags>,
        now: Timestamp,
    ) -> Result<ResourceHandle> {
        let offering = self.region(region)?.offerings(now).into_iter().next();
        let offering = offering.ok_or_else(|| invalid(format!("region {region} offers nothing")))?;
        let origin = Origin::Foreign {
            region: region.to_owned(),
            zone: offering.zone.clone(),
            name: name.to_owned(),
            tags: tags.map(Box::new),
        };
        Ok(self.make(origin, offering, (now, true)))
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

        machine.visible_from = self.visible_from(now);
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
}
