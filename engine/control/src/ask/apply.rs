//! Accepting a plan: the only door to change. Refused when anything that the plan was made from has moved.

use std::sync::Arc;

use isobar_engine_model::adopted::AdoptedPhase;
use isobar_engine_model::id::{Generation, MachineId, OperationId, PlanId, ReplicaId, Version};
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_model::operation::{Operation, OperationState};
use isobar_engine_model::plan::{Action, Origin, Plan};
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};

use crate::adopt;
use crate::api::{ApiError, ApplyRequest, AuditWhat, AuditWho, ErrorCode, OperationView};
use crate::audit;
use crate::carry::serving::serving;
use crate::engine::Engine;
use crate::ledger::Draft;
use crate::reach::Doubt;
use crate::record::{
    ClusterRecord, Healing, MachineRecord, OperationRecord, PlanRecord, ReplicaRecord, machine_key, prefix,
};

/// What became of accepting a plan.
pub(crate) struct Accepted {
    pub(crate) operation: OperationId,
    /// It was accepted before: its operation is under way or done.
    pub(crate) again: bool,
}

/// Who wants a plan carried out, and how.
pub(crate) struct Wanted {
    pub(crate) who: AuditWho,
    pub(crate) idempotency_key: String,
    pub(crate) why: Option<String>,
    pub(crate) healing: Option<Healing>,
}

/// How a plan is accepted.
struct Acceptance {
    plan: PlanId,
    operation: OperationId,
    wanted: Wanted,
    now: Timestamp,
    /// That the store is not being recovered.
    recovered: Result<(), ApiError>,
}

impl Engine {
    /// Accepts a plan and starts to carry it out. The same plan again answers with the same operation.
    pub async fn apply(self: &Arc<Self>, request: ApplyRequest) -> Result<OperationView, ApiError> {
        let wanted = Wanted {
            who: AuditWho::Client,
            idempotency_key: request.idempotency_key,
            why: request.why,
            healing: None,
        };
        let accepted = self.accept(request.plan, wanted).await?;
        self.view(&accepted.operation)
    }

    /// Accepts a plan in a task of the engine's own: a caller that goes away changes nothing.
    pub(crate) async fn accept(self: &Arc<Self>, plan: PlanId, wanted: Wanted) -> Result<Accepted, ApiError> {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        let operation = OperationId::new(format!("op-{}", hex::encode(random)));
        let acceptance = Acceptance {
            plan,
            operation,
            wanted,
            now: self.clock.now(),
            recovered: self.is_recovered(),
        };
        let engine = self.clone();
        let accepting = self.tasks.spawn(async move {
            engine.may_buy(&acceptance.plan).await?;
            let (accepted, served) = engine
                .ledger
                .change(move |draft| {
                    let accepted = accept(draft, &acceptance)?;
                    let operation: Option<&OperationRecord> = draft.get(accepted.operation.as_str());
                    let served = operation.map(|record| serving(draft.state(), &record.operation.cluster));
                    Ok::<_, ApiError>((accepted, served))
                })
                .await??;
            if !accepted.again {
                engine.carry_out(accepted.operation.clone(), served);
            }
            Ok(accepted)
        });
        accepting
            .await
            .unwrap_or_else(|error| Err(ApiError::new(ErrorCode::Internal, error.to_string())))
    }

    /// That a plan's new nodes will find an engine. What was accepted before was proven then.
    async fn may_buy(&self, plan: &PlanId) -> Result<(), ApiError> {
        let plan = {
            let state = self.ledger.read();
            let accepted = state.operations.all().any(|record| record.operation.plan == *plan);
            let record = state.plans.get(plan.as_str()).filter(|_| !accepted);
            record.map(|record| record.plan.clone())
        };
        match plan {
            Some(plan) => self.reachable(&plan, Doubt::DialAgain).await,
            None => Ok(()),
        }
    }
}

