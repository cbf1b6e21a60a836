//! Lists states: what each is, who holds it, which versions are kept. Shows no content.

use super::no_state;
use super::record::StateRecord;
use crate::api::{ApiError, PAGE_MAX_ITEMS, StateView, StatesAnswer, StatesRequest};
use crate::engine::Engine;

/// An answer holds so many states unless told.
const PAGE_ITEMS: u32 = 100;

impl Engine {
    /// States in the order of their names, or one with every version that is kept.
    pub async fn states(&self, request: StatesRequest) -> Result<StatesAnswer, ApiError> {
        let held = self.ledger.read();
        if let Some(state) = &request.state {
            let record = held.terraform_states.get(state.as_str());
            let record = record.ok_or_else(|| no_state(state))?;
            let versions = record.versions.iter().rev().map(|version| version.told.clone());
            let view = StateView {
                versions: versions.collect(),
                ..view(record)
            };
            return Ok(StatesAnswer {
                states: vec![view],
                next: None,
            });
        }
        let limit = request.limit.unwrap_or(PAGE_ITEMS).clamp(1, PAGE_MAX_ITEMS);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut rest = held
            .terraform_states
            .all()
            .filter(|record| request.after.as_ref().is_none_or(|after| record.state > *after));
        let states: Vec<StateView> = rest.by_ref().take(limit).map(view).collect();
        let next = rest.next().and(states.last()).map(|last| last.state.clone());
        Ok(StatesAnswer { states, next })
    }
}

fn view(record: &StateRecord) -> StateView {
    StateView {
        state: record.state.clone(),
        head: record.versions.last().map(|version| version.told.clone()),
        kept: u32::try_from(record.versions.len()).unwrap_or(u32::MAX),
        lock: record.lock.as_ref().map(|lock| lock.view.clone()),
        refused: record.refused.clone(),
        versions: Vec::new(),
    }
}
