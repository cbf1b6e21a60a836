//! Reads a whole store into a backup. Writes nothing to the store; called by whoever keeps copies, also while engines run.

use std::io::Write;
use std::path::Path;

use sea_orm::{AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, IsolationLevel};
use sea_orm::{TransactionOptions, TransactionTrait};
use tokio::sync::mpsc;

use super::place::{Kind, Place};
use super::{SqlStore, failure, postgres, read, schema, sqlite, statement};
use crate::backup::{self, BackupError, Header, Line, PAGE_LINES, PAGES_AHEAD, Page, Summary};
use crate::{StoreError, Table};

/// Of a table whose rows can be long, one at a time.
const LONG_PAGE_LINES: u32 = 1;

impl SqlStore {
    /// Writes everything in the store to `writer`, as it is at one moment, while commits go on. Gives the writer back: what
    /// it holds is a backup once that is on disk.
    ///
    /// What was written when it fails is no backup, and restoring it is refused. Leases are not in it. Secrets are in it
    /// as they are in the store: sealed.
    pub async fn backup<W: Write + Send + 'static>(&self, writer: W) -> Result<(W, Summary), BackupError> {
        take(&self.place, &self.readers, writer).await
    }

    /// As [`Self::backup`], of the store in a data folder, whether an engine holds the folder or none. `Older` for a store
    /// that no engine of this version has opened yet.
    pub async fn backup_folder<W: Write + Send + 'static>(
        data_folder: &Path,
        writer: W,
    ) -> Result<(W, Summary), BackupError> {
        let (place, connection) = sqlite::look(data_folder).await?;
        let taken = take(&place, &connection, writer).await;
        close(&place, connection).await;
        taken
    }

    /// As [`Self::backup`], of the store in a PostgreSQL database, whatever engines are on it. `Older` for a store that no
    /// engine of this version has opened yet.
    pub async fn backup_database<W: Write + Send + 'static>(url: &str, writer: W) -> Result<(W, Summary), BackupError> {
        let (place, connection) = postgres::look(url).await?;
        let taken = take(&place, &connection, writer).await;
        close(&place, connection).await;
        taken
    }
}

async fn close(place: &Place, connection: DatabaseConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, store = place.name, "a store that was read was not closed at once");
    }
}

async fn take<W: Write + Send + 'static>(
    place: &Place,
    connection: &DatabaseConnection,
    writer: W,
) -> Result<(W, Summary), BackupError> {
    let (pages, queue) = mpsc::channel(PAGES_AHEAD);
    let writing = tokio::task::spawn_blocking(move || backup::write(writer, queue));
    let read = read_all(place, connection, pages).await;
    let written = writing
        .await
        .map_err(|error| BackupError::Write(std::io::Error::other(error)))?;
    // A full disk first: the reader then only knows that nobody listens.
    match (written?, read?) {
        (Some((writer, rows)), Some(header)) => Ok((writer, header.summary(rows))),
        (None, _) | (_, None) => Err(BackupError::Write(std::io::ErrorKind::BrokenPipe.into())),
    }
}

/// Hands over every line, as of one moment. None: nobody wants them any more.
async fn read_all(
    place: &Place,
    connection: &DatabaseConnection,
    pages: mpsc::Sender<Page>,
) -> Result<Option<Header>, BackupError> {
    let failed = |error| failure::before_commit(place, error);
    let options = match place.kind {
        // What a transaction first reads is what it sees until its end.
        Kind::Sqlite => TransactionOptions::default(),
        Kind::Postgres => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        },
    };
    let transaction = connection.begin_with_options(options).await.map_err(failed)?;
    if place.kind == Kind::Postgres {
        postgres::be_slow(&transaction).await.map_err(failed)?;
    }
    let handed = hand_over(place, &transaction, &pages).await;
    if let Err(error) = transaction.rollback().await {
        tracing::warn!(%error, store = place.name, "a transaction that only read was not ended at once");
    }
    handed
}

async fn hand_over(
    place: &Place,
    transaction: &DatabaseTransaction,
    pages: &mpsc::Sender<Page>,
) -> Result<Option<Header>, BackupError> {
    let header = header(place, transaction).await?;
    if pages.send(Page::Header(header.clone())).await.is_err() {
        return Ok(None);
    }
    let few = shards_and_settings(place, transaction).await?;
    if pages.send(Page::Lines(few)).await.is_err() {
        return Ok(None);
    }
    for table in Table::ALL {
        let mut after: Option<String> = None;
        loop {
            let lines = rows(place, transaction, table, after.as_deref()).await?;
            let Some(Line::Row { key, .. }) = lines.last() else {
                break;
            };
            after = Some(key.clone());
            if pages.send(Page::Lines(lines)).await.is_err() {
                return Ok(None);
            }
        }
    }
    Ok(pages.send(Page::End).await.ok().map(|()| header))
}

async fn header(place: &Place, transaction: &DatabaseTransaction) -> Result<Header, BackupError> {
    let (store, schema) = read::meta(place, transaction).await?;
    if schema > schema::known() {
        return Err(failure::newer(place).into());
    }
    if schema < schema::known() {
        return Err(BackupError::Older {
            path: place.name.clone(),
        });
    }
    let (incarnation, _) = read::life(place, transaction).await?;
    let time = transaction.query_one(&statement::engine::time(place.kind)).await;
    let time = time.map_err(|error| failure::before_commit(place, error))?;
    let time = time.ok_or_else(|| failure::corrupt(place, "it does not tell the time"))?;
    Ok(Header::new(schema, store, incarnation, read::whole(place, &time, 0)?))
}

async fn shards_and_settings(place: &Place, transaction: &DatabaseTransaction) -> Result<Vec<Line>, StoreError> {
    let failed = |error| failure::before_commit(place, error);
    let mut lines = Vec::new();
    for row in transaction
        .query_all(&statement::engine::tenancies())
        .await
        .map_err(failed)?
    {
        lines.push(Line::Shard {
            id: read::shard_id(place, &row, 0)?.0,
            epoch: read::whole(place, &row, 1)?,
            commits: read::whole(place, &row, 2)?,
        });
    }
    for row in transaction.query_all(&statement::settings()).await.map_err(failed)? {
        lines.push(Line::Setting {
            key: read::value(place, &row, 0)?,
            value: read::value(place, &row, 1)?,
        });
    }
    Ok(lines)
}

async fn rows(
    place: &Place,
    transaction: &DatabaseTransaction,
    table: Table,
    after: Option<&str>,
) -> Result<Vec<Line>, StoreError> {
    let limit = page_lines(table);
    let page = transaction.query_all(&statement::scan(None, table, after, limit)).await;
    let page = page.map_err(|error| failure::before_commit(place, error))?;
    let line = |row| {
        let row = read::row(place, row)?;
        Ok(Line::Row {
            table: schema::name(table).to_owned(),
            shard: row.shard.0,
            key: row.key,
            revision: row.revision,
            body: row.body,
        })
    };
    page.iter().map(line).collect()
}

/// How many rows of a table are in memory at once.
fn page_lines(table: Table) -> u32 {
    match table {
        Table::TerraformBody => LONG_PAGE_LINES,
        Table::Cluster
        | Table::Machine
        | Table::Replica
        | Table::Plan
        | Table::Operation
        | Table::Step
        | Table::Attempt
        | Table::Credential
        | Table::Event
        | Table::Audit
        | Table::Orphan
        | Table::Adopted
        | Table::TerraformState
        | Table::TerraformAdopted => u32::try_from(PAGE_LINES).unwrap_or(u32::MAX),
    }
}
