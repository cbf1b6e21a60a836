//! Handing objects over from Terraform: which blocks go, by which means each address is forgotten, what stays with Terraform
//! and why, the files that a person runs, and the way back. Runs nothing and changes no file.

mod confirm;
mod files;
mod import;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::account::{Account, Line, Standing};
use crate::address::{Address, Mode};
use crate::hcl::{Blocks, Found};
pub use confirm::{Confirmed, Handed, NotConfirmed, confirm, declared};
pub use files::files;
pub use import::{Import, import};

/// What a person does to hand objects over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HandOver {
    /// Blocks whose every instance goes: `removed` blocks forget them, without destroying.
    pub removed: BTreeSet<String>,
    /// Instances that `terraform state rm` forgets: not all of their block's go, or Terraform knows no `removed` blocks.
    pub state_rm: BTreeSet<String>,
    /// `resource` blocks to delete from the configuration.
    pub delete: BTreeSet<Found>,
    /// Blocks that lose some of their instances: their `count` or `for_each` has to shrink.
    pub shrink: BTreeSet<Found>,
    /// Blocks that go and were not found in the files that were given.
    pub unfound: BTreeSet<String>,
    /// Objects that are handed over: addresses with their ids.
    pub handed: Vec<Handed>,
    /// What stays with Terraform though it could go, and why.
    pub left: BTreeMap<String, Left>,
}

/// Why something stays with Terraform for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "left")]
pub enum Left {
    /// Forgetting the address would forget old copies with it, which exist and which nobody would delete.
    Deposed,
    /// Its block is that of other modules too, whose objects do not go.
    Shared {
        /// One of these.
        with: String,
    },
    /// Its address is none that Terraform would take.
    OddAddress,
}

impl Left {
    /// Why, in words, and what to do.
    pub fn words(&self) -> String {
        match self {
            Self::Deposed => {
                "it has a deposed copy, which exists: `terraform apply` deletes it; then hand over again".to_owned()
            }
            Self::Shared { with } => format!(
                "its block is also that of {with}, which does not go: give this one a module of its own first, or hand \
                 over both"
            ),
            Self::OddAddress => "its address cannot be written in a configuration: repair the state first".to_owned(),
        }
    }
}

/// A block, with what the state and the configuration have of it.
struct Block<'a> {
    /// Without a key anywhere.
    address: &'a str,
    /// Its objects, deposed ones too.
    lines: &'a [&'a Line],
    /// Where the deposed ones stand.
    deposed: BTreeSet<&'a Address>,
    found: Vec<&'a Found>,
    /// A block that is the same lines of the configuration, where not both go as a whole.
    shared_with: Option<String>,
}

/// What to do to hand over every candidate of a state, given the configuration's blocks.
pub fn hand_over(account: &Account, blocks: &Blocks) -> HandOver {
    let mut plan = HandOver::default();
    let knows_removed = knows_removed(&account.header.terraform_version);
    let managed = account.lines.iter().filter(|line| line.address.mode == Mode::Managed);
    let mut all: BTreeMap<String, Vec<&Line>> = BTreeMap::new();
    for line in managed {
        all.entry(without_module_keys(&line.address)).or_default().push(line);
    }
    let whole: BTreeSet<&str> = all
        .iter()
        .filter(|(_, lines)| lines.iter().all(|line| is_candidate(line)))
        .map(|(address, _)| address.as_str())
        .collect();
    for (address, lines) in all
        .iter()
        .filter(|(_, lines)| lines.iter().any(|line| is_candidate(line)))
    {
        let found: Vec<&Found> = blocks.of(address).collect();
        let block = Block {
            shared_with: shared_with(&found, blocks, &whole, whole.contains(address.as_str())),
            deposed: deposed(lines),
            address,
            lines,
            found,
        };
        plan.add(&block, knows_removed);
    }
    plan
}

impl HandOver {
    /// Hands over what it can of a block.
    fn add(&mut self, block: &Block<'_>, knows_removed: bool) {
        let mut going = BTreeSet::new();
        for line in block.lines.iter().filter(|line| is_candidate(line)) {
            let address = line.address.to_string();
            match (block.why_left(line), line.standing.identified()) {
                (Some(left), _) => {
                    self.left.insert(address, left);
                }
                (None, Some(identified)) => {
                    self.handed.push(Handed {
                        address: address.clone(),
                        cloud: identified.cloud,
                        id: identified.id.clone(),
                    });
                    going.insert(address);
                }
                (None, None) => {}
            }
        }
        if going.is_empty() {
            return;
        }
        if block.found.is_empty() {
            self.unfound.insert(block.address.to_owned());
        }
        let all_go = going.len() == block.lines.len();
        let found = block.found.iter().map(|found| (*found).clone());
        match all_go {
            true => self.delete.extend(found),
            false => self.shrink.extend(found),
        }
        if all_go && knows_removed {
            self.removed.insert(block.address.to_owned());
        } else {
            self.state_rm.extend(going);
        }
    }
}

impl Block<'_> {
    /// Why a candidate of it stays for now; none: it goes.
    fn why_left(&self, line: &Line) -> Option<Left> {
        if !is_writable(&line.address) {
            Some(Left::OddAddress)
        } else if self.deposed.contains(&line.address) {
            Some(Left::Deposed)
        } else {
            let with = self.shared_with.clone()?;
            Some(Left::Shared { with })
        }
    }
}

fn deposed<'a>(lines: &[&'a Line]) -> BTreeSet<&'a Address> {
    let deposed = lines
        .iter()
        .filter(|line| matches!(line.standing, Standing::Deposed { .. }));
    deposed.map(|line| &line.address).collect()
}

fn is_candidate(line: &Line) -> bool {
    matches!(line.standing, Standing::Candidate { .. })
}

/// An address whose block in the files is one of these too, unless both go as a whole.
fn shared_with(found: &[&Found], blocks: &Blocks, whole: &BTreeSet<&str>, goes_whole: bool) -> Option<String> {
    let here = |other: &&Found| {
        found.iter().any(|found| {
            (&found.file, found.first_line) == (&other.file, other.first_line) && found.address != other.address
        })
    };
    let mut others = blocks.found.iter().filter(here);
    let other = others.find(|other| !goes_whole || !whole.contains(other.address.as_str()));
    other.map(|other| other.address.clone())
}

/// The block's address as a configuration writes it: no key anywhere.
fn without_module_keys(address: &Address) -> String {
    crate::hcl::without_keys(&address.block())
}

/// Whether an address may stand in a configuration and in a line of a shell.
fn is_writable(address: &Address) -> bool {
    let is_name = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && chars.all(|char| char.is_alphanumeric() || matches!(char, '_' | '-'))
    };
    let modules = crate::hcl::without_keys(&address.module);
    let mut modules = modules.split('.').filter(|part| !part.is_empty());
    is_name(&address.kind)
        && is_name(&address.name)
        && modules.all(is_name)
        && !address.to_string().chars().any(char::is_control)
}

/// Since 1.7 both Terraform and OpenTofu have `removed` blocks.
fn knows_removed(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= (1, 7),
        _ => false,
    }
}
