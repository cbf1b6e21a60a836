//! The account of a state: one line for every object in it, so that nothing is taken over twice and nothing is forgotten.
//! Reads no cloud: whether an object is there, and whether it is as the state says, is for others to find out.

mod survey;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::survey::Survey;
use crate::address::Address;
use crate::identity::{Cloud, Identified, Part, What};
use crate::read::{self, Header, Keys, ReadError};

/// All that one state holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// What the caller calls the state.
    pub name: String,
    /// What the state says of itself.
    pub header: Header,
    /// A line an object, in the state's order.
    pub lines: Vec<Line>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Where it stands.
    pub address: Address,
    /// Its provider's configuration, as the state writes it: what questions are asked about.
    pub provider: String,
    /// Its attributes were never refreshed since Terraform 0.11.
    pub flatmap: bool,
    /// What is to be done with it.
    pub standing: Standing,
}

/// What an object is to an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    /// It can be taken over.
    Candidate {
        /// By what it is known.
        identified: Identified,
    },
    /// It could be; Terraform would replace it.
    Tainted {
        /// By what it is known, if its type is understood.
        identified: Option<Identified>,
    },
    /// An old copy that Terraform has yet to delete. It exists.
    Deposed {
        /// Which.
        key: String,
        /// By what it is known, if its type is understood.
        identified: Option<Identified>,
    },
    /// Another state, or another address, has it.
    AlreadyOwned {
        /// By what it is known.
        identified: Identified,
        /// The state that has it.
        state: String,
        /// Where in it.
        by: Address,
    },
    /// It is known, and no provider of Isobar takes over what is in its cloud.
    Reported {
        /// By what it is known.
        identified: Identified,
    },
    /// Isobar does not manage such things.
    Unmanaged {
        /// What it depends on or names.
        attached_to: Vec<String>,
    },
    /// Looked up, not made.
    Data,
    /// Its type is understood, this object is not.
    Refused {
        /// Why.
        why: Refusal,
    },
}

/// Why an object of a type that is understood cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Its id is not in the state.
    NoId,
    /// The state has another object with the same address and key.
    Twice,
}

/// How many lines stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "a number a variant of Standing, which is documented")]
pub struct Counts {
    pub candidate: usize,
    pub tainted: usize,
    pub deposed: usize,
    pub already_owned: usize,
    pub reported: usize,
    pub unmanaged: usize,
    pub data: usize,
    pub refused: usize,
}

/// What the user has answered, by the provider's configuration as the state writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told(pub BTreeMap<String, Answer>);

/// Where a provider's configuration leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The account.
    pub account: Option<String>,
    /// The region.
    pub region: Option<String>,
}

/// Reads a state and accounts for every object in it.
pub fn account(name: &str, bytes: &[u8], keys: &Keys, told: &Told) -> Result<Account, ReadError> {
    let mut survey = Survey::default();
    let header = read::read(bytes, keys, &mut |object| survey.add(object))?;
    let mut account = Account {
        name: name.to_owned(),
        header,
        lines: survey.settle(told),
    };
    refuse_twice(&mut account.lines);
    Ok(account)
}

/// Sees to it that an object of a cloud has one owner over all states: the first that has it. States of unknown account or
/// region are taken to be the same as any.
pub fn settle_owners(accounts: &mut [Account]) {
    let mut owners: BTreeMap<(Cloud, What, String), Vec<Owner>> = BTreeMap::new();
    for account in accounts {
        for line in &mut account.lines {
            let Some(identified) = line.standing.identified() else {
                continue;
            };
            let key = (identified.cloud, identified.what, identified.id.to_lowercase());
            let known = owners.entry(key).or_default();
            match known.iter().find(|owner| owner.may_have(identified)) {
                None => known.push(Owner {
                    account: identified.account.clone(),
                    region: identified.region.clone(),
                    state: account.name.clone(),
                    by: line.address.clone(),
                }),
                Some(owner) => line.standing.yield_to(owner),
            }
        }
    }
}

/// Who has an object of a cloud.
struct Owner {
    account: Part,
    region: Part,
    state: String,
    by: Address,
}

impl Owner {
    /// Whether an object of the same id may be the one that this has.
    fn may_have(&self, identified: &Identified) -> bool {
        let may = |one: &Part, other: &Part| match (one, other) {
            (Part::Known { value: one, .. }, Part::Known { value: other, .. }) => one.eq_ignore_ascii_case(other),
            (Part::Unknown { .. }, _) | (_, Part::Unknown { .. }) => true,
        };
        may(&self.account, &identified.account) && may(&self.region, &identified.region)
    }
}

/// A second object with the same address and deposed key is no object that can be named.
fn refuse_twice(lines: &mut [Line]) {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    let key = |line: &Line| match &line.standing {
        Standing::Deposed { key, .. } => Some(key.clone()),
        Standing::Candidate { .. }
        | Standing::Tainted { .. }
        | Standing::AlreadyOwned { .. }
        | Standing::Reported { .. }
        | Standing::Unmanaged { .. }
        | Standing::Data
        | Standing::Refused { .. } => None,
    };
    order.sort_by(|&a, &b| {
        lines[a]
            .address
            .cmp(&lines[b].address)
            .then_with(|| key(&lines[a]).cmp(&key(&lines[b])))
            .then(a.cmp(&b))
    });
    let same = |a: usize, b: usize| lines[a].address == lines[b].address && key(&lines[a]) == key(&lines[b]);
    let twice: Vec<usize> = order
        .windows(2)
        .filter(|pair| same(pair[0], pair[1]))
        .map(|pair| pair[1])
        .collect();
    for line in twice {
        lines[line].standing = Standing::Refused { why: Refusal::Twice };
    }
}

impl Account {
    /// How many lines stand how. They add up to the number of lines.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for line in &self.lines {
            let count = match line.standing {
                Standing::Candidate { .. } => &mut counts.candidate,
                Standing::Tainted { .. } => &mut counts.tainted,
                Standing::Deposed { .. } => &mut counts.deposed,
                Standing::AlreadyOwned { .. } => &mut counts.already_owned,
                Standing::Reported { .. } => &mut counts.reported,
                Standing::Unmanaged { .. } => &mut counts.unmanaged,
                Standing::Data => &mut counts.data,
                Standing::Refused { .. } => &mut counts.refused,
            };
            *count += 1;
        }
        counts
    }

    /// What has to be asked, and of which provider's configuration.
    pub fn questions(&self) -> BTreeSet<(&str, &'static str)> {
        let mut questions = BTreeSet::new();
        for line in &self.lines {
            for part in line
                .standing
                .identified()
                .iter()
                .flat_map(|known| [&known.account, &known.region])
            {
                if let Part::Unknown { ask } = part {
                    questions.insert((line.provider.as_str(), *ask));
                }
            }
        }
        questions
    }
}

impl Standing {
    /// By what the object is known in its cloud.
    pub fn identified(&self) -> Option<&Identified> {
        match self {
            Self::Candidate { identified } | Self::Reported { identified } | Self::AlreadyOwned { identified, .. } => {
                Some(identified)
            }
            Self::Tainted { identified } | Self::Deposed { identified, .. } => identified.as_ref(),
            Self::Unmanaged { .. } | Self::Data | Self::Refused { .. } => None,
        }
    }

    /// What is tainted or deposed stays so: nobody takes it over without a plan that says so.
    fn yield_to(&mut self, owner: &Owner) {
        if let Self::Candidate { identified } = self {
            *self = Self::AlreadyOwned {
                identified: identified.clone(),
                state: owner.state.clone(),
                by: owner.by.clone(),
            };
        }
    }
}