fn accept(draft: &mut Draft, acceptance: &Acceptance) -> Result<Accepted, ApiError> {
    if let Some(operation) = accepted_before(draft, acceptance)? {
        return Ok(Accepted { operation, again: true });
    }
    let plan = draft
        .get::<PlanRecord>(acceptance.plan.as_str())
        .map(|record| record.plan.clone())
        .ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("there is no plan `{}`", acceptance.plan))
                .pointer("/plan")
                .hint("plans are kept for a while after they expire: plan again")
        })?;
    if !plan.is_intact() {
        return Err(ApiError::new(
            ErrorCode::Internal,
            format!("{} is not what its hash says", plan.id),
        ));
    }
    // A sweep touches nothing of the cluster: it runs beside whatever else does.
    if plan.body.origin == Origin::Sweep {
        is_current(&plan, acceptance.now)?;
        crate::sweep::begin(draft, &plan, &acceptance.operation);
    } else {
        acceptance.recovered.clone()?;
        may_apply(draft, &plan, acceptance.now)?;
        let cluster = next_cluster(draft, &plan, acceptance);
        draft.put(cluster);
        adopt::note_named(draft, &plan.body.cluster, plan.body.spec.as_ref());
    }
    for machine in bought(&plan, acceptance.now) {
        draft.put(MachineRecord {
            cluster: plan.body.cluster.clone(),
            machine,
        });
    }
    let operation = Operation {
        id: acceptance.operation.clone(),
        plan: plan.id.clone(),
        cluster: plan.body.cluster.clone(),
        started: acceptance.now,
        state: OperationState::Running,
        steps: Vec::new(),
    };
    let wanted = &acceptance.wanted;
    let record = OperationRecord {
        operation,
        idempotency_key: wanted.idempotency_key.clone(),
        why: wanted.why.clone(),
    };
    audit::note(draft, &record, acceptance.now, wanted.who.clone(), AuditWhat::Accepted);
    draft.put(record);
    Ok(Accepted {
        operation: acceptance.operation.clone(),
        again: false,
    })
}

/// The operation of this plan, if it was accepted. A key that was used for another plan is refused.
fn accepted_before(draft: &Draft, acceptance: &Acceptance) -> Result<Option<OperationId>, ApiError> {
    let operations = &draft.state().operations;
    if let Some(record) = operations.all().find(|record| record.operation.plan == acceptance.plan) {
        return Ok(Some(record.operation.id.clone()));
    }
    match operations
        .all()
        .find(|record| record.idempotency_key == acceptance.wanted.idempotency_key)
    {
        Some(record) => Err(ApiError::new(
            ErrorCode::InvalidArgument,
            format!("the idempotency key was used for {}", record.operation.plan),
        )
        .pointer("/idempotency_key")
        .hint("give every plan a key of its own")),
        None => Ok(None),
    }
}

fn may_apply(draft: &Draft, plan: &Plan, now: Timestamp) -> Result<(), ApiError> {
    let body = &plan.body;
    if let Some(unmet) = body.unmet.first().filter(|_| body.origin == Origin::Asked) {
        let refused = ApiError::new(
            ErrorCode::Refused,
            format!("{}: {} missing: {}", unmet.about, unmet.missing, unmet.requirement),
        );
        let hint = unmet
            .nearest
            .clone()
            .unwrap_or_else(|| "change the spec or its limits and plan again".into());
        return Err(refused.hint(hint));
    }
    changes_nothing_of_others(draft, plan)?;
    let cluster = draft.get::<ClusterRecord>(body.cluster.as_str());
    if let Some(running) = cluster.and_then(|record| record.running.as_ref()) {
        return Err(
            ApiError::new(ErrorCode::Busy, format!("operation {running} of {} runs", body.cluster)).hint(format!(
                "wait for it (`isobar operation wait {running}`) or stop it (`isobar operation cancel {running}`)"
            )),
        );
    }
    is_current(plan, now)?;
    let stale = |what: String| Err(stale(what));
    let generation = cluster.map(|record| record.generation).unwrap_or_default();
    if generation != body.base.generation {
        return stale(format!(
            "the spec of {} has changed since the plan was made (generation {} then, {} now)",
            body.cluster, body.base.generation.0, generation.0
        ));
    }
    if let Some(machine) = moved_machine(draft, plan) {
        return stale(format!("machine {machine} has changed since the plan was made"));
    }
    if let Some(replica) = moved_replica(draft, plan) {
        return stale(format!("replica {replica} has changed since the plan was made"));
    }
    if let Some(object) = adopt::moved(draft.state(), &body.cluster, &body.base.adopted) {
        return stale(format!("the adopted {object} has changed since the plan was made"));
    }
    Ok(())
}

