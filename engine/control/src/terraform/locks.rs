//! Locking and unlocking a state: one holder, and whoever takes a lock from another is noted.

use isobar_engine_model::id::StateName;
use isobar_engine_model::quantity::Timestamp;
use isobar_terraform_compat::backend::{self, LockInfo, Locking, Unlock, Unlocking};

use super::record::{Lock, StateRecord};
use super::write::known_or_new;
use super::{Stopped, outcome};
use crate::api::{
    ApiError, AuditWhat, AuditWho, ErrorCode, LockView, StateLock, StateOutcome, StateRelease, StateReleased,
    StateUnlock,
};
use crate::audit;
use crate::config::Bounds;
use crate::engine::Engine;
use crate::ledger::Draft;
use crate::record::Record;

impl Engine {
    /// Locks a state. The same client may ask again; another is told who holds it.
    pub async fn state_lock(&self, request: StateLock) -> Result<StateOutcome, ApiError> {
        self.may_change_states()?;
        let info = LockInfo::of(request.info.as_bytes())
            .map_err(|error| ApiError::new(ErrorCode::InvalidArgument, error.to_string()).pointer("/info"))?;
        let (at, bounds) = (self.clock.now(), self.config.bounds);
        let locked = self
            .ledger
            .change(move |draft| lock(draft, &request.state, info, at, &bounds))
            .await?;
        outcome(locked)
    }

    /// Unlocks a state: the lock of that id, or, where none is named, whatever lock there is. Whoever calls decides whether
    /// a client may do the latter.
    pub async fn state_unlock(&self, request: StateUnlock) -> Result<StateOutcome, ApiError> {
        self.may_change_states()?;
        let at = self.clock.now();
        let unlocked = self.ledger.change(move |draft| unlock(draft, request, at)).await?;
        outcome(unlocked)
    }

    /// Takes a lock, by its id, from a client that died.
    pub async fn state_release(&self, request: StateRelease) -> Result<StateReleased, ApiError> {
        let StateRelease { state, lock } = request;
        let unlock = StateUnlock {
            state: state.clone(),
            lock: Some(lock.clone()),
            forced: true,
        };
        let refused = |message: String| ApiError::new(ErrorCode::Refused, message).pointer("/lock");
        match self.state_unlock(unlock).await? {
            StateOutcome::Done => Ok(StateReleased { state, lock }),
            StateOutcome::Locked { info } => Err(refused(format!("{state} is locked by another lock: {info}"))
                .hint("`isobar terraform states` shows the lock's id")),
            StateOutcome::Refused { reason, hint } => Err(refused(reason).hint(hint)),
        }
    }
}

fn lock(draft: &mut Draft, state: &StateName, info: LockInfo, at: Timestamp, bounds: &Bounds) -> Result<(), Stopped> {
    let mut record = known_or_new(draft, state, bounds)?;
    match backend::lock(record.holder(), &info.id) {
        Err(refusal) => return Err(Stopped::against(draft, state, refusal)),
        Ok(Locking::Same) => return Ok(()),
        Ok(Locking::New) => {}
    }
    record.lock = Some(Lock {
        view: LockView {
            id: info.id,
            who: info.who,
            operation: info.operation,
            since: at,
        },
        info: info.text,
    });
    draft.put(record);
    Ok(())
}

fn unlock(draft: &mut Draft, request: StateUnlock, at: Timestamp) -> Result<(), Stopped> {
    let Some(mut record) = draft.get::<StateRecord>(request.state.as_str()).cloned() else {
        return Ok(());
    };
    let asked = request.lock.map_or(Unlock::Force, Unlock::Id);
    match backend::unlock(record.holder(), &asked, request.forced) {
        Err(refusal) => return Err(Stopped::against(draft, &request.state, refusal)),
        Ok(Unlocking::Free) => return Ok(()),
        Ok(Unlocking::Released) => {}
    }
    let Some(lock) = record.lock.take() else { return Ok(()) };
    if request.forced {
        let what = AuditWhat::StateUnlocked {
            state: request.state,
            lock: lock.view.id,
            held_by: lock.view.who,
        };
        audit::note_of_none(draft, at, AuditWho::Client, what);
    }
    // One that was only ever locked leaves nothing behind.
    match record.versions.is_empty() {
        true => draft.remove::<StateRecord>(&record.key()),
        false => draft.put(record),
    }
    Ok(())
}
