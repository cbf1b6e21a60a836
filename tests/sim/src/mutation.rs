//! Mutations: boundaries with a bug, each of which some invariant must catch. They stand where a bug of the engine would
//! show: what it sends, keeps and hears. The engine itself is never changed.
//!
//! "A step of a plan that nobody accepted is carried out" cannot be said of a boundary: the engine alone holds plans.
//! [`Mutation::ForgedPlan`] stands for it: the store answers a restarted engine that a running operation is of another
//! plan, one that was made and never accepted.

mod provider;
mod store;

pub use self::provider::FlawedProvider;
pub use self::store::FlawedStore;
use crate::invariant::Invariant;
use crate::nodes::Flaw;

/// A bug at a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Creates are sent without their token and with another name each time.
    NoToken,
    /// Intents are kept after they are acted upon.
    JournalAfterCall,
    /// Whatever a cloud has is taken for ours.
    NoTagCheck,
    /// Commits of an engine that was replaced are taken.
    NoEpoch,
    /// A running operation is taken up with a plan that nobody accepted.
    ForgedPlan,
    /// A deletion is not sent and counts as done.
    GoneUnseen,
    /// Nothing is in any list.
    EmptyList,
    /// Offerings are shown at half their price.
    WrongPrice,
    /// A node joins with the token of another.
    StolenToken,
    /// A node's lease never ends.
    StoppedClock,
    /// A node says that a replica is healthy long before it is.
    EarlyWord,
    /// Shards are claimed in the name of whoever has them, whether it lives or not.
    LeaseIgnored,
    /// A process counts its lease by a clock that is half as fast as the store's.
    SlowHost,
    /// A process that stops gives nothing back.
    NothingGiven,
    /// What another had is never taken.
    NothingTaken,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::NoToken,
        Self::JournalAfterCall,
        Self::NoTagCheck,
        Self::NoEpoch,
        Self::ForgedPlan,
        Self::GoneUnseen,
        Self::EmptyList,
        Self::WrongPrice,
        Self::StolenToken,
        Self::StoppedClock,
        Self::EarlyWord,
        Self::LeaseIgnored,
        Self::SlowHost,
        Self::NothingGiven,
        Self::NothingTaken,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no-token",
            Self::JournalAfterCall => "journal-after-call",
            Self::NoTagCheck => "no-tag-check",
            Self::NoEpoch => "no-epoch",
            Self::ForgedPlan => "forged-plan",
            Self::GoneUnseen => "gone-unseen",
            Self::EmptyList => "empty-list",
            Self::WrongPrice => "wrong-price",
            Self::StolenToken => "stolen-token",
            Self::StoppedClock => "stopped-clock",
            Self::EarlyWord => "early-word",
            Self::LeaseIgnored => "lease-ignored",
            Self::SlowHost => "slow-host",
            Self::NothingGiven => "nothing-given",
            Self::NothingTaken => "nothing-taken",
        }
    }

    /// Which invariants catch it.
    pub fn caught_by(self) -> &'static [Invariant] {
        match self {
            Self::NoToken => &[Invariant::Journaled, Invariant::Single],
            Self::JournalAfterCall => &[Invariant::Journaled],
            Self::NoTagCheck => &[Invariant::Untouched],
            Self::NoEpoch => &[Invariant::Fenced],
            Self::ForgedPlan => &[Invariant::Approved],
            Self::GoneUnseen => &[Invariant::NothingLeft],
            Self::EmptyList => &[Invariant::Met],
            Self::WrongPrice => &[Invariant::Billed],
            Self::StolenToken => &[Invariant::OneJoins],
            Self::StoppedClock => &[Invariant::Once],
            Self::EarlyWord => &[Invariant::Available],
            Self::LeaseIgnored => &[Invariant::Owned],
            Self::SlowHost => &[Invariant::Leased],
            Self::NothingGiven | Self::NothingTaken => &[Invariant::Held],
        }
    }

    /// What it changes on nodes.
    pub fn flaw(self) -> Option<Flaw> {
        match self {
            Self::StolenToken => Some(Flaw::StolenToken),
            Self::StoppedClock => Some(Flaw::StoppedClock),
            Self::EarlyWord => Some(Flaw::EarlyWord),
            Self::NoToken
            | Self::JournalAfterCall
            | Self::NoTagCheck
            | Self::NoEpoch
            | Self::ForgedPlan
            | Self::GoneUnseen
            | Self::EmptyList
            | Self::WrongPrice
            | Self::LeaseIgnored
            | Self::SlowHost
            | Self::NothingGiven
            | Self::NothingTaken => None,
        }
    }
}
