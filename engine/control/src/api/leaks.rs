//! What clouds have that the journal does not know.

use isobar_engine_model::id::{ClusterName, MachineId, OperationId, PlanId, SiteName};
use isobar_engine_model::quantity::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
