//! What the machine and the agent use, from /proc. Reads only; a field that cannot be read is 0.

use std::fs::read_to_string;

/// Ticks of processor time in /proc/stat, per second: the same on every x86-64 and arm64 kernel.
const TICKS_PER_SECOND: u64 = 100;

/// Bytes of a page in /proc/self/statm, in KiB.
const PAGE_KIB: u64 = 4;

/// What the machine uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MachineUsage {
    /// Resident memory of this process, in KiB.
    pub agent_rss_kib: u64,
    /// Memory that is not available, in MiB.
    pub memory_used_mib: u32,
    /// Processor time used since boot, in ms.
    pub cpu_used_ms: u64,
}

/// Reads all of it.
pub fn machine_usage() -> MachineUsage {
    let read = |path| read_to_string(path).unwrap_or_default();
    MachineUsage {
        agent_rss_kib: resident_kib(&read("/proc/self/statm")),
        memory_used_mib: used_mib(&read("/proc/meminfo")),
        cpu_used_ms: used_cpu_ms(&read("/proc/stat")),
    }
}

fn resident_kib(statm: &str) -> u64 {
    statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * PAGE_KIB
}

fn used_mib(meminfo: &str) -> u32 {
    let kib = |name: &str| -> u64 {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    let used_kib = kib("MemTotal").saturating_sub(kib("MemAvailable"));
    u32::try_from(used_kib / 1024).unwrap_or(u32::MAX)
}

/// All columns of the first line but idle and iowait; guests' time is in user time already.
fn used_cpu_ms(stat: &str) -> u64 {
    let line = stat
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .unwrap_or_default();
    let columns: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .filter_map(|column| column.parse().ok())
        .collect();
    let busy = columns
        .iter()
        .enumerate()
        .filter(|(column, _)| *column != 3 && *column != 4);
    busy.map(|(_, ticks)| ticks).sum::<u64>() * 1000 / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_units() {
        assert_eq!(resident_kib("5000 700 300 1 0 200 0\n"), 2_800);
        assert_eq!(
            used_mib("MemTotal:  262144 kB\nMemFree: 1 kB\nMemAvailable:  131072 kB\n"),
            128
        );
        assert_eq!(used_cpu_ms("cpu  10 2 8 1000 50 1 1 3 9 9\ncpu0 1\n"), 250);
    }

    #[test]
    fn what_cannot_be_read_is_zero() {
        assert_eq!((resident_kib(""), used_mib(""), used_cpu_ms("")), (0, 0, 0));
    }

    #[test]
    fn this_process_has_a_size() {
        assert!(machine_usage().agent_rss_kib > 0);
    }
}
