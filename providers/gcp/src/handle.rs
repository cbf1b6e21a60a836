//! What the provider calls a thing: `europe-west1-b/instances/web-1`, a zone, a collection and a name. Names are never used
//! twice, so that a handle never means another thing. Pure.

use std::fmt;

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{ProviderError, Result};

/// Which collection of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    Instances,
    Disks,
}

/// One thing of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) zone: String,
    pub(crate) collection: Collection,
    pub(crate) name: String,
}

impl Collection {
    fn word(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Disks => "disks",
        }
    }
}

impl Place {
    pub(crate) fn new(zone: &str, collection: Collection, name: &str) -> Self {
        Self {
            zone: zone.to_owned(),
            collection,
            name: name.to_owned(),
        }
    }

    /// What a handle says. One that was never ours is of nothing.
    pub(crate) fn of(handle: &ResourceHandle) -> Result<Self> {
        let parts: Vec<&str> = handle.as_str().split('/').collect();
        let (zone, collection, name) = match parts[..] {
            [zone, "instances", name] => (zone, Collection::Instances, name),
            [zone, "disks", name] => (zone, Collection::Disks, name),
            _ => return Err(ProviderError::NotFound),
        };
        if !is_name(zone) || !is_name(name) {
            return Err(ProviderError::NotFound);
        }
        Ok(Self::new(zone, collection, name))
    }

    pub(crate) fn handle(&self) -> ResourceHandle {
        ResourceHandle::new(self.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.zone, self.collection.word(), self.name)
    }
}

/// Longest name of anything in a zone, in bytes.
const NAME_MAX_BYTES: usize = 63;

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
        for collection in [Collection::Instances, Collection::Disks] {
            let place = Place::new("europe-west1-b", collection, "iso-1");
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
        ] {
            assert_eq!(
                Place::of(&ResourceHandle::new(text)),
                Err(ProviderError::NotFound),
                "{text}"
            );
        }
    }
}
