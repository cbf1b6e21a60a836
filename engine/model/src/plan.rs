//! Plans: immutable, hashed, bound to what they were made from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalog::Purchase;
use crate::id::{
    AdoptedName, ClusterName, Generation, ImageId, MachineId, OfferingId, PlanId, PoolName, ReplicaId, ResourceHandle,
    SiteName, StepId, Version, WorkloadName, Zone,
};
use crate::object::FieldDrift;
use crate::observed::PortBinding;
use crate::quantity::{MicroUsdPerHour, Resources, Timestamp};
use crate::spec::{Spec, WorkloadSpec};

/// A plan and what names it. Never edited: a change is a new plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// From the hash.
    pub id: PlanId,
    /// SHA-256 of the body's canonical JSON, in hex.
    pub hash: String,
    /// Everything that is carried out or shown.
    pub body: PlanBody,
}

/// Everything of a plan that its hash covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanBody {
    /// Which cluster.
    pub cluster: ClusterName,
    /// Who asked.
    pub origin: Origin,
    /// When it was made.
    pub created: Timestamp,
    /// After this it is refused.
    pub expires: Timestamp,
    /// What it was made from; `apply` refuses when one of these has moved.
    pub base: Base,
    /// The spec that holds once the plan is accepted; absent: the cluster is destroyed.
    pub spec: Option<Spec>,
    /// What to do. Empty and with the stored spec: converged.
    pub steps: Vec<Step>,
    /// What the cluster costs before and after.
    pub cost: CostChange,
    /// What could go wrong or is lost.
    pub risks: Vec<Risk>,
    /// Why it came out so, one a decision.
    pub reasons: Vec<Reason>,
    /// What of the spec it cannot bring about, and the nearest that would do.
    pub unmet: Vec<Unmet>,
}

/// Who asked for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A person or an agent, with a spec or an intent.
    Asked,
    /// The reconciler, with the stored spec.
    Reconcile,
    /// The sweeper: it deletes what the journal does not know and touches nothing else of the cluster.
    Sweep,
}

/// What a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Base {
    /// The stored spec's generation.
    pub generation: Generation,
    /// Version of each machine that it reads or touches.
    pub machines: BTreeMap<MachineId, Version>,
    /// Version of each replica that it reads or touches.
    pub replicas: BTreeMap<ReplicaId, Version>,
    /// Version of each object that others made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adopted: BTreeMap<AdoptedName, Version>,
}

/// One thing to do, once `needs` are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its place, from 1.
    pub id: StepId,
    /// What to do.
    pub action: Action,
    /// Done first. Only earlier steps.
    pub needs: Vec<StepId>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Buy a machine and see its node join. Done when the machine is ready. What its provider says that machines need
    /// around them there, a network, a firewall, is made first.
    BuyMachine {
        /// Its id.
        machine: MachineId,
        /// Its pool.
        pool: PoolName,
        /// What may be bought, best first, all under the price ceiling. Carried out in order.
        candidates: Vec<Candidate>,
    },
    /// Delete a machine. Done when the provider says that it is gone.
    ReleaseMachine {
        /// Which.
        machine: MachineId,
    },
    /// Remove what was made for the cluster's machines at a site: its network, its firewall. Done when the provider says
    /// that every part is gone.
    RemoveNetwork {
        /// Where.
        site: SiteName,
    },
    /// Start a replica. Done when it is healthy; of a job, when its node has it.
    StartReplica {
        /// Its id.
        replica: ReplicaId,
        /// Of which workload.
        workload: WorkloadName,
        /// Of which template.
        revision: String,
        /// Where.
        machine: MachineId,
        /// Its published ports.
        ports: BTreeMap<String, PortBinding>,
    },
    /// Drain and stop a replica. Done when its node says that it is stopped, or its machine is lost or gone.
    StopReplica {
        /// Which.
        replica: ReplicaId,
        /// Of which workload.
        workload: WorkloadName,
        /// On which machine.
        machine: MachineId,
    },
    /// Delete a resource that carries our tags and that the journal does not know. Looked at again right before: what is
    /// known by then, or not ours, is left alone. Done when the provider says that it is gone.
    DeleteOrphan {
        /// In which site.
        site: SiteName,
        /// What the provider calls it.
        handle: ResourceHandle,
        /// Its name.
        name: String,
    },
    /// Bring fields of an object that others made back to what the spec says. Accepted only of objects that are Isobar's.
    ChangeAdopted {
        /// Which.
        object: AdoptedName,
        /// What differs.
        changes: Vec<FieldDrift>,
    },
    /// Forget an object that others made. It stays in its cloud as it is.
    ReleaseAdopted {
        /// Which.
        object: AdoptedName,
    },
}

