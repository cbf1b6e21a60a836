//! The records that the store keeps: what each table's rows mean.
//!
//! Status reports, metrics and logs are not records: they live in memory (see [`crate::live`]) and come again from the
//! nodes after a restart.

use std::collections::BTreeMap;

use isobar_engine_model::adopted::Adopted;
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, Generation, MachineId, OfferingId, OperationId, PlanId, PoolName, ReplicaId,
    ResourceHandle, SiteName, StepId, WorkloadName,
};
use isobar_engine_model::observed::{Machine, MachinePhase, Replica};
use isobar_engine_model::operation::Operation;
use isobar_engine_model::plan::Plan;
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_model::spec::{Spec, WorkloadSpec};
use isobar_engine_provider::adoption::ObjectRef;
use isobar_engine_provider::{OwnerTags, ResourceKind, Site, Token};
use isobar_engine_store::Table;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a table's rows are.
pub(crate) trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Which table.
    const TABLE: Table;

    /// Unique within the table; records of one cluster share the prefix `<cluster>/`.
    fn key(&self) -> String;
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClusterRecord {
    pub(crate) cluster: ClusterName,
    pub(crate) generation: Generation,
    pub(crate) spec: Option<Spec>,
    pub(crate) next_machine: BTreeMap<PoolName, u32>,
    pub(crate) next_replica: BTreeMap<WorkloadName, u32>,
    /// The operation that runs.
    pub(crate) running: Option<OperationId>,
    /// Nothing is planned unasked: an operation was cancelled.
    pub(crate) held: bool,
    /// What the last accepted plan may cost: healing stays below it.
    pub(crate) ceiling: MicroUsdPerHour,
    pub(crate) healing: Healing,
}

/// How often the reconciler acted lately, and when it may again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Healing {
    /// Plans in a row without the cluster having stayed converged in between.
    pub(crate) tries: u32,
    /// Not before.
    pub(crate) not_before: Timestamp,
}

/// A machine. Its `node` field is empty here: reports are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachineRecord {
    pub(crate) cluster: ClusterName,
    pub(crate) machine: Machine,
}

/// A replica and the template it was started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReplicaRecord {
    pub(crate) cluster: ClusterName,
    pub(crate) replica: Replica,
    pub(crate) template: WorkloadSpec,
}

/// A plan, never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    pub(crate) plan: Plan,
}

/// An operation and how it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OperationRecord {
    pub(crate) operation: Operation,
    pub(crate) idempotency_key: String,
    pub(crate) why: Option<String>,
}

/// How a step of an operation ended; absent: it has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) operation: OperationId,
    pub(crate) step: StepId,
    pub(crate) end: StepEnd,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(crate) enum StepEnd {
    Done { at: Timestamp },
    Failed { at: Timestamp, reason: String },
}

/// One attempt at making a resource, from its intent to the provider's word that it is gone: the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptRecord {
    pub(crate) cluster: ClusterName,
    pub(crate) operation: OperationId,
    pub(crate) step: StepId,
    pub(crate) attempt: AttemptNo,
    /// The machine, or the id of a part of a network.
    pub(crate) machine: MachineId,
    /// What is made. Journals from before there were networks do not say it.
    #[serde(default = "machine")]
    pub(crate) kind: ResourceKind,
    pub(crate) site: SiteName,
    /// The plan's candidate that it tries, from 0.
    pub(crate) candidate: usize,
    /// Who wrote the intent.
    pub(crate) epoch: Epoch,
    pub(crate) token: Token,
    /// The full request as JSON, encrypted: it holds the join token.
    pub(crate) sealed_request: String,
    /// SHA-256 of the request, in hex.
    pub(crate) request_hash: String,
    pub(crate) intended: Timestamp,
    /// After this the token may no longer answer with the same resource.
    pub(crate) expires: Timestamp,
    pub(crate) state: AttemptState,
}

fn machine() -> ResourceKind {
    ResourceKind::Machine
}

