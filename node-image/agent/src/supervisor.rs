//! stub

use std::sync::{Arc, Mutex};

use isobar_node_image_protocol::v1::{Desired, ReplicaStatus};
use tokio::sync::watch;

use crate::lease::Standing;
use crate::runtime::Runtime;

/// stub
pub struct Supervisor {
    runtime: Arc<dyn Runtime>,
    revision: Mutex<u64>,
    changes: watch::Sender<u64>,
}

impl Supervisor {
    /// stub
    pub fn new(runtime: Arc<dyn Runtime>, _standing: watch::Receiver<Standing>) -> Self {
        Self { runtime, revision: Mutex::new(0), changes: watch::Sender::new(0) }
    }
    /// stub
    pub fn apply(&self, desired: Desired) {
        *self.revision.lock().unwrap() = desired.revision;
    }
    /// stub
    pub fn revision(&self) -> u64 {
        *self.revision.lock().unwrap()
    }
    /// stub
    pub fn statuses(&self) -> Vec<ReplicaStatus> {
        vec![]
    }
    /// stub
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
    /// stub
    pub fn knows(&self, _: &str) -> bool {
        false
    }
    /// stub
    pub fn has_ended(&self, _: &str) -> bool {
        true
    }
    /// stub
    pub fn runtime(&self) -> &dyn Runtime {
        self.runtime.as_ref()
    }
    /// stub
    pub async fn drain(&self) {}
}
