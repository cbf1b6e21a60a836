//! Buying a machine: attempts at the plan's candidates, in order, until one of them has joined.
//!
//! At most one attempt may ever join: the next one begins only when the provider has refused the last one or says that
//! it is gone.

pub(crate) mod intent;

use std::cmp::Ordering;

use isobar_engine_model::id::{AttemptNo, MachineId, ResourceHandle};
use isobar_engine_model::observed::{Bought, MachinePhase};
use isobar_engine_model::plan::Candidate;
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_provider::{Network, ResourceKind, ResourceStatus};

use self::intent::intent;
use super::network::{self, Ready};
use super::send::{Sent, attempts_of, send};
use super::{StepError, StepJob};
use crate::config::CrashPoint;
use crate::record::{AttemptRecord, AttemptState, CredentialRecord, MachineRecord, attempt_key, machine_key};

/// What to buy.
pub(crate) struct Purchase<'a> {
    pub(crate) machine: &'a MachineId,
    pub(crate) candidates: &'a [Candidate],
}

/// One attempt at it.
struct Wanted<'a> {
    machine: &'a MachineId,
    candidate: &'a Candidate,
    /// The candidate's place in the plan.
    index: usize,
    number: AttemptNo,
}

/// Buys a machine and returns when its node has joined.
pub(crate) async fn buy(job: &StepJob<'_>, purchase: &Purchase<'_>) -> Result<(), StepError> {
    // What an earlier engine intended, it may have sent.
    let mut sent = Sent::Perhaps;
    loop {
        let attempts = attempts_of(job, purchase.machine);
        match attempts.last() {
            Some(last) => match &last.state {
                AttemptState::Intended => sent = send(job, last, sent).await?,
                AttemptState::Accepted { handle, since } => match joined(job, last, (handle, *since)).await? {
                    Joined::Yes => return Ok(()),
                    Joined::Never(reason) => super::release::close(job, last, &reason).await?,
                },
                AttemptState::Closing { .. } => super::release::finish(job, last).await?,
                AttemptState::Refused { .. } | AttemptState::Gone { .. } => {
                    sent = begin(job, purchase, &attempts).await?
                }
            },
            None => sent = begin(job, purchase, &attempts).await?,
        }
    }
}

/// Which candidate comes after these attempts; absent: none is left.
fn next_candidate(attempts: &[AttemptRecord], boots_max: u32) -> usize {
    let (mut candidate, mut boots) = (0, 0);
    for attempt in attempts {
        match attempt.state {
            AttemptState::Refused { .. } => (candidate, boots) = (candidate + 1, 0),
            AttemptState::Gone { .. } if boots + 1 >= boots_max => (candidate, boots) = (candidate + 1, 0),
            AttemptState::Gone { .. } => boots += 1,
            AttemptState::Intended | AttemptState::Accepted { .. } | AttemptState::Closing { .. } => {}
        }
    }
    candidate
}

/// A price beside the one that was planned with.
fn beside(price: MicroUsdPerHour, planned: MicroUsdPerHour) -> String {
    let more = MicroUsdPerHour(price.0.saturating_sub(planned.0));
    match more.0.cmp(&0) {
        Ordering::Greater => format!("{more} more than planned"),
        Ordering::Equal => "as planned".to_owned(),
        Ordering::Less => format!("{} less than planned", MicroUsdPerHour(more.0.saturating_abs())),
    }
}

/// Commits the intent of the next attempt, or gives the machine up.
async fn begin(job: &StepJob<'_>, purchase: &Purchase<'_>, attempts: &[AttemptRecord]) -> Result<Sent, StepError> {
    let index = next_candidate(attempts, job.engine.config.bounds.boots_per_candidate_max);
    if let Some(joined) = attempts.iter().find(|attempt| has_joined(job, attempt)) {
        let reason = format!("attempt {} had joined and was lost", joined.attempt.0);
        return Err(give_up(job, purchase.machine, &reason).await);
    }
    let Some(candidate) = purchase.candidates.get(index) else {
        let reason = format!("no candidate is left ({})", refusals(attempts));
        return Err(give_up(job, purchase.machine, &reason).await);
    };
    let number = AttemptNo(attempts.last().map_or(0, |last| last.attempt.0) + 1);
    if let Some(AttemptRecord {
        state: AttemptState::Refused { reason },
        site,
        ..
    }) = attempts.last()
    {
        let what = format!(
            "{site} refused ({reason}); trying {} in {} at {}, {}",
            candidate.offering,
            candidate.zone,
            candidate.price,
            beside(candidate.price, purchase.candidates[0].price)
        );
        job.engine
            .event(job.cluster(), purchase.machine.as_str(), &what)
            .await?;
    }
    let site = job
        .engine
        .site(&job.plan.body, &candidate.site)
        .ok_or_else(|| StepError::Failed(format!("site {} is not in the spec", candidate.site)))?;
    // Its journal entry says what it is connected to, so that comes first.
    let (network, refused) = match network::ready(job, &site, &candidate.zone).await? {
        Ready::With(network) => (network, None),
        Ready::Refused(reason) => (Network::new(), Some(reason)),
    };
    let wanted = Wanted {
        machine: purchase.machine,
        candidate,
        index,
        number,
    };
    let (mut attempt, credential) = intent(job, &wanted, (site, network))?;
    if let Some(reason) = refused {
        attempt.state = AttemptState::Refused { reason };
        job.engine.ledger.write(move |draft| draft.put(attempt)).await?;
        return Ok(Sent::Never);
    }
    keep(job, &wanted, (attempt, credential)).await?;
    job.engine.crash_point(CrashPoint::AfterIntent);
    Ok(Sent::Never)
}

