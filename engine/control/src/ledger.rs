//! The one place that writes the store: changes are made to a draft, committed, and only then seen by readers.
//!
//! One task owns the draft. Changes that wait while a commit is under way go into the next one together, so that
//! thousands of machines share their commits. A caller that goes away loses its answer, never its change.

mod draft;

use std::sync::{Arc, RwLock, RwLockReadGuard};

use isobar_engine_model::id::Epoch;
use isobar_engine_store::{Store, StoreError, Write};
use isobar_node_image_protocol::watch;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::draft::Draft;
use crate::audit::{self, Seals};
use crate::record::Record;
use crate::state::State;
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
            let before = draft.mark();
            let result = change(draft);
            if result.is_err() {
                draft.roll_back(before);
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
        let mut draft = Draft::new(state, self.tenure.shard, seals);
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
            draft.forget();
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
