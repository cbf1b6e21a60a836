//! Turns answers of the engine into text for people. Pure: the time is an argument, nothing is printed here.

pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod import;
pub(crate) mod leaks;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod recover;
pub(crate) mod table;
pub(crate) mod terraform;

use isobar_engine_model::quantity::Timestamp;

/// How long ago, in the largest unit that says it: `5s`, `3m`, `2h`, `4d`.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> String {
    span(now.since_ms(then) / 1000)
}

/// How long until, or `now`.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> String {
    match then.since_ms(now) / 1000 {
        0 => "now".to_owned(),
        seconds => format!("in {}", span(seconds)),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_use_the_largest_unit_that_says_enough() {
        let at = |seconds: u64| age(Timestamp(seconds * 1000), Timestamp(0));
        assert_eq!(
            [0, 119, 120, 7199, 7200, 172_800].map(at),
            ["0s", "119s", "2m", "119m", "2h", "2d"]
        );
        assert_eq!(age(Timestamp(0), Timestamp(5000)), "0s");
        assert_eq!(until(Timestamp(0), Timestamp(90_000)), "in 90s");
        assert_eq!(until(Timestamp(90_000), Timestamp(0)), "now");
    }
}
