//! Zone operations: `PENDING`, then `RUNNING`, then `DONE`, with an error where it failed; the same request id answers with the
//! same operation.
//!
//! <https://cloud.google.com/compute/docs/reference/rest/v1/zoneOperations>. An operation takes as long as the simulated cloud
//! hides things at most: what it made is seen by everybody when it is done.

use std::collections::BTreeMap;
use std::time::Duration;

use isobar_engine_model::quantity::Timestamp;
use serde_json::{Value, json};

use super::answers::Refusal;
use super::model::Call;
use super::{PROJECT, Shared, time};

/// From its start to its end, in ms.
const TAKES_MS: u64 = 5_000;
/// From its making to its start, in ms.
const WAITS_MS: u64 = 500;
/// `wait` answers at the latest after so long, in ms: its description in the discovery document.
const WAIT_MAX_MS: u64 = 120_000;

/// An operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) zone: String,
    /// `instances/web-1`
    pub(super) target: String,
    pub(super) kind: &'static str,
    pub(super) made: Timestamp,
    pub(super) failure: Option<Failure>,
}

/// Why one fails.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// All there are.
#[derive(Debug, Default)]
pub(super) struct Operations {
    by_name: BTreeMap<String, Operation>,
    by_request: BTreeMap<String, String>,
}

impl Operations {
    /// The operation that a request id made. "The server can check if original operation with the same request ID was
    /// received, and if so, will ignore the second request" (`requestId` of `instances.insert` in the discovery document).
    /// It does not say that the second request has to be the same: so nobody looks. "Retries will all return the same operation
    /// rather than returning a 409": piercefreeman/cloud-gpu-reliability, pull request 5.
    pub(super) fn of_request(&self, id: &str) -> Option<&Operation> {
        self.by_name.get(self.by_request.get(id)?)
    }

    pub(super) fn start(
        &mut self,
        (kind, zone, target): (&'static str, &str, String),
        request_id: &str,
        made: Timestamp,
        failure: Option<Failure>,
    ) -> Operation {
        let operation = Operation {
            name: format!("operation-{}", self.by_name.len() + 1),
            zone: zone.to_owned(),
            target,
            kind,
            made,
            failure,
        };
        if !request_id.is_empty() {
            self.by_request.insert(request_id.to_owned(), operation.name.clone());
        }
        self.by_name.insert(operation.name.clone(), operation.clone());
        operation
    }
}

impl Operation {
    fn done(&self) -> Timestamp {
        self.made.plus_ms(WAITS_MS + TAKES_MS)
    }

    /// As it is at a moment.
    pub(super) fn at(&self, now: Timestamp) -> Value {
        let zone = format!(
            "https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{}",
            self.zone
        );
        let started = self.made.plus_ms(WAITS_MS);
        let mut shown = json!({
            "kind": "compute#operation",
            "id": self.name.trim_start_matches("operation-"),
            "name": self.name,
            "operationType": self.kind,
            "zone": zone,
            "selfLink": format!("{zone}/operations/{}", self.name),
            "targetLink": format!("{zone}/{}", self.target),
            "insertTime": time::text(self.made),
            "status": "PENDING",
            "progress": 0,
        });
        if now >= started {
            shown["status"] = "RUNNING".into();
            shown["startTime"] = time::text(started).into();
        }
        if now >= self.done() {
            shown["status"] = "DONE".into();
            shown["progress"] = 100.into();
            shown["endTime"] = time::text(self.done()).into();
            if let Some(failure) = &self.failure {
                shown["error"] = json!({ "errors": [{ "code": failure.code, "message": failure.message }] });
                shown["httpErrorStatusCode"] = 403.into();
                shown["httpErrorMessage"] = "FORBIDDEN".into();
            }
        }
        shown
    }
}

impl Shared {
    pub(super) async fn wait(&self, call: &Call) -> Result<Value, Refusal> {
        let found = self.known().operations.by_name.get(call.get("operation")).cloned();
        let operation = found
            .filter(|operation| operation.zone == call.get("zone"))
            .ok_or_else(|| Refusal::not_found(&format!("operations/{}", call.get("operation"))))?;
        let left_ms = operation.done().since_ms(self.clock.now()).min(WAIT_MAX_MS);
        if left_ms > 0 {
            self.clock.sleep(Duration::from_millis(left_ms)).await;
        }
        Ok(operation.at(self.clock.now()))
    }
}
