//! Growing pauses with a bound. Pure: the caller sleeps and brings the randomness.

use std::time::Duration;

/// Pauses that double from `first` to `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    doublings: u32,
}

impl Backoff {
    /// Starts at `first`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            doublings: 0,
        }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.doublings).unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(factor).min(self.max);
        if pause < self.max {
            self.doublings += 1;
        }
        pause
    }

    /// Back to the first pause.
    pub fn reset(&mut self) {
        self.doublings = 0;
    }
}

/// Between half of a pause and all of it, so that nodes that failed together do not come back together.
pub fn jittered(pause: Duration, random: u32) -> Duration {
    let half = pause / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut pauses: Vec<_> = (0..6).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        pauses = vec![backoff.pause().as_millis()];
        assert_eq!(pauses, [100]);
    }

    #[test]
    fn jitter_keeps_at_least_half_and_never_adds() {
        let pause = Duration::from_millis(200);
        assert_eq!(jittered(pause, 0), Duration::from_millis(100));
        assert_eq!(jittered(pause, u32::MAX), pause);
    }
}
