//! The HTTP backend of Terraform and OpenTofu: one URL a state, beside MCP on its listener, behind the same token.
//!
//! Carries requests and nothing else: the engine that keeps the states decides. Terraform shows its user little more than
//! a status; the words are in the body, and in `isobar terraform states`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_control::Fleet;
use isobar_engine_control::api::{ApiError, ErrorCode, StateGet, StateLock, StateOutcome, StatePut, StateUnlock};
use isobar_engine_model::id::StateName;
use isobar_terraform_compat::backend::{BODY_MAX_BYTES, LOCK_MAX_BYTES, Unlock};
use md5::{Digest, Md5};
use tokio::sync::Semaphore;

use crate::tools::terraform::States;

/// Where states are served on the listener: one path a state below it.
pub const PATH: &str = "/terraform";

/// States that are taken or given at the same time; more wait. Each is in memory a few times over.
const BODIES_AT_A_TIME: usize = 4;
/// The hosts that a request may name: a name that leads here from elsewhere is somebody's trick.
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const METHODS: &str = "GET, POST, LOCK, UNLOCK";

/// What the backend of a process does on request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// An unlock that names no lock takes whatever lock there is: `terraform force-unlock` sends nothing else.
    pub force_unlock: bool,
}

struct Backend {
    states: States,
    rules: Rules,
    bodies: Semaphore,
}

/// Why a request is not done, in words.
struct Refused {
    status: StatusCode,
    message: String,
    hint: Option<String>,
}

/// The routes. Whoever mounts them asks for the token.
pub(crate) fn router(fleet: Arc<Fleet>, rules: Rules) -> Router {
    let backend = Backend {
        states: States::new(fleet),
        rules,
        bodies: Semaphore::new(BODIES_AT_A_TIME),
    };
    Router::new()
        .route(&format!("{PATH}/{{*state}}"), any(answer))
        .with_state(Arc::new(backend))
}

async fn answer(State(backend): State<Arc<Backend>>, Path(state): Path<String>, request: Request) -> Response {
    let told = match request.method().as_str() {
        _ if is_foreign(request.headers()) => {
            let message = "name this computer's loopback address, and come from no web page";
            Err(words(StatusCode::FORBIDDEN, message, None))
        }
        "GET" => backend.get(state).await,
        "POST" => backend.put(state, request).await,
        "LOCK" => backend.lock(state, request).await,
        "UNLOCK" => backend.unlock(state, request).await,
        other => {
            let message = format!("{other} is not done here");
            let refused = words(StatusCode::METHOD_NOT_ALLOWED, &message, Some(METHODS));
            Ok(([(header::ALLOW, METHODS)], refused).into_response())
        }
    };
    told.into_response()
}

/// The name in a path.
fn named(state: String) -> Result<StateName, Refused> {
    StateName::new(state).map_err(|error| words(StatusCode::BAD_REQUEST, &error.to_string(), None))
}

