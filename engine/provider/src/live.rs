//! Facts that a service beside a cloud's own says: asked for when they are old, kept while they are fresh, and served on with
//! their age where nobody answers. Never fails: whoever asks has something else to go by. Used by the providers of clouds,
//! for prices and quotas.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isobar_engine_model::quantity::Timestamp;

use crate::{Clock, ProviderError, Result};

/// A service takes at most so long, all pages of its answer together: a catalog as a whole has a deadline too.
pub const ASK_MAX: Duration = Duration::from_secs(15);
/// A service that failed is left alone for so long, in ms.
pub const RETRY_MS: u64 = 10 * 60_000;
/// So many facts are kept: one a service, account and region.
pub const FACTS_MAX: usize = 64;

/// What a service said, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live<T> {
    /// When.
    pub as_of: Timestamp,
    /// What.
    pub said: T,
}

/// What services said last.
#[derive(Debug)]
pub struct LiveFacts<T> {
    fresh_ms: u64,
    kept: Mutex<BTreeMap<String, Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    last: Option<Arc<Live<T>>>,
    ask_again: Timestamp,
}

impl<T> LiveFacts<T> {
    /// Nothing yet. What is said is fresh for so long.
    pub fn fresh_for(fresh_ms: u64) -> Self {
        Self {
            fresh_ms,
            kept: Mutex::default(),
        }
    }

    /// What a service says: what it said last while that is fresh, else what `ask` gives. Where that fails what it said last
    /// serves on, whatever its age; absent: it has said nothing.
    pub async fn of(
        &self,
        service: impl Display,
        clock: &dyn Clock,
        ask: impl Future<Output = Result<T>>,
    ) -> Option<Arc<Live<T>>> {
        let service = service.to_string();
        let (last, is_fresh) = match self.kept().get(&service) {
            Some(kept) => (kept.last.clone(), clock.now() < kept.ask_again),
            None => (None, false),
        };
        if is_fresh {
            return last;
        }
        let asked = tokio::time::timeout(ASK_MAX, ask).await;
        let now = clock.now();
        let (last, pause_ms) = match asked.unwrap_or_else(|_| Err(late())) {
            Ok(said) => (Some(Arc::new(Live { as_of: now, said })), self.fresh_ms),
            Err(error) => {
                tracing::warn!(service, %error, "a service does not say; what is known serves");
                (last, RETRY_MS)
            }
        };
        let entry = Kept {
            last: last.clone(),
            ask_again: now.plus_ms(pause_ms),
        };
        let mut kept = self.kept();
        if kept.len() >= FACTS_MAX && !kept.contains_key(&service) {
            kept.clear();
        }
        kept.insert(service, entry);
        last
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late() -> ProviderError {
    ProviderError::Unavailable {
        message: format!("no answer within {} s", ASK_MAX.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;

    const FRESH_MS: u64 = 3_600_000;

    struct Set(AtomicU64);

    #[async_trait]
    impl Clock for Set {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }

        async fn sleep(&self, pause: Duration) {
            tokio::time::sleep(pause).await;
        }
    }

    impl Set {
        fn to(&self, ms: u64) -> &Self {
            self.0.store(ms, Ordering::SeqCst);
            self
        }
    }

    fn away<T>() -> Result<T> {
        Err(ProviderError::Unavailable {
            message: "away".to_owned(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn facts_are_asked_for_when_they_are_old_and_served_on_when_nobody_answers() {
        let (facts, clock) = (LiveFacts::fresh_for(FRESH_MS), Set(AtomicU64::new(1_000)));
        let never = async || panic!("it was not to be asked");
        assert_eq!(facts.of("west", &clock, async { away() }).await, None);
        assert_eq!(facts.of("west", clock.to(1_000 + RETRY_MS - 1), never()).await, None);

        let asked_ms = 1_000 + RETRY_MS;
        let first = facts.of("west", clock.to(asked_ms), async { Ok(5) }).await;
        assert_eq!(
            first.as_ref().map(|live| (live.as_of.0, live.said)),
            Some((asked_ms, 5))
        );
        let kept = facts.of("west", clock.to(asked_ms + FRESH_MS - 1), never()).await;
        assert_eq!(kept, first);

        clock.to(asked_ms + FRESH_MS);
        assert_eq!(
            facts.of("west", &clock, async { away() }).await,
            first,
            "with its own age"
        );
        clock.to(asked_ms + 2 * FRESH_MS);
        let hangs = facts.of("west", &clock, std::future::pending()).await;
        assert_eq!(hangs, first, "a service that hangs is left after a while");
        let elsewhere = facts.of("east", &clock, async { Ok(7) }).await;
        assert_ne!(elsewhere, first);
    }

    #[tokio::test]
    async fn no_more_is_kept_than_the_bound() {
        let (facts, clock) = (LiveFacts::fresh_for(FRESH_MS), Set(AtomicU64::new(0)));
        for service in 0..=FACTS_MAX {
            facts.of(service, &clock, async { Ok(()) }).await;
            assert!(facts.kept().len() <= FACTS_MAX);
        }
    }
}
