//! Things that happen at a time, in time order; those of one moment in the order of their scheduling.
//!
//! Knows no clock: whoever asks says what time it is. Used by the world.

use std::collections::BTreeMap;

use isobar_engine_model::quantity::Timestamp;

/// What is going to happen.
pub(crate) struct Schedule<T> {
    entries: BTreeMap<(Timestamp, u64), T>,
    added: u64,
}

impl<T> Schedule<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            added: 0,
        }
    }

    pub(crate) fn add(&mut self, at: Timestamp, what: T) {
        self.added += 1;
        self.entries.insert((at, self.added), what);
    }

    /// When the next thing happens.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the first thing that has happened by `now`, with its time.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, T)> {
        let first = self.entries.first_entry().filter(|first| first.key().0 <= now)?;
        let ((at, _), what) = first.remove_entry();
        Some((at, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_and_the_rest_stays() {
        let mut schedule = Schedule::new();
        for (at, what) in [(20, "c"), (10, "a"), (10, "b"), (30, "d")] {
            schedule.add(Timestamp(at), what);
        }
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take_due(Timestamp(20)))
            .map(|(at, w)| (at.0, w))
            .collect();
        assert_eq!(taken, [(10, "a"), (10, "b"), (20, "c")]);
        assert_eq!(schedule.next(), Some(Timestamp(30)));
    }
}
