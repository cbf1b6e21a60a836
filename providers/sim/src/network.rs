//! Parts of networks: each made by itself, in others, brought to use by `connect`, and not deleted while something is in it.
//!
//! Not in any machine's price. Owned by the world; draws nothing at random.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{
    CreateResource, Network, NetworkRequest, ProviderError, ResourceKind, ResourceSpec, ResourceState, ResourceStatus,
    Result,
};

use crate::world::invalid;

/// One part of a network.
#[derive(Debug, Clone)]
pub(crate) struct NetworkThing {
    request: Arc<CreateResource>,
    kind: ResourceKind,
    within: Network,
    created: Timestamp,
    visible_from: Timestamp,
    connected: bool,
    deleting: Option<Timestamp>,
    gone: Option<Timestamp>,
}

/// Every part of a network that there is or was a short while ago.
#[derive(Debug, Default)]
pub(crate) struct NetworkThings {
    by_handle: BTreeMap<ResourceHandle, NetworkThing>,
    made: u32,
}

impl NetworkThing {
    pub(crate) fn kind(&self) -> ResourceKind {
        self.kind
    }

    pub(crate) fn request(&self) -> &Arc<CreateResource> {
        &self.request
    }

    pub(crate) fn region(&self) -> &str {
        &self.request.site.region
    }

    /// As it was seen at `moment`, if it was.
    pub(crate) fn seen_at(&self, handle: &ResourceHandle, moment: Timestamp) -> Option<ResourceState> {
        if moment < self.visible_from || self.gone.is_some_and(|gone| gone <= moment) {
            return None;
        }
        let status = match self.deleting {
            Some(since) if since <= moment => ResourceStatus::Deleting,
            Some(_) | None if self.connected => ResourceStatus::Running,
            Some(_) | None => ResourceStatus::Pending,
        };
        Some(ResourceState {
            handle: handle.clone(),
            name: self.request.name.clone(),
            tags: Some(self.request.tags.clone()),
            status,
            offering: None,
            endpoints: BTreeMap::new(),
            created: self.created,
        })
    }
}

impl NetworkThings {
    /// Makes a part, whatever else there is of its name.
    pub(crate) fn make(
        &mut self,
        request: &Arc<CreateResource>,
        wanted: &NetworkRequest,
        (now, visible_from): (Timestamp, Timestamp),
    ) -> ResourceHandle {
        self.made += 1;
        let handle = ResourceHandle::new(format!("sim-{}-{:08}", wanted.part.kind.name(), self.made));
        let thing = NetworkThing {
            request: Arc::clone(request),
            kind: wanted.part.kind,
            within: wanted.within.clone(),
            created: now,
            visible_from,
            connected: false,
            deleting: None,
            gone: None,
        };
        self.by_handle.insert(handle.clone(), thing);
        handle
    }

    /// That everything that something is to be made in is there, and ready where it must be.
    pub(crate) fn check(&self, region: &str, within: &Network, ready: bool) -> Result<()> {
        for (kind, handle) in within {
            let there = self.living(region, handle).filter(|thing| thing.kind == *kind);
            match there {
                Some(thing) if ready && !thing.connected => {
                    return Err(invalid(format!("{handle} is not connected")));
                }
                Some(_) => {}
                None => return Err(invalid(format!("there is no {} {handle}", kind.name()))),
            }
        }
        Ok(())
    }

    /// Brings a part to use.
    pub(crate) fn connect(&mut self, region: &str, handle: &ResourceHandle, now: Timestamp) -> Result<()> {
        let living = self.living(region, handle).is_some();
        let thing = self
            .by_handle
            .get_mut(handle)
            .filter(|thing| living && thing.visible_from <= now);
        thing.ok_or(ProviderError::NotFound)?.connected = true;
        Ok(())
    }

    /// The deletion of a part begins; `in_use`: a machine is connected to it.
    pub(crate) fn delete(
        &mut self,
        region: &str,
        handle: &ResourceHandle,
        (in_use, now): (bool, Timestamp),
    ) -> Result<()> {
        let holds = |thing: &NetworkThing| thing.gone.is_none() && thing.within.values().any(|within| within == handle);
        let in_use = in_use || self.by_handle.values().any(holds);
        let here = |thing: &&mut NetworkThing| {
            thing.request.site.region == region && thing.gone.is_none() && thing.visible_from <= now
        };
        let thing = self
            .by_handle
            .get_mut(handle)
            .filter(here)
            .ok_or(ProviderError::NotFound)?;
        if in_use {
            return Err(ProviderError::NotReady {
                message: format!("{handle} is in use"),
            });
        }
        thing.deleting.get_or_insert(now);
        Ok(())
    }

    /// The end of a part; gives what was asked for.
    pub(crate) fn vanish(&mut self, handle: &ResourceHandle, now: Timestamp) -> Option<Arc<CreateResource>> {
        let thing = self.by_handle.get_mut(handle).filter(|thing| thing.gone.is_none())?;
        thing.gone = Some(now);
        Some(Arc::clone(&thing.request))
    }

    pub(crate) fn get(&self, handle: &ResourceHandle) -> Option<&NetworkThing> {
        self.by_handle.get(handle)
    }

    /// Those after `after`, in handle order.
    pub(crate) fn after(&self, after: Bound<ResourceHandle>) -> impl Iterator<Item = (&ResourceHandle, &NetworkThing)> {
        self.by_handle.range((after, Bound::Unbounded))
    }

    /// Those that are not gone, in handle order.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (&ResourceHandle, &NetworkThing)> {
        self.by_handle.iter().filter(|(_, thing)| thing.gone.is_none())
    }

    fn living(&self, region: &str, handle: &ResourceHandle) -> Option<&NetworkThing> {
        let here = self.by_handle.get(handle).filter(|thing| thing.region() == region);
        here.filter(|thing| thing.gone.is_none() && thing.deleting.is_none())
    }
}

/// The part that a create asks for; absent: a machine.
pub(crate) fn part_of(request: &CreateResource) -> Option<&NetworkRequest> {
    match &request.spec {
        ResourceSpec::Network(wanted) => Some(wanted),
        ResourceSpec::Machine(_) => None,
    }
}
