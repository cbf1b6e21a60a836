//! What goes wrong with calls of a simulated store, and who decides it. Called by [`super`] at every call.

use std::sync::{Arc, Mutex};

use isobar_engine_model::id::{MemberId, ShardId};

use crate::{Table, Write};

/// One call, as a plan of faults sees it before it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// How many calls went through the handles of this plan before: 0 for the first.
    pub number: u64,
    /// What it asks for.
    pub request: Request<'a>,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// These writes in this shard.
    Commit(ShardId, &'a [Write]),
    /// A page of this table.
    Scan(Table),
    /// A row of this table.
    Get(Table),
    /// A longer lease.
    Beat(&'a MemberId),
    /// The end of a lease.
    Leave(&'a MemberId),
    /// Who lives.
    Members,
    /// Who holds what.
    Shards,
    /// This shard.
    Claim(ShardId),
    /// To be rid of this shard.
    Release(ShardId),
    /// This setting.
    Once(&'a str),
    /// Whether the store is recovering.
    IsRecovering,
    /// The end of that.
    EndRecovery,
}

/// What goes wrong with a call. A read knows only one way: it is `Unavailable`, whichever fault is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `Unavailable`; nothing is written.
    Unavailable,
    /// `Full`; nothing is written.
    Full,
    /// `OutcomeUnknown`; nothing is written.
    UnknownLost,
    /// `OutcomeUnknown`, though all of it is written. What would be refused is refused.
    UnknownWritten,
}

/// Decides for each call whether something goes wrong with it.
pub(super) type Plan = Box<dyn FnMut(Call<'_>) -> Option<Fault> + Send>;

/// A plan and how far it is.
pub(super) struct Faults {
    calls: u64,
    plan: Plan,
}

/// The cause of an injected fault.
#[derive(Debug, thiserror::Error)]
#[error("simulated fault: {0:?}")]
pub(super) struct Simulated(pub(super) Fault);

impl Faults {
    pub(super) fn shared(plan: Plan) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { calls: 0, plan }))
    }

    pub(super) fn next(&mut self, request: Request<'_>) -> Option<Fault> {
        let number = self.calls;
        self.calls += 1;
        (self.plan)(Call { number, request })
    }
}
