//! What the store keeps no longer: plans that nobody applied, and operations that ended long ago, with their plans and
//! steps. Called where tombstones are buried. Never forgets what is open, nor an operation whose plan may still be
//! applied: applying it again must find the operation.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::ClusterName;
use isobar_engine_model::operation::Operation;
use isobar_engine_model::quantity::Timestamp;

use crate::config::Bounds;
use crate::engine::Engine;
use crate::ledger::{Draft, LedgerError};
use crate::record::{OperationRecord, PlanRecord, Record, StepRecord, step_prefix};
use crate::state::State;

/// At most so many plans, and so many operations, are forgotten at one look.
const FORGOTTEN_MAX_ITEMS: usize = 100;

/// What nothing asks for any more.
#[derive(Debug, Default, PartialEq, Eq)]
struct Old {
    /// Never applied.
    plans: Vec<String>,
    /// Ended, each with the plan that it carried out.
    operations: Vec<Operation>,
}

impl Engine {
    /// Removes what nothing asks for any more.
    pub(crate) async fn forget(&self) -> Result<(), LedgerError> {
        let (now, bounds) = (self.clock.now(), self.config.bounds);
        if old(&self.ledger.read(), now, &bounds) == Old::default() {
            return Ok(());
        }
        self.ledger.write(move |draft| forget(draft, now, &bounds)).await
    }
}

fn forget(draft: &mut Draft, now: Timestamp, bounds: &Bounds) {
    // Looked for again: what is committed meanwhile may refer to it.
    let Old { plans, operations } = old(draft.state(), now, bounds);
    for plan in plans {
        draft.remove::<PlanRecord>(&plan);
    }
    for operation in operations {
        let steps = draft.state().steps.under(&step_prefix(&operation.id));
        let steps: Vec<String> = steps.map(Record::key).collect();
        for step in steps {
            draft.remove::<StepRecord>(&step);
        }
        draft.remove::<PlanRecord>(operation.plan.as_str());
        draft.remove::<OperationRecord>(operation.id.as_str());
    }
}

