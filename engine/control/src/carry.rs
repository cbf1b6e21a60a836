//! Carrying plans out: one task an operation, one task a step, every cloud write journaled before it is sent.
//!
//! A step is written so that running it again from any moment of its life ends in the same place: after a crash the
//! next engine runs the steps that have no recorded end.

pub(crate) mod buy;
mod journal;
pub(crate) mod network;
pub(crate) mod operation;
pub(crate) mod orphan;
pub(crate) mod release;
pub(crate) mod replica;
mod send;
pub(crate) mod serving;

use std::sync::Arc;

use isobar_engine_model::id::{AttemptNo, ClusterName, OperationId, StepId};
use isobar_engine_model::plan::Plan;

use self::serving::Serving;
use crate::engine::Engine;
use crate::ledger::LedgerError;

/// Why a step stopped.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StepError {
    /// It cannot be done: the operation fails.
    #[error("{0}")]
    Failed(String),
    /// The store did not take a change: the step runs again.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A step being carried out.
pub(crate) struct StepJob<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) plan: &'a Plan,
    pub(crate) operation: &'a OperationId,
    pub(crate) step: StepId,
    /// What served when the operation was accepted; absent where another engine accepted it.
    pub(crate) served: Option<&'a Serving>,
}

impl StepJob<'_> {
    pub(crate) fn cluster(&self) -> &ClusterName {
        &self.plan.body.cluster
    }

    /// Tells whoever follows what the step is doing.
    pub(crate) fn says(&self, attempt: AttemptNo, what: impl Into<String>) {
        let step = (self.operation.clone(), self.step);
        self.engine
            .live
            .step_does(self.engine.clock.now(), &step, attempt, what.into());
    }

    /// As [`Self::says`], of a part of a network: the machine's own attempt has not begun.
    pub(crate) fn says_of_part(&self, what: impl Into<String>) {
        self.says(AttemptNo(0), what);
    }

    /// Returns at the next commit, or after a while: before another look at what the engine knows.
    pub(crate) async fn pause(&self) {
        self.engine.next_look().await;
    }

    /// Returns after a while, whatever happens: before a provider is asked the same again.
    pub(crate) async fn rest(&self) {
        self.engine.clock.sleep(self.engine.config.bounds.poll()).await;
    }
}
