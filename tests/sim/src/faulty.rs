//! A store that fails: it does not answer, has no room, or does not say whether it wrote.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ShardId};
use isobar_engine_store::{Member, Row, Shard, Store, StoreError, Table, Write};

use crate::dice::Dice;
use crate::mortal::FENCED_ENGINES_STOP;

/// What a store answers.
type Answer<T> = std::result::Result<T, StoreError>;

/// How often a store fails, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreRates {
    /// Calls that are not answered and do nothing.
    pub away: u64,
    /// Commits for which there is no room.
    pub full: u64,
    /// Commits of unknown outcome that wrote nothing.
    pub unknown_lost: u64,
    /// Commits of unknown outcome that wrote everything.
    pub unknown_written: u64,
}

/// What a store did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreFault {
    /// It did not answer.
    Away,
    /// It had no room.
    Full,
    /// It did not say that it wrote nothing.
    UnknownLost,
    /// It did not say that it wrote.
    UnknownWritten,
}

impl StoreFault {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Away, Self::Full, Self::UnknownLost, Self::UnknownWritten];

    /// Its name in the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Self::Away => "store_away",
            Self::Full => "store_full",
            Self::UnknownLost => "store_unknown_lost",
            Self::UnknownWritten => "store_unknown_written",
        }
    }
}

/// The faults of a run's store, whichever engine asks. A clone is the same.
#[derive(Clone)]
pub struct StoreFaults(Arc<Mutex<Shared>>);

struct Shared {
    rates: StoreRates,
    dice: Dice,
    counts: BTreeMap<StoreFault, u64>,
}

impl StoreFaults {
    /// From now on.
    pub fn new(seed: u64, rates: StoreRates) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            rates,
            dice: Dice::new(seed, "store"),
            counts: BTreeMap::new(),
        })))
    }

    /// From now on nothing goes wrong any more.
    pub fn stop(&self) {
        self.lock().rates = StoreRates::default();
    }

    /// How often each happened.
    pub fn counts(&self) -> BTreeMap<StoreFault, u64> {
        self.lock().counts.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_read(&self) -> Option<StoreFault> {
        let mut shared = self.lock();
        let away = shared.dice.happens(shared.rates.away);
        away.then(|| shared.count(StoreFault::Away))
    }

    fn of_commit(&self) -> Option<StoreFault> {
        let mut shared = self.lock();
        let rates = shared.rates;
        let drawn = shared.dice.within(0, 999);
        let mut upper = 0;
        let kinds = [
            (rates.away, StoreFault::Away),
            (rates.full, StoreFault::Full),
            (rates.unknown_lost, StoreFault::UnknownLost),
            (rates.unknown_written, StoreFault::UnknownWritten),
        ];
        let fault = kinds.into_iter().find_map(|(rate, fault)| {
            upper += rate;
            (drawn < upper).then_some(fault)
        });
        fault.map(|fault| shared.count(fault))
    }
}

impl Shared {
    fn count(&mut self, fault: StoreFault) -> StoreFault {
        *self.counts.entry(fault).or_default() += 1;
        fault
    }
}

/// The cause of an injected fault.
#[derive(Debug, thiserror::Error)]
#[error("simulated: {}", .0.name())]
struct Simulated(StoreFault);

/// See the module.
pub struct Faulty<T> {
    /// What answers otherwise.
    pub inner: T,
    /// When it does not.
    pub faults: StoreFaults,
}

#[async_trait]
impl<T: Store> Store for Faulty<T> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    async fn is_recovering(&self) -> Answer<bool> {
        self.inner.is_recovering().await
    }

    async fn end_recovery(&self) -> Answer<()> {
        self.inner.end_recovery().await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Answer<Option<Epoch>> {
        match self.faults.of_read() {
            Some(fault) => Err(StoreError::Unavailable(Simulated(fault).into())),
            None => self.inner.claim(shard, member).await,
        }
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        let Some(fault) = self.faults.of_commit() else {
            return self.inner.commit(shard, epoch, batch).await;
        };
        match fault {
            StoreFault::Away => Err(StoreError::Unavailable(Simulated(fault).into())),
            StoreFault::Full => Err(StoreError::Full(Simulated(fault).into())),
            StoreFault::UnknownLost => Err(StoreError::OutcomeUnknown(Simulated(fault).into())),
            StoreFault::UnknownWritten => {
                self.inner.commit(shard, epoch, batch).await?;
                Err(StoreError::OutcomeUnknown(Simulated(fault).into()))
            }
        }
    }

    async fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> Answer<Vec<Row>> {
        match self.faults.of_read() {
            Some(fault) => Err(StoreError::Unavailable(Simulated(fault).into())),
            None => self.inner.scan(shard, table, after, limit).await,
        }
    }

    async fn get(&self, table: Table, key: &str) -> Answer<Option<Row>> {
        // An engine that cannot read a commit back counts itself as fenced.
        match self.faults.of_read().filter(|_| FENCED_ENGINES_STOP) {
            Some(fault) => Err(StoreError::Unavailable(Simulated(fault).into())),
            None => self.inner.get(table, key).await,
        }
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Answer<()> {
        self.inner.beat(member, lease).await
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        self.inner.leave(member).await
    }

    async fn members(&self) -> Answer<Vec<Member>> {
        self.inner.members().await
    }

    async fn shards(&self) -> Answer<Vec<Shard>> {
        self.inner.shards().await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        self.inner.release(shard, epoch).await
    }

    async fn once(&self, key: &str, value: &str) -> Answer<String> {
        self.inner.once(key, value).await
    }
}
