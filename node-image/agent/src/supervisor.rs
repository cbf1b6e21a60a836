//! Keeps what the engine desires running: one task a replica, which pulls, starts, watches, restarts and stops it.
//! Lives as long as the node; sessions come and go. Never places, never asks the engine anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isobar_node_image_protocol::v1::{Desired, Replica, ReplicaState, ReplicaStatus};
use isobar_node_image_protocol::watch;
use tokio::task::JoinHandle;

use crate::lease::Standing;
use crate::runtime::Runtime;

mod board;
mod health;
mod order;
mod policy;
mod replica;
pub mod simulated;
#[cfg(test)]
mod tests;

use board::Board;
use order::Order;
use replica::{Wish, World};

/// Replicas on one node; more are reported as failed.
pub const REPLICAS_MAX: usize = 256;

/// The replicas of one node.
pub struct Supervisor {
    runtime: Arc<dyn Runtime>,
    standing: watch::Receiver<Standing>,
    board: Arc<Board>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    revision: u64,
    draining: bool,
    tasks: BTreeMap<String, Task>,
}

struct Task {
    wish: watch::Sender<Wish>,
    handle: JoinHandle<()>,
}

impl Supervisor {
    /// No replicas yet. Fenced ones will run while `standing` is leased.
    pub fn new(runtime: Arc<dyn Runtime>, standing: watch::Receiver<Standing>) -> Self {
        Self {
            runtime,
            standing,
            board: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// Takes up what is desired: starts what is new, stops what is stopping or no longer there. An older revision than
    /// the one taken up changes nothing; the same one neither.
    pub fn apply(&self, desired: Desired) {
        let mut state = self.lock();
        if desired.revision < state.revision || state.draining {
            return;
        }
        state.revision = desired.revision;
        state.tasks.retain(|_, task| !task.handle.is_finished());
        let mut left: Vec<String> = state.tasks.keys().cloned().collect();
        for replica in desired.replicas {
            left.retain(|id| *id != replica.id);
            let wish = if replica.stopping { Wish::Stop } else { Wish::Run };
            match state.tasks.get(&replica.id) {
                Some(task) => task.ask(wish),
                None => {
                    let full = state.tasks.len() >= REPLICAS_MAX;
                    let id = replica.id.clone();
                    let task = self.take_up(replica, wish, full);
                    state.tasks.insert(id, task);
                }
            }
        }
        for id in left {
            if let Some(task) = state.tasks.get(&id) {
                task.ask(Wish::Leave);
            }
        }
    }

    /// The highest revision that was taken up.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Every replica's status, in id order.
    pub fn statuses(&self) -> Vec<ReplicaStatus> {
        self.board.statuses()
    }

    /// Changes whenever a status does; not for mere usage.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.board.changes()
    }

    /// Whether this replica was ever given to the node and has not left it.
    pub fn knows(&self, id: &str) -> bool {
        self.board.get(id).is_some()
    }

    /// Whether this replica writes nothing more.
    pub fn has_ended(&self, id: &str) -> bool {
        self.board.get(id).is_none_or(|status| match status.state() {
            ReplicaState::ReplicaSucceeded | ReplicaState::ReplicaFailed | ReplicaState::ReplicaStopped => true,
            ReplicaState::ReplicaStarting | ReplicaState::ReplicaRunning | ReplicaState::ReplicaBackOff => false,
        })
    }

    /// What runs the containers.
    pub fn runtime(&self) -> &dyn Runtime {
        self.runtime.as_ref()
    }

    /// Stops everything and takes up nothing more; returns when all of it is stopped.
    pub async fn drain(&self) {
        let mut changes = self.changes();
        {
            let mut state = self.lock();
            state.draining = true;
            for task in state.tasks.values() {
                task.ask(Wish::Stop);
            }
        }
        while !self.board.all_stopped() && changes.changed().await.is_ok() {}
    }

    fn take_up(&self, replica: Replica, wish: Wish, full: bool) -> Task {
        let id = replica.id.clone();
        let order = if full {
            Err(format!("this node runs {REPLICAS_MAX} replicas already"))
        } else {
            Order::read(replica)
        };
        let (sender, wishes) = watch::channel(wish);
        let world = World {
            runtime: self.runtime.clone(),
            board: self.board.clone(),
            wishes,
            standing: self.standing.clone(),
        };
        Task {
            wish: sender,
            handle: tokio::spawn(replica::supervise(id, order, world)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// A replica that is stopping never runs again; one that left may be asked for its end once more.
    fn ask(&self, wish: Wish) {
        self.wish.send_if_modified(|asked| match (*asked, wish) {
            (Wish::Stop | Wish::Leave, Wish::Run) => std::mem::replace(asked, Wish::Stop) != Wish::Stop,
            (_, wish) => std::mem::replace(asked, wish) != wish,
        });
    }
}
