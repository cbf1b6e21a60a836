//! One engine's life: it counts the engine's crossings of its boundaries, and ends or stands still at chosen ones.
//!
//! Between two crossings nothing outside the engine can change: it has no other way out. So ending it before and after
//! each crossing (a call's sending and its answer, a sleep's begin and end, a message sent or received) is ending it at
//! every await point, whatever the engine awaits in between. Never decides which crossing: whoever makes a life does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isobar_node_image_protocol::watch;

/// What crosses a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crossing {
    /// `Store::beat`, and its end, `Store::leave`
    Beat,
    /// `Store::members`, `Store::shards`, and what else is asked about the store as a whole
    Look,
    /// `Store::claim`, and its end, `Store::release`
    Claim,
    /// `Store::commit`
    Commit,
    /// `Store::scan`
    Scan,
    /// `Store::get`
    ReadBack,
    /// `Provider::catalog`
    Catalog,
    /// `Provider::create`
    Create,
    /// `Provider::get`
    Get,
    /// `Provider::list`
    List,
    /// `Provider::delete`
    Delete,
    /// `Clock::sleep`
    Sleep,
    /// A message to a node.
    Send,
    /// A message from a node.
    Receive,
}

impl Crossing {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Beat,
        Self::Look,
        Self::Claim,
        Self::Commit,
        Self::Scan,
        Self::ReadBack,
        Self::Catalog,
        Self::Create,
        Self::Get,
        Self::List,
        Self::Delete,
        Self::Sleep,
        Self::Send,
        Self::Receive,
    ];

    /// Its name in histories and in the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Look => "look",
            Self::Claim => "claim",
            Self::Commit => "commit",
            Self::Scan => "scan",
            Self::ReadBack => "read_back",
            Self::Catalog => "catalog",
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Sleep => "sleep",
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

/// On which side of a crossing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing has happened.
    Before,
    /// It has happened, and the engine does not hear of it.
    After,
}

impl Moment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Before, Self::After];

    /// Its name in histories and in the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Where a life takes its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Nowhere.
    Never,
    /// At half-crossing so many of all: an even one before crossing `half / 2` happens, an odd one after.
    Half(u64),
    /// At one side of the so manieth crossing of a kind, from 0.
    Nth(Crossing, u64, Moment),
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The process is killed.
    End,
    /// The process stands still, as under SIGSTOP or in a virtual machine that is paused.
    Freeze,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulse {
    Beats,
    Stands,
    Over,
}

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    by_kind: BTreeMap<Crossing, u64>,
    turned_at: Option<(Crossing, Moment)>,
    spared: bool,
}

impl Counts {
    /// Whether the turn is taken here, where it is due: once, unless the life is spared.
    fn takes_turn(&mut self, at: (Crossing, Moment)) -> bool {
        let takes = self.turned_at.is_none() && !self.spared;
        if takes {
            self.turned_at = Some(at);
        }
        takes
    }
}

/// See the module. A clone is the same life.
#[derive(Debug, Clone)]
pub struct Life {
    counts: Arc<Mutex<Counts>>,
    pulse: Arc<watch::Sender<Pulse>>,
    point: Point,
    turn: Turn,
}

impl Life {
    /// Takes this turn at this point.
    pub fn with(point: Point, turn: Turn) -> Self {
        Self {
            counts: Arc::default(),
            pulse: Arc::new(watch::Sender::new(Pulse::Beats)),
            point,
            turn,
        }
    }

    /// Ends at half-crossing `half`.
    pub fn until(half: u64) -> Self {
        Self::with(Point::Half(half), Turn::End)
    }

    /// Never ends by itself.
    pub fn long() -> Self {
        Self::with(Point::Never, Turn::End)
    }

    /// From now on it takes no turn by itself any more.
    pub fn spare(&self) {
        self.lock().spared = true;
    }

    /// Ends it now.
    pub fn end(&self) {
        self.pulse.send_replace(Pulse::Over);
    }

    /// Makes it stand still, unless it is over.
    pub fn freeze(&self) {
        self.change(Pulse::Beats, Pulse::Stands);
    }

    /// Lets it go on from where it stood still.
    pub fn thaw(&self) {
        self.change(Pulse::Stands, Pulse::Beats);
    }

    fn change(&self, from: Pulse, to: Pulse) {
        self.pulse.send_if_modified(|pulse| {
            let changes = *pulse == from;
            if changes {
                *pulse = to;
            }
            changes
        });
    }

    /// Returns when it has ended.
    pub async fn ended(&self) {
        self.reach(|pulse| pulse == Pulse::Over).await;
    }

    /// Returns when it has ended or stands still.
    pub async fn stopped(&self) {
        self.reach(|pulse| pulse != Pulse::Beats).await;
    }

    /// Returns when it does not stand still.
    pub async fn awake(&self) {
        self.reach(|pulse| pulse != Pulse::Stands).await;
    }

    async fn reach(&self, wanted: impl Fn(Pulse) -> bool) {
        let mut pulse = self.pulse.subscribe();
        // The sender is in `self`.
        if pulse.wait_for(|pulse| wanted(*pulse)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        *self.pulse.borrow() == Pulse::Over
    }

    /// Whether it stands still.
    pub fn is_frozen(&self) -> bool {
        *self.pulse.borrow() == Pulse::Stands
    }

    /// Crossings begun so far.
    pub fn crossings(&self) -> u64 {
        self.lock().all
    }

    /// Where it ended by its turn, once it has.
    pub fn killed_at(&self) -> Option<(Crossing, Moment)> {
        match self.turn {
            Turn::End => self.lock().turned_at,
            Turn::Freeze => None,
        }
    }

    /// A call, from its begin to its end. Never returns once the life is over.
    pub async fn live<T>(&self, crossing: Crossing, call: impl Future<Output = T>) -> T {
        let ordinals = {
            let mut counts = self.lock();
            let all = counts.all;
            counts.all += 1;
            let of_kind = counts.by_kind.entry(crossing).or_default();
            *of_kind += 1;
            (all, *of_kind - 1)
        };
        self.pass((crossing, Moment::Before), ordinals).await;
        let answer = call.await;
        self.pass((crossing, Moment::After), ordinals).await;
        answer
    }

    async fn pass(&self, at: (Crossing, Moment), (all, of_kind): (u64, u64)) {
        let half = all.saturating_mul(2) + u64::from(at.1 == Moment::After);
        let is_turn = match self.point {
            Point::Never => false,
            Point::Half(last) => half >= last,
            Point::Nth(kind, nth, side) => (kind, side) == at && of_kind >= nth,
        };
        if is_turn && self.lock().takes_turn(at) {
            match self.turn {
                Turn::End => self.end(),
                Turn::Freeze => self.freeze(),
            }
        }
        if *self.pulse.borrow() != Pulse::Beats {
            let mut pulse = self.pulse.subscribe();
            let beats = pulse.wait_for(|pulse| *pulse == Pulse::Beats).await.is_ok();
            if !beats {
                std::future::pending::<()>().await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
