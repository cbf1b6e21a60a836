//! What clients of Terraform's states ask and are answered: lists and parts of versions for people, and the state backend's
//! own verbs, which HTTP carries.

use isobar_engine_model::id::StateName;
use isobar_engine_model::quantity::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which states to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatesRequest {
    /// Only this one, with every version that is kept.
    #[serde(default)]
    pub state: Option<StateName>,
    /// Only what comes after this name.
    #[serde(default)]
    pub after: Option<StateName>,
    /// At most so many; absent: 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u32>,
}

/// States, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatesAnswer {
    /// The states.
    pub states: Vec<StateView>,
    /// Give it as `after` for the rest; absent: this is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<StateName>,
}

/// One state, without its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateView {
    /// Its name.
    pub state: StateName,
    /// The newest version; absent: it was only locked so far.
    pub head: Option<StateVersion>,
    /// How many versions are kept.
    pub kept: u32,
    /// Who holds it.
    pub lock: Option<LockView>,
    /// Why the last write was refused, if nothing was written since: Terraform shows its user only a number.
    pub refused: Option<String>,
    /// Every version that is kept, newest first; empty unless one state is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<StateVersion>,
}

/// One version of a state, without its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateVersion {
    /// Its number, from 1.
    pub version: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The serial that it tells.
    pub serial: Option<u64>,
    /// The lineage that it tells; empty: a legacy state.
    pub lineage: String,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Who held the lock, as that client says; absent: nobody did.
    pub by: Option<String>,
    /// OpenTofu has encrypted it: what stands in it cannot be checked.
    pub encrypted: bool,
}

/// Who holds a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockView {
    /// The lock's id.
    pub id: String,
    /// `user@host`, as the client says.
    pub who: String,
    /// `OperationTypeApply` ...
    pub operation: String,
    /// Since when.
    pub since: Timestamp,
}

/// A part of a version. It holds whatever secrets the state holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRead {
    /// Which state.
    pub state: StateName,
    /// Which version; absent: the newest.
    #[serde(default)]
    pub version: Option<u64>,
    /// From which byte.
    #[serde(default)]
    pub offset: u64,
}

/// A part of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatePart {
    /// Of which version.
    pub version: u64,
    /// How long the whole version is.
    pub bytes: u64,
    /// The bytes from `offset` on, in base64.
    pub base64: String,
    /// Ask again with this `offset` and this `version`; absent: this was the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A version, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateGet {
    /// Which state.
    pub state: StateName,
    /// Which version; absent: the newest.
    #[serde(default)]
    pub version: Option<u64>,
}

/// A version's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateBody {
    /// Which version.
    pub version: u64,
    /// Its bytes, in base64.
    pub base64: String,
}

/// A new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatePut {
    /// Of which state.
    pub state: StateName,
    /// The lock that the client holds.
    #[serde(default)]
    pub lock: Option<String>,
    /// The bytes, in base64.
    pub base64: String,
}

/// A lock that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateLock {
    /// Of which state.
    pub state: StateName,
    /// Terraform's description of it, as it was sent.
    pub info: String,
}

/// A lock that is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateUnlock {
    /// Of which state.
    pub state: StateName,
    /// Its id; absent: whatever lock there is.
    #[serde(default)]
    pub lock: Option<String>,
    /// The client may take whatever lock there is, though it does not hold it: that is noted in the audit log.
    #[serde(default)]
    pub forced: bool,
}

/// A lock that is taken from a client that died. Noted in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRelease {
    /// Of which state.
    pub state: StateName,
    /// Its id: no other lock is taken away.
    pub lock: String,
}

/// The lock is not held any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateReleased {
    /// Which state.
    pub state: StateName,
    /// The lock's id.
    pub lock: String,
}

/// What became of a write, a lock or an unlock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StateOutcome {
    /// It is done, or was already.
    Done,
    /// Another client holds the state.
    Locked {
        /// The lock's description, as that client sent it.
        info: String,
    },
    /// It is against the rules.
    Refused {
        /// Why.
        reason: String,
        /// What to do next.
        hint: String,
    },
}

/// Addresses that are taken over from a lineage, or given back to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateAdopt {
    /// Whose.
    pub lineage: String,
    /// Blocks, which stand for all of their instances, or single instances. At most [`super::ADOPT_MAX_ADDRESSES`].
    pub addresses: Vec<String>,
    /// True: no state of this lineage may bring them back. False: it may again.
    pub adopted: bool,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateAdopted {
    /// How many were not so before.
    pub changed: u64,
}
