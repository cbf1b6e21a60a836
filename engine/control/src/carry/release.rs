//! Deleting: what may exist is found out, deleted, and deleted again until the provider says that it is gone.

use isobar_engine_model::id::{MachineId, ResourceHandle};
use isobar_engine_model::observed::{MachinePhase, ReplicaPhase};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::error::Next;
use isobar_engine_provider::{Provider, ProviderError, ResourceKind, Site};

use super::{StepError, StepJob};
use crate::live::Command;
use crate::look::Look;
use crate::record::{
    AttemptRecord, AttemptState, CredentialRecord, MachineRecord, Made, ReplicaRecord, attempt_key, machine_key,
    machine_prefix,
};

/// Deletes a machine and returns when the provider says that it is gone.
pub(crate) async fn release(job: &StepJob<'_>, machine: &MachineId) -> Result<(), StepError> {
    announce(job, machine).await?;
    job.engine
        .live
        .tell(&(job.cluster().clone(), machine.clone()), Command::Close);
    loop {
        let attempts: Vec<AttemptRecord> = {
            let state = job.engine.ledger.read();
            state
                .attempts
                .under(&machine_prefix(job.cluster(), machine))
                .filter(|a| a.may_live())
                .cloned()
                .collect()
        };
        let Some(attempt) = attempts.first() else { break };
        finish(job, attempt).await?;
    }
    let (key, prefix) = (
        machine_key(job.cluster(), machine),
        machine_prefix(job.cluster(), machine),
    );
    let now = job.engine.clock.now();
    job.engine
        .ledger
        .write(move |draft| {
            if let Some(record) = draft.get::<MachineRecord>(&key) {
                let mut record = record.clone();
                record.machine.phase = MachinePhase::Gone { since: now };
                draft.put(record);
            }
            // What has ended stays known: a job whose success was forgotten would be started again.
            let left: Vec<String> = draft
                .state()
                .replicas
                .under(&prefix)
                .filter(|record| !has_ended(&record.replica.phase))
                .map(crate::record::Record::key)
                .collect();
            for replica in left {
                draft.remove::<ReplicaRecord>(&replica);
            }
        })
        .await?;
    job.engine.live.forget(&(job.cluster().clone(), machine.clone()));
    job.engine
        .event(
            job.cluster(),
            machine.as_str(),
            "released: the provider says that it is gone",
        )
        .await?;
    Ok(())
}

/// Whether a replica ended by itself. The plan stops those that are no job's history before it releases their machine.
fn has_ended(phase: &ReplicaPhase) -> bool {
    matches!(phase, ReplicaPhase::Succeeded { .. } | ReplicaPhase::Failed { .. })
}

/// Commits that a machine is being deleted: from here on none of its attempts may join.
async fn announce(job: &StepJob<'_>, machine: &MachineId) -> Result<(), StepError> {
    let (key, prefix) = (
        machine_key(job.cluster(), machine),
        machine_prefix(job.cluster(), machine),
    );
    let now = job.engine.clock.now();
    job.engine
        .ledger
        .write(move |draft| {
            if let Some(record) = draft.get::<MachineRecord>(&key)
                && !matches!(
                    record.machine.phase,
                    MachinePhase::Releasing { .. } | MachinePhase::Gone { .. }
                )
            {
                let mut record = record.clone();
                let handle = record.machine.handle().cloned();
                record.machine.phase = MachinePhase::Releasing { since: now, handle };
                record.machine.version.0 += 1;
                draft.put(record);
            }
            let living: Vec<AttemptRecord> = draft
                .state()
                .attempts
                .under(&prefix)
                .filter(|attempt| attempt.may_live())
                .cloned()
                .collect();
            for attempt in living {
                revoke(draft, &attempt);
                if !matches!(attempt.state, AttemptState::Closing { .. }) {
                    let state = AttemptState::Closing {
                        made: attempt.made(),
                        reason: "released".into(),
                    };
                    draft.put(AttemptRecord { state, ..attempt });
                }
            }
        })
        .await?;
    Ok(())
}

