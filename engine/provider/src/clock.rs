//! Time and randomness as boundaries: real ones where the binary is wired, simulated ones in tests.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;

/// The time, and waiting for it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now. May jump; only ever compared with bounds that tolerate it.
    fn now(&self) -> Timestamp;

    /// Returns after `pause`. Cancel-safe.
    async fn sleep(&self, pause: Duration);
}

/// Unpredictable bytes: ids, keys, jitter.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}
