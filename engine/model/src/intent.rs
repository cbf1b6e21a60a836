//! Intents: typed wishes. An intent is a change of the spec, under limits; planning does the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{ClusterName, MachineId, SiteName, WorkloadName};
use crate::spec::Spec;

/// What somebody wants changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "intent", rename_all = "snake_case", deny_unknown_fields)]
pub enum Intent {
    /// Make the cluster what this spec says.
    Deploy {
        /// The whole spec.
        spec: Box<Spec>,
    },
    /// Run a workload on other sites, without its healthy replicas ever falling below the allowed number.
    Move {
        /// Of which cluster.
        cluster: ClusterName,
        /// Which workload.
        workload: WorkloadName,
        /// Where to: only these sites. Empty: anywhere but `from`.
        #[serde(default)]
        to: Vec<SiteName>,
        /// Away from these sites.
        #[serde(default)]
        from: Vec<SiteName>,
    },
    /// Change how many replicas a service has.
    Scale {
        /// Of which cluster.
        cluster: ClusterName,
        /// Which service.
        workload: WorkloadName,
        /// How many.
        replicas: u32,
    },
    /// Replace a machine: its replicas move elsewhere first.
    Drain {
        /// Of which cluster.
        cluster: ClusterName,
        /// Which machine.
        machine: MachineId,
    },
    /// Stop everything and release every machine.
    Destroy {
        /// Which cluster.
        cluster: ClusterName,
    },
}

/// What a plan may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The cluster may cost at most so many per cent more per hour than now; absent: no limit.
    pub max_dearer_percent: Option<u32>,
    /// The cluster may cost at most so many micro-dollars an hour; absent: no limit.
    pub max_micro_usd_per_hour: Option<i64>,
}

impl Intent {
    /// Which cluster it is about.
    pub fn cluster(&self) -> &ClusterName {
        match self {
            Self::Deploy { spec } => &spec.cluster,
            Self::Move { cluster, .. }
            | Self::Scale { cluster, .. }
            | Self::Drain { cluster, .. }
            | Self::Destroy { cluster } => cluster,
        }
    }
}
