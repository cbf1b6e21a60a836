//! The way back: by which id Terraform imports an object of each type. On AWS and Azure that is the id by which the object
//! is known; Google's are paths; some types cannot be imported.

use serde::Serialize;

use crate::account::Line;
use crate::address::Address;
use crate::identity::{Identified, Part};

/// An object as Terraform would import it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "import")]
pub enum Import {
    /// By an `import` block.
    Block {
        /// To which address.
        to: Address,
        /// By which id.
        id: String,
    },
    /// Terraform cannot import it.
    Impossible {
        /// What.
        address: Address,
        /// Why, and what to do.
        why: &'static str,
    },
}

/// Where Google's paths have an object of a type: the place, and the collection. The place of `zones` and `regions` is the
/// object's own.
const GOOGLE: &[(&str, &str, &str)] = &[
    ("google_compute_instance", "zones", "instances"),
    ("google_compute_disk", "zones", "disks"),
    ("google_compute_region_disk", "regions", "disks"),
    (
        "google_compute_instance_group_manager",
        "zones",
        "instanceGroupManagers",
    ),
    (
        "google_compute_region_instance_group_manager",
        "regions",
        "instanceGroupManagers",
    ),
    ("google_compute_instance_template", "global", "instanceTemplates"),
    (
        "google_compute_region_instance_template",
        "regions",
        "instanceTemplates",
    ),
    ("google_compute_network", "global", "networks"),
    ("google_compute_subnetwork", "regions", "subnetworks"),
    ("google_compute_firewall", "global", "firewalls"),
    ("google_compute_route", "global", "routes"),
    ("google_compute_router", "regions", "routers"),
    ("google_compute_address", "regions", "addresses"),
    ("google_compute_global_address", "global", "addresses"),
];

/// How Terraform would import a line's object; none: it is not known by an id.
pub fn import(line: &Line) -> Option<Import> {
    let identified = line.standing.identified()?;
    let address = line.address.clone();
    let impossible = |why| {
        Some(Import::Impossible {
            address: address.clone(),
            why,
        })
    };
    if address.kind == "aws_spot_instance_request" {
        return impossible("a spot request cannot be imported: write an `aws_instance` block and import its machine");
    }
    let id = match GOOGLE.iter().find(|(kind, ..)| *kind == address.kind) {
        None => identified.id.clone(),
        Some(_) if identified.id.starts_with("projects/") => identified.id.clone(),
        Some((_, place, collection)) => match path(identified, place, collection) {
            Some(path) => path,
            None => {
                return impossible("its project, region or zone is not in the state: import it by its path by hand");
            }
        },
    };
    Some(Import::Block { to: address, id })
}

/// `projects/P/zones/Z/instances/N` of an object whose state has only its name.
fn path(identified: &Identified, place: &str, collection: &str) -> Option<String> {
    let known = |part: &Part| match part {
        Part::Known { value, .. } => Some(value.clone()),
        Part::Unknown { .. } => None,
    };
    let project = known(&identified.account)?;
    let place = match place {
        "zones" => format!("zones/{}", identified.zone.as_ref()?),
        "regions" => format!("regions/{}", known(&identified.region)?),
        everywhere => everywhere.to_owned(),
    };
    Some(format!("projects/{project}/{place}/{collection}/{}", identified.id))
}
