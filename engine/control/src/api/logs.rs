//! Output of replicas and machines.

use isobar_engine_model::id::{ClusterName, MachineId, ReplicaId};
use isobar_engine_model::quantity::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
