//! A bound on how many calls an account makes: for each account, region and kind of call a gate that lets one through after
//! another, at a rate that follows what the provider takes.
//!
//! A provider that says "too many calls" closes the gate for as long as it asked, for everybody, and slows it down; calls
//! that go well speed it up again, to its bound and no further. So work that is far too much for an account comes to its
//! end in about the time that the account's limit allows, with few calls in vain. A caller that goes away leaves no gap.

mod pace;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use self::pace::Pace;
use super::layer::{Account, Call, Decorated, Layer, Operation, Sending};
use crate::{Clock, Provider, ProviderError, Result};

/// How many calls an account makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateBounds {
    /// Of each kind and in each region, in the long run, a second; 0 counts as 1.
    pub calls_per_second: u32,
    /// At once, after a rest; 0 counts as 1.
    pub burst_calls: u32,
    /// Waiting at a time; a further call is refused.
    pub queue_calls: u32,
}

impl Default for RateBounds {
    fn default() -> Self {
        Self {
            calls_per_second: 100,
            burst_calls: 20,
            queue_calls: 10_000,
        }
    }
}

/// Lets so many calls through, in the order of their coming.
pub struct RateLimit {
    clock: Arc<dyn Clock>,
    bounds: RateBounds,
    account_settings: &'static [&'static str],
    gates: Mutex<BTreeMap<Place, Arc<Gate>>>,
}

/// What has a gate of its own: an account, a region, a kind of call.
type Place = (Account, String, Operation);

/// Where the calls of one kind to one region of an account pass.
struct Gate {
    pace: Mutex<Pace>,
    /// Whoever is at the head of the queue. Fair: in the order of their coming.
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicU32,
}

/// A place in the queue, for as long as it lives.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl RateLimit {
    /// `provider` with gates of its own.
    pub fn around(provider: Arc<dyn Provider>, clock: Arc<dyn Clock>, bounds: RateBounds) -> Decorated<Self> {
        let account_settings = provider.capabilities().account_settings;
        Decorated::new(
            provider,
            Self {
                clock,
                bounds,
                account_settings,
                gates: Mutex::default(),
            },
        )
    }

    fn gate(&self, call: &Call<'_>) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (
            call.account(self.account_settings),
            call.site.region.clone(),
            call.operation,
        );
        let gate = gates.entry(place).or_insert_with(|| Arc::new(Gate::new(self.bounds)));
        gate.clone()
    }

    /// Returns when it is this call's turn.
    async fn pass(&self, gate: &Gate) -> Result<()> {
        // Whoever finds the gate open and nobody before it is not waiting.
        if let Ok(_turn) = gate.turn.try_lock()
            && gate.pace().pass(self.clock.now()).is_ok()
        {
            return Ok(());
        }
        let ahead = gate.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&gate.waiting);
        if ahead >= self.bounds.queue_calls {
            return Err(ProviderError::RateLimited {
                after: Some(gate.pace().each()),
            });
        }
        let _turn = gate.turn.lock().await;
        loop {
            let passed = gate.pace().pass(self.clock.now());
            match passed {
                Ok(()) => return Ok(()),
                Err(wait) => self.clock.sleep(wait).await,
            }
        }
    }
}

impl Gate {
    fn new(bounds: RateBounds) -> Self {
        Self {
            pace: Mutex::new(Pace::new(bounds.calls_per_second, bounds.burst_calls)),
            turn: tokio::sync::Mutex::new(()),
            waiting: AtomicU32::new(0),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Layer for RateLimit {
    async fn around<'a, T: Send>(
        &self,
        call: Call<'a>,
        send: &(dyn Fn() -> Sending<'a, T> + Send + Sync),
    ) -> Result<T> {
        let gate = self.gate(&call);
        self.pass(&gate).await?;
        let answer = send().await;
        match &answer {
            Err(ProviderError::RateLimited { after }) => {
                gate.pace().slow_down(self.clock.now(), after.unwrap_or(Duration::ZERO));
            }
            Ok(_) | Err(_) => gate.pace().speed_up(),
        }
        answer
    }
}
