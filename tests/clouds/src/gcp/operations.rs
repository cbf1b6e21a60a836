//! Operations, of zones, of regions and global ones: `PENDING`, then `RUNNING`, then `DONE`, with an error where it failed; the same request id answers with the
//! same operation.
//!
//! <https://cloud.google.com/compute/docs/reference/rest/v1/zoneOperations>; the two others differ by where they are. An operation takes as long as the simulated cloud
//! hides things at most: what it made is seen by everybody when it is done.

use std::collections::BTreeMap;
use std::time::Duration;

use isobar_engine_model::quantity::Timestamp;
use serde_json::{Value, json};

use super::answers::Refusal;
use super::model::Call;
use super::{Shared, render, time};

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
    /// Where it is: `zones/europe-west1-b`, `regions/europe-west1` or `global`.
    pub(super) scope: String,
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
    pub(super) status: (u16, &'static str),
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
        (kind, scope, target): (&'static str, String, String),
        request_id: &str,
        made: Timestamp,
        failure: Option<Failure>,
    ) -> Operation {
        let operation = Operation {
            name: format!("operation-{}", self.by_name.len() + 1),
            scope,
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

/// Where the things that a call is about are, as paths begin.
pub(super) fn scope(call: &Call) -> String {
    match (call.get("zone"), call.get("region")) {
        ("", "") => "global".to_owned(),
        ("", region) => format!("regions/{region}"),
        (zone, _) => format!("zones/{zone}"),
    }
}

/// When an operation that was made at a moment is over.
pub(super) fn done(made: Timestamp) -> Timestamp {
    made.plus_ms(WAITS_MS + TAKES_MS)
}

impl Operation {
    /// When it is over.
    pub(super) fn done(&self) -> Timestamp {
        done(self.made)
    }

    /// As it is at a moment.
    pub(super) fn at(&self, now: Timestamp) -> Value {
        let scope = render::link(&self.scope);
        let started = self.made.plus_ms(WAITS_MS);
        let mut shown = json!({
            "kind": "compute#operation",
            "id": self.name.trim_start_matches("operation-"),
            "name": self.name,
            "operationType": self.kind,
            "selfLink": format!("{scope}/operations/{}", self.name),
            "targetLink": format!("{scope}/{}", self.target),
            "insertTime": time::text(self.made),
            "status": "PENDING",
            "progress": 0,
        });
        if self.scope.starts_with("zones/") {
            shown["zone"] = scope.into();
        } else if self.scope.starts_with("regions/") {
            shown["region"] = scope.into();
        }
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
                let (status, words) = failure.status;
                shown["httpErrorStatusCode"] = status.into();
                shown["httpErrorMessage"] = words.into();
            }
        }
        shown
    }
}

impl Shared {
    pub(super) async fn wait(&self, call: &Call) -> Result<Value, Refusal> {
        let found = self.known().operations.by_name.get(call.get("operation")).cloned();
        let operation = found
            .filter(|operation| operation.scope == scope(call))
            .ok_or_else(|| Refusal::not_found(&format!("operations/{}", call.get("operation"))))?;
        let left_ms = operation.done().since_ms(self.clock.now()).min(WAIT_MAX_MS);
        if left_ms > 0 {
            self.clock.sleep(Duration::from_millis(left_ms)).await;
        }
        self.settle();
        Ok(operation.at(self.clock.now()))
    }
}
