//! Sending an intended attempt's request, whatever it asks for, until it is known what became of it.

use isobar_engine_model::id::MachineId;
use isobar_engine_provider::error::Next;

use super::{StepError, StepJob, release};
use crate::config::CrashPoint;
use crate::record::{AttemptRecord, AttemptState, machine_prefix};

/// Whether an intended attempt's request may have reached its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// A refusal says for certain that nothing was made.
    Never,
    /// A refusal says nothing of what an earlier sending made.
    Perhaps,
}

/// The attempts at a machine or at a part of a network, in their order.
pub(super) fn attempts_of(job: &StepJob<'_>, machine: &MachineId) -> Vec<AttemptRecord> {
    job.engine
        .ledger
        .read()
        .attempts
        .under(&machine_prefix(job.cluster(), machine))
        .cloned()
        .collect()
}

/// Sends an attempt's request, the same however often, and commits what became of it.
pub(super) async fn send(job: &StepJob<'_>, attempt: &AttemptRecord, sent: Sent) -> Result<Sent, StepError> {
    if sent == Sent::Perhaps && job.engine.clock.now() >= attempt.expires {
        find(job, attempt, "its token is over").await?;
        return Ok(Sent::Perhaps);
    }
    job.says(
        attempt.attempt,
        format!("asking {} for the {}", attempt.site, attempt.kind.name()),
    );
    let outcome = job.engine.create(attempt).await;
    job.engine.crash_point(CrashPoint::BeforeOutcome);
    let error = match outcome {
        Ok(handle) => {
            job.engine.accepted(attempt, handle).await?;
            return Ok(Sent::Perhaps);
        }
        Err(error) => error,
    };
    let reason = error.to_string();
    let now = job.engine.clock.now();
    let may_be_forgotten = now >= attempt.expires;
    // A request that never reached its provider needs no token to be sent again.
    let in_vain = sent == Sent::Never && now.since_ms(attempt.intended) < job.engine.config.bounds.boot_max_ms;
    match (error.next(), sent) {
        // Sent again by the caller's loop, until the token may be forgotten.
        (Next::Again, sent) if !may_be_forgotten || in_vain => {
            job.says(attempt.attempt, format!("{}: {reason}; asking again", attempt.site));
            job.rest().await;
            return Ok(sent);
        }
        (Next::FindOut, _) if !may_be_forgotten => {
            job.says(attempt.attempt, format!("{}: {reason}; asking again", attempt.site));
            job.rest().await;
        }
        (Next::Fallback | Next::GiveUp, Sent::Never) => {
            job.engine.attempt_is(attempt, AttemptState::Refused { reason }).await?;
        }
        // It will not answer for its token: it may have it all the same.
        (Next::Fallback | Next::GiveUp, Sent::Perhaps) | (Next::Again | Next::FindOut, _) => {
            find(job, attempt, &reason).await?;
        }
    }
    Ok(Sent::Perhaps)
}

/// Looks for what an attempt may have made, and gives the attempt up where nothing is found.
async fn find(job: &StepJob<'_>, attempt: &AttemptRecord, reason: &str) -> Result<(), StepError> {
    match release::look_for(job, attempt).await? {
        Some(made) => job.engine.accepted(attempt, made.handle).await?,
        None => release::close(job, attempt, reason).await?,
    }
    Ok(())
}
