//! Where the engine keeps what must survive it: rows with versions, committed in batches by one writer a shard.
//!
//! [`Store`] is the boundary: [`sql`] is the real one (sea-orm on SQLite), [`memory`] the simulated one with crash and
//! commit faults, [`conformance`] the suite that ties the two together. Knows no record's meaning: bodies are JSON that
//! `control` writes and reads. Nothing but the Engine writes a store.

pub mod conformance;
pub mod memory;
pub mod sql;

use async_trait::async_trait;
use isobar_engine_model::id::Epoch;

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
    /// What clouds have that the journal does not know.
    Orphan,
    /// Who did what, why.
    Audit,
}

impl Table {
    /// Every table, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Cluster,
        Self::Machine,
        Self::Replica,
        Self::Plan,
        Self::Operation,
        Self::Step,
        Self::Attempt,
        Self::Credential,
        Self::Orphan,
        Self::Audit,
    ];
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Unique within its table; keys of one cluster share a prefix. Ordered by its UTF-8 bytes.
    pub key: String,
    /// 1 when inserted, one more with each update.
    pub revision: u64,
    /// JSON.
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

/// Why a store call failed, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer took the shard over: stop writing.
    #[error("another engine writes this store since epoch {}", current.0)]
    Fenced {
        /// Its epoch.
        current: Epoch,
    },
    /// A row is not as it was read: read again. Nothing of the batch was written.
    #[error("{table:?} `{key}` has changed since it was read")]
    Stale {
        /// In which table.
        table: Table,
        /// Which row.
        key: String,
    },
    /// The batch may or may not be written: read again before anything else.
    #[error("the outcome of a commit is not known")]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no room: free some. Nothing of the batch was written.
    #[error("no room left for the store")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process has the store open: use that one, or stop it.
    #[error("{path} is in use by another engine{}", holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The data folder.
        path: String,
        /// The process that holds it, where it could be read.
        holder: Option<u32>,
    },
    /// The file is damaged: restore a backup.
    #[error("{path} is damaged: {detail}")]
    Corrupt {
        /// Which file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A later version of Isobar wrote it: run that one.
    #[error("{path} was written by a later version of isobar")]
    Newer {
        /// Which file.
        path: String,
    },
    /// The store cannot be read or written now. Nothing was written.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// What a person does next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InUse { .. } => Some("stop that engine, or give another folder with --data"),
            Self::Corrupt { .. } => Some("stop every engine, keep a copy of the folder, and restore a backup"),
            Self::Newer { .. } => Some("run that version"),
            Self::Full(_) => Some("free some room on the disk of the data folder, then start again"),
            Self::Fenced { .. } => Some("use that engine"),
            Self::Stale { .. } | Self::OutcomeUnknown(_) | Self::Unavailable(_) => None,
        }
    }
}

/// Rows with versions, written in atomic batches by whoever holds the epoch.
#[async_trait]
pub trait Store: Send + Sync {
    /// The store's own id, made when it was made: the `store` of every owner tag.
    fn id(&self) -> &str;

    /// Takes the shard over: from here on every earlier epoch's commits are refused. After `OutcomeUnknown` call it again:
    /// an epoch that nobody uses harms nobody.
    async fn take_over(&self) -> Result<Epoch, StoreError>;

    /// Writes all of `batch` or nothing, if `epoch` is still the current one. Durable when Ok.
    ///
    /// The writes are applied in their order, each seeing those before it, so one batch may insert a row and update it.
    /// `Fenced` goes before `Stale`, and `Stale` names the first write that did not fit. An empty batch only asks whether
    /// `epoch` is current. Nothing is retried in here.
    async fn commit(&self, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError>;

    /// Rows of a table in key order, those after key `after`, at most `limit`. Fewer than `limit` means there are no more.
    /// Each page is consistent in itself; two pages may have a commit between them.
    async fn scan(&self, table: Table, after: Option<&str>, limit: u32) -> Result<Vec<Row>, StoreError>;

    /// One row.
    async fn get(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError>;
}
