//! Why a store call failed. Called by everything in this crate, and by whoever calls a store.

use isobar_engine_model::id::{Epoch, ShardId};

use crate::Table;

/// Why a store call failed, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another engine has claimed the shard: stop writing it. Nothing of the batch was written.
    #[error("another engine writes shard {shard} since epoch {}", current.0)]
    Fenced {
        /// Which.
        shard: ShardId,
        /// Its epoch. 0: it was never claimed, or there is no such shard.
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
    /// The file or database is damaged: restore a backup.
    #[error("{path} is damaged: {detail}")]
    Corrupt {
        /// Which file, or which database without its password.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A later version of Isobar wrote it: run that one.
    #[error("{path} was written by a later version of isobar")]
    Newer {
        /// Which file, or which database without its password.
        path: String,
    },
    /// The database cannot hold a store as it is set up: change that, or name another.
    #[error("{path} cannot be used: {detail}")]
    Unsuitable {
        /// Which database, without its password.
        path: String,
        /// Why, and what would do.
        detail: String,
    },
    /// The store cannot be read or written now: try again later. Nothing was written.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// What a person does next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InUse { .. } => Some("stop that engine, or give another folder with --data"),
            Self::Corrupt { .. } => Some("stop every engine, keep a copy of it, and restore a backup"),
            Self::Newer { .. } => Some("run that version"),
            Self::Full(_) => Some("free some room on the disk of the data folder or database, then start again"),
            Self::Fenced { .. } => Some("use that engine"),
            Self::Unsuitable { .. } => Some("change its settings, or give another database"),
            Self::Stale { .. } | Self::OutcomeUnknown(_) | Self::Unavailable(_) => None,
        }
    }
}
