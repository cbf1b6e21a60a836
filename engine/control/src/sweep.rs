//! Sweeping: what the clouds have under our tags is compared with the journal. What the journal does not know is left
//! alone for a grace period, then deleted by a plan of its own; where that would be much at once, somebody is asked.
//!
//! The other direction, what the journal has and the cloud has not, is [`crate::watch`]'s. Never touches what carries no
//! tags, another's tags, or the tags of a later epoch: that is the business of the engine that holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isobar_engine_model::id::{AttemptNo, ClusterName, Epoch, MachineId, OperationId, SiteName};
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_model::plan::{Action, Plan};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_planner::sweep::{Orphan, sweep};
use isobar_engine_provider::{OwnerTags, ProviderError, ResourceKind, ResourceState, ResourceStatus, Site, list_all};

use crate::api::AuditWho;
use crate::ask::apply::Wanted;
use crate::config::Bounds;
use crate::engine::{Engine, resolve};
use crate::ledger::{Draft, LedgerError};
use crate::periodic::Work;
use crate::record::{
    AttemptState, OperationRecord, OrphanRecord, OrphanState, Record, attempt_key, orphan_key, prefix,
};
use crate::state::State;

/// How the last sweep of a site went.
#[derive(Debug, Clone)]
pub(crate) struct Swept {
    pub(crate) at: Timestamp,
    /// Resources with our tags, or why they could not be listed.
    pub(crate) resources: Result<usize, String>,
}

/// What a site has under a cluster's tags, by kind.
pub(crate) type Found = Vec<(ResourceKind, ResourceState, OwnerTags)>;

impl Engine {
    /// Sweeps every cluster, again and again, until the engine stops.
    pub(crate) async fn sweep_over(self: Arc<Self>) {
        let mut turn = self.turn(Work::Sweep);
        while self.next_round(&mut turn).await {
            let clusters: Vec<ClusterName> = {
                let state = self.ledger.read();
                state.clusters.all().map(|record| record.cluster.clone()).collect()
            };
            for cluster in clusters {
                match self.sweep(&cluster).await {
                    Ok(()) => {}
                    Err(LedgerError::Store(reason)) => tracing::warn!(%cluster, reason, "a sweep was not kept"),
                    Err(LedgerError::Fenced | LedgerError::Stopping) => return,
                }
            }
        }
    }

    async fn sweep(self: &Arc<Self>, cluster: &ClusterName) -> Result<(), LedgerError> {
        for site in self.sites_of(cluster) {
            let found = self.under_our_tags(cluster, &site).await;
            let swept = Swept {
                at: self.clock.now(),
                resources: found.as_ref().map(Vec::len).map_err(ToString::to_string),
            };
            self.live.swept(cluster, &site.name, swept);
            match found {
                Ok(found) => self.quarantine(cluster, &site, found).await?,
                Err(error) => tracing::warn!(%cluster, site = %site.name, %error, "a site cannot be swept"),
            }
        }
        self.condemn(cluster).await
    }

    /// Every site where a cluster may have something: those of its spec, and those of attempts that are still remembered.
    pub(crate) fn sites_of(&self, cluster: &ClusterName) -> Vec<Site> {
        let state = self.ledger.read();
        let spec = state
            .clusters
            .get(cluster.as_str())
            .and_then(|record| record.spec.as_ref());
        let mut sites: BTreeMap<SiteName, Site> = spec
            .iter()
            .flat_map(|spec| &spec.sites)
            .map(|(name, site)| (name.clone(), resolve(name, site)))
            .collect();
        for attempt in state.attempts.under(&prefix(cluster)) {
            if !sites.contains_key(&attempt.site)
                && let Ok(request) = self.request(attempt)
            {
                sites.insert(attempt.site.clone(), request.site);
            }
        }
        sites.into_values().collect()
    }

