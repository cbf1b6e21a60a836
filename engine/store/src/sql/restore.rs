//! Fills an empty store from a backup, all of it or nothing. Called by whoever brings a store back, before any engine
//! starts on it.

use std::collections::BTreeMap;
use std::io::Read;

use isobar_engine_model::id::{Incarnation, SHARDS, ShardId};
use sea_orm::ConnectionTrait;
use tokio::sync::mpsc;

use super::place::Kind;
use super::work::Work;
use super::{SqlStore, failure, postgres, read, schema, statement};
use crate::backup::{self, BackupError, Header, Line, PAGES_AHEAD, Page, Pages, Summary};
use crate::{Row, StoreError, Table};

impl SqlStore {
    /// Fills this store, which must be empty, with what `reader` gives: rows, settings, the store's id, all of one
    /// transaction, which is committed once the whole backup was read and has proved whole. After an error the store is as
    /// it was; after `OutcomeUnknown` look whether it is recovering.
    ///
    /// The store is then in the backup's next incarnation and recovering; every shard is free, at an epoch above the
    /// backup's and its own: an engine that still believes in a claim is fenced. It works across databases.
    pub async fn restore<R: Read + Send + 'static>(&mut self, reader: R) -> Result<Summary, BackupError> {
        let (tell, pages) = mpsc::channel(PAGES_AHEAD);
        let reading = tokio::task::spawn_blocking(move || backup::read(reader, schema::known(), &tell));
        let transaction = self.begin().await?;
        let work = Work {
            place: &self.place,
            transaction: &transaction,
        };
        let filled = Filling::begin(work).fill(pages).await;
        let read = reading
            .await
            .map_err(|error| BackupError::Read(std::io::Error::other(error)))
            .and_then(|read| read);
        let restored = match (filled, read) {
            // What is wrong with the file goes before what came of it.
            (_, Err(refusal)) | (Err(refusal), Ok(())) => Err(refusal),
            (Ok(None), Ok(())) => Err(BackupError::Truncated),
            (Ok(Some(restored)), Ok(())) => Ok(restored),
        };
        match restored {
            Ok((header, rows)) => {
                self.finish(transaction, Ok(())).await?;
                self.id.clone_from(&header.store);
                self.incarnation = next(&header);
                Ok(header.summary(rows))
            }
            Err(refusal) => {
                if let Err(error) = transaction.rollback().await {
                    tracing::warn!(%error, "a refused backup was not rolled back at once");
                }
                Err(refusal)
            }
        }
    }
}

fn next(header: &Header) -> Incarnation {
    Incarnation(header.incarnation.0 + 1)
}

/// A store being filled.
struct Filling<'t> {
    work: Work<'t>,
    header: Option<Header>,
    lines: u64,
    /// The epoch that each shard of the target has.
    epochs: BTreeMap<ShardId, u64>,
    /// How many shards the backup has told of.
    shards: u16,
}

impl<'t> Filling<'t> {
    fn begin(work: Work<'t>) -> Self {
        Self {
            work,
            header: None,
            lines: 0,
            epochs: BTreeMap::new(),
            shards: 0,
        }
    }

    /// Takes every page in. None: there was no end.
    async fn fill(mut self, mut pages: Pages) -> Result<Option<(Header, u64)>, BackupError> {
        self.alone().await?;
        self.empty().await?;
        while let Some(page) = pages.recv().await {
            match page {
                Page::Header(header) => self.header = Some(header),
                Page::Lines(lines) => {
                    if let Err(refusal) = self.take(lines).await {
                        // Lines that do not fit may be damage, which shows only at the file's end.
                        while pages.recv().await.is_some() {}
                        return Err(refusal);
                    }
                }
                Page::End => return self.end().await.map(Some),
            }
        }
        Ok(None)
    }

