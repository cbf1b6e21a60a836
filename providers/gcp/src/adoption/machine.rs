//! Instances, what others make them from, and their disks.

use std::collections::HashMap;

use google_cloud_compute_v1::model::{NetworkInterface, Scheduling, Tags};
use isobar_engine_provider::adoption::{Found, ObjectState};
use isobar_engine_provider::{ProviderError, ResourceStatus, Result};

use super::Asked;
use super::place::{Place, Within, last, within_project};
use crate::look::{self, of_labels, unread};

/// A call for one object, of the project.
macro_rules! get {
    ($asked:expr, $client:ident) => {
        $asked.clients.$client.get().set_project(&$asked.settings.project)
    };
}
pub(super) use get;

pub(super) async fn instance(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let Within::Zone(zone) = &place.within else {
        return Err(ProviderError::NotFound);
    };
    let call = get!(asked, instances).set_zone(zone).set_instance(&place.name);
    let body = call.send().await.map_err(|error| unread(asked.clients, &error))?;
    let boot = body.disks.iter().find(|disk| disk.boot == Some(true));
    let found = Found::default()
        .text("type", body.machine_type.as_deref().map(last))
        .text("zone", body.zone.as_deref().map(last))
        .text(
            "boot_disk",
            boot.and_then(|disk| disk.source.as_deref()).map(within_project),
        )
        .set("network_tags", tags(body.tags.as_ref()))
        .text("purchase", Some(purchase(body.scheduling.as_ref())));
    let found = connected(found, body.network_interfaces.first());
    let card = body.network_interfaces.first();
    let public = card.and_then(|card| card.access_configs.first()?.nat_ip.as_deref());
    let found = found
        .text("private_address", card.and_then(|card| card.network_ip.as_deref()))
        .text("public_address", public);
    let status = body.status.as_ref().and_then(|status| status.name());
    Ok(ObjectState {
        status: look::status_of(status.unwrap_or_default(), body.status_message.as_deref())?,
        ..labelled(found, body.labels)
    })
}

pub(super) async fn template(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let name = &place.name;
    let sent = match &place.within {
        Within::Global => get!(asked, instance_templates).set_instance_template(name).send().await,
        Within::Region(region) => {
            let call = get!(asked, region_instance_templates).set_region(region);
            call.set_instance_template(name).send().await
        }
        Within::Zone(_) => return Err(ProviderError::NotFound),
    };
    let body = sent.map_err(|error| unread(asked.clients, &error))?;
    let made = body.properties.unwrap_or_default();
    let found = Found::default()
        .text("name", body.name)
        .text("type", made.machine_type.as_deref().map(last))
        .set("network_tags", tags(made.tags.as_ref()))
        .text("purchase", Some(purchase(made.scheduling.as_ref())));
    Ok(labelled(connected(found, made.network_interfaces.first()), made.labels))
}

pub(super) async fn group(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let name = &place.name;
    let sent = match &place.within {
        Within::Zone(zone) => {
            let call = get!(asked, instance_group_managers).set_zone(zone);
            call.set_instance_group_manager(name).send().await
        }
        Within::Region(region) => {
            let call = get!(asked, region_instance_group_managers).set_region(region);
            call.set_instance_group_manager(name).send().await
        }
        Within::Global => return Err(ProviderError::NotFound),
    };
    let body = sent.map_err(|error| unread(asked.clients, &error))?;
    let templates = body
        .versions
        .iter()
        .filter_map(|version| version.instance_template.as_deref());
    let found = Found::default()
        .text("count", body.target_size)
        .text("base_name", body.base_instance_name.as_deref())
        .set("templates", templates.map(within_project));
    Ok(there(found))
}

pub(super) async fn disk(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let name = &place.name;
    let sent = match &place.within {
        Within::Zone(zone) => get!(asked, disks).set_zone(zone).set_disk(name).send().await,
        Within::Region(region) => get!(asked, region_disks).set_region(region).set_disk(name).send().await,
        Within::Global => return Err(ProviderError::NotFound),
    };
    let body = sent.map_err(|error| unread(asked.clients, &error))?;
    let found = Found::default()
        .text("type", body.r#type.as_deref().map(last))
        .text("size_gib", body.size_gb)
        .text("zone", body.zone.as_deref().map(last))
        .set("zones", body.replica_zones.iter().map(|zone| last(zone)));
    let status = body.status.as_ref().and_then(|status| status.name());
    Ok(ObjectState {
        status: look::status_of_disk(status.unwrap_or_default()),
        ..labelled(found, body.labels)
    })
}

/// An object that is there as soon as it is made.
pub(super) fn there(found: Found) -> ObjectState {
    ObjectState {
        fields: found.fields(),
        status: ResourceStatus::Running,
        owner: None,
    }
}

/// One with labels, which say whose it is where Isobar made it.
pub(super) fn labelled(found: Found, labels: HashMap<String, String>) -> ObjectState {
    let owner = of_labels(&labels).map(|tags| tags.owner);
    ObjectState {
        owner,
        ..there(found.tags(labels.into_iter().collect()))
    }
}

/// What the first network card is in.
fn connected(found: Found, card: Option<&NetworkInterface>) -> Found {
    let network = card.and_then(|card| card.network.as_deref());
    let subnet = card.and_then(|card| card.subnetwork.as_deref());
    found
        .text("network", network.map(within_project))
        .text("subnet", subnet.map(within_project))
}

fn tags(tags: Option<&Tags>) -> Vec<String> {
    tags.map(|tags| tags.items.clone()).unwrap_or_default()
}

fn purchase(scheduling: Option<&Scheduling>) -> &'static str {
    let model = scheduling.and_then(|scheduling| scheduling.provisioning_model.as_ref());
    let preemptible = scheduling.and_then(|scheduling| scheduling.preemptible) == Some(true);
    match model.and_then(|model| model.name()) {
        Some("SPOT") => "spot",
        Some(_) | None if preemptible => "spot",
        Some(_) | None => "on_demand",
    }
}
