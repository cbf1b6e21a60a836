//! One operation from its acceptance, or from where the last engine left it, to its end.

mod ending;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isobar_engine_model::id::{OperationId, StepId};
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::plan::{Action, Origin, Plan, Step};
use tokio::task::JoinSet;

use self::ending::Ending;
use super::serving::Serving;
use super::{StepError, StepJob, buy, network, orphan, release, replica};
use crate::adopt;
use crate::config::CrashPoint;
use crate::engine::Engine;
use crate::ledger::LedgerError;
use crate::record::{OperationRecord, PlanRecord, StepEnd, StepRecord, machine_key, step_prefix};

/// What of an operation's plan is done, under way, and failed.
struct Run {
    engine: Arc<Engine>,
    plan: Arc<Plan>,
    id: OperationId,
    served: Option<Arc<Serving>>,
    done: BTreeSet<StepId>,
    begun: BTreeSet<StepId>,
    failed: Option<(StepId, String)>,
    /// Steps that wait, by the number of needs that are not done.
    waiting: BTreeMap<StepId, usize>,
    /// Steps that need a step.
    needed_by: BTreeMap<StepId, Vec<StepId>>,
    ready: BTreeSet<StepId>,
}

/// Carries an operation out. Returns at its end, or when this engine may not write any more.
pub(crate) async fn run(engine: Arc<Engine>, id: OperationId, served: Option<Serving>) {
    let Some(mut run) = Run::load(engine, id, served) else {
        return;
    };
    match run.carry_out().await {
        Ok(()) => {}
        Err(error) => tracing::error!(operation = %run.id, %error, "operation left as it is"),
    }
}

impl Run {
    fn load(engine: Arc<Engine>, id: OperationId, served: Option<Serving>) -> Option<Self> {
        let (plan, ends) = {
            let state = engine.ledger.read();
            let record: &OperationRecord = state.operations.get(id.as_str())?;
            let plan: &PlanRecord = state.plans.get(record.operation.plan.as_str())?;
            let ends: Vec<StepRecord> = state.steps.under(&step_prefix(&id)).cloned().collect();
            (Arc::new(plan.plan.clone()), ends)
        };
        let mut run = Self {
            engine,
            plan,
            id,
            served: served.map(Arc::new),
            done: BTreeSet::new(),
            begun: BTreeSet::new(),
            failed: None,
            waiting: BTreeMap::new(),
            needed_by: BTreeMap::new(),
            ready: BTreeSet::new(),
        };
        for end in ends {
            match end.end {
                StepEnd::Done { .. } => {
                    run.done.insert(end.step);
                }
                StepEnd::Failed { reason, .. } => run.failed = Some((end.step, reason)),
            }
        }
        run.sort_out();
        Some(run)
    }

    fn sort_out(&mut self) {
        for step in &self.plan.body.steps {
            let ended = self.done.contains(&step.id) || self.failed.as_ref().is_some_and(|(id, _)| *id == step.id);
            if ended {
                continue;
            }
            let open: Vec<StepId> = step
                .needs
                .iter()
                .filter(|need| !self.done.contains(need))
                .copied()
                .collect();
            if open.is_empty() {
                self.ready.insert(step.id);
            } else {
                self.waiting.insert(step.id, open.len());
                for need in open {
                    self.needed_by.entry(need).or_default().push(step.id);
                }
            }
        }
    }

    fn step(&self, id: StepId) -> &Step {
        let index = usize::try_from(id.0).expect("fits") - 1;
        &self.plan.body.steps[index]
    }

    fn goes_on(&self) -> bool {
        self.failed.is_none() && {
            let state = self.engine.ledger.read();
            let record = state.operations.get(self.id.as_str());
            record.is_some_and(|record| matches!(record.operation.state, OperationState::Running))
        }
    }

    async fn carry_out(&mut self) -> Result<(), LedgerError> {
        let mut tasks: JoinSet<(StepId, Result<StepEnd, LedgerError>)> = JoinSet::new();
        loop {
            while tasks.len() < self.engine.config.bounds.steps_at_a_time && self.goes_on() {
                let Some(step) = self.ready.pop_first() else { break };
                self.begin(&mut tasks, step);
            }
            let ended = tokio::select! {
                biased;
                () = self.engine.stop.cancelled() => return Err(LedgerError::Stopping),
                ended = tasks.join_next() => ended,
            };
            let Some(ended) = ended else { break };
            // A step that panicked is a bug; as a failed step it stops its operation and nothing else.
            let (step, result) = match ended {
                Ok(ended) => ended,
                Err(error) => {
                    self.failed
                        .get_or_insert((StepId(0), format!("internal error: {error}")));
                    continue;
                }
            };
            match result {
                Ok(StepEnd::Done { .. }) => self.step_done(step),
                Ok(StepEnd::Failed { reason, .. }) => {
                    tracing::warn!(operation = %self.id, step = step.0, reason, "step failed");
                    self.failed.get_or_insert((step, reason));
                }
                Err(error @ (LedgerError::Fenced | LedgerError::Stopping)) => return Err(error),
                Err(LedgerError::Store(reason)) => {
                    tracing::warn!(operation = %self.id, step = step.0, reason, "the store did not take a change; trying again");
                    self.engine.clock.sleep(self.engine.config.bounds.poll()).await;
                    self.begin(&mut tasks, step);
                }
            }
        }
        self.conclude().await
    }

    fn begin(&mut self, tasks: &mut JoinSet<(StepId, Result<StepEnd, LedgerError>)>, step: StepId) {
        self.begun.insert(step);
        let (engine, plan, operation) = (self.engine.clone(), self.plan.clone(), self.id.clone());
        let served = self.served.clone();
        let action = self.step(step).action.clone();
        tasks.spawn(async move {
            let job = StepJob {
                engine: &engine,
                plan: &plan,
                operation: &operation,
                step,
                served: served.as_deref(),
            };
            (step, carry_to_end(&job, &action).await)
        });
    }

