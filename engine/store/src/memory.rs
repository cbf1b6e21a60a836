//! The simulated store: rows in memory, with faults where a plan asks for them. For the simulator and for tests.
//!
//! Never does I/O, draws nothing at random and knows no time but that of the clock it is given: the same calls, plan and
//! clock give the same answers. It shares no code with [`crate::sql`], so that [`crate::conformance`] compares two readings
//! of one contract.

mod contents;
mod fault;

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ShardId};
use isobar_engine_model::quantity::Timestamp;

use self::contents::Contents;
pub use self::fault::{Call, Fault, Request};
use self::fault::{Faults, Simulated};
use crate::{Member, Row, Shard, Store, StoreError, Table, Write};

/// The store's clock.
pub type StoreClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A handle to rows in memory. A clone is what another or a restarted engine has of the store: the same rows, the same
/// faults. Whoever waits long enough by its clock sees leases run out, as of engines that are paused or dead.
#[derive(Clone)]
pub struct MemoryStore {
    id: String,
    incarnation: Incarnation,
    clock: StoreClock,
    contents: Arc<Mutex<Contents>>,
    faults: Arc<Mutex<Faults>>,
}

impl MemoryStore {
    /// An empty store in which nothing goes wrong.
    pub fn new(id: impl Into<String>, clock: StoreClock) -> Self {
        Self {
            id: id.into(),
            incarnation: Incarnation(1),
            clock,
            contents: Arc::new(Mutex::new(Contents::empty())),
            faults: Faults::shared(Box::new(|_| None)),
        }
    }

