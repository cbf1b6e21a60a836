//! What others made in a project, as it is: each object by its path. Reads only; metadata is in no field.

mod machine;
mod network;
mod place;

use futures_util::future::join_all;
use isobar_engine_provider::adoption::{ObjectRef, ObjectState, refuse_too_many, unless_all_failed, unsupported};
use isobar_engine_provider::{Result, Site};

use self::place::Place;
use crate::client::Clients;
use crate::settings::Settings;

/// So many objects are asked for at a time.
const READS_AT_ONCE: usize = 8;

/// Who is asked about whose objects.
#[derive(Clone, Copy)]
struct Asked<'a> {
    clients: &'a Clients,
    settings: &'a Settings,
}

/// Objects in the order of the question.
pub(crate) async fn read(
    clients: &Clients,
    (site, settings): (&Site, &Settings),
    objects: &[ObjectRef],
) -> Result<Vec<Result<ObjectState>>> {
    refuse_too_many(objects)?;
    let asked = Asked { clients, settings };
    let mut answers = Vec::new();
    for some in objects.chunks(READS_AT_ONCE) {
        let reads = some.iter().map(|object| one(asked, site, object));
        answers.extend(join_all(reads).await);
    }
    unless_all_failed(answers)
}

async fn one(asked: Asked<'_>, site: &Site, object: &ObjectRef) -> Result<ObjectState> {
    let at = |collection| Place::of(object, (site, &asked.settings.project), collection);
    match object.kind.0.as_str() {
        "instance" => machine::instance(asked, at("instances")?).await,
        "instance_template" => machine::template(asked, at("instanceTemplates")?).await,
        "instance_group_manager" => machine::group(asked, at("instanceGroupManagers")?).await,
        "disk" => machine::disk(asked, at("disks")?).await,
        "network" => network::network(asked, at("networks")?).await,
        "subnetwork" => network::subnetwork(asked, at("subnetworks")?).await,
        "firewall" => network::firewall(asked, at("firewalls")?).await,
        "route" => network::route(asked, at("routes")?).await,
        "router" => network::router(asked, at("routers")?).await,
        "address" => network::address(asked, at("addresses")?).await,
        _ => Err(unsupported("Google", &object.kind)),
    }
}
