//! What is: the machines and replicas of one cluster as the engine knows them. The planner's input, the answer to
//! `query`, and the bodies of the store's records.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adopted::Adopted;
use crate::catalog::Purchase;
use crate::id::{
    AttemptNo, ClusterName, Generation, MachineId, OfferingId, OperationId, PoolName, ReplicaId, ResourceHandle,
    SiteName, Version, WorkloadName, Zone,
};
use crate::quantity::{MicroUsdPerHour, Resources, Timestamp};
use crate::spec::Spec;

/// One cluster as it is. Machines and replicas are in id order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// Which cluster.
    pub cluster: ClusterName,
    /// How often its spec was changed; 0: none is stored.
    pub generation: Generation,
    /// The stored spec.
    pub spec: Option<Spec>,
    /// Every machine that is not gone.
    pub machines: Vec<Machine>,
    /// Every replica that is not stopped for good and forgotten.
    pub replicas: Vec<Replica>,
    /// Where there may be parts of networks that were made for its machines.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub networks: BTreeSet<SiteName>,
    /// What others made and the cluster takes over, in name order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopted: Vec<Adopted>,
    /// The next ordinal of each pool; absent: 1. Ordinals are never used again.
    pub next_machine: BTreeMap<PoolName, u32>,
    /// The next ordinal of each workload; absent: 1.
    pub next_replica: BTreeMap<WorkloadName, u32>,
}

impl Observed {
    /// Whether nothing is wanted and nothing is left.
    pub fn is_over(&self) -> bool {
        self.spec.is_none() && self.machines.is_empty() && self.networks.is_empty() && self.adopted.is_empty()
    }
}

/// What a provider rents or owns, for one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Its id, never used again.
    pub id: MachineId,
    /// Its pool.
    pub pool: PoolName,
    /// Grows with every change that a plan cares about.
    pub version: Version,
    /// Where and what it is; absent until the first attempt at buying it.
    pub bought: Option<Bought>,
    /// Where it stands.
    pub phase: MachinePhase,
    /// What its node said last; status, so it bumps no version.
    pub node: Option<NodeReport>,
}

/// What was bought: frozen at each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bought {
    /// By which operation.
    pub operation: OperationId,
    /// In which attempt.
    pub attempt: AttemptNo,
    /// In which site.
    pub site: SiteName,
    /// In which zone.
    pub zone: Zone,
    /// Which offering.
    pub offering: OfferingId,
    /// How it is paid.
    pub purchase: Purchase,
    /// What it costs.
    pub price: MicroUsdPerHour,
    /// What replicas can use of it.
    pub allocatable: Resources,
}

/// Where a machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum MachinePhase {
    /// In an accepted plan, not yet sent.
    Wanted {
        /// Since when.
        since: Timestamp,
    },
    /// Sent to the provider; not yet known to run.
    Creating {
        /// Since when.
        since: Timestamp,
    },
    /// The provider runs it; its node has not joined.
    Booting {
        /// Since when.
        since: Timestamp,
        /// What the provider calls it.
        handle: ResourceHandle,
    },
    /// Its node has joined.
    Ready {
        /// Since when.
        since: Timestamp,
        /// What the provider calls it.
        handle: ResourceHandle,
    },
    /// It must be replaced: its node is silent beyond its lease, or the provider lost it.
    Lost {
        /// Since when.
        since: Timestamp,
        /// What the provider calls it.
        handle: Option<ResourceHandle>,
        /// Why, in words.
        reason: String,
    },
    /// Being deleted; done when the provider says it is gone.
    Releasing {
        /// Since when.
        since: Timestamp,
        /// What the provider calls it.
        handle: Option<ResourceHandle>,
    },
    /// A tombstone: the provider has said that it is gone.
    Gone {
        /// Since when.
        since: Timestamp,
    },
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// When it was heard last.
    pub heard: Timestamp,
    /// Version of the agent.
    pub agent_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Milliseconds from the kernel's start to joining, on the node's own clock.
    pub joined_after_ms: u64,
    /// Resident memory of the agent, in KiB.
    pub agent_rss_kib: u64,
    /// Memory of the machine in use, in MiB.
    pub memory_used_mib: u32,
    /// Addresses at which others reach the node's published ports, by node port.
    pub endpoints: BTreeMap<u16, String>,
}