/// An offering that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// In which site.
    pub site: SiteName,
    /// In which zone.
    pub zone: Zone,
    /// Which offering.
    pub offering: OfferingId,
    /// How it is paid.
    pub purchase: Purchase,
    /// What it boots.
    pub image: ImageId,
    /// What it costs.
    pub price: MicroUsdPerHour,
    /// What replicas can use of it.
    pub allocatable: Resources,
}

/// What the cluster costs before and after, and what it may cost at most if fallbacks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostChange {
    /// Before.
    pub before: MicroUsdPerHour,
    /// After, with the first candidate of each machine.
    pub after: MicroUsdPerHour,
    /// After, with the dearest candidate of each machine: the price ceiling.
    pub ceiling: MicroUsdPerHour,
}

/// What could go wrong or is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "risk", rename_all = "snake_case")]
pub enum Risk {
    /// A workload stops and does not come back.
    WorkloadEnds {
        /// Which.
        workload: WorkloadName,
    },
    /// Fewer healthy replicas than allowed, since they are lost already.
    BelowMinimum {
        /// Which.
        workload: WorkloadName,
        /// How many are healthy.
        healthy: u32,
        /// How many should be.
        minimum: u32,
    },
    /// All replicas of a service on one site.
    SingleSite {
        /// Which.
        workload: WorkloadName,
        /// Where.
        site: SiteName,
    },
    /// An object that others made is not in its cloud. Nothing is made in its place.
    AdoptedMissing {
        /// Which.
        object: AdoptedName,
        /// Since when.
        since: Timestamp,
    },
    /// An object that others made is not as the spec says, and this plan leaves it so.
    AdoptedDiffers {
        /// Which.
        object: AdoptedName,
        /// In which fields.
        fields: Vec<String>,
    },
    /// Nothing of the cluster remains.
    ClusterEnds,
}

/// Why something came out as it did: `about` is a machine, replica, workload or pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// What it is about.
    pub about: String,
    /// Why, in words.
    pub because: String,
}

/// What of the spec cannot be brought about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unmet {
    /// The pool or workload.
    pub about: String,
    /// How many machines or replicas are missing.
    pub missing: u32,
    /// Which requirement no site meets, in words.
    pub requirement: String,
    /// The nearest that would, in words.
    pub nearest: Option<String>,
}

impl PlanBody {
    /// Names the body: its hash, and the id from it.
    pub fn seal(self) -> Plan {
        let hash = hash_of(&self);
        Plan {
            id: PlanId::new(format!("plan-{}", &hash[..16])),
            hash,
            body: self,
        }
    }
}

impl Plan {
    /// Whether the hash is the body's.
    pub fn is_intact(&self) -> bool {
        hash_of(&self.body) == self.hash
    }
}

fn hash_of<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_vec(value).expect("model types have string keys and no failing Serialize");
    hex::encode(Sha256::digest(json))
}

/// Names the template of a workload: replicas with another revision are replaced. Scaling, placement and limits on
/// availability are not part of it.
pub fn revision(workload: &WorkloadSpec) -> String {
    let template = (
        &workload.image,
        &workload.command,
        &workload.env,
        &workload.resources,
        &workload.ports,
        &workload.health,
        workload.restart_policy(),
        workload.stop_grace_seconds,
        workload.singleton,
    );
    hash_of(&template)[..12].to_owned()
}
