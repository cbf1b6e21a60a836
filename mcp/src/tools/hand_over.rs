//! The tool that changes whose an object is: its cluster's engine decides, and the engine that keeps Terraform's states
//! then lets no state bring back what is Isobar's. Whoever hears of an error in between asks again, and both are done.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_engine_control::Engine;
use isobar_engine_control::api::{ApiError, HandOverAnswer, HandOverRequest, HandOverStep, StateAdopt, StateAdopted};
use isobar_engine_model::adopted::AdoptedPhase;
use serde_json::Value;

use super::terraform::ADOPT;
use super::{About, Effect, Entry, Place, routed, tool};

pub(super) fn listed() -> Entry {
    tool::<HandOverRequest, HandOverAnswer>(HAND_OVER, |place, request, arguments| {
        Box::pin(async move { hand_over(place, request, arguments).await })
    })
}

async fn hand_over(place: Place, request: HandOverRequest, arguments: Value) -> Result<HandOverAnswer, ApiError> {
    let begins = matches!(request.step, HandOverStep::Begin);
    let answer = routed(&place, HAND_OVER, (request, arguments), step).await?;
    // Whoever passed the call on does the rest.
    if place.passed || begins {
        return Ok(answer);
    }
    let mut by_owner: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
    for line in answer.lines.iter().filter(|line| !line.lineage.is_empty()) {
        let ours = match line.phase {
            AdoptedPhase::Owned { .. } => true,
            AdoptedPhase::Observed { .. } | AdoptedPhase::HandingOver { .. } => false,
        };
        let here = by_owner.entry((line.lineage.clone(), ours)).or_default();
        here.push(line.address.clone());
    }
    for ((lineage, adopted), addresses) in by_owner {
        let request = StateAdopt {
            lineage,
            addresses,
            adopted,
        };
        let arguments = serde_json::to_value(&request).expect("text keys");
        routed::<_, StateAdopted, _>(&place, ADOPT, (request, arguments), adopt).await?;
    }
    Ok(answer)
}

async fn step(engine: Arc<Engine>, request: HandOverRequest) -> Result<HandOverAnswer, ApiError> {
    engine.import_hand_over(request).await
}

async fn adopt(engine: Arc<Engine>, request: StateAdopt) -> Result<StateAdopted, ApiError> {
    engine.state_adopted(request).await
}

const HAND_OVER: About = About {
    name: "import_hand_over",
    title: "Change whose an object is",
    text: "Takes a step of handing adopted objects over: `begin`, then, once Terraform has forgotten them, `confirm` with the \
           lineage and the higher serial of a fresh state without them, or `take_back`. Changes no cloud and no state; where \
           this engine keeps the state, it refuses from then on one that brings them back.",
    effect: Effect::Changes { destructive: false },
};
