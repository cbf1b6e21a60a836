//! Operations: plans being carried out, and how far they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{AttemptNo, ClusterName, OperationId, PlanId, StepId};
use crate::quantity::Timestamp;

/// A plan being carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// Which plan.
    pub plan: PlanId,
    /// Of which cluster.
    pub cluster: ClusterName,
    /// When it was accepted.
    pub started: Timestamp,
    /// Where it stands.
    pub state: OperationState,
    /// One entry a step, in the plan's order.
    pub steps: Vec<StepProgress>,
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OperationState {
    /// Steps are being carried out.
    Running,
    /// No new step starts; those begun are finished.
    Cancelling {
        /// Since when.
        since: Timestamp,
    },
    /// Every step is done.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// A step failed; nothing more is done. The reconciler plans anew.
    Failed {
        /// When.
        at: Timestamp,
        /// Which step and why, in words.
        reason: String,
        /// What to do next, in words.
        hint: Option<String>,
    },
    /// Stopped on request. Its cluster is held: nothing is planned for it unasked until the next accepted plan.
    Cancelled {
        /// When.
        at: Timestamp,
    },
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepProgress {
    /// Which step.
    pub id: StepId,
    /// In words, for people: `buy machine general-1`.
    pub title: String,
    /// Where it stands.
    pub state: StepState,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// Waits for others.
    Waiting,
    /// Begun.
    Running {
        /// Since when.
        since: Timestamp,
        /// Which try.
        attempt: AttemptNo,
        /// What it is doing, in words.
        detail: String,
    },
    /// Done.
    Done {
        /// When.
        at: Timestamp,
    },
    /// Failed for good.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, in words.
        reason: String,
    },
}

impl OperationState {
    /// Whether nothing more will happen.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Running | Self::Cancelling { .. } => false,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled { .. } => true,
        }
    }
}
