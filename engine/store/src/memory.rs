//! The simulated store: rows in memory, with faults where a plan asks for them. For the simulator and for tests.
//!
//! Never does I/O, reads no clock and draws nothing at random: the same calls and the same plan give the same answers. It
//! shares no code with [`crate::sql`], so that [`crate::conformance`] compares two readings of one contract.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use isobar_engine_model::id::Epoch;

use crate::{Row, Store, StoreError, Table, Write};

/// A handle to rows in memory. A clone is what a restarted engine has of its store: the same rows, the same faults.
#[derive(Clone)]
pub struct MemoryStore {
    id: String,
    shard: Arc<Mutex<Shard>>,
    faults: Arc<Mutex<Faults>>,
}

/// One call, as a plan of faults sees it before it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// How many calls went through the handles of this plan before: 0 for the first.
    pub number: u64,
    /// What it asks for.
    pub request: Request<'a>,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// The shard.
    TakeOver,
    /// These writes.
    Commit(&'a [Write]),
    /// A page of this table.
    Scan(Table),
    /// A row of this table.
    Get(Table),
}

/// What goes wrong with a call. A read knows only one way: it is `Unavailable`, whichever fault is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `Unavailable`; nothing is written.
    Unavailable,
    /// `Full`; nothing is written.
    Full,
    /// `OutcomeUnknown`; nothing is written.
    UnknownLost,
    /// `OutcomeUnknown`, though all of it is written. A batch that would be refused is refused.
    UnknownWritten,
}

/// Decides for each call whether something goes wrong with it.
type Plan = Box<dyn FnMut(Call<'_>) -> Option<Fault> + Send>;

struct Faults {
    calls: u64,
    plan: Plan,
}

#[derive(Default)]
struct Shard {
    epoch: u64,
    tables: BTreeMap<Table, BTreeMap<String, Versioned>>,
}

#[derive(Clone)]
struct Versioned {
    revision: u64,
    body: String,
}

/// What puts a row back: its place and what was there.
type Undo<'b> = (Table, &'b str, Option<Versioned>);

/// The cause of an injected fault.
#[derive(Debug, thiserror::Error)]
#[error("simulated fault: {0:?}")]
struct Simulated(Fault);

