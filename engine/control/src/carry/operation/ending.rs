//! The end of an operation: one commit that closes it, frees its cluster, and leaves nothing half done unnamed.

use isobar_engine_model::id::{ClusterName, MachineId, OperationId};
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::quantity::Timestamp;

use crate::api::AuditWho;
use crate::audit;
use crate::ledger::Draft;
use crate::record::{ClusterRecord, MachineRecord, OperationRecord, Record, ReplicaRecord, prefix};

/// Why a machine that an operation did not bring up is lost.
pub(super) const UNFINISHED: &str = "the operation that bought it has ended";

/// How an operation ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) operation: OperationId,
    pub(super) cluster: ClusterName,
    pub(super) state: OperationState,
    pub(super) at: Timestamp,
    /// Whether it was a sweep's: its cluster was never busy with it.
    pub(super) sweeps: bool,
    /// Whether nothing of the cluster was to be left.
    pub(super) destroys: bool,
    /// Keys of machines that were wanted and never asked for.
    pub(super) never_begun: Vec<String>,
}

impl Ending {
    pub(super) fn succeeded(&self) -> bool {
        matches!(self.state, OperationState::Succeeded { .. })
    }

    /// In words, for people.
    pub(super) fn words(&self) -> String {
        match &self.state {
            OperationState::Failed { reason, .. } => format!("failed: {reason}"),
            OperationState::Cancelled { .. } => "cancelled; the cluster is held until the next accepted plan".into(),
            OperationState::Succeeded { .. } | OperationState::Running | OperationState::Cancelling { .. } => {
                "succeeded".into()
            }
        }
    }

    /// Writes it; gives the machines that are lost with it.
    pub(super) fn commit(self, draft: &mut Draft) -> Vec<MachineId> {
        let destroyed = !self.sweeps && self.destroys && self.succeeded();
        end_operation(draft, &self.operation, self.state, self.at);
        for machine in &self.never_begun {
            draft.remove::<MachineRecord>(machine);
        }
        if self.sweeps {
            return Vec::new();
        }
        free_cluster(draft, &self.cluster);
        if destroyed {
            forget_replicas(draft, &self.cluster);
        }
        lose_unfinished(draft, &self.cluster, self.at)
    }
}

fn end_operation(draft: &mut Draft, id: &OperationId, end: OperationState, at: Timestamp) {
    if let Some(record) = draft.get::<OperationRecord>(id.as_str()) {
        let mut record = record.clone();
        if let Some(what) = audit::ended(&end) {
            audit::note(draft, &record, at, AuditWho::Engine, what);
        }
        record.operation.state = end;
        draft.put(record);
    }
}

/// What ended in a cluster that is no more: the next cluster of its name starts anew.
fn forget_replicas(draft: &mut Draft, cluster: &ClusterName) {
    let ended: Vec<String> = draft
        .state()
        .replicas
        .under(&prefix(cluster))
        .map(Record::key)
        .collect();
    for replica in ended {
        draft.remove::<ReplicaRecord>(&replica);
    }
}

fn free_cluster(draft: &mut Draft, cluster: &ClusterName) {
    if let Some(record) = draft.get::<ClusterRecord>(cluster.as_str()) {
        let mut record = record.clone();
        let cancelled = record
            .running
            .as_ref()
            .and_then(|id| draft.get::<OperationRecord>(id.as_str()));
        record.held = cancelled.is_some_and(|op| matches!(op.operation.state, OperationState::Cancelled { .. }));
        record.running = None;
        draft.put(record);
    }
}

/// Nobody waits any more for what did not come up: no later plan may build on it.
fn lose_unfinished(draft: &mut Draft, cluster: &ClusterName, at: Timestamp) -> Vec<MachineId> {
    let here = draft.state().machines.under(&prefix(cluster));
    let unfinished: Vec<MachineRecord> = here.filter(|record| is_unfinished(record)).cloned().collect();
    let mut lost = Vec::with_capacity(unfinished.len());
    for mut record in unfinished {
        record.lose(at, UNFINISHED.to_owned());
        lost.push(record.machine.id.clone());
        draft.put(record);
    }
    lost
}

fn is_unfinished(record: &MachineRecord) -> bool {
    match record.machine.phase {
        MachinePhase::Wanted { .. } | MachinePhase::Creating { .. } | MachinePhase::Booting { .. } => true,
        MachinePhase::Ready { .. }
        | MachinePhase::Lost { .. }
        | MachinePhase::Releasing { .. }
        | MachinePhase::Gone { .. } => false,
    }
}
