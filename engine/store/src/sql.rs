//! The real store: sea-orm on SQLite, one file in a data folder that one engine holds at a time.
//!
//! Never interprets a body, never retries. Every writing transaction starts by counting itself in `shard` under the
//! caller's epoch: one row, or it is rolled back. The statements name no database; what is SQLite's own (pragmas, the file,
//! its error codes) is in `open` and `failure`.

mod batch;
mod failure;
mod open;
mod schema;
mod statement;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use isobar_engine_model::id::Epoch;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, QueryResult, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

use self::batch::Revisions;
use self::open::FolderLock;
use crate::{Row, Store, StoreError, Table, Write};

/// How many rows one statement reads or writes. Three values a row stay far below every database's limit (SQLite 32,766).
const STATEMENT_ROWS_MAX: usize = 1_000;

/// Rows in a SQLite file, for one engine at a time.
#[derive(Debug)]
pub struct SqlStore {
    id: String,
    file: PathBuf,
    /// One connection: SQLite has one writer anyhow, and waiting for a connection is cheaper than for a lock.
    writer: DatabaseConnection,
    /// See what is committed, also while a commit waits for the disk.
    readers: DatabaseConnection,
    /// Held for as long as the store lives.
    _lock: FolderLock,
}

impl SqlStore {
    /// Opens the store in `data_folder`; makes folder (0700) and file (0600) where there are none, then with `id_if_new`.
    ///
    /// `InUse` while another process holds the folder, `Corrupt` for a file that is not whole, `Newer` for one of a later
    /// version. A store that was being made when the process died is made again.
    pub async fn open(data_folder: &Path, id_if_new: &str) -> Result<Self, StoreError> {
        Self::open_bounded(data_folder, id_if_new, open::FILE_PAGES_MAX).await
    }

    /// Folds the log into the file, closes it and frees the folder. A store that is only dropped frees the folder at once
    /// and closes the file a little later; nothing that was committed is lost by that.
    pub async fn close(self) -> Result<(), StoreError> {
        let unavailable = |error: DbErr| StoreError::Unavailable(error.into());
        self.readers.close().await.map_err(unavailable)?;
        self.writer.close().await.map_err(unavailable)
    }

