//! Time since boot, as the lease counts it. The only door to CLOCK_BOOTTIME; everything that decides by it takes a
//! [`Clock`].

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the kernel started, suspend included.
pub trait Clock: Send + Sync {
    /// Milliseconds since boot; never runs backwards.
    fn boot_ms(&self) -> u64;
}

/// The kernel's CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn boot_ms(&self) -> u64 {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every kernel since 2.6.39 has CLOCK_BOOTTIME");
        millis(Duration::from(now))
    }
}

/// A span in whole milliseconds, as messages carry it.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that follows tokio's, so that a test's paused time moves it.
#[cfg(test)]
pub(crate) struct TokioClock(tokio::time::Instant);

#[cfg(test)]
impl TokioClock {
    pub(crate) fn start() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(tokio::time::Instant::now()))
    }
}

#[cfg(test)]
impl Clock for TokioClock {
    fn boot_ms(&self) -> u64 {
        millis(self.0.elapsed())
    }
}