    fn step_done(&mut self, step: StepId) {
        self.done.insert(step);
        for next in self.needed_by.remove(&step).unwrap_or_default() {
            if let Some(open) = self.waiting.get_mut(&next) {
                *open -= 1;
                if *open == 0 {
                    self.waiting.remove(&next);
                    self.ready.insert(next);
                    if matches!(self.step(next).action, Action::StopReplica { .. }) {
                        self.engine.crash_point(CrashPoint::MidMove);
                    }
                }
            }
        }
    }

    /// Commits how the operation ended, and frees its cluster for the next.
    async fn conclude(&self) -> Result<(), LedgerError> {
        let ending = Ending {
            operation: self.id.clone(),
            cluster: self.plan.body.cluster.clone(),
            state: self.end(),
            at: self.engine.clock.now(),
            sweeps: self.plan.body.origin == Origin::Sweep,
            destroys: self.plan.body.spec.is_none(),
            never_begun: self.never_begun(),
        };
        let lost = loop {
            let kept = ending.clone();
            match self.engine.ledger.write(move |draft| kept.commit(draft)).await {
                Err(LedgerError::Store(reason)) => {
                    tracing::warn!(operation = %self.id, reason, "the end of an operation is not kept yet");
                    self.engine.clock.sleep(self.engine.config.bounds.poll()).await;
                }
                other => break other?,
            }
        };
        if !ending.sweeps && ending.succeeded() {
            // What was still to do is done; the next look says what has changed since.
            self.engine.live.drift_is(&ending.cluster, Vec::new());
        }
        self.engine.live.progressed();
        for machine in lost {
            let what = format!("lost: {}", ending::UNFINISHED);
            self.engine.event(&ending.cluster, machine.as_str(), &what).await?;
        }
        let what = ending.words();
        tracing::info!(operation = %self.id, what, "operation ended");
        self.engine.event(&ending.cluster, self.id.as_str(), &what).await
    }

    fn end(&self) -> OperationState {
        let at = self.engine.clock.now();
        let complete = self.done.len() == self.plan.body.steps.len();
        match &self.failed {
            Some((step, reason)) => OperationState::Failed {
                at,
                reason: format!("step {step}: {reason}"),
                hint: Some(format!(
                    "`isobar explain` tells more; the engine plans again by itself (cluster {})",
                    self.plan.body.cluster
                )),
            },
            None if complete => OperationState::Succeeded { at },
            None => OperationState::Cancelled { at },
        }
    }

    /// Keys of machines that were wanted and never asked for.
    fn never_begun(&self) -> Vec<String> {
        let state = self.engine.ledger.read();
        let steps = self
            .plan
            .body
            .steps
            .iter()
            .filter(|step| !self.begun.contains(&step.id));
        steps
            .filter_map(|step| {
                let Action::BuyMachine { machine, .. } = &step.action else {
                    return None;
                };
                let key = machine_key(&self.plan.body.cluster, machine);
                let record = state.machines.get(&key)?;
                matches!(record.machine.phase, MachinePhase::Wanted { .. }).then_some(key)
            })
            .collect()
    }
}

/// Carries a step out and commits its end. In the step's own task, so that steps that end together share a commit.
async fn carry_to_end(job: &StepJob<'_>, action: &Action) -> Result<StepEnd, LedgerError> {
    let end = match carry(job, action).await {
        Ok(()) => StepEnd::Done {
            at: job.engine.clock.now(),
        },
        Err(StepError::Failed(reason)) => StepEnd::Failed {
            at: job.engine.clock.now(),
            reason,
        },
        Err(StepError::Ledger(error)) => return Err(error),
    };
    keep(job, &end).await?;
    job.engine.live.step_ended(&(job.operation.clone(), job.step));
    Ok(end)
}

/// Keeps the end of a step, again and again while the store does not take it.
async fn keep(job: &StepJob<'_>, end: &StepEnd) -> Result<(), LedgerError> {
    loop {
        let record = StepRecord {
            operation: job.operation.clone(),
            step: job.step,
            end: end.clone(),
        };
        match job.engine.ledger.write(move |draft| draft.put(record)).await {
            Err(LedgerError::Store(reason)) => {
                tracing::warn!(operation = %job.operation, step = job.step.0, reason, "the end of a step is not kept yet");
                job.engine.clock.sleep(job.engine.config.bounds.poll()).await;
            }
            other => return other,
        }
    }
}

/// The one match at which steps become cloud writes and words to nodes.
async fn carry(job: &StepJob<'_>, action: &Action) -> Result<(), StepError> {
    match action {
        Action::BuyMachine {
            machine, candidates, ..
        } => buy::buy(job, &buy::Purchase { machine, candidates }).await,
        Action::ReleaseMachine { machine } => release::release(job, machine).await,
        Action::RemoveNetwork { site } => network::remove(job, site).await,
        Action::StartReplica {
            replica,
            workload,
            revision,
            machine,
            ports,
        } => {
            replica::start(
                job,
                &replica::Start {
                    replica,
                    workload,
                    revision,
                    machine,
                    ports,
                },
            )
            .await
        }
        Action::StopReplica { replica, machine, .. } => replica::stop(job, replica, machine).await,
        Action::DeleteOrphan { site, handle, .. } => orphan::delete(job, site, handle).await,
        Action::ReleaseAdopted { object } => adopt::release::release(job, object).await,
        // No plan with such a step is accepted while no provider changes what others made.
        Action::ChangeAdopted { object, .. } => Err(StepError::Failed(format!(
            "no provider changes fields of the adopted {object}"
        ))),
    }
}
