//! The node's lease on its own life: invariant 6. Counts on CLOCK_BOOTTIME from the moment a renewal was *sent*, so
//! that the engine, which counts from the moment it was received, never believes it shorter. [`Lease`] is pure;
//! [`LeaseKeeper`] shares it and tells whoever must stop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isobar_node_image_protocol::watch;

use crate::clock::{Clock, millis};

/// How often a node without a lease asks for one.
pub const RENEW_UNLEASED_EVERY: Duration = Duration::from_secs(5);

/// How long a node that was never given a lease waits for one before it powers off.
pub const ABANDON_UNLEASED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Renewals under way whose answers still count; older ones are forgotten.
const RENEWALS_UNDER_WAY_MAX: usize = 64;

/// The shortest pause between two renewals, whatever lease is granted.
const RENEW_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest time between two looks at the clock, which runs on while the machine is suspended.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// What a node may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No lease was granted yet: everything but what is fenced may run.
    Unleased,
    /// Everything may run.
    Leased,
    /// What is fenced must not run; the rest serves on.
    Lapsed,
    /// Power off for good.
    Abandoned,
}

/// One node's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    next_sequence: u64,
    /// Sequence and boot time of each renewal sent, oldest first.
    under_way: VecDeque<(u64, u64)>,
    term: Term,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    None {
        abandoned_ms: u64,
    },
    Granted {
        ends_ms: u64,
        valid_ms: u64,
        abandoned_ms: u64,
    },
}

impl Lease {
    /// No lease yet, at boot time `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        let abandoned_ms = now_ms.saturating_add(millis(ABANDON_UNLEASED_AFTER));
        Self {
            next_sequence: 1,
            under_way: VecDeque::new(),
            term: Term::None { abandoned_ms },
        }
    }

    /// A renewal is about to be sent: its sequence.
    pub fn renew(&mut self, now_ms: u64) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        if self.under_way.len() == RENEWALS_UNDER_WAY_MAX {
            self.under_way.pop_front();
        }
        self.under_way.push_back((sequence, now_ms));
        sequence
    }

    /// The engine answers a renewal. False: the answer is to none that is under way, and counts for nothing.
    pub fn granted(&mut self, sequence: u64, valid_ms: u64, abandon_after_ms: u64) -> bool {
        let Some(&(_, sent_ms)) = self.under_way.iter().find(|(under_way, _)| *under_way == sequence) else {
            return false;
        };
        self.under_way.retain(|(under_way, _)| *under_way > sequence);
        let ends_ms = sent_ms.saturating_add(valid_ms);
        let abandoned_ms = ends_ms.saturating_add(abandon_after_ms);
        self.term = Term::Granted {
            ends_ms,
            valid_ms,
            abandoned_ms,
        };
        true
    }

    /// What the node may do at `now_ms`.
    pub fn standing(&self, now_ms: u64) -> Standing {
        match self.term {
            Term::None { abandoned_ms } | Term::Granted { abandoned_ms, .. } if now_ms >= abandoned_ms => {
                Standing::Abandoned
            }
            Term::None { .. } => Standing::Unleased,
            Term::Granted { ends_ms, .. } if now_ms >= ends_ms => Standing::Lapsed,
            Term::Granted { .. } => Standing::Leased,
        }
    }

    /// How long until the standing may change by itself.
    pub fn changes_in(&self, now_ms: u64) -> Duration {
        let change_ms = match self.term {
            Term::None { abandoned_ms } => abandoned_ms,
            Term::Granted {
                ends_ms, abandoned_ms, ..
            } => {
                if now_ms < ends_ms {
                    ends_ms
                } else {
                    abandoned_ms
                }
            }
        };
        Duration::from_millis(change_ms.saturating_sub(now_ms))
    }

    /// The pause between two renewals: a third of the lease.
    pub fn renew_every(&self) -> Duration {
        match self.term {
            Term::None { .. } => RENEW_UNLEASED_EVERY,
            Term::Granted { valid_ms, .. } => Duration::from_millis(valid_ms / 3).max(RENEW_PAUSE_MIN),
        }
    }
}

/// The lease that session, supervisor and power-off share.
pub struct LeaseKeeper {
    lease: Mutex<Lease>,
    standing: watch::Sender<Standing>,
    clock: Arc<dyn Clock>,
}

