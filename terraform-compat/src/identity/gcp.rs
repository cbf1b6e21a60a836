//! Google: the self link or the id is a path with project, location and name; older states have them as attributes.

use super::{Draft, Row, Source, What, first, of_identity, of_object};
use crate::fields::within_project;
use crate::read::Object;

pub(super) const ROWS: &[Row] = &[
    Row::new("google_compute_instance", What::Machine, "instance"),
    Row::new(
        "google_compute_instance_group_manager",
        What::Group,
        "instance_group_manager",
    ),
    Row::new(
        "google_compute_region_instance_group_manager",
        What::Group,
        "instance_group_manager",
    ),
    Row::new("google_compute_instance_template", What::Template, "instance_template"),
    Row::new(
        "google_compute_region_instance_template",
        What::Template,
        "instance_template",
    ),
    Row::new("google_compute_network", What::Network, "network"),
    Row::new("google_compute_subnetwork", What::Network, "subnetwork"),
    Row::new("google_compute_firewall", What::Network, "firewall"),
    Row::new("google_compute_route", What::Network, "route"),
    Row::new("google_compute_router", What::Network, "router"),
    Row::new("google_compute_address", What::Address, "address"),
    Row::new("google_compute_global_address", What::Address, "address"),
    Row::new("google_compute_disk", What::Disk, "disk"),
    Row::new("google_compute_region_disk", What::Disk, "disk"),
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

/// `zones/Z/instances/N` of a path, or of a name where it is known what it is the name of; else the name.
pub(super) fn within(row: &Row, id: &str, (region, zone): (Option<&str>, Option<&str>)) -> String {
    if id.contains('/') {
        return within_project(id).to_owned();
    }
    let word = match row.kind {
        "google_compute_instance" => "instances",
        "google_compute_disk" | "google_compute_region_disk" => "disks",
        "google_compute_instance_group_manager" | "google_compute_region_instance_group_manager" => {
            "instanceGroupManagers"
        }
        "google_compute_instance_template" | "google_compute_region_instance_template" => "instanceTemplates",
        "google_compute_network" => "networks",
        "google_compute_subnetwork" => "subnetworks",
        "google_compute_firewall" => "firewalls",
        "google_compute_route" => "routes",
        "google_compute_router" => "routers",
        "google_compute_address" | "google_compute_global_address" => "addresses",
        _ => return id.to_owned(),
    };
    let of_region = matches!(word, "subnetworks" | "routers") || row.kind == "google_compute_address";
    let of_region = of_region || row.kind.starts_with("google_compute_region_");
    match (word, zone, region) {
        ("instances" | "disks" | "instanceGroupManagers", Some(zone), _) if !of_region => {
            format!("zones/{zone}/{word}/{id}")
        }
        ("instances" | "disks" | "instanceGroupManagers", None, _) if !of_region => id.to_owned(),
        (_, _, Some(region)) if of_region => format!("regions/{region}/{word}/{id}"),
        (_, _, None) if of_region => id.to_owned(),
        _ => format!("global/{word}/{id}"),
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
