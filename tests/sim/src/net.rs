//! The network between engine and nodes: late, cut, and where the seed says so out of order, twice or broken.
//!
//! A session's messages pass a relay. Within a cut they wait; a node that hangs up within a cut is missed by the engine
//! only after [`KEEPALIVE`]. A lost message breaks its session, as it does on a stream. Decides by its dice alone.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isobar_node_image_protocol::channel::{Channel, MemoryChannel, memory_pair};
use isobar_node_image_protocol::v1::{EngineMessage, NodeMessage};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::dice::Dice;

/// After so long without a sign of life a connection counts as broken on either side.
pub const KEEPALIVE: Duration = Duration::from_secs(10);

/// A cut is looked at so often while messages wait for its end.
const CUT_LOOK: Duration = Duration::from_millis(500);

/// What goes wrong between engine and nodes, in thousandths of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetRates {
    /// Breaks its session.
    pub lost: u64,
    /// Arrives twice.
    pub twice: u64,
    /// Overtakes those before it.
    pub overtakes: u64,
    /// Longest that a message is under way, in ms; the shortest is 1.
    pub delay_max_ms: u64,
}

/// What the network did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetFault {
    /// A lost message broke a session.
    Lost,
    /// A message arrived twice.
    Twice,
    /// A message overtook another.
    Overtook,
    /// A message or a call waited for the end of a cut.
    Cut,
}

impl NetFault {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Twice, Self::Overtook, Self::Cut];

    /// Its name in the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "net_lost",
            Self::Twice => "net_twice",
            Self::Overtook => "net_overtook",
            Self::Cut => "net_cut",
        }
    }
}

/// Between which moments which nodes are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// In ms since the run's begin.
    pub from_ms: u64,
    /// In ms since the run's begin.
    pub until_ms: u64,
    /// Every so manieth node; 1: all of them.
    pub every: u64,
}

/// The network; a clone is the same one.
#[derive(Clone)]
pub struct Net {
    shared: Arc<Mutex<Shared>>,
    began: Instant,
}

struct Shared {
    rates: NetRates,
    cuts: Vec<Cut>,
    dice: Dice,
    counts: BTreeMap<NetFault, u64>,
}

impl Net {
    /// A network from now on.
    pub fn new(seed: u64, rates: NetRates, cuts: Vec<Cut>) -> Self {
        let shared = Shared {
            rates,
            cuts,
            dice: Dice::new(seed, "net"),
            counts: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            began: Instant::now(),
        }
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&self) {
        let mut shared = self.lock();
        shared.cuts.clear();
        shared.rates = NetRates {
            delay_max_ms: shared.rates.delay_max_ms,
            ..NetRates::default()
        };
    }

    /// From now on every node is cut off, until [`Self::heal`].
    pub fn cut_all(&self) {
        let cut = Cut {
            from_ms: 0,
            until_ms: u64::MAX,
            every: 1,
        };
        self.lock().cuts.push(cut);
    }

    /// How often each fault happened.
    pub fn counts(&self) -> BTreeMap<NetFault, u64> {
        self.lock().counts.clone()
    }

    /// Whether a node is cut off now.
    pub fn is_cut(&self, node: u64) -> bool {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let shared = self.lock();
        shared
            .cuts
            .iter()
            .any(|cut| cut.from_ms <= now_ms && now_ms < cut.until_ms && node.is_multiple_of(cut.every))
    }

    /// One way of a call. False: it does not arrive.
    pub async fn travel(&self, node: u64) -> bool {
        let (lost, delay) = {
            let mut shared = self.lock();
            let lost = shared.dice.happens(shared.rates.lost);
            if lost {
                shared.count(NetFault::Lost);
            }
            (lost, shared.delay())
        };
        sleep(delay).await;
        if self.is_cut(node) {
            self.lock().count(NetFault::Cut);
            sleep(KEEPALIVE).await;
            return false;
        }
        !lost
    }

