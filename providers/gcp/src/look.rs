//! Looking at what there is: one thing by its handle, or all of an owner's by their labels or descriptions.
//!
//! A list goes over the whole project in one call a page (`aggregatedList`), since zones come and go from a site's settings
//! and its machines do not. Within a page things are in handle order. All or nothing: a zone of the region that does not
//! answer fails the list.

use std::collections::{BTreeMap, HashMap};

use google_cloud_compute_v1::model::Instance;
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
use crate::handle::Place;
use crate::network::{self, Described};
use crate::request::{PORTS_LABEL, REQUEST_LABEL};
use crate::settings::{Settings, in_region};
use crate::wire::{self, Thing};

/// The most that one page of Compute Engine's holds (`maxResults` of its discovery document).
pub(crate) const LIST_PAGE_MAX_ITEMS: u32 = 500;
const _: () = assert!(LIST_PAGE_MAX_ITEMS as usize <= PAGE_MAX_ITEMS);

/// What a zone that does not answer is warned of with.
pub(crate) const UNREACHABLE: &str = "UNREACHABLE";

pub(crate) async fn get(clients: &Clients, settings: &Settings, place: &Place) -> Result<ResourceState> {
    let found = wire::read(clients, settings, place).await;
    state(&found.map_err(|error| unread(clients, &error))?)
}

/// Whose a thing is; absent: not ours.
pub(crate) fn tags(thing: &Thing) -> Option<OwnerTags> {
    match thing {
        Thing::Instance { body, .. } => of_labels(&body.labels),
        Thing::Disk { body, .. } => of_labels(&body.labels),
        Thing::Network(_) | Thing::Subnetwork { .. } | Thing::Router { .. } | Thing::Firewall(_) => {
            Described::read(thing.description()).map(|described| described.tags)
        }
    }
}

/// What was asked for, as a hash; absent: not by us.
pub(crate) fn fingerprint(thing: &Thing) -> Option<String> {
    match thing {
        Thing::Instance { body, .. } => body.labels.get(REQUEST_LABEL).cloned(),
        Thing::Disk { body, .. } => body.labels.get(REQUEST_LABEL).cloned(),
        Thing::Network(_) | Thing::Subnetwork { .. } | Thing::Router { .. } | Thing::Firewall(_) => {
            Described::read(thing.description()).map(|described| described.fingerprint)
        }
    }
}

/// A thing as it is.
pub(crate) fn state(thing: &Thing) -> Result<ResourceState> {
    let (status, offering, endpoints) = match thing {
        Thing::Instance { zone, body } => {
            let status = body.status.as_ref().and_then(|status| status.name());
            let status = status_of(status.unwrap_or_default(), body.status_message.as_deref())?;
            (status, offered(zone, body), endpoints(body))
        }
        Thing::Disk { body, .. } => {
            let status = body.status.as_ref().and_then(|status| status.name());
            (status_of_disk(status.unwrap_or_default()), None, BTreeMap::new())
        }
        // Of these the cloud says no more than that they are there.
        Thing::Network(_) | Thing::Subnetwork { .. } | Thing::Router { .. } | Thing::Firewall(_) => {
            (ResourceStatus::Running, None, BTreeMap::new())
        }
    };
    let place = thing.place();
    Ok(ResourceState {
        handle: place.handle(),
        name: place.name,
        tags: tags(thing),
        status,
        offering,
        endpoints,
        created: time(thing.created())?,
    })
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
        ResourceKind::Network | ResourceKind::Gateway | ResourceKind::Subnet | ResourceKind::Firewall => {
            network::list(clients, settings, (kind, query.region), query.page).await?
        }
        // Parts of an instance: neither is there without it, and neither is billed without it.
        ResourceKind::Interface | ResourceKind::Address => Listing {
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
    let thing = |zone, body| Thing::Instance {
        zone,
        body: Box::new(body),
    };
    Ok(Listing {
        items: of_scopes(query.region, scopes, thing)?,
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
        items: of_scopes(query.region, scopes, |zone, body| Thing::Disk {
            zone,
            body: Box::new(body),
        })?,
        next: following(answer.next_page_token),
    })
}

/// A page's things, scope by scope: its name, what it is warned of with, and what is in it.
fn of_scopes<T>(
    region: &str,
    scopes: impl Iterator<Item = (String, Option<String>, Vec<T>)>,
    thing: impl Fn(String, T) -> Thing,
) -> Result<Vec<ResourceState>> {
    let mut items = Vec::new();
    for (scope, warned, found) in scopes {
        let Some(zone) = zone_of(&scope, region, warned.as_deref())? else {
            continue;
        };
        for one in found {
            items.push(state(&thing(zone.to_owned(), one))?);
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

pub(crate) fn following(token: Option<String>) -> Option<Page> {
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

pub(crate) fn status_of_disk(status: &str) -> ResourceStatus {
    match status {
        "CREATING" | "RESTORING" => ResourceStatus::Pending,
        "READY" => ResourceStatus::Running,
        "DELETING" => ResourceStatus::Deleting,
        other => ResourceStatus::Stopped {
            reason: format!("the disk is {other}"),
        },
    }
}

/// <https://cloud.google.com/compute/docs/instances/instance-life-cycle>: `TERMINATED` is stopped and still there.
pub(crate) fn status_of(status: &str, message: Option<&str>) -> Result<ResourceStatus> {
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

pub(crate) fn of_labels(labels: &HashMap<String, String>) -> Option<OwnerTags> {
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

pub(crate) fn unread(clients: &Clients, error: &google_cloud_gax::error::Error) -> ProviderError {
    errors::of_call(error, Call::Read, &clients.source)
}
