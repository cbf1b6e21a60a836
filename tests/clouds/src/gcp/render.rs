//! Instances, disks and parts of networks as Google shows them: what was asked for, and what the cloud adds.

use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{ResourceState, ResourceStatus};
use serde_json::{Value, json};

use super::instances::Asked;
use super::networks::Part;
use super::{PROJECT, time};

/// An instance.
pub(super) fn instance(asked: &Asked, state: &ResourceState) -> Value {
    let zone = zone_link(&asked.zone);
    let (status, message) = match &state.status {
        ResourceStatus::Pending => ("STAGING", None),
        ResourceStatus::Running => ("RUNNING", None),
        ResourceStatus::Stopped { reason } => ("TERMINATED", Some(reason)),
        // "Currently stopping (either being deleted or killed)": `Instance.status` of the discovery document.
        ResourceStatus::Deleting => ("STOPPING", None),
    };
    let mut shown = asked.body.clone();
    for (name, value) in [
        ("kind", json!("compute#instance")),
        ("id", json!(id(state))),
        ("creationTimestamp", json!(time::text(state.created))),
        ("status", json!(status)),
        ("zone", json!(zone)),
        ("selfLink", json!(format!("{zone}/instances/{}", asked.name))),
        ("disks", disks(asked)),
    ] {
        shown[name] = value;
    }
    if let Some(message) = message {
        shown["statusMessage"] = json!(message);
    }
    let address = state
        .endpoints
        .values()
        .next()
        .and_then(|endpoint| endpoint.split(':').next());
    if let Some(address) = address {
        shown["networkInterfaces"][0]["networkIP"] = json!(address);
    }
    if let Some(address) = asked.reached_at
        && let Some(access) = shown.pointer_mut("/networkInterfaces/0/accessConfigs/0")
    {
        access["natIP"] = json!(address);
    }
    shown
}

/// What was a wish (`initializeParams` is of requests only) is a disk with an address.
fn disks(asked: &Asked) -> Value {
    let disk = &asked.body["disks"][0];
    json!([{
        "kind": "compute#attachedDisk",
        "boot": disk["boot"],
        "autoDelete": disk["autoDelete"],
        "source": format!("{}/disks/{}", zone_link(&asked.zone), asked.name),
    }])
}

/// A disk.
pub(super) fn disk(asked: &Asked, state: &ResourceState) -> Value {
    let zone = zone_link(&asked.zone);
    let wanted = &asked.body["disks"][0]["initializeParams"];
    json!({
        "kind": "compute#disk",
        "id": id(state),
        "name": asked.name,
        "creationTimestamp": time::text(state.created),
        "status": match state.status {
            ResourceStatus::Pending => "CREATING",
            ResourceStatus::Running | ResourceStatus::Stopped { .. } => "READY",
            ResourceStatus::Deleting => "DELETING",
        },
        "sizeGb": wanted["diskSizeGb"],
        "labels": wanted["labels"],
        "zone": zone,
        "selfLink": format!("{zone}/disks/{}", asked.name),
    })
}

pub(super) fn zone_link(zone: &str) -> String {
    link(&format!("zones/{zone}"))
}

/// The address of what has a path in the project.
pub(super) fn link(path: &str) -> String {
    format!("https://www.googleapis.com/compute/v1/projects/{PROJECT}/{path}")
}

/// A part of a network: `id` and `created` are the cloud's.
pub(super) fn part(part: &Part, id: &str, created: Timestamp) -> Value {
    let mut shown = part.body.clone();
    for (name, value) in [
        ("kind", json!(format!("compute#{}", part.kind.word()))),
        ("id", json!(id)),
        ("creationTimestamp", json!(time::text(created))),
        ("selfLink", json!(link(&part.path))),
    ] {
        shown[name] = value;
    }
    if let Some(network) = part.network() {
        shown["network"] = json!(link(&network));
    }
    if let Some((region, _)) = part.path.split_once('/').and_then(|(_, rest)| rest.split_once('/'))
        && part.path.starts_with("regions/")
    {
        shown["region"] = json!(link(&format!("regions/{region}")));
    }
    shown
}

/// The cloud's own number of a thing: the digits of the simulated handle.
pub(super) fn id(state: &ResourceState) -> String {
    let digits: String = state.handle.as_str().chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap_or_default().to_string()
}
