//! How fast a gate lets calls through: a token bucket whose rate follows what the provider takes. Pure: time comes in.
//!
//! The bucket is one number, the moment at which it is full again, so that it needs no task that fills it.

use std::time::Duration;

use isobar_engine_model::quantity::Timestamp;

/// Micro-seconds in a second.
const SECOND_US: u64 = 1_000_000;
/// The slowest pace, between two calls.
const SLOWEST_EACH_US: u64 = 10 * SECOND_US;
/// Refusals of calls that were under way together slow the gate down once.
const SLOW_DOWN_EVERY_MS: u64 = 1_000;
/// A call that was let in speeds the gate up by this part of its pace at most ...
const SPEED_UP_PART: u64 = 64;
/// ... by this part of it where it was refused before ...
const PROBE_PART: u64 = 1_024;
/// ... and all calls of so long a time together double it at most: less than refusals slow it down in that time, however
/// many calls a provider takes.
const SPEED_UP_TWICE_US: u64 = 8 * SECOND_US;

/// A bucket and its pace.
#[derive(Debug)]
pub(super) struct Pace {
    /// Between two calls, at the best.
    fastest_each_us: u64,
    /// Between two calls, now.
    each_us: u64,
    burst_calls: u64,
    /// When the bucket is full again, in micro-seconds since 1970.
    full_at_us: u64,
    /// Nothing passes before, in micro-seconds since 1970.
    closed_until_us: u64,
    /// Between two calls, when it was refused last: what comes close to it goes on with care. A refusal can cost a pause
    /// of a whole second, in which a bucket fills and stays full.
    refused_each_us: u64,
    slowed: Option<Timestamp>,
    /// Since it slowed down last.
    let_in_calls: u64,
    /// Since it slowed down last.
    refused_calls: u64,
}

impl Pace {
    pub(super) fn new(calls_per_second: u32, burst_calls: u32) -> Self {
        let fastest_each_us = SECOND_US / u64::from(calls_per_second.max(1));
        Self {
            fastest_each_us,
            each_us: fastest_each_us,
            burst_calls: u64::from(burst_calls.max(1)),
            full_at_us: 0,
            closed_until_us: 0,
            refused_each_us: 0,
            slowed: None,
            let_in_calls: 0,
            refused_calls: 0,
        }
    }

    /// One call passes now; or how long it has to wait before it asks again.
    pub(super) fn pass(&mut self, now: Timestamp) -> Result<(), Duration> {
        let now_us = now.0.saturating_mul(1000);
        let burst_us = self.each_us.saturating_mul(self.burst_calls);
        // A clock that jumped back must not keep the gate shut.
        let full_at_us = self.full_at_us.clamp(now_us, now_us.saturating_add(burst_us));
        let next_us = full_at_us.saturating_add(self.each_us);
        let closed_until_us = self.closed_until_us.min(now_us.saturating_add(SLOWEST_EACH_US));
        let open_us = next_us.saturating_sub(burst_us).max(closed_until_us);
        if open_us > now_us {
            return Err(Duration::from_millis((open_us - now_us).div_ceil(1000)));
        }
        self.full_at_us = next_us;
        Ok(())
    }

    /// Between two calls, now.
    pub(super) fn each(&self) -> Duration {
        Duration::from_micros(self.each_us).max(Duration::from_millis(1))
    }

    /// The provider refused a call as one too many, and asked for a pause.
    pub(super) fn slow_down(&mut self, now: Timestamp, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let now_us = now.0.saturating_mul(1000);
        self.closed_until_us = self.closed_until_us.max(now_us.saturating_add(after_us));
        self.refused_calls += 1;
        if self
            .slowed
            .is_some_and(|slowed| now.since_ms(slowed) < SLOW_DOWN_EVERY_MS)
        {
            self.empty(now_us);
            return;
        }
        self.slowed = Some(now);
        self.refused_each_us = self.each_us;
        // Far too fast while most are refused; a little too fast otherwise.
        let is_far = self.refused_calls > self.let_in_calls;
        let slower_us = if is_far { self.each_us } else { self.each_us / 4 };
        self.each_us = self
            .each_us
            .saturating_add(slower_us.max(1))
            .min(SLOWEST_EACH_US.max(self.fastest_each_us));
        self.empty(now_us);
        (self.let_in_calls, self.refused_calls) = (0, 0);
    }

    /// The provider's bucket is empty, whatever ours says, and what fills it during a pause may be less than what would
    /// fill ours: the next call passes after the pause, not at once, and others at their pace.
    fn empty(&mut self, now_us: u64) {
        let next_us = self.closed_until_us.max(now_us.saturating_add(self.each_us));
        let others_us = self.each_us.saturating_mul(self.burst_calls - 1);
        self.full_at_us = next_us.saturating_add(others_us);
    }