    pub(crate) async fn under_our_tags(&self, cluster: &ClusterName, site: &Site) -> Result<Found, ProviderError> {
        // A sweep that was frozen ends here: its shard may be another's, which sweeps as well.
        self.may_act()?;
        let provider = self
            .provider(site)
            .map_err(|error| ProviderError::InvalidSpec { message: error.message })?;
        let owner = self.owner(cluster);
        let mut found = Found::new();
        for kind in ResourceKind::ALL {
            for item in list_all(&*provider, site, kind, &owner).await? {
                // A provider's filter is its word; the tags themselves are proof.
                if let Some(tags) = item.tags.clone().filter(|tags| tags.owner == owner) {
                    found.push((kind, item, tags));
                }
            }
        }
        Ok(found)
    }

    /// Commits what is unknown, and what has gone or become known since.
    pub(crate) async fn quarantine(&self, cluster: &ClusterName, site: &Site, found: Found) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let changes: Vec<Change> = {
            let state = self.ledger.read();
            let context = Context {
                state: &state,
                cluster,
                epoch: self.ledger.epoch(),
                now,
                visibility_delay_ms: self
                    .provider(site)
                    .map_or(0, |provider| provider.capabilities().visibility_delay_max_ms),
                tombstone_ms: self.config.bounds.tombstone_ms,
            };
            compare(&context, site, found)
        };
        for change in changes {
            let (name, what) = match &change {
                Change::Found(record) => {
                    tracing::warn!(%cluster, site = %site.name, name = record.name, because = record.because, "orphan found");
                    let grace_s = self.config.bounds.orphan_grace_ms / 1000;
                    let what = format!("orphan in {}: {}; deleted in {grace_s} s", site.name, record.because);
                    (record.name.clone(), Some(what))
                }
                Change::Gone(record) => (record.name.clone(), Some(format!("orphan in {}: gone", site.name))),
                Change::Forget(record) => (record.name.clone(), None),
            };
            self.ledger.write(move |draft| change.put(draft, now)).await?;
            if let Some(what) = what {
                self.event(cluster, &name, &what).await?;
            }
        }
        Ok(())
    }

    /// Plans the end of what has been an orphan for longer than the grace period.
    async fn condemn(self: &Arc<Self>, cluster: &ClusterName) -> Result<(), LedgerError> {
        if self.is_recovering() {
            return Ok(());
        }
        let now = self.clock.now();
        let (due, machines) = {
            let state = self.ledger.read();
            let due = due(&state, cluster, now, &self.config.bounds);
            (
                due,
                self.observed(&state, cluster).machines.iter().filter(is_alive).count(),
            )
        };
        if due.is_empty() {
            return Ok(());
        }
        let orphans: Vec<Orphan> = due.iter().map(orphan).collect();
        let plan = {
            let observed = self.observed(&self.ledger.read(), cluster);
            sweep(&observed, &orphans, now, self.config.bounds.plan_valid_ms)
        };
        if let Err(error) = self.keep(&plan).await {
            tracing::warn!(%cluster, %error, "the plan of a sweep was not kept");
            return Ok(());
        }
        let allowed = allowed(&self.config.bounds, machines);
        let concerned = concerned(&due);
        if concerned > allowed {
            return self.ask(cluster, &plan, &due, (concerned, allowed)).await;
        }
        let wanted = Wanted {
            who: AuditWho::Sweeper,
            idempotency_key: plan.id.to_string(),
            why: Some("sweep".into()),
            healing: None,
        };
        let accepted = self.accept(plan.id.clone(), wanted).await;
        if let Err(error) = accepted {
            tracing::warn!(%cluster, %error, "the plan of a sweep was not accepted");
        }
        Ok(())
    }

    async fn ask(
        &self,
        cluster: &ClusterName,
        plan: &Plan,
        due: &[OrphanRecord],
        (concerned, allowed): (usize, usize),
    ) -> Result<(), LedgerError> {
        let keys: Vec<String> = due.iter().map(Record::key).collect();
        let id = plan.id.clone();
        self.ledger
            .write(move |draft| {
                for key in keys {
                    if let Some(record) = draft.get::<OrphanRecord>(&key).cloned() {
                        let state = OrphanState::Asking { plan: id.clone() };
                        draft.put(OrphanRecord { state, ..record });
                    }
                }
            })
            .await?;
        let what = format!(
            "orphans of {concerned} machines, more than the {allowed} that are deleted unasked: look at `isobar leaks`, then `isobar apply --plan {}`",
            plan.id
        );
        tracing::warn!(%cluster, what, "a sweep asks");
        self.event(cluster, cluster.as_str(), &what).await
    }
}