    /// A session's channel to `engine`, on the node's side.
    pub fn connect(
        &self,
        node: u64,
        engine: MemoryChannel<NodeMessage, EngineMessage>,
    ) -> MemoryChannel<NodeMessage, EngineMessage> {
        let (mine, theirs) = memory_pair();
        let relay = Relay {
            net: self.clone(),
            node,
            to_engine: Way::default(),
            to_node: Way::default(),
        };
        tokio::spawn(relay.run(theirs, engine));
        mine
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn count(&mut self, fault: NetFault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.dice.within(1, self.rates.delay_max_ms.max(1)))
    }
}

/// Messages under way in one direction, by when they arrive.
struct Way<T> {
    under_way: BTreeMap<(Instant, u64), T>,
    sent: u64,
    last: Option<Instant>,
}

impl<T> Default for Way<T> {
    fn default() -> Self {
        Self {
            under_way: BTreeMap::new(),
            sent: 0,
            last: None,
        }
    }
}

impl<T: Clone> Way<T> {
    /// False: it is lost.
    fn add(&mut self, message: T, shared: &mut Shared) -> bool {
        if shared.dice.happens(shared.rates.lost) {
            shared.count(NetFault::Lost);
            return false;
        }
        let overtakes = shared.dice.happens(shared.rates.overtakes);
        let twice = shared.dice.happens(shared.rates.twice);
        let at = Instant::now() + shared.delay();
        let in_order = self.last.map_or(at, |last| at.max(last));
        if overtakes && at < in_order {
            shared.count(NetFault::Overtook);
            self.put(at, message.clone());
        } else {
            self.last = Some(in_order);
            self.put(in_order, message.clone());
        }
        if twice {
            shared.count(NetFault::Twice);
            let again = in_order + shared.delay();
            self.put(again, message);
        }
        true
    }

    fn put(&mut self, at: Instant, message: T) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), message);
    }

    fn due(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    fn take_due(&mut self) -> Option<T> {
        let first = self
            .under_way
            .first_entry()
            .filter(|first| first.key().0 <= Instant::now())?;
        Some(first.remove())
    }
}

struct Relay {
    net: Net,
    node: u64,
    to_engine: Way<NodeMessage>,
    to_node: Way<EngineMessage>,
}

impl Relay {
    async fn run(
        mut self,
        mut node: MemoryChannel<EngineMessage, NodeMessage>,
        mut engine: MemoryChannel<NodeMessage, EngineMessage>,
    ) {
        loop {
            let due = self.to_engine.due().into_iter().chain(self.to_node.due()).min();
            tokio::select! {
                biased;
                sent = node.recv() => match sent {
                    Ok(message) => {
                        if !self.to_engine.add(message, &mut self.net.lock()) {
                            return;
                        }
                    }
                    Err(_) => break,
                },
                sent = engine.recv() => match sent {
                    Ok(message) => {
                        if !self.to_node.add(message, &mut self.net.lock()) {
                            return;
                        }
                    }
                    Err(_) => break,
                },
                () = until(due) => {
                    if self.net.is_cut(self.node) {
                        self.net.lock().count(NetFault::Cut);
                        sleep(CUT_LOOK).await;
                    } else if !self.deliver(&mut node, &mut engine).await {
                        break;
                    }
                }
            }
        }
        // Whoever is left hears of it late if the news cannot pass.
        if self.net.is_cut(self.node) {
            sleep(KEEPALIVE).await;
        } else {
            let delay = self.net.lock().delay();
            sleep(delay).await;
        }
    }

    async fn deliver(
        &mut self,
        node: &mut MemoryChannel<EngineMessage, NodeMessage>,
        engine: &mut MemoryChannel<NodeMessage, EngineMessage>,
    ) -> bool {
        while let Some(message) = self.to_engine.take_due() {
            if !matches!(timeout(KEEPALIVE, engine.send(message)).await, Ok(Ok(()))) {
                return false;
            }
        }
        while let Some(message) = self.to_node.take_due() {
            if !matches!(timeout(KEEPALIVE, node.send(message)).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
