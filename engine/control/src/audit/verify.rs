//! Compares every log of a store with its MACs. Reads a page at a time, and goes on while engines write.

use isobar_engine_model::id::ShardId;
use isobar_engine_store::{Row, Store, StoreError, Table};

use super::{AuditHead, AuditRow, Seals, head_key, number, page};
use crate::api::{AuditBad, AuditVerdict};

/// How far a log was found good.
#[derive(Default)]
struct Walk {
    sequence: u64,
    mac: String,
}

/// Whether every shard's log is as engines wrote it.
pub(crate) async fn verify(store: &dyn Store, seals: &Seals) -> Result<AuditVerdict, StoreError> {
    let (mut checked, mut first_bad) = (0, None);
    for shard in ShardId::all() {
        let (good, bad) = verify_shard(store, seals, shard).await?;
        checked += good;
        first_bad = first_bad.or(bad);
    }
    Ok(AuditVerdict {
        intact: first_bad.is_none(),
        checked,
        first_bad,
    })
}

async fn verify_shard(store: &dyn Store, seals: &Seals, shard: ShardId) -> Result<(u64, Option<AuditBad>), StoreError> {
    let mut walk = Walk::default();
    loop {
        // The head is read before the rows that it must not be ahead of.
        let head = store.get(Table::Audit, &head_key(shard)).await?;
        let rows = page(store, shard, walk.sequence).await?;
        let seen = rows.len();
        for row in rows {
            if let Err(why) = walk.step(seals, shard, &row) {
                return Ok((walk.sequence, Some(bad(shard, walk.sequence + 1, why))));
            }
        }
        if seen > 0 {
            continue;
        }
        let why = match head {
            None if walk.sequence == 0 => None,
            None => Some("the log's head is missing".to_owned()),
            Some(head) => walk.end(seals, shard, &head).err(),
        };
        return Ok((walk.sequence, why.map(|why| bad(shard, walk.sequence + 1, why))));
    }
}

impl Walk {
    fn step(&mut self, seals: &Seals, shard: ShardId, row: &Row) -> Result<(), String> {
        let next = self.sequence + 1;
        let Some(found) = number(shard, &row.key) else {
            return Err(format!("the key `{}` is no entry's", row.key));
        };
        if found != next {
            return Err(format!("the entry is missing: the next one is {found}"));
        }
        let row: AuditRow =
            serde_json::from_str(&row.body).map_err(|error| format!("the entry cannot be read: {error}"))?;
        if (row.entry.shard, row.entry.sequence) != (shard, next) {
            return Err(format!(
                "the entry is {} of shard {}",
                row.entry.sequence, row.entry.shard
            ));
        }
        if !seals.follows(&self.mac, &row) {
            return Err("the entry was changed, or follows another one than was written".to_owned());
        }
        (self.sequence, self.mac) = (next, row.mac);
        Ok(())
    }

    fn end(&self, seals: &Seals, shard: ShardId, row: &Row) -> Result<(), String> {
        let head: AuditHead =
            serde_json::from_str(&row.body).map_err(|error| format!("the log's head cannot be read: {error}"))?;
        if head.shard != shard || !seals.is_head(&head) {
            return Err("the log's head was changed".to_owned());
        }
        if head.sequence > self.sequence {
            return Err(format!("the newest entries are missing: there were {}", head.sequence));
        }
        if (head.sequence, &head.last) != (self.sequence, &self.mac) {
            return Err(format!("the log's head is an older one, of entry {}", head.sequence));
        }
        Ok(())
    }
}

fn bad(shard: ShardId, sequence: u64, why: String) -> AuditBad {
    AuditBad { shard, sequence, why }
}
