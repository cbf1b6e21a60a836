//! Looking at what there is: one thing by its handle, or all of an owner's by their labels.
//!
//! A list goes over the whole project in one call a page (`aggregatedList`), since zones come and go from a site's settings
//! and its machines do not. Within a page things are in handle order. All or nothing: a zone of the region that does not
//! answer fails the list.

use std::collections::{BTreeMap, HashMap};

use google_cloud_compute_v1::model::{Disk, Instance};
use google_cloud_wkt::Timestamp as WireTime;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{OfferingId, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::labels::{CLUSTER, STORE, is_plain};
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::resource::PAGE_MAX_ITEMS;
use isobar_engine_provider::{
    Listing, Owner, OwnerTags, Page, ProviderError, ResourceKind, ResourceState, ResourceStatus, Result, Site,
};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::handle::{Collection, Place};
use crate::request::PORTS_LABEL;
use crate::settings::{Settings, in_region};

/// The most that one page of Compute Engine's holds (`maxResults` of its discovery document).
const LIST_PAGE_MAX_ITEMS: u32 = 500;
const _: () = assert!(LIST_PAGE_MAX_ITEMS as usize <= PAGE_MAX_ITEMS);

/// What a zone that does not answer is warned of with.
const UNREACHABLE: &str = "UNREACHABLE";

pub(crate) async fn get(clients: &Clients, settings: &Settings, place: &Place) -> Result<ResourceState> {
    match place.collection {
        Collection::Instances => {
            let call = clients
                .instances
                .get()
                .set_project(&settings.project)
                .set_zone(&place.zone);
            let found = call.set_instance(&place.name).send().await;
            of_instance(&place.zone, &found.map_err(|error| unread(clients, &error))?)
        }
        Collection::Disks => {
            let call = clients.disks.get().set_project(&settings.project).set_zone(&place.zone);
            let found = call.set_disk(&place.name).send().await;
            of_disk(&place.zone, &found.map_err(|error| unread(clients, &error))?)
        }
    }
}

/// One page of an owner's things.
pub(crate) async fn list(
    clients: &Clients,
    (site, settings): (&Site, &Settings),
    kind: ResourceKind,
    owner: &Owner,
    page: Option<Page>,
) -> Result<Listing> {
    let query = Query {
        region: &site.region,
        filter: filter(owner)?,
        page: page.map(|Page(token)| token),
    };
    let mut listing = match kind {
        ResourceKind::Machine => instances(clients, settings, query).await?,
        ResourceKind::Disk => disks(clients, settings, query).await?,
        // Parts of an instance: neither is there without it, and neither is billed without it.
        ResourceKind::Interface
        | ResourceKind::Address
        | ResourceKind::Network
        | ResourceKind::Gateway
        | ResourceKind::Subnet
        | ResourceKind::Firewall => Listing {
            items: Vec::new(),
            next: None,
        },
    };
    listing
        .items
        .retain(|state| state.tags.as_ref().is_some_and(|tags| tags.owner == *owner));
    listing.items.sort_by(|one, other| one.handle.cmp(&other.handle));
    Ok(listing)
}

/// What is asked of a list.
struct Query<'a> {
    region: &'a str,
    filter: String,
    page: Option<String>,
}

async fn instances(clients: &Clients, settings: &Settings, query: Query<'_>) -> Result<Listing> {
    let call = clients
        .instances
        .aggregated_list()
        .set_project(&settings.project)
        .set_filter(query.filter)
        .set_max_results(LIST_PAGE_MAX_ITEMS)
        .set_or_clear_page_token(query.page);
    let answer = call.send().await.map_err(|error| unread(clients, &error))?;
    let scopes = answer.items.into_iter().map(|(scope, found)| {
        let warned = found.warning.and_then(|warning| warning.code);
        let warned = warned.as_ref().and_then(|code| code.name()).map(str::to_owned);
        (scope, warned, found.instances)
    });
    Ok(Listing {
        items: of_scopes(query.region, scopes, of_instance)?,
        next: following(answer.next_page_token),
    })
}

async fn disks(clients: &Clients, settings: &Settings, query: Query<'_>) -> Result<Listing> {
    let call = clients
        .disks
        .aggregated_list()
        .set_project(&settings.project)
        .set_filter(query.filter)
        .set_max_results(LIST_PAGE_MAX_ITEMS)
        .set_or_clear_page_token(query.page);
    let answer = call.send().await.map_err(|error| unread(clients, &error))?;
    let scopes = answer.items.into_iter().map(|(scope, found)| {
        let warned = found.warning.and_then(|warning| warning.code);
        let warned = warned.as_ref().and_then(|code| code.name()).map(str::to_owned);
        (scope, warned, found.disks)
    });
    Ok(Listing {
        items: of_scopes(query.region, scopes, of_disk)?,
        next: following(answer.next_page_token),
    })
}

/// A page's things, scope by scope: its name, what it is warned of with, and what is in it.
fn of_scopes<T>(
    region: &str,
    scopes: impl Iterator<Item = (String, Option<String>, Vec<T>)>,
    state: impl Fn(&str, &T) -> Result<ResourceState>,
) -> Result<Vec<ResourceState>> {
    let mut items = Vec::new();
    for (scope, warned, found) in scopes {
        let Some(zone) = zone_of(&scope, region, warned.as_deref())? else {
            continue;
        };
        for one in &found {
            items.push(state(zone, one)?);
        }
    }
    Ok(items)
}

