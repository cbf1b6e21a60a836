//! Changing a cluster: plans, and the operations that carry them out.

use isobar_engine_model::id::{OperationId, PlanId};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::operation::Operation;
use isobar_engine_model::plan::{CostChange, Plan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
