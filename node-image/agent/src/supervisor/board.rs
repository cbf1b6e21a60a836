//! What is said of every replica. Written by the replicas' tasks, read by sessions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use isobar_node_image_protocol::v1::{ReplicaState, ReplicaStatus};
use isobar_node_image_protocol::watch;

use crate::runtime::Usage;

/// The statuses, and a number that grows with every change of one.
pub(super) struct Board {
    statuses: Mutex<BTreeMap<String, ReplicaStatus>>,
    changes: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            statuses: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Board {
    /// Posts a status; usage stays what it was.
    pub(super) fn post(&self, mut status: ReplicaStatus) {
        let mut statuses = self.lock();
        if let Some(before) = statuses.get(&status.id) {
            status.memory_bytes = before.memory_bytes;
            status.cpu_used_ms = before.cpu_used_ms;
            if *before == status {
                return;
            }
        }
        statuses.insert(status.id.clone(), status);
        drop(statuses);
        self.bump();
    }

    /// Posts what a replica uses, which is no change.
    pub(super) fn post_usage(&self, id: &str, usage: Usage) {
        if let Some(status) = self.lock().get_mut(id) {
            status.memory_bytes = usage.memory_bytes;
            status.cpu_used_ms = usage.cpu_ms;
        }
    }

    pub(super) fn remove(&self, id: &str) {
        if self.lock().remove(id).is_some() {
            self.bump();
        }
    }

    pub(super) fn all_stopped(&self) -> bool {
        self.lock()
            .values()
            .all(|status| status.state() == ReplicaState::ReplicaStopped)
    }

    pub(super) fn get(&self, id: &str) -> Option<ReplicaStatus> {
        self.lock().get(id).cloned()
    }

    pub(super) fn statuses(&self) -> Vec<ReplicaStatus> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn bump(&self) {
        self.changes.send_modify(|change| *change += 1);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ReplicaStatus>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
