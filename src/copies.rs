//! Copies of a store: of the folder's or database's own, or of the engine's on another computer that the folder points to.

use std::fs::File;
use std::io::{self, Write};

use anyhow::Result;
use async_trait::async_trait;
use isobar_engine_store::backup::{BackupError, Summary};
use isobar_engine_store::sql::SqlStore;
use isobar_mcp::copy::StoreCopies;
use isobar_mcp::folder::DataFolder;
use serde_json::{Value, json};

/// Where an engine keeps its store.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its data folder.
    pub(crate) folder: DataFolder,
    /// The database that it shares with others, if it does.
    pub(crate) database: Option<String>,
}

impl Place {
    /// Writes the store as it is at one moment.
    pub(crate) async fn taken<W: Write + Send + 'static>(&self, into: W) -> Result<(W, Summary), BackupError> {
        match &self.database {
            Some(url) => SqlStore::backup_database(url, into).await,
            None => SqlStore::backup_folder(self.folder.path(), into).await,
        }
    }
}

#[async_trait]
impl StoreCopies for Place {
    fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.folder.path())
    }

    async fn copy(&self, into: File) -> Result<Value, String> {
        match self.taken(into).await {
            Ok((_, summary)) => Ok(document(&summary)),
            Err(error) => {
                let error = anyhow::Error::from(error);
                Err(format!("{error:#}"))
            }
        }
    }
}

/// What a backup is of.
pub(crate) fn document(summary: &Summary) -> Value {
    json!({
        "store": summary.store,
        "incarnation": summary.incarnation,
        "taken": summary.taken,
        "rows": summary.rows,
    })
}
