//! Answers on the wire: JSON, Google's body of an error, and an answer that breaks off.
//!
//! The form of an error: <https://cloud.google.com/resource-manager/docs/core_errors>

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use isobar_engine_provider::ProviderError;
use serde_json::{Value, json};

/// Why there is no answer, or none that is wanted.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It says no.
    Error {
        status: u16,
        reason: &'static str,
        message: String,
    },
    /// The connection breaks.
    Cut,
}

impl Refusal {
    fn new(status: u16, reason: &'static str, message: &str) -> Self {
        Self::Error {
            status,
            reason,
            message: message.to_owned(),
        }
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::new(400, "invalid", message)
    }

    pub(super) fn unauthenticated() -> Self {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                       other valid authentication credential.";
        Self::new(401, "authError", message)
    }

    pub(super) fn backend(message: &str) -> Self {
        Self::new(503, "backendError", message)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(404, "notFound", &format!("The resource '{what}' was not found"))
    }

    pub(super) fn exists(what: &str) -> Self {
        Self::new(409, "alreadyExists", &format!("The resource '{what}' already exists"))
    }

    /// "Error 400: The subnetwork resource '...' is already being used by '...', resourceInUseByAnotherResource":
    /// genevieve/leftovers 6.
    pub(super) fn used(what: &str) -> Self {
        let message = format!("The resource '{what}' is already being used by another resource");
        Self::new(400, "resourceInUseByAnotherResource", &message)
    }

    /// "Error 400: The resource '.../global/networks/...' is not ready, resourceNotReady", of a subnetwork in a network that
    /// is still made: cloud-barista/cb-spider 221.
    pub(super) fn not_ready(what: &str) -> Self {
        Self::new(400, "resourceNotReady", &format!("The resource '{what}' is not ready"))
    }

    /// What the simulated cloud says, about `what`, as Compute Engine says it. Capacity and quota of a create are said by its
    /// operation.
    pub(super) fn of(error: ProviderError, what: &str) -> Self {
        match error {
            ProviderError::InvalidSpec { message } | ProviderError::Unsupported { message } => Self::invalid(&message),
            ProviderError::Unauthorized { .. } => Self::unauthenticated(),
            ProviderError::NotFound | ProviderError::Gone => Self::not_found(what),
            // hashicorp/terraform 23698 shows the code and the status.
            ProviderError::Conflict { message } => Self::new(400, "resourceInUseByAnotherResource", &message),
            // A rate quota is 403: <https://cloud.google.com/docs/quotas/troubleshoot>
            ProviderError::RateLimited { .. } => Self::new(403, "rateLimitExceeded", "Rate Limit Exceeded"),
            ProviderError::NotReady { message } => Self::new(400, "resourceNotReady", &message),
            ProviderError::QuotaExceeded { message } => Self::new(403, "quotaExceeded", &message),
            ProviderError::InsufficientCapacity { message } => Self::new(503, "insufficientCapacity", &message),
            ProviderError::Unavailable { message } => Self::backend(&message),
            ProviderError::OutcomeUnknown { .. } | ProviderError::Unexpected { .. } => Self::Cut,
        }
    }
}

/// The answer on the wire.
pub(super) fn of(answer: Result<Value, Refusal>) -> Response {
    match answer {
        Ok(body) => json_of(StatusCode::OK, &body),
        Err(Refusal::Error {
            status,
            reason,
            message,
        }) => {
            let body = json!({ "error": {
                "code": status,
                "message": message,
                "errors": [{ "message": message, "domain": "global", "reason": reason }],
            } });
            json_of(
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                &body,
            )
        }
        Err(Refusal::Cut) => {
            let broken = stream::iter([Err::<Bytes, io::Error>(io::Error::other("cut"))]);
            Body::from_stream(broken).into_response()
        }
    }
}

fn json_of(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The parameters of a query string.
pub(super) fn query(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = match (first, tail) {
            (b'%', [high, low, ..]) => u8::from_str_radix(&String::from_utf8_lossy(&[*high, *low]), 16).ok(),
            _ => None,
        };
        match (hex, first) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (None, b'+') => bytes.push(b' '),
            (None, other) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
