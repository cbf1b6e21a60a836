//! The store's rows as they are truly kept, read for themselves: shares no code with the engine's own records.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::{
    AttemptNo, ClusterName, MachineId, OperationId, PlanId, ReplicaId, ResourceHandle, SiteName, StepId, WorkloadName,
};
use isobar_engine_model::observed::{Machine, MachinePhase, Replica, ReplicaPhase};
use isobar_engine_model::operation::{Operation, OperationState};
use isobar_engine_model::plan::{Action, Plan};
use isobar_engine_model::spec::{Spec, WorkloadKind, WorkloadSpec};
use isobar_engine_provider::{OwnerTags, ResourceKind, Token};
use isobar_engine_store::{Table, Write};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An attempt's row, as far as checks read it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AttemptRow {
    pub(super) cluster: ClusterName,
    pub(super) operation: OperationId,
    pub(super) step: StepId,
    pub(super) attempt: AttemptNo,
    pub(super) machine: MachineId,
    pub(super) kind: ResourceKind,
    pub(super) site: SiteName,
    pub(super) token: Token,
    pub(super) request_hash: String,
    pub(super) state: AttemptPhase,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum AttemptPhase {
    Intended,
    Accepted { handle: ResourceHandle },
    Refused {},
    Closing { made: Option<MadeRow> },
    Gone {},
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct MadeRow {
    pub(super) handle: ResourceHandle,
}

impl AttemptPhase {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Accepted { .. } => "accepted",
            Self::Refused {} => "refused",
            Self::Closing { .. } => "closing",
            Self::Gone {} => "gone",
        }
    }

    pub(super) fn may_live(&self) -> bool {
        match self {
            Self::Intended | Self::Accepted { .. } | Self::Closing { .. } => true,
            Self::Refused {} | Self::Gone {} => false,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
struct OperationRow {
    operation: Operation,
}

#[derive(Debug, Clone, Deserialize)]
struct PlanRow {
    plan: Plan,
}

#[derive(Debug, Clone, Deserialize)]
struct MachineRow {
    machine: Machine,
}

/// A replica's row.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ReplicaRow {
    pub(super) cluster: ClusterName,
    pub(super) replica: Replica,
    pub(super) template: WorkloadSpec,
}

impl ReplicaRow {
    /// Whether it may run at most once.
    pub(super) fn is_fenced(&self) -> bool {
        self.template.singleton || matches!(self.template.kind, WorkloadKind::Job { .. })
    }
}

/// What a commit changed that somebody wants to know of.
pub(super) enum News {
    Attempt(AttemptRow),
    Operation(Operation),
    /// With whether an engine had heard from its node that it serves.
    Stopping(Box<ReplicaRow>, bool),
    Lost(MachineId, String),
}

/// See the module.
#[derive(Default)]
pub(super) struct Journal {
    attempts: BTreeMap<String, AttemptRow>,
    by_token: BTreeMap<Token, String>,
    operations: BTreeMap<OperationId, Operation>,
    plans: BTreeMap<PlanId, Plan>,
    /// The spec before each operation.
    specs_before: BTreeMap<OperationId, Option<Spec>>,
    last_spec: BTreeMap<ClusterName, Spec>,
    replicas: BTreeMap<String, ReplicaRow>,
    machines: BTreeMap<String, MachinePhase>,
    /// Rows of replicas as they last were, by id: also those that are removed since.
    ever: BTreeMap<ReplicaId, ReplicaRow>,
}

fn read<T: DeserializeOwned>(body: &str) -> T {
    serde_json::from_str(body).expect("the engine writes what this test knows")
}

impl Journal {
    /// Takes a committed write over.
    pub(super) fn take(&mut self, write: &Write) -> Option<News> {
        let (table, key, body) = match write {
            Write::Insert { table, key, body } | Write::Update { table, key, body, .. } => (*table, key, Some(body)),
            Write::Delete { table, key, .. } => (*table, key, None),
        };
        match (table, body) {
            (Table::Attempt, Some(body)) => {
                let row: AttemptRow = read(body);
                self.by_token.insert(row.token.clone(), key.clone());
                self.attempts.insert(key.clone(), row.clone());
                Some(News::Attempt(row))
            }
            (Table::Attempt, None) => {
                self.attempts.remove(key);
                None
            }
            (Table::Operation, Some(body)) => {
                let OperationRow { operation } = read(body);
                if !self.operations.contains_key(&operation.id) {
                    let spec = self.plans.get(&operation.plan).and_then(|plan| plan.body.spec.clone());
                    let before = match spec {
                        Some(spec) => self.last_spec.insert(operation.cluster.clone(), spec),
                        None => self.last_spec.remove(&operation.cluster),
                    };
                    self.specs_before.insert(operation.id.clone(), before);
                }
                self.operations.insert(operation.id.clone(), operation.clone());
                Some(News::Operation(operation))
            }
            (Table::Plan, Some(body)) => {
                let PlanRow { plan } = read(body);
                self.plans.insert(plan.id.clone(), plan);
                None
            }
            (Table::Replica, Some(body)) => self.take_replica(key, read(body)),
            (Table::Replica, None) => {
                self.replicas.remove(key);
                None
            }
            (Table::Machine, Some(body)) => {
                let MachineRow { machine } = read(body);
                if let MachinePhase::Lost { reason, .. } = &machine.phase {
                    let news = News::Lost(machine.id.clone(), reason.clone());
                    self.machines.insert(key.clone(), machine.phase);
                    return Some(news);
                }
                self.machines.insert(key.clone(), machine.phase);
                None
            }
            (Table::Machine, None) => {
                self.machines.remove(key);
                None
            }
            (Table::Operation | Table::Plan, None)
            | (
                Table::Cluster
                | Table::Step
                | Table::Credential
                | Table::Audit
                | Table::Orphan
                | Table::Adopted
                | Table::Event
                | Table::TerraformState
                | Table::TerraformBody
                | Table::TerraformAdopted,
                _,
            ) => None,
        }
    }

    fn take_replica(&mut self, key: &str, row: ReplicaRow) -> Option<News> {
        self.ever.insert(row.replica.id.clone(), row.clone());
        let before = self.replicas.insert(key.to_owned(), row.clone());
        let is_stopping = |row: &ReplicaRow| matches!(row.replica.phase, ReplicaPhase::Stopping { .. });
        let serves = |row: &ReplicaRow| matches!(row.replica.phase, ReplicaPhase::Running { healthy: true, .. });
        let before = before.filter(|before| is_stopping(&row) && !is_stopping(before))?;
        Some(News::Stopping(Box::new(row), serves(&before)))
    }

    pub(super) fn attempt_of_token(&self, token: &Token) -> Option<&AttemptRow> {
        self.attempts.get(self.by_token.get(token)?)
    }

    pub(super) fn attempt_of_tags(&self, tags: &OwnerTags) -> Option<&AttemptRow> {
        let key = format!("{}/{}/{:06}", tags.owner.cluster, tags.machine, tags.attempt.0);
        self.attempts.get(&key).filter(|row| row.operation == tags.operation)
    }

    /// The attempt that counts a part of a network as its own and in use.
    pub(super) fn user_of(&self, handle: &ResourceHandle) -> Option<&AttemptRow> {
        let uses = |row: &&AttemptRow| matches!(&row.state, AttemptPhase::Accepted { handle: made } if made == handle);
        self.attempts.values().filter(|row| row.kind.is_network()).find(uses)
    }

    pub(super) fn may_live(&self, tags: &OwnerTags) -> bool {
        self.attempt_of_tags(tags).is_some_and(|row| row.state.may_live())
    }

    /// Whether an attempt's deletion was announced, by this handle or before anything was known to be made.
    pub(super) fn is_closing(&self, tags: &OwnerTags, handle: &ResourceHandle) -> bool {
        self.attempt_of_tags(tags).is_some_and(|row| match &row.state {
            AttemptPhase::Closing { made } => made.as_ref().is_none_or(|made| made.handle == *handle),
            AttemptPhase::Intended
            | AttemptPhase::Accepted { .. }
            | AttemptPhase::Refused {}
            | AttemptPhase::Gone {} => false,
        })
    }

    /// The step that an attempt is for, if its operation's plan has it and is about its machine.
    pub(super) fn plan_with_step(&self, row: &AttemptRow) -> Option<&Plan> {
        let plan = self.plan_of(&row.operation)?;
        let step = plan.body.steps.iter().find(|step| step.id == row.step)?;
        let is_about = match &step.action {
            // What a machine is connected to is made by one of the steps that need it.
            Action::BuyMachine { .. } if row.kind.is_network() => buys_at(&step.action, &row.site),
            Action::BuyMachine { machine, .. } | Action::ReleaseMachine { machine } => *machine == row.machine,
            Action::RemoveNetwork { site } => row.kind.is_network() && *site == row.site,
            Action::StartReplica { .. }
            | Action::StopReplica { .. }
            | Action::DeleteOrphan { .. }
            | Action::ChangeAdopted { .. }
            | Action::ReleaseAdopted { .. } => false,
        };
        (is_about && plan.body.cluster == row.cluster).then_some(plan)
    }

    /// Whether a running operation of its cluster needs the part of a network that an attempt is for: then it carries on
    /// with what an operation that has ended did not get to the end of.
    pub(super) fn is_needed(&self, row: &AttemptRow) -> bool {
        let mut running = self.operations.values().filter(|operation| is_running(operation));
        row.kind.is_network()
            && running.any(|operation| {
                let plan = self.plans.get(&operation.plan);
                let plan = plan.filter(|plan| plan.body.cluster == row.cluster);
                plan.is_some_and(|plan| plan.body.steps.iter().any(|step| buys_at(&step.action, &row.site)))
            })
    }

    pub(super) fn plan_of(&self, operation: &OperationId) -> Option<&Plan> {
        self.plans.get(&self.operations.get(operation)?.plan)
    }

    pub(super) fn operation(&self, id: &OperationId) -> Option<&Operation> {
        self.operations.get(id)
    }

    /// Whether a running operation of an accepted plan is to delete this orphan.
    pub(super) fn is_condemned(&self, handle: &ResourceHandle) -> bool {
        let running = self.operations.values().filter(|operation| is_running(operation));
        let plans = running.filter_map(|operation| self.plans.get(&operation.plan));
        plans.flat_map(|plan| &plan.body.steps).any(|step| match &step.action {
            Action::DeleteOrphan { handle: orphan, .. } => orphan == handle,
            Action::BuyMachine { .. }
            | Action::ReleaseMachine { .. }
            | Action::RemoveNetwork { .. }
            | Action::StartReplica { .. }
            | Action::StopReplica { .. }
            | Action::ChangeAdopted { .. }
            | Action::ReleaseAdopted { .. } => false,
        })
    }

    /// How many replicas of a workload what runs now must leave: no more than the spec before asked for, nor than the one
    /// that it brings about. Absent where nothing runs, or the workload goes.
    pub(super) fn must_leave(&self, cluster: &ClusterName, workload: &WorkloadName) -> Option<u32> {
        let runs = |operation: &&Operation| operation.cluster == *cluster && is_running(operation);
        let running = self.operations.values().find(runs)?;
        let after = self
            .plans
            .get(&running.plan)?
            .body
            .spec
            .as_ref()?
            .workloads
            .get(workload)?;
        let before = self.specs_before.get(&running.id).and_then(Option::as_ref);
        let before = before.and_then(|spec| spec.workloads.get(workload));
        Some(before.map_or(0, WorkloadSpec::min_available).min(after.min_available()))
    }

    /// Whether the engine counts a machine as lost, rightly or not.
    pub(super) fn is_lost(&self, cluster: &ClusterName, machine: &MachineId) -> bool {
        let phase = self.machines.get(&format!("{cluster}/{machine}"));
        phase.is_none_or(|phase| match phase {
            MachinePhase::Lost { .. } | MachinePhase::Releasing { .. } | MachinePhase::Gone { .. } => true,
            MachinePhase::Wanted { .. }
            | MachinePhase::Creating { .. }
            | MachinePhase::Booting { .. }
            | MachinePhase::Ready { .. } => false,
        })
    }

    /// What has replicas on a machine.
    pub(super) fn workloads_on(&self, machine: &MachineId) -> BTreeSet<String> {
        let here = self.replicas.values().filter(|row| row.replica.machine == *machine);
        here.map(|row| row.replica.workload.to_string()).collect()
    }

    pub(super) fn replica(&self, id: &str) -> Option<&ReplicaRow> {
        self.ever.get(&ReplicaId::new(id))
    }

    /// Whether the engine wants it to run.
    pub(super) fn is_wanted(&self, machine: &MachineId, id: &str) -> bool {
        self.ever.get(&ReplicaId::new(id)).is_some_and(|row| {
            let key = format!("/{machine}/{id}");
            let kept = self.replicas.iter().any(|(known, _)| known.ends_with(&key));
            kept && !matches!(
                row.replica.phase,
                ReplicaPhase::Stopping { .. } | ReplicaPhase::Stopped { .. }
            )
        })
    }
}

/// Whether steps of an operation may still be carried out.
pub(super) fn is_running(operation: &Operation) -> bool {
    match operation.state {
        OperationState::Running | OperationState::Cancelling { .. } => true,
        OperationState::Succeeded { .. } | OperationState::Failed { .. } | OperationState::Cancelled { .. } => false,
    }
}

fn buys_at(action: &Action, site: &SiteName) -> bool {
    match action {
        Action::BuyMachine { candidates, .. } => candidates.iter().any(|candidate| candidate.site == *site),
        Action::ReleaseMachine { .. }
        | Action::RemoveNetwork { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ChangeAdopted { .. }
        | Action::ReleaseAdopted { .. } => false,
    }
}