/// What is known of an attempt. Every change is committed before the call that it announces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum AttemptState {
    /// It may have been sent. Resolved by sending the same again.
    Intended,
    /// The provider has it.
    Accepted { handle: ResourceHandle, since: Timestamp },
    /// The provider has made nothing.
    Refused { reason: String },
    /// To be deleted; it must not join any more. Without a resource it may not exist at all.
    Closing { made: Option<Made>, reason: String },
    /// The provider says that it is gone.
    Gone { since: Timestamp, reason: String },
}

/// What an attempt made, and when the provider first said so: until it must be visible, "not found" means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) handle: ResourceHandle,
    pub(crate) since: Timestamp,
}

impl AttemptRecord {
    /// What it made, once known.
    pub(crate) fn made(&self) -> Option<Made> {
        match &self.state {
            AttemptState::Accepted { handle, since } => Some(Made {
                handle: handle.clone(),
                since: *since,
            }),
            AttemptState::Closing { made, .. } => made.clone(),
            AttemptState::Intended | AttemptState::Refused { .. } | AttemptState::Gone { .. } => None,
        }
    }

    /// What the provider calls the resource, once known.
    pub(crate) fn handle(&self) -> Option<&ResourceHandle> {
        match &self.state {
            AttemptState::Accepted { handle, .. } => Some(handle),
            AttemptState::Closing { made, .. } => made.as_ref().map(|made| &made.handle),
            AttemptState::Intended | AttemptState::Refused { .. } | AttemptState::Gone { .. } => None,
        }
    }

    /// Whether there may be a resource of it.
    pub(crate) fn may_live(&self) -> bool {
        match self.state {
            AttemptState::Intended | AttemptState::Accepted { .. } | AttemptState::Closing { .. } => true,
            AttemptState::Refused { .. } | AttemptState::Gone { .. } => false,
        }
    }
}

/// What a machine's attempt identifies itself with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CredentialRecord {
    pub(crate) cluster: ClusterName,
    pub(crate) machine: MachineId,
    pub(crate) attempt: AttemptNo,
    /// SHA-256 of the join token, in hex: the token itself is kept nowhere but in the sealed request.
    pub(crate) token_hash: String,
    /// SHA-256 of the first public key that showed the token, in hex.
    pub(crate) key_hash: Option<String>,
    pub(crate) revoked: bool,
}

/// A resource that carries our tags and that the journal does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrphanRecord {
    pub(crate) cluster: ClusterName,
    pub(crate) site: Site,
    pub(crate) kind: ResourceKind,
    pub(crate) handle: ResourceHandle,
    pub(crate) name: String,
    /// Exactly as they were found: only what still carries them is deleted.
    pub(crate) tags: OwnerTags,
    /// As what a machine was bought, where its provider says so.
    #[serde(default)]
    pub(crate) offering: Option<OfferingId>,
    pub(crate) found: Timestamp,
    /// Why it is one, in words.
    pub(crate) because: String,
    pub(crate) state: OrphanState,
}

/// What is done about an orphan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum OrphanState {
    /// Nothing until the grace period is over: it may turn out to be known.
    Quarantined,
    /// Too many at once: it waits until somebody applies this plan.
    Asking { plan: PlanId },
    /// An operation deletes it.
    Deleting { operation: OperationId },
    /// The provider does not have it any more.
    Gone { since: Timestamp },
}

/// An object that others made. Its key is its place in its cloud: over all clusters it has one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AdoptedRecord {
    pub(crate) cluster: ClusterName,
    /// As it was when the object was imported.
    pub(crate) site: Site,
    pub(crate) object: Adopted,
}

/// Something that happened, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    pub(crate) cluster: ClusterName,
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) about: String,
    pub(crate) what: String,
}

/// The prefix of every key of a cluster.
pub(crate) fn prefix(cluster: &ClusterName) -> String {
    format!("{cluster}/")
}

/// The key of a machine's record.
pub(crate) fn machine_key(cluster: &ClusterName, machine: &MachineId) -> String {
    format!("{cluster}/{machine}")
}