    /// A call was let in.
    pub(super) fn speed_up(&mut self) {
        self.let_in_calls += 1;
        let faster_us = self.each_us.saturating_mul(self.each_us) / SPEED_UP_TWICE_US;
        let is_near = self.each_us <= self.refused_each_us;
        let part = if is_near { PROBE_PART } else { SPEED_UP_PART };
        let faster_us = faster_us.min(self.each_us / part).max(1);
        self.each_us = self.each_us.saturating_sub(faster_us).max(self.fastest_each_us);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets a call through as soon as it may; gives the moment.
    fn next(pace: &mut Pace, mut now: Timestamp) -> Timestamp {
        while let Err(wait) = pace.pass(now) {
            now = now.plus_ms(u64::try_from(wait.as_millis()).expect("short"));
        }
        now
    }

    /// A provider that takes so many a second after a burst of its own, in ms.
    struct Takes {
        each_ms: u64,
        burst: u64,
        /// What it asks whoever comes too often to wait.
        pause_ms: u64,
        full_at_ms: u64,
    }

    impl Takes {
        fn takes(&mut self, now: Timestamp) -> bool {
            let next_ms = self.full_at_ms.max(now.0) + self.each_ms;
            let takes = next_ms <= now.0 + self.burst * self.each_ms;
            if takes {
                self.full_at_ms = next_ms;
            }
            takes
        }
    }

    /// Sends until so many went well; gives how many were sent and how long it took, in ms.
    fn send(pace: &mut Pace, provider: &mut Takes, calls: u64) -> (u64, u64) {
        let start = Timestamp(1_000_000);
        let (mut now, mut sent, mut went_well) = (start, 0, 0);
        while went_well < calls {
            now = next(pace, now);
            sent += 1;
            if provider.takes(now) {
                went_well += 1;
                pace.speed_up();
            } else {
                pace.slow_down(now, Duration::from_millis(provider.pause_ms));
            }
        }
        (sent, now.since_ms(start))
    }

    #[test]
    fn a_thousand_calls_at_a_throttle_are_done_in_about_its_time_with_few_in_vain() {
        // Some clouds count the pauses that they ask for in whole seconds.
        let takes = [
            (500, 5, 0),
            (100, 10, 0),
            (50, 10, 0),
            (20, 20, 0),
            (50, 10, 1_000),
            (20, 20, 1_000),
        ];
        for (each_ms, burst, pause_ms) in takes {
            let mut pace = Pace::new(100, 200);
            let mut provider = Takes {
                each_ms,
                burst,
                pause_ms,
                full_at_ms: 0,
            };
            let (sent, took_ms) = send(&mut pace, &mut provider, 1_000);
            assert!(sent < 1_500, "{sent} calls at one in {each_ms} ms");
            assert!(took_ms < 1_000 * each_ms * 5 / 4, "{took_ms} ms at one in {each_ms} ms");
        }
    }

    #[test]
    fn a_pause_that_was_asked_for_is_everybody_s() {
        let mut pace = Pace::new(100, 200);
        let now = Timestamp(1_000_000);
        assert!(pace.pass(now).is_ok());
        pace.slow_down(now, Duration::from_secs(3));
        assert_eq!(pace.pass(now), Err(Duration::from_secs(3)));
        assert!(pace.pass(now.plus_ms(2_999)).is_err());
        assert!(pace.pass(now.plus_ms(3_000)).is_ok());
    }

    #[test]
    fn what_goes_well_is_as_fast_as_before() {
        let mut pace = Pace::new(100, 1);
        pace.slow_down(Timestamp(1_000_000), Duration::ZERO);
        assert_eq!(pace.each(), Duration::from_millis(20));
        for _ in 0..10_000 {
            pace.speed_up();
        }
        assert_eq!(pace.each(), Duration::from_millis(10));
    }

    proptest! {
        #[test]
        fn no_second_sees_more_calls_than_the_burst_and_the_rate(
            calls_per_second in 1u32..50,
            burst_calls in 1u32..20,
            gaps_ms in prop::collection::vec(0u64..200, 1..200),
        ) {
            let mut pace = Pace::new(calls_per_second, burst_calls);
            let mut now = Timestamp(1_000_000);
            let mut sent_ms = Vec::new();
            for gap_ms in gaps_ms {
                now = next(&mut pace, now.plus_ms(gap_ms));
                sent_ms.push(now.0);
            }
            for (first, from_ms) in sent_ms.iter().enumerate() {
                let within = sent_ms[first..].iter().take_while(|ms| **ms < from_ms + 1_000).count();
                // One more, since waits are rounded up to whole milliseconds.
                prop_assert!(within <= (burst_calls + calls_per_second) as usize + 1, "{within} calls in a second");
            }
        }

        #[test]
        fn no_jump_of_the_clock_makes_anyone_wait_for_longer_than_the_slowest_pace(
            steps in prop::collection::vec((0u64..10_000_000, any::<bool>()), 1..100),
        ) {
            let mut pace = Pace::new(10, 2);
            for (now_ms, refused) in steps {
                let now = Timestamp(now_ms);
                match pace.pass(now) {
                    Ok(()) if refused => pace.slow_down(now, Duration::from_secs(1)),
                    Ok(()) => pace.speed_up(),
                    Err(wait) => prop_assert!(wait <= Duration::from_micros(SLOWEST_EACH_US)),
                }
            }
        }
    }
}
