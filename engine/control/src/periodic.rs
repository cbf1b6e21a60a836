//! When a round of periodic work is due: looking after clusters (drift, prices, healing) and sweeping.
//!
//! Built in is an interval. Where something outside tells engines that a round is due ([`Pacing::Told`]), it decides
//! nothing: an engine begins a round only while it holds its shard's lease, one at a time, once a period, and does without
//! being told when nobody tells it. Called by the loops of `watch` and `sweep`, and by the fleet for what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_engine_model::id::ShardId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::api::{ApiError, ErrorCode};
use crate::config::Bounds;
use crate::engine::Engine;
use crate::fleet::{Fleet, Route};

/// Told of nothing for so many periods, an engine goes by its own interval until it is told again.
const UNTOLD_MAX_PERIODS: u32 = 3;
/// The call by which engines tell each other that a round is due. No tool: callers from outside have no way to it.
pub(crate) const ROUND_IS_DUE: &str = "round_is_due";

/// A kind of periodic work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Compares machines with what providers and nodes say, asks for prices that are old, and reconciles.
    Look,
    /// Lists what clouds have under our tags.
    Sweep,
}

impl Work {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Look, Self::Sweep];

    /// Its name: `look` ...
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Sweep => "sweep",
        }
    }

    fn period_ms(self, bounds: &Bounds) -> u64 {
        match self {
            Self::Look => bounds.tick_ms,
            Self::Sweep => bounds.sweep_ms,
        }
        .max(1)
    }
}

/// What says that a round is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pacing {
    /// The interval of its kind.
    #[default]
    Interval,
    /// Whoever calls [`Fleet::round_is_due`]; the interval where nobody does.
    Told,
}

/// One round of a shard's periodic work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Round {
    /// Whose.
    pub shard: ShardId,
    /// Of what.
    pub work: Work,
}

/// The rounds of one kind of work of one engine.
#[derive(Debug)]
pub(crate) struct Rounds {
    told: watch::Sender<u64>,
    /// The period in which the last one began.
    begun: AtomicU64,
}

impl Rounds {
    /// The period that the shard is taken in counts as done: whoever had it before may have begun its round.
    pub(crate) fn since(period: u64) -> Self {
        Self {
            told: watch::Sender::new(0),
            begun: AtomicU64::new(period),
        }
    }

    fn tell(&self) {
        self.told.send_modify(|count| *count += 1);
    }
}

/// Where a loop of periodic work stands.
pub(crate) struct Turn {
    work: Work,
    told: watch::Receiver<u64>,
    is_told: bool,
}

impl Engine {
    /// Where the loop of a kind of work begins.
    pub(crate) fn turn(&self, work: Work) -> Turn {
        Turn {
            work,
            told: self.rounds(work).told.subscribe(),
            is_told: true,
        }
    }

    /// Returns when the next round is to begin. False: the engine stops.
    pub(crate) async fn next_round(&self, turn: &mut Turn) -> bool {
        let period = Duration::from_millis(turn.work.period_ms(&self.config.bounds));
        match self.config.pacing {
            Pacing::Interval => tokio::select! {
                biased;
                () = self.stop.cancelled() => false,
                () = self.clock.sleep(period) => true,
            },
            Pacing::Told => self.next_told(turn, period).await,
        }
    }

    async fn next_told(&self, turn: &mut Turn, period: Duration) -> bool {
        loop {
            let patience = if turn.is_told {
                period * UNTOLD_MAX_PERIODS
            } else {
                period
            };
            let was_told = turn.is_told;
            turn.is_told = tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                told = turn.told.changed() => told.is_ok(),
                () = self.clock.sleep(patience) => false,
            };
            if was_told != turn.is_told {
                let work = turn.work.name();
                if turn.is_told {
                    tracing::info!(work, "told of rounds again");
                } else {
                    tracing::warn!(work, "nobody tells of rounds: going by the interval");
                }
            }
            if self.may_begin(turn.work) {
                return true;
            }
        }
    }

    /// That it still holds its lease, and that none has begun in this period.
    fn may_begin(&self, work: Work) -> bool {
        if self.may_act().is_err() {
            return false;
        }
        let period = self.clock.now().0 / work.period_ms(&self.config.bounds);
        self.rounds(work).begun.swap(period, Ordering::SeqCst) != period
    }
}

impl Fleet {
    /// Tells the engine that holds a shard, here or elsewhere, that a round is due. Harmless at any time and from anybody
    /// among the engines, twice as well as late: the engine knows which rounds it has begun.
    pub async fn round_is_due(&self, round: Round) -> Result<(), ApiError> {
        match self.who_holds(round.shard) {
            Some(Route::Here(engine)) => {
                engine.rounds(round.work).tell();
                Ok(())
            }
            Some(Route::There(member)) => {
                let round = serde_json::to_value(round).expect("text keys");
                self.pass_on(&member, ROUND_IS_DUE, &round).await.map(drop)
            }
            None => Err(nobody(round.shard)),
        }
    }

    /// What another engine tells this one. Never passed on again.
    pub(crate) fn told(&self, round: serde_json::Value) -> Result<serde_json::Value, ApiError> {
        let round: Round = serde_json::from_value(round)
            .map_err(|error| ApiError::new(ErrorCode::Unavailable, format!("a round is unreadable: {error}")))?;
        let Some(engine) = self.held_engine(round.shard) else {
            return Err(nobody(round.shard));
        };
        engine.rounds(round.work).tell();
        Ok(serde_json::Value::Null)
    }

    /// The period of now, of a kind of work: there is at most one round a shard in each.
    pub fn period(&self, work: Work) -> u64 {
        self.boundaries.clock.now().0 / work.period_ms(&self.config.bounds)
    }

    fn held_engine(&self, shard: ShardId) -> Option<Arc<Engine>> {
        match self.who_holds(shard) {
            Some(Route::Here(engine)) => Some(engine),
            Some(Route::There(_)) | None => None,
        }
    }
}

/// The periods that an engine starts in.
pub(crate) fn rounds(bounds: &Bounds, now: u64) -> [Rounds; Work::ALL.len()] {
    Work::ALL.map(|work| Rounds::since(now / work.period_ms(bounds)))
}

fn nobody(shard: ShardId) -> ApiError {
    ApiError::new(ErrorCode::Moving, format!("shard {shard} is changing hands"))
        .hint("another engine takes it over within seconds: try again")
}
