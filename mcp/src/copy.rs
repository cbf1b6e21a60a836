//! A copy of the engine's store for its owner on another computer: `GET /backup` beside MCP, behind the same token. A
//! backup is a file, and files are no answers of tools.
//!
//! The copy is made on the engine's disk first, so that what is sent is whole and its length is known.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;

use crate::client::{self, ClientError};
use crate::folder::DataFolder;
use crate::http;

/// Where it is served on the listener.
pub const PATH: &str = "/backup";
/// What the copy is of: JSON.
const SUMMARY: HeaderName = HeaderName::from_static("isobar-backup");
/// It is made and brought within so long.
const COPY_MAX: Duration = Duration::from_secs(60 * 60);
/// So much of a refusal is told.
const REFUSAL_MAX_CHARS: usize = 500;

/// Who makes copies of the engine's store.
#[async_trait]
pub trait StoreCopies: Send + Sync + 'static {
    /// An empty file on the engine's disk, of which nobody else knows.
    fn file(&self) -> io::Result<File>;
    /// Writes a whole backup there, and says what it is of; `Err` says why not, in words.
    async fn copy(&self, into: File) -> Result<Value, String>;
}

struct Copies {
    of: Arc<dyn StoreCopies>,
    /// One at a time: each is as long as the store.
    turn: Mutex<()>,
}

/// The route. Whoever mounts it asks for the token.
pub(crate) fn router(of: Arc<dyn StoreCopies>) -> Router {
    let copies = Arc::new(Copies {
        of,
        turn: Mutex::new(()),
    });
    Router::new().route(PATH, get(answer)).with_state(copies)
}

async fn answer(State(copies): State<Arc<Copies>>) -> Response {
    match copies.make().await {
        Ok((file, summary)) => {
            tracing::info!(%summary, "a backup was taken");
            sent(file, &summary).unwrap_or_else(|error| refused(&error.to_string()))
        }
        Err(reason) => refused(&reason),
    }
}

fn refused(reason: &str) -> Response {
    tracing::warn!(reason, "no backup was taken");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")).into_response()
}

impl Copies {
    async fn make(&self) -> Result<(File, Value), String> {
        let _mine = self.turn.lock().await;
        let file = self.of.file().map_err(|error| error.to_string())?;
        let into = file.try_clone().map_err(|error| error.to_string())?;
        let summary = self.of.copy(into).await?;
        Ok((file, summary))
    }
}

fn sent(mut file: File, summary: &Value) -> Result<Response, Box<dyn std::error::Error>> {
    file.rewind()?;
    let length = file.metadata()?.len();
    let summary = HeaderValue::from_str(&summary.to_string())?;
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response.headers_mut().insert(SUMMARY, summary);
    Ok(response)
}

/// Why there is no copy here.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The engine gave none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The engine could make none.
    #[error("the engine at {endpoint} takes no backup: {reason}")]
    Refused {
        /// Where it is.
        endpoint: String,
        /// Why, in its words.
        reason: String,
    },
    /// It cannot be kept here.
    #[error("write the backup")]
    Write(#[source] io::Error),
}

/// Brings a copy of the store of the engine that a folder points to, and says what it is of. What was written when it fails
/// is no backup.
pub async fn fetch(folder: &DataFolder, into: &mut (impl Write + Send)) -> Result<Value, CopyError> {
    let (endpoint, http, token) = client::reach(folder)?;
    let failed = |source: reqwest::Error| ClientError::Unreachable {
        endpoint: endpoint.clone(),
        source: source.into(),
    };
    let url = format!("{}{PATH}", endpoint.trim_end_matches(http::PATH));
    let asked = http.get(url).bearer_auth(token.as_str()).timeout(COPY_MAX);
    let mut answer = asked.send().await.map_err(failed)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(ClientError::Unauthorized { endpoint }.into()),
        status => {
            let words = answer.text().await.unwrap_or_default();
            let words: String = words.trim().chars().take(REFUSAL_MAX_CHARS).collect();
            let reason = if words.is_empty() { status.to_string() } else { words };
            return Err(CopyError::Refused { endpoint, reason });
        }
    }
    let summary = answer.headers().get(SUMMARY).map(HeaderValue::as_bytes);
    let summary = serde_json::from_slice(summary.unwrap_or_default()).map_err(|source| ClientError::Protocol {
        endpoint: endpoint.clone(),
        tool: PATH.to_owned(),
        source: source.into(),
    })?;
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        into.write_all(&chunk).map_err(CopyError::Write)?;
    }
    into.flush().map_err(CopyError::Write)?;
    Ok(summary)
}
