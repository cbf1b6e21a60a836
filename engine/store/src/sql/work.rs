//! What the store's writes do inside their transactions. Begins and ends none; called by [`super::SqlStore`] only.
//!
//! Why this is right on PostgreSQL under READ COMMITTED, where each statement sees what was committed before it began:
//!
//! - Whoever writes or claims a shard first locks the shard's row in `shard`, and holds it until the transaction ends. So
//!   one writer of a shard comes after the other, and none between a claim and the check of its epoch. One that waited for
//!   the lock sees the row as the other left it: a raised epoch is no match, and the commit is fenced.
//! - What a batch compares its rows with is read by a later statement than the one that took the lock, so it sees every
//!   commit of the shard. Only the shard's writers change its rows, so nothing moves until the transaction ends.
//! - The one thing that two shards could both want is a key. An insert that meets a row which another shard has put there
//!   since then changes nothing and is not counted: the batch is stale. Keys are written in order, table by table, so two
//!   batches never wait for each other in a circle.
//! - A claim decides in a statement of its own after the lock: a member that began to live and claimed while it waited is
//!   seen alive.
//!
//! On SQLite every one of these transactions begins by taking the one write lock of the file, and the same holds.

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, StatementBuilder};

use super::batch::{self, Found, Put, Revisions};
use super::place::Place;
use super::{failure, read, statement};
use crate::{StoreError, Table, Write};

/// How many rows one statement reads or writes. Four values a row stay far below every database's limit (SQLite 32,766).
pub(super) const STATEMENT_ROWS_MAX: usize = 1_000;

/// A transaction and where it is.
pub(super) struct Work<'t> {
    pub(super) place: &'t Place,
    pub(super) transaction: &'t DatabaseTransaction,
}

impl Work<'_> {
    /// Writes a batch, unless another epoch is current or a row is not as it was read.
    pub(super) async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        self.fenced(shard, &statement::engine::fence(shard, epoch)).await?;
        let now = self.revisions(shard, batch).await?;
        let outcome = batch::resolve(&now, batch)?;
        for (table, keys) in &outcome.delete {
            for keys in keys.chunks(STATEMENT_ROWS_MAX) {
                self.execute(&statement::delete(shard, *table, keys)).await?;
            }
        }
        for (table, rows) in &outcome.put {
            for rows in rows.chunks(STATEMENT_ROWS_MAX) {
                let written = self.execute(&statement::put(shard, *table, rows)).await?;
                if written != u64::try_from(rows.len()).unwrap_or(u64::MAX) {
                    return Err(self.taken(shard, *table, rows).await?);
                }
            }
        }
        Ok(())
    }

    /// Claims a shard, if it is to be had.
    pub(super) async fn claim(&self, shard: ShardId, member: &MemberId) -> Result<Option<Epoch>, StoreError> {
        self.epoch(&statement::engine::lock(shard)).await?;
        let claimed = self
            .execute(&statement::engine::claim(self.place.kind, shard, member))
            .await?;
        if claimed == 0 {
            return Ok(None);
        }
        self.epoch(&statement::engine::epoch(shard)).await.map(Some)
    }

    /// Forgets a shard's holder, unless another epoch is current.
    pub(super) async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), StoreError> {
        self.fenced(shard, &statement::engine::release(shard, epoch)).await
    }

    /// Sets what is not set yet; gives what is.
    pub(super) async fn once(&self, key: &str, value: &str) -> Result<String, StoreError> {
        self.execute(&statement::set_once(key, value)).await?;
        let row = self.transaction.query_one(&statement::setting(key)).await;
        let row = row.map_err(|error| failure::before_commit(self.place, error))?;
        let row = row.ok_or_else(|| failure::corrupt(self.place, &format!("the setting `{key}` is not kept")))?;
        read::value(self.place, &row, 0)
    }

    /// Carries a statement out; gives how many rows it touched.
    pub(super) async fn execute(&self, statement: &impl StatementBuilder) -> Result<u64, StoreError> {
        let done = self.transaction.execute(statement).await;
        done.map(|done| done.rows_affected())
            .map_err(|error| failure::before_commit(self.place, error))
    }

    /// Carries out a statement that touches the shard's row, if the epoch is current.
    async fn fenced(&self, shard: ShardId, statement: &impl StatementBuilder) -> Result<(), StoreError> {
        if self.execute(statement).await? == 1 {
            return Ok(());
        }
        let current = self.epoch(&statement::engine::epoch(shard)).await?;
        Err(StoreError::Fenced { shard, current })
    }

    /// A shard's epoch; 0 for none.
    async fn epoch(&self, select: &impl StatementBuilder) -> Result<Epoch, StoreError> {
        let row = self.transaction.query_one(select).await;
        let row = row.map_err(|error| failure::before_commit(self.place, error))?;
        let epoch = row.map(|row| read::whole(self.place, &row, 0)).transpose()?;
        Ok(Epoch(epoch.unwrap_or(0)))
    }

    async fn revisions(&self, shard: ShardId, batch: &[Write]) -> Result<Revisions, StoreError> {
        let failed = |error: DbErr| failure::before_commit(self.place, error);
        let mut now = Revisions::new();
        for (table, keys) in batch::keys(batch) {
            let keys: Vec<&str> = keys.into_iter().collect();
            for keys in keys.chunks(STATEMENT_ROWS_MAX) {
                let rows = self.transaction.query_all(&statement::revisions(table, keys)).await;
                for row in rows.map_err(failed)? {
                    let found = if read::shard_id(self.place, &row, 2)? == shard {
                        Found::Here(read::whole(self.place, &row, 1)?)
                    } else {
                        Found::Elsewhere
                    };
                    now.insert((table, read::value(self.place, &row, 0)?), found);
                }
            }
        }
        Ok(now)
    }

    /// Names a row that another shard has put there since the batch was compared.
    async fn taken(&self, shard: ShardId, table: Table, rows: &[Put<'_>]) -> Result<StoreError, StoreError> {
        let keys: Vec<&str> = rows.iter().map(|row| row.key).collect();
        let found = self.transaction.query_all(&statement::revisions(table, &keys)).await;
        let mut key = keys.first().copied().unwrap_or_default().to_owned();
        for row in found.map_err(|error| failure::before_commit(self.place, error))? {
            if read::shard_id(self.place, &row, 2)? != shard {
                key = read::value(self.place, &row, 0)?;
                break;
            }
        }
        Ok(StoreError::Stale { table, key })
    }
}
