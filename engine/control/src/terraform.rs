//! Keeps the states of Terraform that its HTTP backend stores here: every version sealed, byte for byte, one lock a state,
//! and a table of the addresses that were taken over, which no write may bring back.
//!
//! What is allowed is judged by `isobar_terraform_compat::backend`, inside the commit that does it: two clients of any two
//! engines cannot both win. Knows no HTTP. Never logs or audits a content.

mod adopted;
mod body;
mod list;
mod locks;
pub(crate) mod record;
mod write;

use isobar_engine_model::id::{ShardId, StateName};
use isobar_terraform_compat::backend::Refusal;

use crate::api::{ApiError, ErrorCode, StateOutcome};
use crate::engine::Engine;
use crate::ledger::Draft;

/// One engine keeps all states, so that what was taken over is looked up in the commit of any write. Never changed.
pub(crate) const TERRAFORM_SHARD: ShardId = ShardId(0);

/// Why a change of a state was not made.
enum Stopped {
    /// It is against the backend's rules.
    Against {
        refusal: Refusal,
        /// The description of the lock that is held, where there is one.
        holder: Option<String>,
    },
    /// It is against the engine's own bounds.
    Beyond(ApiError),
}

impl Stopped {
    /// By the backend's rules, given what the draft holds of a state.
    fn against(draft: &Draft, state: &StateName, refusal: Refusal) -> Self {
        let record = draft.get::<record::StateRecord>(state.as_str());
        let holder = record.and_then(|record| record.lock.as_ref());
        Self::Against {
            refusal,
            holder: holder.map(|lock| lock.info.clone()),
        }
    }
}

/// As the client is told it.
fn outcome(changed: Result<(), Stopped>) -> Result<StateOutcome, ApiError> {
    let (refusal, holder) = match changed {
        Ok(()) => return Ok(StateOutcome::Done),
        Err(Stopped::Beyond(error)) => return Err(error),
        Err(Stopped::Against { refusal, holder }) => (refusal, holder),
    };
    Ok(match (&refusal, holder) {
        (Refusal::Locked, Some(info)) => StateOutcome::Locked { info },
        _ => StateOutcome::Refused {
            reason: refusal.to_string(),
            hint: refusal.hint().to_owned(),
        },
    })
}

impl Engine {
    /// That states may be changed: on a store that comes from a backup they may be older than what Terraform knows.
    fn may_change_states(&self) -> Result<(), ApiError> {
        self.is_recovered()
    }
}

fn no_state(state: &StateName) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no state `{state}`"))
        .pointer("/state")
        .hint("`isobar terraform states` lists them")
}
