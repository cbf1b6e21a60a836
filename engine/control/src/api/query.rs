//! What there is: this engine, clusters, and the things of a cluster in lists.

use std::collections::BTreeMap;

use isobar_engine_model::adopted::Adopted;
use isobar_engine_model::catalog::Offering;
use isobar_engine_model::id::{ClusterName, MachineId, OperationId, ProviderId, SiteName};
use isobar_engine_model::observed::{Machine, Replica};
use isobar_engine_model::operation::Operation;
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_model::spec::Spec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What this engine is and has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// Version of the engine.
    pub version: String,
    /// The store's own id.
    pub store: String,
    /// Providers that sites may name.
    pub providers: Vec<ProviderId>,
    /// Whether the store was restored from a backup and nothing is changed unasked: see `recover`.
    pub recovering: bool,
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
    /// Where nodes reach it, with commas between several addresses.
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
    /// What others made and the cluster takes over.
    Adopted,
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
    /// With machines: where others reach their open ports, by machine and port, as their providers said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<BTreeMap<MachineId, BTreeMap<u16, String>>>,
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
    /// What others made and the cluster takes over, in name order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Vec<AdoptedView>>,
    /// Events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
    /// Give it as `after` for the rest; absent: this is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An object that others made, with what its spec says of it and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdoptedView {
    /// The object.
    #[serde(flatten)]
    pub object: Adopted,
    /// Its labels, from the stored spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What a machine of its type costs an hour in its zone, on demand, by the site's catalog; absent where that does not
    /// know it, or nobody could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<MicroUsdPerHour>,
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
    /// `<operation>/<step>/<attempt>`, and the id of a part of a network.
    pub key: String,
    /// `create` or `delete`.
    pub write: String,
    /// What: `machine`, `network`, `gateway`, `subnet`, `firewall`.
    pub kind: String,
    /// Which machine, or the id of a part of a network.
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
    pub offering: Offering,
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
