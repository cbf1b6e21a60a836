//! Google: the self link or the id is a path with project, location and name; older states have them as attributes.

use super::{Draft, Row, Source, What, first, of_identity, of_object};
use crate::read::Object;

pub(super) const ROWS: &[Row] = &[
    Row {
        kind: "google_compute_instance",
        what: What::Machine,
    },
    Row {
        kind: "google_compute_instance_group_manager",
        what: What::Group,
    },
    Row {
        kind: "google_compute_region_instance_group_manager",
        what: What::Group,
    },
    Row {
        kind: "google_compute_instance_template",
        what: What::Template,
    },
    Row {
        kind: "google_compute_region_instance_template",
        what: What::Template,
    },
    Row {
        kind: "google_compute_network",
        what: What::Network,
    },
    Row {
        kind: "google_compute_subnetwork",
        what: What::Network,
    },
    Row {
        kind: "google_compute_firewall",
        what: What::Network,
    },
    Row {
        kind: "google_compute_route",
        what: What::Network,
    },
    Row {
        kind: "google_compute_router",
        what: What::Network,
    },
    Row {
        kind: "google_compute_address",
        what: What::Address,
    },
    Row {
        kind: "google_compute_global_address",
        what: What::Address,
    },
    Row {
        kind: "google_compute_disk",
        what: What::Disk,
    },
    Row {
        kind: "google_compute_region_disk",
        what: What::Disk,
    },
];

pub(super) const TAKEN: &[&str] = &["id", "self_link", "project", "region", "zone", "name"];

pub(super) fn draft(object: &Object) -> Draft {
    let written = ["self_link", "id"]
        .iter()
        .find_map(|name| path(object.attributes.get(name)?));
    let segment = |name: &str| {
        let mut parts = written?.split('/').skip_while(|part| *part != name);
        parts.nth(1).map(str::to_owned)
    };
    let own = |value: Option<String>| value.map(|value| (value, Source::Object));
    let zone = segment("zones").or_else(|| Some(last(object.attributes.get("zone")?).to_owned()));
    let region = object.attributes.get("region").map(|region| last(region).to_owned());
    let global = written
        .filter(|path| path.split('/').nth(2) == Some("global"))
        .map(|_| "global".to_owned());
    let of_zone = zone
        .as_deref()
        .and_then(|zone| Some(zone.rsplit_once('-')?.0.to_owned()));
    Draft {
        account: first([
            of_identity(object, "project"),
            own(segment("projects")),
            of_object(object, "project"),
        ]),
        region: first([
            of_identity(object, "region"),
            own(segment("regions")),
            own(of_zone),
            own(global),
            own(region),
        ]),
        zone,
        id: written.or_else(|| object.attributes.get("name")).map(str::to_owned),
    }
}

/// `projects/P/…` of a link or an id.
fn path(link: &str) -> Option<&str> {
    match link.starts_with("projects/") {
        true => Some(link),
        false => link.find("/projects/").map(|at| &link[at + 1..]),
    }
}

/// Of a link or a name.
fn last(link: &str) -> &str {
    link.rsplit('/').next().unwrap_or(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_link_and_an_id_are_the_same_path() {
        let expected = Some("projects/p/zones/europe-west1-b/disks/d");
        assert_eq!(
            path("https://www.googleapis.com/compute/v1/projects/p/zones/europe-west1-b/disks/d"),
            expected
        );
        assert_eq!(path("projects/p/zones/europe-west1-b/disks/d"), expected);
        assert_eq!(path("d"), None);
    }
}
