//! [`Clock`] over tokio's timers: virtual where the runtime is paused, real elsewhere.
//!
//! Never reads the wall clock: time starts at a fixed moment, so that a run does not depend on the day. Used by tests
//! and by simulations.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::Clock;
use tokio::time::Instant;

/// Where simulated time starts: 2026-01-01T00:00:00Z.
pub const SIMULATION_EPOCH: Timestamp = Timestamp(1_767_225_600_000);

/// Time as tokio counts it, from a fixed start.
#[derive(Debug, Clone)]
pub struct TokioClock {
    epoch: Timestamp,
    started: Instant,
}

impl TokioClock {
    /// It is [`SIMULATION_EPOCH`] now.
    pub fn new() -> Self {
        Self::starting_at(SIMULATION_EPOCH)
    }

    /// It is `epoch` now.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self {
            epoch,
            started: Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.epoch
            .plus_ms(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleep_moves_virtual_time_by_its_length() {
        let clock = TokioClock::new();
        assert_eq!(clock.now(), SIMULATION_EPOCH);
        clock.sleep(Duration::from_secs(86_400)).await;
        assert_eq!(clock.now().since_ms(SIMULATION_EPOCH), 86_400_000);
    }
}
