//! What the audit log says, and what asking for it takes.

use isobar_engine_model::id::{AdoptedName, ClusterName, MachineId, OperationId, PlanId, ShardId, StateName};
use isobar_engine_model::quantity::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hand_over::HandOverStep;

/// One entry of a shard's audit log. Its MAC covers its JSON: a field that a later version adds must leave the JSON of
/// entries without it as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// In which shard's log.
    pub shard: ShardId,
    /// Its place there, from 1.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: AuditWho,
    /// What.
    pub what: AuditWhat,
    /// Of which cluster; absent: of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
    /// The plan that was accepted, stopped or carried out; absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanId>,
    /// The plan's hash; absent: the plan is not kept any more.
    pub plan_hash: Option<String>,
    /// The operation that carries it out; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// What it was accepted with; empty: it was no plan.
    pub idempotency_key: String,
    /// Why, as whoever asked said.
    pub why: Option<String>,
}

/// Who changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "who", rename_all = "snake_case")]
pub enum AuditWho {
    /// Whoever shows the access token.
    Client,
    /// The engine, which brings a cluster back to its spec.
    Reconciler,
    /// The engine, which deletes what the journal does not know.
    Sweeper,
    /// The engine, at the end of what it was asked.
    Engine,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum AuditWhat {
    /// A plan was accepted: its operation began.
    Accepted,
    /// Somebody asked an operation to stop.
    CancelAsked,
    /// An operation did all of its plan.
    Succeeded,
    /// An operation failed.
    Failed {
        /// Why, in words.
        reason: String,
    },
    /// An operation was stopped.
    Cancelled,
    /// After a restore: a machine that the backup did not know was taken into the journal. It has no plan; the operation is
    /// the one that bought it.
    Adopted {
        /// Which machine.
        machine: MachineId,
        /// What the provider calls it.
        handle: String,
    },
    /// Objects that others made were imported: their cluster watches them from here on. Of no plan.
    Imported {
        /// The lineage of the state that names them.
        lineage: String,
        /// How many.
        objects: u64,
    },
    /// Whose objects are was changed. Of no plan.
    HandedOver {
        /// Which objects.
        objects: Vec<AdoptedName>,
        /// By which step of a hand-over.
        step: HandOverStep,
    },
    /// A state of Terraform was stored. Of no cluster.
    StateWritten {
        /// Which.
        state: StateName,
        /// As which version.
        version: u64,
        /// The serial that it tells.
        serial: Option<u64>,
        /// The lineage that it tells.
        lineage: String,
        /// How long it is.
        bytes: u64,
        /// Who held the lock, as that client says; absent: nobody did.
        by: Option<String>,
    },
    /// The lock of a state was taken from whoever held it. Of no cluster.
    StateUnlocked {
        /// Which.
        state: StateName,
        /// The lock's id.
        lock: String,
        /// Who held it, as that client says.
        held_by: String,
    },
    /// Addresses of a lineage of Terraform's states were taken over, or given back. Of no cluster.
    StateAdopted {
        /// Whose.
        lineage: String,
        /// How many.
        addresses: u64,
        /// Whether they are Isobar's from here on.
        adopted: bool,
    },
}

/// Which entries to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditRequest {
    /// Check every MAC of every shard's log, too.
    #[serde(default)]
    pub verify: bool,
    /// Only what is older than an earlier answer's `next`.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many; absent: 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u32>,
}

/// Entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditAnswer {
    /// The entries of every shard. A row that cannot be read is left out: `verify` finds it.
    pub entries: Vec<AuditEntry>,
    /// Whether the logs are as they were written; absent: nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<AuditVerdict>,
    /// Give it as `after` for the rest; absent: this is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Whether the logs are as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdict {
    /// Whether every shard's log is.
    pub intact: bool,
    /// How many entries were checked and found good.
    pub checked: u64,
    /// Where the first log that is not goes wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<AuditBad>,
}

/// Where a log goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditBad {
    /// Which shard's.
    pub shard: ShardId,
    /// The entry that is not as it was written.
    pub sequence: u64,
    /// Why, in words.
    pub why: String,
}
