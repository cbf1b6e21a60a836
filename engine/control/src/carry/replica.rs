//! Starting and stopping replicas: the wish is committed, the node is told, the step waits for the node's word.

use std::collections::BTreeMap;

use isobar_engine_model::id::{AttemptNo, MachineId, ReplicaId, Version, WorkloadName};
use isobar_engine_model::observed::{MachinePhase, PortBinding, Replica, ReplicaPhase};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::WorkloadKind;

use super::serving::{self, TooFew};
use super::{StepError, StepJob};
use crate::live::Command;
use crate::node::message;
use crate::record::{MachineRecord, ReplicaRecord, machine_key, replica_key};

/// The only attempt at starting or stopping: the node does the rest.
const FIRST: AttemptNo = AttemptNo(1);

/// A replica to start.
pub(crate) struct Start<'a> {
    pub(crate) replica: &'a ReplicaId,
    pub(crate) workload: &'a WorkloadName,
    pub(crate) revision: &'a str,
    pub(crate) machine: &'a MachineId,
    pub(crate) ports: &'a BTreeMap<String, PortBinding>,
}

/// Starts a replica and returns when it is healthy; a job's, when its node has it.
pub(crate) async fn start(job: &StepJob<'_>, start: &Start<'_>) -> Result<(), StepError> {
    let template = job
        .plan
        .body
        .spec
        .as_ref()
        .and_then(|spec| spec.workloads.get(start.workload))
        .ok_or_else(|| StepError::Failed(format!("workload {} is not in the plan's spec", start.workload)))?;
    let since = job.engine.clock.now();
    let replica = Replica {
        id: start.replica.clone(),
        workload: start.workload.clone(),
        revision: start.revision.to_owned(),
        version: Version(1),
        machine: start.machine.clone(),
        resources: template.resources,
        ports: start.ports.clone(),
        phase: ReplicaPhase::Assigned { since },
    };
    let record = ReplicaRecord {
        cluster: job.cluster().clone(),
        replica,
        template: template.clone(),
    };
    let key = replica_key(job.cluster(), start.machine, start.replica);
    let kept = key.clone();
    let assigned = job.engine.ledger.write(move |draft| {
        // There already: an engine before this one began the step.
        if draft.get::<ReplicaRecord>(&kept).is_none() {
            draft.put(record);
        }
    });
    assigned.await?;
    tell(job, start.machine);
    let is_job = matches!(template.kind, WorkloadKind::Job { .. });
    started(job, start, &key, (is_job, since)).await
}

fn tell(job: &StepJob<'_>, machine: &MachineId) {
    // Without a session there is nobody to tell: a new one starts with everything.
    job.engine
        .live
        .tell(&(job.cluster().clone(), machine.clone()), Command::Replicas);
}

async fn started(
    job: &StepJob<'_>,
    start: &Start<'_>,
    key: &str,
    (is_job, begun): (bool, Timestamp),
) -> Result<(), StepError> {
    let bounds = &job.engine.config.bounds;
    let id = start.replica;
    loop {
        let (phase, machine) = {
            let state = job.engine.ledger.read();
            let machine = state.machines.get(&machine_key(job.cluster(), start.machine));
            (
                state.replicas.get(key).map(|record| record.replica.phase.clone()),
                machine.map(is_lost),
            )
        };
        if machine.unwrap_or(true) {
            return Err(StepError::Failed(format!(
                "{id}: its machine {} is lost",
                start.machine
            )));
        }
        let doing = match phase {
            None => return Err(StepError::Failed(format!("{id} was removed meanwhile"))),
            Some(ReplicaPhase::Running { healthy: true, .. } | ReplicaPhase::Succeeded { .. }) => return Ok(()),
            Some(ReplicaPhase::Running { healthy: false, .. }) if is_job => return Ok(()),
            Some(ReplicaPhase::Running {
                healthy: false,
                restarts,
                ..
            }) => {
                tries_left(job, id, (restarts, "it runs and is not healthy"))?;
                "runs, not healthy yet".to_owned()
            }
            Some(ReplicaPhase::Assigned { .. }) => "its node has not answered".to_owned(),
            Some(ReplicaPhase::Starting { detail, .. }) => detail,
            Some(ReplicaPhase::BackOff { restarts, reason, .. }) => {
                tries_left(job, id, (restarts, &reason))?;
                reason
            }
            Some(ReplicaPhase::Failed { reason, .. }) => {
                return Err(StepError::Failed(format!("{id} on {}: {reason}", start.machine)));
            }
            Some(ReplicaPhase::Stopping { .. } | ReplicaPhase::Stopped { .. }) => {
                return Err(StepError::Failed(format!("{id} was stopped meanwhile")));
            }
        };
        if job.engine.clock.now().since_ms(begun) > bounds.start_max_ms {
            let bound = bounds.start_max_ms / 1000;
            return Err(StepError::Failed(format!(
                "{id} was not healthy within {bound} s: {doing}"
            )));
        }
        job.says(FIRST, doing);
        job.pause().await;
    }
}

