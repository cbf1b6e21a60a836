//! Simulated nodes: one for each machine that the cloud runs. They join with the token they were given, renew their
//! lease, run what they are told to, and outlive engines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isobar_engine_control::Engine;
use isobar_engine_control::node::Peer;
use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId, ResourceHandle};
use isobar_node_image_protocol::channel::{Channel, memory_pair};
use isobar_node_image_protocol::identity::Identity;
use isobar_node_image_protocol::v1::engine_message::Kind as FromEngine;
use isobar_node_image_protocol::v1::node_message::Kind as ToEngine;
use isobar_node_image_protocol::v1::{
    EngineMessage, Hello, JoinRequest, NodeMessage, Renew, Replica, ReplicaState, ReplicaStatus, Restart, Status,
};
use isobar_providers_sim::{MachineChange, SimCloud};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long things take on simulated nodes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From a machine's start to its node's first call.
    pub boot: Duration,
    /// From being told to run a replica to its being healthy.
    pub start: Duration,
    /// From being told to stop a replica to its end.
    pub stop: Duration,
    /// A job's replica runs so long.
    pub job: Duration,
    /// Between two signs of life.
    pub beat: Duration,
    /// Before another try to join or to open a session.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            boot: Duration::from_millis(1500),
            start: Duration::from_millis(700),
            stop: Duration::from_millis(300),
            job: Duration::from_millis(1000),
            beat: Duration::from_millis(500),
            retry: Duration::from_millis(400),
        }
    }
}

impl Pace {
    /// Nothing takes any time; signs of life come as often as from real nodes: for benchmarks on a real clock.
    pub fn instant() -> Self {
        Self {
            boot: Duration::ZERO,
            start: Duration::ZERO,
            stop: Duration::ZERO,
            job: Duration::ZERO,
            beat: Duration::from_secs(6),
            retry: Duration::from_millis(400),
        }
    }
}

/// The engine that lives now, with its life.
pub type Living = watch::Receiver<Option<(Arc<Engine>, crate::mortal::Life)>>;

/// What nodes did, for checks.
#[derive(Debug, Default)]
pub struct Deeds {
    /// Which attempts of a machine ever joined.
    pub joined: BTreeMap<MachineId, BTreeSet<u32>>,
    /// Healthy replicas now, by workload.
    pub healthy: BTreeMap<String, BTreeSet<String>>,
    /// The fewest healthy replicas since it was asked for last, by workload.
    pub fewest: BTreeMap<String, usize>,
    /// Every replica that ever became healthy.
    pub ever: BTreeSet<String>,
}

impl Deeds {
    fn set(&mut self, workload: &str, replica: &str, healthy: bool) {
        let set = self.healthy.entry(workload.to_owned()).or_default();
        if healthy {
            set.insert(replica.to_owned());
            self.ever.insert(replica.to_owned());
        } else {
            set.remove(replica);
        }
        let now = set.len();
        let fewest = self.fewest.entry(workload.to_owned()).or_insert(now);
        *fewest = now.min(*fewest);
    }
}

/// Runs a node for each machine of the cloud, until dropped.
pub async fn populate(cloud: SimCloud, engine: Living, deeds: Arc<Mutex<Deeds>>, pace: Pace) {
    let mut events = cloud.events();
    let mut nodes: BTreeMap<ResourceHandle, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        let event = events.next().await;
        match event.change {
            MachineChange::Running => {
                let Some(machine) = cloud.machine(&event.handle) else {
                    continue;
                };
                if machine.tags().is_none() {
                    continue;
                }
                let identity: Identity = serde_json::from_slice(&machine.identity.0).expect("the engine wrote it");
                let mut node = Node::new(&identity, engine.clone(), deeds.clone(), pace);
                nodes.insert(event.handle, tokio::spawn(async move { node.live().await }));
            }
            MachineChange::Stopped | MachineChange::Gone => {
                if let Some(node) = nodes.remove(&event.handle) {
                    node.abort();
                    // Dropping the node, below, ends its replicas.
                    let _ = node.await;
                }
            }
        }
    }
}

struct Running {
    replica: Replica,
    since: Instant,
    stopping: Option<Instant>,
}

struct Node {
    peer: Peer,
    token: Vec<u8>,
    csr_der: Vec<u8>,
    engine: Living,
    deeds: Arc<Mutex<Deeds>>,
    replicas: BTreeMap<String, Running>,
    revision: u64,
    renewals: u64,
    pace: Pace,
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut deeds = self.deeds.lock().expect("no panic with the lock");
        for running in self.replicas.values() {
            deeds.set(&running.replica.workload, &running.replica.id, false);
        }
    }
}

impl Node {
    fn new(identity: &Identity, engine: Living, deeds: Arc<Mutex<Deeds>>, pace: Pace) -> Self {
        let token = unhex(&identity.token_hex);
        let credential = token.split(|byte| *byte == b'\n').next().expect("a first part");
        let credential = String::from_utf8(credential.to_vec()).expect("keys are text");
        let mut parts = credential.split('/');
        let mut part = || parts.next().expect("cluster/machine/attempt");
        let peer = Peer {
            cluster: ClusterName::new(part()).expect("a name"),
            machine: MachineId::new(part()),
            attempt: AttemptNo(part().parse().expect("a number")),
        };
        let key = rcgen::KeyPair::generate().expect("a key");
        let request = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .expect("a request");
        let csr_der = request.der().to_vec();
        Self {
            peer,
            token,
            csr_der,
            engine,
            deeds,
            replicas: BTreeMap::new(),
            revision: 0,
            renewals: 0,
            pace,
        }
    }

