//! The engine's side: it shows who it is to everybody, and lets itself be claimed by whoever shows the token.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use isobar_engine_control::authority::ServerIdentity;
use serde::Deserialize;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    Answer, BACKUP_MAX_BYTES, BACKUP_PATH, CLAIM_MAX_BYTES, Claim, Derived, NoCertificate, PART_MAX_BYTES, PATH,
    Standing,
};
use crate::folder::Token;
use crate::http::STOP_GRACE;
use crate::tls::{TlsError, TlsListener};

/// Why an engine cannot wait for its owner.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Its certificate cannot be served with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] NoCertificate),
    /// The network does not let it.
    #[error("wait for the engine's owner")]
    Listen(#[source] io::Error),
}

/// Whoever claimed it, and what they said.
#[derive(Debug)]
pub struct Claimed {
    /// What they showed: from now on every caller shows it.
    pub token: Token,
    /// What they said.
    pub claim: Claim,
}

struct Waiting {
    derived: Derived,
    answer: Answer,
    /// The backup that is brought, as far as it is here.
    backup: Mutex<PathBuf>,
    claims: mpsc::Sender<(Claimed, oneshot::Sender<Result<(), String>>)>,
}

/// Serves until the engine is claimed and `settle` has done what its owner said; where it cannot, its owner hears why and
/// may say something else. A backup that is brought is in `backup`.
pub async fn wait<F: Future<Output = Result<(), String>>>(
    listener: TcpListener,
    derived: Derived,
    (identity, backup): (&ServerIdentity, &Path),
    settle: impl Fn(Claimed) -> F,
) -> Result<(), DoorError> {
    let (claims, mut claimed) = mpsc::channel(1);
    let waiting = Arc::new(Waiting {
        answer: Answer::of(&derived, identity, Standing::Waiting)?,
        derived,
        backup: Mutex::new(backup.to_owned()),
        claims,
    });
    let listener = TlsListener::start(listener, identity)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router(waiting)).with_graceful_shutdown(async move {
        let _dropped = stopped.await;
    });
    let serving = tokio::spawn(serving.into_future());
    while let Some((claimed, answer)) = claimed.recv().await {
        let settled = settle(claimed).await;
        let is_done = settled.is_ok();
        // Whoever does not wait for the answer asks how it stands.
        let _gone = answer.send(settled);
        if is_done {
            drop(stop);
            let _late = tokio::time::timeout(STOP_GRACE, serving).await;
            return Ok(());
        }
    }
    Err(DoorError::Listen(io::ErrorKind::BrokenPipe.into()))
}

/// What shows an engine that serves by its store's authority to whoever bought its machine.
pub struct Proof(Arc<Answer>);

impl Proof {
    /// Of an engine that serves with a certificate of its store's authority.
    pub fn of(derived: &Derived, identity: &ServerIdentity) -> Result<Self, NoCertificate> {
        let standing = Standing::Serves(identity.authority_pem.clone());
        Ok(Self(Arc::new(Answer::of(derived, identity, standing)?)))
    }

    /// Shows it beside what else is served.
    pub(crate) fn beside(self, router: Router) -> Router {
        router.route(PATH, get(async move || shown(&self.0)))
    }
}

fn shown(answer: &Answer) -> Response {
    Json(answer).into_response()
}

fn router(waiting: Arc<Waiting>) -> Router {
    let backup = put(bring).layer(DefaultBodyLimit::max(PART_MAX_BYTES));
    let owners = Router::new()
        .route(PATH, post(claim).layer(DefaultBodyLimit::max(CLAIM_MAX_BYTES)))
        .route(BACKUP_PATH, backup)
        .layer(middleware::from_fn_with_state(waiting.clone(), admit));
    let everybodys = get(async |State(waiting): State<Arc<Waiting>>| shown(&waiting.answer));
    Router::new().route(PATH, everybodys).merge(owners).with_state(waiting)
}

/// The token that a request shows.
fn token(headers: &HeaderMap) -> Option<Token> {
    let shown = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    Token::parse(shown.strip_prefix("Bearer ")?)
}

async fn admit(State(waiting): State<Arc<Waiting>>, request: Request, next: Next) -> Response {
    match token(request.headers()) {
        Some(token) if waiting.derived.is_of(&token) => next.run(request).await,
        Some(_) | None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Where a part of a backup goes.
#[derive(Deserialize)]
struct Part {
    offset: u64,
}

/// Keeps a part of a backup; one at the beginning throws away what was brought before.
async fn bring(State(waiting): State<Arc<Waiting>>, Query(part): Query<Part>, bytes: Bytes) -> Response {
    let backup = waiting.backup.lock().await;
    match append(&backup, part.offset, &bytes).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => (
            StatusCode::CONFLICT,
            "the parts of a backup come one after another, from 0 on\n",
        )
            .into_response(),
        Err(error) => (StatusCode::INSUFFICIENT_STORAGE, format!("keep the backup: {error}\n")).into_response(),
    }
}

/// Whether the part begins where the file ends.
async fn append(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    let mut file = match offset {
        0 => options.truncate(true).open(path).await?,
        _ => options.append(true).open(path).await?,
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if file.metadata().await?.len() != offset || offset.saturating_add(length) > BACKUP_MAX_BYTES {
        return Ok(false);
    }
    file.write_all(bytes).await?;
    file.sync_data().await?;
    Ok(true)
}

async fn claim(State(waiting): State<Arc<Waiting>>, headers: HeaderMap, Json(claim): Json<Claim>) -> Response {
    let Some(token) = token(&headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let (answer, answered) = oneshot::channel();
    if waiting.claims.try_send((Claimed { token, claim }, answer)).is_err() {
        return (StatusCode::CONFLICT, "another claim is being settled\n").into_response();
    }
    match answered.await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(reason)) => (StatusCode::UNPROCESSABLE_ENTITY, reason).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
