//! Watching over: looks at every cluster's machines through their providers and their nodes' leases, then lets the
//! reconciler decide. One loop, one direction: observe, plan, accept.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_engine_model::id::{ClusterName, MachineId};
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_provider::{ProviderError, ResourceKind, ResourceState, ResourceStatus, Site};

use crate::engine::{Engine, resolve};
use crate::ledger::LedgerError;
use crate::periodic::Work;
use crate::record::{AttemptRecord, AttemptState, CredentialRecord, MachineRecord, Record, attempt_key, machine_key};

/// What a site's provider says of a cluster's machines, by machine.
type Seen = BTreeMap<MachineId, ResourceState>;

impl Engine {
    /// Looks and reconciles until the engine stops.
    pub(crate) async fn watch_over(self: Arc<Self>) {
        let mut turn = self.turn(Work::Look);
        while self.next_round(&mut turn).await {
            let looking = async {
                let clusters: Vec<ClusterName> = self
                    .ledger
                    .read()
                    .clusters
                    .all()
                    .map(|record| record.cluster.clone())
                    .collect();
                for cluster in clusters {
                    self.look_after(&cluster).await?;
                }
                if self.is_recovering() {
                    return Ok(());
                }
                self.bury().await?;
                self.forget().await
            };
            match looking.await {
                Ok(()) => {}
                Err(LedgerError::Store(reason)) => tracing::warn!(reason, "the store did not take what was seen"),
                Err(error @ (LedgerError::Fenced | LedgerError::Stopping)) => {
                    tracing::error!(%error, "watching over nothing any more");
                    return;
                }
            }
        }
    }

    async fn look_after(self: &Arc<Self>, cluster: &ClusterName) -> Result<(), LedgerError> {
        self.observe(cluster).await?;
        self.look_at_adopted(cluster, self.config.bounds.adopted_look_ms)
            .await?;
        self.reconcile(cluster).await
    }

    /// Compares what is known of a cluster's machines with what their providers and nodes say.
    async fn observe(&self, cluster: &ClusterName) -> Result<(), LedgerError> {
        let (machines, sites) = {
            let state = self.ledger.read();
            let record = state.clusters.get(cluster.as_str());
            let sites: Vec<Site> = record
                .and_then(|record| record.spec.as_ref())
                .map(|spec| spec.sites.iter().map(|(name, site)| resolve(name, site)).collect())
                .unwrap_or_default();
            (self.observed(&state, cluster).machines, sites)
        };
        for site in &sites {
            let here: Vec<&Machine> = machines.iter().filter(|machine| is_in(machine, site)).collect();
            if here.is_empty() {
                continue;
            }
            match self.seen(cluster, site).await {
                Ok(seen) => {
                    for machine in &here {
                        self.compare(cluster, machine, &seen).await?;
                    }
                }
                Err(error) => tracing::debug!(site = %site.name, %error, "a site does not answer"),
            }
        }
        for machine in &machines {
            if let Some(reason) = self.silent(cluster, machine) {
                self.lost(cluster, machine, &reason).await?;
            }
        }
        Ok(())
    }

    async fn seen(&self, cluster: &ClusterName, site: &Site) -> Result<Seen, ProviderError> {
        let look = self.glance(cluster, (site, ResourceKind::Machine)).await?;
        let current = look.items.values().filter_map(|item| {
            let tags = item
                .tags
                .as_ref()
                .filter(|tags| self.is_current_attempt(cluster, tags))?;
            Some((tags.machine.clone(), item.clone()))
        });
        Ok(current.collect())
    }

    fn is_current_attempt(&self, cluster: &ClusterName, tags: &isobar_engine_provider::OwnerTags) -> bool {
        let state = self.ledger.read();
        let record = state.machines.get(&machine_key(cluster, &tags.machine));
        let bought = record.and_then(|record| record.machine.bought.as_ref());
        bought.is_some_and(|bought| bought.attempt == tags.attempt && bought.operation == tags.operation)
    }

    /// What a provider's list says of one machine.
    async fn compare(&self, cluster: &ClusterName, machine: &Machine, seen: &Seen) -> Result<(), LedgerError> {
        let node = (cluster.clone(), machine.id.clone());
        if !matches!(machine.phase, MachinePhase::Booting { .. } | MachinePhase::Ready { .. }) {
            return Ok(());
        }
        match seen.get(&machine.id) {
            Some(state) => {
                self.live.endpoints_are(&node, state.endpoints.clone());
                match &state.status {
                    // It holds what is nowhere else: whoever bought it may start it again.
                    ResourceStatus::Stopped { .. } if !self.config.births.call_home() => Ok(()),
                    ResourceStatus::Stopped { reason } => {
                        self.lost(cluster, machine, &format!("it stopped: {reason}")).await
                    }
                    ResourceStatus::Deleting => self.lost(cluster, machine, "somebody deletes it").await,
                    ResourceStatus::Pending | ResourceStatus::Running => Ok(()),
                }
            }
            None if self.should_be_visible(cluster, machine) => {
                self.lost(cluster, machine, "the provider does not have it any more")
                    .await
            }
            None => Ok(()),
        }
    }

