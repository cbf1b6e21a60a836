//! The hosts of a run: on each one process after the other, killed, frozen or stopped as the scenario has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isobar_engine_control::Fleet;
use tokio::time::{sleep, timeout};

use crate::held::Held;
use crate::life::{Crossing, Life, Moment};
use crate::scenario::{Host, Part};
use crate::world::World;

/// Before a process that could not start is started again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A process that is told to stop has so long; then it is killed, as a supervisor would.
const STOP_MAX: Duration = Duration::from_secs(60);

/// See the module. A clone is the same ones.
#[derive(Clone)]
pub struct Hosts {
    world: Arc<World>,
    held: Held,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    lives: BTreeMap<u64, Life>,
    /// Those that stopped by themselves when they were told to.
    stopped: BTreeSet<u64>,
    /// Those that ever stood still.
    frozen: BTreeSet<u64>,
}

/// How a run's processes ended.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// Where processes were killed.
    pub killed: Vec<(Crossing, Moment)>,
    /// How many stopped by themselves.
    pub stopped: u64,
    /// How many stood still for a while.
    pub frozen: u64,
}

impl Hosts {
    /// The hosts of a world.
    pub fn new(world: Arc<World>, held: Held) -> Self {
        Self {
            world,
            held,
            shared: Arc::default(),
        }
    }

    /// Carries out one host's part of the scenario, then has a process run there.
    pub async fn operate(self, host: Host) {
        sleep(Duration::from_millis(host.starts_after_ms)).await;
        for part in &host.parts {
            self.play(&host, part).await;
            sleep(Duration::from_millis(part.pause_ms)).await;
        }
        self.keep(&host).await;
    }

    /// Has a process run on a host: the one that does, or a new one that nothing befalls.
    pub async fn keep(&self, host: &Host) {
        loop {
            let there = self.world.living().borrow().get(&host.address).cloned();
            if there.is_some_and(|process| !process.life.is_over()) {
                return;
            }
            let (number, life) = self.born(Life::long());
            let place = host.place(None);
            if !matches!(self.world.start_fleet(number, &place, &life).await, Some(Ok(_))) {
                sleep(START_AGAIN_AFTER).await;
            }
        }
    }

    /// Nothing befalls processes any more: whoever stands still goes on, and whoever listens nowhere is killed.
    pub fn calm(&self) {
        let living = self.world.living().borrow().clone();
        let lives = self.lock().lives.clone();
        self.held.rough();
        for (number, life) in lives {
            life.spare();
            if living.values().all(|process| process.number != number) {
                life.end();
            }
            self.wake(number, &life);
        }
    }

    /// How processes ended so far.
    pub fn ends(&self) -> Ends {
        let shared = self.lock();
        Ends {
            killed: shared.lives.values().filter_map(Life::killed_at).collect(),
            stopped: u64::try_from(shared.stopped.len()).unwrap_or(u64::MAX),
            frozen: u64::try_from(shared.frozen.len()).unwrap_or(u64::MAX),
        }
    }

    fn born(&self, life: Life) -> (u64, Life) {
        let number = self.world.next_process();
        self.lock().lives.insert(number, life.clone());
        (number, life)
    }

    async fn play(&self, host: &Host, part: &Part) {
        let (number, life) = self.born(Life::with(part.point, part.turn));
        tokio::spawn(self.clone().watch(number, life.clone(), part.thaw_after_ms));
        match self.world.start_fleet(number, &host.place(part.cut), &life).await {
            Some(Ok(fleet)) => {
                let _stays = timeout(Duration::from_millis(part.stays_ms), life.ended()).await;
                life.awake().await;
                if !life.is_over() {
                    self.stop(host, number, (fleet, life.clone()));
                    life.ended().await;
                }
            }
            Some(Err(_)) => sleep(START_AGAIN_AFTER).await,
            None => {}
        }
    }

    /// Sees what befalls a process, and wakes it when it has stood still for so long.
    async fn watch(self, number: u64, life: Life, thaw_after_ms: u64) {
        loop {
            life.stopped().await;
            if self.lock().stopped.contains(&number) {
                return;
            }
            self.held.rough();
            if life.is_over() {
                return self.say(number, "is no more");
            }
            self.say(number, "stands still");
            self.lock().frozen.insert(number);
            sleep(Duration::from_millis(thaw_after_ms)).await;
            self.wake(number, &life);
        }
    }

    fn wake(&self, number: u64, life: &Life) {
        if life.is_frozen() {
            self.say(number, "goes on");
            self.held.rough();
            self.world.witness.woke(number);
            life.thaw();
        }
    }

    /// Tells a process to stop, and lets a task of its own see to it: it goes on whatever becomes of the operator.
    fn stop(&self, host: &Host, number: u64, (fleet, life): (Arc<Fleet>, Life)) {
        self.say(number, "is told to stop");
        let reached = self.world.hang_up(&host.address);
        let hosts = self.clone();
        tokio::spawn(async move {
            if timeout(STOP_MAX, fleet.shutdown()).await.is_ok() && !life.is_over() {
                hosts.lock().stopped.insert(number);
                if reached.is_some_and(|process| process.is_well()) {
                    hosts.held.given();
                }
            }
            life.end();
        });
    }

    fn say(&self, number: u64, what: &str) {
        self.world
            .witness
            .note("operator", format_args!("engine {number} {what}"));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
