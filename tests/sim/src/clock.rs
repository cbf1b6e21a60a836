//! A host's clock: a little before or behind the true time, a little fast or slow.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::Clock;
use isobar_providers_sim::{SIMULATION_EPOCH, TokioClock};

/// A clock that is right runs so many millionths in a millionth.
const RIGHT_PPM: u64 = 1_000_000;
/// By how much a host's clock may go wrong in a millionth.
pub const HOST_SKEW_MAX_PPM: u64 = 500;

/// How wrong a host's clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// Before the true time by so much.
    pub ahead_ms: u64,
    /// Runs so many millionths in a millionth.
    pub ppm: u64,
}

impl Skew {
    /// A clock that is right.
    pub const NONE: Self = Self {
        ahead_ms: 0,
        ppm: RIGHT_PPM,
    };

    /// Half as fast.
    pub fn halved(self) -> Self {
        Self {
            ppm: self.ppm / 2,
            ..self
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct HostClock {
    /// The true time.
    pub inner: TokioClock,
    /// How wrong it is.
    pub skew: Skew,
}

#[async_trait]
impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let true_ms = self.inner.now().since_ms(SIMULATION_EPOCH);
        SIMULATION_EPOCH.plus_ms(self.skew.ahead_ms + true_ms.saturating_mul(self.skew.ppm) / RIGHT_PPM)
    }

    async fn sleep(&self, pause: Duration) {
        let own_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX / RIGHT_PPM);
        let true_us = own_us.min(u64::MAX / RIGHT_PPM).saturating_mul(RIGHT_PPM) / self.skew.ppm;
        self.inner.sleep(Duration::from_micros(true_us)).await;
    }
}
