//! Typed ids: the one registry of every name Isobar gives or is given.
//!
//! A name that a person writes is a DNS label, so that it can stand in a host name, a cloud tag and a file name on
//! every provider. Handles that a provider gives are a different type: [`ResourceHandle`].

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest name a person may give, in bytes. Leaves room for Isobar's own prefixes inside a 63-byte DNS label.
pub const NAME_MAX_BYTES: usize = 32;

/// A name that is not a DNS label of at most [`NAME_MAX_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 32 of a-z, 0-9 and `-`, starting with a letter and not ending with `-`")]
pub struct NotAName(pub String);

fn is_label(text: &str, max: usize) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= max
        && bytes[0].is_ascii_lowercase()
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[bytes.len() - 1] != b'-'
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        crate::quantity::text_schema!($name, r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$");

        impl $name {
            /// Takes a DNS label of at most [`NAME_MAX_BYTES`].
            pub fn new(text: impl Into<String>) -> Result<Self, NotAName> {
                let text = text.into();
                if is_label(&text, NAME_MAX_BYTES) { Ok(Self(text)) } else { Err(NotAName(text)) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAName;
            fn try_from(text: String) -> Result<Self, NotAName> {
                Self::new(text)
            }
        }

        text_traits!($name);
    };
}

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps text that is opaque to Isobar or already known to be well-formed.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        text_traits!($name);
    };
}

macro_rules! text_traits {
    ($name:ident) => {
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

name!(
    /// A cluster: what one spec describes.
    ClusterName
);
name!(
    /// A site: provider + account + region, or a rack.
    SiteName
);
name!(
    /// A pool: machines of one shape policy.
    PoolName
);
name!(
    /// A workload: a service, job or daemon.
    WorkloadName
);
name!(
    /// An object that others made, in the cluster that takes it over.
    AdoptedName
);
name!(
    /// A kind of provider: `local`, `aws` ... Registered where the binary is wired.
    ProviderId
);

opaque!(
    /// A zone of a site, in the provider's spelling.
    Zone
);
opaque!(
    /// An offering: instance type x zone x purchase option of one site.
    OfferingId
);
opaque!(
    /// A node image, in the provider's spelling.
    ImageId
);
opaque!(
    /// `<pool>-<ordinal>`; an ordinal is never used again within its cluster.
    MachineId
);
opaque!(
    /// `<workload>-<ordinal>`; an ordinal is never used again within its cluster.
    ReplicaId
);
opaque!(
    /// `plan-` and the first 16 hex digits of the plan's content hash.
    PlanId
);
opaque!(
    /// `op-` and 16 hex digits.
    OperationId
);
opaque!(
    /// What a provider calls a resource. Only that provider reads it.
    ResourceHandle
);

opaque!(
    /// One life of an engine among those that share a store: made anew at every start.
    MemberId
);

/// Longest part of a [`StateName`] between slashes, in bytes.
const STATE_PART_MAX_BYTES: usize = 63;
/// A [`StateName`] has at most so many parts.
const STATE_PARTS_MAX: usize = 4;

/// A name that no state can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name of a state: use 1 to 4 parts with `/` between them, each 1 to 63 of a-z, 0-9, `.`, `_` and `-`, \
     starting and ending with a letter or a digit"
)]
pub struct NotAStateName(pub String);

/// What the state of one Terraform configuration, or of one of its workspaces, is kept under: `shop/production`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StateName(String);

crate::quantity::text_schema!(
    StateName,
    r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?(/[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?){0,3}$"
);
text_traits!(StateName);

impl StateName {
    /// Takes parts with `/` between them.
    pub fn new(text: impl Into<String>) -> Result<Self, NotAStateName> {
        let text = text.into();
        let parts = text.split('/');
        if parts.clone().count() <= STATE_PARTS_MAX && parts.clone().all(is_state_part) {
            Ok(Self(text))
        } else {
            Err(NotAStateName(text))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StateName {
    type Error = NotAStateName;
    fn try_from(text: String) -> Result<Self, NotAStateName> {
        Self::new(text)
    }
}

fn is_state_part(part: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.len() <= STATE_PART_MAX_BYTES
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || b"._-".contains(byte))
}

impl MachineId {
    /// The id of the `ordinal`-th machine that `pool` ever had.
    pub fn of(pool: &PoolName, ordinal: u32) -> Self {
        Self(format!("{pool}-{ordinal}"))
    }
}

impl ReplicaId {
    /// The id of the `ordinal`-th replica that `workload` ever had.
    pub fn of(workload: &WorkloadName, ordinal: u32) -> Self {
        Self(format!("{workload}-{ordinal}"))
    }
}

/// A step's place in its plan, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StepId(pub u32);

/// A try at one step, from 1. A fallback is a new attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AttemptNo(pub u32);

/// How many shards a store has. Never changed: which shard a cluster is in depends on it.
pub const SHARDS: u16 = 8;

/// A part of a store with one writer at a time, from 0 to [`SHARDS`] - 1. What belongs to one cluster is in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ShardId(pub u16);

impl ShardId {
    /// Every shard of a store, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }
}

/// The shard that a cluster is in, by its name: the same in every version, on every machine.
pub fn shard_of(cluster: &ClusterName) -> ShardId {
    let hash = Sha256::digest(cluster.as_str());
    let head = u16::from_be_bytes([hash[0], hash[1]]);
    ShardId(head % SHARDS)
}

/// Which life of its rows a store is: 1 when it was made, one more with each time that they come from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// Who may write a shard: grows by one at every claim, and is compared with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// How often the spec of a cluster was changed. 0: no spec is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// How often an object was changed in a way that a plan cares about. Status reports and metrics do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Version(pub u64);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "shop", "aws-fra", "a1"] {
            assert!(SiteName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "a-", "A", "a_b", "a.b", &"a".repeat(33)] {
            assert!(SiteName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_states_have_parts_and_no_way_out() {
        let long = "a".repeat(STATE_PART_MAX_BYTES);
        for good in ["a", "shop/production", "0.net_1-a", "a/b/c/d", &long] {
            assert!(StateName::new(good).is_ok(), "{good}");
        }
        let longer = "a".repeat(STATE_PART_MAX_BYTES + 1);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            "A",
            "a b",
            "a/b/c/d/e",
            "-a",
            "a.",
            "a%2fb",
            &longer,
        ] {
            assert!(StateName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_name_is_refused_on_reading() {
        assert!(serde_json::from_str::<ClusterName>(r#""Shop""#).is_err());
    }

    #[test]
    fn a_cluster_stays_in_its_shard_for_good() {
        let shard = |name: &str| shard_of(&ClusterName::new(name).unwrap()).0;
        let found = ["shop", "blog", "mail", "wiki", "half", "a"].map(shard);
        assert_eq!(found, [0, 5, 0, 4, 2, 7], "rows are stored under these");
    }

    #[test]
    fn clusters_spread_over_all_shards() {
        let mut clusters = vec![0; usize::from(SHARDS)];
        for n in 0..8_000 {
            let shard = shard_of(&ClusterName::new(format!("cluster-{n}")).unwrap());
            clusters[usize::from(shard.0)] += 1;
        }
        assert!(
            clusters.iter().all(|count| (800..1_200).contains(count)),
            "{clusters:?}"
        );
    }
}
