//! The real clock and the real randomness, behind the engine's boundaries. Used where the engine is wired, only.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{Clock, Entropy};
use ring::rand::{SecureRandom, SystemRandom};

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

/// The kernel's random bytes.
#[derive(Debug, Clone)]
pub(crate) struct SystemEntropy(SystemRandom);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

impl SystemEntropy {
    /// The kernel's random bytes.
    pub(crate) fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the kernel always gives random bytes");
    }
}
