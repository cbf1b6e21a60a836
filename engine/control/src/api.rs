//! What callers ask of the Engine and what it answers: the types behind every MCP tool.

mod audit;
mod error;

use std::collections::BTreeMap;

use isobar_engine_model::id::{ClusterName, MachineId, OperationId, PlanId, ProviderId, ReplicaId, SiteName};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::{Machine, Replica};
use isobar_engine_model::operation::Operation;
use isobar_engine_model::plan::{CostChange, Plan, Reason};
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_model::spec::Spec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::Subject;

pub use audit::{AuditAnswer, AuditBad, AuditEntry, AuditRequest, AuditVerdict, AuditWhat, AuditWho};
pub use error::{ALLOWED_MAX_ITEMS, ApiError, ErrorCode, PROBLEMS_MAX_ITEMS};

/// At most so many items come in one answer.
pub const PAGE_MAX_ITEMS: u32 = 500;
/// [`OperationGet::wait_ms`] at most.
pub const WAIT_MAX_MS: u64 = 20_000;
/// [`LogsRequest::tail_lines`] at most.
pub const TAIL_MAX_LINES: u32 = 2_000;

/// What this engine is and has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// Version of the engine.
    pub version: String,
    /// The store's own id.
    pub store: String,
    /// Providers that sites may name.
    pub providers: Vec<ProviderId>,
    /// The engines that share the store, by id.
    pub engines: Vec<EngineView>,
    /// Every cluster, in name order.
    pub clusters: Vec<ClusterSummary>,
}

/// An engine among those that share a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineView {
    /// Its own, made at its start.
    pub id: String,
    /// Where nodes reach it.
    pub nodes: String,
    /// How many shards of the work are its.
    pub shards: u32,
}

/// A cluster in a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterSummary {
    /// Its name.
    pub cluster: ClusterName,
    /// How often its spec was changed.
    pub generation: u64,
    /// Whether it is as its spec says.
    pub condition: Condition,
    /// Machines ready, and in all.
    pub machines_ready: u32,
    /// See `machines_ready`.
    pub machines: u32,
    /// Replicas of services and daemons healthy, and wanted.
    pub replicas_healthy: u32,
    /// See `replicas_healthy`.
    pub replicas_wanted: u32,
    /// What it costs now.
    pub cost: MicroUsdPerHour,
    /// The operation that runs.
    pub operation: Option<OperationId>,
}

/// Whether a cluster is as its spec says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum Condition {
    /// It is.
    Converged,
    /// An operation is at work.
    Changing,
    /// It is not, and the reconciler will plan again at `retry_at`.
    Degraded {
        /// What is not, in words.
        drift: Vec<String>,
        /// When it plans again.
        retry_at: Option<Timestamp>,
    },
    /// An operation was cancelled: nothing is planned unasked until the next accepted plan.
    Held,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// Which things.
    pub what: QueryWhat,
    /// Of which cluster.
    pub cluster: ClusterName,
    /// Only those after this key, from an earlier answer's `next`.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many; absent: 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u32>,
}

/// Which things to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryWhat {
    /// The stored spec and the cluster in a line.
    Cluster,
    /// Machines.
    Machines,
    /// Replicas.
    Replicas,
    /// Operations, newest first.
    Operations,
    /// The journal: attempts at cloud writes.
    Attempts,
    /// What the cluster's sites offer.
    Offerings,
    /// What happened, newest first.
    Events,
}

/// The list that was asked for: one field is filled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct QueryAnswer {
    /// The cluster in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterSummary>,
    /// Its stored spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// Machines in id order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machines: Option<Vec<Machine>>,
    /// Replicas in id order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Vec<ReplicaView>>,
    /// Operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<Operation>>,
    /// Journal entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
    /// Offerings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offerings: Option<Vec<OfferingView>>,
    /// Events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
    /// Give it as `after` for the rest; absent: this is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A replica with where it is and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaView {
    /// The replica.
    pub replica: Replica,
    /// Its machine's site.
    pub site: Option<SiteName>,
    /// `host:port` of each published port, by name.
    pub addresses: BTreeMap<String, String>,
    /// Memory it uses, in bytes.
    pub memory_bytes: u64,
    /// Processor time it has used, in ms.
    pub cpu_used_ms: u64,
}

/// A journal entry, without its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// `<operation>/<step>/<attempt>`.
    pub key: String,
    /// `create` or `delete`.
    pub write: String,
    /// Which machine.
    pub machine: MachineId,
    /// In which site.
    pub site: SiteName,
    /// `intended`, `accepted`, `refused`, `unknown`, `gone`.
    pub state: String,
    /// What the provider calls the resource.
    pub handle: Option<String>,
    /// Why it was refused, in words.
    pub detail: Option<String>,
    /// When the intent was committed.
    pub intended: Timestamp,
}

/// An offering and its site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferingView {
    /// Which site.
    pub site: SiteName,
    /// The offering.
    pub offering: isobar_engine_model::catalog::Offering,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// A machine, replica, workload, operation or the cluster.
    pub about: String,
    /// What, in words.
    pub what: String,
}

/// What to plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The wish.
    pub intent: Intent,
    /// What it may cost.
    #[serde(default)]
    pub limits: Limits,
}

/// A plan and its outline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanAnswer {
    /// The whole plan; what is shown is what is run.
    pub plan: Plan,
    /// Whether there is nothing to do.
    pub converged: bool,
    /// Each step in words, in order.
    pub outline: Vec<String>,
    /// What it costs.
    pub cost: CostChange,
}

