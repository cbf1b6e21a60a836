//! Taking over what a state of Terraform or OpenTofu names: pages of its objects, and what was found of each. Whoever has
//! the state reads it; nothing secret of it comes here.

use std::collections::BTreeMap;

use isobar_engine_model::adopted::AdoptedSpec;
use isobar_engine_model::id::{AdoptedName, ClusterName, ProviderId, SiteName, Zone};
use isobar_engine_model::object::{FieldDrift, Fields, ObjectId, ObjectType};
use isobar_engine_model::spec::SiteSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// [`ImportRequest::objects`] are at most so many.
pub const IMPORT_PAGE_MAX_OBJECTS: usize = 200;

/// A page of the objects of a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// The cluster that takes them over. It need not be there yet.
    pub cluster: ClusterName,
    /// Where they may be, beside the sites that the cluster has.
    #[serde(default)]
    pub sites: BTreeMap<SiteName, SiteSpec>,
    /// Which state they are of.
    pub source: ImportSource,
    /// At most 200 of its objects, each with what its provider calls it.
    #[schemars(length(max = 200))]
    pub objects: Vec<ImportObject>,
}

/// Which state a page is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportSource {
    /// What the caller calls it: a file's name.
    pub name: String,
    /// Its lineage; empty: it says none.
    pub lineage: String,
    /// Its serial, where it has one. An older one than was imported before is refused.
    #[serde(default)]
    pub serial: Option<u64>,
}

/// An object of a state: by what it is known, and nothing that is not on a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportObject {
    /// Its address in the state.
    pub address: String,
    /// How it stands in the state.
    #[serde(default)]
    pub standing: ImportStanding,
    /// The provider that has it: `aws`, `azure`, `gcp`.
    pub provider: ProviderId,
    /// Its type, in the provider's words.
    #[serde(rename = "type")]
    pub kind: ObjectType,
    /// What the provider calls it.
    pub id: ObjectId,
    /// The zone it stands in.
    #[serde(default)]
    pub zone: Option<Zone>,
    /// Whose account it is in; absent: the state does not say.
    #[serde(default)]
    pub account: Option<String>,
    /// In which region; absent: the state does not say.
    #[serde(default)]
    pub region: Option<String>,
    /// Its fields as the state has them, of those that can be read back.
    #[serde(default)]
    pub fields: Fields,
    /// Names of fields that the state has and that cannot be read back.
    #[serde(default)]
    pub unmanaged: std::collections::BTreeSet<String>,
}

/// How an object stands in its state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportStanding {
    /// It is the current one.
    #[default]
    Current,
    /// Terraform would replace it. It is taken over as it is.
    Tainted,
    /// An old copy that Terraform has yet to delete. It is not taken over.
    Deposed(String),
}

/// What was found of the objects of a page, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportAnswer {
    /// A line an object.
    pub lines: Vec<ImportLine>,
}

/// What was found of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportLine {
    /// Its address in the state.
    pub address: String,
    /// What was found.
    #[serde(flatten)]
    pub found: ImportFound,
}

/// What an import found of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum ImportFound {
    /// It is as the state says, and the cluster's.
    Adopted(Box<Taken>),
    /// It is the cluster's, and its cloud says something else of it than the state.
    Drifted(Box<Taken>),
    /// It is the cluster's; Terraform would replace it, Isobar does not.
    Tainted(Box<Taken>),
    /// An old copy that Terraform has yet to delete: left alone.
    Deposed,
    /// Its cloud does not have it.
    Missing {
        /// The site that was asked.
        site: SiteName,
    },
    /// The provider reads no objects of its type.
    Unsupported {
        /// Why, in words.
        because: String,
    },
    /// Somebody else has it.
    AlreadyOwned {
        /// Who, in words.
        by: String,
    },
    /// It could not be read.
    Unreachable {
        /// Why, in words.
        because: String,
        /// What to do.
        hint: String,
    },
    /// Where it is, is not known.
    Asked {
        /// What has to be answered.
        question: String,
    },
}

impl ImportFound {
    /// The object, if it was taken over.
    pub fn taken(&self) -> Option<&Taken> {
        match self {
            Self::Adopted(taken) | Self::Drifted(taken) | Self::Tainted(taken) => Some(taken.as_ref()),
            Self::Deposed
            | Self::Missing { .. }
            | Self::Unsupported { .. }
            | Self::AlreadyOwned { .. }
            | Self::Unreachable { .. }
            | Self::Asked { .. } => None,
        }
    }
}

/// An object that was taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Taken {
    /// Its name in the cluster.
    pub name: AdoptedName,
    /// What the spec says of it if it is to stay as it is.
    pub spec: AdoptedSpec,
    /// In what it is not as the state says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<FieldDrift>,
}
