//! What the provider calls a thing: `europe-west1-b/instances/web-1`, or the path of a part of a network as the cloud itself
//! writes it, `regions/europe-west1/subnetworks/nodes`. Names are never used twice, so that a handle never means another
//! thing. Pure.

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{ProviderError, Result};

/// Which collection, and of which zone or region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Collection {
    Instances { zone: String },
    Disks { zone: String },
    Networks,
    Subnetworks { region: String },
    Routers { region: String },
    Firewalls,
}

/// Where a collection is, and the operations on what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    Zone(&'a str),
    Region(&'a str),
    Global,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) collection: Collection,
    pub(crate) name: String,
}

impl Collection {
    pub(crate) fn instances(zone: &str) -> Self {
        Self::Instances { zone: zone.to_owned() }
    }

    pub(crate) fn disks(zone: &str) -> Self {
        Self::Disks { zone: zone.to_owned() }
    }

    pub(crate) fn subnetworks(region: &str) -> Self {
        Self::Subnetworks {
            region: region.to_owned(),
        }
    }

    pub(crate) fn routers(region: &str) -> Self {
        Self::Routers {
            region: region.to_owned(),
        }
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        match self {
            Self::Instances { zone } | Self::Disks { zone } => Scope::Zone(zone),
            Self::Subnetworks { region } | Self::Routers { region } => Scope::Region(region),
            Self::Networks | Self::Firewalls => Scope::Global,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Instances { .. } => "instances",
            Self::Disks { .. } => "disks",
            Self::Networks => "networks",
            Self::Subnetworks { .. } => "subnetworks",
            Self::Routers { .. } => "routers",
            Self::Firewalls => "firewalls",
        }
    }
}

impl Place {
    pub(crate) fn new(collection: Collection, name: &str) -> Self {
        Self {
            collection,
            name: name.to_owned(),
        }
    }

    /// What a handle says. One that was never ours is of nothing.
    pub(crate) fn of(handle: &ResourceHandle) -> Result<Self> {
        let parts: Vec<&str> = handle.as_str().split('/').collect();
        let (collection, name) = match parts[..] {
            [zone, "instances", name] if is_name(zone) => (Collection::instances(zone), name),
            [zone, "disks", name] if is_name(zone) => (Collection::disks(zone), name),
            ["global", "networks", name] => (Collection::Networks, name),
            ["global", "firewalls", name] => (Collection::Firewalls, name),
            ["regions", region, "subnetworks", name] if is_name(region) => (Collection::subnetworks(region), name),
            ["regions", region, "routers", name] if is_name(region) => (Collection::routers(region), name),
            _ => return Err(ProviderError::NotFound),
        };
        if !is_name(name) {
            return Err(ProviderError::NotFound);
        }
        Ok(Self::new(collection, name))
    }

    pub(crate) fn handle(&self) -> ResourceHandle {
        match self.collection.scope() {
            Scope::Zone(zone) => {
                let (word, name) = (self.collection.word(), &self.name);
                ResourceHandle::new(format!("{zone}/{word}/{name}"))
            }
            Scope::Region(_) | Scope::Global => ResourceHandle::new(self.path()),
        }
    }

    /// As the cloud writes it, in the project: `zones/europe-west1-b/instances/web-1`.
    pub(crate) fn path(&self) -> String {
        let (word, name) = (self.collection.word(), &self.name);
        match self.collection.scope() {
            Scope::Zone(zone) => format!("zones/{zone}/{word}/{name}"),
            Scope::Region(region) => format!("regions/{region}/{word}/{name}"),
            Scope::Global => format!("global/{word}/{name}"),
        }
    }
}

/// Longest name of anything, in bytes.
pub(crate) const NAME_MAX_BYTES: usize = 63;

/// Whether the cloud takes it as a name: a letter first, no dash last, as RFC 1035 has it.
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= NAME_MAX_BYTES
        && text.bytes().all(inner)
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_says_what_it_was_made_of() {
        for collection in [
            Collection::instances("europe-west1-b"),
            Collection::disks("europe-west1-b"),
            Collection::Networks,
            Collection::subnetworks("europe-west1"),
            Collection::routers("europe-west1"),
            Collection::Firewalls,
        ] {
            let place = Place::new(collection, "iso-1");
            assert_eq!(Place::of(&place.handle()), Ok(place));
        }
    }

    #[test]
    fn what_is_no_handle_of_ours_is_of_nothing() {
        for text in [
            "",
            "a/b",
            "a/instances/",
            "a/instances/b/c",
            "a/instances/..",
            "a/networks/b",
            "a/disks/B",
            "global/networks/..",
            "global/subnetworks/a",
            "regions/a/networks/b",
            "regions/../subnetworks/b",
        ] {
            assert_eq!(
                Place::of(&ResourceHandle::new(text)),
                Err(ProviderError::NotFound),
                "{text}"
            );
        }
    }
}
