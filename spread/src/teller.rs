//! Tells the engines that hold shards which rounds are due: once a period each, and again a second later where that
//! failed. Knows nothing of Redis. Called by a life of the scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_engine_control::Fleet;
use isobar_engine_control::periodic::Round;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// For the engine that holds a shard to hear of a round.
const TELL_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Teller {
    fleet: Arc<Fleet>,
    asked: Arc<AtomicU64>,
    /// The period of the last round that was heard of.
    told: BTreeMap<Round, u64>,
    underway: BTreeSet<Round>,
}

/// How telling went.
struct Told {
    round: Round,
    period: u64,
    is_heard: bool,
}

impl Teller {
    pub(crate) fn new(fleet: Arc<Fleet>, asked: Arc<AtomicU64>) -> Self {
        Self {
            fleet,
            asked,
            told: BTreeMap::new(),
            underway: BTreeSet::new(),
        }
    }

    /// Tells of what comes until nothing can come any more.
    pub(crate) async fn tell(mut self, mut due: mpsc::Receiver<Round>) {
        let mut telling = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(ended) = telling.join_next() => match ended {
                    Ok(told) => self.heard(&told),
                    Err(error) => {
                        tracing::error!(%error, "telling of rounds ended early");
                        return;
                    }
                },
                round = due.recv() => match round {
                    Some(round) => self.begin(round, &mut telling),
                    None => return,
                },
            }
        }
    }

    fn begin(&mut self, round: Round, telling: &mut JoinSet<Told>) {
        let period = self.fleet.period(round.work);
        if self.told.get(&round) == Some(&period) || !self.underway.insert(round) {
            return;
        }
        let fleet = self.fleet.clone();
        telling.spawn(async move {
            let answer = tokio::time::timeout(TELL_MAX, fleet.round_is_due(round)).await;
            let is_heard = matches!(answer, Ok(Ok(())));
            if let Ok(Err(error)) = answer {
                tracing::debug!(shard = %round.shard, work = round.work.name(), %error, "a round was not heard of");
            }
            Told {
                round,
                period,
                is_heard,
            }
        });
    }

    fn heard(&mut self, told: &Told) {
        self.underway.remove(&told.round);
        if told.is_heard {
            self.told.insert(told.round, told.period);
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}
