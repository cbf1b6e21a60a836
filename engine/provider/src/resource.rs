//! What is asked of a provider and what it answers: requests, states, tags, tokens.

use std::collections::BTreeMap;
use std::fmt;

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_model::quantity::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ProviderError;

/// At most so many bytes of a console come in one answer.
pub const CONSOLE_CHUNK_MAX_BYTES: usize = 64 * 1024;
/// At most so many resources come in one page.
pub const PAGE_MAX_ITEMS: usize = 1000;

/// A site as a provider needs it: resolved from the spec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Site {
    /// The spec's name for it.
    pub name: SiteName,
    /// Which provider.
    pub provider: ProviderId,
    /// In the provider's spelling.
    pub region: String,
    /// What only the provider reads.
    pub settings: BTreeMap<String, String>,
}

/// What a branch of the planner, of the executor or of a decorator depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// For how long the same token answers with the same machine, in ms.
    pub token_validity_ms: u64,
    /// After so long a created resource is in every list, in ms. "Not found" counts only after it.
    pub visibility_delay_max_ms: u64,
    /// Largest identity that a machine can be given, in bytes.
    pub identity_max_bytes: usize,
    /// The settings of a site that say whose account it is. A cloud's limits count for an account and region together.
    pub account_settings: &'static [&'static str],
    /// For how long the same token answers with the same part of a network, in ms; 0: the provider knows no tokens for
    /// these, and whoever lost an answer looks for the tags.
    pub network_token_validity_ms: u64,
    /// Under which host its machines reach what listens on loopback of the engine's own computer; absent: they are elsewhere.
    pub sees_engine_at: Option<&'static str>,
}

impl Capabilities {
    /// For how long the same token answers with the same resource, in ms.
    pub fn token_validity_of(&self, kind: ResourceKind) -> u64 {
        if kind.is_network() {
            self.network_token_validity_ms
        } else {
            self.token_validity_ms
        }
    }
}

/// Kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A machine with what is deleted with it.
    Machine,
    /// A disk: made with a machine and deleted with it, unless something went wrong.
    Disk,
    /// A network card, likewise.
    Interface,
    /// An address by which others reach a machine, likewise.
    Address,
    /// A private network with a range of addresses of its own.
    Network,
    /// A network's way to the internet.
    Gateway,
    /// A part of a network's range, where machines get their addresses from.
    Subnet,
    /// What may reach machines.
    Firewall,
}

impl ResourceKind {
    /// Every kind, in the order in which a sweep lists them.
    pub const ALL: [Self; 8] = [
        Self::Machine,
        Self::Disk,
        Self::Interface,
        Self::Address,
        Self::Firewall,
        Self::Subnet,
        Self::Gateway,
        Self::Network,
    ];

    /// Its name: `machine`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Disk => "disk",
            Self::Interface => "interface",
            Self::Address => "address",
            Self::Network => "network",
            Self::Gateway => "gateway",
            Self::Subnet => "subnet",
            Self::Firewall => "firewall",
        }
    }

    /// Whether it is a part of a network, made by itself; else it is a machine or made with one.
    pub fn is_network(self) -> bool {
        match self {
            Self::Network | Self::Gateway | Self::Subnet | Self::Firewall => true,
            Self::Machine | Self::Disk | Self::Interface | Self::Address => false,
        }
    }
}

/// An idempotency token: derived from operation, step and attempt, never random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

/// Bytes that are never printed. Written as text in hex: a list of numbers would be up to four times as long.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(pub Vec<u8>);

/// Text that is no [`Secret`]. Says nothing of what it was instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is text in hex")]
pub struct NotASecret;

impl TryFrom<String> for Secret {
    type Error = NotASecret;
    fn try_from(text: String) -> Result<Self, NotASecret> {
        hex::decode(text).map(Self).map_err(|_| NotASecret)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        hex::encode(secret.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whose resources: one cluster of one engine. A restored store is another incarnation with the same cluster name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The store's own id.
    pub store: String,
    /// The cluster.
    pub cluster: ClusterName,
}

/// The tags that every resource of ours carries, put on in the call that makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerTags {
    /// Whose.
    pub owner: Owner,
    /// Which machine it is or belongs to; a part of a network has an id of its own, which no machine can have.
    pub machine: MachineId,
    /// By which operation.
    pub operation: OperationId,
    /// In which attempt.
    pub attempt: AttemptNo,
    /// By which writer.
    pub epoch: Epoch,
}

/// A resource to make. Frozen in the journal: a replay sends the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateResource {
    /// Where.
    pub site: Site,
    /// Unique within the site; derived like the token.
    pub name: String,
    /// Derived from operation, step and attempt.
    pub token: Token,
    /// Whose.
    pub tags: OwnerTags,
    /// What.
    pub spec: ResourceSpec,
}