fn tries_left(job: &StepJob<'_>, id: &ReplicaId, (restarts, last): (u32, &str)) -> Result<(), StepError> {
    if restarts < job.engine.config.bounds.start_tries_max {
        return Ok(());
    }
    Err(StepError::Failed(format!(
        "{id} was started {} times and never healthy: {last}",
        restarts + 1
    )))
}

/// Whether nothing on the machine runs for Isobar any more.
fn is_lost(record: &MachineRecord) -> bool {
    match record.machine.phase {
        MachinePhase::Lost { .. } | MachinePhase::Releasing { .. } | MachinePhase::Gone { .. } => true,
        MachinePhase::Wanted { .. }
        | MachinePhase::Creating { .. }
        | MachinePhase::Booting { .. }
        | MachinePhase::Ready { .. } => false,
    }
}

/// Stops a replica and returns when its node says so, or its machine is lost.
pub(crate) async fn stop(job: &StepJob<'_>, replica: &ReplicaId, machine: &MachineId) -> Result<(), StepError> {
    let key = replica_key(job.cluster(), machine, replica);
    take_out(job, replica, &key).await?;
    tell(job, machine);
    stopped(job, replica, (machine, &key)).await?;
    job.engine
        .ledger
        .write(move |draft| draft.remove::<ReplicaRecord>(&key))
        .await?;
    tell(job, machine);
    Ok(())
}

/// Commits that a replica stops, as soon as enough others serve. Waits for a while for as many as the spec wants; then
/// what was there when the operation was accepted must do, since room for more may be what the stop makes. Who does not
/// know what was there stops nothing that is missed: the operation fails, and the next plan starts from what is.
async fn take_out(job: &StepJob<'_>, replica: &ReplicaId, key: &str) -> Result<(), StepError> {
    let begun = job.engine.clock.now();
    loop {
        let now = job.engine.clock.now();
        let is_patient = now.since_ms(begun) < job.engine.config.bounds.stand_in_max_ms;
        let record = job.engine.ledger.read().replicas.get(key).cloned();
        let Some(record) = record else { return Ok(()) };
        let workload = &record.replica.workload;
        let wanted = serving::minimum(&job.plan.body, workload);
        let needed = match job.served {
            Some(served) if !is_patient => wanted.min(served.get(workload).copied().unwrap_or(0)),
            Some(_) | None => wanted,
        };
        let kept = key.to_owned();
        let stopping = job.engine.ledger.change(move |draft| {
            let Some(record) = draft.get::<ReplicaRecord>(&kept) else {
                return Ok(());
            };
            if matches!(
                record.replica.phase,
                ReplicaPhase::Stopping { .. } | ReplicaPhase::Stopped { .. }
            ) {
                return Ok(());
            }
            serving::may_stop(draft.state(), record, needed)?;
            let mut record = record.clone();
            record.replica.phase = ReplicaPhase::Stopping { since: now };
            record.replica.version.0 += 1;
            draft.put(record);
            Ok(())
        });
        match stopping.await? {
            Ok(()) => return Ok(()),
            Err(TooFew { others, needed }) if is_patient => {
                job.says(FIRST, format!("{others} others serve: waiting for {needed}"));
                job.pause().await;
            }
            Err(TooFew { others, needed }) => {
                return Err(StepError::Failed(format!(
                    "{replica} is not stopped: {others} others serve, and {needed} must"
                )));
            }
        }
    }
}

/// Whether nothing that is fenced can run on a lost machine: it is gone, or its node's lease has run out on any clock.
fn lease_is_over(job: &StepJob<'_>, machine: &MachineId) -> bool {
    let engine = job.engine;
    let is_gone = {
        let state = engine.ledger.read();
        let record = state.machines.get(&machine_key(job.cluster(), machine));
        record.is_none_or(MachineRecord::is_gone)
    };
    // What an earlier engine heard is not known: its last word may have been just before this one started.
    let heard = engine.live.last_heard(&(job.cluster().clone(), machine.clone()));
    let last = heard.unwrap_or(engine.started).max(engine.started);
    let bounds = &engine.config.bounds;
    is_gone || engine.clock.now().since_ms(last) > bounds.lease_ms + bounds.lease_margin_ms
}

async fn stopped(job: &StepJob<'_>, replica: &ReplicaId, (machine, key): (&MachineId, &str)) -> Result<(), StepError> {
    let begun = job.engine.clock.now();
    loop {
        let (record, lost) = {
            let state = job.engine.ledger.read();
            let lost = state
                .machines
                .get(&machine_key(job.cluster(), machine))
                .is_none_or(is_lost);
            (state.replicas.get(key).cloned(), lost)
        };
        let Some(record) = record else { return Ok(()) };
        let fenced = message::is_fenced(&record.template);
        if matches!(record.replica.phase, ReplicaPhase::Stopped { .. })
            || (lost && (!fenced || lease_is_over(job, machine)))
        {
            return Ok(());
        }
        let bound_ms = job.engine.config.bounds.stop_max_ms + u64::from(record.template.stop_grace_seconds) * 1000;
        if job.engine.clock.now().since_ms(begun) > bound_ms {
            let bound = bound_ms / 1000;
            return Err(StepError::Failed(format!(
                "{replica} on {machine} did not stop within {bound} s"
            )));
        }
        job.says(FIRST, "draining");
        job.pause().await;
    }
}
