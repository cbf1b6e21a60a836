//! Version 2 of EC2's instance metadata service: no data without a session.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Born, came_through_a_proxy, header};

/// For how long a session is, in seconds.
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// The longest session, in seconds.
const TTL_MAX_SECONDS: u32 = 21_600;

#[derive(Clone)]
struct Service {
    born: Arc<Born>,
    sessions: Arc<Mutex<BTreeSet<String>>>,
}

pub(super) fn routes(born: Arc<Born>) -> Router {
    let service = Service {
        born,
        sessions: Arc::default(),
    };
    let data = Router::new()
        .route("/latest/user-data", get(user_data))
        .route("/latest/meta-data/iam/security-credentials/", get(role))
        .route("/latest/meta-data/iam/security-credentials/{role}", get(keys))
        .layer(middleware::from_fn_with_state(service.clone(), in_session));
    Router::new()
        .route("/latest/api/token", put(open_session))
        .merge(data)
        .with_state(service)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html>: a session by PUT with a
/// time to live of 1 to 21,600 s, which the answer says again; none for whoever came through a proxy.
async fn open_session(State(service): State<Service>, headers: HeaderMap) -> Result<impl IntoResponse, StatusCode> {
    let ttl = header(&headers, TTL_HEADER).parse().ok();
    let ttl: u32 = ttl
        .filter(|ttl| (1..=TTL_MAX_SECONDS).contains(ttl))
        .ok_or(StatusCode::BAD_REQUEST)?;
    if came_through_a_proxy(&headers) {
        return Err(StatusCode::FORBIDDEN);
    }
    let mut sessions = service.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let session = format!("session-{}", sessions.len());
    sessions.insert(session.clone());
    Ok(([(TTL_HEADER, ttl.to_string())], session))
}

/// Version 1 of the service is off.
async fn in_session(State(service): State<Service>, request: Request, next: Next) -> Response {
    let session = header(request.headers(), "x-aws-ec2-metadata-token").to_owned();
    let is_open = service
        .sessions
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&session);
    match is_open {
        true => next.run(request).await,
        false => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn user_data(State(service): State<Service>) -> Vec<u8> {
    service.born.user_data.clone()
}

/// The name of the role, where the machine has an instance profile. Here a profile has a role of its own name.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
async fn role(State(service): State<Service>) -> Result<String, StatusCode> {
    let profile = service.born.identity.as_deref().ok_or(StatusCode::NOT_FOUND)?;
    Ok(role_of(profile).to_owned())
}

/// Its keys, which end. The same page.
async fn keys(State(service): State<Service>, Path(asked): Path<String>) -> Result<Json<Value>, StatusCode> {
    let role = service.born.identity.as_deref().map(role_of);
    if role != Some(asked.as_str()) {
        return Err(StatusCode::NOT_FOUND);
    }
    let mut keys = service.born.machines.credentials();
    keys["Code"] = json!("Success");
    keys["Type"] = json!("AWS-HMAC");
    Ok(Json(keys))
}

/// An ARN ends with the name, after a path.
fn role_of(profile: &str) -> &str {
    profile.rsplit('/').next().unwrap_or(profile)
}