    /// A handle to the same rows with faults of its own: `plan` is asked once a call, in the order of the calls.
    #[must_use]
    pub fn with_faults(&self, plan: impl FnMut(Call<'_>) -> Option<Fault> + Send + 'static) -> Self {
        Self {
            faults: Faults::shared(Box::new(plan)),
            ..self.clone()
        }
    }

    /// Another store: what restoring a backup gives that was taken now. Recovering, in its next incarnation, without faults.
    #[must_use]
    pub fn restored(&self) -> Self {
        Self {
            incarnation: Incarnation(self.incarnation.0 + 1),
            contents: Arc::new(Mutex::new(lock(&self.contents).restored())),
            faults: Faults::shared(Box::new(|_| None)),
            ..self.clone()
        }
    }

    fn fault(&self, request: Request<'_>) -> Option<Fault> {
        lock(&self.faults).next(request)
    }

    async fn read<T>(&self, request: Request<'_>, look: impl FnOnce(&Contents) -> T + Send) -> Result<T, StoreError> {
        step().await;
        match self.fault(request) {
            Some(fault) => Err(StoreError::Unavailable(Simulated(fault).into())),
            None => Ok(look(&lock(&self.contents))),
        }
    }

    /// Carries a write out between two points at which the caller's future may be dropped, as real ones are.
    async fn write<T>(
        &self,
        request: Request<'_>,
        change: impl FnOnce(&mut Contents) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.fault(request);
        step().await;
        let done = match fault {
            None => change(&mut lock(&self.contents)),
            Some(fault @ Fault::Unavailable) => Err(StoreError::Unavailable(Simulated(fault).into())),
            Some(fault @ Fault::Full) => Err(StoreError::Full(Simulated(fault).into())),
            Some(fault @ Fault::UnknownLost) => Err(StoreError::OutcomeUnknown(Simulated(fault).into())),
            Some(fault @ Fault::UnknownWritten) => {
                change(&mut lock(&self.contents)).and_then(|_| Err(StoreError::OutcomeUnknown(Simulated(fault).into())))
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

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    async fn is_recovering(&self) -> Result<bool, StoreError> {
        self.read(Request::IsRecovering, |contents| contents.recovering).await
    }

    async fn end_recovery(&self) -> Result<(), StoreError> {
        self.write(Request::EndRecovery, |contents| {
            contents.recovering = false;
            Ok(())
        })
        .await
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Result<(), StoreError> {
        self.write(Request::Commit(shard, batch), |contents| {
            contents.commit(shard, epoch, batch)
        })
        .await
    }

    async fn scan(
        &self,
        shard: Option<ShardId>,
        table: Table,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.read(Request::Scan(table), |contents| {
            contents.scan(shard, table, after, limit)
        })
        .await
    }

    async fn get(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        self.read(Request::Get(table), |contents| contents.get(table, key))
            .await
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Result<(), StoreError> {
        self.write(Request::Beat(&member.id), |contents| {
            let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
            let until = Timestamp((self.clock)().0.saturating_add(lease_ms));
            contents.beat(member, until);
            Ok(())
        })
        .await
    }

    async fn leave(&self, member: &MemberId) -> Result<(), StoreError> {
        self.write(Request::Leave(member), |contents| {
            contents.members.remove(member);
            Ok(())
        })
        .await
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        self.read(Request::Members, |contents| contents.living((self.clock)()))
            .await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StoreError> {
        self.read(Request::Shards, Contents::shards).await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Result<Option<Epoch>, StoreError> {
        self.write(Request::Claim(shard), |contents| {
            Ok(contents.claim(shard, member, (self.clock)()))
        })
        .await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), StoreError> {
        self.write(Request::Release(shard), |contents| contents.release(shard, epoch))
            .await
    }

    async fn once(&self, key: &str, value: &str) -> Result<String, StoreError> {
        self.write(Request::Once(key), |contents| Ok(contents.once(key, value)))
            .await
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("id", &self.id)
            .finish_non_exhaustive()
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
    use crate::conformance::{HOME, claimed, dump, insert, member};

    fn store() -> MemoryStore {
        MemoryStore::new("store", Arc::new(|| Timestamp(0)))
    }

    fn kind(answer: &Result<(), StoreError>) -> &'static str {
        match answer {
            Ok(()) => "written",
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Full(_)) => "full",
            Err(StoreError::OutcomeUnknown(_)) => "unknown",
            Err(StoreError::Stale { .. }) => "stale",
            Err(StoreError::Fenced { .. }) => "fenced",
            Err(
                StoreError::InUse { .. }
                | StoreError::Corrupt { .. }
                | StoreError::Newer { .. }
                | StoreError::Unsuitable { .. },
            ) => "about files",
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
            let sound = store();
            let epoch = claimed(&sound, HOME).await;
            let faulty = sound.with_faults(move |_| fault);
            assert_eq!(
                kind(&faulty.commit(HOME, epoch, &[insert(Table::Plan, "p", "")]).await),
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
        let store = store().with_faults(|_| Some(Fault::UnknownWritten));
        let absent = [Write::Delete {
            table: Table::Plan,
            key: "p".into(),
            expect: 1,
        }];
        assert_eq!(kind(&store.commit(HOME, Epoch(0), &absent).await), "stale");
        assert_eq!(kind(&store.commit(HOME, Epoch(1), &[]).await), "fenced");
    }

    #[tokio::test]
    async fn a_claim_of_unknown_outcome_may_have_fenced() {
        let sound = store();
        let epoch = claimed(&sound, HOME).await;
        let faulty = sound.with_faults(|_| Some(Fault::UnknownWritten));
        assert_eq!(
            kind(&faulty.claim(HOME, &member("engine").id).await.map(drop)),
            "unknown"
        );
        assert_eq!(kind(&sound.commit(HOME, epoch, &[]).await), "fenced");
    }

    #[tokio::test]
    async fn a_plan_sees_every_call_of_its_handles_in_order() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let store = store().with_faults(move |call| {
            lock(&log).push(format!("{} {:?}", call.number, call.request));
            None
        });
        let restarted = store.clone();
        let epoch = claimed(&store, HOME).await;
        restarted.commit(HOME, epoch, &[]).await.unwrap();
        store.get(Table::Plan, "p").await.unwrap();
        restarted.scan(None, Table::Audit, None, 1).await.unwrap();
        assert_eq!(
            *lock(&seen),
            [
                "0 Beat(MemberId(engine))",
                "1 Claim(ShardId(0))",
                "2 Commit(ShardId(0), [])",
                "3 Get(Plan)",
                "4 Scan(Audit)"
            ]
        );
    }

    #[tokio::test]
    async fn a_commit_dropped_at_any_point_is_written_whole_or_not_at_all() {
        for (polls, rows) in [(0, 0), (1, 0), (2, 2)] {
            let store = self::store();
            let epoch = claimed(&store, HOME).await;
            let batch = [insert(Table::Plan, "p", ""), insert(Table::Plan, "q", "")];
            {
                let mut commit = pin!(store.commit(HOME, epoch, &batch));
                for poll in 0..polls {
                    let answer = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    assert!(answer.is_pending(), "poll {poll}");
                }
            }
            assert_eq!(dump(&store).await.unwrap().len(), rows, "dropped after {polls} polls");
        }
    }

    #[tokio::test]
    async fn a_restored_store_recovers_in_its_next_incarnation_and_leaves_the_old_one_alone() {
        let old = self::store();
        let epoch = claimed(&old, HOME).await;
        old.commit(HOME, epoch, &[insert(Table::Plan, "p", "1")]).await.unwrap();
        let new = old.restored();
        assert_eq!((old.incarnation().0, new.incarnation().0), (1, 2));
        assert!(new.is_recovering().await.unwrap() && !old.is_recovering().await.unwrap());
        assert_eq!(kind(&new.commit(HOME, epoch, &[]).await), "fenced");
        assert!(new.members().await.unwrap().is_empty());
        assert_eq!(dump(&new).await.unwrap(), dump(&old).await.unwrap());
        old.commit(HOME, epoch, &[insert(Table::Plan, "q", "1")]).await.unwrap();
        assert_eq!(dump(&new).await.unwrap().len(), 1);
        new.end_recovery().await.unwrap();
        assert!(!new.is_recovering().await.unwrap());
    }
}