/// What a sweep of a site changes.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// It is an orphan from now on.
    Found(OrphanRecord),
    /// The provider does not have it any more.
    Gone(OrphanRecord),
    /// The journal knows it by now, or it has been gone for long enough.
    Forget(OrphanRecord),
}

impl Change {
    fn put(self, draft: &mut Draft, now: Timestamp) {
        match self {
            Self::Found(record) => draft.put(record),
            Self::Gone(record) => draft.put(OrphanRecord {
                state: OrphanState::Gone { since: now },
                ..record
            }),
            Self::Forget(record) => draft.remove::<OrphanRecord>(&record.key()),
        }
    }
}

/// What a site's resources are compared with.
struct Context<'a> {
    state: &'a State,
    cluster: &'a ClusterName,
    epoch: Epoch,
    now: Timestamp,
    visibility_delay_ms: u64,
    tombstone_ms: u64,
}

fn compare(context: &Context<'_>, site: &Site, found: Found) -> Vec<Change> {
    let (cluster, mut changes) = (context.cluster, Vec::new());
    let mut there = BTreeSet::new();
    for (kind, item, tags) in found {
        let key = orphan_key(cluster, &site.name, &item.handle);
        there.insert(key.clone());
        let before = context.state.orphans.get(&key);
        match (why_unknown(context, kind, &item, &tags), before) {
            (Some(because), None) if item.status != ResourceStatus::Deleting => {
                changes.push(Change::Found(OrphanRecord {
                    cluster: cluster.clone(),
                    site: site.clone(),
                    kind,
                    handle: item.handle,
                    name: item.name,
                    tags,
                    offering: item.offering,
                    found: context.now,
                    because,
                    state: OrphanState::Quarantined,
                }));
            }
            // A list that lagged behind had it gone too early.
            (Some(_), Some(record)) if matches!(record.state, OrphanState::Gone { .. }) => {
                if item.status != ResourceStatus::Deleting {
                    let state = OrphanState::Quarantined;
                    changes.push(Change::Found(OrphanRecord {
                        state,
                        ..record.clone()
                    }));
                }
            }
            (Some(_), _) | (None, None) => {}
            (None, Some(record)) => changes.push(Change::Forget(record.clone())),
        }
    }
    let here = context.state.orphans.under(&prefix(cluster));
    let missing = here.filter(|record| record.site.name == site.name && !there.contains(&record.key()));
    changes.extend(missing.filter_map(|record| match record.state {
        OrphanState::Quarantined | OrphanState::Asking { .. } => Some(Change::Gone(record.clone())),
        OrphanState::Gone { since } if context.now.since_ms(since) > context.tombstone_ms => {
            Some(Change::Forget(record.clone()))
        }
        // What an operation deletes is gone when the operation says so.
        OrphanState::Deleting { .. } | OrphanState::Gone { .. } => None,
    }));
    changes
}

/// Why the journal does not know a resource; absent: it does, or it is not for this engine to say.
fn why_unknown(context: &Context<'_>, kind: ResourceKind, item: &ResourceState, tags: &OwnerTags) -> Option<String> {
    if tags.epoch > context.epoch {
        return None;
    }
    let attempt = attempt_of(context.state, context.cluster, &tags.machine, tags.attempt)
        .filter(|attempt| attempt.operation == tags.operation);
    let Some(attempt) = attempt else {
        return Some(format!(
            "the journal has no attempt {} of {} by {}",
            tags.attempt.0, tags.machine, tags.operation
        ));
    };
    match &attempt.state {
        AttemptState::Intended => None,
        AttemptState::Accepted { .. } | AttemptState::Closing { .. } => {
            let other = attempt.handle().filter(|handle| **handle != item.handle);
            match (kind, other) {
                (ResourceKind::Machine, Some(other)) => Some(format!("{} is {other}", tags.machine)),
                (_, _) => None,
            }
        }
        AttemptState::Refused { reason } => Some(format!("attempt {} was refused: {reason}", tags.attempt.0)),
        AttemptState::Gone { since, .. } if context.now.since_ms(*since) <= context.visibility_delay_ms => None,
        AttemptState::Gone { .. } => Some(format!("attempt {} was gone already", tags.attempt.0)),
    }
}