/// The zone that a scope of a list (`zones/europe-west1-b`) is of; absent: not of the region. One of the region that did not
/// answer hides what is in it.
fn zone_of<'a>(scope: &'a str, region: &str, warned: Option<&str>) -> Result<Option<&'a str>> {
    let Some(zone) = scope.strip_prefix("zones/").filter(|zone| in_region(region, zone)) else {
        return Ok(None);
    };
    if warned == Some(UNREACHABLE) {
        return Err(ProviderError::Unavailable {
            message: format!("zone {zone} does not answer"),
        });
    }
    Ok(Some(zone))
}

fn following(token: Option<String>) -> Option<Page> {
    token.filter(|token| !token.is_empty()).map(Page)
}

fn filter(owner: &Owner) -> Result<String> {
    let cluster = owner.cluster.as_str();
    if !is_plain(&owner.store) || !is_plain(cluster) {
        return Err(ProviderError::InvalidSpec {
            message: format!("`{}` and `{cluster}` are no labels", owner.store),
        });
    }
    Ok(format!("labels.{STORE}={} AND labels.{CLUSTER}={cluster}", owner.store))
}

fn of_instance(zone: &str, instance: &Instance) -> Result<ResourceState> {
    let name = instance.name.clone().unwrap_or_default();
    let status = instance
        .status
        .as_ref()
        .and_then(|status| status.name())
        .unwrap_or_default();
    Ok(ResourceState {
        handle: Place::new(zone, Collection::Instances, &name).handle(),
        tags: tags_of(&instance.labels),
        status: status_of(status, instance.status_message.as_deref())?,
        offering: offered(zone, instance),
        endpoints: endpoints(instance),
        created: time(instance.creation_timestamp.as_deref())?,
        name,
    })
}

/// As what it was rented: its machine type is the last part of an address.
fn offered(zone: &str, instance: &Instance) -> Option<OfferingId> {
    let (_, instance_type) = instance.machine_type.as_deref()?.rsplit_once('/')?;
    let scheduling = instance.scheduling.as_ref();
    let model = scheduling.and_then(|scheduling| scheduling.provisioning_model.as_ref());
    let purchase = match model.and_then(|model| model.name()) {
        Some("SPOT") => Purchase::Spot,
        Some(_) | None => Purchase::OnDemand,
    };
    let offered = Offered {
        instance_type: instance_type.to_owned(),
        zone: Zone::new(zone),
        purchase,
    };
    Some(offered.id())
}

fn of_disk(zone: &str, disk: &Disk) -> Result<ResourceState> {
    let name = disk.name.clone().unwrap_or_default();
    let status = disk
        .status
        .as_ref()
        .and_then(|status| status.name())
        .unwrap_or_default();
    Ok(ResourceState {
        handle: Place::new(zone, Collection::Disks, &name).handle(),
        tags: tags_of(&disk.labels),
        status: match status {
            "CREATING" | "RESTORING" => ResourceStatus::Pending,
            "READY" => ResourceStatus::Running,
            "DELETING" => ResourceStatus::Deleting,
            other => ResourceStatus::Stopped {
                reason: format!("the disk is {other}"),
            },
        },
        offering: None,
        endpoints: BTreeMap::new(),
        created: time(disk.creation_timestamp.as_deref())?,
        name,
    })
}

/// <https://cloud.google.com/compute/docs/instances/instance-life-cycle>: `TERMINATED` is stopped and still there.
fn status_of(status: &str, message: Option<&str>) -> Result<ResourceStatus> {
    let because = message.map_or_else(String::new, |message| format!(": {message}"));
    match status {
        "PROVISIONING" | "STAGING" | "PENDING" => Ok(ResourceStatus::Pending),
        "RUNNING" => Ok(ResourceStatus::Running),
        "STOPPING" | "PENDING_STOP" | "STOPPED" | "TERMINATED" | "SUSPENDING" | "SUSPENDED" | "REPAIRING" => {
            Ok(ResourceStatus::Stopped {
                reason: format!("the instance is {status}{because}"),
            })
        }
        "DEPROVISIONING" => Ok(ResourceStatus::Deleting),
        other => Err(ProviderError::Unexpected {
            message: format!("an instance is `{other}`"),
        }),
    }
}

fn tags_of(labels: &HashMap<String, String>) -> Option<OwnerTags> {
    OwnerTags::of_labels(|key| labels.get(key).map(String::as_str))
}

/// Where others reach the open ports: by the address that the internet sees if there is one.
fn endpoints(instance: &Instance) -> BTreeMap<u16, String> {
    let card = instance.network_interfaces.first();
    let public = card.and_then(|card| card.access_configs.first()?.nat_ip.as_deref());
    let address = public.or_else(|| card?.network_ip.as_deref());
    let ports = instance.labels.get(PORTS_LABEL).and_then(|ports| {
        let (first, last) = ports.split_once('-')?;
        Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?))
    });
    match (address, ports) {
        (Some(address), Some((first, last))) => {
            (first..=last).map(|port| (port, format!("{address}:{port}"))).collect()
        }
        (None, _) | (_, None) => BTreeMap::new(),
    }
}

/// A time of Google's (RFC 3339) in ms.
fn time(text: Option<&str>) -> Result<Timestamp> {
    let read = text.and_then(|text| WireTime::try_from(text).ok());
    let ms = read.and_then(|at| {
        let seconds = u64::try_from(at.seconds()).ok()?;
        Some(seconds * 1000 + u64::try_from(at.nanos()).ok()? / 1_000_000)
    });
    ms.map(Timestamp).ok_or_else(|| ProviderError::Unexpected {
        message: format!("`{}` is no time", text.unwrap_or_default()),
    })
}

fn unread(clients: &Clients, error: &google_cloud_gax::error::Error) -> ProviderError {
    errors::of_call(error, Call::Read, &clients.source)
}
