//! The real store: sea-orm on SQLite, one file in a data folder that one engine holds at a time, or on PostgreSQL, one
//! database that several engines share.
//!
//! Never interprets a body, never retries. Every commit starts by counting itself in `shard` under the caller's epoch: one
//! row, or it is rolled back; `work` says why that is enough. The statements name no database. What is SQLite's own
//! (pragmas, the file) is in `sqlite`, what is PostgreSQL's own in `postgres`, the error codes of both in `failure`.

mod backup;
mod batch;
mod failure;
mod migration;
mod place;
mod postgres;
mod read;
mod restore;
mod schema;
mod sqlite;
mod statement;
#[cfg(test)]
mod tests;
mod work;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ShardId};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, StatementBuilder,
    TransactionOptions, TransactionTrait,
};

use self::place::{Kind, Place};
use self::sqlite::FolderLock;
use self::work::Work;
use crate::{Member, Row, Shard, Store, StoreError, Table, Write};

/// How long a call to PostgreSQL takes at most. The database's own bounds come first; this one is for a network that
/// swallows packets.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Rows in a SQLite file, for one engine at a time, or in a PostgreSQL database, for several.
#[derive(Debug)]
pub struct SqlStore {
    id: String,
    incarnation: Incarnation,
    place: Place,
    /// On SQLite one connection: it has one writer anyhow, and waiting for a connection is cheaper than for a lock.
    writer: DatabaseConnection,
    /// See what is committed, also while a commit waits for the disk. On PostgreSQL the same pool.
    readers: DatabaseConnection,
    /// Of a file's folder; held for as long as the store lives.
    _lock: Option<FolderLock>,
}

/// A store that can be used.
struct Opened {
    id: String,
    incarnation: Incarnation,
    place: Place,
    writer: DatabaseConnection,
    readers: DatabaseConnection,
}

impl SqlStore {
    /// Opens the store in `data_folder`; makes folder (0700) and file (0600) where there are none, then with `id_if_new`.
    ///
    /// `InUse` while another process holds the folder, `Corrupt` for a file that is not whole, `Newer` for one of a later
    /// version. A store that was being made when the process died is made again. Nobody else lives where the folder is
    /// free, so the leases of those who held it are forgotten: a restarted engine claims at once.
    pub async fn open(data_folder: &Path, id_if_new: &str) -> Result<Self, StoreError> {
        Self::open_bounded(data_folder, id_if_new, sqlite::FILE_PAGES_MAX).await
    }

    /// Opens the store in a PostgreSQL database, `postgres://user@host:port/database`; makes it in an empty one, then with
    /// `id_if_new`. Any number of engines may do so at once. Needs PostgreSQL 12 or later, UTF8, and the right to create
    /// tables in the first schema of the search path.
    ///
    /// `Unsuitable` for a database that holds something else or would lose commits, `Newer` for one of a later version,
    /// `Unavailable` while it does not answer. Once opened it heals by itself: calls fail while the database is away, and
    /// go through when it is back.
    ///
    /// `sslmode` in the URL is libpq's: without it TLS is used if the server offers it, and nothing is verified. Beyond a
    /// socket, the loopback or a network that is yours give `sslmode=verify-full` (`sslrootcert` names an authority that
    /// the system does not trust anyway): a password, and every row that is not sealed, goes over that wire.
    pub async fn connect(url: &str, id_if_new: &str) -> Result<Self, StoreError> {
        Ok(Self::of(postgres::open(url, id_if_new).await?, None))
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
        let opened = sqlite::open(data_folder, id_if_new, pages_max).await?;
        Ok(Self::of(opened, Some(lock)))
    }

    fn of(opened: Opened, lock: Option<FolderLock>) -> Self {
        let Opened {
            id,
            incarnation,
            place,
            writer,
            readers,
        } = opened;
        Self {
            id,
            incarnation,
            place,
            writer,
            readers,
            _lock: lock,
        }
    }

    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: match self.place.kind {
                Kind::Sqlite => Some(SqliteTransactionMode::Immediate),
                Kind::Postgres => None,
            },
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
            Ok(value) => {
                let committed = transaction.commit().await;
                committed
                    .map(|()| value)
                    .map_err(|error| failure::of_commit(&self.place, error))
            }
            Err(refusal) => {
                if let Err(error) = transaction.rollback().await {
                    tracing::warn!(%error, "a refused batch was not rolled back at once");
                }
                Err(refusal)
            }
        }
    }

    /// Does work in a transaction of its own. Dropped at any point, it is done whole or not at all.
    async fn write<T>(&self, work: impl AsyncFnOnce(Work<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let writing = async {
            let transaction = self.begin().await?;
            let done = work(Work {
                place: &self.place,
                transaction: &transaction,
            })
            .await;
            self.finish(transaction, done).await
        };
        self.bounded(writing, |late| StoreError::OutcomeUnknown(late.into()))
            .await
    }

    async fn read<T>(
        &self,
        select: impl StatementBuilder,
        of_row: impl Fn(&Place, &sea_orm::QueryResult) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let reading = async {
            let rows = self.readers.query_all(&select).await;
            let rows = rows.map_err(|error| self.before_commit(error))?;
            rows.iter().map(|row| of_row(&self.place, row)).collect()
        };
        self.bounded(reading, |late| StoreError::Unavailable(late.into())).await
    }

    /// A file answers or fails; a network may do neither.
    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
        late: impl FnOnce(tokio::time::error::Elapsed) -> StoreError,
    ) -> Result<T, StoreError> {
        match self.place.kind {
            Kind::Sqlite => call.await,
            Kind::Postgres => match tokio::time::timeout(CALL_TIMEOUT, call).await {
                Ok(answer) => answer,
                Err(elapsed) => Err(late(elapsed)),
            },
        }
    }

    fn before_commit(&self, error: DbErr) -> StoreError {
        failure::before_commit(&self.place, error)
    }
}

#[async_trait]
impl Store for SqlStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    async fn is_recovering(&self) -> Result<bool, StoreError> {
        let life = self.read(statement::life(), |place, row| Ok(read::whole(place, row, 1)? != 0));
        Ok(life.await?.contains(&true))
    }

    async fn end_recovery(&self) -> Result<(), StoreError> {
        self.write(async |work| work.execute(&statement::end_recovery()).await.map(drop))
            .await
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        self.write(async |work| work.commit(shard, epoch, batch).await).await
    }

    async fn scan(
        &self,
        shard: Option<ShardId>,
        table: Table,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        self.read(statement::scan(shard, table, after, limit), read::row).await
    }

    async fn get(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.read(statement::get(table, key), read::row).await?.pop())
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Result<(), StoreError> {
        let beat = statement::engine::beat(self.place.kind, member, lease);
        let forget = statement::engine::forget(self.place.kind);
        self.write(async |work| {
            work.execute(&beat).await?;
            work.execute(&forget).await.map(drop)
        })
        .await
    }

    async fn leave(&self, member: &MemberId) -> Result<(), StoreError> {
        let leave = statement::engine::leave(member);
        self.write(async |work| work.execute(&leave).await.map(drop)).await
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        self.read(statement::engine::living(self.place.kind), read::member)
            .await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StoreError> {
        self.read(statement::engine::shards(), read::shard).await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Result<Option<Epoch>, StoreError> {
        self.write(async |work| work.claim(shard, member).await).await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), StoreError> {
        self.write(async |work| work.release(shard, epoch).await).await
    }

    async fn once(&self, key: &str, value: &str) -> Result<String, StoreError> {
        self.write(async |work| work.once(key, value).await).await
    }
}