fn revoke(draft: &mut crate::ledger::Draft, attempt: &AttemptRecord) {
    let key = attempt_key(&attempt.cluster, &attempt.machine, attempt.attempt);
    if let Some(credential) = draft.get::<CredentialRecord>(&key)
        && !credential.revoked
    {
        draft.put(CredentialRecord {
            revoked: true,
            ..credential.clone()
        });
    }
}

/// Gives one attempt up: commits that it must not join, deletes what it made, and returns when that is gone.
pub(crate) async fn close(job: &StepJob<'_>, attempt: &AttemptRecord, reason: &str) -> Result<(), StepError> {
    let what = format!("attempt {} given up: {reason}", attempt.attempt.0);
    job.engine.event(job.cluster(), attempt.machine.as_str(), &what).await?;
    let state = AttemptState::Closing {
        made: attempt.made(),
        reason: reason.to_owned(),
    };
    let closing = AttemptRecord {
        state,
        ..attempt.clone()
    };
    let kept = closing.clone();
    job.engine
        .ledger
        .write(move |draft| {
            revoke(draft, &kept);
            draft.put(kept);
        })
        .await?;
    finish(job, &closing).await
}

/// Deletes what a closing attempt made, until the provider says that it is gone.
pub(crate) async fn finish(job: &StepJob<'_>, attempt: &AttemptRecord) -> Result<(), StepError> {
    let AttemptState::Closing { made, reason } = &attempt.state else {
        return Err(StepError::Failed(format!(
            "attempt {} of {} is not closing",
            attempt.attempt.0, attempt.machine
        )));
    };
    let sealed = job.engine.request(attempt).map_err(StepError::Failed)?;
    let provider = job
        .engine
        .provider(&sealed.site)
        .map_err(|error| StepError::Failed(error.message))?;
    let found = match made {
        Some(made) => Some(made.clone()),
        None => find_out(job, attempt, &sealed.site).await?,
    };
    if let Some(made) = found {
        delete(job, attempt, &*provider, (&sealed.site, &made)).await?;
    }
    let gone = AttemptState::Gone {
        since: job.engine.clock.now(),
        reason: reason.clone(),
    };
    job.engine.attempt_is(attempt, gone).await?;
    Ok(())
}

async fn delete(
    job: &StepJob<'_>,
    attempt: &AttemptRecord,
    provider: &dyn Provider,
    (site, made): (&Site, &Made),
) -> Result<(), StepError> {
    let visible_from = made.since.plus_ms(provider.capabilities().visibility_delay_max_ms);
    let mut asked_from: Option<Timestamp> = None;
    let mut is_due = true;
    loop {
        let now = job.engine.clock.now();
        if is_due {
            job.says(attempt.attempt, format!("{} deletes it", attempt.site));
            let deleting = provider.delete(site, &made.handle, &attempt.token);
            match job.engine.while_leased(deleting).await {
                Ok(()) => (asked_from, is_due) = (Some(now), false),
                Err(ProviderError::Gone) => return Ok(()),
                Err(ProviderError::NotFound) if now > visible_from => return Ok(()),
                Err(ProviderError::NotFound) => job.says(attempt.attempt, "waiting until it must be visible"),
                Err(error) if error.next() == Next::GiveUp => {
                    return Err(StepError::Failed(format!(
                        "delete {} in {}: {error}",
                        attempt.machine, attempt.site
                    )));
                }
                Err(error) => job.says(attempt.attempt, format!("{}: {error}; deleting again", attempt.site)),
            }
        }
        if let Some(since) = asked_from {
            match left(job, provider, (site, attempt.kind, &made.handle), (since, visible_from)).await {
                Left::Nothing => return Ok(()),
                Left::It | Left::Unclear => {
                    is_due = now.since_ms(since) >= job.engine.config.bounds.delete_again_ms;
                }
                // Nothing can be known sooner.
                Left::PerhapsIt => asked_from = Some(since.max(visible_from.plus_ms(1))),
            }
        }
        job.rest().await;
    }
}

