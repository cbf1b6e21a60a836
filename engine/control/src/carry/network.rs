//! What machines need around them at a site: made before the first of them, removed after the last.
//!
//! Each part is an attempt of its own in the journal, like a machine's, under an id that no machine can have. Machines
//! that are bought together wait for one of them to make it. What was found and not made is never touched.

mod part;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use isobar_engine_model::id::{ClusterName, OperationId, SiteName, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::error::Next;
use isobar_engine_provider::{Network, NetworkNeeds, Networks as Area, Provider, Site};

use self::part::{Making, Outcome};
use super::{StepError, StepJob, release};
use crate::record::{AttemptRecord, AttemptState, prefix};

/// What became of looking for a machine's surroundings.
#[derive(Debug, Clone)]
pub(super) enum Ready {
    /// A machine can be connected to these.
    With(Network),
    /// They cannot be made here, and why: the next candidate.
    Refused(String),
}

/// What machines of each place are connected to.
#[derive(Default)]
pub(crate) struct Networks(Mutex<BTreeMap<(ClusterName, SiteName), Arc<Place>>>);

/// Whoever holds it looks and makes; the others wait for what comes of it.
type Place = tokio::sync::Mutex<Known>;

/// What an operation found or made: it looks once for each zone.
#[derive(Default)]
struct Known(Option<(OperationId, BTreeMap<Zone, Ready>)>);

impl Networks {
    fn place(&self, cluster: &ClusterName, site: &SiteName) -> Arc<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry((cluster.clone(), site.clone())).or_default().clone()
    }
}

impl Known {
    /// By zone; another operation starts anew.
    fn of(&mut self, operation: &OperationId) -> &mut BTreeMap<Zone, Ready> {
        if self.0.as_ref().is_some_and(|(known, _)| known != operation) {
            self.0 = None;
        }
        let (_, by_zone) = self.0.get_or_insert_with(|| (operation.clone(), BTreeMap::new()));
        by_zone
    }
}

/// What a machine in a zone is connected to; made where it is missing.
pub(super) async fn ready(job: &StepJob<'_>, site: &Site, zone: &Zone) -> Result<Ready, StepError> {
    let provider = provider_of(job, site)?;
    let Some(area) = provider.networks() else {
        return Ok(Ready::With(Network::new()));
    };
    let place = job.engine.networks.place(job.cluster(), &site.name);
    let mut known = place.lock().await;
    let by_zone = known.of(job.operation);
    if let Some(ready) = by_zone.get(zone) {
        return Ok(ready.clone());
    }
    // What an earlier operation did not get to the end of.
    finish(job, &site.name).await?;
    let ready = match needs(job, area, (site, zone)).await {
        Ok(needs) => all(job, &*provider, (site, needs)).await?,
        Err(reason) => Ready::Refused(reason),
    };
    by_zone.insert(zone.clone(), ready.clone());
    Ok(ready)
}

/// Asks what is needed, for as long as a machine may take to boot.
async fn needs(job: &StepJob<'_>, area: &dyn Area, (site, zone): (&Site, &Zone)) -> Result<NetworkNeeds, String> {
    let begun = job.engine.clock.now();
    loop {
        job.says_of_part(format!("asking {} what machines of {zone} are connected to", site.name));
        let error = match area.needs(site, zone).await {
            Ok(needs) => return Ok(needs),
            Err(error) => error,
        };
        let in_time = is_in_time(job, begun);
        match error.next() {
            Next::Again | Next::FindOut if in_time => job.rest().await,
            Next::Again | Next::FindOut | Next::Fallback | Next::GiveUp => {
                return Err(format!("what machines are connected to: {error}"));
            }
        }
    }
}

/// Makes every part that is needed, in order.
async fn all(
    job: &StepJob<'_>,
    provider: &dyn Provider,
    (site, needs): (&Site, NetworkNeeds),
) -> Result<Ready, StepError> {
    let mut shared = needs.found;
    let mut zonal = Network::new();
    for part in needs.make {
        // What all zones share is not made in what only one of them has.
        let within = match &part.zone {
            Some(_) => shared.clone().into_iter().chain(zonal.clone()).collect(),
            None => shared.clone(),
        };
        let making = Making::new(job, provider, (site, &part), within);
        match making.make().await? {
            Outcome::There(handle) if part.zone.is_some() => zonal.insert(part.kind, handle),
            Outcome::There(handle) => shared.insert(part.kind, handle),
            Outcome::Refused(reason) => return Ok(Ready::Refused(reason)),
        };
    }
    shared.extend(zonal);
    Ok(Ready::With(shared))
}

/// Removes all that was made for a cluster's machines at a site, and returns when the provider says that it is gone.
pub(crate) async fn remove(job: &StepJob<'_>, site: &SiteName) -> Result<(), StepError> {
    announce(job, site).await?;
    finish(job, site).await
}

/// Deletes every part that is to go, each before what it was made in.
async fn finish(job: &StepJob<'_>, site: &SiteName) -> Result<(), StepError> {
    let mut last_first = living(job, site)
        .into_iter()
        .filter(|attempt| matches!(attempt.state, AttemptState::Closing { .. }))
        .map(|attempt| Ok((part::depth(job, &attempt)?, attempt)))
        .collect::<Result<Vec<_>, StepError>>()?;
    last_first.sort_by(|(one, _), (other, _)| other.cmp(one));
    for (_, attempt) in last_first {
        release::finish(job, &attempt).await?;
        let what = format!("removed the {} in {site}", attempt.kind.name());
        job.engine.event(job.cluster(), attempt.machine.as_str(), &what).await?;
    }
    Ok(())
}

/// Commits that every part is being deleted: no machine is connected to it any more.
async fn announce(job: &StepJob<'_>, site: &SiteName) -> Result<(), StepError> {
    let closing: Vec<AttemptRecord> = living(job, site)
        .into_iter()
        .filter(|attempt| !matches!(attempt.state, AttemptState::Closing { .. }))
        .map(|attempt| AttemptRecord {
            state: AttemptState::Closing {
                made: attempt.made(),
                reason: "no machine is left here".into(),
            },
            ..attempt
        })
        .collect();
    let written = job.engine.ledger.write(move |draft| {
        for attempt in closing {
            draft.put(attempt);
        }
    });
    Ok(written.await?)
}

/// The parts that there may be.
fn living(job: &StepJob<'_>, site: &SiteName) -> Vec<AttemptRecord> {
    let state = job.engine.ledger.read();
    let here = state.attempts.under(&prefix(job.cluster()));
    here.filter(|attempt| attempt.kind.is_network() && attempt.site == *site && attempt.may_live())
        .cloned()
        .collect()
}

fn provider_of(job: &StepJob<'_>, site: &Site) -> Result<Arc<dyn Provider>, StepError> {
    job.engine
        .provider(site)
        .map_err(|error| StepError::Failed(error.message))
}

fn is_in_time(job: &StepJob<'_>, begun: Timestamp) -> bool {
    job.engine.clock.now().since_ms(begun) < job.engine.config.bounds.boot_max_ms
}
