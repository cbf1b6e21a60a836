//! One life of the crate's scheduler: from its connection to the moment that this engine is not in the ring any more.
//!
//! The crate's heartbeat gives up for good after five failures in all, and its connection never comes back; so a life is
//! over when Redis does not list this engine for a while. Called by [`crate`], which begins the next one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributed_scheduler::cron::{self, Cron};
use distributed_scheduler::driver::Driver;
use distributed_scheduler::driver::redis::{Error as DriverError, RedisDriver};
use distributed_scheduler::node_pool::{self, NodePool};
use isobar_engine_control::Fleet;
use isobar_engine_control::periodic::{Round, Work};
use isobar_engine_model::id::{SHARDS, ShardId};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, watch};

use crate::teller::Teller;

/// For a connection to stand.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// For Redis to answer a command.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// So long does Redis list an engine after its last heartbeat, which comes every second.
const LISTED_S: u64 = 3;
/// Not listed for so long, this life is over. Shorter than five heartbeats: the crate's panics at the fifth that fails.
const UNLISTED_MAX: Duration = Duration::from_secs(4);
/// Every second: a round is told of at most once a period, and again where that failed.
const EVERY_SECOND: &str = "* * * * * *";
/// Rounds that wait to be told of: each kind of each shard once, and once more.
const DUE_MAX_ROUNDS: usize = 2 * Work::ALL.len() * SHARDS as usize;

/// Why a life is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifeError {
    #[error("connect to Redis")]
    Connect(#[source] redis::RedisError),
    #[error("use Redis")]
    Driver(#[from] DriverError),
    #[error("join the ring")]
    Pool(#[source] node_pool::Error<Watched>),
    #[error("schedule rounds")]
    Schedule(#[source] cron::Error<Watched>),
    #[error("Redis has not listed this engine for {} s", UNLISTED_MAX.as_secs())]
    Unlisted,
    #[error("read the schedule `{EVERY_SECOND}`")]
    Pattern,
}

/// The crate's driver, and when it listed this engine last.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: RedisDriver<MultiplexedConnection>,
    listed: watch::Sender<()>,
}

#[async_trait]
impl Driver for Watched {
    type Error = DriverError;

    fn node_id(&self) -> String {
        self.inner.node_id()
    }

    async fn get_nodes(&self) -> Result<Vec<String>, DriverError> {
        let nodes = self.inner.get_nodes().await?;
        if nodes.contains(&self.inner.node_id()) {
            self.listed.send_replace(());
        }
        Ok(nodes)
    }

    async fn start(&mut self) -> Result<(), DriverError> {
        self.inner.start().await
    }
}

/// Lives until it ends.
pub(crate) async fn live(client: redis::Client, fleet: Arc<Fleet>, teller: Teller) -> Result<(), LifeError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(CONNECT_MAX)
        .set_response_timeout(ANSWER_MAX);
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    let connection = connection.map_err(LifeError::Connect)?;
    // The engines of one store: several stores may share a server.
    let service = format!("isobar-{}", fleet.store_id());
    let inner = RedisDriver::new(connection, &service, fleet.id().as_str()).await?;
    let (listed, seen) = watch::channel(());
    let driver = Watched {
        inner: inner.with_timeout(LISTED_S),
        listed,
    };
    let pool = NodePool::new(driver).await.map_err(LifeError::Pool)?;
    let (due, rounds) = mpsc::channel(DUE_MAX_ROUNDS);
    let cron = schedule(pool, &due).await?;
    tokio::select! {
        biased;
        () = unlisted(seen) => Err(LifeError::Unlisted),
        ended = cron.start() => ended.map_err(LifeError::Schedule),
        () = teller.tell(rounds) => Ok(()),
    }
}

/// A job for each kind of work of each shard: the ring spreads them.
async fn schedule(
    pool: NodePool<Watched>,
    due: &mpsc::Sender<Round>,
) -> Result<Arc<Cron<'static, Watched>>, LifeError> {
    let cron = Cron::new(pool).await;
    for (shard, work) in ShardId::all().flat_map(|shard| Work::ALL.map(|work| (shard, work))) {
        let due = due.clone();
        let name = format!("{}/{shard}", work.name());
        let pattern = EVERY_SECOND.parse().map_err(|_| LifeError::Pattern)?;
        let job = move || {
            if due.try_send(Round { shard, work }).is_err() {
                tracing::debug!(%shard, work = work.name(), "a round is told of a second later");
            }
        };
        cron.add_job(&name, pattern, job).await.map_err(LifeError::Schedule)?;
    }
    Ok(cron)
}

/// Returns when this engine has not been listed for too long.
async fn unlisted(mut seen: watch::Receiver<()>) {
    while let Ok(Ok(())) = tokio::time::timeout(UNLISTED_MAX, seen.changed()).await {}
}
