//! The engine's image of the store: every record, in key order, with the revision of its row.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use isobar_engine_model::id::{ClusterName, ShardId};
use isobar_engine_store::{Store, StoreError, Table};

use crate::audit::AuditHead;
use crate::record::{
    AdoptedRecord, AttemptRecord, ClusterRecord, CredentialRecord, EventRecord, MachineRecord, OperationRecord,
    OrphanRecord, PlanRecord, Record, ReplicaRecord, StepRecord,
};
use crate::terraform::record::{BarredRecord, StateRecord};

/// Rows read per call while loading.
const LOAD_PAGE_ROWS: u32 = 1000;

/// A record as its row holds it.
#[derive(Debug)]
pub(crate) struct Held<R> {
    /// The row's revision in the store; 0: not there yet.
    pub(crate) revision: u64,
    pub(crate) record: Arc<R>,
}

impl<R> Clone for Held<R> {
    fn clone(&self) -> Self {
        Self {
            revision: self.revision,
            record: self.record.clone(),
        }
    }
}

/// The records of one table.
#[derive(Debug)]
pub(crate) struct Rows<R>(pub(crate) BTreeMap<String, Held<R>>);

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Record> Rows<R> {
    /// One record.
    pub(crate) fn get(&self, key: &str) -> Option<&R> {
        self.0.get(key).map(|held| &*held.record)
    }

    /// One record, to be read after the lock is gone.
    pub(crate) fn share(&self, key: &str) -> Option<Arc<R>> {
        self.0.get(key).map(|held| held.record.clone())
    }

    /// Records whose keys start with `prefix`, in key order.
    pub(crate) fn under<'a>(&'a self, prefix: &str) -> impl DoubleEndedIterator<Item = &'a R> + Clone + use<'a, R> {
        debug_assert!(prefix.ends_with('/'), "`{prefix}` must end with a slash");
        // The first key after every one with the prefix: `0` follows `/`.
        let end = format!("{}0", prefix.trim_end_matches('/'));
        self.0
            .range::<str, _>((Bound::Included(prefix), Bound::Excluded(end.as_str())))
            .map(|(_, held)| &*held.record)
    }

    /// All records, in key order.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &R> + Clone {
        self.0.values().map(|held| &*held.record)
    }
}

/// Every record.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) clusters: Rows<ClusterRecord>,
    pub(crate) machines: Rows<MachineRecord>,
    pub(crate) replicas: Rows<ReplicaRecord>,
    pub(crate) plans: Rows<PlanRecord>,
    pub(crate) operations: Rows<OperationRecord>,
    pub(crate) steps: Rows<StepRecord>,
    pub(crate) attempts: Rows<AttemptRecord>,
    pub(crate) credentials: Rows<CredentialRecord>,
    pub(crate) orphans: Rows<OrphanRecord>,
    pub(crate) adopted: Rows<AdoptedRecord>,
    pub(crate) events: Rows<EventRecord>,
    pub(crate) terraform_states: Rows<StateRecord>,
    pub(crate) terraform_adopted: Rows<BarredRecord>,
    /// Where the audit log ends; its entries stay in the store.
    pub(crate) audit: Rows<AuditHead>,
}

/// Where a state keeps the records of one kind.
pub(crate) trait Kept<R> {
    fn rows(&self) -> &Rows<R>;
    fn rows_mut(&mut self) -> &mut Rows<R>;
}

macro_rules! kept {
    ($($record:ident in $field:ident),+) => {$(
        impl Kept<$record> for State {
            fn rows(&self) -> &Rows<$record> {
                &self.$field
            }
            fn rows_mut(&mut self) -> &mut Rows<$record> {
                &mut self.$field
            }
        }
    )+};
}
kept!(
    ClusterRecord in clusters,
    MachineRecord in machines,
    ReplicaRecord in replicas,
    PlanRecord in plans,
    OperationRecord in operations,
    StepRecord in steps,
    AttemptRecord in attempts,
    CredentialRecord in credentials,
    OrphanRecord in orphans,
    AdoptedRecord in adopted,
    EventRecord in events,
    StateRecord in terraform_states,
    BarredRecord in terraform_adopted,
    AuditHead in audit
);

impl State {
    /// Reads every record of a shard.
    pub(crate) async fn load(store: &dyn Store, shard: ShardId) -> Result<Self, StoreError> {
        let mut state = Self::default();
        load_table(store, shard, &mut state.clusters).await?;
        load_table(store, shard, &mut state.machines).await?;
        load_table(store, shard, &mut state.replicas).await?;
        load_table(store, shard, &mut state.plans).await?;
        load_table(store, shard, &mut state.operations).await?;
        load_table(store, shard, &mut state.steps).await?;
        load_table(store, shard, &mut state.attempts).await?;
        load_table(store, shard, &mut state.credentials).await?;
        load_table(store, shard, &mut state.orphans).await?;
        load_table(store, shard, &mut state.adopted).await?;
        load_table(store, shard, &mut state.events).await?;
        load_table(store, shard, &mut state.terraform_states).await?;
        load_table(store, shard, &mut state.terraform_adopted).await?;
        Ok(state)
    }

    /// A cluster's operations, newest first.
    pub(crate) fn operations_of(&self, cluster: &ClusterName) -> Vec<&OperationRecord> {
        let all = self.operations.all();
        let mut operations: Vec<_> = all.filter(|record| record.operation.cluster == *cluster).collect();
        operations.sort_by_key(|record| Reverse(record.operation.started));
        operations
    }

    /// A copy that shares the records.
    pub(crate) fn share(&self) -> Self {
        Self {
            clusters: Rows(self.clusters.0.clone()),
            machines: Rows(self.machines.0.clone()),
            replicas: Rows(self.replicas.0.clone()),
            plans: Rows(self.plans.0.clone()),
            operations: Rows(self.operations.0.clone()),
            steps: Rows(self.steps.0.clone()),
            attempts: Rows(self.attempts.0.clone()),
            credentials: Rows(self.credentials.0.clone()),
            orphans: Rows(self.orphans.0.clone()),
            adopted: Rows(self.adopted.0.clone()),
            events: Rows(self.events.0.clone()),
            terraform_states: Rows(self.terraform_states.0.clone()),
            terraform_adopted: Rows(self.terraform_adopted.0.clone()),
            audit: Rows(self.audit.0.clone()),
        }
    }
}

async fn load_table<R: Record>(store: &dyn Store, shard: ShardId, rows: &mut Rows<R>) -> Result<(), StoreError> {
    loop {
        let after = rows.0.last_key_value().map(|(key, _)| key.clone());
        let page = store
            .scan(Some(shard), R::TABLE, after.as_deref(), LOAD_PAGE_ROWS)
            .await?;
        let done = page.len() < usize::try_from(LOAD_PAGE_ROWS).expect("fits");
        for row in page {
            let record = serde_json::from_str(&row.body).map_err(|error| unreadable(R::TABLE, &row.key, &error))?;
            rows.0.insert(
                row.key,
                Held {
                    revision: row.revision,
                    record: Arc::new(record),
                },
            );
        }
        if done {
            return Ok(());
        }
    }
}

fn unreadable(table: Table, key: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt {
        path: "the store".into(),
        detail: format!("{table:?} `{key}`: {error}"),
    }
}
