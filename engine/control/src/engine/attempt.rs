//! An attempt's request is sent, and what became of it is committed.

use std::pin::pin;
use std::time::Duration;

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_provider::{CreateResource, Provider, ProviderError, list_all};

use super::Engine;
use crate::config::CrashPoint;
use crate::ledger::LedgerError;
use crate::record::{AttemptRecord, AttemptState, MachineRecord, attempt_key, machine_key};

/// While tests kill the engine after a send, an answer has so long to come.
const AFTER_SEND_PAUSE: Duration = Duration::from_millis(20);

impl Engine {
    /// The frozen request of an attempt.
    pub(crate) fn request(&self, attempt: &AttemptRecord) -> Result<CreateResource, String> {
        let key = attempt_key(&attempt.cluster, &attempt.machine, attempt.attempt);
        let json = self
            .vault
            .open(&key, &attempt.sealed_request)
            .map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| format!("the journal's request of {key}: {error}"))
    }

    /// Sends an attempt's request: the same bytes, however often and by whichever engine.
    pub(crate) async fn create(&self, attempt: &AttemptRecord) -> Result<ResourceHandle, ProviderError> {
        let request = self
            .request(attempt)
            .map_err(|message| ProviderError::InvalidSpec { message })?;
        let provider = self
            .provider(&request.site)
            .map_err(|error| ProviderError::InvalidSpec { message: error.message })?;
        let mut sent = pin!(self.while_leased(provider.create(&request)));
        if self.config.at_crash_point.is_some() {
            tokio::select! {
                biased;
                answer = &mut sent => {
                    self.crash_point(CrashPoint::AfterSend);
                    return self.settle(&*provider, &request, answer.map(|created| created.handle)).await;
                }
                () = self.clock.sleep(AFTER_SEND_PAUSE) => self.crash_point(CrashPoint::AfterSend),
            }
        }
        let answer = sent.await.map(|created| created.handle);
        self.settle(&*provider, &request, answer).await
    }

    /// A name in use may be our own, made by this very attempt: then it is the answer.
    async fn settle(
        &self,
        provider: &dyn Provider,
        request: &CreateResource,
        answer: Result<ResourceHandle, ProviderError>,
    ) -> Result<ResourceHandle, ProviderError> {
        let Err(ProviderError::Conflict { message }) = answer else {
            return answer;
        };
        let listed = list_all(provider, &request.site, request.spec.kind(), &request.tags.owner).await?;
        let ours = listed
            .into_iter()
            .find(|item| item.tags.as_ref() == Some(&request.tags));
        ours.map(|item| item.handle).ok_or_else(|| ProviderError::InvalidSpec {
            message: format!("name taken: {message}"),
        })
    }

    /// Commits that the provider has what an attempt asked for.
    pub(crate) async fn accepted(&self, attempt: &AttemptRecord, handle: ResourceHandle) -> Result<(), LedgerError> {
        let key = machine_key(&attempt.cluster, &attempt.machine);
        let now = self.clock.now();
        let attempt = AttemptRecord {
            state: AttemptState::Accepted {
                handle: handle.clone(),
                since: now,
            },
            ..attempt.clone()
        };
        let node = (attempt.cluster.clone(), attempt.machine.clone());
        let connected = self.live.is_connected(&node);
        self.ledger
            .write(move |draft| {
                draft.put(attempt);
                let Some(record) = draft.get::<MachineRecord>(&key) else {
                    return;
                };
                let (since, mut record) = (now, record.clone());
                record.machine.phase = match record.machine.phase {
                    // Its node was faster than the provider's answer.
                    MachinePhase::Wanted { .. } | MachinePhase::Creating { .. } if connected => {
                        MachinePhase::Ready { since, handle }
                    }
                    MachinePhase::Wanted { .. } | MachinePhase::Creating { .. } => {
                        MachinePhase::Booting { since, handle }
                    }
                    phase @ (MachinePhase::Booting { .. }
                    | MachinePhase::Ready { .. }
                    | MachinePhase::Lost { .. }
                    | MachinePhase::Releasing { .. }
                    | MachinePhase::Gone { .. }) => phase,
                };
                draft.put(record);
            })
            .await
    }

    /// Commits what is known of an attempt.
    pub(crate) async fn attempt_is(&self, attempt: &AttemptRecord, state: AttemptState) -> Result<(), LedgerError> {
        let attempt = AttemptRecord {
            state,
            ..attempt.clone()
        };
        self.ledger.write(move |draft| draft.put(attempt)).await
    }
}
