//! After a restore: what the backup does not know, and what becomes of it.

use std::collections::BTreeMap;

use isobar_engine_model::id::{ClusterName, MachineId, SiteName};
use isobar_engine_model::spec::SiteSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Of which cluster to compare the backup with the clouds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// Which cluster; also one that the backup does not know.
    pub cluster: ClusterName,
    /// Where else to look, by name: sites that the backup's spec does not have.
    #[serde(default)]
    pub sites: BTreeMap<SiteName, SiteSpec>,
}

/// How a cluster's backup and the clouds differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoverAnswer {
    /// Whether the store is being recovered; nothing is compared otherwise.
    pub recovering: bool,
    /// What clouds have under our tags and the backup does not know: each is to be adopted or released.
    pub unknown: Vec<Unknown>,
    /// Machines of the backup that their cloud does not have any more. They are replaced when the recovery has ended.
    pub missing: Vec<Missing>,
    /// Sites that could not be listed.
    pub unlisted: Vec<Unlisted>,
}

/// A resource that the backup does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unknown {
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
    /// Why it is unknown, in words.
    pub because: String,
    /// Why it cannot be adopted; absent: it can.
    pub not_adoptable: Option<String>,
    /// Whether it is being released.
    pub releasing: bool,
}

/// A machine that its cloud does not have any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// Which machine.
    pub machine: MachineId,
    /// In which site.
    pub site: SiteName,
    /// What the provider called it.
    pub handle: String,
}

/// A site that could not be listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unlisted {
    /// Which site.
    pub site: SiteName,
    /// Why not.
    pub error: String,
}

/// What to adopt or to release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverMachines {
    /// Of which cluster.
    pub cluster: ClusterName,
    /// Which machines, as `recover` names them.
    pub machines: Vec<MachineId>,
    /// The same key with the same machines changes nothing more.
    pub idempotency_key: String,
    /// Why, for the audit log.
    #[serde(default)]
    pub why: Option<String>,
}

/// What was adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adopted {
    /// Machines that the journal knows from now on.
    pub machines: Vec<MachineId>,
}

/// That the recovery has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recovered {
    /// Whether there was one to end.
    pub ended: bool,
}
