//! What is true only while the engine runs: node sessions, status reports, what each step is doing. Never stored.

use std::collections::BTreeMap;
use std::sync::Mutex;

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId, OperationId, ReplicaId, SiteName, StepId};
use isobar_engine_model::observed::NodeReport;
use isobar_engine_model::quantity::Timestamp;
use isobar_node_image_protocol::v1::LogChunk;
use isobar_node_image_protocol::watch;
use tokio::sync::mpsc;

use crate::sweep::Swept;

/// At most so many commands wait for one session.
const COMMAND_QUEUE_MAX: usize = 16;

/// A machine of a cluster.
pub(crate) type NodeKey = (ClusterName, MachineId);

/// What a session is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// The machine's replicas have changed: send them.
    Replicas,
    /// Read output, from a line's number on or the last lines; answers go to the sender.
    Logs {
        replica: ReplicaId,
        from: Option<u64>,
        tail_lines: u32,
        answer: mpsc::Sender<LogChunk>,
    },
    /// The machine may not speak any more: close.
    Close,
}

/// What a replica uses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReplicaUsage {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_used_ms: u64,
}

#[derive(Default)]
struct NodeLive {
    heard: Option<Timestamp>,
    report: Option<NodeReport>,
    session: Option<(u64, AttemptNo, mpsc::Sender<Command>)>,
    endpoints: BTreeMap<u16, String>,
    usage: BTreeMap<ReplicaId, ReplicaUsage>,
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<NodeKey, NodeLive>,
    details: BTreeMap<(OperationId, StepId), (Timestamp, AttemptNo, String)>,
    drift: BTreeMap<ClusterName, Vec<String>>,
    sweeps: BTreeMap<(ClusterName, SiteName), Swept>,
    sessions_ever: u64,
    desired_ever: u64,
}

/// See the module.
pub(crate) struct Live {
    inner: Mutex<Inner>,
    progress: watch::Sender<u64>,
}