    /// Whether a machine was made so long ago that every list has it.
    fn should_be_visible(&self, cluster: &ClusterName, machine: &Machine) -> bool {
        let state = self.ledger.read();
        let Some(bought) = &machine.bought else { return false };
        let Some(attempt) = state.attempts.get(&attempt_key(cluster, &machine.id, bought.attempt)) else {
            return false;
        };
        let delay = self
            .request(attempt)
            .ok()
            .and_then(|request| self.provider(&request.site).ok());
        let delay_ms = delay.map_or(u64::MAX, |provider| provider.capabilities().visibility_delay_max_ms);
        // Not from the intent on: its request may have been sent again and again before one made it.
        matches!(attempt.state, AttemptState::Accepted { since, .. } if self.clock.now().since_ms(since) > delay_ms)
    }

    /// Why a ready machine's node counts as lost: it has not renewed its lease.
    fn silent(&self, cluster: &ClusterName, machine: &Machine) -> Option<String> {
        let MachinePhase::Ready { since, .. } = machine.phase else {
            return None;
        };
        if !self.config.births.call_home() {
            return None;
        }
        let heard = self.live.last_heard(&(cluster.clone(), machine.id.clone()));
        let last = heard.unwrap_or(since).max(self.started);
        let silent_ms = self.clock.now().since_ms(last);
        let bounds = &self.config.bounds;
        (silent_ms > bounds.lease_ms + bounds.lease_margin_ms)
            .then(|| format!("its node is silent for {} s", silent_ms / 1000))
    }

    /// Commits that a machine must be replaced.
    async fn lost(&self, cluster: &ClusterName, machine: &Machine, reason: &str) -> Result<(), LedgerError> {
        let (key, version) = (machine_key(cluster, &machine.id), machine.version);
        let (since, why) = (self.clock.now(), reason.to_owned());
        let marked = self
            .ledger
            .write(move |draft| {
                let Some(record) = draft
                    .get::<MachineRecord>(&key)
                    .filter(|r| r.machine.version == version)
                else {
                    return false;
                };
                if !record.machine.is_usable() {
                    return false;
                }
                let mut record = record.clone();
                record.lose(since, why);
                draft.put(record);
                true
            })
            .await?;
        if marked {
            tracing::warn!(%cluster, machine = %machine.id, reason, "machine lost");
            self.event(cluster, machine.id.as_str(), &format!("lost: {reason}"))
                .await?;
            self.live.progressed();
        }
        Ok(())
    }

    /// Removes tombstones that nothing can ask for any more.
    async fn bury(&self) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let kept_ms = self
            .providers
            .values()
            .map(|provider| provider.capabilities().token_validity_ms)
            .fold(self.config.bounds.tombstone_ms, u64::max);
        let old: Vec<String> = {
            let state = self.ledger.read();
            let is_old = |record: &&MachineRecord| matches!(record.machine.phase, MachinePhase::Gone { since } if now.since_ms(since) > kept_ms);
            let old = state.machines.all().filter(is_old);
            old.map(crate::record::Record::key).collect()
        };
        let parts: Vec<String> = {
            let state = self.ledger.read();
            let parts = state.attempts.all().filter(|attempt| attempt.kind.is_network());
            let old = parts.filter(|attempt| match attempt.state {
                AttemptState::Gone { since, .. } => now.since_ms(since) > kept_ms,
                AttemptState::Refused { .. } => now.since_ms(attempt.intended) > kept_ms,
                AttemptState::Intended | AttemptState::Accepted { .. } | AttemptState::Closing { .. } => false,
            });
            old.map(Record::key).collect()
        };
        if old.is_empty() && parts.is_empty() {
            return Ok(());
        }
        self.ledger
            .write(move |draft| {
                bury(draft, &old);
                for part in parts {
                    draft.remove::<AttemptRecord>(&part);
                }
            })
            .await
    }
}

/// Removes machines with everything that belongs to them.
fn bury(draft: &mut crate::ledger::Draft, machines: &[String]) {
    for machine in machines {
        let under = format!("{machine}/");
        let attempts: Vec<String> = draft.state().attempts.under(&under).map(Record::key).collect();
        for key in attempts {
            draft.remove::<CredentialRecord>(&key);
            draft.remove::<AttemptRecord>(&key);
        }
        draft.remove::<MachineRecord>(machine);
    }
}

fn is_in(machine: &Machine, site: &Site) -> bool {
    machine.bought.as_ref().is_some_and(|bought| bought.site == site.name)
}