    async fn live(&mut self) {
        tokio::time::sleep(self.pace.boot).await;
        let mut joined = false;
        loop {
            let living = self.engine.borrow_and_update().clone();
            if let Some((engine, life)) = living {
                tokio::select! {
                    biased;
                    () = life.ended() => {}
                    goes_on = self.meet(&engine, &mut joined) => if !goes_on { return },
                }
            }
            tokio::time::sleep(self.pace.retry).await;
        }
    }

    /// Joins if need be and holds a session. False: the machine is not wanted any more.
    async fn meet(&mut self, engine: &Arc<Engine>, joined: &mut bool) -> bool {
        if !*joined {
            let request = JoinRequest {
                token: self.token.clone(),
                csr_der: self.csr_der.clone(),
                agent_version: "sim".into(),
                boot_ms: 1,
            };
            if engine.join(&request).await.is_err() {
                return true;
            }
            *joined = true;
            let mut deeds = self.deeds.lock().expect("no panic with the lock");
            deeds
                .joined
                .entry(self.peer.machine.clone())
                .or_default()
                .insert(self.peer.attempt.0);
        }
        let (mine, theirs) = memory_pair::<NodeMessage, EngineMessage>();
        let (engine, peer) = (engine.clone(), self.peer.clone());
        let session = tokio::spawn(async move { engine.session(peer, Box::new(theirs)).await });
        let goes_on = self.talk(Box::new(mine)).await;
        session.abort();
        goes_on
    }

    async fn talk(&mut self, mut channel: Box<dyn Channel<NodeMessage, EngineMessage>>) -> bool {
        let hello = Hello {
            agent_version: "sim".into(),
            kernel: "sim".into(),
            joined_boot_ms: 1,
        };
        if channel
            .send(NodeMessage {
                kind: Some(ToEngine::Hello(hello)),
            })
            .await
            .is_err()
        {
            return true;
        }
        loop {
            let message = tokio::select! {
                biased;
                message = channel.recv() => message,
                () = tokio::time::sleep(self.pace.beat) => {
                    self.renewals += 1;
                    let renew = ToEngine::Renew(Renew { sequence: self.renewals });
                    let status = ToEngine::Status(self.status());
                    for kind in [renew, status] {
                        if channel.send(NodeMessage { kind: Some(kind) }).await.is_err() {
                            return true;
                        }
                    }
                    continue;
                }
            };
            match message {
                Ok(EngineMessage {
                    kind: Some(FromEngine::Desired(desired)),
                }) if desired.revision > self.revision => {
                    self.revision = desired.revision;
                    self.take_up(desired.replicas);
                }
                Ok(EngineMessage {
                    kind: Some(FromEngine::PowerOff(_)),
                }) => return false,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
    }

    fn take_up(&mut self, wanted: Vec<Replica>) {
        let now = Instant::now();
        let ids: BTreeSet<String> = wanted.iter().map(|replica| replica.id.clone()).collect();
        let deeds = self.deeds.clone();
        let mut deeds = deeds.lock().expect("no panic with the lock");
        self.replicas.retain(|id, running| {
            let stays = ids.contains(id);
            if !stays {
                deeds.set(&running.replica.workload, id, false);
            }
            stays
        });
        for replica in wanted {
            let (id, stopping) = (replica.id.clone(), replica.stopping);
            let running = self.replicas.entry(id).or_insert(Running {
                replica,
                since: now,
                stopping: None,
            });
            if stopping && running.stopping.is_none() {
                running.stopping = Some(now);
                deeds.set(&running.replica.workload, &running.replica.id, false);
            }
        }
    }

    fn status(&self) -> Status {
        let pace = self.pace;
        let mut deeds = self.deeds.lock().expect("no panic with the lock");
        let replicas = self.replicas.values().map(|running| {
            let is_job = running.replica.restart() != Restart::Always;
            let state = match running.stopping {
                Some(since) if since.elapsed() >= pace.stop => ReplicaState::ReplicaStopped,
                Some(_) => ReplicaState::ReplicaRunning,
                None if running.since.elapsed() < pace.start => ReplicaState::ReplicaStarting,
                None if is_job && running.since.elapsed() >= pace.start + pace.job => ReplicaState::ReplicaSucceeded,
                None => ReplicaState::ReplicaRunning,
            };
            let healthy = state == ReplicaState::ReplicaRunning && running.stopping.is_none();
            deeds.set(&running.replica.workload, &running.replica.id, healthy);
            ReplicaStatus {
                id: running.replica.id.clone(),
                state: state.into(),
                healthy,
                ..ReplicaStatus::default()
            }
        });
        Status {
            desired_revision: self.revision,
            replicas: replicas.collect(),
            ..Status::default()
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .expect("hex")
    };
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
        .collect()
}
