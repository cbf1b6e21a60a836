//! Whether a hand-over has happened: a later state of the same history, without any of the objects.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::account::Account;
use crate::hcl::{Blocks, Found};
use crate::identity::Cloud;
use crate::read::Header;

/// Addresses that an error names at most.
const NAMED_MAX: usize = 5;

/// An object that is handed over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Handed {
    /// Where it stood.
    pub address: String,
    /// In which cloud it is.
    pub cloud: Cloud,
    /// The cloud's own id.
    pub id: String,
}

/// It has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confirmed {
    /// In which state that shows.
    pub serial: u64,
}

/// Why it is not certain that it has happened. Nobody may change the objects yet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotConfirmed {
    /// Run the hand-over, or what is missing of it.
    #[error("Terraform still has {}", named(.addresses))]
    StillThere {
        /// Where the objects stand now.
        addresses: Vec<String>,
    },
    /// Show the state of the same configuration.
    #[error("the state is of another history: its lineage is `{found}`, not `{wanted}`")]
    OtherLineage {
        /// Whose objects are handed over.
        wanted: String,
        /// What was shown.
        found: String,
    },
    /// Show the state as it is now.
    #[error("the state is not newer than the one that was looked at: its serial is {found}, that one's {before}")]
    OlderSerial {
        /// Of the state that was looked at.
        before: u64,
        /// Of the state that was shown.
        found: u64,
    },
    /// Show what `terraform state pull` prints.
    #[error("the state tells no lineage or no serial, so nobody knows whether it is newer")]
    NoHistory,
}

impl NotConfirmed {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::StillThere { .. } => "run the hand-over as its README says, then show the state again",
            Self::OtherLineage { .. } => "run `terraform state pull` in the folder of the configuration",
            Self::OlderSerial { .. } => "apply the hand-over first; then show what `terraform state pull` prints",
            Self::NoHistory => "show what `terraform state pull` prints, not `terraform show`",
        }
    }
}

/// Whether a fresh state shows that Terraform has forgotten what is handed over. An object that has only moved to another
/// address is still there.
pub fn confirm(before: &Header, handed: &[Handed], after: &Account) -> Result<Confirmed, NotConfirmed> {
    let header = &after.header;
    if before.lineage.is_empty() || header.lineage.is_empty() {
        return Err(NotConfirmed::NoHistory);
    }
    if before.lineage != header.lineage {
        return Err(NotConfirmed::OtherLineage {
            wanted: before.lineage.clone(),
            found: header.lineage.clone(),
        });
    }
    let (Some(earlier), Some(serial)) = (before.serial, header.serial) else {
        return Err(NotConfirmed::NoHistory);
    };
    if serial <= earlier {
        return Err(NotConfirmed::OlderSerial {
            before: earlier,
            found: serial,
        });
    }
    let addresses: BTreeSet<&str> = handed.iter().map(|object| object.address.as_str()).collect();
    let ids: BTreeSet<(Cloud, &str)> = handed.iter().map(|object| (object.cloud, object.id.as_str())).collect();
    let is_handed = |line: &&crate::account::Line| {
        let known = line.standing.identified();
        addresses.contains(line.address.to_string().as_str())
            || known.is_some_and(|known| ids.contains(&(known.cloud, known.id.as_str())))
    };
    let there: Vec<String> = after
        .lines
        .iter()
        .filter(is_handed)
        .map(|line| line.address.to_string())
        .collect();
    match there.is_empty() {
        true => Ok(Confirmed { serial }),
        false => Err(NotConfirmed::StillThere { addresses: there }),
    }
}

/// Blocks of what was handed over that still stand in the configuration: the next apply would make each object a second time.
pub fn declared<'a>(blocks: &'a Blocks, handed: &'a [Handed]) -> BTreeSet<&'a Found> {
    handed.iter().flat_map(|object| blocks.of(&object.address)).collect()
}

fn named(addresses: &[String]) -> String {
    let first = addresses
        .iter()
        .take(NAMED_MAX)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match addresses.len().saturating_sub(NAMED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
