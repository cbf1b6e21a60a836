//! The audit log: one chain of entries a shard, each with a MAC over itself and the MAC before it. Written by the ledger
//! in the commit of what an entry records, so that neither exists without the other.
//!
//! Without the store's key nobody can change, remove, add or swap entries unseen; the head, which has a MAC of its own,
//! shows that the newest are missing. Whoever puts the *whole* log back as it was at an earlier moment is not found: that
//! takes a copy kept elsewhere. Nothing is ever pruned. The entries stay in the store: of each log, memory holds the head.

mod list;
#[cfg(test)]
mod tests;
pub(crate) mod verify;

use isobar_engine_model::id::{ClusterName, ShardId};
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_store::{Row, Store, StoreError, Table};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::api::{AuditEntry, AuditWhat, AuditWho};
use crate::ledger::Draft;
use crate::record::{OperationRecord, PlanRecord, Record};
use crate::state::Held;
use crate::vault::KEY_BYTES;

/// What the log's key is derived from the store's key by.
const KEY_LABEL: &[u8] = b"isobar audit log 1";
/// What entries are MACed under: never what heads are.
const ENTRY_LABEL: &str = "entry";
/// What heads are MACed under.
const HEAD_LABEL: &str = "head";
/// The head's key after its shard: no number.
const HEAD_KEY: &str = "head";
/// No entry has a number above: there is always a next one, and JSON holds it exactly.
const SEQUENCE_MAX: u64 = 1 << 52;
/// Rows read per call.
const PAGE_ROWS: u32 = 1000;

/// An entry as its row holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditRow {
    pub(crate) entry: AuditEntry,
    /// HMAC-SHA256 in hex.
    pub(crate) mac: String,
}

/// Where a shard's log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditHead {
    pub(crate) shard: ShardId,
    /// Of the newest entry.
    pub(crate) sequence: u64,
    /// The newest entry's.
    pub(crate) last: String,
    /// Of the head itself.
    pub(crate) mac: String,
}

impl Record for AuditHead {
    const TABLE: Table = Table::Audit;
    fn key(&self) -> String {
        head_key(self.shard)
    }
}

pub(crate) fn head_key(shard: ShardId) -> String {
    format!("{shard}/{HEAD_KEY}")
}

pub(crate) fn entry_key(shard: ShardId, sequence: u64) -> String {
    format!("{shard}/{sequence:020}")
}

/// Makes and checks the MACs of a store's logs.
pub(crate) struct Seals {
    key: hmac::Key,
}

impl Seals {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), KEY_LABEL);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        }
    }

    /// The entry that follows a head, and the head that follows it.
    pub(crate) fn append(&self, head: Option<&AuditHead>, entry: AuditEntry) -> (AuditRow, AuditHead) {
        let (shard, sequence) = (entry.shard, entry.sequence);
        let mac = self.sign(&entry_text(head.map_or("", |head| &head.last), &entry));
        let head = AuditHead {
            shard,
            sequence,
            last: mac.clone(),
            mac: self.sign(&head_text(shard, sequence, &mac)),
        };
        (AuditRow { entry, mac }, head)
    }

    /// Whether an entry follows the one that has the MAC `previous`.
    fn follows(&self, previous: &str, row: &AuditRow) -> bool {
        self.is_of(&entry_text(previous, &row.entry), &row.mac)
    }

    /// Whether a head is one that an engine wrote.
    fn is_head(&self, head: &AuditHead) -> bool {
        self.is_of(&head_text(head.shard, head.sequence, &head.last), &head.mac)
    }

    fn sign(&self, text: &[u8]) -> String {
        hex::encode(hmac::sign(&self.key, text))
    }

    fn is_of(&self, text: &[u8], mac: &str) -> bool {
        hex::decode(mac).is_ok_and(|mac| hmac::verify(&self.key, text, &mac).is_ok())
    }
}

/// One text an entry: JSON of structs has their fields in the order of their declaration.
fn entry_text(previous: &str, entry: &AuditEntry) -> Vec<u8> {
    serde_json::to_vec(&(ENTRY_LABEL, entry.shard, entry.sequence, previous, entry)).expect("text keys")
}

fn head_text(shard: ShardId, sequence: u64, last: &str) -> Vec<u8> {
    serde_json::to_vec(&(HEAD_LABEL, shard, sequence, last)).expect("text keys")
}

/// What an entry says of an operation that ended; none: it has not.
pub(crate) fn ended(state: &OperationState) -> Option<AuditWhat> {
    match state {
        OperationState::Succeeded { .. } => Some(AuditWhat::Succeeded),
        OperationState::Failed { reason, .. } => Some(AuditWhat::Failed { reason: reason.clone() }),
        OperationState::Cancelled { .. } => Some(AuditWhat::Cancelled),
        OperationState::Running | OperationState::Cancelling { .. } => None,
    }
}

