//! Reaping of orphans: every process whose parent dies becomes a child of PID 1. Children that somebody waits for are
//! left to whoever waits: they are told by a claim, or by being gone within [`GRACE_MS`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::clock::Clock;

/// A dead child that nobody waited for during so long is nobody's.
pub const GRACE_MS: u64 = 5_000;

/// Children looked at in one round.
const CHILDREN_MAX: usize = 32_768;

/// Which dead children are to be reaped. Pure.
#[derive(Debug, Default)]
pub struct Reaper {
    first_seen_ms: BTreeMap<i32, u64>,
}

impl Reaper {
    /// The dead children that are nobody's, given all dead children and those claimed.
    pub fn orphans(&mut self, now_ms: u64, dead: &BTreeSet<i32>, claimed: &BTreeSet<i32>) -> Vec<i32> {
        self.first_seen_ms
            .retain(|pid, _| dead.contains(pid) && !claimed.contains(pid));
        for pid in dead.difference(claimed) {
            self.first_seen_ms.entry(*pid).or_insert(now_ms);
        }
        let due = self
            .first_seen_ms
            .iter()
            .filter(|(_, seen_ms)| now_ms - **seen_ms >= GRACE_MS);
        due.map(|(pid, _)| *pid).collect()
    }

    fn waits(&self) -> bool {
        !self.first_seen_ms.is_empty()
    }
}

/// Reaps orphans for as long as the process lives. A child that `is_claimed` keeps its exit status for whoever waits
/// for it, however late.
pub async fn reap_orphans(clock: Arc<dyn Clock>, is_claimed: fn(i32) -> bool) {
    let mut child_died = match signal(SignalKind::child()) {
        Ok(stream) => stream,
        Err(error) => return tracing::error!(%error, "orphans are not reaped"),
    };
    let mut reaper = Reaper::default();
    loop {
        let dead = dead_children();
        let claimed = dead.iter().copied().filter(|pid| is_claimed(*pid)).collect();
        for pid in reaper.orphans(clock.boot_ms(), &dead, &claimed) {
            // Whoever was quicker has it.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        if reaper.waits() {
            sleep(Duration::from_millis(GRACE_MS)).await;
        } else if child_died.recv().await.is_none() {
            return;
        }
    }
}

fn dead_children() -> BTreeSet<i32> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let mut dead = BTreeSet::new();
    for list in lists {
        let children = list
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .take(CHILDREN_MAX);
        dead.extend(children.filter(|pid| is_dead(Pid::from_raw(*pid))));
    }
    dead
}

/// Looks without taking the exit status away.
fn is_dead(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(
        waitid(Id::Pid(pid), flags),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pids: &[i32]) -> BTreeSet<i32> {
        pids.iter().copied().collect()
    }

    #[test]
    fn an_orphan_is_reaped_after_its_grace() {
        let mut reaper = Reaper::default();
        assert!(reaper.orphans(0, &set(&[7]), &set(&[])).is_empty());
        assert!(reaper.orphans(GRACE_MS - 1, &set(&[7]), &set(&[])).is_empty());
        assert_eq!(reaper.orphans(GRACE_MS, &set(&[7]), &set(&[])), [7]);
    }

    #[test]
    fn a_claimed_child_is_never_reaped_and_has_its_grace_once_it_is_released() {
        let mut reaper = Reaper::default();
        for now_ms in [0, GRACE_MS, 10 * GRACE_MS] {
            assert!(reaper.orphans(now_ms, &set(&[7]), &set(&[7])).is_empty());
        }
        assert!(reaper.orphans(10 * GRACE_MS, &set(&[7]), &set(&[])).is_empty());
        assert_eq!(reaper.orphans(11 * GRACE_MS, &set(&[7]), &set(&[])), [7]);
    }

    #[test]
    fn a_child_that_its_parent_waited_for_is_forgotten() {
        let mut reaper = Reaper::default();
        reaper.orphans(0, &set(&[7]), &set(&[]));
        assert!(reaper.orphans(1, &set(&[]), &set(&[])).is_empty());
        // The kernel gave its number to another.
        assert!(reaper.orphans(GRACE_MS, &set(&[7]), &set(&[])).is_empty());
    }

    #[test]
    fn a_dead_child_is_seen_and_its_status_stays() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "exit 3"])
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Blocks until it is dead, without taking its status.
        waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert!(dead_children().contains(&pid));
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}
