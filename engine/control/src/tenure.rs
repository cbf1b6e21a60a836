//! The shard that an engine writes, since which claim, and for how long it may still act on the outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_store::{Member, Store, StoreError};
use tokio::sync::watch;

/// The one shard of an engine that is alone: everything it keeps is in there.
const SOLE_SHARD: ShardId = ShardId(0);
/// The one member. The same at every start: nobody else ever claims.
const SOLE_MEMBER: &str = "engine";
/// Longer than the claim that follows.
const SOLE_LEASE: Duration = Duration::from_secs(60);

/// What an engine may write.
#[derive(Debug, Clone)]
pub struct Tenure {
    /// Its shard.
    pub shard: ShardId,
    /// The epoch of its claim: what fences its commits.
    pub epoch: Epoch,
    /// What stops its calls to clouds before anybody else may claim the shard.
    pub lease: Lease,
    /// Where nodes reach this engine and those that may take over from it: `host:port`, this one first.
    pub homes: watch::Receiver<Vec<String>>,
}

impl Tenure {
    /// Claims one shard for an engine without neighbours, which tests and benchmarks start by hand. `InUse` if it has some
    /// after all.
    pub async fn sole(store: &dyn Store, home: &str) -> Result<Self, StoreError> {
        let member = Member {
            id: MemberId::new(SOLE_MEMBER),
            peers: String::new(),
            nodes: vec![home.to_owned()],
        };
        store.beat(&member, SOLE_LEASE).await?;
        let epoch = store.claim(SOLE_SHARD, &member.id).await?;
        let epoch = epoch.ok_or_else(|| StoreError::InUse {
            path: format!("the store {}", store.id()),
            holder: None,
        })?;
        let lease = Lease::ended();
        lease.renewed(Timestamp(u64::MAX));
        Ok(Self {
            shard: SOLE_SHARD,
            epoch,
            lease,
            homes: watch::Sender::new(vec![home.to_owned()]).subscribe(),
        })
    }
}

/// Until when a process, or its engine for one shard, may act, by its own clock, counted from before it asked.
#[derive(Debug, Clone)]
pub struct Lease(Arc<AtomicU64>);

impl Lease {
    /// One that has run out.
    pub fn ended() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// One that holds as long now, and is renewed by itself.
    pub fn copied(&self) -> Self {
        Self(Arc::new(AtomicU64::new(self.0.load(Ordering::SeqCst))))
    }

    /// It holds until then.
    pub fn renewed(&self, until: Timestamp) {
        self.0.fetch_max(until.0, Ordering::SeqCst);
    }

    /// Whether it holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        now.0 < self.0.load(Ordering::SeqCst)
    }
}
