//! What is there: one resource, or a page of an owner's. Changes nothing.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Instance, InstanceLifecycleType, InstanceStateName, NetworkInterface, Volume};
use aws_smithy_types::DateTime;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{OfferingId, ResourceHandle, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::resource::PAGE_MAX_ITEMS;
use isobar_engine_provider::{
    Listing, Owner, Page, ProviderError, ResourceKind, ResourceState, ResourceStatus, Result,
};

use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::network::look;
use crate::tags;

/// States of an instance that still is one: a terminated one is shown for about an hour and is no more.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html>
const LIVING: [&str; 5] = ["pending", "running", "shutting-down", "stopping", "stopped"];

/// One page as the cloud gave it, not yet in order.
pub(crate) type Found = (Vec<ResourceState>, Option<String>);

/// What kind of resource a handle names, by its first letters.
pub(crate) fn kind(handle: &ResourceHandle) -> Option<ResourceKind> {
    let (kind, _) = handle.as_str().split_once('-')?;
    match kind {
        "i" => Some(ResourceKind::Machine),
        "vol" => Some(ResourceKind::Disk),
        "eni" => Some(ResourceKind::Interface),
        "vpc" => Some(ResourceKind::Network),
        "igw" => Some(ResourceKind::Gateway),
        "subnet" => Some(ResourceKind::Subnet),
        "sg" => Some(ResourceKind::Firewall),
        _ => None,
    }
}

/// One resource as it is now.
pub(crate) async fn get(client: &Client, handle: &ResourceHandle) -> Result<ResourceState> {
    let found = match kind(handle) {
        Some(ResourceKind::Machine) => {
            let answer = quiet(client.describe_instances().instance_ids(handle.as_str()).send()).await;
            let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
            let mut instances = answer.reservations().iter().flat_map(|one| one.instances());
            let instance = instances.next();
            if instance.is_some_and(has_ended) {
                return Err(ProviderError::Gone);
            }
            instance.and_then(machine)
        }
        Some(ResourceKind::Disk) => {
            let answer = quiet(client.describe_volumes().volume_ids(handle.as_str()).send()).await;
            let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
            answer.volumes().first().and_then(disk)
        }
        Some(ResourceKind::Interface) => {
            let ask = client
                .describe_network_interfaces()
                .network_interface_ids(handle.as_str());
            let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
            answer.network_interfaces().first().and_then(interface)
        }
        Some(ResourceKind::Network) => look::network(client, handle).await?,
        Some(ResourceKind::Gateway) => look::gateway(client, handle).await?,
        Some(ResourceKind::Subnet) => look::subnet(client, handle).await?,
        Some(ResourceKind::Firewall) => look::group(client, handle).await?,
        Some(ResourceKind::Address) | None => None,
    };
    found.ok_or(ProviderError::NotFound)
}

/// A page of an owner's resources. EC2 knows no order: each page is in handle order, the pages come as they come.
pub(crate) async fn list(client: &Client, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
    let token = page.map(|page| page.0);
    let (mut items, next) = match kind {
        ResourceKind::Machine => machines(client, owner, token).await?,
        ResourceKind::Disk => disks(client, owner, token).await?,
        ResourceKind::Interface => interfaces(client, owner, token).await?,
        ResourceKind::Network => look::networks(client, owner, token).await?,
        ResourceKind::Gateway => look::gateways(client, owner, token).await?,
        ResourceKind::Subnet => look::subnets(client, owner, token).await?,
        ResourceKind::Firewall => look::groups(client, owner, token).await?,
        // A machine's public address is its interface's and goes with it; no other address is ever made.
        ResourceKind::Address => (Vec::new(), None),
    };
    items.sort_by(|one, other| one.handle.cmp(&other.handle));
    Ok(Listing {
        items,
        next: next.filter(|token| !token.is_empty()).map(Page),
    })
}

async fn machines(client: &Client, owner: &Owner, page: Option<String>) -> Result<Found> {
    let mut filters = tags::filters(owner);
    filters.push(tags::filter("instance-state-name", &LIVING));
    let ask = client
        .describe_instances()
        .set_filters(Some(filters))
        .max_results(page_size())
        .set_next_token(page);
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    let instances = answer.reservations().iter().flat_map(|one| one.instances());
    Ok((
        instances.filter_map(machine).collect(),
        answer.next_token().map(str::to_owned),
    ))
}

async fn disks(client: &Client, owner: &Owner, page: Option<String>) -> Result<Found> {
    let filters = Some(tags::filters(owner));
    let ask = client
        .describe_volumes()
        .set_filters(filters)
        .max_results(page_size())
        .set_next_token(page);
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    Ok((
        answer.volumes().iter().filter_map(disk).collect(),
        answer.next_token().map(str::to_owned),
    ))
}

async fn interfaces(client: &Client, owner: &Owner, page: Option<String>) -> Result<Found> {
    let filters = Some(tags::filters(owner));
    let ask = client
        .describe_network_interfaces()
        .set_filters(filters)
        .max_results(page_size())
        .set_next_token(page);
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    let found = answer.network_interfaces().iter().filter_map(interface).collect();
    Ok((found, answer.next_token().map(str::to_owned)))
}

pub(crate) fn page_size() -> i32 {
    i32::try_from(PAGE_MAX_ITEMS).unwrap_or(i32::MAX)
}

/// Whether EC2 only remembers it.
fn has_ended(instance: &Instance) -> bool {
    let state = instance.state().and_then(|state| state.name());
    state == Some(&InstanceStateName::Terminated)
}

/// An instance as a resource; absent once it is terminated.
fn machine(instance: &Instance) -> Option<ResourceState> {
    let tags = tags::read(instance.tags());
    let status = status(instance)?;
    let address = instance.public_ip_address().or(instance.private_ip_address());
    let ports = tags.ports.into_iter().flat_map(|(first, last)| first..=last);
    let endpoints = address.map(|address| ports.map(|port| (port, format!("{address}:{port}"))).collect());
    Some(ResourceState {
        handle: ResourceHandle::new(instance.instance_id()?),
        name: tags.name,
        tags: tags.owner,
        status,
        offering: offered(instance),
        endpoints: endpoints.unwrap_or_default(),
        created: time(instance.launch_time()),
    })
}

/// Whether an instance runs; absent once it is terminated.
pub(crate) fn status(instance: &Instance) -> Option<ResourceStatus> {
    Some(match instance.state()?.name()?.as_str() {
        "pending" => ResourceStatus::Pending,
        "running" => ResourceStatus::Running,
        "shutting-down" => ResourceStatus::Deleting,
        "terminated" => return None,
        // Stopped, stopping, and what a later API may add: it does not run by itself.
        other => ResourceStatus::Stopped {
            reason: reason(instance).unwrap_or(other).to_owned(),
        },
    })
}

/// As what an instance was rented.
fn offered(instance: &Instance) -> Option<OfferingId> {
    let purchase = match instance.instance_lifecycle() {
        Some(InstanceLifecycleType::Spot) => Purchase::Spot,
        Some(_) | None => Purchase::OnDemand,
    };
    let offered = Offered {
        instance_type: instance.instance_type()?.as_str().to_owned(),
        zone: Zone::new(instance.placement()?.availability_zone()?),
        purchase,
    };
    Some(offered.id())
}

fn reason(instance: &Instance) -> Option<&str> {
    instance
        .state_reason()
        .and_then(|reason| reason.message())
        .filter(|message| !message.is_empty())
}

fn disk(volume: &Volume) -> Option<ResourceState> {
    let status = match volume.state()?.as_str() {
        "creating" => ResourceStatus::Pending,
        "deleting" => ResourceStatus::Deleting,
        "deleted" => return None,
        _ => ResourceStatus::Running,
    };
    let created = time(volume.create_time());
    Some(part(volume.volume_id()?, tags::read(volume.tags()), (status, created)))
}

/// EC2 does not say when an interface was made.
fn interface(interface: &NetworkInterface) -> Option<ResourceState> {
    let tags = tags::read(interface.tag_set());
    let attached = interface.attachment().and_then(|attachment| attachment.attach_time());
    Some(part(
        interface.network_interface_id()?,
        tags,
        (ResourceStatus::Running, time(attached)),
    ))
}

fn part(handle: &str, tags: tags::Read, (status, created): (ResourceStatus, Timestamp)) -> ResourceState {
    ResourceState {
        handle: ResourceHandle::new(handle),
        name: tags.name,
        tags: tags.owner,
        status,
        offering: None,
        endpoints: BTreeMap::new(),
        created,
    }
}

fn time(at: Option<&DateTime>) -> Timestamp {
    let at_ms = at
        .and_then(|at| at.to_millis().ok())
        .and_then(|ms| u64::try_from(ms).ok());
    Timestamp(at_ms.unwrap_or_default())
}