impl LeaseKeeper {
    /// No lease yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let lease = Lease::new(clock.boot_ms());
        Self {
            lease: Mutex::new(lease),
            standing: watch::Sender::new(Standing::Unleased),
            clock,
        }
    }

    /// A renewal is about to be sent: its sequence.
    pub fn renew(&self) -> u64 {
        self.lock().renew(self.clock.boot_ms())
    }

    /// The engine answers a renewal; see [`Lease::granted`].
    pub fn granted(&self, sequence: u64, valid_ms: u64, abandon_after_ms: u64) -> bool {
        let counts = self.lock().granted(sequence, valid_ms, abandon_after_ms);
        self.publish();
        counts
    }

    /// The pause between two renewals.
    pub fn renew_every(&self) -> Duration {
        self.lock().renew_every()
    }

    /// The standing now and every change of it.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Publishes every change of standing; returns when the node is abandoned.
    pub async fn keep(&self) {
        while self.publish() != Standing::Abandoned {
            let wait = self.lock().changes_in(self.clock.boot_ms()).min(LOOK_EVERY_MAX);
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    fn publish(&self) -> Standing {
        let now_ms = self.clock.boot_ms();
        let standing = self.lock().standing(now_ms);
        self.standing
            .send_if_modified(|published| std::mem::replace(published, standing) != standing);
        standing
    }

    fn lock(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TokioClock;

    const DAY_MS: u64 = 24 * 3_600_000;

    #[test]
    fn a_lease_counts_from_the_sending_of_its_renewal() {
        let mut lease = Lease::new(0);
        let sequence = lease.renew(1_000);
        // The answer took four of the nine seconds.
        assert!(lease.granted(sequence, 9_000, DAY_MS));
        assert_eq!(lease.standing(9_999), Standing::Leased);
        assert_eq!(lease.standing(10_000), Standing::Lapsed);
        assert_eq!(lease.standing(10_000 + DAY_MS), Standing::Abandoned);
        assert_eq!(lease.renew_every(), Duration::from_secs(3));
    }

    #[test]
    fn an_answer_to_nothing_that_was_asked_counts_for_nothing() {
        let mut lease = Lease::new(0);
        assert!(!lease.granted(1, 9_000, DAY_MS));
        let sequence = lease.renew(0);
        assert!(!lease.granted(sequence + 1, 9_000, DAY_MS));
        assert_eq!(lease.standing(1), Standing::Unleased);
    }

    #[test]
    fn an_answer_counts_once_and_a_late_one_never_shortens() {
        let mut lease = Lease::new(0);
        let (first, second) = (lease.renew(0), lease.renew(3_000));
        assert!(lease.granted(second, 9_000, DAY_MS));
        assert!(!lease.granted(first, 9_000, DAY_MS));
        assert!(!lease.granted(second, 900_000, DAY_MS));
        assert_eq!(lease.standing(11_999), Standing::Leased);
        assert_eq!(lease.standing(12_000), Standing::Lapsed);
    }

    #[test]
    fn a_renewed_lease_serves_again_after_a_lapse() {
        let mut lease = Lease::new(0);
        let first = lease.renew(0);
        lease.granted(first, 9_000, DAY_MS);
        assert_eq!(lease.standing(20_000), Standing::Lapsed);
        let second = lease.renew(20_000);
        lease.granted(second, 9_000, DAY_MS);
        assert_eq!(lease.standing(20_001), Standing::Leased);
    }

    #[test]
    fn a_node_that_never_had_a_lease_is_abandoned_after_a_day() {
        let lease = Lease::new(5_000);
        assert_eq!(lease.standing(5_000 + DAY_MS - 1), Standing::Unleased);
        assert_eq!(lease.standing(5_000 + DAY_MS), Standing::Abandoned);
    }

    #[test]
    fn renewals_under_way_have_a_bound() {
        let mut lease = Lease::new(0);
        for now_ms in 0..1_000 {
            lease.renew(now_ms);
        }
        assert_eq!(lease.under_way.len(), RENEWALS_UNDER_WAY_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_watches_hears_of_lapse_and_abandonment_on_time() {
        let clock = TokioClock::start();
        let keeper = LeaseKeeper::new(clock.clone());
        let mut watch = keeper.watch();
        let sequence = keeper.renew();
        keeper.granted(sequence, 9_000, 60_000);
        assert_eq!(*watch.borrow_and_update(), Standing::Leased);
        let observe = async {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                watch.changed().await.unwrap();
                seen.push((*watch.borrow_and_update(), clock.boot_ms()));
            }
            seen
        };
        let ((), seen) = tokio::join!(keeper.keep(), observe);
        assert_eq!(seen, [(Standing::Lapsed, 9_000), (Standing::Abandoned, 69_000)]);
    }
}
