//! The metadata service of one guest, as its cloud's documentation has it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_node_image_protocol::identity::METADATA_ATTRIBUTE;
use isobar_tests_clouds::world::Cloud;
use serde::Deserialize;
use tokio::net::TcpListener;

/// AWS: the longest session, in seconds.
const TTL_MAX_SECONDS: u32 = 21_600;

/// What a machine was given at birth.
#[derive(Debug, Clone)]
pub(crate) struct Born {
    pub(crate) kind: Cloud,
    /// As the call that made the machine had it, less the cloud's own encoding.
    pub(crate) user_data: Vec<u8>,
}

#[derive(Clone)]
struct Service {
    born: Arc<Born>,
    sessions: Arc<Mutex<BTreeSet<String>>>,
}

/// Serves it on a port of loopback, for as long as the future is polled.
pub(crate) async fn serve(born: Born) -> io::Result<(u16, impl Future<Output = ()> + Send)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let routes = match born.kind {
        Cloud::Aws => Router::new()
            .route("/latest/api/token", put(open_session))
            .route("/latest/user-data", get(aws)),
        Cloud::Azure => Router::new().route("/metadata/instance/compute/userData", get(azure)),
        Cloud::Gcp => {
            let path = format!("/computeMetadata/v1/instance/attributes/{METADATA_ATTRIBUTE}");
            Router::new().route(&path, get(gcp))
        }
    };
    let service = Service {
        born: Arc::new(born),
        sessions: Arc::default(),
    };
    let routes = routes.with_state(service);
    Ok((port, async move {
        // It ends with its guest.
        let _ended = axum::serve(listener, routes).await;
    }))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html>: a session by PUT with a
/// time to live of 1 to 21,600 s; none for whoever came through a proxy.
async fn open_session(State(service): State<Service>, headers: HeaderMap) -> Result<String, StatusCode> {
    let ttl = header(&headers, "x-aws-ec2-metadata-token-ttl-seconds").parse::<u32>();
    if !ttl.is_ok_and(|ttl| (1..=TTL_MAX_SECONDS).contains(&ttl)) {
        return Err(StatusCode::BAD_REQUEST);
    }
    if headers.contains_key("x-forwarded-for") {
        return Err(StatusCode::FORBIDDEN);
    }
    let mut sessions = service.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let session = format!("session-{}", sessions.len());
    sessions.insert(session.clone());
    Ok(session)
}

/// No data without a session: version 1 of the service is off.
async fn aws(State(service): State<Service>, headers: HeaderMap) -> Result<Vec<u8>, StatusCode> {
    let session = header(&headers, "x-aws-ec2-metadata-token");
    let sessions = service.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    match sessions.contains(session) {
        true => Ok(service.born.user_data.clone()),
        false => Err(StatusCode::UNAUTHORIZED),
    }
}

#[derive(Deserialize)]
struct AzureQuery {
    #[serde(rename = "api-version", default)]
    version: String,
    #[serde(default)]
    format: String,
}

/// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>: the header `Metadata: true`, a version
/// (user data came with 2021-01-01), text where it is asked for; user data is in base64.
async fn azure(State(service): State<Service>, Query(query): Query<AzureQuery>, headers: HeaderMap) -> Response {
    let well_asked = header(&headers, "metadata") == "true" && !headers.contains_key("x-forwarded-for");
    if !well_asked || query.version.as_str() < "2021-01-01" || query.format != "text" {
        return StatusCode::BAD_REQUEST.into_response();
    }
    STANDARD.encode(&service.born.user_data).into_response()
}

/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>: question and answer carry the flavour.
async fn gcp(State(service): State<Service>, headers: HeaderMap) -> Response {
    if header(&headers, "metadata-flavor") != "Google" || headers.contains_key("x-forwarded-for") {
        return StatusCode::FORBIDDEN.into_response();
    }
    ([("Metadata-Flavor", "Google")], service.born.user_data.clone()).into_response()
}
