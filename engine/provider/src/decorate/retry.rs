//! The same call again, where its error says that this is what to do.
//!
//! Never after an unknown outcome or a conflict: finding out is the engine's, which has the journal. Sits outside the
//! rate limit, so that a retry takes a place like any other call.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::layer::{Call, Decorated, Layer, Sending};
use crate::error::Next;
use crate::{Clock, Entropy, Provider, ProviderError, Result};

/// How often and for how long a call is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBounds {
    /// Sendings in all, the first included.
    pub attempts: u32,
    /// From the first sending to the last, in ms.
    pub total_ms: u64,
    /// The pause before the second sending, in ms; each further one is twice as long.
    pub first_pause_ms: u64,
    /// The longest pause, in ms, unless the provider asks for a longer one.
    pub longest_pause_ms: u64,
}

impl Default for RetryBounds {
    fn default() -> Self {
        Self {
            attempts: 6,
            total_ms: 60_000,
            first_pause_ms: 100,
            longest_pause_ms: 10_000,
        }
    }
}

/// Sends again what may be sent again.
pub struct Retry {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    bounds: RetryBounds,
}

impl Retry {
    /// `provider` with retries.
    pub fn around(
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        bounds: RetryBounds,
    ) -> Decorated<Self> {
        Decorated::new(provider, Self { clock, entropy, bounds })
    }

    /// The pause after the `sent`-th sending: between half and all of a doubling bound, so that callers who failed
    /// together do not come back together; never shorter than the provider asked for.
    fn pause_ms(&self, sent: u32, error: &ProviderError) -> u64 {
        let doublings = sent.saturating_sub(1).min(20);
        let bound_ms = self
            .bounds
            .first_pause_ms
            .saturating_mul(1 << doublings)
            .min(self.bounds.longest_pause_ms);
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        let jittered_ms = bound_ms / 2 + u64::from_le_bytes(bytes) % (bound_ms / 2 + 1);
        jittered_ms.max(asked_for_ms(error))
    }
}

#[async_trait]
impl Layer for Retry {
    async fn around<'a, T: Send>(
        &self,
        call: Call<'a>,
        send: &(dyn Fn() -> Sending<'a, T> + Send + Sync),
    ) -> Result<T> {
        let started = self.clock.now();
        let mut sent = 0;
        loop {
            let answer = send().await;
            sent += 1;
            let Err(error) = &answer else { return answer };
            match error.next() {
                Next::Again if sent < self.bounds.attempts => {}
                Next::Again | Next::FindOut | Next::Fallback | Next::GiveUp => return answer,
            }
            let pause_ms = self.pause_ms(sent, error);
            let spent_ms = self.clock.now().since_ms(started);
            if spent_ms.saturating_add(pause_ms) > self.bounds.total_ms {
                return answer;
            }
            tracing::debug!(
                operation = call.operation.name(),
                kind = error.kind(),
                sent,
                pause_ms,
                "sending again"
            );
            self.clock.sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}

fn asked_for_ms(error: &ProviderError) -> u64 {
    match error {
        ProviderError::RateLimited { after: Some(after) } => u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        ProviderError::RateLimited { after: None }
        | ProviderError::InvalidSpec { .. }
        | ProviderError::Unauthorized { .. }
        | ProviderError::NotFound
        | ProviderError::Gone
        | ProviderError::Conflict { .. }
        | ProviderError::QuotaExceeded { .. }
        | ProviderError::InsufficientCapacity { .. }
        | ProviderError::NotReady { .. }
        | ProviderError::Unsupported { .. }
        | ProviderError::OutcomeUnknown { .. }
        | ProviderError::Unavailable { .. }
        | ProviderError::Unexpected { .. } => 0,
    }
}
