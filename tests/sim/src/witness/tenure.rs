//! Checks on who has a shard, and on what is done without a lease.
//!
//! A process counts its lease by its own clock, from before it asked; here it counts by the store's, from when the store
//! granted it. So whoever keeps to its own count keeps to this one, but for what its clock goes wrong meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use isobar_engine_model::id::{ClusterName, Epoch, ShardId, shard_of};
use tokio::time::Instant;

use super::State;
use crate::clock::HOST_SKEW_MAX_PPM;
use crate::invariant::Invariant;

/// What a host's clock goes wrong during a lease, and its rounding.
const LEASE_SKEW_MAX: Duration = Duration::from_millis(10 * HOST_SKEW_MAX_PPM / 1_000 + 2);

/// The last claim of a shard.
struct Claim {
    engine: u64,
    epoch: Epoch,
    released: bool,
}

/// How a shard came to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handovers {
    /// Its holder had given it back, or had left.
    pub given: u64,
    /// Its holder's lease had run out.
    pub taken: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Tenures {
    shards: BTreeMap<ShardId, Claim>,
    /// Until when each process counts as alive. Absent: it is alone, and needs no lease.
    leases: BTreeMap<u64, Instant>,
    /// When a process that stood still last went on.
    woke: BTreeMap<u64, Instant>,
    handovers: Handovers,
}

impl Tenures {
    /// Whether a process has the shard that a cluster is in.
    pub(super) fn has(&self, engine: u64, cluster: &ClusterName) -> bool {
        self.shards
            .get(&shard_of(cluster))
            .is_some_and(|claim| claim.engine == engine)
    }

    pub(super) fn handovers(&self) -> Handovers {
        self.handovers
    }

    pub(super) fn needs_lease(&mut self, engine: u64) {
        self.leases.insert(engine, Instant::now());
    }

    pub(super) fn leased(&mut self, engine: u64, lease: Duration) {
        if let Some(until) = self.leases.get_mut(&engine) {
            *until = Instant::now() + lease;
        }
    }

    pub(super) fn left(&mut self, engine: u64) {
        if let Some(until) = self.leases.get_mut(&engine) {
            *until = Instant::now();
        }
        for claim in self.shards.values_mut().filter(|claim| claim.engine == engine) {
            claim.released = true;
        }
    }

    pub(super) fn released(&mut self, shard: ShardId, epoch: Epoch) {
        if let Some(claim) = self.shards.get_mut(&shard).filter(|claim| claim.epoch == epoch) {
            claim.released = true;
        }
    }

    pub(super) fn woke(&mut self, engine: u64) {
        self.woke.insert(engine, Instant::now());
    }

    /// Since when a process is without a lease.
    fn without_lease(&self, engine: u64) -> Option<Duration> {
        let until = self.leases.get(&engine)?;
        let since = Instant::now().checked_duration_since(*until)?;
        (since > LEASE_SKEW_MAX).then_some(since)
    }
}

impl State {
    pub(super) fn claimed(&mut self, engine: u64, shard: ShardId, epoch: Epoch) {
        self.history
            .note(format_args!("engine {engine}"), format_args!("has shard {shard}"));
        let claim = Claim {
            engine,
            epoch,
            released: false,
        };
        let Some(before) = self.tenures.shards.insert(shard, claim) else {
            return;
        };
        if before.engine == engine {
            return;
        }
        if before.released {
            self.tenures.handovers.given += 1;
            return;
        }
        self.tenures.handovers.taken += 1;
        let lives = self.tenures.leases.get(&before.engine);
        if lives.is_some_and(|until| Instant::now() < *until) {
            let what = format!(
                "engine {engine} takes shard {shard} from engine {}, which lives",
                before.engine
            );
            self.violated(Invariant::Owned, what);
        }
    }

    /// That a commit is of the shard's last claim.
    pub(super) fn holds(&mut self, engine: u64, (shard, epoch): (ShardId, Epoch)) {
        let Some(claim) = self.tenures.shards.get(&shard) else {
            return self.violated(
                Invariant::Fenced,
                format!("engine {engine} commits to {shard}, which nobody has"),
            );
        };
        if (claim.engine, claim.epoch) != (engine, epoch) {
            let what = format!(
                "engine {engine} commits to {shard} in epoch {}, and engine {} has it in epoch {}",
                epoch.0, claim.engine, claim.epoch.0
            );
            self.violated(Invariant::Fenced, what);
        }
    }

    /// That who does something outside for a cluster has its shard and a lease, or stood still between looking at them and
    /// doing it.
    pub(super) fn may_act(&mut self, engine: u64, cluster: &ClusterName, what: &str) {
        let why = match self.tenures.without_lease(engine) {
            Some(since) => format!("its lease ran out {} ms ago", since.as_millis()),
            None if self.tenures.has(engine, cluster) => return,
            None => "another has the shard".to_owned(),
        };
        if self.tenures.woke.get(&engine) == Some(&Instant::now()) {
            let what = format_args!("was frozen before it {what}, and {why}");
            return self.history.note(format_args!("engine {engine}"), what);
        }
        self.violated(Invariant::Leased, format!("engine {engine} {what}, and {why}"));
    }
}
