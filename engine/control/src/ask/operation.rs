//! Following and stopping operations.

use std::collections::BTreeMap;
use std::time::Duration;

use isobar_engine_model::id::{OperationId, StepId};
use isobar_engine_model::operation::{Operation, OperationState, StepProgress, StepState};
use isobar_engine_model::plan::Plan;
use isobar_engine_planner::title;
use sha2::{Digest, Sha256};

use crate::api::{ApiError, AuditWhat, AuditWho, ErrorCode, OperationCancel, OperationGet, OperationView, WAIT_MAX_MS};
use crate::audit;
use crate::engine::Engine;
use crate::record::{OperationRecord, StepEnd, StepRecord, step_prefix};

/// Between two looks at an operation that somebody follows.
const NEWS_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// How far an operation is; waits for news if asked to.
    pub async fn operation_get(&self, request: OperationGet) -> Result<OperationView, ApiError> {
        let mut progress = self.live.watch_progress();
        progress.mark_unchanged();
        let view = self.view(&request.operation)?;
        let wait = Duration::from_millis(request.wait_ms.unwrap_or(0).min(WAIT_MAX_MS));
        if request.seen != Some(view.revision) || view.operation.state.is_final() || wait.is_zero() {
            return Ok(view);
        }
        let news = async {
            loop {
                // The sender lives as long as the engine.
                if progress.changed().await.is_err() {
                    return self.view(&request.operation);
                }
                // News come in swarms: look once for all of them.
                self.clock.sleep(NEWS_PAUSE).await;
                progress.mark_unchanged();
                let view = self.view(&request.operation)?;
                if request.seen != Some(view.revision) {
                    return Ok(view);
                }
            }
        };
        tokio::select! {
            biased;
            view = news => view,
            () = self.clock.sleep(wait) => self.view(&request.operation),
            () = self.stop.cancelled() => self.view(&request.operation),
        }
    }

    /// Stops an operation after the steps that are under way.
    pub async fn operation_cancel(&self, request: OperationCancel) -> Result<Operation, ApiError> {
        let (id, since) = (request.operation.clone(), self.clock.now());
        self.ledger
            .change(move |draft| {
                let record = draft.get::<OperationRecord>(id.as_str()).ok_or_else(|| unknown(&id))?;
                if matches!(record.operation.state, OperationState::Running) {
                    let mut record = record.clone();
                    record.operation.state = OperationState::Cancelling { since };
                    audit::note(draft, &record, since, AuditWho::Client, AuditWhat::CancelAsked);
                    draft.put(record);
                }
                Ok::<(), ApiError>(())
            })
            .await??;
        self.live.progressed();
        Ok(self.view(&request.operation)?.operation)
    }

    /// An operation with the progress of each step.
    pub(crate) fn view(&self, id: &OperationId) -> Result<OperationView, ApiError> {
        let (record, plan, ends) = {
            let state = self.ledger.read();
            let record = state.operations.get(id.as_str()).ok_or_else(|| unknown(id))?.clone();
            let plan = state.plans.share(record.operation.plan.as_str());
            let ends: BTreeMap<StepId, StepRecord> = state
                .steps
                .under(&step_prefix(id))
                .map(|end| (end.step, end.clone()))
                .collect();
            (record, plan, ends)
        };
        let mut operation = record.operation;
        operation.steps = plan
            .iter()
            .flat_map(|kept| self.progress(id, &kept.plan, &ends))
            .collect();
        let revision = revision(&operation);
        Ok(OperationView { operation, revision })
    }

    fn progress(&self, id: &OperationId, plan: &Plan, ends: &BTreeMap<StepId, StepRecord>) -> Vec<StepProgress> {
        let of = |step: &isobar_engine_model::plan::Step| {
            let state = match ends.get(&step.id).map(|record| &record.end) {
                Some(StepEnd::Done { at }) => StepState::Done { at: *at },
                Some(StepEnd::Failed { at, reason }) => StepState::Failed {
                    at: *at,
                    reason: reason.clone(),
                },
                None => match self.live.step_detail(&(id.clone(), step.id)) {
                    Some((since, attempt, detail)) => StepState::Running { since, attempt, detail },
                    None => StepState::Waiting,
                },
            };
            StepProgress {
                id: step.id,
                title: title(step),
                state,
            }
        };
        plan.body.steps.iter().map(of).collect()
    }
}

/// Differs whenever anything of the operation does, also across engines.
fn revision(operation: &Operation) -> u64 {
    let json = serde_json::to_vec(operation).expect("text keys");
    let digest: [u8; 32] = Sha256::digest(json).into();
    let [a, b, c, d, e, f, ..] = digest;
    // 48 bits: JSON numbers are exact up to 53.
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn unknown(id: &OperationId) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no operation `{id}`"))
        .pointer("/operation")
        .hint("`isobar query operations` lists them")
}