/// Commits an intent, and what its machine is with it.
async fn keep(
    job: &StepJob<'_>,
    wanted: &Wanted<'_>,
    (attempt, credential): (AttemptRecord, CredentialRecord),
) -> Result<(), StepError> {
    let candidate = wanted.candidate;
    let bought = Bought {
        operation: job.operation.clone(),
        attempt: wanted.number,
        site: candidate.site.clone(),
        zone: candidate.zone.clone(),
        offering: candidate.offering.clone(),
        purchase: candidate.purchase,
        price: candidate.price,
        allocatable: candidate.allocatable,
    };
    let (key, now) = (machine_key(job.cluster(), wanted.machine), job.engine.clock.now());
    let written = job.engine.ledger.write(move |draft| {
        if let Some(record) = draft.get::<MachineRecord>(&key) {
            let mut record = record.clone();
            record.machine.bought = Some(bought);
            record.machine.phase = MachinePhase::Creating { since: now };
            draft.put(record);
        }
        draft.put(credential);
        draft.put(attempt);
    });
    Ok(written.await?)
}

/// Whether an attempt's node ever showed its token. Another attempt of the same machine must not.
fn has_joined(job: &StepJob<'_>, attempt: &AttemptRecord) -> bool {
    let key = attempt_key(&attempt.cluster, &attempt.machine, attempt.attempt);
    let state = job.engine.ledger.read();
    state
        .credentials
        .get(&key)
        .is_some_and(|credential| credential.key_hash.is_some())
}

async fn give_up(job: &StepJob<'_>, machine: &MachineId, reason: &str) -> StepError {
    let key = machine_key(job.cluster(), machine);
    let now = job.engine.clock.now();
    let written = job.engine.ledger.write(move |draft| {
        if let Some(record) = draft.get::<MachineRecord>(&key) {
            let mut record = record.clone();
            record.machine.phase = MachinePhase::Gone { since: now };
            draft.put(record);
        }
    });
    match written.await {
        Ok(()) => StepError::Failed(format!("{machine}: {reason}")),
        Err(error) => error.into(),
    }
}

/// Why each attempt came to nothing.
fn refusals(attempts: &[AttemptRecord]) -> String {
    let tried: Vec<String> = attempts
        .iter()
        .filter_map(|attempt| match &attempt.state {
            AttemptState::Refused { reason } | AttemptState::Gone { reason, .. } => {
                Some(format!("{}: {reason}", attempt.site))
            }
            AttemptState::Intended | AttemptState::Accepted { .. } | AttemptState::Closing { .. } => None,
        })
        .collect();
    tried.join("; ")
}

enum Joined {
    Yes,
    Never(String),
}

