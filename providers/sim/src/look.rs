//! What readers see of a simulated cloud's world at a moment: machines and parts, hidden ones left out.
//!
//! Changes nothing. Called by the provider, under the cloud's lock.

use std::ops::Bound;

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{ProviderError, ResourceKind, ResourceState};

use crate::world::World;

impl World {
    /// One resource of a region as it was seen at `moment`, if it was.
    pub(crate) fn seen(&self, region: &str, handle: &ResourceHandle, moment: Timestamp) -> Option<ResourceState> {
        match self.machines.get(handle) {
            Some(machine) if machine.region() == region => machine.seen_at(moment),
            Some(_) => None,
            None if self.networks.get(handle).is_some() => {
                let thing = self.networks.get(handle).filter(|thing| thing.region() == region)?;
                thing.seen_at(handle, moment)
            }
            None => {
                let part = self.parts.get(handle).filter(|part| part.maker.region == region)?;
                part.seen_at(handle, moment)
            }
        }
    }

    /// Why a resource is not seen at a moment: it has ended and is remembered, or there is none.
    pub(crate) fn absent(&self, region: &str, handle: &ResourceHandle, moment: Timestamp) -> ProviderError {
        let machine = self.machines.get(handle).filter(|machine| machine.region() == region);
        let ended = machine.and_then(|machine| machine.ended(moment));
        match ended {
            Some(since) if moment.since_ms(since) < self.config.remembers_ms => ProviderError::Gone,
            Some(_) | None => ProviderError::NotFound,
        }
    }

    /// The resources of one kind in a region, after a handle and as they were seen at a moment, in handle order.
    pub(crate) fn all_seen<'a>(
        &'a self,
        kind: ResourceKind,
        region: &'a str,
        (after, moment): (Bound<ResourceHandle>, Timestamp),
    ) -> Box<dyn Iterator<Item = ResourceState> + 'a> {
        match kind {
            ResourceKind::Machine => Box::new(
                self.machines
                    .range((after, Bound::Unbounded))
                    .filter(move |(_, machine)| machine.region() == region)
                    .filter_map(move |(_, machine)| machine.seen_at(moment)),
            ),
            ResourceKind::Disk | ResourceKind::Interface | ResourceKind::Address => Box::new(
                self.parts
                    .after(after)
                    .filter(move |(_, part)| part.kind == kind && part.maker.region == region)
                    .filter_map(move |(handle, part)| part.seen_at(handle, moment)),
            ),
            ResourceKind::Network | ResourceKind::Gateway | ResourceKind::Subnet | ResourceKind::Firewall => Box::new(
                self.networks
                    .after(after)
                    .filter(move |(_, thing)| thing.kind() == kind && thing.region() == region)
                    .filter_map(move |(handle, thing)| thing.seen_at(handle, moment)),
            ),
        }
    }
}
