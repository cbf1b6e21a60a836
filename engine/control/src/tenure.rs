//! The shard that an engine writes, and since which claim. Claims it for an engine that is alone; called by whoever starts
//! one.

use std::time::Duration;

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use isobar_engine_store::{Member, Store, StoreError};

/// The one shard of an engine that is alone: everything it keeps is in there.
const SOLE_SHARD: ShardId = ShardId(0);
/// The one member. The same at every start: nobody else ever claims.
const SOLE_MEMBER: &str = "engine";
/// Longer than the claim that follows.
const SOLE_LEASE: Duration = Duration::from_secs(60);

/// What an engine may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    /// Its shard.
    pub shard: ShardId,
    /// The epoch of its claim.
    pub epoch: Epoch,
}

impl Tenure {
    /// Claims the shard of an engine that shares its store with none. `InUse` if it does after all.
    pub async fn sole(store: &dyn Store) -> Result<Self, StoreError> {
        let member = Member {
            id: MemberId::new(SOLE_MEMBER),
            mcp: String::new(),
            nodes: String::new(),
        };
        store.beat(&member, SOLE_LEASE).await?;
        let epoch = store.claim(SOLE_SHARD, &member.id).await?;
        let epoch = epoch.ok_or_else(|| StoreError::InUse {
            path: format!("the store {}", store.id()),
            holder: None,
        })?;
        Ok(Self {
            shard: SOLE_SHARD,
            epoch,
        })
    }
}
