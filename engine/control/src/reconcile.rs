//! Reconciling: the same path as an asked plan, with the stored spec as its input. Policy decides whether such a plan
//! may run unasked; pauses that double, up to a bound, keep it from flapping.

use std::sync::Arc;

use isobar_engine_model::id::ClusterName;
use isobar_engine_model::intent::Limits;
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::plan::{Action, Plan};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_planner::{Wish, outline};

use crate::api::AuditWho;
use crate::ask::apply::Wanted;
use crate::config::Bounds;
use crate::engine::Engine;
use crate::ledger::LedgerError;
use crate::reach::Doubt;
use crate::record::{ClusterRecord, Healing};

/// At most so many differences are shown.
const DRIFT_SHOWN_MAX: usize = 20;

/// Whether a plan of the reconciler may run unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It brings back what was accepted, for no more than was accepted.
    Run,
    /// Later: the last try is too recent, or the last operation where nothing presses.
    Later,
    /// Somebody must apply it.
    Ask(String),
}

impl Engine {
    /// Brings a cluster back to its stored spec, if policy lets it.
    pub(crate) async fn reconcile(self: &Arc<Self>, cluster: &ClusterName) -> Result<(), LedgerError> {
        let Some(record) = self.ledger.read().clusters.get(cluster.as_str()).cloned() else {
            return Ok(());
        };
        if record.running.is_some() || record.held {
            return Ok(());
        }
        if let Err(error) = self.is_recovered() {
            self.live.drift_is(cluster, vec![error.message]);
            return Ok(());
        }
        let is_over = self.observed(&self.ledger.read(), cluster).is_over();
        if is_over {
            self.live.drift_is(cluster, Vec::new());
            return Ok(());
        }
        let catalog = match self.catalog(record.spec.as_ref()).await {
            Ok(catalog) => catalog,
            Err(error) => {
                tracing::warn!(%cluster, %error, "cannot plan");
                return Ok(());
            }
        };
        // Whatever fallback is within what was accepted may be taken unasked.
        let limits = Limits {
            max_micro_usd_per_hour: Some(record.ceiling.0),
            ..Limits::default()
        };
        match self.plan_for(cluster, &Wish::Reconcile, &catalog, limits) {
            Ok(plan) => self.act_on(&record, plan).await,
            Err(error) => {
                tracing::warn!(%cluster, %error, "cannot plan");
                self.live.drift_is(cluster, vec![error.message]);
                Ok(())
            }
        }
    }