/// That no step touches an object that is not ours.
fn changes_nothing_of_others(draft: &Draft, plan: &Plan) -> Result<(), ApiError> {
    let body = &plan.body;
    let changed = body.steps.iter().find_map(|step| match &step.action {
        Action::ChangeAdopted { object, changes } => Some((object, changes)),
        Action::BuyMachine { .. }
        | Action::ReleaseMachine { .. }
        | Action::RemoveNetwork { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ReleaseAdopted { .. } => None,
    });
    let Some((object, changes)) = changed else {
        return Ok(());
    };
    let phase = adopt::phase(draft.state(), &body.cluster, object).map_or("not known", AdoptedPhase::word);
    let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
    let message = format!(
        "the adopted {object} is {phase}: no step may change its {}",
        fields.join(", ")
    );
    Err(ApiError::new(ErrorCode::Refused, message)
        .pointer(format!("/adopted/{object}/fields"))
        .hint(
            "hand it over first (`isobar import hand-over`), or change it where it is managed now; or write the fields \
             as they are, or name them under `unmanaged`",
        ))
}

fn is_current(plan: &Plan, now: Timestamp) -> Result<(), ApiError> {
    if now > plan.body.expires {
        return Err(stale(format!("{} has expired", plan.id)));
    }
    Ok(())
}

fn stale(what: String) -> ApiError {
    ApiError::new(ErrorCode::StalePlan, what).hint("plan again: the new plan starts from what is now")
}

fn moved_machine(draft: &Draft, plan: &Plan) -> Option<MachineId> {
    let version = |id: &MachineId| -> Option<Version> {
        let record = draft.get::<MachineRecord>(&machine_key(&plan.body.cluster, id))?;
        (!record.is_gone()).then_some(record.machine.version)
    };
    plan.body
        .base
        .machines
        .iter()
        .find(|(id, then)| version(id) != Some(**then))
        .map(|(id, _)| id.clone())
}

fn moved_replica(draft: &Draft, plan: &Plan) -> Option<ReplicaId> {
    let under = prefix(&plan.body.cluster);
    let now: std::collections::BTreeMap<&ReplicaId, Version> = draft
        .state()
        .replicas
        .under(&under)
        .map(|r: &ReplicaRecord| (&r.replica.id, r.replica.version))
        .collect();
    plan.body
        .base
        .replicas
        .iter()
        .find(|(id, then)| now.get(id) != Some(then))
        .map(|(id, _)| id.clone())
}

/// The cluster once the plan is accepted.
fn next_cluster(draft: &Draft, plan: &Plan, acceptance: &Acceptance) -> ClusterRecord {
    let body = &plan.body;
    let mut cluster = draft
        .get::<ClusterRecord>(body.cluster.as_str())
        .cloned()
        .unwrap_or(ClusterRecord {
            cluster: body.cluster.clone(),
            generation: Generation(0),
            spec: None,
            next_machine: Default::default(),
            next_replica: Default::default(),
            running: None,
            held: false,
            ceiling: MicroUsdPerHour(0),
            healing: Healing::default(),
        });
    if cluster.spec != body.spec {
        cluster.generation.0 += 1;
        cluster.spec.clone_from(&body.spec);
    }
    cluster.running = Some(acceptance.operation.clone());
    match (body.origin, acceptance.wanted.healing) {
        (Origin::Asked, _) => {
            cluster.held = false;
            cluster.ceiling = body.cost.ceiling;
            cluster.healing = Healing::default();
        }
        (Origin::Reconcile, Some(healing)) => cluster.healing = healing,
        (Origin::Reconcile, None) | (Origin::Sweep, _) => {}
    }
    for step in &body.steps {
        match &step.action {
            Action::BuyMachine { machine, pool, .. } => {
                let next = cluster.next_machine.entry(pool.clone()).or_insert(1);
                *next = (*next).max(ordinal(machine.as_str()) + 1);
            }
            Action::StartReplica { replica, workload, .. } => {
                let next = cluster.next_replica.entry(workload.clone()).or_insert(1);
                *next = (*next).max(ordinal(replica.as_str()) + 1);
            }
            Action::ReleaseMachine { .. }
            | Action::RemoveNetwork { .. }
            | Action::StopReplica { .. }
            | Action::DeleteOrphan { .. }
            | Action::ChangeAdopted { .. }
            | Action::ReleaseAdopted { .. } => {}
        }
    }
    cluster
}

/// The number at an id's end.
fn ordinal(id: &str) -> u32 {
    id.rsplit_once('-')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

/// The machines that a plan buys, before anything is sent.
fn bought(plan: &Plan, since: Timestamp) -> Vec<Machine> {
    let buys = plan.body.steps.iter().filter_map(|step| match &step.action {
        Action::BuyMachine { machine, pool, .. } => Some((machine, pool)),
        Action::ReleaseMachine { .. }
        | Action::RemoveNetwork { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ChangeAdopted { .. }
        | Action::ReleaseAdopted { .. } => None,
    });
    buys.map(|(id, pool)| Machine {
        id: id.clone(),
        pool: pool.clone(),
        version: Version(1),
        bought: None,
        phase: MachinePhase::Wanted { since },
        node: None,
    })
    .collect()
}
