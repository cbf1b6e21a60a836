//! A time that only jumps: a sleep takes no time and moves the clock by its length.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::Clock;

/// The time in ms.
pub(crate) struct JumpingClock(AtomicU64);

impl JumpingClock {
    /// It is `start` now.
    pub(crate) fn at(start: Timestamp) -> Self {
        Self(AtomicU64::new(start.0))
    }
}

#[async_trait]
impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, pause: Duration) {
        self.0
            .fetch_add(u64::try_from(pause.as_millis()).unwrap(), Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}
