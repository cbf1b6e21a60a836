//! Where engines keep what must survive them: rows with versions in shards, each written in batches by one engine at a time.
//!
//! [`Store`] is the boundary: [`sql`] is the real one (sea-orm on SQLite or PostgreSQL), [`memory`] the simulated one with
//! crash and commit faults, [`conformance`] the suite that ties them together. Knows no record's meaning: bodies are JSON
//! that `control` writes and reads. Nothing but an Engine writes a store.

pub mod backup;
pub mod conformance;
mod error;
pub mod memory;
pub mod sql;

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ShardId};

pub use self::error::StoreError;

/// A table of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Clusters with their specs and ordinals.
    Cluster,
    /// Machines, tombstones included.
    Machine,
    /// Replicas, tombstones included.
    Replica,
    /// Plans, never changed.
    Plan,
    /// Operations.
    Operation,
    /// How the steps of operations ended.
    Step,
    /// The journal: one row an attempt at a cloud write.
    Attempt,
    /// What nodes identify themselves with: hashes of join tokens, keys bound to them.
    Credential,
    /// What happened, for people.
    Event,
    /// Who asked for what, chained: no entry is ever changed.
    Audit,
    /// What a cloud has under our tags that no journal knows, in quarantine.
    Orphan,
    /// What others made and a cluster takes over, by its place in its cloud.
    Adopted,
    /// States of Terraform that are kept here: their versions, without their contents, and who has locked them.
    TerraformState,
    /// The contents of those versions, sealed. One row can be as long as a state.
    TerraformBody,
    /// Addresses in Terraform's states that were taken over: no state may bring them back.
    TerraformAdopted,
}

impl Table {
    /// Every table, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::Cluster,
        Self::Machine,
        Self::Replica,
        Self::Plan,
        Self::Operation,
        Self::Step,
        Self::Attempt,
        Self::Credential,
        Self::Event,
        Self::Audit,
        Self::Orphan,
        Self::Adopted,
        Self::TerraformState,
        Self::TerraformBody,
        Self::TerraformAdopted,
    ];
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Unique within its table, over all shards. Ordered by its UTF-8 bytes. Holds no NUL.
    pub key: String,
    /// Whose writer may change it: that of the batch that inserted it.
    pub shard: ShardId,
    /// 1 when inserted, one more with each update.
    pub revision: u64,
    /// JSON, without NUL.
    pub body: String,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Adds a row; refused if the key is there.
    Insert {
        /// Where.
        table: Table,
        /// Its key.
        key: String,
        /// JSON.
        body: String,
    },
    /// Replaces a row's body; refused unless it is at `expect`.
    Update {
        /// Where.
        table: Table,
        /// Its key.
        key: String,
        /// The revision that was read.
        expect: u64,
        /// JSON.
        body: String,
    },
    /// Removes a row; refused unless it is at `expect`.
    Delete {
        /// Where.
        table: Table,
        /// Its key.
        key: String,
        /// The revision that was read.
        expect: u64,
    },
}

/// An engine among those that share a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its own, made at its start.
    pub id: MemberId,
    /// Where other members reach it: `host:port`.
    pub peers: String,
    /// Where nodes reach it, at the first of these that answers: `host:port`, without commas.
    pub nodes: Vec<String>,
}

/// Where a shard stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Which.
    pub id: ShardId,
    /// Whose commits are taken: those of the last claim. 0: it was never claimed.
    pub epoch: Epoch,
    /// Who claimed it last and has not released it. Need not live any more: compare with [`Store::members`].
    pub holder: Option<MemberId>,
}

/// Rows with versions in shards, written in atomic batches by whoever holds a shard's epoch.
///
/// Every time is the store's own: engines whose clocks differ agree on whose lease has run out. Nothing is retried in here.
/// A write that answers `OutcomeUnknown` may have happened: `beat`, `leave`, `once` and `end_recovery` are then simply
/// called again, so is `claim` (an epoch that nobody uses harms nobody); after `commit` and `release` read first.
#[async_trait]
pub trait Store: Send + Sync {
    /// The store's own id, made when it was made: the `store` of every owner tag. A restored store has its backup's.
    fn id(&self) -> &str;

    /// Which life of its rows this is.
    fn incarnation(&self) -> Incarnation;

    /// Whether the rows come from a backup and have not been compared with the clouds yet.
    async fn is_recovering(&self) -> Result<bool, StoreError>;

    /// Ends the recovery, for good. Ok if there is none.
    async fn end_recovery(&self) -> Result<(), StoreError>;

    /// Writes all of `batch` or nothing, if `epoch` is still the shard's. Durable when Ok.
    ///
    /// The writes are applied in their order, each seeing those before it, so one batch may insert a row and update it. It
    /// reaches rows of its own shard only: any write to a key that another shard has is `Stale`. `Fenced` goes before
    /// `Stale`, and `Stale` names the first write that did not fit (one of them, where another shard is faster). An empty
    /// batch only asks whether `epoch` is current.
    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError>;

    /// Rows of a table in key order, of one shard or of all, those after key `after`, at most `limit`. Fewer than `limit`
    /// means there are no more. Each page is consistent in itself; two pages may have a commit between them.
    async fn scan(
        &self,
        shard: Option<ShardId>,
        table: Table,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError>;

    /// One row, whatever its shard.
    async fn get(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError>;

    /// Says that `member` lives, and where, for `lease` from now on. A member whose lease has run out is one again.
    ///
    /// Its owner counts the lease from the moment before this call, so that it ends no earlier here than there.
    async fn beat(&self, member: &Member, lease: Duration) -> Result<(), StoreError>;

    /// Ends a member's lease at once; its shards are free to claim. Ok if there is none.
    async fn leave(&self, member: &MemberId) -> Result<(), StoreError>;

    /// Those whose lease has not run out, by id.
    async fn members(&self) -> Result<Vec<Member>, StoreError>;

    /// Every shard, by id.
    async fn shards(&self) -> Result<Vec<Shard>, StoreError>;

    /// Takes a shard, if nobody has it, `member` itself has it, or its holder's lease has run out: from here on the commits
    /// of every earlier epoch are refused. None: another member that lives has it, or the lease of `member` has run out.
    async fn claim(&self, shard: ShardId, member: &MemberId) -> Result<Option<Epoch>, StoreError>;

    /// Gives a shard back. `Fenced` if `epoch` is not its epoch any more. Until the next claim `epoch` could still commit.
    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), StoreError>;

    /// What `key` was first set to: `value`, if by this call. Never changes afterwards. For what all engines must share,
    /// like the certificate authority; secrets are sealed by the caller.
    async fn once(&self, key: &str, value: &str) -> Result<String, StoreError>;
}
