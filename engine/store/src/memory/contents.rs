//! What a simulated store holds, and how it changes. Knows no faults; called by [`super`] under its lock.

use std::collections::BTreeMap;
use std::ops::Bound;

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use isobar_engine_model::quantity::Timestamp;

use crate::{Member, Row, Shard, StoreError, Table, Write};

/// Everything in a store.
#[derive(Clone)]
pub(super) struct Contents {
    pub(super) tables: BTreeMap<Table, BTreeMap<String, Versioned>>,
    pub(super) shards: BTreeMap<ShardId, Tenancy>,
    pub(super) members: BTreeMap<MemberId, Lease>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) recovering: bool,
}

/// A row without its key.
#[derive(Clone)]
pub(super) struct Versioned {
    shard: ShardId,
    revision: u64,
    body: String,
}

/// Who writes a shard.
#[derive(Clone, Default)]
pub(super) struct Tenancy {
    epoch: u64,
    holder: Option<MemberId>,
}

/// A member, alive before `until`.
#[derive(Clone)]
pub(super) struct Lease {
    member: Member,
    until: Timestamp,
}

/// What puts a row back: its place and what was there.
type Undo<'b> = (Table, &'b str, Option<Versioned>);

impl Contents {
    pub(super) fn empty() -> Self {
        Self {
            tables: BTreeMap::new(),
            shards: ShardId::all().map(|id| (id, Tenancy::default())).collect(),
            members: BTreeMap::new(),
            settings: BTreeMap::new(),
            recovering: false,
        }
    }

    /// These rows as they come from a backup.
    pub(super) fn restored(&self) -> Self {
        let after = |tenancy: &Tenancy| Tenancy {
            epoch: tenancy.epoch + 1,
            holder: None,
        };
        Self {
            shards: self.shards.iter().map(|(id, tenancy)| (*id, after(tenancy))).collect(),
            members: BTreeMap::new(),
            recovering: true,
            ..self.clone()
        }
    }

    /// Writes in place and puts back what was there when a write does not fit.
    pub(super) fn commit(&mut self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        self.tenancy(shard, epoch)?;
        let mut undo = Vec::with_capacity(batch.len());
        for write in batch {
            match self.apply(shard, write) {
                Ok(done) => undo.push(done),
                Err(stale) => {
                    for (table, key, row) in undo.into_iter().rev() {
                        self.set(table, key, row);
                    }
                    return Err(stale);
                }
            }
        }
        Ok(())
    }

    pub(super) fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: usize) -> Vec<Row> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let Some(rows) = self.tables.get(&table) else {
            return Vec::new();
        };
        rows.range::<str, _>((from, Bound::Unbounded))
            .filter(|(_, row)| shard.is_none_or(|shard| row.shard == shard))
            .take(limit)
            .map(|(key, row)| row.with_key(key))
            .collect()
    }

    pub(super) fn get(&self, table: Table, key: &str) -> Option<Row> {
        let row = self.tables.get(&table)?.get(key)?;
        Some(row.with_key(key))
    }

    pub(super) fn beat(&mut self, member: &Member, until: Timestamp) {
        let lease = Lease {
            member: member.clone(),
            until,
        };
        self.members.insert(member.id.clone(), lease);
    }

    pub(super) fn living(&self, now: Timestamp) -> Vec<Member> {
        let living = self.members.values().filter(|lease| now < lease.until);
        living.map(|lease| lease.member.clone()).collect()
    }

    pub(super) fn shards(&self) -> Vec<Shard> {
        let shard = |(id, tenancy): (&ShardId, &Tenancy)| Shard {
            id: *id,
            epoch: Epoch(tenancy.epoch),
            holder: tenancy.holder.clone(),
        };
        self.shards.iter().map(shard).collect()
    }

    pub(super) fn claim(&mut self, shard: ShardId, member: &MemberId, now: Timestamp) -> Option<Epoch> {
        let lives = |id: &MemberId| self.members.get(id).is_some_and(|lease| now < lease.until);
        let held = self.shards.get(&shard)?.holder.as_ref();
        if !lives(member) || held.is_some_and(|holder| holder != member && lives(holder)) {
            return None;
        }
        let tenancy = self.shards.get_mut(&shard)?;
        tenancy.epoch += 1;
        tenancy.holder = Some(member.clone());
        Some(Epoch(tenancy.epoch))
    }

    pub(super) fn release(&mut self, shard: ShardId, epoch: Epoch) -> Result<(), StoreError> {
        self.tenancy(shard, epoch)?.holder = None;
        Ok(())
    }

    pub(super) fn once(&mut self, key: &str, value: &str) -> String {
        let kept = self.settings.entry(key.to_owned());
        kept.or_insert_with(|| value.to_owned()).clone()
    }

    /// A shard, if `epoch` is its epoch.
    fn tenancy(&mut self, shard: ShardId, epoch: Epoch) -> Result<&mut Tenancy, StoreError> {
        let current = Epoch(self.shards.get(&shard).map_or(0, |tenancy| tenancy.epoch));
        match self.shards.get_mut(&shard) {
            Some(tenancy) if epoch == current => Ok(tenancy),
            Some(_) | None => Err(StoreError::Fenced { shard, current }),
        }
    }

    fn apply<'b>(&mut self, shard: ShardId, write: &'b Write) -> Result<Undo<'b>, StoreError> {
        let (table, key, expect, body) = match write {
            Write::Insert { table, key, body } => (*table, key, None, Some(body)),
            Write::Update {
                table,
                key,
                expect,
                body,
            } => (*table, key, Some(*expect), Some(body)),
            Write::Delete { table, key, expect } => (*table, key, Some(*expect), None),
        };
        let found = self.tables.get(&table).and_then(|rows| rows.get(key));
        let is_elsewhere = found.is_some_and(|row| row.shard != shard);
        let found = found.map(|row| row.revision);
        if is_elsewhere || found != expect {
            return Err(StoreError::Stale {
                table,
                key: key.clone(),
            });
        }
        let row = body.map(|body| Versioned {
            shard,
            revision: found.unwrap_or(0) + 1,
            body: body.clone(),
        });
        Ok((table, key, self.set(table, key, row)))
    }

    /// Puts a row in its place, or empties that; answers what was there.
    fn set(&mut self, table: Table, key: &str, row: Option<Versioned>) -> Option<Versioned> {
        let rows = self.tables.entry(table).or_default();
        match row {
            Some(row) => rows.insert(key.to_owned(), row),
            None => rows.remove(key),
        }
    }
}

impl Versioned {
    fn with_key(&self, key: &str) -> Row {
        Row {
            key: key.to_owned(),
            shard: self.shard,
            revision: self.revision,
            body: self.body.clone(),
        }
    }
}
