//! One simulated machine: what was asked for, and all it has been, so that an answer can show the past.
//!
//! Knows no faults and no randomness. Owned by the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_engine_model::catalog::Offering;
use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{CreateResource, MachineRequest, OwnerTags, ResourceState, ResourceStatus};

/// What a machine is at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Stopped { reason: String },
    Deleting,
    Gone,
}

impl Phase {
    fn status(&self) -> Option<ResourceStatus> {
        match self {
            Self::Pending => Some(ResourceStatus::Pending),
            Self::Running => Some(ResourceStatus::Running),
            Self::Stopped { reason } => Some(ResourceStatus::Stopped { reason: reason.clone() }),
            Self::Deleting => Some(ResourceStatus::Deleting),
            Self::Gone => None,
        }
    }
}

/// Where a machine came from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A create of ours.
    Request {
        request: Arc<CreateResource>,
        machine: MachineRequest,
    },
    /// Not by a create that anybody remembers: someone else's without tags, or with tags of ours.
    Foreign {
        region: String,
        zone: Zone,
        name: String,
        tags: Option<Box<OwnerTags>>,
    },
}

/// A machine and its history. Serial number, handle and address follow from each other.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) handle: ResourceHandle,
    pub(crate) serial: u32,
    pub(crate) origin: Origin,
    pub(crate) offering: Offering,
    pub(crate) visible_from: Timestamp,
    created: Timestamp,
    /// Never empty, in time order.
    history: Vec<(Timestamp, Phase)>,
}

impl Machine {
    pub(crate) fn new(serial: u32, origin: Origin, offering: Offering, now: Timestamp) -> Self {
        Self {
            handle: ResourceHandle::new(format!("sim-{serial:08}")),
            serial,
            origin,
            offering,
            visible_from: now,
            created: now,
            history: vec![(now, Phase::Pending)],
        }
    }

    pub(crate) fn phase(&self) -> &Phase {
        let (_, phase) = self.history.last().expect("a machine's history starts with its making");
        phase
    }

    pub(crate) fn enter(&mut self, at: Timestamp, phase: Phase) {
        self.history.push((at, phase));
    }

    pub(crate) fn region(&self) -> &str {
        match &self.origin {
            Origin::Request { request, .. } => &request.site.region,
            Origin::Foreign { region, .. } => region,
        }
    }

    pub(crate) fn zone(&self) -> &Zone {
        match &self.origin {
            Origin::Request { machine, .. } => &machine.zone,
            Origin::Foreign { zone, .. } => zone,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match &self.origin {
            Origin::Request { request, .. } => &request.name,
            Origin::Foreign { name, .. } => name,
        }
    }

    pub(crate) fn request(&self) -> Option<&Arc<CreateResource>> {
        match &self.origin {
            Origin::Request { request, .. } => Some(request),
            Origin::Foreign { .. } => None,
        }
    }

    pub(crate) fn tags(&self) -> Option<&OwnerTags> {
        match &self.origin {
            Origin::Request { request, .. } => Some(&request.tags),
            Origin::Foreign { tags, .. } => tags.as_deref(),
        }
    }

    pub(crate) fn identity(&self) -> &[u8] {
        match &self.origin {
            Origin::Request { machine, .. } => &machine.identity.0,
            Origin::Foreign { .. } => &[],
        }
    }

    /// Whether it was made to be in or behind a part of a network.
    pub(crate) fn is_connected_to(&self, part: &ResourceHandle) -> bool {
        match &self.origin {
            Origin::Request { machine, .. } => machine.network.values().any(|connected| connected == part),
            Origin::Foreign { .. } => false,
        }
    }

    /// The machine as it was seen at `moment`, if it was.
    pub(crate) fn seen_at(&self, moment: Timestamp) -> Option<ResourceState> {
        if moment < self.visible_from {
            return None;
        }
        let (_, phase) = self.history.iter().rev().find(|(since, _)| *since <= moment)?;
        Some(ResourceState {
            handle: self.handle.clone(),
            name: self.name().to_owned(),
            tags: self.tags().cloned(),
            status: phase.status()?,
            offering: Some(self.offering.id.clone()),
            endpoints: self.endpoints(),
            created: self.created,
        })
    }

    /// Since when it is gone, as it was known at `moment`.
    pub(crate) fn ended(&self, moment: Timestamp) -> Option<Timestamp> {
        let (since, phase) = self.history.last()?;
        (*phase == Phase::Gone && *since <= moment).then_some(*since)
    }

    /// What it cost until `now`, in micro-dollars x ms an hour: stopped machines are billed until they are gone.
    pub(crate) fn billed(&self, now: Timestamp) -> i128 {
        let gone = self
            .history
            .iter()
            .find(|(_, phase)| *phase == Phase::Gone)
            .map(|(at, _)| *at);
        let billed_ms = gone.unwrap_or(now).since_ms(self.created);
        i128::from(self.offering.price.0) * i128::from(billed_ms)
    }

    /// What its serial console printed until now.
    pub(crate) fn console(&self) -> String {
        let line = |(at, phase): &(Timestamp, Phase)| {
            let seconds = at.since_ms(self.created);
            format!(
                "[{:>8}.{:03}] {}: {phase:?}\n",
                seconds / 1000,
                seconds % 1000,
                self.handle
            )
        };
        self.history.iter().map(line).collect()
    }

    fn endpoints(&self) -> BTreeMap<u16, String> {
        let Origin::Request { machine, .. } = &self.origin else {
            return BTreeMap::new();
        };
        let (first, last) = machine.open_ports;
        let [_, high, middle, low] = self.serial.to_be_bytes();
        (first..=last)
            .map(|port| (port, format!("10.{high}.{middle}.{low}:{port}")))
            .collect()
    }
}
