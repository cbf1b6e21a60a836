//! Sweeping: what the clouds have under our tags is compared with the journal. What the journal does not know is left
//! alone for a grace period, then deleted by a plan of its own; where that would be much at once, somebody is asked.
//!
//! The other direction, what the journal has and the cloud has not, is [`crate::watch`]'s. Never touches what carries no
//! tags, another's tags, or the tags of a later epoch: that is the business of the engine that holds it.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId, OperationId, SiteName};
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_model::plan::{Action, Plan};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_planner::sweep::{Orphan, sweep};
use isobar_engine_provider::{OwnerTags, ProviderError, ResourceKind, ResourceState, Site, list_all};

pub(crate) use self::compare::is_known;
use self::compare::{Change, Context, compare};
use crate::api::AuditWho;
use crate::ask::apply::Wanted;
use crate::config::Bounds;
use crate::engine::{Engine, resolve};
use crate::ledger::{Draft, LedgerError};
use crate::periodic::Work;
use crate::record::{OperationRecord, OrphanRecord, OrphanState, Record, orphan_key, prefix};
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
        let with_networks = provider.networks().is_some();
        for kind in ResourceKind::ALL {
            if kind.is_network() && !with_networks {
                continue;
            }
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
