//! The first serial port of an instance, in parts. The cloud keeps its last 1 MB; what is older is skipped.

use isobar_engine_provider::resource::CONSOLE_CHUNK_MAX_BYTES;
use isobar_engine_provider::{ConsoleChunk, ProviderError, Result};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::handle::{Collection, Place};
use crate::settings::Settings;

pub(crate) async fn read(clients: &Clients, settings: &Settings, place: &Place, offset: u64) -> Result<ConsoleChunk> {
    let Collection::Instances { zone } = &place.collection else {
        return Err(ProviderError::NotFound);
    };
    let call = clients
        .instances
        .get_serial_port_output()
        .set_project(&settings.project)
        .set_zone(zone)
        .set_instance(&place.name)
        .set_start(i64::try_from(offset).unwrap_or(i64::MAX));
    let answer = call
        .send()
        .await
        .map_err(|error| errors::of_call(&error, Call::Read, &clients.source))?;
    let started = answer
        .start
        .and_then(|start| u64::try_from(start).ok())
        .unwrap_or(offset);
    let mut bytes = answer.contents.unwrap_or_default().into_bytes();
    bytes.truncate(CONSOLE_CHUNK_MAX_BYTES);
    let length = u64::try_from(bytes.len()).unwrap_or_default();
    let next_offset = if bytes.is_empty() {
        offset
    } else {
        started.saturating_add(length)
    };
    Ok(ConsoleChunk { bytes, next_offset })
}
