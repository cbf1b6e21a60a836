//! A strict cloud on a port of loopback, for as long as the value lives, and the calls that it was asked; and its door,
//! which is closed on bad days and lets no account ask more often than it may.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One of these is sent again and again by an answer that hardly ends, 2 GiB in all.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS: usize = 2048;

/// An answer that nobody should read to its end.
pub(crate) fn endless() -> Body {
    let chunk = Bytes::from(vec![b' '; CHUNK_BYTES]);
    let chunks = std::iter::repeat_n(chunk, CHUNKS);
    Body::from_stream(stream::iter(chunks.map(Ok::<_, io::Error>)))
}

/// How often each call was asked, by its name in the cloud's own words. A clone counts on.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, u64>>>);

impl Calls {
    /// One more.
    pub fn count(&self, name: &str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(name.to_owned()).or_default() += 1;
    }

    /// Every name that was asked, with how often.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often that name was asked.
    pub fn of(&self, name: &str) -> u64 {
        self.all().get(name).copied().unwrap_or(0)
    }
}

/// How often an account may ask for one thing: a bucket of tokens for each name of a call, which fills again in time. Clouds
/// do it so, each with numbers of its own:
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>,
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>,
/// <https://docs.cloud.google.com/compute/api-quota>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// In the long run.
    pub calls_per_second: u32,
    /// At once, after a rest.
    pub burst_calls: u32,
}

/// Where a cloud says "not now". A clone is the same door.
#[derive(Debug, Clone, Default)]
pub struct Door(Arc<Behind>);

#[derive(Debug, Default)]
struct Behind {
    is_shut: AtomicBool,
    bound: Mutex<Bound>,
}

#[derive(Debug, Default)]
struct Bound {
    limit: Option<Limit>,
    /// By the name of the call: when its bucket is full again.
    full_at: BTreeMap<String, Instant>,
    refused_calls: u64,
}

impl Door {
    /// From now on nobody is heard: what stands before the cloud answers with 503 and nothing else.
    pub fn shut(&self) {
        self.0.is_shut.store(true, Ordering::SeqCst);
    }

    /// From now on everybody is heard again.
    pub fn open(&self) {
        self.0.is_shut.store(false, Ordering::SeqCst);
    }

    /// From now on nobody asks more often than so.
    pub fn limit(&self, limit: Limit) {
        *self.bound() = Bound {
            limit: Some(limit),
            ..Bound::default()
        };
    }

    /// How many calls were too many.
    pub fn refused_calls(&self) -> u64 {
        self.bound().refused_calls
    }

    /// Whether a call may pass now; or how long until one may.
    pub(crate) fn pass(&self, name: &str) -> Result<(), Duration> {
        let now = Instant::now();
        let mut bound = self.bound();
        let Some(limit) = bound.limit else { return Ok(()) };
        let each = Duration::from_secs(1) / limit.calls_per_second.max(1);
        let full_at = bound.full_at.get(name).copied().unwrap_or(now).max(now) + each;
        let wait = full_at.saturating_duration_since(now + each * limit.burst_calls.max(1));
        if wait.is_zero() {
            bound.full_at.insert(name.to_owned(), full_at);
            return Ok(());
        }
        bound.refused_calls += 1;
        Err(wait)
    }

    fn bound(&self) -> MutexGuard<'_, Bound> {
        self.0.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cloud that answers.
#[derive(Debug)]
pub struct Front {
    /// Where: `http://127.0.0.1:PORT`.
    pub url: String,
    /// What it was asked.
    pub calls: Calls,
    /// Who is let in.
    pub door: Door,
    _stop: oneshot::Sender<()>,
}

impl Front {
    /// Answers on a free port until the value is dropped. `calls` are those that `router` counts, `door` the one that it
    /// asks. What is `beside` the cloud, as where credentials come from, has no door.
    pub async fn serve(router: Router, beside: Router, (calls, door): (Calls, Door)) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = router
            .layer(from_fn_with_state(door.clone(), unless_shut))
            .merge(beside);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            let over = async { drop(stopped.await) };
            axum::serve(listener, router).with_graceful_shutdown(over).await
        });
        Ok(Self {
            url,
            calls,
            door,
            _stop: stop,
        })
    }
}

async fn unless_shut(State(door): State<Door>, request: Request, next: Next) -> Response {
    if door.0.is_shut.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_door_lets_its_burst_in_and_then_one_at_a_time() {
        let door = Door::default();
        assert_eq!(door.pass("free"), Ok(()));
        door.limit(Limit {
            calls_per_second: 2,
            burst_calls: 3,
        });
        let passed = || (0..5).filter(|_| door.pass("Run").is_ok()).count();
        assert_eq!(passed(), 3);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(passed(), 1);
        assert_eq!(door.pass("Run"), Err(Duration::from_millis(500)));
        assert_eq!(door.pass("Describe"), Ok(()), "another bucket");
        assert_eq!(door.refused_calls(), 7);
    }
}
