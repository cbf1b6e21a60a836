//! The records as the next commit will have them, with what it takes to write, to publish or to take back each change.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use isobar_engine_model::id::ShardId;
use isobar_engine_store::{Table, Write};

use crate::api::AuditEntry;
use crate::audit::{self, AuditHead, Seals};
use crate::record::Record;
use crate::state::{Held, Kept, State};

/// The records as they will be if everything in the batch is committed.
pub(crate) struct Draft {
    state: State,
    undo: Vec<Undo>,
    touched: BTreeMap<(Table, String), Touched>,
    /// Rows of the audit log by their number: written, and not kept in memory.
    appended: BTreeMap<u64, String>,
    /// Rows that are written and not kept in memory either, in the order of their changes.
    beside: Vec<Write>,
    shard: ShardId,
    seals: Seals,
}

type Undo = Box<dyn FnOnce(&mut State) + Send>;

struct Touched {
    /// The row's revision before the batch; 0: it was not there.
    before: u64,
    /// JSON of the record in a state; absent: it is not there.
    body: fn(&State, &str) -> Option<String>,
    /// Gives the draft's record its new revision and shows it to readers.
    publish: fn(&mut State, &mut State, &str, u64),
}

/// A place in a draft to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    undo: usize,
    beside: usize,
}

impl Draft {
    pub(super) fn new(state: State, shard: ShardId, seals: Seals) -> Self {
        Self {
            state,
            undo: Vec::new(),
            touched: BTreeMap::new(),
            appended: BTreeMap::new(),
            beside: Vec::new(),
            shard,
            seals,
        }
    }

    /// One record as it is in the draft.
    pub(crate) fn get<R: Record>(&self, key: &str) -> Option<&R>
    where
        State: Kept<R>,
    {
        Kept::<R>::rows(&self.state).get(key)
    }

    /// The whole draft, for reading.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Adds or replaces a record.
    pub(crate) fn put<R: Record>(&mut self, record: R)
    where
        State: Kept<R>,
    {
        let key = record.key();
        self.set(key, Some(record));
    }

    /// Removes a record if it is there.
    pub(crate) fn remove<R: Record>(&mut self, key: &str)
    where
        State: Kept<R>,
    {
        self.set::<R>(key.to_owned(), None);
    }

    fn set<R: Record>(&mut self, key: String, record: Option<R>)
    where
        State: Kept<R>,
    {
        let rows = Kept::<R>::rows_mut(&mut self.state);
        let revision = rows.0.get(&key).map_or(0, |held| held.revision);
        let old = match record {
            Some(record) => rows.0.insert(
                key.clone(),
                Held {
                    revision,
                    record: Arc::new(record),
                },
            ),
            None => rows.0.remove(&key),
        };
        self.touched.entry((R::TABLE, key.clone())).or_insert(Touched {
            before: revision,
            body: |state, key| {
                let record = Kept::<R>::rows(state).get(key)?;
                Some(serde_json::to_string(record).expect("records have string keys"))
            },
            publish: |draft, seen, key, revision| {
                let seen = Kept::<R>::rows_mut(seen);
                match Kept::<R>::rows_mut(draft).0.get_mut(key) {
                    Some(held) => {
                        held.revision = revision;
                        seen.0.insert(key.to_owned(), held.clone());
                    }
                    None => {
                        seen.0.remove(key);
                    }
                }
            },
        });
        self.undo.push(Box::new(move |state| {
            let rows = Kept::<R>::rows_mut(state);
            match old {
                Some(held) => rows.0.insert(key, held),
                None => rows.0.remove(&key),
            };
        }));
    }

    /// Adds a row that stays in the store alone: [`State`] has no place for its table, and it is never changed.
    pub(crate) fn put_beside(&mut self, table: Table, key: String, body: String) {
        self.beside.push(Write::Insert { table, key, body });
    }

    /// Removes a row that was added by [`Self::put_beside`].
    pub(crate) fn remove_beside(&mut self, table: Table, key: String) {
        self.beside.push(Write::Delete { table, key, expect: 1 });
    }

    /// The shard, and the number of the audit log's next entry in it.
    pub(crate) fn next_audit(&self) -> (ShardId, u64) {
        (self.shard, self.last_audit() + 1)
    }

    /// Adds an entry, numbered by [`Self::next_audit`], to the audit log.
    pub(crate) fn append(&mut self, entry: AuditEntry) {
        let sequence = entry.sequence;
        let (row, head) = self.seals.append(self.audit_head(), entry);
        let body = serde_json::to_string(&row).expect("records have string keys");
        self.appended.insert(sequence, body);
        self.put(head);
    }

    fn audit_head(&self) -> Option<&AuditHead> {
        self.get(&audit::head_key(self.shard))
    }

    fn last_audit(&self) -> u64 {
        self.audit_head().map_or(0, |head| head.sequence)
    }

    /// Where it stands now.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            undo: self.undo.len(),
            beside: self.beside.len(),
        }
    }

    /// Takes back what was changed since.
    pub(super) fn roll_back(&mut self, to: Mark) {
        self.beside.truncate(to.beside);
        while self.undo.len() > to.undo {
            let undo = self.undo.pop().expect("longer than `to`");
            undo(&mut self.state);
        }
        // What was added goes with the head that followed it.
        let (_, next) = self.next_audit();
        self.appended.split_off(&next);
    }

    /// What has to be committed. Rows beside are handed over: they can be long, and nothing asks for them again.
    pub(super) fn writes(&mut self) -> Vec<Write> {
        let mut writes = Vec::with_capacity(self.touched.len() + self.appended.len());
        for ((table, key), touched) in &self.touched {
            let (table, key, expect) = (*table, key.clone(), touched.before);
            match ((touched.body)(&self.state, &key), expect) {
                (Some(body), 0) => writes.push(Write::Insert { table, key, body }),
                (Some(body), _) => writes.push(Write::Update {
                    table,
                    key,
                    expect,
                    body,
                }),
                (None, 0) => {}
                (None, _) => writes.push(Write::Delete { table, key, expect }),
            }
        }
        writes.extend(self.appended.iter().map(|(sequence, body)| Write::Insert {
            table: Table::Audit,
            key: audit::entry_key(self.shard, *sequence),
            body: body.clone(),
        }));
        writes.append(&mut self.beside);
        writes
    }

    /// Takes the committed revisions over and shows readers what changed.
    pub(super) fn publish(&mut self, seen: &RwLock<State>) {
        self.undo.clear();
        self.appended.clear();
        let mut seen = seen.write().expect("no reader panics with the lock");
        for ((_, key), touched) in std::mem::take(&mut self.touched) {
            (touched.publish)(&mut self.state, &mut seen, &key, touched.before + 1);
        }
    }

    /// Takes everything back.
    pub(super) fn discard(&mut self) {
        self.roll_back(Mark { undo: 0, beside: 0 });
        self.touched.clear();
    }

    /// Nothing was changed after all.
    pub(super) fn forget(&mut self) {
        self.undo.clear();
        self.touched.clear();
    }
}
