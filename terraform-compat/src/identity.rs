//! By what an object is known in its cloud: a row a resource type, and what is taken out of an instance for it. Nothing
//! that is not on a list here ever leaves a state. Guesses nothing: what is not found is asked for.

mod aws;
mod azure;
mod gcp;
mod openstack;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use isobar_engine_model::object::{Fields, ObjectId, ObjectType};
use serde::{Deserialize, Serialize};

use crate::address::Mode;
use crate::fields;
use crate::read::{Object, Wanted};

/// A cloud that resource types belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// Amazon.
    Aws,
    /// Microsoft.
    Azure,
    /// Google.
    Gcp,
    /// Any OpenStack: reported, no provider of ours takes it over.
    Openstack,
}

/// What an object is to Isobar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A machine.
    Machine,
    /// A group that makes machines by itself.
    Group,
    /// What a group makes machines from.
    Template,
    /// Networks, their parts and their rules.
    Network,
    /// A public or reserved address.
    Address,
    /// A disk.
    Disk,
    /// A public key.
    Key,
}

/// A resource type that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The resource type.
    pub kind: &'static str,
    /// What its objects are.
    pub what: What,
    /// What its objects are to the cloud's provider, in its words.
    pub object: &'static str,
}

/// A part of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Found.
    Known {
        /// Its value.
        value: String,
        /// Where it was found.
        from: Source,
    },
    /// Not in the state.
    Unknown {
        /// What to ask the user.
        ask: &'static str,
    },
}

/// Where a part of an identity was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The object's identity block.
    Identity,
    /// The object's own ARN, self link, id or attributes.
    Object,
    /// Every other object of the same provider configuration says so, or the object it is part of.
    Neighbours,
    /// The user said so.
    Told,
}

/// By what an object is known in its cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identified {
    /// The cloud.
    pub cloud: Cloud,
    /// What it is.
    pub what: What,
    /// AWS account, Azure subscription, Google project, OpenStack project.
    pub account: Part,
    /// The region; `global` where the cloud has it so.
    pub region: Part,
    /// The zone, if it stands in one.
    pub zone: Option<String>,
    /// The cloud's own id.
    pub id: String,
    /// Its type, as the cloud's provider reads it.
    pub kind: ObjectType,
    /// Its id, as the cloud's provider reads it.
    pub object: ObjectId,
    /// What the state says that can be read back.
    pub fields: Fields,
}

/// What an object says of itself, before its neighbours are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) account: Option<(String, Source)>,
    pub(crate) region: Option<(String, Source)>,
    pub(crate) zone: Option<String>,
    pub(crate) id: Option<String>,
}

/// What is wanted of an object's identity block.
pub(crate) static OF_IDENTITY: LazyLock<Wanted> = LazyLock::new(|| Wanted::of(TAKEN_OF_IDENTITY.iter().copied()));
static OF_OTHERS: LazyLock<Wanted> = LazyLock::new(|| Wanted::of(TAKEN_OF_OTHERS.iter().copied()));
static OF_CALLER: LazyLock<Wanted> = LazyLock::new(|| Wanted::of(["account_id"]));
static OF_ROWS: LazyLock<BTreeMap<&str, Wanted>> = LazyLock::new(|| {
    let of = |(cloud, row): (Cloud, Row)| {
        let fields = fields::of(row.kind).fields.iter().flat_map(|field| field.from);
        (row.kind, Wanted::of(cloud.taken().iter().chain(fields).copied()))
    };
    all().map(of).collect()
});

/// Of an object's identity block.
const TAKEN_OF_IDENTITY: &[&str] = &[
    "account_id",
    "subscription_id",
    "project",
    "region",
    "location",
    "zone",
    "id",
    "name",
    "arn",
];

/// Attributes that name other objects, of any resource type, and the ARN. They are compared, never handed on.
const TAKEN_OF_OTHERS: &[&str] = &[
    "arn",
    "instance",
    "instance_id",
    "virtual_machine_id",
    "vpc_id",
    "subnet_id",
    "subnet_ids",
    "network",
    "subnetwork",
    "network_interface_id",
    "network_interface_ids",
    "network_security_group_id",
    "security_group_id",
    "security_groups",
    "vpc_security_group_ids",
    "route_table_id",
    "gateway_id",
    "nat_gateway_id",
    "allocation_id",
    "volume_id",
    "managed_disk_id",
    "disk",
    "public_ip_address_id",
    "vnet_subnet_id",
];

/// The cloud and the row of a resource type.
pub fn row(kind: &str) -> Option<(Cloud, Row)> {
    all().find(|(_, row)| row.kind == kind)
}

