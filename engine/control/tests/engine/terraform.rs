//! The states that an engine keeps for Terraform: what a write, a lock and an unlock leave behind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_control::api::{
    ApiError, AuditRequest, AuditWhat, ErrorCode, StateAdopt, StateGet, StateLock, StateOutcome, StatePut, StateRead,
    StateUnlock, StateView, StatesRequest,
};
use isobar_engine_control::fleet::{Route, Subject};
use isobar_engine_control::{Bounds, Engine};
use isobar_engine_model::id::StateName;
use serde_json::json;
use std::sync::Arc;

use crate::support::{Running, authority};

const LINEAGE: &str = "1b4e";

struct Client {
    running: Running,
    engine: Arc<Engine>,
}

fn name(state: &str) -> StateName {
    StateName::new(state).unwrap()
}

/// A state of some blocks, each with one instance.
fn state(serial: u64, blocks: &[&str]) -> String {
    let resources: Vec<_> = blocks
        .iter()
        .map(|block| {
            json!({"mode": "managed", "type": "terraform_data", "name": block,
                "provider": "provider[\"terraform.io/builtin/terraform\"]",
                "instances": [{"schema_version": 0, "attributes": {"id": block, "input": "planted secret"}}]})
        })
        .collect();
    let state = json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": LINEAGE, "outputs": {},
        "resources": resources});
    format!("{state:#}\n")
}

fn lock(id: &str) -> String {
    json!({"ID": id, "Operation": "OperationTypeApply", "Who": format!("{id}@host")}).to_string()
}

impl Client {
    async fn new(bounds: Bounds) -> Self {
        let running = Running::start("states", authority("states"), bounds).await;
        let Route::Here(engine) = running.fleet.route(Subject::Terraform).await.unwrap() else {
            panic!("it is alone");
        };
        Self { running, engine }
    }

    async fn put(&self, lock: Option<&str>, body: &str) -> Result<StateOutcome, ApiError> {
        let request = StatePut {
            state: name("shop"),
            lock: lock.map(str::to_owned),
            base64: STANDARD.encode(body),
        };
        self.engine.state_put(request).await
    }

    async fn lock(&self, id: &str) -> StateOutcome {
        let request = StateLock {
            state: name("shop"),
            info: lock(id),
        };
        self.engine.state_lock(request).await.unwrap()
    }

    async fn unlock(&self, id: Option<&str>, forced: bool) -> StateOutcome {
        let request = StateUnlock {
            state: name("shop"),
            lock: id.map(str::to_owned),
            forced,
        };
        self.engine.state_unlock(request).await.unwrap()
    }

    async fn adopt(&self, addresses: &[&str], adopted: bool) -> u64 {
        let request = StateAdopt {
            lineage: LINEAGE.into(),
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            adopted,
        };
        self.engine.state_adopted(request).await.unwrap().changed
    }

    async fn body(&self, version: Option<u64>) -> Result<String, ApiError> {
        let request = StateGet {
            state: name("shop"),
            version,
        };
        let body = self.engine.state_get(request).await?.expect("there is one");
        Ok(String::from_utf8(STANDARD.decode(body.base64).unwrap()).unwrap())
    }

    async fn view(&self) -> StateView {
        let request = StatesRequest {
            state: Some(name("shop")),
            ..StatesRequest::default()
        };
        self.engine.states(request).await.unwrap().states.remove(0)
    }

    async fn audited(&self) -> Vec<AuditWhat> {
        let answer = self.running.fleet.audit(AuditRequest {
            verify: true,
            ..AuditRequest::default()
        });
        let answer = answer.await.unwrap();
        assert!(answer.verdict.unwrap().intact);
        answer.entries.into_iter().map(|entry| entry.what).collect()
    }
}