    /// Nobody else claims, beats or writes until the transaction ends. On SQLite it began with the write lock.
    async fn alone(&self) -> Result<(), StoreError> {
        if self.work.place.kind == Kind::Sqlite {
            return Ok(());
        }
        let failed = |error| failure::before_commit(self.work.place, error);
        postgres::be_slow(self.work.transaction).await.map_err(failed)?;
        let lock = "LOCK TABLE meta, shard, member, setting IN SHARE ROW EXCLUSIVE MODE";
        let locked = self.work.transaction.execute_unprepared(lock).await;
        locked.map(drop).map_err(failed)
    }

    /// Refuses a store that holds anything, or that an engine uses.
    async fn empty(&mut self) -> Result<(), BackupError> {
        let (place, transaction) = (self.work.place, self.work.transaction);
        let failed = |error| failure::before_commit(place, error);
        let not_empty = |found: &str| BackupError::NotEmpty {
            path: place.name.clone(),
            found: found.to_owned(),
        };
        for table in Table::ALL {
            let one = transaction.query_one(&statement::scan(None, table, None, 1)).await;
            if one.map_err(failed)?.is_some() {
                return Err(not_empty(&format!("rows in `{}`", schema::name(table))));
            }
        }
        if transaction
            .query_one(&statement::settings())
            .await
            .map_err(failed)?
            .is_some()
        {
            return Err(not_empty("settings"));
        }
        let living = transaction.query_one(&statement::engine::living(place.kind)).await;
        if living.map_err(failed)?.is_some() {
            return Err(not_empty("an engine that runs"));
        }
        for row in transaction
            .query_all(&statement::engine::shards())
            .await
            .map_err(failed)?
        {
            let shard = read::shard(place, &row)?;
            self.epochs.insert(shard.id, shard.epoch.0);
        }
        Ok(())
    }

    async fn take(&mut self, lines: Vec<Line>) -> Result<(), BackupError> {
        let (mut rows, mut settings) = (BTreeMap::<Table, Vec<Row>>::new(), Vec::new());
        for line in lines {
            self.lines += 1;
            match line {
                Line::Header(_) | Line::Trailer(_) => {}
                Line::Shard { id, epoch, commits } => self.shard(ShardId(id), epoch, commits).await?,
                Line::Setting { key, value } => settings.push((key, value)),
                Line::Row {
                    table,
                    shard,
                    key,
                    revision,
                    body,
                } => {
                    let known = Table::ALL.into_iter().find(|known| schema::name(*known) == table);
                    let table = known.ok_or_else(|| altered(format!("there is no table `{table}`")))?;
                    if shard >= SHARDS || revision == 0 {
                        return Err(altered(format!("`{key}` has no place")));
                    }
                    rows.entry(table).or_default().push(Row {
                        key,
                        shard: ShardId(shard),
                        revision,
                        body,
                    });
                }
            }
        }
        for (table, rows) in &rows {
            self.work.execute(&statement::restore(*table, rows)).await?;
        }
        if !settings.is_empty() {
            self.work.execute(&statement::restore_settings(&settings)).await?;
        }
        Ok(())
    }

    async fn shard(&mut self, shard: ShardId, epoch: u64, commits: u64) -> Result<(), BackupError> {
        let own = self.epochs.remove(&shard);
        let own = own.ok_or_else(|| altered(format!("there is no shard {shard}, or it comes twice")))?;
        let above = own.max(epoch).saturating_add(1);
        let set = statement::engine::restore(shard, above, commits);
        self.work.execute(&set).await?;
        self.shards += 1;
        Ok(())
    }

    async fn end(self) -> Result<(Header, u64), BackupError> {
        if self.shards != SHARDS {
            return Err(altered(format!("it has {} of {SHARDS} shards", self.shards)));
        }
        let header = self.header.ok_or(BackupError::Truncated)?;
        let life = statement::restore_life(&header.store, next(&header));
        self.work.execute(&life).await?;
        self.work.execute(&statement::engine::leave_all()).await?;
        Ok((header, self.lines))
    }
}

fn altered(detail: String) -> BackupError {
    BackupError::Altered { detail }
}
