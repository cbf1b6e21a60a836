//! What the audit log says, and what asking for it takes.

use isobar_engine_model::id::{ClusterName, MachineId, OperationId, PlanId, ShardId};
use isobar_engine_model::quantity::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Of which cluster.
    pub cluster: ClusterName,
    /// The plan that was accepted, stopped or carried out.
    pub plan: PlanId,
    /// The plan's hash; absent: the plan is not kept any more.
    pub plan_hash: Option<String>,
    /// The operation that carries it out.
    pub operation: OperationId,
    /// What it was accepted with.
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