/// The key of a replica's record.
pub(crate) fn replica_key(cluster: &ClusterName, machine: &MachineId, replica: &ReplicaId) -> String {
    format!("{cluster}/{machine}/{replica}")
}

/// The prefix of the keys of what belongs to a machine: its replicas, attempts and credentials.
pub(crate) fn machine_prefix(cluster: &ClusterName, machine: &MachineId) -> String {
    format!("{cluster}/{machine}/")
}

/// The key of an orphan's record.
pub(crate) fn orphan_key(cluster: &ClusterName, site: &SiteName, handle: &ResourceHandle) -> String {
    format!("{cluster}/{site}/{handle}")
}

/// The key of an attempt's record, and of its credential.
pub(crate) fn attempt_key(cluster: &ClusterName, machine: &MachineId, attempt: AttemptNo) -> String {
    format!("{cluster}/{machine}/{:06}", attempt.0)
}

impl Record for ClusterRecord {
    const TABLE: Table = Table::Cluster;
    fn key(&self) -> String {
        self.cluster.to_string()
    }
}

impl Record for MachineRecord {
    const TABLE: Table = Table::Machine;
    fn key(&self) -> String {
        machine_key(&self.cluster, &self.machine.id)
    }
}

impl Record for ReplicaRecord {
    const TABLE: Table = Table::Replica;
    fn key(&self) -> String {
        replica_key(&self.cluster, &self.replica.machine, &self.replica.id)
    }
}

impl Record for PlanRecord {
    const TABLE: Table = Table::Plan;
    fn key(&self) -> String {
        self.plan.id.to_string()
    }
}

impl Record for OperationRecord {
    const TABLE: Table = Table::Operation;
    fn key(&self) -> String {
        self.operation.id.to_string()
    }
}

/// The prefix of the keys of an operation's steps.
pub(crate) fn step_prefix(operation: &OperationId) -> String {
    format!("{operation}/")
}

impl Record for StepRecord {
    const TABLE: Table = Table::Step;
    fn key(&self) -> String {
        format!("{}/{:06}", self.operation, self.step.0)
    }
}

impl Record for AttemptRecord {
    const TABLE: Table = Table::Attempt;
    fn key(&self) -> String {
        attempt_key(&self.cluster, &self.machine, self.attempt)
    }
}

impl Record for CredentialRecord {
    const TABLE: Table = Table::Credential;
    fn key(&self) -> String {
        attempt_key(&self.cluster, &self.machine, self.attempt)
    }
}

impl Record for OrphanRecord {
    const TABLE: Table = Table::Orphan;
    fn key(&self) -> String {
        orphan_key(&self.cluster, &self.site.name, &self.handle)
    }
}

impl Record for AdoptedRecord {
    const TABLE: Table = Table::Adopted;
    fn key(&self) -> String {
        let (site, object) = (&self.site, &self.object);
        format!(
            "{}/{}/{}/{}/{}",
            site.provider, object.account, site.region, object.kind.0, object.id.0
        )
    }
}

impl AdoptedRecord {
    /// What its provider is asked for.
    pub(crate) fn reference(&self) -> ObjectRef {
        ObjectRef {
            kind: self.object.kind.clone(),
            id: self.object.id.clone(),
            zone: self.object.zone.clone(),
        }
    }
}

impl Record for EventRecord {
    const TABLE: Table = Table::Event;
    fn key(&self) -> String {
        format!("{}/{:020}", self.cluster, self.sequence)
    }
}

impl MachineRecord {
    /// Whether only its tombstone is left.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.machine.phase, MachinePhase::Gone { .. })
    }

    /// Notes that it must be replaced.
    pub(crate) fn lose(&mut self, since: Timestamp, reason: String) {
        let handle = self.machine.handle().cloned();
        self.machine.phase = MachinePhase::Lost { since, handle, reason };
        self.machine.version.0 += 1;
    }
}