impl MemoryStore {
    /// An empty store in which nothing goes wrong.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            shard: Arc::default(),
            faults: Faults::shared(Box::new(|_| None)),
        }
    }

    /// A handle to the same rows with faults of its own: `plan` is asked once a call, in the order of the calls.
    #[must_use]
    pub fn with_faults(&self, plan: impl FnMut(Call<'_>) -> Option<Fault> + Send + 'static) -> Self {
        Self {
            id: self.id.clone(),
            shard: Arc::clone(&self.shard),
            faults: Faults::shared(Box::new(plan)),
        }
    }

    fn fault(&self, request: Request<'_>) -> Option<Fault> {
        lock(&self.faults).next(request)
    }

    fn read(&self, request: Request<'_>) -> Result<MutexGuard<'_, Shard>, StoreError> {
        match self.fault(request) {
            Some(fault) => Err(StoreError::Unavailable(Simulated(fault).into())),
            None => Ok(lock(&self.shard)),
        }
    }

    /// Carries a write out between two points at which the caller's future may be dropped, as real ones are.
    async fn write<T>(
        &self,
        request: Request<'_>,
        change: impl FnOnce(&mut Shard) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.fault(request);
        step().await;
        let done = match fault {
            None => change(&mut lock(&self.shard)),
            Some(fault @ Fault::Unavailable) => Err(StoreError::Unavailable(Simulated(fault).into())),
            Some(fault @ Fault::Full) => Err(StoreError::Full(Simulated(fault).into())),
            Some(fault @ Fault::UnknownLost) => Err(StoreError::OutcomeUnknown(Simulated(fault).into())),
            Some(fault @ Fault::UnknownWritten) => {
                change(&mut lock(&self.shard)).and_then(|_| Err(StoreError::OutcomeUnknown(Simulated(fault).into())))
            }
        };
        step().await;
        done
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn id(&self) -> &str {
        &self.id
    }

    async fn take_over(&self) -> Result<Epoch, StoreError> {
        self.write(Request::TakeOver, |shard| {
            shard.epoch += 1;
            Ok(Epoch(shard.epoch))
        })
        .await
    }

    async fn commit(&self, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        self.write(Request::Commit(batch), |shard| shard.commit(epoch, batch))
            .await
    }

    async fn scan(&self, table: Table, after: Option<&str>, limit: u32) -> Result<Vec<Row>, StoreError> {
        step().await;
        let shard = self.read(Request::Scan(table))?;
        let Some(rows) = shard.tables.get(&table) else {
            return Ok(Vec::new());
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(rows
            .range::<str, _>((from, Bound::Unbounded))
            .take(limit)
            .map(|(key, row)| row.with_key(key))
            .collect())
    }

    async fn get(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        step().await;
        let shard = self.read(Request::Get(table))?;
        Ok(shard
            .tables
            .get(&table)
            .and_then(|rows| rows.get(key))
            .map(|row| row.with_key(key)))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Faults {
    fn shared(plan: Plan) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { calls: 0, plan }))
    }

    fn next(&mut self, request: Request<'_>) -> Option<Fault> {
        let number = self.calls;
        self.calls += 1;
        (self.plan)(Call { number, request })
    }
}

impl Shard {
    /// Writes in place and puts back what was there when a write does not fit.
    fn commit(&mut self, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        if epoch.0 != self.epoch {
            return Err(StoreError::Fenced {
                current: Epoch(self.epoch),
            });
        }
        let mut undo = Vec::with_capacity(batch.len());
        for write in batch {
            match self.apply(write) {
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

    fn apply<'b>(&mut self, write: &'b Write) -> Result<Undo<'b>, StoreError> {
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
        let found = self
            .tables
            .get(&table)
            .and_then(|rows| rows.get(key))
            .map(|row| row.revision);
        if found != expect {
            return Err(StoreError::Stale {
                table,
                key: key.clone(),
            });
        }
        let revision = found.unwrap_or(0) + 1;
        let before = self.set(
            table,
            key,
            body.map(|body| Versioned {
                revision,
                body: body.clone(),
            }),
        );
        Ok((table, key, before))
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
            revision: self.revision,
            body: self.body.clone(),
        }
    }
}

/// Gives way once, so that whoever simulates a crash can drop the future here.
async fn step() {
    let mut given = false;
    poll_fn(|context| {
        if given {
            return Poll::Ready(());
        }
        given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A panic under the lock is a caller's plan that panicked: the rows are as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::conformance::{dump, insert};

    fn kind(answer: &Result<(), StoreError>) -> &'static str {
        match answer {
            Ok(()) => "written",
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Full(_)) => "full",
            Err(StoreError::OutcomeUnknown(_)) => "unknown",
            Err(StoreError::Stale { .. }) => "stale",
            Err(StoreError::Fenced { .. }) => "fenced",
            Err(StoreError::InUse { .. } | StoreError::Corrupt { .. } | StoreError::Newer { .. }) => "about files",
        }
    }

    #[tokio::test]
    async fn each_fault_answers_and_writes_as_it_says() {
        for (fault, answer, rows) in [
            (None, "written", 1),
            (Some(Fault::Unavailable), "unavailable", 0),
            (Some(Fault::Full), "full", 0),
            (Some(Fault::UnknownLost), "unknown", 0),
            (Some(Fault::UnknownWritten), "unknown", 1),
        ] {
            let sound = MemoryStore::new("store");
            let epoch = sound.take_over().await.unwrap();
            let faulty = sound.with_faults(move |_| fault);
            assert_eq!(
                kind(&faulty.commit(epoch, &[insert(Table::Plan, "p", "")]).await),
                answer,
                "{fault:?}"
            );
            assert_eq!(dump(&sound).await.unwrap().len(), rows, "rows after {fault:?}");
            assert_eq!(
                faulty.get(Table::Plan, "p").await.is_err(),
                fault.is_some(),
                "a read with {fault:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_refused_batch_is_refused_whatever_is_said_of_its_outcome() {
        let store = MemoryStore::new("store").with_faults(|_| Some(Fault::UnknownWritten));
        let absent = [Write::Delete {
            table: Table::Plan,
            key: "p".into(),
            expect: 1,
        }];
        assert_eq!(kind(&store.commit(Epoch(0), &absent).await), "stale");
        assert_eq!(kind(&store.commit(Epoch(1), &[]).await), "fenced");
    }

    #[tokio::test]
    async fn a_take_over_of_unknown_outcome_may_have_fenced() {
        let sound = MemoryStore::new("store");
        let epoch = sound.take_over().await.unwrap();
        let faulty = sound.with_faults(|_| Some(Fault::UnknownWritten));
        assert_eq!(kind(&faulty.take_over().await.map(drop)), "unknown");
        assert_eq!(kind(&sound.commit(epoch, &[]).await), "fenced");
    }

    #[tokio::test]
    async fn a_plan_sees_every_call_of_its_handles_in_order() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let store = MemoryStore::new("store").with_faults(move |call| {
            lock(&log).push(format!("{} {:?}", call.number, call.request));
            None
        });
        let restarted = store.clone();
        let epoch = store.take_over().await.unwrap();
        restarted.commit(epoch, &[]).await.unwrap();
        store.get(Table::Plan, "p").await.unwrap();
        restarted.scan(Table::Audit, None, 1).await.unwrap();
        assert_eq!(
            *lock(&seen),
            ["0 TakeOver", "1 Commit([])", "2 Get(Plan)", "3 Scan(Audit)"]
        );
    }

    #[tokio::test]
    async fn a_commit_dropped_at_any_point_is_written_whole_or_not_at_all() {
        for (polls, rows) in [(0, 0), (1, 0), (2, 2)] {
            let store = MemoryStore::new("store");
            let epoch = store.take_over().await.unwrap();
            let batch = [insert(Table::Plan, "p", ""), insert(Table::Plan, "q", "")];
            {
                let mut commit = pin!(store.commit(epoch, &batch));
                for poll in 0..polls {
                    let answer = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    assert!(answer.is_pending(), "poll {poll}");
                }
            }
            assert_eq!(dump(&store).await.unwrap().len(), rows, "dropped after {polls} polls");
        }
    }
}
