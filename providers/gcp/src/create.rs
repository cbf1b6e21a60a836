//! Making a machine: one call to send it, one to hear what became of it.
//!
//! `instances.insert` answers with an operation, and lack of capacity or quota shows in the operation's end. So one
//! `zoneOperations.wait` follows, bounded by [`OPERATION_WAIT_MAX`]: a machine that the cloud cannot make is refused here,
//! and the engine takes its next candidate at once. It waits for no boot. What is not known by then is accepted, and looked
//! at like any other machine; the same request sent again answers with the same operation.

use std::time::Duration;

use google_cloud_compute_v1::model::Operation;
use google_cloud_compute_v1::model::operation::Status;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use isobar_engine_provider::{CreateResource, Created, ProviderError, Result};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::request::{REQUEST_LABEL, Wanted};
use crate::settings::Settings;

/// A create hears for so long what becomes of it; the deadline of a write is longer.
const OPERATION_WAIT_MAX: Duration = Duration::from_secs(25);

pub(crate) async fn create(clients: &Clients, settings: &Settings, request: &CreateResource) -> Result<Created> {
    let wanted = Wanted::of(request, settings)?;
    let made = Created {
        handle: wanted.place.handle(),
    };
    let operation = match insert(clients, settings, &wanted).await {
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
        return Err(in_use("the token made another machine"));
    }
    if operation.status != Some(Status::Done) {
        let heard = wait(clients, settings, &wanted, &operation).await;
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

async fn insert(clients: &Clients, settings: &Settings, wanted: &Wanted) -> Result<Operation> {
    let call = clients
        .instances
        .insert()
        .set_project(&settings.project)
        .set_zone(&wanted.place.zone)
        .set_request_id(&wanted.request_id)
        .set_body(wanted.body.clone());
    let answer = call.send().await;
    answer.map_err(|error| errors::of_call(&error, Call::Create, &clients.source))
}

/// The operation when it is done, or as it is when the wait is over. Absent: nothing was heard, which says nothing.
async fn wait(clients: &Clients, settings: &Settings, wanted: &Wanted, operation: &Operation) -> Option<Operation> {
    let call = clients
        .operations
        .wait()
        .set_project(&settings.project)
        .set_zone(&wanted.place.zone)
        .set_operation(operation.name.clone()?)
        .with_attempt_timeout(OPERATION_WAIT_MAX);
    call.send().await.ok()
}

/// What stands where the machine would be.
enum There {
    Ours,
    Another,
    Nothing,
}

async fn there(clients: &Clients, settings: &Settings, wanted: &Wanted) -> Result<There> {
    let call = clients
        .instances
        .get()
        .set_project(&settings.project)
        .set_zone(&wanted.place.zone)
        .set_instance(&wanted.place.name);
    let error = match call.send().await {
        Ok(found) if found.labels.get(REQUEST_LABEL) == Some(&wanted.fingerprint) => return Ok(There::Ours),
        Ok(_) => return Ok(There::Another),
        Err(error) => errors::of_call(&error, Call::Read, &clients.source),
    };
    if error == ProviderError::NotFound {
        return Ok(There::Nothing);
    }
    // Whatever keeps us from looking: the machine may be there.
    Err(ProviderError::OutcomeUnknown {
        message: error.to_string(),
    })
}

/// Whether an operation is about the machine that is wanted: its target is `.../zones/<zone>/instances/<name>`.
fn is_about(operation: &Operation, wanted: &Wanted) -> bool {
    let target = operation.target_link.as_deref().unwrap_or_default();
    target.ends_with(&format!("/zones/{}/instances/{}", wanted.place.zone, wanted.place.name))
}

fn in_use(message: &str) -> ProviderError {
    ProviderError::Conflict {
        message: message.to_owned(),
    }
}
