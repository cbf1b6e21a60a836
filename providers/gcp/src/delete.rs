//! Deleting a machine, and its disk where that was left behind.
//!
//! No request id: names are never used twice, so that deleting again is deleting once, and an id would answer with the
//! operation of the first deletion for as long as the cloud remembers it, also where that failed.

use google_cloud_gax::error::Error;
use isobar_engine_provider::{OwnerTags, ProviderError, Result};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::handle::{Collection, Place};
use crate::settings::Settings;

pub(crate) async fn delete(clients: &Clients, settings: &Settings, place: &Place) -> Result<()> {
    match place.collection {
        Collection::Instances => match instance(clients, settings, place).await {
            // Its disk goes with it, unless somebody has told the cloud otherwise.
            Err(ProviderError::NotFound) => left_disk(clients, settings, place).await,
            answer => answer,
        },
        Collection::Disks => disk(clients, settings, place).await,
    }
}

async fn instance(clients: &Clients, settings: &Settings, place: &Place) -> Result<()> {
    let call = clients
        .instances
        .delete()
        .set_project(&settings.project)
        .set_zone(&place.zone)
        .set_instance(&place.name);
    let answer = call.send().await;
    answer.map(drop).map_err(|error| refused(clients, &error))
}

/// Deletes the disk of a machine that is gone, if it is there and ours.
async fn left_disk(clients: &Clients, settings: &Settings, place: &Place) -> Result<()> {
    let call = clients
        .disks
        .get()
        .set_project(&settings.project)
        .set_zone(&place.zone)
        .set_disk(&place.name);
    let found = call
        .send()
        .await
        .map_err(|error| errors::of_call(&error, Call::Read, &clients.source))?;
    match OwnerTags::of_labels(|key| found.labels.get(key).map(String::as_str)) {
        Some(_) => disk(clients, settings, place).await,
        None => Err(ProviderError::NotFound),
    }
}

async fn disk(clients: &Clients, settings: &Settings, place: &Place) -> Result<()> {
    let call = clients
        .disks
        .delete()
        .set_project(&settings.project)
        .set_zone(&place.zone)
        .set_disk(&place.name);
    let answer = call.send().await;
    answer.map(drop).map_err(|error| refused(clients, &error))
}

fn refused(clients: &Clients, error: &Error) -> ProviderError {
    errors::of_call(error, Call::Delete, &clients.source)
}
