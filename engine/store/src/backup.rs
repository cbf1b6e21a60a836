//! The form of a backup: what a store holds as one file, and how it is known to be whole. Knows no database; called by
//! [`crate::sql`], which reads and fills stores.
//!
//! A backup is zstd of JSON lines: a header, then the shards, the settings and the rows, then a trailer with their number
//! and the SHA-256 of every line before it. That shows that a file is whole, not who wrote it. Bodies and settings stand in
//! it as they stand in the store: what `control` has sealed is sealed in a backup too, and there are no secrets in the
//! clear; the key that opens them is in no backup, and is kept beside.

mod lines;

use std::io;

use isobar_engine_model::id::Incarnation;
use isobar_engine_model::quantity::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(crate) use self::lines::{read, write};
use crate::StoreError;

/// How the format's name begins, whatever its version.
const FORMATS: &str = "isobar-backup-";
/// The version that is written, and the only one there is.
const FORMAT: &str = "isobar-backup-1";
/// The first schema that there are backups of.
pub(crate) const SCHEMA_MIN: i64 = 2;
/// Pages on their way between the database and the file.
pub(crate) const PAGES_AHEAD: usize = 4;
/// Lines of a page.
pub(crate) const PAGE_LINES: usize = 500;

/// What is known of a backup that was written or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Of which store.
    pub store: String,
    /// In which of its lives. One that was restored is in the next.
    pub incarnation: Incarnation,
    /// When it was taken, by the store's clock.
    pub taken: Timestamp,
    /// Lines between header and trailer: shards, settings and rows.
    pub rows: u64,
}

/// Why there is no backup, or no restored store, by what a person does next.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Give a backup.
    #[error("this is no backup of a store: {detail}")]
    Foreign {
        /// What it is instead.
        detail: String,
    },
    /// Get the whole file.
    #[error("the backup is cut short")]
    Truncated,
    /// Give another backup.
    #[error("the backup is not as it was written: {detail}")]
    Altered {
        /// What is wrong with it.
        detail: String,
    },
    /// Run that version.
    #[error("the backup was written by a later version of isobar")]
    Newer,
    /// Start an engine of this version on the store first: it brings it up to date.
    #[error("{path} was written by an earlier version of isobar")]
    Older {
        /// Which file, or which database without its password.
        path: String,
    },
    /// Restore into an empty store. This one is as it was.
    #[error("{path} is not empty: it has {found}")]
    NotEmpty {
        /// Which file, or which database without its password.
        path: String,
        /// What it holds.
        found: String,
    },
    /// The backup's file cannot be read.
    #[error("read the backup")]
    Read(#[source] io::Error),
    /// The backup's file cannot be written.
    #[error("write the backup")]
    Write(#[source] io::Error),
    /// The store cannot be read or filled.
    #[error("the store of the backup")]
    Store(#[from] StoreError),
}

impl BackupError {
    /// What a person does next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Foreign { .. } => Some("give a file that `isobar backup` has written"),
            Self::Truncated => Some("copy it again from where it was written, or take an earlier one"),
            Self::Altered { .. } => Some("take another copy of it, or an earlier one"),
            Self::Newer => Some("run that version"),
            Self::Older { .. } => Some("start an engine of this version on it first, then take the backup"),
            Self::NotEmpty { .. } => Some("restore into a new data folder or an empty database"),
            Self::Store(error) => error.hint(),
            Self::Read(_) | Self::Write(_) => None,
        }
    }
}

/// A line of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    /// The first one.
    Header(Header),
    Shard {
        id: u16,
        epoch: u64,
        commits: u64,
    },
    Setting {
        key: String,
        value: String,
    },
    Row {
        table: String,
        shard: u16,
        key: String,
        revision: u64,
        body: String,
    },
    /// The last one.
    Trailer(Trailer),
}

/// Of what a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    /// How many migrations the store had had.
    pub(crate) schema: i64,
    pub(crate) store: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) taken_ms: u64,
}

/// What tells that a backup is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trailer {
    /// Lines between header and trailer.
    rows: u64,
    /// SHA-256, in hex, of the header and those lines, with their ends.
    sha256: String,
}

/// What goes between the database and the file.
#[derive(Debug)]
pub(crate) enum Page {
    /// The first: of what it is.
    Header(Header),
    /// Shards, settings, rows.
    Lines(Vec<Line>),
    /// There are no more. A channel that closes without has been given up.
    End,
}

/// Where pages come from.
pub(crate) type Pages = mpsc::Receiver<Page>;

impl Header {
    pub(crate) fn new(schema: i64, store: String, incarnation: Incarnation, taken_ms: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            schema,
            store,
            incarnation,
            taken_ms,
        }
    }

    pub(crate) fn summary(&self, rows: u64) -> Summary {
        Summary {
            store: self.store.clone(),
            incarnation: self.incarnation,
            taken: Timestamp(self.taken_ms),
            rows,
        }
    }
}
