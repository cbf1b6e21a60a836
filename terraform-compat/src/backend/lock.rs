//! What clients send to lock and to unlock. Keeps a lock's words as they came: another client reads them.

use serde::Deserialize;
use thiserror::Error;

/// The longest description of a lock that is stored.
pub const LOCK_MAX_BYTES: usize = 16 << 10;

/// Who holds a state, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockInfo {
    /// The lock's own id.
    pub id: String,
    /// `user@host`, as the client says.
    pub who: String,
    /// `OperationTypeApply` ...
    pub operation: String,
    /// The description as it was sent.
    pub text: String,
}

/// What a client asks to unlock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlock {
    /// The lock of this id.
    Id(String),
    /// Whatever lock there is: `terraform force-unlock` sends nothing at all.
    Force,
}

/// A description that cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is no description of a lock: a JSON object with an `ID`, of at most {LOCK_MAX_BYTES} bytes")]
pub struct NotALock;

#[derive(Deserialize)]
struct Described {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Who", default)]
    who: String,
    #[serde(rename = "Operation", default)]
    operation: String,
}

impl LockInfo {
    /// Reads what a client sends to lock.
    pub fn of(bytes: &[u8]) -> Result<Self, NotALock> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotALock)?;
        let described: Described = serde_json::from_str(text).map_err(|_| NotALock)?;
        if described.id.is_empty() || bytes.len() > LOCK_MAX_BYTES || text.contains('\0') {
            return Err(NotALock);
        }
        Ok(Self {
            id: described.id,
            who: described.who,
            operation: described.operation,
            text: text.to_owned(),
        })
    }
}

impl Unlock {
    /// Reads what a client sends to unlock: the whole description, its id alone, or nothing.
    pub fn of(bytes: &[u8]) -> Result<Self, NotALock> {
        match bytes.is_empty() {
            true => Ok(Self::Force),
            false => LockInfo::of(bytes).map(|info| Self::Id(info.id)),
        }
    }
}
