//! The frequency of the processor's time stamp counter. An emulated machine counts with its host's counter, and the
//! small board has no other clock to measure it by: on a busy host its kernel fails at that and never boots. So the
//! frequency is measured here and told to the guest.
#![expect(
    unsafe_code,
    reason = "the counter is read by an instruction that the standard library marks unsafe"
)]

use std::fs;
use std::time::{Duration, Instant};

/// Each measurement takes so long.
const MEASUREMENT: Duration = Duration::from_millis(20);
/// Measurements must agree: of so many, all within [`DEVIATION_MAX_PPM`].
const MEASUREMENTS: usize = 3;
/// More than this, and the counter cannot be trusted.
const DEVIATION_MAX_PPM: u64 = 500;
/// A reading is tried so often for one that nothing interrupted.
const READINGS: usize = 16;

/// The frequency in kHz, where the counter runs steadily: never stopped, never scaled, the same on every processor.
pub(crate) fn khz() -> Option<u64> {
    let steady = |cpuinfo: &str| {
        ["constant_tsc", "nonstop_tsc"]
            .iter()
            .all(|flag| has_flag(cpuinfo, flag))
    };
    if !steady(&fs::read_to_string("/proc/cpuinfo").ok()?) {
        return None;
    }
    let measured: Option<Vec<u64>> = (0..MEASUREMENTS).map(|_| measure()).collect();
    agreed(&measured?)
}

/// The median, if all are close to it.
fn agreed(measured: &[u64]) -> Option<u64> {
    let mut sorted = measured.to_vec();
    sorted.sort_unstable();
    let median = *sorted.get(sorted.len() / 2)?;
    let most = median.saturating_mul(DEVIATION_MAX_PPM) / 1_000_000;
    sorted
        .iter()
        .all(|khz| khz.abs_diff(median) <= most)
        .then_some(median)
        .filter(|khz| *khz > 0)
}

fn has_flag(cpuinfo: &str, flag: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|word| word == flag))
}

fn measure() -> Option<u64> {
    let (start, first) = reading();
    std::thread::sleep(MEASUREMENT);
    let (end, last) = reading();
    let ticks = u128::from(last.checked_sub(first)?);
    let nanoseconds = end.checked_duration_since(start)?.as_nanos();
    u64::try_from(ticks.checked_mul(1_000_000)?.checked_div(nanoseconds)?).ok()
}

/// A time with the counter's value at it: of several readings the least disturbed one.
fn reading() -> (Instant, u64) {
    let read = || {
        let before = Instant::now();
        let ticks = counter();
        (before.elapsed(), before, ticks)
    };
    let (_, time, ticks) = (0..READINGS)
        .map(|_| read())
        .min()
        .expect("there is more than one reading");
    (time, ticks)
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor, reads a register, and touches no memory.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Elsewhere there is no such counter: it seems to stand still, which is no frequency.
#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_that_disagree_are_not_believed() {
        assert_eq!(agreed(&[2_596_100, 2_596_134, 2_596_200]), Some(2_596_134));
        assert_eq!(agreed(&[2_596_100, 2_596_134, 2_700_000]), None);
        assert_eq!(agreed(&[0, 0, 0]), None);
        assert_eq!(agreed(&[]), None);
    }

    #[test]
    fn flags_are_whole_words() {
        let cpuinfo = "model name : x\nflags\t\t: fpu tsc_known nonstop_tsc\n";
        assert!(has_flag(cpuinfo, "nonstop_tsc"));
        assert!(!has_flag(cpuinfo, "tsc"));
    }
}