/// What is left of a resource whose deletion was accepted.
enum Left {
    Nothing,
    /// It is still there.
    It,
    /// It is not seen, and might not be yet.
    PerhapsIt,
    /// Nobody says.
    Unclear,
}

/// What is left, by what is asked from a moment on. The list, which everybody shares, says when to ask for it by itself:
/// it may have lost our tags.
async fn left(
    job: &StepJob<'_>,
    provider: &dyn Provider,
    (site, kind, handle): (&Site, ResourceKind, &ResourceHandle),
    (since, visible_from): (Timestamp, Timestamp),
) -> Left {
    let asked = job.engine.clock.now();
    if asked < since {
        return Left::Unclear;
    }
    match job.engine.look(job.cluster(), (site, kind), since).await {
        Ok(look) if look.items.contains_key(handle) => return Left::It,
        Ok(_) => {}
        Err(_) => return Left::Unclear,
    }
    match provider.get(site, handle).await {
        Ok(_) => Left::It,
        Err(ProviderError::Gone) => Left::Nothing,
        Err(ProviderError::NotFound) if asked > visible_from => Left::Nothing,
        Err(ProviderError::NotFound) => Left::PerhapsIt,
        Err(_) => Left::Unclear,
    }
}

/// Whether a closing attempt whose answer was lost made something. Inside the token's validity the same request answers
/// that for certain, unless it is refused now: what is refused today may have been made yesterday. Then, and after the
/// token's end, lists do.
async fn find_out(job: &StepJob<'_>, attempt: &AttemptRecord, site: &Site) -> Result<Option<Made>, StepError> {
    loop {
        let now = job.engine.clock.now();
        if now >= attempt.expires {
            return look_for(job, attempt).await;
        }
        job.says(attempt.attempt, format!("finding out whether {} made it", attempt.site));
        if let Ok(look) = job.engine.glance(job.cluster(), (site, attempt.kind)).await
            && let Some(handle) = of_attempt(&look, attempt)
        {
            return Ok(Some(Made { handle, since: now }));
        }
        match job.engine.create(attempt).await {
            Ok(handle) => {
                let since = job.engine.clock.now();
                return Ok(Some(Made { handle, since }));
            }
            Err(error) => match error.next() {
                Next::Again | Next::FindOut => job.rest().await,
                Next::Fallback | Next::GiveUp => return look_for(job, attempt).await,
            },
        }
    }
}

/// What an attempt made, by its tags: absent only if two lists a visibility delay apart do not have it. A list that fails
/// says nothing.
pub(crate) async fn look_for(job: &StepJob<'_>, attempt: &AttemptRecord) -> Result<Option<Made>, StepError> {
    let site = job.engine.request(attempt).map_err(StepError::Failed)?.site;
    let provider = job
        .engine
        .provider(&site)
        .map_err(|error| StepError::Failed(error.message))?;
    let visibility_delay_ms = provider.capabilities().visibility_delay_max_ms;
    let mut absent_since = None;
    let begun = job.engine.clock.now();
    loop {
        job.says(attempt.attempt, format!("looking for it in {}", attempt.site));
        match job.engine.look(job.cluster(), (&site, attempt.kind), begun).await {
            Ok(look) => {
                if let Some(handle) = of_attempt(&look, attempt) {
                    let since = look.asked;
                    return Ok(Some(Made { handle, since }));
                }
                let first = *absent_since.get_or_insert(look.asked);
                if look.asked.since_ms(first) > visibility_delay_ms {
                    return Ok(None);
                }
            }
            Err(error) => job.says(attempt.attempt, format!("{}: {error}; looking again", attempt.site)),
        }
        job.rest().await;
    }
}

/// What of a look an attempt made, by its tags.
fn of_attempt(look: &Look, attempt: &AttemptRecord) -> Option<ResourceHandle> {
    let ours = look.items.values().find(|item| {
        item.tags.as_ref().is_some_and(|tags| {
            tags.machine == attempt.machine && tags.attempt == attempt.attempt && tags.operation == attempt.operation
        })
    });
    ours.map(|item| item.handle.clone())
}
