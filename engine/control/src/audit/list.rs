//! Lists a store's logs, newest entry first. Any process of a store can: it reads the store, not an engine.

use std::collections::BTreeMap;

use isobar_engine_model::id::ShardId;
use isobar_engine_store::{Store, StoreError, Table};

use super::{AuditRow, Seals, entry_key, last_after, number, verify};
use crate::api::{ApiError, AuditAnswer, AuditEntry, AuditRequest, ErrorCode, PAGE_MAX_ITEMS};
use crate::fleet::Fleet;

/// An answer holds so many entries unless told.
const PAGE_ITEMS: u32 = 100;

/// Of each shard that has more, the oldest entry that was listed.
type Places = BTreeMap<ShardId, u64>;

impl Fleet {
    /// Who asked for what, newest first; on request also whether the logs are as they were written.
    pub async fn audit(&self, request: AuditRequest) -> Result<AuditAnswer, ApiError> {
        let store = &*self.boundaries.store;
        answer(store, &Seals::new(&self.config.key), request).await
    }
}

pub(super) async fn answer(store: &dyn Store, seals: &Seals, request: AuditRequest) -> Result<AuditAnswer, ApiError> {
    let unread = |error: StoreError| ApiError::new(ErrorCode::Unavailable, crate::ledger::chain(&error));
    let before = match &request.after {
        Some(after) => places(after).ok_or_else(|| {
            ApiError::new(ErrorCode::InvalidArgument, format!("`{after}` is no place in the log"))
                .pointer("/after")
                .hint("give `next` of an earlier answer")
        })?,
        None => newest(store).await.map_err(unread)?,
    };
    let limit = request.limit.unwrap_or(PAGE_ITEMS).clamp(1, PAGE_MAX_ITEMS);
    let (entries, next) = list(store, before, limit).await.map_err(unread)?;
    let verdict = match request.verify {
        true => Some(verify::verify(store, seals).await.map_err(unread)?),
        false => None,
    };
    Ok(AuditAnswer { entries, verdict, next })
}

/// The place after every shard's last entry.
async fn newest(store: &dyn Store) -> Result<Places, StoreError> {
    let mut places = Places::new();
    for shard in ShardId::all() {
        // Found by its head; what is beyond it, and where there is none, by reading on.
        let head = store.get(Table::Audit, &super::head_key(shard)).await?;
        let head: Option<super::AuditHead> = head.and_then(|row| serde_json::from_str(&row.body).ok());
        let last = last_after(store, shard, head.map_or(0, |head| head.sequence)).await?;
        places.insert(shard, last.saturating_add(1));
    }
    Ok(places)
}

async fn list(
    store: &dyn Store,
    mut before: Places,
    limit: u32,
) -> Result<(Vec<AuditEntry>, Option<String>), StoreError> {
    let mut shards = BTreeMap::new();
    for (shard, end) in &before {
        let from = end.saturating_sub(u64::from(limit) + 1);
        let rows = store
            .scan(None, Table::Audit, Some(&entry_key(*shard, from)), limit)
            .await?;
        let rows = rows
            .into_iter()
            .filter(|row| number(*shard, &row.key).is_some_and(|sequence| sequence < *end));
        let entries: Vec<AuditEntry> = rows
            .filter_map(|row| serde_json::from_str::<AuditRow>(&row.body).ok())
            .map(|row| row.entry)
            .collect();
        shards.insert(*shard, entries);
    }
    let mut listed = Vec::new();
    while listed.len() < usize::try_from(limit).expect("fits") {
        let newest = shards
            .values_mut()
            .filter(|entries| !entries.is_empty())
            .max_by_key(|entries| entries.last().map(|entry| entry.at));
        let Some(entry) = newest.and_then(Vec::pop) else { break };
        before.insert(entry.shard, entry.sequence);
        listed.push(entry);
    }
    before.retain(|_, end| *end > 1);
    let more = !listed.is_empty() && !before.is_empty();
    Ok((listed, more.then(|| text(&before))))
}

fn text(places: &Places) -> String {
    let places: Vec<String> = places.iter().map(|(shard, end)| format!("{shard}-{end}")).collect();
    places.join("_")
}

fn places(text: &str) -> Option<Places> {
    let place = |part: &str| -> Option<(ShardId, u64)> {
        let (shard, end) = part.split_once('-')?;
        let shard = ShardId(shard.parse().ok()?);
        ShardId::all()
            .any(|known| known == shard)
            .then_some((shard, end.parse().ok()?))
    };
    text.split('_').map(place).collect()
}
