//! Where an id leads: `zones/europe-west1-b/instances/web`, or `projects/P/` before it. Pure.

use isobar_engine_provider::adoption::{ObjectRef, of_another};
use isobar_engine_provider::{ProviderError, Result, Site};

use crate::handle::is_name;

/// What an object stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Within {
    Zone(String),
    Region(String),
    Global,
}

/// One object of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) within: Within,
    pub(super) name: String,
}

impl Place {
    /// Where an object of a collection is. One of another project is refused, what is no id of the collection is not there.
    pub(super) fn of(object: &ObjectRef, (site, project): (&Site, &str), collection: &str) -> Result<Self> {
        let mut path = object.id.0.as_str();
        if let Some(rest) = path.strip_prefix("projects/") {
            let (named, rest) = rest.split_once('/').ok_or(ProviderError::NotFound)?;
            if named != project {
                return Err(of_another(named, site, project));
            }
            path = rest;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let (within, of, name) = match (&parts[..], &object.zone) {
            (["zones", zone, of, name], _) if is_name(zone) => (Within::Zone((*zone).to_owned()), *of, *name),
            (["regions", region, of, name], _) if is_name(region) => (Within::Region((*region).to_owned()), *of, *name),
            (["global", of, name], _) => (Within::Global, *of, *name),
            ([name], Some(zone)) => (Within::Zone(zone.as_str().to_owned()), collection, *name),
            _ => return Err(ProviderError::NotFound),
        };
        if of != collection || !is_name(name) {
            return Err(ProviderError::NotFound);
        }
        Ok(Self {
            within,
            name: name.to_owned(),
        })
    }
}

/// Of a link, what stands within its project; anything else as it is.
pub(super) fn within_project(link: &str) -> &str {
    let path = match link.starts_with("projects/") {
        true => link,
        false => link.find("/projects/").map_or("", |at| &link[at + 1..]),
    };
    path.splitn(3, '/').nth(2).unwrap_or(link)
}

/// Of a link, the last part.
pub(super) fn last(link: &str) -> &str {
    link.rsplit('/').next().unwrap_or(link)
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::id::{ProviderId, SiteName, Zone};
    use isobar_engine_model::object::{ObjectId, ObjectType};

    use super::*;

    fn place(id: &str, zone: Option<&str>) -> Result<Place> {
        let site = Site {
            name: SiteName::new("gcp").expect("a name"),
            provider: ProviderId::new("gcp").expect("a name"),
            region: "europe-west1".to_owned(),
            settings: Default::default(),
        };
        let object = ObjectRef {
            kind: ObjectType("disk".to_owned()),
            id: ObjectId(id.to_owned()),
            zone: zone.map(Zone::new),
        };
        Place::of(&object, (&site, "shop-1"), "disks")
    }

    #[test]
    fn an_id_leads_to_its_collection_and_nowhere_else() {
        let expected = Ok(Place {
            within: Within::Zone("europe-west1-b".to_owned()),
            name: "d".to_owned(),
        });
        assert_eq!(place("zones/europe-west1-b/disks/d", None), expected);
        assert_eq!(place("projects/shop-1/zones/europe-west1-b/disks/d", None), expected);
        assert_eq!(place("d", Some("europe-west1-b")), expected);
        for id in [
            "d",
            "zones/b/instances/d",
            "zones/b/disks/..",
            "zones/../disks/d",
            "zones/b/disks/d/e",
            "",
            "projects/x",
        ] {
            assert_eq!(place(id, None), Err(ProviderError::NotFound), "{id}");
        }
        let other = place("projects/other/zones/europe-west1-b/disks/d", None);
        assert!(matches!(other, Err(ProviderError::InvalidSpec { .. })), "{other:?}");
    }
}
