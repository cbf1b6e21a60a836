//! What an Engine is given besides its boundaries: where nodes find it, its keys, and every bound with its unit.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_model::id::ProviderId;

use crate::authority::Authority;
use crate::births::Births;
use crate::periodic::Pacing;
use crate::vault::KEY_BYTES;

/// What an Engine is given besides its boundaries.
#[derive(Clone)]
pub struct Config {
    /// Registries that nodes speak to over plain HTTP: `host:port`.
    pub insecure_registries: Vec<String>,
    /// Seals secrets in the store.
    pub key: [u8; KEY_BYTES],
    /// Signs certificates.
    pub authority: Arc<Authority>,
    /// As what machines are born.
    pub births: Births,
    /// Every bound.
    pub bounds: Bounds,
    /// Before machines of these providers are bought, an address that nodes are told has to answer as an engine of this
    /// store.
    pub proven_for: BTreeSet<ProviderId>,
    /// What says that a round of periodic work is due.
    pub pacing: Pacing,
    /// Called at each [`CrashPoint`], for tests that kill the engine there.
    pub at_crash_point: Option<Arc<dyn Fn(CrashPoint) + Send + Sync>>,
}

/// Moments between a cloud write and its journal at which tests kill the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// The intent is committed, nothing is sent.
    AfterIntent,
    /// The request is on its way, no answer has come.
    AfterSend,
    /// The answer has come, it is not committed.
    BeforeOutcome,
    /// A new replica is healthy, the old one it replaces still runs.
    MidMove,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AfterIntent, Self::AfterSend, Self::BeforeOutcome, Self::MidMove];

    /// Its name: `after-intent` ...
    pub fn name(self) -> &'static str {
        match self {
            Self::AfterIntent => "after-intent",
            Self::AfterSend => "after-send",
            Self::BeforeOutcome => "before-outcome",
            Self::MidMove => "mid-move",
        }
    }
}

/// Every bound of an Engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A plan is refused so long after it was made.
    pub plan_valid_ms: u64,
    /// Between two looks at the clouds and the clusters.
    pub tick_ms: u64,
    /// Between two looks at a machine or replica that a step waits for, when nothing is heard of it.
    pub poll_ms: u64,
    /// A node must renew its lease within so long.
    pub lease_ms: u64,
    /// Added to the lease before a silent node's machine counts as lost.
    pub lease_margin_ms: u64,
    /// So long after its lease's end a node powers off for good.
    pub abandon_after_ms: u64,
    /// From the intent to the node's joining; longer, and the attempt is given up.
    pub boot_max_ms: u64,
    /// A resource whose deletion the provider accepted and that is still there is deleted again after so long.
    pub delete_again_ms: u64,
    /// From giving a replica to its node to its being healthy; longer, and the step fails.
    pub start_max_ms: u64,
    /// A replica that was started again so often before it was ever healthy fails its step.
    pub start_tries_max: u32,
    /// A stop waits for so long until as many others serve as the spec wants.
    pub stand_in_max_ms: u64,
    /// Beyond its grace, for a replica to stop; longer, and the step fails.
    pub stop_max_ms: u64,
    /// So many attempts at booting one candidate before the next.
    pub boots_per_candidate_max: u32,
    /// Steps of one operation at a time.
    pub steps_at_a_time: usize,
    /// First pause of the reconciler after a plan of its own; doubles with each.
    pub heal_pause_ms: u64,
    /// Longest such pause.
    pub heal_pause_max_ms: u64,
    /// What was made around machines of a site that has none any more is left so long after the last operation: the next
    /// one may need it, and would have to wait for its removal.
    pub network_idle_ms: u64,
    /// Converged for so long, the pauses start anew.
    pub heal_calm_ms: u64,
    /// A catalog is asked for again when it is so old.
    pub catalog_max_age_ms: u64,
    /// What others made is looked at again when the last look is so old ...
    pub adopted_look_ms: u64,
    /// ... and before a plan when it is so old.
    pub adopted_plan_max_age_ms: u64,
    /// Tombstones of machines are kept for so long, or as long as their tokens are valid if that is longer.
    pub tombstone_ms: u64,
    /// A plan that nobody applied is kept for so long after it expired.
    pub plan_kept_ms: u64,
    /// Finished operations kept per cluster, with their plans and steps: the newest, and any whose plan has not expired.
    pub operations_kept: usize,
    /// Events kept per cluster.
    pub events_kept: usize,
    /// Versions kept of each of Terraform's states: the newest.
    pub state_versions_kept: usize,
    /// States of Terraform that are kept.
    pub states_max: usize,
    /// Addresses in Terraform's states that were taken over.
    pub adopted_addresses_max: usize,
    /// Between two sweeps of a cluster's sites.
    pub sweep_ms: u64,
    /// An orphan is left alone for so long after it was found. Longer than any provider's visibility delay.
    pub orphan_grace_ms: u64,
    /// A sweep deletes orphans of at most so many machines unasked ...
    pub sweep_machines_max: usize,
    /// ... and of at most so large a part of the cluster's, in percent ...
    pub sweep_percent_max: usize,
    /// ... but of so many always, however small the cluster is.
    pub sweep_machines_free: usize,
    /// An engine that has not been heard of for so long has left: its shards are the others'.
    pub member_lease_ms: u64,
    /// For a call to find who is responsible for its cluster.
    pub route_ms: u64,
    /// For a node to answer a request for output.
    pub logs_answer_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            plan_valid_ms: 60 * 60 * 1000,
            tick_ms: 2_000,
            poll_ms: 1_000,
            lease_ms: 20_000,
            lease_margin_ms: 5_000,
            abandon_after_ms: 24 * 60 * 60 * 1000,
            boot_max_ms: 5 * 60 * 1000,
            delete_again_ms: 30_000,
            start_max_ms: 5 * 60 * 1000,
            start_tries_max: 4,
            stand_in_max_ms: 30_000,
            stop_max_ms: 60 * 1000,
            boots_per_candidate_max: 2,
            steps_at_a_time: 256,
            heal_pause_ms: 5_000,
            heal_pause_max_ms: 10 * 60 * 1000,
            network_idle_ms: 60_000,
            heal_calm_ms: 5 * 60 * 1000,
            catalog_max_age_ms: 60_000,
            adopted_look_ms: 60_000,
            adopted_plan_max_age_ms: 5_000,
            tombstone_ms: 24 * 60 * 60 * 1000,
            plan_kept_ms: 24 * 60 * 60 * 1000,
            operations_kept: 100,
            events_kept: 1_000,
            state_versions_kept: 100,
            states_max: 1_000,
            adopted_addresses_max: 100_000,
            sweep_ms: 60_000,
            orphan_grace_ms: 2 * 60 * 1000,
            sweep_machines_max: 20,
            sweep_percent_max: 10,
            sweep_machines_free: 3,
            member_lease_ms: 10_000,
            route_ms: 15_000,
            logs_answer_ms: 10_000,
        }
    }
}

impl Bounds {
    /// Between two signs of life on a node's connection.
    pub(crate) fn keepalive(&self) -> Duration {
        Duration::from_millis(self.lease_ms / 2)
    }

    /// See [`Self::member_lease_ms`].
    pub(crate) fn member_lease(&self) -> Duration {
        Duration::from_millis(self.member_lease_ms)
    }

    /// Between two looks.
    pub(crate) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
