//! What must hold, by name. The checkers are in [`crate::witness`] (all along) and [`crate::ending`] (once the faults
//! have stopped and a bounded time has passed).

use std::fmt;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// At most one resource of a machine ever joins, and only as what its own tags say.
    OneJoins,
    /// Every cloud write is in the journal before it is sent, with the same bytes, and every live machine of ours is.
    Journaled,
    /// A machine is there once.
    Single,
    /// Untagged, foreign and imported resources are never touched.
    Untouched,
    /// Nothing is carried out but steps of a plan that was accepted.
    Approved,
    /// Replicas never fall below the allowed minimum because something is stopped.
    Available,
    /// What may run at most once runs at most once.
    Once,
    /// An engine that was replaced writes nothing.
    Fenced,
    /// A shard comes to another process only when it was given back or its holder's lease has run out.
    Owned,
    /// Who has no lease, or not the cluster's shard, sends nothing to a cloud and renews no node's lease; what was under way
    /// when its process was frozen is all that may still be sent, at once when it wakes.
    Leased,
    /// Every shard has an engine within the bound, whatever became of the one before.
    Held,
    /// Within the bound nothing is there that the journal does not have.
    NothingLeft,
    /// Within the bound every operation ends, and the spec is met or a plan says why not.
    Met,
    /// The bill is the sum of the journal's machines.
    Billed,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::OneJoins,
        Self::Journaled,
        Self::Single,
        Self::Untouched,
        Self::Approved,
        Self::Available,
        Self::Once,
        Self::Fenced,
        Self::Owned,
        Self::Leased,
        Self::Held,
        Self::NothingLeft,
        Self::Met,
        Self::Billed,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneJoins => "one_joins",
            Self::Journaled => "journaled",
            Self::Single => "single",
            Self::Untouched => "untouched",
            Self::Approved => "approved",
            Self::Available => "available",
            Self::Once => "once",
            Self::Fenced => "fenced",
            Self::Owned => "owned",
            Self::Leased => "leased",
            Self::Held => "held",
            Self::NothingLeft => "nothing_left",
            Self::Met => "met",
            Self::Billed => "billed",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Virtual time, in ms since the run's begin.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, ms) = (self.at_ms / 1000, self.at_ms % 1000);
        write!(f, "{} at {s}.{ms:03} s: {}", self.invariant, self.what)
    }
}
