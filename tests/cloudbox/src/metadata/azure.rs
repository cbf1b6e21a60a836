//! Azure's instance metadata service. <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::{Born, came_through_a_proxy, header};

/// User data came with it.
const USER_DATA_SINCE: &str = "2021-01-01";
/// Tokens came with it.
const TOKENS_SINCE: &str = "2018-02-01";

pub(super) fn routes(born: Arc<Born>) -> Router {
    Router::new()
        .route("/metadata/instance/compute/userData", get(user_data))
        .route("/metadata/identity/oauth2/token", get(token))
        .with_state(born)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "api-version", default)]
    version: String,
    #[serde(default)]
    format: String,
    resource: Option<String>,
    client_id: Option<String>,
    object_id: Option<String>,
    #[serde(alias = "mi_res_id")]
    msi_res_id: Option<String>,
}

/// The header `Metadata: true`, and nobody in between.
fn is_from_here(headers: &HeaderMap) -> bool {
    header(headers, "metadata") == "true" && !came_through_a_proxy(headers)
}

/// Text where it is asked for; user data is in base64.
async fn user_data(State(born): State<Arc<Born>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if !is_from_here(&headers) || asked.version.as_str() < USER_DATA_SINCE || asked.format != "text" {
        return StatusCode::BAD_REQUEST.into_response();
    }
    STANDARD.encode(&born.user_data).into_response()
}

/// A token of the only identity that a machine of ours has, whether it is named by its resource id or not at all. Here nobody
/// knows the other ids that Azure gives to one.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#get-a-token-using-http>
async fn token(State(born): State<Arc<Born>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if !is_from_here(&headers) || asked.version.as_str() < TOKENS_SINCE {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let Some(resource) = asked.resource else {
        return refused("invalid_request", "Required audience parameter not specified");
    };
    let is_meant = |identity: &&String| {
        let by_id = asked.msi_res_id.as_ref();
        by_id.is_none_or(|id| id.eq_ignore_ascii_case(identity))
            && asked.client_id.is_none()
            && asked.object_id.is_none()
    };
    if born.identity.as_ref().filter(is_meant).is_none() {
        return refused("invalid_request", "Identity not found");
    }
    let token = born.machines.credentials();
    let is_for = token["resource"].as_str().unwrap_or_default();
    match resource.trim_end_matches('/') == is_for {
        true => Json(token).into_response(),
        false => refused("invalid_resource", "the resource is no application of the tenant"),
    }
}

/// Why there is no token. The same page, on errors.
fn refused(error: &str, description: &str) -> Response {
    let why = json!({ "error": error, "error_description": description });
    (StatusCode::BAD_REQUEST, Json(why)).into_response()
}
