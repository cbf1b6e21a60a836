//! The spec: what a person wants. One cluster: its sites, its pools of machines, its workloads.
//!
//! Reading a spec from text, with the place of every error, is in [`mod@text`]; the rules that span fields are in
//! [`mod@check`]. A `Spec` that came through [`text::read`] keeps all of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adopted::AdoptedSpec;
use crate::catalog::{Architecture, Purchase};
use crate::id::{AdoptedName, ClusterName, OfferingId, PoolName, ProviderId, SiteName, WorkloadName, Zone};
use crate::quantity::{Mebibytes, MilliCpus, Resources};

pub mod check;
mod image;
pub mod nearest;
pub mod problem;
pub mod shape;
pub mod text;
mod tree;

/// One cluster: its sites, its pools of machines, and the workloads it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// Where machines may be, by name.
    pub sites: BTreeMap<SiteName, SiteSpec>,
    /// Machines of one shape policy each, by name.
    pub pools: BTreeMap<PoolName, PoolSpec>,
    /// What runs, by name.
    #[serde(default)]
    pub workloads: BTreeMap<WorkloadName, WorkloadSpec>,
    /// What others made and the cluster takes over, by name: see `isobar import`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adopted: BTreeMap<AdoptedName, AdoptedSpec>,
}

/// A place machines can be: provider + account + region, or a rack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteSpec {
    /// Which provider: `local`, `aws` ...
    pub provider: ProviderId,
    /// The region, in the provider's spelling. `local` takes any word.
    pub region: String,
    /// Settings that only the provider reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// Machines of one shape policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// The sites its machines may be in; absent: all sites of the cluster. Machines go where
    /// replicas need them, the others evenly over these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<SiteName>>,
    /// How many machines.
    pub machines: MachineCount,
    /// What each machine must be.
    #[serde(default)]
    pub requirements: Requirements,
}

/// Between how many machines a pool may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineCount {
    /// Always at least so many.
    #[schemars(range(max = 10_000))]
    pub min: u32,
    /// Never more than so many; what lies between is bought when replicas need it and released when they do not.
    #[schemars(range(min = 1, max = 10_000))]
    pub max: u32,
}

/// What a machine must be. An absent field asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// At least so much processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpus>,
    /// At least so much memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Mebibytes>,
    /// This architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// One of these zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<Zone>>,
    /// One of these offerings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offerings: Option<Vec<OfferingId>>,
    /// One of these ways to pay; absent: on demand only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchase: Option<Vec<Purchase>>,
}

/// What runs: a service, job or daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    /// How many replicas, for how long.
    pub kind: WorkloadKind,
    /// The OCI image: `registry[:port]/repository[:tag|@digest]`.
    pub image: String,
    /// Replaces the image's entry point and command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment variables, over those of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What each replica needs, and its limit: over its memory it is killed.
    pub resources: Resources,
    /// Ports its replicas listen on, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, PortSpec>,
    /// How to tell that a replica is healthy; absent: it is healthy while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Whether a replica that ended is started again; absent: `always` for services and daemons, `on_failure` for jobs.
    /// Read it through [`WorkloadSpec::restart_policy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// Where its replicas may be.
    #[serde(default)]
    pub placement: PlacementSpec,
    /// Seconds between SIGTERM and SIGKILL when a replica is stopped.
    #[serde(default = "default_grace")]
    #[schemars(range(min = 0, max = 3600))]
    pub stop_grace_seconds: u32,
    /// At most one may run at any time, even when the control plane cannot be reached: stopped when its node's lease
    /// runs out. Asks for `replicas: 1`.
    #[serde(default)]
    pub singleton: bool,
}

fn default_grace() -> u32 {
    10
}

/// How many replicas, for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkloadKind {
    /// Runs for good, in `replicas` copies.
    Service {
        /// How many.
        #[schemars(range(max = 100_000))]
        replicas: u32,
        /// Never fewer than so many healthy while Isobar changes something; absent: all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_available: Option<u32>,
    },
    /// Runs once to its end.
    Job {
        /// How many times in all it is tried.
        #[serde(default = "one")]
        #[schemars(range(min = 1, max = 1_000))]
        attempts: u32,
    },
    /// Runs for good, one replica on each machine that it may be on.
    Daemon {},
}

fn one() -> u32 {
    1
}

/// A port that a replica listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// Inside the container.
    #[schemars(range(min = 1, max = 65535))]
    pub container: u16,
    /// Whether and how the node publishes it.
    #[serde(default)]
    pub publish: Publish,
}

/// Whether and how the node publishes a port, within [`NODE_PORTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// Not at all.
    #[default]
    No,
    /// On a free port of the node that Isobar picks.
    Auto,
    /// On this port of the node: two such replicas never share a machine.
    Port(#[schemars(range(min = 30000, max = 30031))] u16),
}

/// The ports that a node publishes replicas on: first and last.
pub const NODE_PORTS: (u16, u16) = (30_000, 30_031);

/// At which UDP port nodes reach each other: what WireGuard's own tools use (IANA has it as `wireguard`).
pub const OVERLAY_PORT: u16 = 51_820;

/// How to tell that a replica is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What to ask.
    pub probe: Probe,
    /// Seconds between two checks.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: u32,
    /// Seconds after which a check has failed.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: u32,
    /// So many failures in a row make it unhealthy, and it is restarted.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub failures: u32,
}

fn five() -> u32 {
    5
}

fn three() -> u32 {
    3
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// GET answers 200 to 399.
    Http {
        /// The name of one of the workload's ports.
        port: String,
        /// The path to get.
        path: String,
    },
    /// A connection is accepted.
    Tcp {
        /// The name of one of the workload's ports.
        port: String,
    },
    /// A command in the container ends with 0.
    Exec {
        /// The command and its arguments.
        command: Vec<String>,
    },
}

/// Whether a replica that ended is started again, after a growing pause with a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// However it ended. Services and daemons only.
    Always,
    /// When it ended with anything but 0.
    OnFailure,
    /// Never on the same machine.
    Never,
}

/// Where replicas may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementSpec {
    /// Only these sites; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<SiteName>>,
    /// Only these pools; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<Vec<PoolName>>,
    /// Spread evenly over these, the first one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
}

/// What replicas spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Sites.
    Site,
    /// Zones.
    Zone,
    /// Machines.
    Machine,
}

impl WorkloadSpec {
    /// Whether a replica that ended is started again: what the spec says, else what suits the kind.
    pub fn restart_policy(&self) -> RestartPolicy {
        self.restart.unwrap_or(match self.kind {
            WorkloadKind::Service { .. } | WorkloadKind::Daemon {} => RestartPolicy::Always,
            WorkloadKind::Job { .. } => RestartPolicy::OnFailure,
        })
    }

    /// How many healthy replicas a change must leave. None of a singleton: it stops before it starts elsewhere.
    pub fn min_available(&self) -> u32 {
        match self.kind {
            WorkloadKind::Service { .. } if self.singleton => 0,
            WorkloadKind::Service {
                replicas,
                min_available,
            } => min_available.unwrap_or(replicas),
            WorkloadKind::Job { .. } | WorkloadKind::Daemon {} => 0,
        }
    }
}
