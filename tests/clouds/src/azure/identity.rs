//! Tokens for what Azure runs under a managed identity, as its App Service gives them.
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::State;

/// Where tokens are asked for.
pub(super) const PATH: &str = "/msi/token";
/// Shows that the caller is the program and not somebody whom it was made to call.
const SECRET: &str = "an-identity-header";
/// Far from now, in seconds since 1970: a token that runs out is another test's.
const EXPIRES_S: &str = "4102444800";

/// What tells a program where its tokens are.
pub(super) fn environment(url: &str) -> [(&'static str, String); 2] {
    [
        ("IDENTITY_ENDPOINT", format!("{url}{PATH}")),
        ("IDENTITY_HEADER", SECRET.to_owned()),
    ]
}

pub(super) async fn give(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let secret = headers.get("x-identity-header").and_then(|value| value.to_str().ok());
    let resource = query.get("resource").filter(|_| query.contains_key("api-version"));
    match (secret == Some(SECRET), resource) {
        (false, _) => StatusCode::UNAUTHORIZED.into_response(),
        (true, None) => StatusCode::BAD_REQUEST.into_response(),
        (true, Some(resource)) => Json(token(&state, resource)).into_response(),
    }
}

/// One that counts now.
pub(super) fn token(state: &State, resource: &str) -> Value {
    json!({
        "access_token": state.token(),
        "expires_on": EXPIRES_S,
        "resource": resource,
        "token_type": "Bearer",
    })
}