/// Waits until an attempt's node has joined, or never will.
async fn joined(
    job: &StepJob<'_>,
    attempt: &AttemptRecord,
    (handle, accepted): (&ResourceHandle, Timestamp),
) -> Result<Joined, StepError> {
    let engine = job.engine;
    let bounds = &engine.config.bounds;
    let key = machine_key(job.cluster(), &attempt.machine);
    let sealed = engine.request(attempt).map_err(StepError::Failed)?;
    let provider = engine
        .provider(&sealed.site)
        .map_err(|error| StepError::Failed(error.message))?;
    let visible_from = accepted.plus_ms(provider.capabilities().visibility_delay_max_ms);
    loop {
        let phase = engine
            .ledger
            .read()
            .machines
            .get(&key)
            .map(|record| record.machine.phase.clone());
        match phase {
            Some(MachinePhase::Ready { .. }) => return Ok(Joined::Yes),
            Some(MachinePhase::Lost { reason, .. }) => return Ok(Joined::Never(reason)),
            Some(MachinePhase::Booting { .. }) => {}
            // Accepted by an engine that died before it could note it on the machine.
            Some(MachinePhase::Wanted { .. } | MachinePhase::Creating { .. }) => {
                engine.accepted(attempt, handle.clone()).await?;
            }
            Some(MachinePhase::Releasing { .. } | MachinePhase::Gone { .. }) | None => {
                return Ok(Joined::Never("released meanwhile".into()));
            }
        }
        let now = engine.clock.now();
        let age = now.since_ms(accepted);
        if age > bounds.boot_max_ms {
            let bound = bounds.boot_max_ms / 1000;
            return Ok(Joined::Never(format!(
                "its node did not join within {bound} s; see its console"
            )));
        }
        match engine.peek(job.cluster(), (&sealed.site, ResourceKind::Machine)).await {
            None => {}
            Some(Ok(look)) => match look.items.get(handle).map(|machine| &machine.status) {
                Some(ResourceStatus::Pending) => job.says(attempt.attempt, "the provider prepares it"),
                Some(ResourceStatus::Running) if !engine.config.births.call_home() => {
                    up(job, &key).await?;
                    return Ok(Joined::Yes);
                }
                Some(ResourceStatus::Running) => job.says(attempt.attempt, "booting"),
                Some(ResourceStatus::Stopped { reason }) => {
                    return Ok(Joined::Never(format!("it stopped: {reason}")));
                }
                Some(ResourceStatus::Deleting) => return Ok(Joined::Never("it is being deleted".into())),
                None if look.asked > visible_from => {
                    return Ok(Joined::Never("the provider has lost it".into()));
                }
                None => {}
            },
            Some(Err(error)) => tracing::debug!(machine = %attempt.machine, %error, "cannot look at a machine"),
        }
        job.pause().await;
    }
}

/// Commits that a machine which never calls home is up.
async fn up(job: &StepJob<'_>, key: &str) -> Result<(), StepError> {
    let (key, since) = (key.to_owned(), job.engine.clock.now());
    let written = job.engine.ledger.write(move |draft| {
        let Some(record) = draft.get::<MachineRecord>(&key) else {
            return;
        };
        if let MachinePhase::Booting { handle, .. } = &record.machine.phase {
            let handle = handle.clone();
            let mut record = record.clone();
            record.machine.phase = MachinePhase::Ready { since, handle };
            draft.put(record);
        }
    });
    Ok(written.await?)
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::id::{ClusterName, Epoch, OperationId, SiteName, StepId};
    use isobar_engine_model::quantity::Timestamp;
    use isobar_engine_provider::Token;

    use super::*;

    fn attempts(states: &[AttemptState]) -> Vec<AttemptRecord> {
        let of = |(number, state): (u32, &AttemptState)| AttemptRecord {
            cluster: ClusterName::new("c").unwrap(),
            operation: OperationId::new("op"),
            step: StepId(1),
            attempt: AttemptNo(number),
            machine: MachineId::new("m-1"),
            kind: ResourceKind::Machine,
            site: SiteName::new("s").unwrap(),
            candidate: 0,
            epoch: Epoch(1),
            token: Token("t".into()),
            sealed_request: String::new(),
            request_hash: String::new(),
            intended: Timestamp(0),
            expires: Timestamp(0),
            state: state.clone(),
        };
        (1..).zip(states).map(of).collect()
    }

    #[test]
    fn a_refusal_moves_on_at_once_and_a_failed_boot_after_its_tries() {
        let refused = AttemptState::Refused {
            reason: "none left".into(),
        };
        let gone = AttemptState::Gone {
            since: Timestamp(0),
            reason: "did not boot".into(),
        };
        let next = |states: &[AttemptState]| next_candidate(&attempts(states), 2);
        assert_eq!(next(&[]), 0);
        assert_eq!(next(std::slice::from_ref(&refused)), 1);
        assert_eq!(next(std::slice::from_ref(&gone)), 0);
        assert_eq!(next(&[gone.clone(), gone.clone()]), 1);
        assert_eq!(next(&[gone.clone(), refused.clone(), gone.clone()]), 1);
        assert_eq!(next(&[gone.clone(), refused, gone.clone(), gone]), 2);
    }

    #[test]
    fn a_fallback_says_what_it_costs_beside_the_plan() {
        let beside = |price| beside(MicroUsdPerHour(price), MicroUsdPerHour(20_000));
        assert_eq!(beside(32_500), "$0.0125/h more than planned");
        assert_eq!(beside(20_000), "as planned");
        assert_eq!(beside(5_000), "$0.0150/h less than planned");
    }
}