    async fn open_bounded(data_folder: &Path, id_if_new: &str, pages_max: u32) -> Result<Self, StoreError> {
        let lock = FolderLock::take(data_folder)?;
        let opened = open::open(data_folder, id_if_new, pages_max).await?;
        let open::Opened {
            id,
            file,
            writer,
            readers,
        } = opened;
        Ok(Self {
            id,
            file,
            writer,
            readers,
            _lock: lock,
        })
    }

    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.writer
            .begin_with_options(options)
            .await
            .map_err(|error| self.before_commit(error))
    }

    /// Commits what went well, rolls back what did not.
    async fn finish<T>(&self, transaction: DatabaseTransaction, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match done {
            Ok(value) => transaction.commit().await.map(|()| value).map_err(failure::of_commit),
            Err(refusal) => {
                if let Err(error) = transaction.rollback().await {
                    tracing::warn!(%error, "a refused batch was not rolled back at once");
                }
                Err(refusal)
            }
        }
    }

    async fn raise_epoch(&self, transaction: &DatabaseTransaction) -> Result<Epoch, StoreError> {
        transaction
            .execute(&statement::raise_epoch())
            .await
            .map_err(|error| self.before_commit(error))?;
        self.epoch(transaction).await
    }

    async fn epoch(&self, transaction: &DatabaseTransaction) -> Result<Epoch, StoreError> {
        let row = transaction
            .query_one(&statement::epoch())
            .await
            .map_err(|error| self.before_commit(error))?;
        let row = row.ok_or_else(|| failure::corrupt(&self.file, "the table `shard` is empty"))?;
        self.whole(&row, 0).map(Epoch)
    }

    async fn write(&self, transaction: &DatabaseTransaction, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        let failed = |error| self.before_commit(error);
        let fenced = transaction.execute(&statement::fence(epoch)).await.map_err(failed)?;
        if fenced.rows_affected() != 1 {
            return Err(StoreError::Fenced {
                current: self.epoch(transaction).await?,
            });
        }
        let now = self.revisions(transaction, batch).await?;
        let outcome = batch::resolve(&now, batch)?;
        for (table, keys) in &outcome.delete {
            for keys in keys.chunks(STATEMENT_ROWS_MAX) {
                transaction
                    .execute(&statement::delete(*table, keys))
                    .await
                    .map_err(failed)?;
            }
        }
        for (table, rows) in &outcome.put {
            for rows in rows.chunks(STATEMENT_ROWS_MAX) {
                transaction
                    .execute(&statement::put(*table, rows))
                    .await
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn revisions(&self, transaction: &DatabaseTransaction, batch: &[Write]) -> Result<Revisions, StoreError> {
        let mut now = Revisions::new();
        for (table, keys) in batch::keys(batch) {
            let keys: Vec<&str> = keys.into_iter().collect();
            for keys in keys.chunks(STATEMENT_ROWS_MAX) {
                let rows = transaction
                    .query_all(&statement::revisions(table, keys))
                    .await
                    .map_err(|error| self.before_commit(error))?;
                for row in rows {
                    now.insert((table, self.text(&row, 0)?), self.whole(&row, 1)?);
                }
            }
        }
        Ok(now)
    }

    fn row(&self, row: &QueryResult) -> Result<Row, StoreError> {
        Ok(Row {
            key: self.text(row, 0)?,
            revision: self.whole(row, 1)?,
            body: self.text(row, 2)?,
        })
    }

    fn text(&self, row: &QueryResult, index: usize) -> Result<String, StoreError> {
        row.try_get_by_index(index)
            .map_err(|error: DbErr| failure::corrupt(&self.file, &error.to_string()))
    }

    fn whole(&self, row: &QueryResult, index: usize) -> Result<u64, StoreError> {
        let number: i64 = row
            .try_get_by_index(index)
            .map_err(|error: DbErr| failure::corrupt(&self.file, &error.to_string()))?;
        u64::try_from(number).map_err(|_| failure::corrupt(&self.file, "a revision or epoch is below 0"))
    }

    fn before_commit(&self, error: DbErr) -> StoreError {
        failure::before_commit(&self.file, error)
    }
}

#[async_trait]
impl Store for SqlStore {
    fn id(&self) -> &str {
        &self.id
    }

    async fn take_over(&self) -> Result<Epoch, StoreError> {
        let transaction = self.begin().await?;
        let raised = self.raise_epoch(&transaction).await;
        self.finish(transaction, raised).await
    }

    async fn commit(&self, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        let transaction = self.begin().await?;
        let written = self.write(&transaction, epoch, batch).await;
        self.finish(transaction, written).await
    }

    async fn scan(&self, table: Table, after: Option<&str>, limit: u32) -> Result<Vec<Row>, StoreError> {
        let rows = self.readers.query_all(&statement::scan(table, after, limit)).await;
        rows.map_err(|error| self.before_commit(error))?
            .iter()
            .map(|row| self.row(row))
            .collect()
    }

    async fn get(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        let row = self.readers.query_one(&statement::get(table, key)).await;
        row.map_err(|error| self.before_commit(error))?
            .map(|row| self.row(&row))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{delete, dump, insert};

    /// 200 pages: enough for the tables and some hundred rows.
    const PAGES_MAX: u32 = 200;

    #[tokio::test]
    async fn a_file_at_its_bound_refuses_a_batch_whole_and_takes_the_next_that_fits() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqlStore::open_bounded(folder.path(), "store", PAGES_MAX).await.unwrap();
        let epoch = store.take_over().await.unwrap();
        let body = "x".repeat(2_000);
        let mut written = 0u64;
        let refusal = loop {
            let batch: Vec<Write> = (0..50)
                .map(|n| insert(Table::Attempt, &format!("{written:04}/{n}"), &body))
                .collect();
            match store.commit(epoch, &batch).await {
                Ok(()) => written += 1,
                Err(refusal) => break refusal,
            }
            assert!(written < 100, "the bound does not hold");
        };
        assert!(matches!(refusal, StoreError::Full(_)), "{refusal:?}");
        assert!(written > 0, "not even one batch fits");
        let rows = dump(&store).await.unwrap();
        assert_eq!(u64::try_from(rows.len()).unwrap(), written * 50);
        store
            .commit(epoch, &[delete(Table::Attempt, "0000/0", 1)])
            .await
            .unwrap();
        store
            .commit(epoch, &[insert(Table::Audit, "fits", "{}")])
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_commit_dropped_at_any_point_is_whole_or_absent_and_the_next_one_goes_through() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqlStore::open(folder.path(), "store").await.unwrap();
        let epoch = store.take_over().await.unwrap();
        let mut finished = false;
        for polls in 0..40 {
            let (one, two) = (format!("{polls}/1"), format!("{polls}/2"));
            let batch = [insert(Table::Attempt, &one, "{}"), insert(Table::Audit, &two, "{}")];
            finished |= poll_times(store.commit(epoch, &batch), polls).await;
            store.commit(epoch, &[insert(Table::Plan, &one, "{}")]).await.unwrap();
            let first = store.get(Table::Attempt, &one).await.unwrap();
            let second = store.get(Table::Audit, &two).await.unwrap();
            assert_eq!(first.is_some(), second.is_some(), "dropped after {polls} polls");
        }
        assert!(finished, "no commit was let through: too few polls");
    }

    /// Polls a future so often, whenever it can go on, then drops it. Whether it was ready.
    async fn poll_times<T>(future: impl Future<Output = T>, times: u32) -> bool {
        let mut future = std::pin::pin!(future);
        let mut left = times;
        std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(false);
            }
            left -= 1;
            let answer = future.as_mut().poll(context);
            if answer.is_pending() && left == 0 {
                context.waker().wake_by_ref();
            }
            answer.map(|_| true)
        })
        .await
    }
}