/// Which plan to carry out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// Which plan.
    pub plan: PlanId,
    /// The same key with the same plan answers with the same operation.
    pub idempotency_key: String,
    /// Why, for the audit log.
    #[serde(default)]
    pub why: Option<String>,
}

/// Which operation to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationGet {
    /// Which.
    pub operation: OperationId,
    /// Answer when it is beyond this revision, or after `wait_ms`.
    #[serde(default)]
    pub seen: Option<u64>,
    /// How long to wait for news; absent: not at all.
    #[serde(default)]
    #[schemars(range(min = 0, max = 20000))]
    pub wait_ms: Option<u64>,
}

/// An operation and its revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationView {
    /// The operation.
    pub operation: Operation,
    /// Give it as `seen` to wait for the next change.
    pub revision: u64,
}

/// Which operation to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationCancel {
    /// Which.
    pub operation: OperationId,
}

/// What to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Of which cluster.
    pub cluster: ClusterName,
    /// A machine, replica, workload, pool, plan or operation; absent: the cluster as a whole.
    #[serde(default)]
    pub about: Option<String>,
}

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// What was asked about.
    pub about: String,
    /// How it stands, in words.
    pub state: String,
    /// Why, from the plans that made it so.
    pub reasons: Vec<Reason>,
    /// What happened to it, newest first.
    pub events: Vec<Event>,
    /// What the engine would do next, in words; empty: nothing.
    pub next: Vec<String>,
}

/// Which leaks to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaksRequest {
    /// Of which cluster; also of one that was destroyed.
    pub cluster: ClusterName,
    /// Only those after this key, from an earlier answer's `next`.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many; absent: 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u32>,
}

/// What sweeps found that the journal does not know, and what they did about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaksAnswer {
    /// What was found, gone ones included for a while.
    pub leaks: Vec<Leak>,
    /// The last sweep of each site.
    pub sweeps: Vec<Sweep>,
    /// Give it as `after` for the rest; absent: this is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A resource with our tags that the journal does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// In which site.
    pub site: SiteName,
    /// `machine` and the like.
    pub kind: String,
    /// What the provider calls it.
    pub handle: String,
    /// Its name.
    pub name: String,
    /// Of which machine it says it is.
    pub machine: MachineId,
    /// Why it is one, in words.
    pub because: String,
    /// When it was found.
    pub found: Timestamp,
    /// What is done about it.
    pub fate: Fate,
}

/// What is done about a leak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// Nothing before `until`: it may turn out to be known.
    Quarantined {
        /// When it is deleted.
        until: Timestamp,
    },
    /// Too many at once: they are deleted when somebody applies this plan.
    Asking {
        /// Which.
        plan: PlanId,
    },
    /// An operation deletes it.
    Deleting {
        /// Which.
        operation: OperationId,
    },
    /// The provider does not have it any more.
    Gone {
        /// Since when.
        since: Timestamp,
    },
}

/// The last sweep of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// Which site.
    pub site: SiteName,
    /// When.
    pub at: Timestamp,
    /// Resources with our tags; absent: they could not be listed.
    pub resources: Option<u64>,
    /// Why they could not be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which output to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsRequest {
    /// Of which cluster.
    pub cluster: ClusterName,
    /// Whose.
    pub source: LogSource,
    /// Last lines to give, or of a replica's after `after` the first; absent: 200.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2000))]
    pub tail_lines: Option<u32>,
    /// Only what came after this place, from an earlier answer's `next`. A replica's lines each come once, unless more
    /// are written meanwhile than its node keeps.
    #[serde(default)]
    pub after: Option<u64>,
}

/// Whose output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// A replica's standard output and error.
    Replica(ReplicaId),
    /// A machine's serial console.
    Console(MachineId),
}

/// Lines of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsAnswer {
    /// In order.
    pub lines: Vec<LogLine>,
    /// Give it as `after` for what comes next.
    pub next: u64,
}

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When it was written; absent on consoles.
    pub at: Option<Timestamp>,
    /// Whether to standard error.
    pub stderr: bool,
    /// The line.
    pub text: String,
}

/// Whose a call is.
pub trait Asked {
    /// That of the cluster it names, itself or by a plan or an operation.
    fn subject(&self) -> Subject<'_>;
}

impl Asked for QueryRequest {
    fn subject(&self) -> Subject<'_> {
        Subject::Cluster(&self.cluster)
    }
}

impl Asked for PlanRequest {
    fn subject(&self) -> Subject<'_> {
        Subject::Cluster(self.intent.cluster())
    }
}

impl Asked for ApplyRequest {
    fn subject(&self) -> Subject<'_> {
        Subject::Plan(&self.plan)
    }
}

impl Asked for OperationGet {
    fn subject(&self) -> Subject<'_> {
        Subject::Operation(&self.operation)
    }
}

impl Asked for OperationCancel {
    fn subject(&self) -> Subject<'_> {
        Subject::Operation(&self.operation)
    }
}

impl Asked for ExplainRequest {
    fn subject(&self) -> Subject<'_> {
        Subject::Cluster(&self.cluster)
    }
}

impl Asked for LeaksRequest {
    fn subject(&self) -> Subject<'_> {
        Subject::Cluster(&self.cluster)
    }
}

impl Asked for LogsRequest {
    fn subject(&self) -> Subject<'_> {
        Subject::Cluster(&self.cluster)
    }
}
