//! A store that fails: it does not answer, has no room, or does not say whether it wrote.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isobar_engine_store::memory::Request;
use isobar_engine_store::{Store, StoreError};
use tokio::time::Instant;

use crate::around::{Answer, StoreLayer};
use crate::dice::Dice;

/// How often a store fails, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreRates {
    /// Calls that are not answered and do nothing.
    pub away: u64,
    /// Writes for which there is no room.
    pub full: u64,
    /// Writes of unknown outcome that wrote nothing.
    pub unknown_lost: u64,
    /// Writes of unknown outcome that wrote everything.
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
    /// One process was cut off from it.
    CutOff,
}

impl StoreFault {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Away,
        Self::Full,
        Self::UnknownLost,
        Self::UnknownWritten,
        Self::CutOff,
    ];

    /// Its name in the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Self::Away => "store_away",
            Self::Full => "store_full",
            Self::UnknownLost => "store_unknown_lost",
            Self::UnknownWritten => "store_unknown_written",
            Self::CutOff => "store_cut_off",
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
    healed: bool,
}

/// When a process is cut off from its store, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutOff {
    /// From then on.
    pub from: Duration,
    /// Until then.
    pub until: Duration,
}

impl StoreFaults {
    /// From now on.
    pub fn new(seed: u64, rates: StoreRates) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            rates,
            dice: Dice::new(seed, "store"),
            counts: BTreeMap::new(),
            healed: false,
        })))
    }

    /// From now on nothing goes wrong any more.
    pub fn stop(&self) {
        let mut shared = self.lock();
        shared.rates = StoreRates::default();
        shared.healed = true;
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

    fn of_write(&self) -> Option<StoreFault> {
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
    /// Whether this process reaches it.
    pub reach: Reach,
}

/// Whether a process reaches its store. A clone is the same process's.
#[derive(Clone)]
pub struct Reach {
    faults: StoreFaults,
    cut: Option<CutOff>,
    began: Instant,
}

impl Reach {
    /// From now on, but for this cut.
    pub fn new(faults: StoreFaults, cut: Option<CutOff>) -> Self {
        Self {
            faults,
            cut,
            began: Instant::now(),
        }
    }

    /// Whether it does not now.
    pub fn is_cut(&self) -> bool {
        let within = |cut: CutOff| (cut.from..cut.until).contains(&self.began.elapsed());
        self.cut.is_some_and(within) && !self.faults.lock().healed
    }

    fn fault(&self) -> Option<StoreFault> {
        self.is_cut().then(|| self.faults.lock().count(StoreFault::CutOff))
    }
}

impl<T: Store> StoreLayer for Faulty<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.inner
    }

    async fn call<A: Send>(&self, request: Request<'_>, doing: impl Future<Output = Answer<A>> + Send) -> Answer<A> {
        let fault = self.reach.fault().or_else(|| match request {
            Request::Commit(..)
            | Request::Beat(_)
            | Request::Leave(_)
            | Request::Claim(_)
            | Request::Release(_)
            | Request::Once(_)
            | Request::EndRecovery => self.faults.of_write(),
            Request::Scan(_) | Request::Get(_) | Request::Members | Request::Shards | Request::IsRecovering => {
                self.faults.of_read()
            }
        });
        let Some(fault) = fault else { return doing.await };
        match fault {
            StoreFault::Away | StoreFault::CutOff => Err(StoreError::Unavailable(Simulated(fault).into())),
            StoreFault::Full => Err(StoreError::Full(Simulated(fault).into())),
            StoreFault::UnknownLost => Err(StoreError::OutcomeUnknown(Simulated(fault).into())),
            StoreFault::UnknownWritten => {
                doing.await?;
                Err(StoreError::OutcomeUnknown(Simulated(fault).into()))
            }
        }
    }
}
