//! Objects that others made, in a cluster: what its spec says of them and what is known of them. Nothing here is a wish to
//! make or to delete anything: an object is compared with what the spec says, and forgotten when the spec forgets it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{AdoptedName, SiteName, Version, Zone};
use crate::object::{FieldDrift, Fields, ObjectId, ObjectType, drift};
use crate::quantity::Timestamp;

/// An object that others made and that the cluster takes over, as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptedSpec {
    /// In which of the cluster's sites it is.
    pub site: SiteName,
    /// Its type, in the provider's words.
    #[serde(rename = "type")]
    pub kind: ObjectType,
    /// What the provider calls it.
    pub id: ObjectId,
    /// The zone it stands in, if it stands in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// Whose it was.
    pub from: AdoptedFrom,
    /// Its fields, as they should be. A field that is not here may be anything.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
    /// What its users say of it, to find it by. No cloud hears of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Fields that are none of Isobar's business: they cannot be read back, or others manage them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unmanaged: BTreeSet<String>,
}

/// Which state an object was in, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptedFrom {
    /// The state's lineage; empty: an old state, that says none.
    pub lineage: String,
    /// Its address there: `aws_instance.web["a"]`.
    pub address: String,
}

/// An object that others made, as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adopted {
    /// Its name in the cluster.
    pub name: AdoptedName,
    /// Grows with every change that a plan cares about.
    pub version: Version,
    /// In which site.
    pub site: SiteName,
    /// Whose account that is.
    pub account: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ObjectType,
    /// What the provider calls it.
    pub id: ObjectId,
    /// In which zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// Whose it was.
    pub from: AdoptedFrom,
    /// The state's serial when it was last imported, where the state has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// Whose it is.
    pub phase: AdoptedPhase,
    /// Whether an accepted spec has named it: then it goes with its entry.
    pub named: bool,
    /// What was seen of it last.
    pub seen: Sight,
    /// When it was last looked at; status, so it bumps no version.
    pub looked: Timestamp,
}

/// Whose an object is. Never both's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum AdoptedPhase {
    /// Terraform's. It is looked at, and no step may touch it.
    Observed {
        /// Since when.
        since: Timestamp,
    },
    /// Terraform's until a fresh state does not have it any more. No step may touch it.
    HandingOver {
        /// Since when.
        since: Timestamp,
        /// The state's serial at that moment: the one that confirms must be higher.
        serial: Option<u64>,
    },
    /// Isobar's.
    Owned {
        /// Since when.
        since: Timestamp,
    },
}

/// What was seen of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "sight", rename_all = "snake_case")]
pub enum Sight {
    /// It is there.
    There {
        /// What could be read back.
        fields: Fields,
        /// Whether it runs.
        status: AdoptedStatus,
    },
    /// Its provider does not have it.
    Missing {
        /// Since when.
        since: Timestamp,
    },
}

/// Whether an object runs. What does not run by its nature runs once it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum AdoptedStatus {
    /// It is being made or started.
    Pending,
    /// It runs.
    Running,
    /// It does not.
    Stopped {
        /// Why, in the provider's words.
        reason: String,
    },
    /// Somebody deletes it.
    Deleting,
}

impl AdoptedSpec {
    /// Which of its fields are not as they should be. A field that either side does not know differs from nothing.
    pub fn differences(&self, found: &Fields) -> Vec<FieldDrift> {
        let mut differing = drift(&self.fields, found);
        differing.retain(|drift| !self.unmanaged.contains(&drift.field));
        differing
    }

    /// Whether it speaks of the very object that is known by this name.
    pub fn is_of(&self, known: &Adopted) -> bool {
        (&self.site, &self.kind, &self.id) == (&known.site, &known.kind, &known.id)
    }
}

impl AdoptedPhase {
    /// One word for tables: `observed`, `handing over`, `owned`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Observed { .. } => "observed",
            Self::HandingOver { .. } => "handing over",
            Self::Owned { .. } => "owned",
        }
    }
}

impl Adopted {
    /// What the spec says of an object that is to stay exactly as it was seen. None of one that was not seen.
    pub fn as_seen(&self, unmanaged: BTreeSet<String>) -> Option<AdoptedSpec> {
        let Sight::There { fields, .. } = &self.seen else {
            return None;
        };
        Some(AdoptedSpec {
            site: self.site.clone(),
            kind: self.kind.clone(),
            id: self.id.clone(),
            zone: self.zone.clone(),
            from: self.from.clone(),
            fields: fields.clone(),
            labels: BTreeMap::new(),
            unmanaged,
        })
    }
}