impl Backend {
    async fn get(&self, state: String) -> Result<Response, Refused> {
        let state = named(state)?;
        let _turn = self.turn().await?;
        let got = self.states.get(StateGet { state, version: None }).await;
        let Some(body) = got.map_err(refused)? else {
            return Err(words(StatusCode::NOT_FOUND, "there is no state of this name yet", None));
        };
        let bytes = STANDARD.decode(body.base64).map_err(|error| {
            let message = format!("the stored state cannot be read: {error}");
            words(StatusCode::INTERNAL_SERVER_ERROR, &message, None)
        })?;
        let md5 = HeaderValue::from_str(&md5(&bytes)).expect("base64");
        let mut answer = Response::new(Body::from(bytes));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_MD5, md5);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }

    async fn put(&self, state: String, request: Request) -> Result<Response, Refused> {
        let state = named(state)?;
        let lock = lock_of(request.uri().query());
        let told = request.headers().get(CONTENT_MD5).cloned();
        let _turn = self.turn().await?;
        let bytes = body(request, BODY_MAX_BYTES).await?;
        if told.is_some_and(|told| told.as_bytes() != md5(&bytes).as_bytes()) {
            let message = "the state that came is not the one whose Content-MD5 was sent";
            return Err(words(StatusCode::BAD_REQUEST, message, Some("send it again")));
        }
        let base64 = STANDARD.encode(&bytes);
        outcome(self.states.put(StatePut { state, lock, base64 }).await)
    }

    async fn lock(&self, state: String, request: Request) -> Result<Response, Refused> {
        let state = named(state)?;
        let info = body(request, LOCK_MAX_BYTES).await?;
        let info = String::from_utf8_lossy(&info).into_owned();
        outcome(self.states.lock(StateLock { state, info }).await)
    }

    async fn unlock(&self, state: String, request: Request) -> Result<Response, Refused> {
        let state = named(state)?;
        let sent = body(request, LOCK_MAX_BYTES).await?;
        let asked = Unlock::of(&sent).map_err(|error| words(StatusCode::BAD_REQUEST, &error.to_string(), None))?;
        let (lock, forced) = match asked {
            Unlock::Id(id) => (Some(id), false),
            Unlock::Force => (None, self.rules.force_unlock),
        };
        outcome(self.states.unlock(StateUnlock { state, lock, forced }).await)
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Refused> {
        let turn = self.bodies.acquire().await;
        turn.map_err(|_| words(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping", None))
    }
}

/// Whether a web page asks, or somebody for whom this computer has another name.
fn is_foreign(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let known = host.is_some_and(|host| {
        LOOPBACK_HOSTS.iter().any(|known| {
            let rest = host.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        })
    });
    !known || headers.contains_key(header::ORIGIN)
}

/// The lock that a write shows: `?ID=...`.
fn lock_of(query: Option<&str>) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    let (_, id) = pairs.find(|(name, _)| name == "ID")?;
    (!id.is_empty()).then(|| id.into_owned())
}

async fn body(request: Request, max: usize) -> Result<Bytes, Refused> {
    let too_long = || {
        let message = format!("what was sent is longer than {max} bytes");
        words(
            StatusCode::PAYLOAD_TOO_LARGE,
            &message,
            Some("split the configuration into several states"),
        )
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_long());
    }
    axum::body::to_bytes(request.into_body(), max).await.map_err(|error| {
        let cut = std::error::Error::source(&error).is_none_or(|source| source.to_string().contains("length limit"));
        match cut {
            true => too_long(),
            false => words(
                StatusCode::BAD_REQUEST,
                "what was sent is cut short",
                Some("send it again"),
            ),
        }
    })
}

fn md5(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

fn outcome(told: Result<StateOutcome, ApiError>) -> Result<Response, Refused> {
    Ok(match told.map_err(refused)? {
        StateOutcome::Done => StatusCode::OK.into_response(),
        StateOutcome::Locked { info } => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (StatusCode::LOCKED, json, info).into_response()
        }
        StateOutcome::Refused { reason, hint } => return Err(words(StatusCode::CONFLICT, &reason, Some(&hint))),
    })
}

fn refused(error: ApiError) -> Refused {
    let status = match error.code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::StalePlan | ErrorCode::Busy | ErrorCode::Refused => StatusCode::CONFLICT,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        // Terraform asks again by itself.
        ErrorCode::Recovering | ErrorCode::Moving | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    words(status, &error.message, error.hint.as_deref())
}

fn words(status: StatusCode, message: &str, hint: Option<&str>) -> Refused {
    Refused {
        status,
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let hint = self.hint.map_or_else(String::new, |hint| format!("hint: {hint}\n"));
        (self.status, format!("{}\n{hint}", self.message)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_stands_in_the_query() {
        assert_eq!(lock_of(Some("ID=a%2Fb&x=1")), Some("a/b".to_owned()));
        assert_eq!(lock_of(Some("x=1&ID=")), None);
        assert_eq!(lock_of(None), None);
    }

    #[test]
    fn only_this_computer_s_own_names_and_no_web_page() {
        let headers = |pairs: &[(HeaderName, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            pairs.collect::<HeaderMap>()
        };
        for host in ["localhost", "127.0.0.1:7420", "[::1]:7420"] {
            assert!(!is_foreign(&headers(&[(header::HOST, host)])), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil:1"] {
            assert!(is_foreign(&headers(&[(header::HOST, host)])), "{host}");
        }
        assert!(is_foreign(&headers(&[])));
        assert!(is_foreign(&headers(&[
            (header::HOST, "localhost"),
            (header::ORIGIN, "null")
        ])));
    }
}
