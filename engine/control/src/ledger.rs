//! The one place that writes the store: changes are made to a draft, committed, and only then seen by readers.
//!
//! One task owns the draft. Changes that wait while a commit is under way go into the next one together, so that
//! thousands of machines share their commits. A caller that goes away loses its answer, never its change.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use isobar_engine_model::id::{Epoch, ShardId};
use isobar_engine_store::{Store, StoreError, Table, Write};
use isobar_node_image_protocol::watch;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api::AuditEntry;
use crate::audit::{self, AuditHead, Seals};
use crate::record::Record;
use crate::state::{Held, Kept, State};
use crate::tenure::Tenure;

/// At most so many changes wait for the next commit; more wait for room.
const QUEUE_MAX_CHANGES: usize = 4096;
/// At most so many changes share a commit.
const BATCH_MAX_CHANGES: usize = 512;

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LedgerError {
    /// Another engine writes the store: this one must stop.
    #[error("another engine has taken the cluster over")]
    Fenced,
    /// The store refused; nothing was written.
    #[error("the store cannot be written: {0}")]
    Store(String),
    /// The engine is stopping.
    #[error("the engine is stopping")]
    Stopping,
}

/// Reads and changes records.
pub(crate) struct Ledger {
    seen: Arc<RwLock<State>>,
    changes: mpsc::Sender<Change>,
    revision: watch::Receiver<u64>,
    epoch: Epoch,
}

type Change = Box<dyn FnOnce(&mut Draft) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

/// The records as they will be if everything in the batch is committed.
pub(crate) struct Draft {
    state: State,
    undo: Vec<Undo>,
    touched: BTreeMap<(Table, String), Touched>,
    /// Rows of the audit log by their number: written, and not kept in memory.
    appended: BTreeMap<u64, String>,
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

impl Draft {
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

    fn roll_back(&mut self, to: usize) {
        while self.undo.len() > to {
            let undo = self.undo.pop().expect("longer than `to`");
            undo(&mut self.state);
        }
        // What was added goes with the head that followed it.
        let (_, next) = self.next_audit();
        self.appended.split_off(&next);
    }

    fn writes(&self) -> Vec<Write> {
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
        writes
    }

    /// Takes the committed revisions over and shows readers what changed.
    fn publish(&mut self, seen: &RwLock<State>) {
        self.undo.clear();
        self.appended.clear();
        let mut seen = seen.write().expect("no reader panics with the lock");
        for ((_, key), touched) in std::mem::take(&mut self.touched) {
            (touched.publish)(&mut self.state, &mut seen, &key, touched.before + 1);
        }
    }

    fn discard(&mut self) {
        self.roll_back(0);
        self.touched.clear();
    }
}

impl Ledger {
    /// Reads the shard of a tenure. The returned task writes until the ledger is dropped, stopped or fenced.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        tenure: Tenure,
        seals: Seals,
        stop: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send), StoreError> {
        let mut state = State::load(&*store, tenure.shard).await?;
        if let Some(head) = audit::open(&*store, tenure.shard, &seals).await? {
            state.audit.0.insert(head.record.key(), head);
        }
        let seen = Arc::new(RwLock::new(state.share()));
        let (changes, queue) = mpsc::channel(QUEUE_MAX_CHANGES);
        let (revise, revision) = watch::channel(0);
        let epoch = tenure.epoch;
        let writer = Writer {
            store,
            tenure,
            seen: seen.clone(),
            revise,
            stop,
        };
        Ok((
            Self {
                seen,
                changes,
                revision,
                epoch,
            },
            writer.run(state, seals, queue),
        ))
    }

