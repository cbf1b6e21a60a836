//! Deleting a machine, and its disk where that was left behind; and deleting a part of a network, of which one hears the end:
//! the cloud says of most parts at once, and of a network only then, that something uses it.

use google_cloud_compute_v1::model::operation::Status;
use google_cloud_gax::error::Error;
use isobar_engine_provider::{ProviderError, Result};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::handle::{Collection, Place};
use crate::look;
use crate::request::data_disk;
use crate::settings::Settings;
use crate::wire;

pub(crate) async fn delete(clients: &Clients, settings: &Settings, place: &Place) -> Result<()> {
    match &place.collection {
        Collection::Instances { zone } => match accepted(clients, settings, place).await {
            // Its disks go with it, unless somebody has told the cloud otherwise.
            Err(ProviderError::NotFound) => left_disks(clients, settings, (zone, &place.name)).await,
            answer => answer,
        },
        Collection::Disks { .. } => accepted(clients, settings, place).await,
        Collection::Networks | Collection::Subnetworks { .. } | Collection::Routers { .. } | Collection::Firewalls => {
            ended(clients, settings, place).await
        }
    }
}

async fn accepted(clients: &Clients, settings: &Settings, place: &Place) -> Result<()> {
    let answer = wire::delete(clients, settings, place).await;
    answer.map(drop).map_err(|error| refused(clients, &error))
}

/// Deletes what disks a machine that is gone has left.
async fn left_disks(clients: &Clients, settings: &Settings, (zone, machine): (&str, &str)) -> Result<()> {
    let disk = |name: &str| Place::new(Collection::disks(zone), name);
    let boot = left_disk(clients, settings, &disk(machine)).await;
    if settings.data_disk_gib.is_none() {
        return boot;
    }
    match left_disk(clients, settings, &disk(&data_disk(machine))).await {
        Err(ProviderError::NotFound) => boot,
        kept => kept,
    }
}

/// Deletes a disk of a machine that is gone, if it is there and ours.
async fn left_disk(clients: &Clients, settings: &Settings, disk: &Place) -> Result<()> {
    let found = wire::read(clients, settings, disk).await;
    let found = found.map_err(|error| errors::of_call(&error, Call::Read, &clients.source))?;
    match look::tags(&found) {
        Some(_) => accepted(clients, settings, disk).await,
        None => Err(ProviderError::NotFound),
    }
}

/// Deletes a part of a network and hears what becomes of it, for a bounded time: [`ProviderError::Gone`] when it is over.
async fn ended(clients: &Clients, settings: &Settings, place: &Place) -> Result<()> {
    let answer = wire::delete(clients, settings, place).await;
    let operation = answer.map_err(|error| refused(clients, &error))?;
    let heard = match operation.status {
        Some(Status::Done) => Some(operation),
        Some(_) | None => wire::wait(clients, settings, place, &operation).await,
    };
    let Some(heard) = heard else { return Ok(()) };
    if let Some(failure) = errors::of_operation(&heard, Call::Delete) {
        return Err(failure);
    }
    match heard.status {
        Some(Status::Done) => Err(ProviderError::Gone),
        Some(_) | None => Ok(()),
    }
}

fn refused(clients: &Clients, error: &Error) -> ProviderError {
    errors::of_call(error, Call::Delete, &clients.source)
}