    async fn act_on(self: &Arc<Self>, record: &ClusterRecord, plan: Plan) -> Result<(), LedgerError> {
        let (cluster, now) = (&record.cluster, self.clock.now());
        let mut drift: Vec<String> = plan
            .body
            .unmet
            .iter()
            .map(|unmet| format!("{}: {} missing: {}", unmet.about, unmet.missing, unmet.requirement))
            .collect();
        drift.extend(outline(&plan).into_iter().take(DRIFT_SHOWN_MAX));
        if plan.body.steps.is_empty() {
            self.live.drift_is(cluster, drift);
            return self.calm(record, now).await;
        }
        // Who bought an engine's machine decides what becomes of it.
        if !self.config.births.call_home() && !is_tidying(&plan) {
            self.live.drift_is(cluster, drift);
            return Ok(());
        }
        // Whoever applies again soon may need it, and would have to wait for its removal.
        let tidied_from = self.idle_since(cluster).plus_ms(self.config.bounds.network_idle_ms);
        let not_before = match is_tidying(&plan) {
            true => record.healing.not_before.max(tidied_from),
            false => record.healing.not_before,
        };
        match judge(record, &plan, (now, not_before)) {
            Verdict::Run => {}
            Verdict::Later => {
                let failed = self.last_failure(cluster);
                drift.splice(
                    0..0,
                    failed.map(|reason| format!("the last operation failed: {reason}")),
                );
                self.live.drift_is(cluster, drift);
                return Ok(());
            }
            Verdict::Ask(why) => {
                drift.insert(0, why);
                self.live.drift_is(cluster, drift);
                return Ok(());
            }
        }
        if let Err(error) = self.reachable(&plan, Doubt::Remember).await {
            drift.insert(0, error.message);
            self.live.drift_is(cluster, drift);
            return Ok(());
        }
        tracing::info!(%cluster, plan = %plan.id, ?drift, "healing");
        self.event(cluster, cluster.as_str(), &format!("healing: {}", drift.join("; ")))
            .await?;
        self.live.drift_is(cluster, drift);
        let kept = self.keep(&plan).await;
        let healing = Some(paused(record.healing, now, &self.config.bounds));
        let wanted = Wanted {
            who: AuditWho::Reconciler,
            idempotency_key: plan.id.to_string(),
            why: Some("reconcile".into()),
            healing,
        };
        let accepted = match kept {
            Ok(()) => self.accept(plan.id, wanted).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = accepted {
            tracing::debug!(%cluster, %error, "a plan of the reconciler was not accepted");
        }
        Ok(())
    }

    /// When a cluster's last operation ended.
    fn idle_since(&self, cluster: &ClusterName) -> Timestamp {
        let state = self.ledger.read();
        let ended = state
            .operations_of(cluster)
            .into_iter()
            .filter_map(|record| match record.operation.state {
                OperationState::Succeeded { at }
                | OperationState::Failed { at, .. }
                | OperationState::Cancelled { at } => Some(at),
                OperationState::Running | OperationState::Cancelling { .. } => None,
            });
        ended.max().unwrap_or(Timestamp(0))
    }

    /// Why a cluster's newest operation failed, if it did.
    fn last_failure(&self, cluster: &ClusterName) -> Option<String> {
        let state = self.ledger.read();
        let newest = state
            .operations_of(cluster)
            .into_iter()
            .find(|record| record.operation.state.is_final())?;
        match &newest.operation.state {
            OperationState::Failed { reason, .. } => Some(reason.clone()),
            OperationState::Running
            | OperationState::Cancelling { .. }
            | OperationState::Succeeded { .. }
            | OperationState::Cancelled { .. } => None,
        }
    }

    /// Converged: after a while the pauses start anew.
    async fn calm(&self, record: &ClusterRecord, now: Timestamp) -> Result<(), LedgerError> {
        let due = record.healing.not_before.plus_ms(self.config.bounds.heal_calm_ms);
        if record.healing == Healing::default() || now < due {
            return Ok(());
        }
        let key = record.cluster.to_string();
        self.ledger
            .write(move |draft| {
                if let Some(record) = draft.get::<ClusterRecord>(&key) {
                    draft.put(ClusterRecord {
                        healing: Healing::default(),
                        ..record.clone()
                    });
                }
            })
            .await
    }
}

/// Whether a plan only removes what nothing uses.
fn is_tidying(plan: &Plan) -> bool {
    plan.body.steps.iter().all(|step| match step.action {
        Action::RemoveNetwork { .. } => true,
        Action::BuyMachine { .. }
        | Action::ReleaseMachine { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ChangeAdopted { .. }
        | Action::ReleaseAdopted { .. } => false,
    })
}

fn judge(record: &ClusterRecord, plan: &Plan, (now, not_before): (Timestamp, Timestamp)) -> Verdict {
    if now < not_before {
        return Verdict::Later;
    }
    if plan.body.cost.ceiling > record.ceiling && plan.body.cost.ceiling > plan.body.cost.before {
        return Verdict::Ask(format!(
            "healing would cost {}, more than the accepted {}: apply the spec again to allow it",
            plan.body.cost.ceiling, record.ceiling
        ));
    }
    Verdict::Run
}

/// One more try, and the pause after it.
fn paused(healing: Healing, now: Timestamp, bounds: &Bounds) -> Healing {
    let factor = 1_u64.checked_shl(healing.tries).unwrap_or(u64::MAX);
    let doubled = bounds.heal_pause_ms.saturating_mul(factor);
    let pause_ms = doubled.min(bounds.heal_pause_max_ms);
    Healing {
        tries: healing.tries.saturating_add(1).min(u64::BITS),
        not_before: now.plus_ms(pause_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let bounds = Bounds {
            heal_pause_ms: 5_000,
            heal_pause_max_ms: 60_000,
            ..Bounds::default()
        };
        let mut healing = Healing::default();
        let mut pauses = Vec::new();
        for _ in 0..80 {
            healing = paused(healing, Timestamp(0), &bounds);
            pauses.push(healing.not_before.0);
        }
        assert_eq!(pauses[..5], [5_000, 10_000, 20_000, 40_000, 60_000]);
        assert!(pauses[5..].iter().all(|pause| *pause == 60_000));
    }
}
