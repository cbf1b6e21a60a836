//! A store with a bug: what it takes, and what it shows of its rows.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use isobar_engine_store::{Row, Store, StoreError, Table, Write};

use super::Mutation;
use crate::around::{Answer, StoreLayer};

/// A store with a mutation, or without.
pub struct FlawedStore<T> {
    inner: T,
    mutation: Option<Mutation>,
    /// Acknowledged, and not yet kept.
    late: Mutex<Vec<Write>>,
}

impl<T> FlawedStore<T> {
    /// `inner` with this mutation.
    pub fn new(inner: T, mutation: Option<Mutation>) -> Self {
        Self {
            inner,
            mutation,
            late: Mutex::default(),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn late(&self) -> MutexGuard<'_, Vec<Write>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Store> FlawedStore<T> {
    /// Who claimed a shard last.
    async fn holder(&self, shard: ShardId) -> Answer<Option<MemberId>> {
        let shards = self.inner.shards().await?;
        Ok(shards
            .into_iter()
            .find(|found| found.id == shard)
            .and_then(|found| found.holder))
    }

    /// Every row of a shard's table.
    async fn all(&self, shard: Option<ShardId>, table: Table) -> Answer<Vec<Row>> {
        self.inner.scan(shard, table, None, u32::MAX).await
    }

    /// Operations, each that runs with a plan that no operation is of.
    async fn forged(&self, shard: Option<ShardId>, rows: Vec<Row>) -> Answer<Vec<Row>> {
        let plan_of = |row: &Row| {
            let value: serde_json::Value = serde_json::from_str(&row.body).unwrap_or_default();
            value["operation"]["plan"].as_str().map(str::to_owned)
        };
        let used: BTreeSet<String> = self
            .all(shard, Table::Operation)
            .await?
            .iter()
            .filter_map(plan_of)
            .collect();
        let plans = self.all(shard, Table::Plan).await?;
        let has_steps = |row: &&Row| row.body.contains("buy_machine");
        let Some(unused) = plans.iter().filter(has_steps).find(|plan| !used.contains(&plan.key)) else {
            return Ok(rows);
        };
        let forge = |row: Row| match plan_of(&row) {
            Some(plan) if row.body.contains(r#""state":"running""#) => Row {
                body: row.body.replace(&plan, &unused.key),
                ..row
            },
            Some(_) | None => row,
        };
        Ok(rows.into_iter().map(forge).collect())
    }
}

impl<T: Store> StoreLayer for FlawedStore<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.inner
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        if self.is(Mutation::JournalAfterCall) {
            let is_intent = |write: &Write| {
                matches!(
                    write,
                    Write::Insert {
                        table: Table::Attempt,
                        ..
                    }
                )
            };
            let mut whole = std::mem::take(&mut *self.late());
            whole.extend_from_slice(batch);
            if batch.iter().any(is_intent) {
                *self.late() = whole;
                return Ok(());
            }
            return self.inner.commit(shard, epoch, &whole).await;
        }
        match self.inner.commit(shard, epoch, batch).await {
            Err(StoreError::Fenced { current, .. }) if self.is(Mutation::NoEpoch) => {
                self.inner.commit(shard, current, batch).await
            }
            other => other,
        }
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        if self.is(Mutation::NothingGiven) {
            return Ok(());
        }
        self.inner.leave(member).await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        if self.is(Mutation::NothingGiven) {
            return Ok(());
        }
        self.inner.release(shard, epoch).await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Answer<Option<Epoch>> {
        let holder = match self.mutation {
            Some(Mutation::LeaseIgnored | Mutation::NothingTaken) => self.holder(shard).await?,
            Some(_) | None => None,
        };
        match holder.filter(|holder| holder != member) {
            Some(_) if self.is(Mutation::NothingTaken) => Ok(None),
            Some(holder) => self.inner.claim(shard, &holder).await,
            None => self.inner.claim(shard, member).await,
        }
    }

    async fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> Answer<Vec<Row>> {
        let rows = self.inner.scan(shard, table, after, limit).await?;
        if self.is(Mutation::ForgedPlan) && table == Table::Operation {
            return self.forged(shard, rows).await;
        }
        Ok(rows)
    }
}