/// One copy of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replica {
    /// Its id, never used again.
    pub id: ReplicaId,
    /// Of which workload.
    pub workload: WorkloadName,
    /// Of which template: see [`revision`](crate::plan::revision).
    pub revision: String,
    /// Grows with every change that a plan cares about.
    pub version: Version,
    /// Where it runs.
    pub machine: MachineId,
    /// What it takes of its machine.
    pub resources: Resources,
    /// Its published ports, by name.
    pub ports: BTreeMap<String, PortBinding>,
    /// Where it stands.
    pub phase: ReplicaPhase,
}

/// A published port of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortBinding {
    /// Inside the container.
    pub container: u16,
    /// On the node.
    pub node: u16,
}

/// Where a replica stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum ReplicaPhase {
    /// Given to its node, which has not said anything of it.
    Assigned {
        /// Since when.
        since: Timestamp,
    },
    /// Its node pulls the image or starts the container.
    Starting {
        /// Since when.
        since: Timestamp,
        /// What it is doing, in words.
        detail: String,
    },
    /// Its container runs.
    Running {
        /// Since when.
        since: Timestamp,
        /// Whether its health check passes.
        healthy: bool,
        /// How often it was started again.
        restarts: u32,
    },
    /// It failed and waits to be started again.
    BackOff {
        /// Since when.
        since: Timestamp,
        /// How often it was started again.
        restarts: u32,
        /// Why it failed, in words.
        reason: String,
    },
    /// A job's replica that ended with 0.
    Succeeded {
        /// Since when.
        since: Timestamp,
    },
    /// It failed and is not started again.
    Failed {
        /// Since when.
        since: Timestamp,
        /// Why, in words.
        reason: String,
    },
    /// Being stopped.
    Stopping {
        /// Since when.
        since: Timestamp,
    },
    /// A tombstone: its node has said that it is stopped, or its machine is gone.
    Stopped {
        /// Since when.
        since: Timestamp,
    },
}

impl Machine {
    /// Whether it may be asked to run replicas now or soon.
    pub fn is_usable(&self) -> bool {
        match self.phase {
            MachinePhase::Wanted { .. }
            | MachinePhase::Creating { .. }
            | MachinePhase::Booting { .. }
            | MachinePhase::Ready { .. } => true,
            MachinePhase::Lost { .. } | MachinePhase::Releasing { .. } | MachinePhase::Gone { .. } => false,
        }
    }

    /// What the provider calls it, once known.
    pub fn handle(&self) -> Option<&ResourceHandle> {
        match &self.phase {
            MachinePhase::Booting { handle, .. } | MachinePhase::Ready { handle, .. } => Some(handle),
            MachinePhase::Lost { handle, .. } | MachinePhase::Releasing { handle, .. } => handle.as_ref(),
            MachinePhase::Wanted { .. } | MachinePhase::Creating { .. } | MachinePhase::Gone { .. } => None,
        }
    }
}

impl Replica {
    /// Whether it serves now.
    pub fn is_healthy(&self) -> bool {
        matches!(self.phase, ReplicaPhase::Running { healthy: true, .. })
    }

    /// Whether it takes room on its machine.
    pub fn takes_room(&self) -> bool {
        match self.phase {
            ReplicaPhase::Assigned { .. }
            | ReplicaPhase::Starting { .. }
            | ReplicaPhase::Running { .. }
            | ReplicaPhase::BackOff { .. }
            | ReplicaPhase::Stopping { .. } => true,
            ReplicaPhase::Succeeded { .. } | ReplicaPhase::Failed { .. } | ReplicaPhase::Stopped { .. } => false,
        }
    }
}
