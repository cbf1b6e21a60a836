//! What a batch comes to, given the revisions that its rows have now. Pure: reads and writes nothing; called by the
//! commit of [`super::SqlStore`] inside its transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::{StoreError, Table, Write};

/// Those of the rows that a batch names that exist.
pub(super) type Revisions = BTreeMap<(Table, String), Found>;

/// A row that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// In the batch's shard, at this revision.
    Here(u64),
    /// In another shard: nothing that this batch may write.
    Elsewhere,
}

/// What is left of a batch once its writes are taken together: each row at most once, in table and key order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome<'b> {
    /// Rows to insert or to replace.
    pub(super) put: BTreeMap<Table, Vec<Put<'b>>>,
    /// Keys of rows to remove.
    pub(super) delete: BTreeMap<Table, Vec<&'b str>>,
}

/// A row as it shall be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Put<'b> {
    pub(super) key: &'b str,
    pub(super) revision: u64,
    pub(super) body: &'b str,
}

/// The keys that a batch names, each once, by table.
pub(super) fn keys(batch: &[Write]) -> BTreeMap<Table, BTreeSet<&str>> {
    let mut keys: BTreeMap<Table, BTreeSet<&str>> = BTreeMap::new();
    for write in batch {
        let (table, key) = target(write);
        keys.entry(table).or_default().insert(key);
    }
    keys
}

/// Applies the writes in their order on top of `now`; `Stale` names the first that does not fit.
pub(super) fn resolve<'b>(now: &Revisions, batch: &'b [Write]) -> Result<Outcome<'b>, StoreError> {
    let mut touched: BTreeMap<(Table, &'b str), Option<(u64, &'b str)>> = BTreeMap::new();
    for write in batch {
        let (table, key) = target(write);
        let stale = || StoreError::Stale {
            table,
            key: key.to_owned(),
        };
        let revision = match touched.get(&(table, key)) {
            Some(row) => row.map(|(revision, _)| revision),
            None => match now.get(&(table, key.to_owned())) {
                Some(Found::Here(revision)) => Some(*revision),
                Some(Found::Elsewhere) => return Err(stale()),
                None => None,
            },
        };
        let row = match write {
            Write::Insert { body, .. } if revision.is_none() => Some((1, body.as_str())),
            Write::Update { expect, body, .. } if revision == Some(*expect) => Some((expect + 1, body.as_str())),
            Write::Delete { expect, .. } if revision == Some(*expect) => None,
            Write::Insert { .. } | Write::Update { .. } | Write::Delete { .. } => {
                return Err(stale());
            }
        };
        touched.insert((table, key), row);
    }
    let mut outcome = Outcome::default();
    for ((table, key), row) in touched {
        match row {
            Some((revision, body)) => outcome.put.entry(table).or_default().push(Put { key, revision, body }),
            None => outcome.delete.entry(table).or_default().push(key),
        }
    }
    Ok(outcome)
}

fn target(write: &Write) -> (Table, &str) {
    match write {
        Write::Insert { table, key, .. } | Write::Update { table, key, .. } | Write::Delete { table, key, .. } => {
            (*table, key)
        }
    }
}
