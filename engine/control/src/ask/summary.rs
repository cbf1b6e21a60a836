//! A cluster in a line.

use isobar_engine_model::id::ClusterName;
use isobar_engine_model::observed::{Machine, MachinePhase, Observed};
use isobar_engine_model::quantity::MicroUsdPerHour;
use isobar_engine_model::spec::{Spec, WorkloadKind};

use super::networks;
use crate::api::{ClusterSummary, Condition};
use crate::engine::Engine;
use crate::state::State;

/// The drift of a cluster that was not compared with its spec yet.
const NOT_LOOKED_AT: &str = "not looked at since the engine started";

impl Engine {
    /// Every cluster of its shard in a line, in name order.
    pub fn clusters(&self) -> Vec<ClusterSummary> {
        let state = self.ledger.read();
        let clusters = state.clusters.all().map(|record| self.summary(&state, &record.cluster));
        // What was destroyed is a memory, not a cluster.
        clusters.filter(|summary| !is_over(&state, summary)).collect()
    }

    pub(crate) fn summary(&self, state: &State, cluster: &ClusterName) -> ClusterSummary {
        let observed = self.observed(state, cluster);
        let record = state.clusters.get(cluster.as_str());
        let running = record.and_then(|record| record.running.clone());
        let drift = self
            .live
            .drift(cluster)
            .unwrap_or_else(|| vec![NOT_LOOKED_AT.to_owned()]);
        let condition = if running.is_some() {
            Condition::Changing
        } else if record.is_some_and(|record| record.held) {
            Condition::Held
        } else if drift.is_empty() {
            Condition::Converged
        } else {
            Condition::Degraded {
                drift,
                retry_at: record.map(|record| record.healing.not_before),
            }
        };
        let ready = |machine: &&Machine| matches!(machine.phase, MachinePhase::Ready { .. });
        ClusterSummary {
            cluster: cluster.clone(),
            generation: observed.generation.0,
            condition,
            machines_ready: count(observed.machines.iter().filter(ready).count()),
            machines: count(observed.machines.len()),
            replicas_healthy: healthy(&observed),
            replicas_wanted: observed.spec.as_ref().map_or(0, |spec| wanted(spec, &observed)),
            cost: cost(&observed),
            operation: running,
        }
    }
}

fn is_over(state: &State, summary: &ClusterSummary) -> bool {
    let spec = state
        .clusters
        .get(summary.cluster.as_str())
        .and_then(|record| record.spec.as_ref());
    let adopted = crate::adopt::of_cluster(state, &summary.cluster);
    let nothing_left = summary.machines == 0 && networks(state, &summary.cluster).is_empty() && adopted.is_empty();
    spec.is_none() && nothing_left && summary.operation.is_none()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What a cluster's machines cost now: those that the provider may have.
fn cost(observed: &Observed) -> MicroUsdPerHour {
    observed
        .machines
        .iter()
        .filter_map(|machine| machine.bought.as_ref().map(|bought| bought.price))
        .sum()
}

fn healthy(observed: &Observed) -> u32 {
    let lasting = |name| {
        let workload = observed.spec.as_ref().and_then(|spec| spec.workloads.get(name));
        !matches!(workload.map(|workload| &workload.kind), Some(WorkloadKind::Job { .. }))
    };
    count(
        observed
            .replicas
            .iter()
            .filter(|replica| lasting(&replica.workload) && replica.is_healthy())
            .count(),
    )
}

fn wanted(spec: &Spec, observed: &Observed) -> u32 {
    let usable = count(observed.machines.iter().filter(|machine| machine.is_usable()).count());
    spec.workloads
        .values()
        .map(|workload| match workload.kind {
            WorkloadKind::Service { replicas, .. } => replicas,
            WorkloadKind::Daemon {} => usable,
            WorkloadKind::Job { .. } => 0,
        })
        .sum()
}
