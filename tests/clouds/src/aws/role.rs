//! Keys of a role, as a container of Amazon's gets them: an id, a secret and a session's token, which end together.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::Failure;
use super::{Account, KEY_ID, KEY_SECRET, time};

/// Where keys are asked for.
pub(super) const PATH: &str = "/credentials/role";
/// The id of keys that end begins otherwise than that of keys that do not:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>
const SESSION_KEY_ID: &str = "ASIAEXAMPLE";
/// What the container shows.
const AUTHORIZATION: &str = "Basic a-container";
/// For how long keys count by their own word, in ms.
const VALID_MS: u64 = 3_600_000;

/// Which session's keys count. A clone is the same role.
#[derive(Debug, Clone, Default)]
pub(super) struct Role(Arc<AtomicU64>);

impl Role {
    pub(super) fn expire(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn session_token(&self) -> String {
        format!("session-{}", self.0.load(Ordering::SeqCst))
    }

    /// Whether a key's id and the token of its session are of this account, and still count.
    pub(super) fn counts(&self, key_id: &str, token: Option<&str>) -> Result<(), Failure> {
        match (key_id, token) {
            (KEY_ID, None) => Ok(()),
            (SESSION_KEY_ID, Some(token)) if token == self.session_token() => Ok(()),
            // "The request reached the service ... more than 15 minutes after the request expiration date (such as for
            // pre-signed URLs)"; also what EC2 says of a session that has ended: aws/aws-cli 1604.
            (SESSION_KEY_ID, Some(_)) => Err(Failure::client("RequestExpired", "Request has expired.")),
            _ => Err(Failure::unauthorized(
                "AuthFailure",
                "AWS was not able to validate the provided access credentials",
            )),
        }
    }
}

/// What tells a program in a container where its keys are.
pub(super) fn environment(url: &str) -> [(&'static str, String); 2] {
    [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{url}{PATH}")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", AUTHORIZATION.to_owned()),
    ]
}

pub(super) async fn credentials(State(account): State<Arc<Account>>, headers: HeaderMap) -> Response {
    let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
    if shown != Some(AUTHORIZATION) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(keys(&account)).into_response()
}

/// Keys that count now.
pub(super) fn keys(account: &Account) -> Value {
    json!({
        "AccessKeyId": SESSION_KEY_ID,
        "SecretAccessKey": KEY_SECRET,
        "Token": account.role.session_token(),
        "Expiration": time::iso(account.clock.now().plus_ms(VALID_MS)),
    })
}
