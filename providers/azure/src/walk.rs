//! What belongs to a walk through the pages of a list of machines: network cards and addresses, which such a list says
//! nothing of. They are read once, at its beginning, and kept from page to page. Asks nobody. Called by the provider.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::look::Part;

/// Walks at a time; one that was begun before so many others starts its reading again.
const WALKS_MAX: usize = 64;

/// Cards and addresses of everybody's machines.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// By id in lower case: Azure tells no case.
    cards: HashMap<String, Part>,
    pub(crate) addresses: Vec<Part>,
}

impl Beside {
    pub(crate) fn of(cards: Vec<Part>, addresses: Vec<Part>) -> Self {
        let by_id = |card: Part| (card.id.to_ascii_lowercase(), card);
        Self {
            cards: cards.into_iter().map(by_id).collect(),
            addresses,
        }
    }

    pub(crate) fn card(&self, id: &str) -> Option<&Part> {
        self.cards.get(&id.to_ascii_lowercase())
    }
}

/// What was read for walks that are under way, by the link to their next page, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Walks(VecDeque<(String, Arc<Beside>)>);

impl Walks {
    /// For whoever asks for the next page.
    pub(crate) fn keep(&mut self, next: String, beside: Arc<Beside>) {
        self.0.retain(|(link, _)| *link != next);
        self.0.push_back((next, beside));
        if self.0.len() > WALKS_MAX {
            self.0.pop_front();
        }
    }

    /// What was read for the page behind a link.
    pub(crate) fn take(&mut self, next: &str) -> Option<Arc<Beside>> {
        let place = self.0.iter().position(|(link, _)| link == next)?;
        self.0.remove(place).map(|(_, beside)| beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_its_own_once_and_the_oldest_of_too_many_is_forgotten() {
        let mut walks = Walks::default();
        for walk in 0..=WALKS_MAX {
            walks.keep(walk.to_string(), Arc::default());
        }
        assert!(walks.take("0").is_none());
        assert!(walks.take("1").is_some());
        assert!(walks.take("1").is_none());
    }
}
