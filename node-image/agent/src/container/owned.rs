//! Which children of this process belong to the container runtime: it waits for them itself, by pidfd, so that whoever
//! reaps orphans has to leave them alone. Process-wide, as children are.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

static PIDS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child that the runtime waits for, until dropped.
#[derive(Debug)]
pub(crate) struct Owned(i32);

impl Owned {
    /// To be taken before the child can end: while it waits for a message from us.
    pub(crate) fn new(pid: i32) -> Self {
        pids().insert(pid);
        Self(pid)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        pids().remove(&self.0);
    }
}

/// Whether the runtime waits for this child. A reaper of orphans asks before each wait, and skips it.
pub fn is_owned(pid: i32) -> bool {
    pids().contains(&pid)
}

fn pids() -> MutexGuard<'static, BTreeSet<i32>> {
    // An insert or remove that panicked has left the set whole.
    PIDS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_owned_until_its_guard_goes() {
        let never_a_pid = -7;
        assert!(!is_owned(never_a_pid));
        let guard = Owned::new(never_a_pid);
        assert!(is_owned(never_a_pid));
        drop(guard);
        assert!(!is_owned(never_a_pid));
    }
}