    /// Which writer this is.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The committed records. Hold it briefly and never across an await.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.seen.read().expect("the writer does not panic with the lock")
    }

    /// Makes a change and waits until it is durable. A change that answers with an error is not made.
    pub(crate) async fn change<T, E, F>(&self, change: F) -> Result<Result<T, E>, LedgerError>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&mut Draft) -> Result<T, E> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Change = Box::new(move |draft| {
            let undo_to = draft.undo.len();
            let result = change(draft);
            if result.is_err() {
                draft.roll_back(undo_to);
            }
            Box::new(move |committed| {
                // The caller may have gone; its change stands.
                let _ = tell.send(committed.map(|()| result));
            })
        });
        self.changes.send(job).await.map_err(|_| LedgerError::Stopping)?;
        told.await.map_err(|_| LedgerError::Stopping)?
    }

    /// Makes a change that cannot be refused.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Draft) -> T + Send + 'static,
    {
        let made = self
            .change(move |draft| Ok::<T, std::convert::Infallible>(change(draft)))
            .await?;
        made.map_err(|never| match never {})
    }

    /// Wakes at every commit.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }
}

struct Writer {
    store: Arc<dyn Store>,
    tenure: Tenure,
    seen: Arc<RwLock<State>>,
    revise: watch::Sender<u64>,
    stop: CancellationToken,
}

impl Writer {
    async fn run(self, state: State, seals: Seals, mut queue: mpsc::Receiver<Change>) {
        let mut draft = Draft {
            state,
            undo: Vec::new(),
            touched: BTreeMap::new(),
            appended: BTreeMap::new(),
            shard: self.tenure.shard,
            seals,
        };
        let mut batch = Vec::new();
        loop {
            let waiting = tokio::select! {
                biased;
                waiting = queue.recv_many(&mut batch, BATCH_MAX_CHANGES) => waiting,
                () = self.stop.cancelled() => 0,
            };
            if waiting == 0 {
                return;
            }
            let answers: Vec<Answer> = batch.drain(..).map(|change| change(&mut draft)).collect();
            let committed = self.commit(&mut draft).await;
            let fenced = matches!(committed, Err(LedgerError::Fenced));
            for answer in answers {
                answer(committed.clone());
            }
            if fenced {
                tracing::warn!(shard = %self.tenure.shard, "another engine has taken the shard; writing nothing more");
                return;
            }
        }
    }

    async fn commit(&self, draft: &mut Draft) -> Result<(), LedgerError> {
        let writes = draft.writes();
        if writes.is_empty() {
            draft.undo.clear();
            draft.touched.clear();
            return Ok(());
        }
        match self.store.commit(self.tenure.shard, self.tenure.epoch, &writes).await {
            Ok(()) => {
                self.adopt(draft);
                Ok(())
            }
            Err(StoreError::OutcomeUnknown(source)) => self.settle(draft, &writes, source.to_string()).await,
            Err(StoreError::Fenced { .. }) => {
                draft.discard();
                Err(LedgerError::Fenced)
            }
            Err(refused) => {
                draft.discard();
                Err(LedgerError::Store(chain(&refused)))
            }
        }
    }

    /// A commit whose outcome is not known: read back whether its first row was written, and hold the draft to it.
    async fn settle(&self, draft: &mut Draft, writes: &[Write], why: String) -> Result<(), LedgerError> {
        tracing::warn!(%why, "the outcome of a commit is not known; reading it back");
        let first = writes.first().expect("not empty");
        let (table, key, revision) = match first {
            Write::Insert { table, key, .. } => (*table, key, 1),
            Write::Update { table, key, expect, .. } => (*table, key, expect + 1),
            Write::Delete { table, key, .. } => (*table, key, 0),
        };
        match self.store.get(table, key).await {
            Ok(row) if row.as_ref().map_or(0, |row| row.revision) == revision => {
                self.adopt(draft);
                Ok(())
            }
            Ok(_) => {
                draft.discard();
                Err(LedgerError::Store(why))
            }
            // Nobody knows: writing on could contradict the store. The next engine reads what is there.
            Err(_) => Err(LedgerError::Fenced),
        }
    }

    fn adopt(&self, draft: &mut Draft) {
        draft.publish(&self.seen);
        self.revise.send_modify(|revision| *revision += 1);
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
