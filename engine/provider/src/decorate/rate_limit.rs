//! A bound on how many calls an account makes: a token bucket, and a queue of bounded length before it.
//!
//! The bucket is one number, the moment at which it is full again, so that it needs no task that fills it. A caller
//! that goes away while it waits leaves its place unused. Shared by all calls through one decorator.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;

use super::layer::{Call, Decorated, Layer, Sending};
use crate::{Clock, Provider, ProviderError, Result};

/// Micro-seconds in a second.
const SECOND_US: u64 = 1_000_000;

/// How many calls an account makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateBounds {
    /// In the long run, a second; 0 counts as 1.
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
            burst_calls: 200,
            queue_calls: 10_000,
        }
    }
}

/// Lets so many calls through, in the order of their coming.
pub struct RateLimit {
    clock: Arc<dyn Clock>,
    bounds: RateBounds,
    /// When the bucket is full again, in micro-seconds since 1970.
    full_at_us: Mutex<u64>,
}

impl RateLimit {
    /// `provider` with a bucket of its own.
    pub fn around(provider: Arc<dyn Provider>, clock: Arc<dyn Clock>, bounds: RateBounds) -> Decorated<Self> {
        Decorated::new(
            provider,
            Self {
                clock,
                bounds,
                full_at_us: Mutex::new(0),
            },
        )
    }

    /// Takes the next place. Gives how long to wait for it, in ms, or for a free place in the queue.
    fn take(&self, now: Timestamp) -> std::result::Result<u64, u64> {
        let each_us = SECOND_US / u64::from(self.bounds.calls_per_second.max(1));
        let burst_us = each_us * u64::from(self.bounds.burst_calls.max(1));
        let queue_us = each_us * u64::from(self.bounds.queue_calls);
        let now_us = now.0.saturating_mul(1000);

        let mut full_at_us = self.full_at_us.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that jumped back must not make anyone wait for longer than the whole queue.
        let longest_us = now_us.saturating_add(burst_us).saturating_add(queue_us);
        let next_us = (*full_at_us).clamp(now_us, longest_us).saturating_add(each_us);
        if next_us > longest_us {
            return Err((next_us - longest_us).div_ceil(1000));
        }
        *full_at_us = next_us;
        Ok(next_us.saturating_sub(now_us.saturating_add(burst_us)).div_ceil(1000))
    }
}

#[async_trait]
impl Layer for RateLimit {
    async fn around<'a, T: Send>(
        &self,
        _call: Call<'a>,
        send: &(dyn Fn() -> Sending<'a, T> + Send + Sync),
    ) -> Result<T> {
        match self.take(self.clock.now()) {
            Ok(0) => {}
            Ok(wait_ms) => self.clock.sleep(Duration::from_millis(wait_ms)).await,
            Err(after_ms) => {
                return Err(ProviderError::RateLimited {
                    after: Some(Duration::from_millis(after_ms)),
                });
            }
        }
        send().await
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::*;

    struct NoClock;

    #[async_trait]
    impl Clock for NoClock {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        async fn sleep(&self, _pause: Duration) {}
    }

    fn limit(bounds: RateBounds) -> RateLimit {
        RateLimit {
            clock: Arc::new(NoClock),
            bounds,
            full_at_us: Mutex::new(0),
        }
    }

    proptest! {
        #[test]
        fn no_second_sees_more_calls_than_the_burst_and_the_rate(
            calls_per_second in 1u32..50,
            burst_calls in 1u32..20,
            gaps_ms in prop::collection::vec(0u64..200, 1..200),
        ) {
            let limit = limit(RateBounds { calls_per_second, burst_calls, queue_calls: 1_000 });
            let mut now = Timestamp(1_000_000);
            let mut sent_ms = Vec::new();
            for gap_ms in gaps_ms {
                now = now.plus_ms(gap_ms);
                let wait_ms = limit.take(now).expect("the queue is longer than the test");
                sent_ms.push(now.0 + wait_ms);
            }
            prop_assert!(sent_ms.is_sorted(), "in the order of their coming");
            for (first, from_ms) in sent_ms.iter().enumerate() {
                let within = sent_ms[first..].iter().take_while(|ms| **ms < from_ms + 1_000).count();
                // One more, since waits are rounded up to whole milliseconds.
                prop_assert!(within <= (burst_calls + calls_per_second) as usize + 1, "{within} calls in a second");
            }
        }

        #[test]
        fn no_jump_of_the_clock_makes_anyone_wait_for_longer_than_the_queue(
            times_ms in prop::collection::vec(0u64..10_000_000, 1..100),
        ) {
            let limit = limit(RateBounds { calls_per_second: 10, burst_calls: 2, queue_calls: 5 });
            for now_ms in times_ms {
                match limit.take(Timestamp(now_ms)) {
                    Ok(wait_ms) => prop_assert!(wait_ms <= 500),
                    Err(after_ms) => prop_assert!(after_ms <= 100),
                }
            }
        }
    }
}
