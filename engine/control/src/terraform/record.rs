//! What the store keeps of a state beside its contents, and of what was taken over.

use isobar_engine_model::id::StateName;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_store::Table;
use isobar_terraform_compat::backend::Head;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::{LockView, StateVersion};
use crate::record::Record;

/// A state: its versions, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateRecord {
    pub(crate) state: StateName,
    /// Oldest first. The contents are rows of their own.
    pub(crate) versions: Vec<Version>,
    pub(crate) lock: Option<Lock>,
    /// Why the last write was refused; absent: it was not.
    pub(crate) refused: Option<String>,
}

/// A version that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    #[serde(flatten)]
    pub(crate) told: StateVersion,
    /// Nothing stands in it.
    pub(crate) empty: bool,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lock {
    #[serde(flatten)]
    pub(crate) view: LockView,
    /// The client's description, as it was sent.
    pub(crate) info: String,
}

/// The contents of a version. Written once, never changed, not kept in memory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BodyRow {
    /// Compressed, then sealed, in base64.
    pub(crate) sealed: String,
}

/// An address that was taken over from a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BarredRecord {
    pub(crate) lineage: String,
    pub(crate) address: String,
    pub(crate) since: Timestamp,
}

impl StateRecord {
    pub(crate) fn new(state: StateName) -> Self {
        Self {
            state,
            versions: Vec::new(),
            lock: None,
            refused: None,
        }
    }

    /// The newest version, as the backend's rules ask for it.
    pub(crate) fn head(&self) -> Option<Head<'_>> {
        self.versions.last().map(|version| Head {
            serial: version.told.serial,
            lineage: &version.told.lineage,
            sha256: &version.told.sha256,
            empty: version.empty,
        })
    }

    /// The id of the lock that is held.
    pub(crate) fn holder(&self) -> Option<&str> {
        self.lock.as_ref().map(|lock| lock.view.id.as_str())
    }
}

impl Record for StateRecord {
    const TABLE: Table = Table::TerraformState;
    fn key(&self) -> String {
        self.state.to_string()
    }
}

impl Record for BarredRecord {
    const TABLE: Table = Table::TerraformAdopted;
    fn key(&self) -> String {
        adopted_key(&self.lineage, &self.address)
    }
}

/// The prefix of the keys of what was taken over from a lineage. Hashed: lineages and addresses can be any text.
pub(crate) fn lineage_prefix(lineage: &str) -> String {
    format!("{}/", hex::encode(Sha256::digest(lineage)))
}

/// The key of an address that was taken over.
pub(crate) fn adopted_key(lineage: &str, address: &str) -> String {
    format!("{}{}", lineage_prefix(lineage), hex::encode(Sha256::digest(address)))
}

/// The key of a version's contents.
pub(crate) fn body_key(state: &StateName, version: u64) -> String {
    format!("{state}/{version:020}")
}
