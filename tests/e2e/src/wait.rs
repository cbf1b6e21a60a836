//! Waiting for something to become true, within a bound. Says what it saw last when it does not.

use std::thread;
use std::time::{Duration, Instant};

/// What an engine without machines needs at most to do anything.
pub const SOON: Duration = Duration::from_secs(30);
/// What a machine needs at most to boot, in software, beside others.
pub const BOOT: Duration = Duration::from_secs(240);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until `look` gives something, and returns it. `Err` of a look says what is there instead.
///
/// # Panics
///
/// When `bound` has passed, with `what` and what the last look said.
pub fn within<T>(bound: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) if begun.elapsed() > bound => {
                panic!("not within {} s: {what}; last seen: {instead}", bound.as_secs())
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
