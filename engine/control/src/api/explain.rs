//! Why something is as it is.

use isobar_engine_model::id::ClusterName;
use isobar_engine_model::plan::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Event;

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
