//! Looks all along whether each shard has an engine that works, and how long one is without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use isobar_engine_model::id::{ClusterName, ShardId, shard_of};
use tokio::time::{Instant, sleep};

use crate::invariant::Invariant;
use crate::process::{Living, Processes};
use crate::witness::Witness;

/// However it came to be without one, a shard has an engine again within so long, while some process is well: a dead
/// holder's lease (10 s), what one that lives may take to end its work (20 s), and looks in between that fail.
pub const HELD_WITHIN: Duration = Duration::from_secs(45);
/// What a process that stops gives back is another's within so long: two looks (2.5 s each), and reading the shard.
pub const GIVEN_WITHIN: Duration = Duration::from_secs(8);
/// So long after a process died, froze or was cut off, what falls to it may still wait for its lease.
const ROUGH_FOR: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// See the module. A clone is the same one.
#[derive(Clone)]
pub struct Held(Arc<Mutex<Shared>>);

struct Shared {
    /// Whether the store takes all that is given back.
    store_is_true: bool,
    /// Since when each shard is without an engine that works.
    without: BTreeMap<ShardId, Instant>,
    /// When a process last died, froze, woke, lost its store or found it again.
    rough: Option<Instant>,
    /// When a process last gave everything back.
    given: Option<Instant>,
}

impl Held {
    /// Nothing was seen yet.
    pub fn new(store_is_true: bool) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            store_is_true,
            without: BTreeMap::new(),
            rough: None,
            given: None,
        })))
    }

    /// Something became of a process that the others learn only from its lease.
    pub fn rough(&self) {
        self.lock().rough = Some(Instant::now());
    }

    /// A process has stopped, having given everything back.
    pub fn given(&self) {
        let mut shared = self.lock();
        if shared.store_is_true {
            shared.given = Some(Instant::now());
        }
    }

    /// Looks until dropped.
    pub async fn watch(self, living: Living, witness: Witness) {
        let mut before = BTreeMap::new();
        loop {
            sleep(LOOK_EVERY).await;
            let processes = living.borrow().clone();
            let well: BTreeMap<u64, bool> = processes
                .values()
                .map(|process| (process.number, process.is_well()))
                .collect();
            let changed = |(number, was): (&u64, &bool)| well.get(number).is_some_and(|is| is != was);
            if before.iter().any(changed) {
                self.rough();
            }
            let somebody = well.values().any(|is_well| *is_well);
            before = well;
            if !somebody {
                self.lock().without.clear();
                continue;
            }
            let without = without(&processes);
            for shard in ShardId::all() {
                if let Some(what) = self.lock().look(shard, !without.contains(&shard)) {
                    witness.violated(Invariant::Held, what);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// What is wrong with a shard that has an engine or not, once.
    fn look(&mut self, shard: ShardId, has: bool) -> Option<String> {
        if has {
            self.without.remove(&shard);
            return None;
        }
        let since = *self.without.entry(shard).or_insert_with(Instant::now);
        let calm = self.rough.is_none_or(|rough| rough.elapsed() > ROUGH_FOR);
        let given = self
            .given
            .filter(|given| calm && since <= *given && given.elapsed() > GIVEN_WITHIN);
        let since_rough = self.rough.map_or(since, |rough| rough.max(since));
        let what = if let Some(given) = given {
            let s = given.elapsed().as_secs();
            format!("shard {shard} was given back {s} s ago and is nobody's")
        } else if since_rough.elapsed() > HELD_WITHIN {
            let s = since.elapsed().as_secs();
            format!("shard {shard} is without an engine for {s} s")
        } else {
            return None;
        };
        self.without.insert(shard, Instant::now());
        self.given = None;
        Some(what)
    }
}

/// The shards that no process has an engine for which works.
pub fn without(processes: &Processes) -> BTreeSet<ShardId> {
    let lacks = |cluster: &ClusterName| !processes.values().any(|process| process.works_for(cluster));
    let without = shards().iter().filter(|(_, cluster)| lacks(cluster));
    without.map(|(shard, _)| *shard).collect()
}

/// A name in each shard.
fn shards() -> &'static BTreeMap<ShardId, ClusterName> {
    static SHARDS: OnceLock<BTreeMap<ShardId, ClusterName>> = OnceLock::new();
    SHARDS.get_or_init(|| {
        let named = |shard: ShardId| {
            let mut names = (0..).map(|number| ClusterName::new(format!("probe-{number}")).expect("a name"));
            names
                .find(|name| shard_of(name) == shard)
                .expect("every shard has names")
        };
        ShardId::all().map(|shard| (shard, named(shard))).collect()
    })
}
