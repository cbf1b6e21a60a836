//! The tools about Terraform's states, and the calls of the state backend that engines pass on to the one that keeps them.

use isobar_engine_control::Fleet;
use isobar_engine_control::api::{
    ApiError, Asked, StateAdopt, StateAdopted, StateBody, StateGet, StateLock, StateOutcome, StatePart, StatePut,
    StateRead, StateRelease, StateReleased, StateUnlock, StatesAnswer, StatesRequest,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Arc, Effect, Engine, Entry, Place, entry, routed};

/// What anybody may call.
pub(super) fn listed() -> Vec<Entry> {
    vec![
        entry::<StatesRequest, StatesAnswer, _>(STATES, |engine, request| async move { engine.states(request).await }),
        entry::<StateRead, StatePart, _>(READ, |engine, request| async move { engine.state_read(request).await }),
        entry::<StateRelease, StateReleased, _>(RELEASE, |engine, request| async move {
            engine.state_release(request).await
        }),
    ]
}

/// What only engines call: HTTP carries these to whichever engine is asked.
pub(crate) fn between_engines() -> Vec<Entry> {
    vec![
        entry::<StateGet, Got, _>(GET, get),
        entry::<StatePut, StateOutcome, _>(PUT, put),
        entry::<StateLock, StateOutcome, _>(LOCK, lock),
        entry::<StateUnlock, StateOutcome, _>(UNLOCK, unlock),
        entry::<StateAdopt, StateAdopted, _>(
            ADOPT,
            |engine, request| async move { engine.state_adopted(request).await },
        ),
    ]
}

/// A version; absent: the state has none.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Got {
    pub(crate) body: Option<StateBody>,
}

/// The state backend of a process: asks the engine that keeps the states, wherever it is.
#[derive(Clone)]
pub(crate) struct States(Place);

impl States {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        Self(Place { fleet, passed: false })
    }

    pub(crate) async fn get(&self, request: StateGet) -> Result<Option<StateBody>, ApiError> {
        Ok(self.ask(GET, request, get).await?.body)
    }

    pub(crate) async fn put(&self, request: StatePut) -> Result<StateOutcome, ApiError> {
        self.ask(PUT, request, put).await
    }

    pub(crate) async fn lock(&self, request: StateLock) -> Result<StateOutcome, ApiError> {
        self.ask(LOCK, request, lock).await
    }

    pub(crate) async fn unlock(&self, request: StateUnlock) -> Result<StateOutcome, ApiError> {
        self.ask(UNLOCK, request, unlock).await
    }

    async fn ask<A, R, F>(&self, about: About, request: A, run: fn(Arc<Engine>, A) -> F) -> Result<R, ApiError>
    where
        A: Asked + Serialize,
        R: serde::de::DeserializeOwned,
        F: Future<Output = Result<R, ApiError>>,
    {
        let arguments = serde_json::to_value(&request).expect("text keys");
        routed(&self.0, about, (request, arguments), run).await
    }
}

async fn get(engine: Arc<Engine>, request: StateGet) -> Result<Got, ApiError> {
    let body = engine.state_get(request).await?;
    Ok(Got { body })
}

async fn put(engine: Arc<Engine>, request: StatePut) -> Result<StateOutcome, ApiError> {
    engine.state_put(request).await
}

async fn lock(engine: Arc<Engine>, request: StateLock) -> Result<StateOutcome, ApiError> {
    engine.state_lock(request).await
}

async fn unlock(engine: Arc<Engine>, request: StateUnlock) -> Result<StateOutcome, ApiError> {
    engine.state_unlock(request).await
}

const STATES: About = About {
    name: "terraform_states",
    title: "States of Terraform",
    text: "Lists the Terraform and OpenTofu states that this engine keeps as their HTTP backend: newest version, serial, \
           lineage, who has locked it, why a write was refused last. With `state` also every version that is kept. Never \
           their contents.",
    effect: Effect::Reads,
};

const READ: About = About {
    name: "terraform_state_read",
    title: "Read a version of a state",
    text: "The bytes of a kept version, in base64, part by part: give an answer's `next` as `offset`, with its `version`. A \
           state holds secrets in the clear: ask only when somebody wants the file, and do not show it.",
    effect: Effect::Reads,
};

const RELEASE: About = About {
    name: "terraform_unlock",
    title: "Take a state's lock away",
    text: "Unlocks a state whose client died, by the lock's id as `terraform_states` tells it. Make sure that it is dead: if \
           it still runs, its next write is refused and what it built is in no state.",
    effect: Effect::Changes { destructive: true },
};

const GET: About = About {
    name: "terraform_get",
    title: "A version, whole",
    text: "Between engines.",
    effect: Effect::Reads,
};

const PUT: About = About {
    name: "terraform_put",
    title: "A new version",
    text: "Between engines.",
    effect: Effect::Changes { destructive: false },
};

const LOCK: About = About {
    name: "terraform_lock",
    title: "Lock a state",
    text: "Between engines.",
    effect: Effect::Changes { destructive: false },
};

const UNLOCK: About = About {
    name: "terraform_client_unlock",
    title: "Unlock a state",
    text: "Between engines.",
    effect: Effect::Changes { destructive: false },
};

pub(super) const ADOPT: About = About {
    name: "terraform_adopted",
    title: "Take addresses over",
    text: "Between engines.",
    effect: Effect::Changes { destructive: false },
};