/// Every resource type that is understood.
pub fn all() -> impl Iterator<Item = (Cloud, Row)> {
    let of = |cloud, rows: &'static [Row]| rows.iter().map(move |row| (cloud, *row));
    of(Cloud::Aws, aws::ROWS)
        .chain(of(Cloud::Azure, azure::ROWS))
        .chain(of(Cloud::Gcp, gcp::ROWS))
        .chain(of(Cloud::Openstack, openstack::ROWS))
}

/// The only attributes that are ever taken out of an instance of a resource type.
pub fn taken_of(kind: &str) -> &'static Wanted {
    match OF_ROWS.get(kind) {
        Some(wanted) => wanted,
        None if kind == aws::CALLER => &OF_CALLER,
        None => &OF_OTHERS,
    }
}

/// The cloud, the row and what an object says of itself; none if its type is not understood, or its provider is another
/// than the type's.
pub(crate) fn draft(object: &Object) -> Option<(Cloud, Row, Draft)> {
    let (cloud, row) = row(&object.address.kind)?;
    let provider = object.provider.name.as_str();
    let (ours, draft) = match cloud {
        Cloud::Aws => (provider == "aws", aws::draft(object)),
        Cloud::Azure => (provider == "azurerm", azure::draft(object)),
        Cloud::Gcp => (matches!(provider, "google" | "google-beta"), gcp::draft(object)),
        Cloud::Openstack => (provider == "openstack", openstack::draft(object)),
    };
    (ours && object.address.mode == Mode::Managed).then_some((cloud, row, draft))
}

/// What an object that need not be understood says about the account and region of its provider's configuration.
pub(crate) fn neighbour(object: &Object) -> Draft {
    match object.provider.name.as_str() {
        "aws" => aws::neighbour(object),
        _ => Draft::default(),
    }
}

/// What the objects that an object names are known by.
pub(crate) fn references(object: &Object) -> Vec<String> {
    let named = TAKEN_OF_OTHERS.iter().filter(|name| **name != "arn");
    named
        .flat_map(|name| object.attributes.values(name))
        .map(str::to_owned)
        .collect()
}

impl Row {
    const fn new(kind: &'static str, what: What, object: &'static str) -> Self {
        Self { kind, what, object }
    }
}

impl Cloud {
    /// What objects of a cloud are known by.
    fn taken(self) -> &'static [&'static str] {
        match self {
            Self::Aws => aws::TAKEN,
            Self::Azure => azure::TAKEN,
            Self::Gcp => gcp::TAKEN,
            Self::Openstack => openstack::TAKEN,
        }
    }

    /// An id as the cloud's provider reads it: Azure tells no case, and a path of Google's stands within its project.
    pub(crate) fn object_id(self, row: &Row, id: &str, (region, zone): (Option<&str>, Option<&str>)) -> ObjectId {
        ObjectId(match self {
            Self::Aws | Self::Openstack => id.to_owned(),
            Self::Azure => id.to_lowercase(),
            Self::Gcp => gcp::within(row, id, (region, zone)),
        })
    }

    /// Whether Isobar has a provider that could take over what is there.
    pub(crate) fn has_provider(self) -> bool {
        match self {
            Self::Aws | Self::Azure | Self::Gcp => true,
            Self::Openstack => false,
        }
    }

    /// Whether all objects of a provider's configuration are in one region, unless they say otherwise.
    pub(crate) fn has_one_region(self) -> bool {
        match self {
            Self::Aws | Self::Openstack => true,
            Self::Azure | Self::Gcp => false,
        }
    }

    pub(crate) fn ask_account(self) -> &'static str {
        match self {
            Self::Aws => "which AWS account does this provider configuration use?",
            Self::Azure => "which Azure subscription does this provider configuration use?",
            Self::Gcp => "which Google project does this provider configuration use?",
            Self::Openstack => "which OpenStack project does this provider configuration use?",
        }
    }

    pub(crate) fn ask_region(self) -> &'static str {
        match self {
            Self::Aws => "which AWS region does this provider configuration use?",
            Self::Azure => "which Azure location is this object in?",
            Self::Gcp => "which Google region or zone is this object in?",
            Self::Openstack => "which OpenStack region does this provider configuration use?",
        }
    }
}

/// The first that is there.
pub(crate) fn first<const N: usize>(found: [Option<(String, Source)>; N]) -> Option<(String, Source)> {
    found.into_iter().flatten().next()
}

/// An attribute of the object's identity block.
pub(crate) fn of_identity(object: &Object, name: &str) -> Option<(String, Source)> {
    object
        .identity
        .get(name)
        .map(|value| (value.to_owned(), Source::Identity))
}

/// An attribute of the object.
pub(crate) fn of_object(object: &Object, name: &str) -> Option<(String, Source)> {
    object
        .attributes
        .get(name)
        .map(|value| (value.to_owned(), Source::Object))
}
