//! One part of a network: attempts at making it until one is there, and brought to where machines can use it.

use isobar_engine_model::id::{AttemptNo, MachineId, ResourceHandle, SiteName};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::OVERLAY_PORT;
use isobar_engine_provider::error::Next;
use isobar_engine_provider::{Network, NetworkPart, NetworkRequest, Provider, ProviderError, ResourceSpec, Site};
use sha2::{Digest, Sha256};

use super::is_in_time;
use crate::carry::journal::{Subject, journal};
use crate::carry::send::{Sent, attempts_of, send};
use crate::carry::{StepError, StepJob, release};
use crate::config::CrashPoint;
use crate::record::{AttemptRecord, AttemptState};

/// A step begins so many attempts at a part; then it is the next candidate's turn.
const ATTEMPTS_MAX: u32 = 2;

/// What became of a part.
pub(super) enum Outcome {
    /// Machines can use it.
    There(ResourceHandle),
    /// It cannot be made, and why.
    Refused(String),
}

/// A part that a step needs.
pub(super) struct Making<'a> {
    job: &'a StepJob<'a>,
    provider: &'a dyn Provider,
    site: &'a Site,
    id: MachineId,
    request: NetworkRequest,
}

impl<'a> Making<'a> {
    pub(super) fn new(
        job: &'a StepJob<'a>,
        provider: &'a dyn Provider,
        (site, part): (&'a Site, &NetworkPart),
        within: Network,
    ) -> Self {
        Self {
            job,
            provider,
            site,
            id: part_id(&site.name, part),
            request: NetworkRequest {
                part: part.clone(),
                within,
                open_ports: job.engine.config.births.open_ports(),
                overlay_port: OVERLAY_PORT,
            },
        }
    }

    /// Carries on with what the journal has of it, else makes it.
    pub(super) async fn make(&self) -> Result<Outcome, StepError> {
        // What an earlier engine intended, it may have sent.
        let (mut sent, mut begun) = (Sent::Perhaps, 0);
        loop {
            let attempts = attempts_of(self.job, &self.id);
            let refused = match attempts.last().map(|last| (last, &last.state)) {
                Some((last, AttemptState::Intended)) => {
                    sent = send(self.job, last, sent).await?;
                    continue;
                }
                Some((last, AttemptState::Accepted { handle, since })) => {
                    match self.connect(handle, *since).await {
                        Connected::Yes => return self.used(last, handle, begun > 0).await,
                        Connected::Refused(reason) => return Ok(Outcome::Refused(reason)),
                        Connected::Gone => release::close(self.job, last, "somebody has removed it").await?,
                    }
                    continue;
                }
                Some((last, AttemptState::Closing { .. })) => {
                    release::finish(self.job, last).await?;
                    continue;
                }
                // The provider's last word on it.
                Some((_, AttemptState::Refused { reason })) if begun > 0 => {
                    return Ok(Outcome::Refused(format!("{}: {reason}", self.kind())));
                }
                Some((_, AttemptState::Refused { reason } | AttemptState::Gone { reason, .. })) => reason.clone(),
                None => String::new(),
            };
            if begun == ATTEMPTS_MAX {
                return Ok(Outcome::Refused(format!("{}: {refused}", self.kind())));
            }
            begun += 1;
            self.begin(&attempts).await?;
            sent = Sent::Never;
        }
    }

    /// Commits the intent of the next attempt.
    async fn begin(&self, attempts: &[AttemptRecord]) -> Result<(), StepError> {
        let number = AttemptNo(attempts.last().map_or(0, |last| last.attempt.0) + 1);
        let spec = ResourceSpec::Network(self.request.clone());
        let subject = Subject::Part { id: &self.id };
        let attempt = journal(self.job, &subject, number, (self.site.clone(), spec))?;
        self.job.engine.ledger.write(move |draft| draft.put(attempt)).await?;
        self.job.engine.crash_point(CrashPoint::AfterIntent);
        Ok(())
    }

    /// Brings it to where machines can use it.
    async fn connect(&self, handle: &ResourceHandle, since: Timestamp) -> Connected {
        let Some(area) = self.provider.networks() else {
            return Connected::Refused(format!("{} makes no networks any more", self.site.name));
        };
        let visible_from = since.plus_ms(self.provider.capabilities().visibility_delay_max_ms);
        let begun = self.job.engine.clock.now();
        loop {
            self.job
                .says_of_part(format!("{} connects the {}", self.site.name, self.kind()));
            let asked = self.job.engine.clock.now();
            let connecting = area.connect(self.site, handle, &self.request);
            let error = match self.job.engine.while_leased(connecting).await {
                Ok(()) => return Connected::Yes,
                Err(error) => error,
            };
            let absent = error.is_absent();
            match (error.next(), is_in_time(self.job, begun)) {
                _ if error == ProviderError::Gone || (absent && asked > visible_from) => return Connected::Gone,
                (Next::Again | Next::FindOut, true) => self.job.rest().await,
                _ if absent => self.job.rest().await,
                (Next::Again | Next::FindOut | Next::Fallback | Next::GiveUp, _) => {
                    return Connected::Refused(format!("{} {handle}: {error}", self.kind()));
                }
            }
        }
    }

    /// That it is where this step needs it, and not in what was there before.
    async fn used(&self, attempt: &AttemptRecord, handle: &ResourceHandle, new: bool) -> Result<Outcome, StepError> {
        let made = self.job.engine.request(attempt).map_err(StepError::Failed)?.spec;
        let is_within = matches!(&made, ResourceSpec::Network(made) if made.within == self.request.within);
        if !is_within {
            return Ok(Outcome::Refused(format!(
                "{} {handle} of this cluster was made for something else that is there no more: destroy the cluster's \
                 machines in {} to have it made anew",
                self.kind(),
                self.site.name
            )));
        }
        if new {
            let what = format!("made the {} {handle} in {}", self.kind(), self.site.name);
            self.job
                .engine
                .event(self.job.cluster(), self.id.as_str(), &what)
                .await?;
        }
        Ok(Outcome::There(handle.clone()))
    }

    fn kind(&self) -> &'static str {
        self.request.part.kind.name()
    }
}

enum Connected {
    Yes,
    Gone,
    Refused(String),
}

/// How many parts an attempt's part was made in: it goes before them.
pub(super) fn depth(job: &StepJob<'_>, attempt: &AttemptRecord) -> Result<usize, StepError> {
    match job.engine.request(attempt).map_err(StepError::Failed)?.spec {
        ResourceSpec::Network(request) => Ok(request.within.len()),
        ResourceSpec::Machine(_) => Ok(usize::MAX),
    }
}

/// The id of a part. Machines' ids have no underscore.
fn part_id(site: &SiteName, part: &NetworkPart) -> MachineId {
    let zone = part.zone.as_ref().map_or("", |zone| zone.as_str());
    let place = hex::encode(Sha256::digest(format!("{site}/{zone}")));
    MachineId::new(format!("{}_{}", part.kind.name(), &place[..16]))
}