fn old(state: &State, now: Timestamp, bounds: &Bounds) -> Old {
    let all = || state.operations.all().map(|record| &record.operation);
    let applied: BTreeSet<&str> = all().map(|operation| operation.plan.as_str()).collect();
    let plans = state.plans.all().map(|record| &record.plan);
    let never_applied = plans.filter(|plan| !applied.contains(plan.id.as_str()));
    let overdue = never_applied.filter(|plan| now > plan.body.expires.plus_ms(bounds.plan_kept_ms));

    let mut ended: BTreeMap<&ClusterName, Vec<&Operation>> = BTreeMap::new();
    for operation in all().filter(|operation| operation.state.is_final()) {
        ended.entry(&operation.cluster).or_default().push(operation);
    }
    let beyond = ended.into_values().flat_map(|mut operations| {
        operations.sort_by_key(|operation| Reverse(operation.started));
        operations.into_iter().skip(bounds.operations_kept)
    });
    let may_be_applied = |operation: &Operation| {
        let record = state.plans.get(operation.plan.as_str());
        record.is_some_and(|record| now <= record.plan.body.expires)
    };
    Old {
        plans: overdue
            .take(FORGOTTEN_MAX_ITEMS)
            .map(|plan| plan.id.to_string())
            .collect(),
        operations: beyond
            .filter(|operation| !may_be_applied(operation))
            .take(FORGOTTEN_MAX_ITEMS)
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use isobar_engine_model::id::{Generation, OperationId, StepId};
    use isobar_engine_model::operation::OperationState;
    use isobar_engine_model::plan::{Base, CostChange, Origin, Plan, PlanBody};
    use isobar_engine_model::quantity::MicroUsdPerHour;
    use isobar_engine_store::Store;
    use isobar_engine_store::memory::MemoryStore;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::ledger::Ledger;
    use crate::record::StepEnd;
    use crate::tenure::Tenure;

    const HOUR_MS: u64 = 60 * 60 * 1000;

    fn plan(cluster: &str, created: u64) -> Plan {
        let nothing = MicroUsdPerHour(0);
        PlanBody {
            cluster: ClusterName::new(cluster).expect("a name"),
            origin: Origin::Asked,
            created: Timestamp(created),
            expires: Timestamp(created + HOUR_MS),
            base: Base {
                generation: Generation(0),
                machines: BTreeMap::new(),
                replicas: BTreeMap::new(),
                adopted: BTreeMap::new(),
            },
            spec: None,
            steps: Vec::new(),
            cost: CostChange {
                before: nothing,
                after: nothing,
                ceiling: nothing,
            },
            risks: Vec::new(),
            reasons: Vec::new(),
            unmet: Vec::new(),
        }
        .seal()
    }

    fn operation(plan: &Plan, number: u64, state: OperationState) -> OperationRecord {
        OperationRecord {
            operation: Operation {
                id: OperationId::new(format!("op-{}-{number}", plan.body.cluster)),
                plan: plan.id.clone(),
                cluster: plan.body.cluster.clone(),
                started: plan.body.created,
                state,
                steps: Vec::new(),
            },
            idempotency_key: plan.id.to_string(),
            why: None,
        }
    }

    /// Puts a plan that was carried out, with one step.
    fn carried_out(draft: &mut Draft, cluster: &str, created: u64, state: OperationState) {
        let plan = plan(cluster, created);
        let record = operation(&plan, created, state);
        draft.put(StepRecord {
            operation: record.operation.id.clone(),
            step: StepId(1),
            end: StepEnd::Done { at: Timestamp(created) },
        });
        draft.put(record);
        draft.put(PlanRecord { plan });
    }

    /// What a store holds once everything old is forgotten at `now`: clusters of plans never applied, operations, steps.
    async fn left(fill: fn(&mut Draft), now: u64, bounds: Bounds) -> (Vec<u64>, Vec<String>, usize) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new("test", Arc::new(|| Timestamp(0))));
        let stop = CancellationToken::new();
        let tenure = Tenure::sole(&*store, "engine:1").await.expect("nobody else");
        let shard = tenure.shard;
        let (ledger, writer) = Ledger::open(store.clone(), tenure, crate::audit::Seals::new(&[7; 32]), stop.clone())
            .await
            .expect("a store");
        let writing = tokio::spawn(writer);
        ledger.write(fill).await.expect("a store");
        ledger
            .write(move |draft| forget(draft, Timestamp(now), &bounds))
            .await
            .expect("a store");
        stop.cancel();
        writing.await.expect("no panic");
        // As the next engine reads it.
        let state = State::load(&*store, shard).await.expect("a store");
        let applied: BTreeSet<String> = state.operations.all().map(|r| r.operation.plan.to_string()).collect();
        let mut never: Vec<u64> = state
            .plans
            .all()
            .filter(|record| !applied.contains(record.plan.id.as_str()))
            .map(|record| record.plan.body.created.0)
            .collect();
        never.sort_unstable();
        assert_eq!(
            state.plans.all().count(),
            never.len() + applied.len(),
            "an operation has its plan"
        );
        let operations = state.operations.all().map(|record| record.operation.id.to_string());
        (never, operations.collect(), state.steps.all().count())
    }

    fn bounds() -> Bounds {
        Bounds {
            plan_kept_ms: HOUR_MS,
            operations_kept: 2,
            ..Bounds::default()
        }
    }

    #[tokio::test]
    async fn a_plan_that_nobody_applied_is_forgotten_some_time_after_it_expired() {
        let fill = |draft: &mut Draft| {
            for created in [0, 10, HOUR_MS] {
                draft.put(PlanRecord {
                    plan: plan("shop", created),
                });
            }
        };
        let at = async |now| left(fill, now, bounds()).await.0;
        assert_eq!(at(2 * HOUR_MS).await, [0, 10, HOUR_MS]);
        assert_eq!(at(2 * HOUR_MS + 1).await, [10, HOUR_MS]);
        assert_eq!(at(9 * HOUR_MS).await, [0; 0]);
    }

    #[tokio::test]
    async fn the_newest_operations_of_each_cluster_stay_with_plans_and_steps() {
        let fill = |draft: &mut Draft| {
            for created in 1..=4 {
                carried_out(draft, "shop", created, OperationState::Succeeded { at: Timestamp(9) });
            }
            carried_out(draft, "till", 1, OperationState::Cancelled { at: Timestamp(9) });
        };
        let (plans, operations, steps) = left(fill, 9 * HOUR_MS, bounds()).await;
        assert_eq!(operations, ["op-shop-3", "op-shop-4", "op-till-1"]);
        assert_eq!((plans.len(), steps), (0, 3));
    }

    #[tokio::test]
    async fn what_is_open_or_may_be_applied_again_stays_however_many_came_after_it() {
        let fill = |draft: &mut Draft| {
            carried_out(draft, "shop", 1, OperationState::Running);
            for created in 2..=5 {
                carried_out(draft, "shop", created, OperationState::Succeeded { at: Timestamp(9) });
            }
        };
        // The last moment at which the plan made at 3 may be applied.
        let (_, operations, steps) = left(fill, 3 + HOUR_MS, bounds()).await;
        assert_eq!(operations, ["op-shop-1", "op-shop-3", "op-shop-4", "op-shop-5"]);
        assert_eq!(steps, 4);
    }

    #[tokio::test]
    async fn what_is_forgotten_at_one_look_is_bounded() {
        let fill = |draft: &mut Draft| {
            for created in 0..150 {
                draft.put(PlanRecord {
                    plan: plan("shop", created),
                });
            }
        };
        assert_eq!(
            left(fill, 9 * HOUR_MS, bounds()).await.0.len(),
            150 - FORGOTTEN_MAX_ITEMS
        );
    }
}
