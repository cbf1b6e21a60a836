//! Compute Engine's metadata server: question and answer carry the flavour.
//! <https://cloud.google.com/compute/docs/metadata/querying-metadata>

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use isobar_node_image_protocol::identity::METADATA_ATTRIBUTE;
use serde_json::Value;

use super::{Born, came_through_a_proxy, header};

const FLAVOUR: &str = "Google";
/// Where an instance finds what it may call Google as.
const ACCOUNTS: &str = "/computeMetadata/v1/instance/service-accounts";

pub(super) fn routes(born: Arc<Born>) -> Router {
    Router::new()
        .route(
            &format!("/computeMetadata/v1/instance/attributes/{METADATA_ATTRIBUTE}"),
            get(identity),
        )
        .route(&format!("{ACCOUNTS}/{{account}}/email"), get(email))
        .route(&format!("{ACCOUNTS}/{{account}}/token"), get(token))
        .route("/computeMetadata/v1/universe/universe-domain", get(universe))
        .layer(middleware::from_fn(in_flavour))
        .with_state(born)
}

async fn in_flavour(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if header(headers, "metadata-flavor") != FLAVOUR || came_through_a_proxy(headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut answer = next.run(request).await;
    let flavour = HeaderValue::from_static(FLAVOUR);
    answer.headers_mut().insert("metadata-flavor", flavour);
    answer
}

async fn identity(State(born): State<Arc<Born>>) -> Vec<u8> {
    born.user_data.clone()
}

/// The account that is meant: by its address, or as the only one.
/// <https://cloud.google.com/compute/docs/metadata/default-metadata-values#vm_instance_metadata> (`service-accounts/`)
fn meant<'a>(born: &'a Born, asked: &str) -> Result<&'a str, StatusCode> {
    let account = born.identity.as_deref();
    let account = account.filter(|account| asked == "default" || asked == *account);
    account.ok_or(StatusCode::NOT_FOUND)
}

async fn email(State(born): State<Arc<Born>>, Path(asked): Path<String>) -> Result<String, StatusCode> {
    meant(&born, &asked).map(str::to_owned)
}

/// <https://cloud.google.com/compute/docs/access/authenticate-workloads#applications>
async fn token(State(born): State<Arc<Born>>, Path(asked): Path<String>) -> Result<Json<Value>, StatusCode> {
    meant(&born, &asked)?;
    Ok(Json(born.machines.credentials()))
}

/// <https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys>
async fn universe() -> &'static str {
    "googleapis.com"
}
