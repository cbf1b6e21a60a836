//! Making a machine or a part of a network: one call to send it, one to hear what became of it.
//!
//! An insert answers with an operation, and lack of capacity or quota shows in the operation's end. So one wait for it
//! follows, which is bounded: a machine that the cloud cannot make is refused here, and the engine takes its next candidate at
//! once. It waits for no boot. What is not known by then is accepted, and looked at like anything else; the same request sent
//! again answers with the same operation.

use google_cloud_compute_v1::model::Operation;
use google_cloud_compute_v1::model::operation::Status;
use isobar_engine_provider::{CreateResource, Created, ProviderError, Result};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::look;
use crate::request::Wanted;
use crate::settings::Settings;
use crate::wire;

pub(crate) async fn create(clients: &Clients, settings: &Settings, request: &CreateResource) -> Result<Created> {
    let wanted = Wanted::of(request, settings)?;
    let made = Created {
        handle: wanted.place.handle(),
    };
    let inserted = wire::insert(clients, settings, &wanted.thing, &wanted.request_id).await;
    let operation = match inserted.map_err(|error| errors::of_call(&error, Call::Create, &clients.source)) {
        Ok(operation) => operation,
        // Made under a request id that the cloud has forgotten, or not ours.
        Err(conflict @ ProviderError::Conflict { .. }) => {
            return match there(clients, settings, &wanted).await? {
                There::Ours => Ok(made),
                There::Another | There::Nothing => Err(conflict),
            };
        }
        Err(error) => return Err(error),
    };
    if !is_about(&operation, &wanted) {
        return Err(in_use("the token made another thing"));
    }
    if operation.status != Some(Status::Done) {
        let heard = wire::wait(clients, settings, &wanted.place, &operation).await;
        return heard
            .and_then(|heard| errors::of_operation(&heard, Call::Create))
            .map_or(Ok(made), Err);
    }
    if let Some(failure) = errors::of_operation(&operation, Call::Create) {
        return Err(failure);
    }
    // No new operation is done at once: this is the answer to an earlier sending, which may have asked for something else.
    match there(clients, settings, &wanted).await? {
        // Made and deleted since.
        There::Ours | There::Nothing => Ok(made),
        There::Another => Err(in_use("the token was used for another request")),
    }
}

/// What stands where the thing would be.
enum There {
    Ours,
    Another,
    Nothing,
}

async fn there(clients: &Clients, settings: &Settings, wanted: &Wanted) -> Result<There> {
    let error = match wire::read(clients, settings, &wanted.place).await {
        Ok(found) if look::fingerprint(&found).as_ref() == Some(&wanted.fingerprint) => return Ok(There::Ours),
        Ok(_) => return Ok(There::Another),
        Err(error) => errors::of_call(&error, Call::Read, &clients.source),
    };
    if error == ProviderError::NotFound {
        return Ok(There::Nothing);
    }
    // Whatever keeps us from looking: it may be there.
    Err(ProviderError::OutcomeUnknown {
        message: error.to_string(),
    })
}

/// Whether an operation is about the thing that is wanted: its target is `.../zones/<zone>/instances/<name>`.
fn is_about(operation: &Operation, wanted: &Wanted) -> bool {
    let target = operation.target_link.as_deref().unwrap_or_default();
    target.ends_with(&format!("/{}", wanted.place.path()))
}

fn in_use(message: &str) -> ProviderError {
    ProviderError::Conflict {
        message: message.to_owned(),
    }
}