fn reason(told: Result<StateOutcome, ApiError>) -> String {
    match told.unwrap() {
        StateOutcome::Refused { reason, .. } => reason,
        StateOutcome::Locked { info } => format!("locked: {info}"),
        StateOutcome::Done => "done".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_versions_are_kept_byte_for_byte() {
    let bounds = Bounds {
        state_versions_kept: 3,
        ..Bounds::default()
    };
    let client = Client::new(bounds).await;
    for serial in 1..=5 {
        assert_eq!(client.put(None, &state(serial, &["web"])).await, Ok(StateOutcome::Done));
    }
    // An answer was lost: the same again is no new version.
    assert_eq!(client.put(None, &state(5, &["web"])).await, Ok(StateOutcome::Done));
    let kept: Vec<u64> = client
        .view()
        .await
        .versions
        .iter()
        .map(|version| version.version)
        .collect();
    assert_eq!(kept, [5, 4, 3]);
    assert_eq!(client.body(None).await, Ok(state(5, &["web"])));
    assert_eq!(client.body(Some(3)).await, Ok(state(3, &["web"])));
    let gone = client.body(Some(2)).await.unwrap_err();
    assert_eq!(
        (gone.code, gone.pointer.as_deref()),
        (ErrorCode::NotFound, Some("/version"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_version_comes_in_parts() {
    let client = Client::new(Bounds::default()).await;
    let names: Vec<String> = (0..3_000).map(|n| format!("thing-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let long = state(1, &names);
    assert_eq!(client.put(None, &long).await, Ok(StateOutcome::Done));
    let mut request = StateRead {
        state: name("shop"),
        version: None,
        offset: 0,
    };
    let (mut read, mut parts) = (Vec::new(), 0);
    loop {
        let part = client.engine.state_read(request.clone()).await.unwrap();
        read.extend(STANDARD.decode(part.base64).unwrap());
        parts += 1;
        match part.next {
            Some(next) => request.offset = next,
            None => break,
        }
    }
    assert_eq!(read, long.as_bytes());
    assert!(parts > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_one_client_s_until_it_or_somebody_by_name_takes_it_away() {
    let client = Client::new(Bounds::default()).await;
    assert_eq!(client.lock("a").await, StateOutcome::Done);
    assert_eq!(client.lock("a").await, StateOutcome::Done);
    assert_eq!(client.lock("b").await, StateOutcome::Locked { info: lock("a") });
    assert_eq!(
        reason(client.put(Some("b"), &state(1, &[])).await),
        format!("locked: {}", lock("a"))
    );
    assert_eq!(
        reason(client.put(None, &state(1, &[])).await),
        format!("locked: {}", lock("a"))
    );
    assert_eq!(reason(client.put(Some("a"), &state(1, &["web"])).await), "done");
    assert_eq!(client.view().await.head.unwrap().by.as_deref(), Some("a@host"));
    assert!(matches!(client.unlock(None, false).await, StateOutcome::Refused { .. }));
    assert_eq!(
        client.unlock(Some("b"), true).await,
        StateOutcome::Locked { info: lock("a") }
    );
    assert_eq!(client.unlock(Some("a"), true).await, StateOutcome::Done);
    assert_eq!(client.view().await.lock, None);
    assert_eq!(
        reason(client.put(Some("a"), &state(2, &["web"])).await),
        "the lock `a` is not held any more"
    );
    let unlocked = AuditWhat::StateUnlocked {
        state: name("shop"),
        lock: "a".into(),
        held_by: "a@host".into(),
    };
    assert!(client.audited().await.contains(&unlocked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_only_locked_leaves_nothing() {
    let client = Client::new(Bounds::default()).await;
    client.lock("a").await;
    assert_eq!(client.unlock(Some("a"), false).await, StateOutcome::Done);
    assert_eq!(client.engine.states(StatesRequest::default()).await.unwrap().states, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_brings_back_what_was_taken_over_is_refused_with_a_reason() {
    let client = Client::new(Bounds::default()).await;
    assert_eq!(reason(client.put(None, &state(1, &["web", "db"])).await), "done");
    assert_eq!(client.adopt(&["terraform_data.db"], true).await, 1);
    assert_eq!(client.adopt(&["terraform_data.db"], true).await, 0);
    let why = "Isobar manages terraform_data.db";
    assert_eq!(reason(client.put(None, &state(2, &["web", "db"])).await), why);
    assert_eq!(client.view().await.refused.as_deref(), Some(why));
    assert_eq!(client.body(None).await, Ok(state(1, &["web", "db"])));
    assert_eq!(reason(client.put(None, &state(2, &["web"])).await), "done");
    assert_eq!(client.view().await.refused, None);
    assert_eq!(client.adopt(&["terraform_data.db"], false).await, 1);
    assert_eq!(reason(client.put(None, &state(3, &["web", "db"])).await), "done");
    let adopted = |adopted| AuditWhat::StateAdopted {
        lineage: LINEAGE.into(),
        addresses: 1,
        adopted,
    };
    let audited = client.audited().await;
    assert!(audited.contains(&adopted(true)) && audited.contains(&adopted(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_of_one_serial_one_wins() {
    let client = Client::new(Bounds::default()).await;
    client.put(None, &state(1, &["web"])).await.unwrap();
    let names: Vec<String> = (0..16).map(|n| format!("by-{n}")).collect();
    let writing = names.iter().map(|name| {
        let body = state(2, &[name]);
        let client = &client;
        async move { client.put(None, &body).await.unwrap() }
    });
    let told = futures_util::future::join_all(writing).await;
    assert_eq!(told.iter().filter(|told| **told == StateOutcome::Done).count(), 1);
    assert_eq!(client.view().await.versions.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_states_are_taken_than_the_bound() {
    let bounds = Bounds {
        states_max: 1,
        ..Bounds::default()
    };
    let client = Client::new(bounds).await;
    client.put(None, &state(1, &["web"])).await.unwrap();
    let request = StateLock {
        state: name("another"),
        info: lock("a"),
    };
    let refused = client.engine.state_lock(request).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Refused);
}
