//! What an error of Google's means: one [`table`] from its code to what the caller does next.
//!
//! A code that is not in it falls back by its HTTP status: 400 and other 4xx the request, 401 and 403 the credentials, 404
//! absent, 409 and 412 in use, 429 too many calls, 5xx unknown for a write and away for a read. A call that was cut off
//! after it was sent is unknown for a write; one that never connected did nothing. Messages are the cloud's own; a request's
//! body is in none of them.

mod table;

use google_cloud_compute_v1::model::Operation;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::{Code, StatusDetails};
use isobar_engine_provider::ProviderError;
pub(crate) use isobar_engine_provider::error::Call;
use isobar_engine_provider::error::Meaning;

use crate::credentials::Source;
use table::meaning;

/// Longest message of the cloud's that is passed on, in characters.
const MESSAGE_MAX_CHARS: usize = 500;

/// What a failed call means.
pub(crate) fn of_call(error: &Error, call: Call, source: &Source) -> ProviderError {
    if error.is_authentication() {
        return of_credentials(error, source);
    }
    if error.is_connect() {
        return ProviderError::Unavailable {
            message: "no connection".to_owned(),
        };
    }
    if error.is_deserialization() {
        let message = "the answer is not as Google describes it".to_owned();
        return match call {
            Call::Read => ProviderError::Unexpected { message },
            Call::Create | Call::Delete => ProviderError::OutcomeUnknown { message },
        };
    }
    let said = error.status().map_or_else(String::new, |status| status.message.clone());
    let status = error.http_status_code();
    let known = codes(error).into_iter().find_map(|code| Some((meaning(&code)?, code)));
    match (known, status) {
        (Some((meaning, code)), _) => told(meaning, call, &format!("{code}: {said}")),
        (None, Some(status)) => told(by_status(status), call, &format!("HTTP {status}: {said}")),
        // Cut off after it was sent.
        (None, None) => told(Meaning::Unknown, call, "the answer was cut off"),
    }
}

/// What a failed operation means; absent: it did not fail.
///
/// That of a create is over: whoever sends the same request id gets the same failure again. So nothing of it is ever "again".
/// A deletion has no request id, and is asked for anew.
pub(crate) fn of_operation(operation: &Operation, call: Call) -> Option<ProviderError> {
    let first = operation.error.as_ref().and_then(|error| error.errors.first());
    let (code, said) = match first {
        Some(error) => (
            error.code.clone().unwrap_or_default(),
            error.message.clone().unwrap_or_default(),
        ),
        None => {
            let status = operation.http_error_status_code?;
            (
                format!("HTTP {status}"),
                operation.http_error_message.clone().unwrap_or_default(),
            )
        }
    };
    let message = format!("{code}: {said}");
    let over = || ProviderError::Unexpected {
        message: short(&format!("the operation failed: {message}")),
    };
    Some(match (meaning(&code), call) {
        (
            Some(Meaning::Throttled | Meaning::NotReady | Meaning::Unavailable | Meaning::Unknown),
            Call::Create | Call::Read,
        )
        | (None, _) => over(),
        (
            Some(
                known @ (Meaning::Invalid
                | Meaning::Unauthorized
                | Meaning::NotFound
                | Meaning::Conflict
                | Meaning::InUse
                | Meaning::Quota
                | Meaning::Capacity
                | Meaning::Unsupported),
            ),
            _,
        )
        | (
            Some(known @ (Meaning::Throttled | Meaning::NotReady | Meaning::Unavailable | Meaning::Unknown)),
            Call::Delete,
        ) => told(known, call, &message),
    })
}

/// The codes that an error carries, the most telling first.
fn codes(error: &Error) -> Vec<String> {
    let Some(status) = error.status() else {
        return Vec::new();
    };
    let mut codes = Vec::new();
    for detail in &status.details {
        if let StatusDetails::ErrorInfo(info) = detail {
            codes.push(info.reason.clone());
        }
    }
    // Unknown: the answer has no status, and its HTTP status says more.
    if status.code != Code::Unknown {
        codes.push(status.code.name().to_owned());
    }
    codes
}

fn of_credentials(error: &Error, source: &Source) -> ProviderError {
    let why = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .last()
        .unwrap_or_default();
    match source {
        // The chain's last place: it answers on Google's machines only.
        Source::Metadata => source.refused(&short(&format!("no credentials: {why}"))),
        Source::File(_) | Source::Variable(_) | Source::WellKnown(_) if error.is_transient_and_before_rpc() => {
            ProviderError::Unavailable {
                message: short(&format!("no token for the credentials: {why}")),
            }
        }
        Source::File(_) | Source::Variable(_) | Source::WellKnown(_) => {
            source.refused(&short(&format!("the credentials do not count: {why}")))
        }
    }
}

fn by_status(status: u16) -> Meaning {
    match status {
        401 | 403 => Meaning::Unauthorized,
        404 | 410 => Meaning::NotFound,
        409 | 412 => Meaning::Conflict,
        429 => Meaning::Throttled,
        400..=499 => Meaning::Invalid,
        _ => Meaning::Unknown,
    }
}

fn told(meaning: Meaning, call: Call, message: &str) -> ProviderError {
    meaning.error(call, short(message))
}

fn short(message: &str) -> String {
    message.chars().take(MESSAGE_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests;