/// What is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ResourceSpec {
    /// A machine with its network card and disk.
    Machine(MachineRequest),
    /// A part of a network.
    Network(NetworkRequest),
}

impl ResourceSpec {
    /// Of which kind it is.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Machine(_) => ResourceKind::Machine,
            Self::Network(request) => request.part.kind,
        }
    }

    /// The machine that is asked for, of a provider that makes nothing else.
    pub fn machine(&self) -> crate::Result<&MachineRequest> {
        match self {
            Self::Machine(machine) => Ok(machine),
            Self::Network(request) => Err(ProviderError::Unsupported {
                message: format!("making a {}", request.part.kind.name()),
            }),
        }
    }

    /// What is asked of a machine, to be changed; absent: something else is asked for.
    pub fn machine_mut(&mut self) -> Option<&mut MachineRequest> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::Network(_) => None,
        }
    }
}

/// A machine to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRequest {
    /// In which zone.
    pub zone: Zone,
    /// Which offering.
    pub offering: OfferingId,
    /// What it boots.
    pub image: ImageId,
    /// What the node reads first: where home is and its one-time token.
    pub identity: Secret,
    /// Ports that others must reach, first and last.
    pub open_ports: (u16, u16),
    /// What it is connected to, as [`crate::Networks::needs`] says; of a provider without that area nothing.
    #[serde(default, skip_serializing_if = "Network::is_empty")]
    pub network: Network,
}

/// Parts of a network, by kind: those that a machine is connected to, or that another part is made in.
pub type Network = BTreeMap<ResourceKind, ResourceHandle>;

/// Which part of a site's network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkPart {
    /// What.
    pub kind: ResourceKind,
    /// The only zone that it is for; absent: all of the site.
    pub zone: Option<Zone>,
}

/// A part of a network to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRequest {
    /// Which.
    pub part: NetworkPart,
    /// What it is made in: what was found and what was made before it.
    pub within: Network,
    /// Ports of machines, first and last, that are reached over TCP.
    pub open_ports: (u16, u16),
    /// The port of machines at which other nodes of the cluster reach them over UDP.
    pub overlay_port: u16,
}

/// What machines of a zone are connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkNeeds {
    /// What is there already, by the site's settings or as the account's default. Not ours: never changed or removed.
    pub found: Network,
    /// What has to be made, each in what stands before it. Removed the other way round.
    pub make: Vec<NetworkPart>,
}

/// The provider accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// What the provider calls it.
    pub handle: ResourceHandle,
}

/// A resource as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceState {
    /// What the provider calls it.
    pub handle: ResourceHandle,
    /// Its name.
    pub name: String,
    /// Its tags; absent where they are not ours.
    pub tags: Option<OwnerTags>,
    /// Where it stands.
    pub status: ResourceStatus,
    /// As what a machine was rented; absent for other kinds, and where the provider cannot tell.
    pub offering: Option<OfferingId>,
    /// Addresses at which others reach its open ports, by port.
    pub endpoints: BTreeMap<u16, String>,
    /// When it was made.
    pub created: Timestamp,
}

/// Where a resource stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ResourceStatus {
    /// Being made.
    Pending,
    /// It runs.
    Running,
    /// It does not run and will not by itself; it may still be billed.
    Stopped {
        /// Why, in words.
        reason: String,
    },
    /// Being deleted.
    Deleting,
}

/// Where the next page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page(pub String);

/// One page of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In handle order.
    pub items: Vec<ResourceState>,
    /// Where the next page starts; absent: this was the last.
    pub next: Option<Page>,
}

/// A part of a console's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleChunk {
    /// Bytes, not always UTF-8.
    pub bytes: Vec<u8>,
    /// Where the next part starts.
    pub next_offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_in_two_letters_a_byte_and_never_printed() {
        let secret = Secret((0..=255).collect());
        let written = serde_json::to_string(&secret).expect("text");
        assert_eq!(written.len(), 2 * 256 + 2);
        assert_eq!(
            serde_json::from_str::<Secret>(&written).expect("what was written"),
            secret
        );
        assert_eq!(format!("{secret:?}"), "***");
        for wrong in ["\"abc\"", "\"join me\"", "[1,2]"] {
            let error = serde_json::from_str::<Secret>(wrong).expect_err(wrong).to_string();
            assert!(!error.contains("join me"), "{error}");
        }
    }
}
