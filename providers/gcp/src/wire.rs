//! The calls that are the same for whatever a thing is: insert it, read it, delete it, wait for an operation on it. One call
//! of Google's each; what an answer means is said by who asks.

use std::time::Duration;

use google_cloud_compute_v1::model::{Disk, Firewall, Instance, Network, Operation, Router, Subnetwork};
use google_cloud_gax::error::Error;
use google_cloud_gax::options::RequestOptionsBuilder as _;

use crate::client::Clients;
use crate::handle::{Collection, Place, Scope};
use crate::settings::Settings;

/// A write hears for so long what becomes of it; its deadline is longer.
const OPERATION_WAIT_MAX: Duration = Duration::from_secs(25);

/// A thing as Google describes it, asked for or found, and where it is.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    Instance { zone: String, body: Box<Instance> },
    Disk { zone: String, body: Box<Disk> },
    Network(Box<Network>),
    Subnetwork { region: String, body: Box<Subnetwork> },
    Router { region: String, body: Box<Router> },
    Firewall(Box<Firewall>),
}

impl Thing {
    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        let (collection, name) = match self {
            Self::Instance { zone, body } => (Collection::instances(zone), &body.name),
            Self::Disk { zone, body } => (Collection::disks(zone), &body.name),
            Self::Network(body) => (Collection::Networks, &body.name),
            Self::Subnetwork { region, body } => (Collection::subnetworks(region), &body.name),
            Self::Router { region, body } => (Collection::routers(region), &body.name),
            Self::Firewall(body) => (Collection::Firewalls, &body.name),
        };
        Place::new(collection, name.as_deref().unwrap_or_default())
    }

    pub(crate) fn description(&self) -> Option<&str> {
        match self {
            Self::Instance { body, .. } => body.description.as_deref(),
            Self::Disk { body, .. } => body.description.as_deref(),
            Self::Network(body) => body.description.as_deref(),
            Self::Subnetwork { body, .. } => body.description.as_deref(),
            Self::Router { body, .. } => body.description.as_deref(),
            Self::Firewall(body) => body.description.as_deref(),
        }
    }

    /// When it was made, as the cloud writes times.
    pub(crate) fn created(&self) -> Option<&str> {
        match self {
            Self::Instance { body, .. } => body.creation_timestamp.as_deref(),
            Self::Disk { body, .. } => body.creation_timestamp.as_deref(),
            Self::Network(body) => body.creation_timestamp.as_deref(),
            Self::Subnetwork { body, .. } => body.creation_timestamp.as_deref(),
            Self::Router { body, .. } => body.creation_timestamp.as_deref(),
            Self::Firewall(body) => body.creation_timestamp.as_deref(),
        }
    }
}

pub(crate) async fn insert(
    clients: &Clients,
    settings: &Settings,
    thing: &Thing,
    request_id: &str,
) -> Result<Operation, Error> {
    macro_rules! insert {
        ($client:ident, $body:expr) => {
            clients
                .$client
                .insert()
                .set_project(&settings.project)
                .set_request_id(request_id)
                .set_body($body.as_ref().clone())
        };
    }
    match thing {
        Thing::Instance { zone, body } => insert!(instances, body).set_zone(zone).send().await,
        Thing::Disk { zone, body } => insert!(disks, body).set_zone(zone).send().await,
        Thing::Network(body) => insert!(networks, body).send().await,
        Thing::Subnetwork { region, body } => insert!(subnetworks, body).set_region(region).send().await,
        Thing::Router { region, body } => insert!(routers, body).set_region(region).send().await,
        Thing::Firewall(body) => insert!(firewalls, body).send().await,
    }
}

pub(crate) async fn read(clients: &Clients, settings: &Settings, place: &Place) -> Result<Thing, Error> {
    macro_rules! get {
        ($client:ident) => {
            clients.$client.get().set_project(&settings.project)
        };
    }
    let name = &place.name;
    Ok(match &place.collection {
        Collection::Instances { zone } => Thing::Instance {
            body: Box::new(get!(instances).set_zone(zone).set_instance(name).send().await?),
            zone: zone.clone(),
        },
        Collection::Disks { zone } => Thing::Disk {
            body: Box::new(get!(disks).set_zone(zone).set_disk(name).send().await?),
            zone: zone.clone(),
        },
        Collection::Networks => Thing::Network(Box::new(get!(networks).set_network(name).send().await?)),
        Collection::Subnetworks { region } => {
            let call = get!(subnetworks).set_region(region);
            Thing::Subnetwork {
                body: Box::new(call.set_subnetwork(name).send().await?),
                region: region.clone(),
            }
        }
        Collection::Routers { region } => Thing::Router {
            body: Box::new(get!(routers).set_region(region).set_router(name).send().await?),
            region: region.clone(),
        },
        Collection::Firewalls => Thing::Firewall(Box::new(get!(firewalls).set_firewall(name).send().await?)),
    })
}

/// No request id: names are never used twice, so that deleting again is deleting once, and an id would answer with the
/// operation of the first deletion for as long as the cloud remembers it, also where that failed.
pub(crate) async fn delete(clients: &Clients, settings: &Settings, place: &Place) -> Result<Operation, Error> {
    macro_rules! delete {
        ($client:ident) => {
            clients.$client.delete().set_project(&settings.project)
        };
    }
    let name = &place.name;
    match &place.collection {
        Collection::Instances { zone } => delete!(instances).set_zone(zone).set_instance(name).send().await,
        Collection::Disks { zone } => delete!(disks).set_zone(zone).set_disk(name).send().await,
        Collection::Networks => delete!(networks).set_network(name).send().await,
        Collection::Subnetworks { region } => {
            let call = delete!(subnetworks).set_region(region);
            call.set_subnetwork(name).send().await
        }
        Collection::Routers { region } => delete!(routers).set_region(region).set_router(name).send().await,
        Collection::Firewalls => delete!(firewalls).set_firewall(name).send().await,
    }
}

/// The operation when it is done, or as it is when the wait is over. Absent: nothing was heard, which says nothing.
pub(crate) async fn wait(
    clients: &Clients,
    settings: &Settings,
    place: &Place,
    operation: &Operation,
) -> Option<Operation> {
    macro_rules! wait {
        ($client:ident) => {
            clients
                .$client
                .wait()
                .set_project(&settings.project)
                .set_operation(operation.name.clone()?)
                .with_attempt_timeout(OPERATION_WAIT_MAX)
        };
    }
    let answer = match place.collection.scope() {
        Scope::Zone(zone) => wait!(zone_operations).set_zone(zone).send().await,
        Scope::Region(region) => wait!(region_operations).set_region(region).send().await,
        Scope::Global => wait!(global_operations).send().await,
    };
    answer.ok()
}