/// Adds an entry about an operation of the draft to the log, in the commit of whatever else the draft changes.
pub(crate) fn note(draft: &mut Draft, record: &OperationRecord, at: Timestamp, who: AuditWho, what: AuditWhat) {
    let operation = &record.operation;
    let plan = draft.get::<PlanRecord>(operation.plan.as_str());
    let (shard, sequence) = draft.next_audit();
    draft.append(AuditEntry {
        shard,
        sequence,
        at,
        who,
        what,
        cluster: Some(operation.cluster.clone()),
        plan: Some(operation.plan.clone()),
        plan_hash: plan.map(|record| record.plan.hash.clone()),
        operation: Some(operation.id.clone()),
        idempotency_key: record.idempotency_key.clone(),
        why: record.why.clone(),
    });
}

/// Adds an entry that is about no cluster to the log, in the commit of whatever else the draft changes.
pub(crate) fn note_of_none(draft: &mut Draft, at: Timestamp, who: AuditWho, what: AuditWhat) {
    note_beside_plans(draft, at, None, (who, what));
}

/// Adds an entry about a cluster, of no plan of it, to the log, in the commit of whatever else the draft changes.
pub(crate) fn note_of_cluster(draft: &mut Draft, at: Timestamp, cluster: &ClusterName, entry: (AuditWho, AuditWhat)) {
    note_beside_plans(draft, at, Some(cluster.clone()), entry);
}

fn note_beside_plans(
    draft: &mut Draft,
    at: Timestamp,
    cluster: Option<ClusterName>,
    (who, what): (AuditWho, AuditWhat),
) {
    let (shard, sequence) = draft.next_audit();
    draft.append(AuditEntry {
        shard,
        sequence,
        at,
        who,
        what,
        cluster,
        plan: None,
        plan_hash: None,
        operation: None,
        idempotency_key: String::new(),
        why: None,
    });
}

/// The head of a shard's log, to go on from; none: the log is empty.
///
/// A log that does not end as its head says was meddled with. The engine goes on all the same, but leaves out a number: no
/// entry can ever be made for it, so what was done stays to be seen.
pub(crate) async fn open(
    store: &dyn Store,
    shard: ShardId,
    seals: &Seals,
) -> Result<Option<Held<AuditHead>>, StoreError> {
    let row = store.get(Table::Audit, &head_key(shard)).await?;
    let revision = row.as_ref().map_or(0, |row| row.revision);
    let head: Option<AuditHead> = row.as_ref().and_then(|row| serde_json::from_str(&row.body).ok());
    let good = head.filter(|head| head.shard == shard && seals.is_head(head));
    let from = good.as_ref().map_or(0, |head| head.sequence);
    let last = last_after(store, shard, from).await?;
    if row.is_none() && last == 0 {
        return Ok(None);
    }
    let head = match good {
        Some(head) if last == head.sequence => head,
        other => {
            tracing::error!(%shard, "the audit log does not end as its head says: `isobar audit verify` tells more");
            AuditHead {
                shard,
                sequence: last + 1,
                last: other.map(|head| head.last).unwrap_or_default(),
                mac: String::new(),
            }
        }
    };
    Ok(Some(Held {
        revision,
        record: head.into(),
    }))
}

/// The number of the last entry of a shard after `sequence`; that itself if there is none.
async fn last_after(store: &dyn Store, shard: ShardId, mut sequence: u64) -> Result<u64, StoreError> {
    loop {
        let rows = page(store, shard, sequence).await?;
        let last = rows.iter().filter_map(|row| number(shard, &row.key)).max();
        match last {
            Some(last) if last > sequence => sequence = last,
            Some(_) | None => return Ok(sequence),
        }
    }
}

/// Rows of a shard's log after an entry, whichever shard they say they are of.
async fn page(store: &dyn Store, shard: ShardId, after: u64) -> Result<Vec<Row>, StoreError> {
    let after = entry_key(shard, after);
    let mut rows = store.scan(None, Table::Audit, Some(&after), PAGE_ROWS).await?;
    let under = format!("{shard}/");
    rows.retain(|row| row.key.starts_with(&under) && row.key != head_key(shard));
    Ok(rows)
}

/// The number in an entry's key.
fn number(shard: ShardId, key: &str) -> Option<u64> {
    let sequence: u64 = key.strip_prefix(&format!("{shard}/"))?.parse().ok()?;
    // Only as engines write it.
    (sequence <= SEQUENCE_MAX && entry_key(shard, sequence) == key).then_some(sequence)
}
