//! What can be rented: offerings with their prices, images, quotas. Observed, never planned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{ImageId, OfferingId, SiteName, Zone};
use crate::quantity::{MicroUsdPerHour, Resources, Timestamp};

/// What every site of a cluster offers, sites in name order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Catalog {
    /// One entry a site.
    pub sites: Vec<SiteCatalog>,
    /// Sites that do not say now what they offer: nothing is bought there, and what is there stays.
    #[serde(default)]
    pub silent: Vec<SilentSite>,
}

/// A site that does not say what it offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilentSite {
    /// Which site.
    pub site: SiteName,
    /// What came of asking, in words.
    pub because: String,
}

/// What one site offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteCatalog {
    /// Which site.
    pub site: SiteName,
    /// When the provider said what there is, and how much of it is left. Prices have ages of their own.
    pub as_of: Timestamp,
    /// What can be rented.
    pub offerings: Vec<Offering>,
    /// The node image that new machines of this site boot, one an architecture.
    pub images: Vec<Image>,
    /// How many machines the account may still make here; absent: unknown.
    pub machines_left: Option<u32>,
}

/// An instance type in a zone under one purchase option, with its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offering {
    /// Unique within its site.
    pub id: OfferingId,
    /// The instance type, in the provider's spelling.
    pub instance_type: String,
    /// Which zone.
    pub zone: Zone,
    /// How it is paid.
    pub purchase: Purchase,
    /// Its architecture.
    pub architecture: Architecture,
    /// What the machine has in all.
    pub total: Resources,
    /// What replicas can use of it: the rest is the kernel's and the agent's.
    pub allocatable: Resources,
    /// What it costs.
    pub price: MicroUsdPerHour,
    /// When the provider said so: now, or on the day of the list that serves where nobody can be asked.
    pub priced: Timestamp,
}

/// A node image that a site can boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// In the provider's spelling.
    pub id: ImageId,
    /// For which architecture.
    pub architecture: Architecture,
}

/// A processor architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Arm64,
}

/// How a machine is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purchase {
    /// By the hour, kept until released.
    OnDemand,
    /// Cheaper, and the provider may take it back.
    Spot,
}
