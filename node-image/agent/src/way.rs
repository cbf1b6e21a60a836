//! Which engine to call next: the one that another engine named, at each of its addresses, else each known one in turn.
//! Knows no network.

use std::collections::VecDeque;
use std::sync::Mutex;

/// The way home.
#[derive(Debug)]
pub struct Way {
    engines: Vec<String>,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    turn: usize,
    named: VecDeque<String>,
}

impl Way {
    /// Through these engines, at least one.
    pub fn new(engines: Vec<String>) -> Self {
        assert!(!engines.is_empty(), "an identity names an engine");
        Self {
            engines,
            now: Mutex::default(),
        }
    }

    /// Whom to call.
    pub fn engine(&self) -> String {
        self.with(|now| match now.named.front() {
            Some(engine) => engine.clone(),
            None => self.engines[now.turn % self.engines.len()].clone(),
        })
    }

    /// An engine said that this one is responsible; it is at one of these addresses.
    pub fn named(&self, engine: Vec<String>) {
        self.with(|now| now.named = engine.into());
    }

    /// The one that was called does not help now: the next one's turn.
    pub fn lost(&self) {
        self.with(|now| {
            if now.named.pop_front().is_none() {
                now.turn = now.turn.wrapping_add(1);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Now) -> T) -> T {
        change(&mut self.now.lock().expect("nothing panics with the lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_take_turns_until_one_is_named_and_again_when_that_one_is_lost() {
        let way = Way::new(vec!["a:1".into(), "b:1".into()]);
        let mut called = vec![way.engine()];
        way.lost();
        called.push(way.engine());
        way.named(vec!["c:1".into(), "c:2".into()]);
        called.push(way.engine());
        called.push(way.engine());
        way.lost();
        called.push(way.engine());
        way.lost();
        called.push(way.engine());
        way.lost();
        called.push(way.engine());
        assert_eq!(called, ["a:1", "b:1", "c:1", "c:1", "c:2", "b:1", "a:1"]);
    }
}
