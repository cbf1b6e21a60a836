//! The rules of Terraform's HTTP backend: whether a state may be replaced, locked or unlocked, given what is stored. Stores
//! nothing and knows no HTTP; asked by the engine, which keeps the states.

mod body;
mod lock;

use std::collections::BTreeSet;

use thiserror::Error;

pub use body::{Addresses, BODY_MAX_BYTES, Body};
pub use lock::{LOCK_MAX_BYTES, LockInfo, NotALock, Unlock};

/// Addresses that a refusal names at most.
const NAMED_MAX: usize = 5;

/// What is known of the newest version that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// Its serial, if it told one.
    pub serial: Option<u64>,
    /// Whose history it belongs to; empty: a legacy state.
    pub lineage: &'a str,
    /// SHA-256 of its bytes, in hex.
    pub sha256: &'a str,
    /// Nothing stands in it: any state may follow.
    pub empty: bool,
}

/// What a write that is allowed does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// It is a new version.
    New,
    /// It is what is stored: an answer was lost, and the client asks again.
    Same,
}

/// What a lock that is allowed does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// It is new.
    New,
    /// The same client asks again.
    Same,
}

/// What an unlock that is allowed does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlocking {
    /// The lock goes.
    Released,
    /// There was none: an answer was lost, and the client asks again.
    Free,
}

/// Why a client is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Somebody else works on the state: wait.
    #[error("the state is locked by another client")]
    Locked,
    /// The lock was taken away meanwhile: plan again.
    #[error("the lock `{shown}` is not held any more")]
    LockGone {
        /// What the client holds on to.
        shown: String,
    },
    /// Another configuration's state: use another address.
    #[error("the lineage `{new}` is not that of the stored state, `{stored}`")]
    OtherLineage {
        /// What is stored.
        stored: String,
        /// What was sent.
        new: String,
    },
    /// Somebody has written since: plan again.
    #[error("the serial {new} is older than the stored one, {stored}")]
    OlderSerial {
        /// What is stored.
        stored: u64,
        /// What was sent.
        new: u64,
    },
    /// Somebody has written since: plan again.
    #[error("the serial {serial} is stored with another content")]
    SameSerial {
        /// The serial.
        serial: u64,
    },
    /// Isobar manages these now: delete their blocks.
    #[error("Isobar manages {}", named(.addresses))]
    Adopted {
        /// Which, as they stand in the state that was sent.
        addresses: Vec<String>,
    },
    /// Nobody said whose lock to take away.
    #[error("an unlock without a lock's id is refused")]
    Force,
}

impl Refusal {
    /// What the client's user does next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked => "wait until it is done, or unlock: `isobar terraform unlock`",
            Self::LockGone { .. } | Self::OlderSerial { .. } | Self::SameSerial { .. } => {
                "somebody else has written or unlocked meanwhile: plan again from the stored state"
            }
            Self::OtherLineage { .. } => "this is another configuration's state: give it a name of its own",
            Self::Adopted { .. } => {
                "delete their blocks from the configuration; to give them back to Terraform, release them in Isobar first"
            }
            Self::Force => {
                "`isobar terraform unlock NAME --lock ID` takes a lock away by its id; `isobar serve \
                 --terraform-force-unlock` lets Terraform do it without one"
            }
        }
    }
}

/// Whether a body may follow what is stored. `holder` is the lock that is held, `shown` the one that the client shows.
///
/// Serials and lineages are Terraform's own rules: without a lineage on either side anything goes.
pub fn write(
    head: Option<Head<'_>>,
    holder: Option<&str>,
    shown: Option<&str>,
    body: &Body,
) -> Result<Writing, Refusal> {
    match (holder, shown) {
        (None, None) => {}
        (Some(holder), Some(shown)) if holder == shown => {}
        (Some(_), _) => return Err(Refusal::Locked),
        (None, Some(shown)) => {
            return Err(Refusal::LockGone {
                shown: shown.to_owned(),
            });
        }
    }
    let Some(head) = head else { return Ok(Writing::New) };
    if head.sha256 == body.sha256 {
        return Ok(Writing::Same);
    }
    if head.empty || head.lineage.is_empty() || body.lineage.is_empty() {
        return Ok(Writing::New);
    }
    if head.lineage != body.lineage {
        return Err(Refusal::OtherLineage {
            stored: head.lineage.to_owned(),
            new: body.lineage.clone(),
        });
    }
    let (stored, new) = (head.serial.unwrap_or(0), body.serial.unwrap_or(0));
    match new.cmp(&stored) {
        std::cmp::Ordering::Greater => Ok(Writing::New),
        std::cmp::Ordering::Less => Err(Refusal::OlderSerial { stored, new }),
        std::cmp::Ordering::Equal => Err(Refusal::SameSerial { serial: new }),
    }
}

/// That a body brings back nothing that was taken over from its lineage. A sealed body tells nothing of that.
///
/// An adopted block is back with any of its instances; an adopted instance with itself alone.
pub fn brings_back_none(body: &Body, adopted: &BTreeSet<&str>) -> Result<(), Refusal> {
    let Addresses::Told(told) = &body.addresses else {
        return Ok(());
    };
    let back = told
        .iter()
        .filter(|(instance, block)| adopted.contains(instance.as_str()) || adopted.contains(block.as_str()));
    let addresses: Vec<String> = back.map(|(instance, _)| instance.clone()).collect();
    match addresses.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Adopted { addresses }),
    }
}

/// Whether a client may lock.
pub fn lock(holder: Option<&str>, asked: &str) -> Result<Locking, Refusal> {
    match holder {
        None => Ok(Locking::New),
        Some(holder) if holder == asked => Ok(Locking::Same),
        Some(_) => Err(Refusal::Locked),
    }
}

/// Whether a client may unlock; `force` says whether it may without naming the lock.
pub fn unlock(holder: Option<&str>, asked: &Unlock, force: bool) -> Result<Unlocking, Refusal> {
    match (holder, asked) {
        (None, _) => Ok(Unlocking::Free),
        (Some(holder), Unlock::Id(id)) if holder == id => Ok(Unlocking::Released),
        (Some(_), Unlock::Id(_)) => Err(Refusal::Locked),
        (Some(_), Unlock::Force) if force => Ok(Unlocking::Released),
        (Some(_), Unlock::Force) => Err(Refusal::Force),
    }
}

fn named(addresses: &[String]) -> String {
    let first: Vec<&str> = addresses.iter().take(NAMED_MAX).map(String::as_str).collect();
    match addresses.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