/// A session's place in [`Live`].
pub(crate) struct SessionSeat {
    pub(crate) commands: mpsc::Receiver<Command>,
    number: u64,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            progress: watch::Sender::new(0),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().expect("nothing panics with the lock"))
    }

    /// Seats a session; an older one of the same machine is told to close.
    pub(crate) fn seat(&self, node: &NodeKey, attempt: AttemptNo) -> SessionSeat {
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE_MAX);
        self.with(|inner| {
            inner.sessions_ever += 1;
            let number = inner.sessions_ever;
            let live = inner.nodes.entry(node.clone()).or_default();
            if let Some((_, _, old)) = live.session.replace((number, attempt, sender)) {
                // A full queue means that it is stuck; it closes when its channel does.
                let _ = old.try_send(Command::Close);
            }
            SessionSeat { commands, number }
        })
    }

    /// Frees the seat unless a newer session has it.
    pub(crate) fn leave(&self, node: &NodeKey, seat: &SessionSeat) {
        self.with(|inner| {
            if let Some(live) = inner.nodes.get_mut(node)
                && live
                    .session
                    .as_ref()
                    .is_some_and(|(number, _, _)| *number == seat.number)
            {
                live.session = None;
            }
        });
    }

    /// Keeps how a site's last sweep went.
    pub(crate) fn swept(&self, cluster: &ClusterName, site: &SiteName, swept: Swept) {
        let key = (cluster.clone(), site.clone());
        self.with(|inner| inner.sweeps.insert(key, swept));
    }

    /// How the last sweeps of a cluster's sites went, in name order.
    pub(crate) fn sweeps(&self, cluster: &ClusterName) -> Vec<(SiteName, Swept)> {
        self.with(|inner| {
            let of = inner.sweeps.iter().filter(|((name, _), _)| name == cluster);
            of.map(|((_, site), swept)| (site.clone(), swept.clone())).collect()
        })
    }

    /// Whether a session of this attempt is open.
    pub(crate) fn is_connected(&self, node: &NodeKey) -> bool {
        self.with(|inner| inner.nodes.get(node).is_some_and(|live| live.session.is_some()))
    }

    /// Tells a machine's session something; false if there is none that listens.
    pub(crate) fn tell(&self, node: &NodeKey, command: Command) -> bool {
        let sender = self.with(|inner| {
            inner
                .nodes
                .get(node)
                .and_then(|live| live.session.as_ref().map(|(_, _, sender)| sender.clone()))
        });
        sender.is_some_and(|sender| sender.try_send(command).is_ok())
    }

    /// Numbers the lists of replicas that nodes are sent, from 1.
    pub(crate) fn next_desired(&self) -> u64 {
        self.with(|inner| {
            inner.desired_ever += 1;
            inner.desired_ever
        })
    }

    pub(crate) fn heard(&self, node: &NodeKey, at: Timestamp) {
        self.with(|inner| inner.nodes.entry(node.clone()).or_default().heard = Some(at));
    }

    pub(crate) fn last_heard(&self, node: &NodeKey) -> Option<Timestamp> {
        self.with(|inner| inner.nodes.get(node).and_then(|live| live.heard))
    }

    pub(crate) fn report(&self, node: &NodeKey, report: NodeReport, usage: BTreeMap<ReplicaId, ReplicaUsage>) {
        self.with(|inner| {
            let live = inner.nodes.entry(node.clone()).or_default();
            live.report = Some(report);
            live.usage = usage;
        });
    }

    /// The node's last report with the addresses that the provider gave.
    pub(crate) fn node_report(&self, node: &NodeKey) -> Option<NodeReport> {
        self.with(|inner| {
            let live = inner.nodes.get(node)?;
            let mut report = live.report.clone()?;
            report.heard = live.heard.unwrap_or(report.heard);
            report.endpoints = live.endpoints.clone();
            Some(report)
        })
    }

    /// Where others reach a machine's open ports, as its provider said last; empty where it has not said.
    pub(crate) fn endpoints(&self, node: &NodeKey) -> BTreeMap<u16, String> {
        self.with(|inner| {
            inner
                .nodes
                .get(node)
                .map(|live| live.endpoints.clone())
                .unwrap_or_default()
        })
    }

    pub(crate) fn endpoints_are(&self, node: &NodeKey, endpoints: BTreeMap<u16, String>) {
        self.with(|inner| inner.nodes.entry(node.clone()).or_default().endpoints = endpoints);
    }

    pub(crate) fn usage(&self, node: &NodeKey, replica: &ReplicaId) -> ReplicaUsage {
        self.with(|inner| {
            inner
                .nodes
                .get(node)
                .and_then(|live| live.usage.get(replica).copied())
                .unwrap_or_default()
        })
    }

    pub(crate) fn forget(&self, node: &NodeKey) {
        self.with(|inner| inner.nodes.remove(node));
    }

    /// What a step is doing, in words.
    pub(crate) fn step_does(&self, at: Timestamp, step: &(OperationId, StepId), attempt: AttemptNo, what: String) {
        let news = self.with(|inner| match inner.details.get_mut(step) {
            Some((_, number, detail)) if *detail == what && *number == attempt => false,
            Some((_, number, detail)) => {
                (*number, *detail) = (attempt, what);
                true
            }
            None => {
                inner.details.insert(step.clone(), (at, attempt, what));
                true
            }
        });
        if news {
            self.progressed();
        }
    }

    pub(crate) fn step_detail(&self, step: &(OperationId, StepId)) -> Option<(Timestamp, AttemptNo, String)> {
        self.with(|inner| inner.details.get(step).cloned())
    }

    pub(crate) fn step_ended(&self, step: &(OperationId, StepId)) {
        self.with(|inner| inner.details.remove(step));
        self.progressed();
    }

    /// What of a cluster is not as its spec says, as of the last look.
    pub(crate) fn drift_is(&self, cluster: &ClusterName, drift: Vec<String>) {
        self.with(|inner| inner.drift.insert(cluster.clone(), drift));
    }

    /// Absent: nobody has looked since the engine started.
    pub(crate) fn drift(&self, cluster: &ClusterName) -> Option<Vec<String>> {
        self.with(|inner| inner.drift.get(cluster).cloned())
    }

    /// Wakes whoever follows an operation.
    pub(crate) fn progressed(&self) {
        self.progress.send_modify(|revision| *revision += 1);
    }

    pub(crate) fn watch_progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }
}
