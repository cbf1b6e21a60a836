//! Spreads periodic work over engines with the `distributed-scheduler` crate and Redis: its ring says which engine asks for
//! which rounds.
//!
//! Decides nothing: the engine that holds a shard under its lease decides whether a round begins, and does without being
//! asked when nobody asks. Never does work itself, never listens. Called where the command is wired, with the feature
//! `distributed-scheduler` alone: the crate beneath is under the AGPL.
//!
//! What is wrong with the crate stays in here: a life of its scheduler ends, by an error, a panic or silence, and another
//! one begins.

mod life;
mod teller;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_engine_control::Fleet;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::life::LifeError;
use crate::teller::Teller;

/// Between two lives of the scheduler.
const LIFE_PAUSE: Duration = Duration::from_secs(2);

/// Where the Redis server is.
#[derive(Debug, Clone)]
pub struct Server(redis::Client);

impl Server {
    /// Reads `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`. Connects to nothing.
    pub fn read(url: &str) -> Result<Self, SpreadError> {
        Ok(Self(redis::Client::open(url)?))
    }
}

/// Why nothing can be spread.
#[derive(Debug, thiserror::Error)]
pub enum SpreadError {
    /// The URL must be another one.
    #[error("the URL of the Redis server cannot be read")]
    Url(#[from] redis::RedisError),
}

/// The scheduler of one engine process. Stops when dropped.
#[derive(Debug)]
pub struct Spread {
    asked: Arc<AtomicU64>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Spread {
    /// Joins the ring of those that share the fleet's store. A server that does not answer is no error: the engines go by
    /// their intervals until it does.
    pub fn start(server: Server, fleet: Arc<Fleet>) -> Self {
        let Server(client) = server;
        let (asked, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let task = tokio::spawn(live_on(client, fleet, asked.clone(), stop.clone()));
        Self { asked, stop, task }
    }

    /// How many rounds this process has asked for.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Leaves the ring.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::warn!(%error, "the spreading ended early");
        }
    }
}

impl Drop for Spread {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One life after the other, until it is to stop.
async fn live_on(client: redis::Client, fleet: Arc<Fleet>, asked: Arc<AtomicU64>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let teller = Teller::new(fleet.clone(), asked.clone());
        // In a task of its own: the crate panics in what it runs.
        let mut life = tokio::spawn(life::live(client.clone(), fleet.clone(), teller));
        tokio::select! {
            biased;
            () = stop.cancelled() => life.abort(),
            ended = &mut life => {
                complain(ended);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LIFE_PAUSE) => {}
                }
            }
        }
    }
}

fn complain(ended: Result<Result<(), LifeError>, JoinError>) {
    match ended {
        Ok(Ok(())) => tracing::warn!("the scheduler ended; a new one starts"),
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the scheduler is cut off; a new one starts");
        }
        Err(error) => tracing::warn!(%error, "the scheduler panicked; a new one starts"),
    }
}