fn attempt_of<'a>(
    state: &'a State,
    cluster: &ClusterName,
    machine: &MachineId,
    attempt: AttemptNo,
) -> Option<&'a crate::record::AttemptRecord> {
    state.attempts.get(&attempt_key(cluster, machine, attempt))
}

/// Orphans whose grace is over and that nothing is done about yet.
fn due(state: &State, cluster: &ClusterName, now: Timestamp, bounds: &Bounds) -> Vec<OrphanRecord> {
    let here = state.orphans.under(&prefix(cluster));
    here.filter(|record| now.since_ms(record.found) > bounds.orphan_grace_ms)
        .filter(|record| match &record.state {
            OrphanState::Quarantined => true,
            OrphanState::Asking { plan } => state
                .plans
                .get(plan.as_str())
                .is_none_or(|record| now > record.plan.body.expires),
            // It failed: once more.
            OrphanState::Deleting { operation } => has_ended(state, operation),
            OrphanState::Gone { .. } => false,
        })
        .cloned()
        .collect()
}

fn has_ended(state: &State, operation: &OperationId) -> bool {
    let record: Option<&OperationRecord> = state.operations.get(operation.as_str());
    record.is_none_or(|record| record.operation.state.is_final())
}

pub(crate) fn orphan(record: &OrphanRecord) -> Orphan {
    Orphan {
        site: record.site.name.clone(),
        handle: record.handle.clone(),
        name: record.name.clone(),
        because: record.because.clone(),
    }
}

fn is_alive(machine: &&Machine) -> bool {
    !matches!(machine.phase, MachinePhase::Gone { .. })
}

/// How many machines orphans are of, a machine's children counted with it.
fn concerned(orphans: &[OrphanRecord]) -> usize {
    let machines: BTreeSet<(&MachineId, AttemptNo, &OperationId)> = orphans
        .iter()
        .map(|record| (&record.tags.machine, record.tags.attempt, &record.tags.operation))
        .collect();
    machines.len()
}

/// Orphans of how many machines are deleted unasked in a cluster of so many.
fn allowed(bounds: &Bounds, machines: usize) -> usize {
    let part = machines.saturating_mul(bounds.sweep_percent_max) / 100;
    part.max(bounds.sweep_machines_free).min(bounds.sweep_machines_max)
}

/// Commits that an operation deletes the orphans of its plan.
pub(crate) fn begin(draft: &mut Draft, plan: &Plan, operation: &OperationId) {
    for step in &plan.body.steps {
        let Action::DeleteOrphan { site, handle, .. } = &step.action else {
            continue;
        };
        let key = orphan_key(&plan.body.cluster, site, handle);
        if let Some(record) = draft.get::<OrphanRecord>(&key).cloned() {
            let state = OrphanState::Deleting {
                operation: operation.clone(),
            };
            draft.put(OrphanRecord { state, ..record });
        }
    }
}

/// Whether an orphan turned out to be known after all.
pub(crate) fn is_known(engine: &Engine, record: &OrphanRecord, item: &ResourceState) -> bool {
    let state = engine.ledger.read();
    let context = Context {
        state: &state,
        cluster: &record.cluster,
        epoch: engine.ledger.epoch(),
        now: engine.clock.now(),
        visibility_delay_ms: 0,
        tombstone_ms: engine.config.bounds.tombstone_ms,
    };
    why_unknown(&context, record.kind, item, &record.tags).is_none()
}
