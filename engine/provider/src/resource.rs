//! What is asked of a provider and what it answers: requests, states, tags, tokens.

use std::collections::BTreeMap;
use std::fmt;

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_model::quantity::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// For how long the same token answers with the same resource, in ms.
    pub token_validity_ms: u64,
    /// After so long a created resource is in every list, in ms. "Not found" counts only after it.
    pub visibility_delay_max_ms: u64,
    /// Largest identity that a machine can be given, in bytes.
    pub identity_max_bytes: usize,
    /// The settings of a site that say whose account it is. A cloud's limits count for an account and region together.
    pub account_settings: &'static [&'static str],
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
}

impl ResourceKind {
    /// Every kind, in the order in which a sweep lists them.
    pub const ALL: [Self; 4] = [Self::Machine, Self::Disk, Self::Interface, Self::Address];

    /// Its name: `machine`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Disk => "disk",
            Self::Interface => "interface",
            Self::Address => "address",
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
    /// Which machine it is or belongs to.
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
