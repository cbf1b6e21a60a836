//! The journal's entry of an attempt at anything: its request, frozen, with the token and the name that follow from it.

use isobar_engine_model::id::{AttemptNo, MachineId};
use isobar_engine_provider::{CreateResource, Owner, OwnerTags, ResourceSpec, Site, Token};
use sha2::{Digest, Sha256};

use super::{StepError, StepJob};
use crate::record::{AttemptRecord, AttemptState, attempt_key};

/// What an attempt is at.
pub(super) enum Subject<'a> {
    /// A machine, as a step's candidate with this index.
    Machine { id: &'a MachineId, index: usize },
    /// A part of a network: several steps need it, and one of them makes it.
    Part { id: &'a MachineId },
}

impl Subject<'_> {
    fn id(&self) -> &MachineId {
        match self {
            Self::Machine { id, .. } | Self::Part { id } => id,
        }
    }

    /// What only this attempt of all has.
    fn derived(&self, job: &StepJob<'_>, number: AttemptNo) -> String {
        let of = format!("{}/{}/{}", job.operation, job.step, number.0);
        hex::encode(Sha256::digest(match self {
            Self::Machine { .. } => of,
            Self::Part { id } => format!("{of}/{id}"),
        }))
    }

    /// Clouds take letters, digits and dashes as names.
    fn name(&self, job: &StepJob<'_>, (spec, derived): (&ResourceSpec, &str)) -> String {
        let what = match self {
            Self::Machine { id, .. } => id.as_str(),
            Self::Part { .. } => spec.kind().name(),
        };
        format!("isobar-{}-{what}-{}", job.cluster(), &derived[..8])
    }
}

/// An entry that is not sent yet.
pub(super) fn journal(
    job: &StepJob<'_>,
    subject: &Subject<'_>,
    number: AttemptNo,
    (site, spec): (Site, ResourceSpec),
) -> Result<AttemptRecord, StepError> {
    let engine = job.engine;
    let derived = subject.derived(job, number);
    let request = CreateResource {
        name: subject.name(job, (&spec, &derived)),
        token: Token(derived[..32].to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: engine.store_id.clone(),
                cluster: job.cluster().clone(),
            },
            machine: subject.id().clone(),
            operation: job.operation.clone(),
            attempt: number,
            epoch: engine.ledger.epoch(),
        },
        spec,
        site,
    };
    let provider = engine
        .provider(&request.site)
        .map_err(|error| StepError::Failed(error.message))?;
    let (now, kind) = (engine.clock.now(), request.spec.kind());
    let json = serde_json::to_vec(&request).expect("text keys");
    let key = attempt_key(job.cluster(), subject.id(), number);
    Ok(AttemptRecord {
        cluster: job.cluster().clone(),
        operation: job.operation.clone(),
        step: job.step,
        attempt: number,
        machine: subject.id().clone(),
        kind,
        site: request.site.name.clone(),
        candidate: match subject {
            Subject::Machine { index, .. } => *index,
            Subject::Part { .. } => 0,
        },
        epoch: engine.ledger.epoch(),
        token: request.token.clone(),
        sealed_request: engine.vault.seal(&*engine.entropy, &key, &json),
        request_hash: hex::encode(Sha256::digest(&json)),
        intended: now,
        expires: now.plus_ms(provider.capabilities().token_validity_of(kind)),
        state: AttemptState::Intended,
    })
}
