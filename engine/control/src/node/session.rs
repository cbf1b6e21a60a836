//! A session with one node: renews its lease, tells it what to run, takes its reports. Ends when the channel does, when
//! a newer session of the same machine begins, or when the machine may not speak any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_engine_model::id::ReplicaId;
use isobar_engine_model::observed::{MachinePhase, NodeReport};
use isobar_node_image_protocol::channel::{Channel, Closed};
use isobar_node_image_protocol::names::machine_dns_name;
use isobar_node_image_protocol::v1::engine_message::Kind as ToNode;
use isobar_node_image_protocol::v1::node_message::Kind as FromNode;
use isobar_node_image_protocol::v1::{self, EngineMessage, LogChunk, NodeMessage};
use tokio::sync::mpsc;

use super::{Peer, message};
use crate::authority::{NODE_CERTIFICATE_VALID_MS, SignedRequest};
use crate::engine::Engine;
use crate::live::{Command, NodeKey, ReplicaUsage, SessionSeat};
use crate::record::{MachineRecord, ReplicaRecord, attempt_key, machine_key, machine_prefix, replica_key};

/// The engine's end of a channel to a node.
pub type NodeChannel = Box<dyn Channel<EngineMessage, NodeMessage>>;

/// At most so many readers of output at a time.
const LOG_READERS_MAX: usize = 32;

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    /// The node is gone, or another session of it began.
    #[error("the session is closed")]
    Closed,
    /// The machine was replaced or is being deleted.
    #[error("the machine may not speak any more")]
    Revoked,
    /// The engine is stopping or cannot write its store.
    #[error("the engine is stopping")]
    Stopping,
}

impl From<Closed> for SessionEnd {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

struct Session<'a> {
    engine: &'a Engine,
    peer: Peer,
    node: NodeKey,
    channel: NodeChannel,
    hello: v1::Hello,
    readers: BTreeMap<u64, mpsc::Sender<LogChunk>>,
    readers_ever: u64,
}

impl Engine {
    /// Speaks with a node until the session ends.
    pub async fn session(self: &Arc<Self>, peer: Peer, channel: NodeChannel) -> SessionEnd {
        if !self.is_current(&peer) {
            return SessionEnd::Revoked;
        }
        let node: NodeKey = (peer.cluster.clone(), peer.machine.clone());
        let mut seat = self.live.seat(&node, peer.attempt);
        let mut session = Session {
            engine: self,
            peer,
            node: node.clone(),
            channel,
            hello: v1::Hello::default(),
            readers: BTreeMap::new(),
            readers_ever: 0,
        };
        let end = tokio::select! {
            biased;
            () = self.stop.cancelled() => SessionEnd::Stopping,
            end = session.run(&mut seat) => end,
        };
        self.live.leave(&node, &seat);
        tracing::debug!(cluster = %node.0, machine = %node.1, %end, "session ended");
        end
    }
}

impl Session<'_> {
    async fn run(&mut self, seat: &mut SessionSeat) -> SessionEnd {
        loop {
            let step = tokio::select! {
                biased;
                message = self.channel.recv() => match message {
                    Ok(NodeMessage { kind: Some(kind) }) => self.hear(kind).await,
                    // A message of a later version: nothing to do.
                    Ok(NodeMessage { kind: None }) => Ok(()),
                    Err(closed) => Err(closed.into()),
                },
                command = seat.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => Err(SessionEnd::Closed),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// That the peer's attempt is still the one that its machine stands for: compared at every message and command, as a
    /// session may outlive the right to it.
    async fn admit(&mut self) -> Result<(), SessionEnd> {
        if self.engine.is_current(&self.peer) {
            return Ok(());
        }
        self.send(ToNode::PowerOff(v1::PowerOff {})).await?;
        Err(SessionEnd::Revoked)
    }

    async fn hear(&mut self, kind: FromNode) -> Result<(), SessionEnd> {
        self.admit().await?;
        match kind {
            FromNode::Hello(hello) => {
                self.hello = hello;
                self.ready().await?;
                self.send_desired().await
            }
            FromNode::Renew(renew) => self.renew(&renew).await,
            FromNode::Status(status) => self.report(status).await,
            FromNode::Log(chunk) => {
                self.pass_on(chunk);
                Ok(())
            }
            FromNode::Certificate(request) => self.renew_certificate(&request).await,
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), SessionEnd> {
        self.admit().await?;
        match command {
            Command::Replicas => self.send_desired().await,
            // A newer session of the same attempt took its seat.
            Command::Close => Err(SessionEnd::Closed),
            Command::Logs {
                replica,
                from,
                tail_lines,
                answer,
            } => {
                let request = v1::LogRequest {
                    replica: replica.to_string(),
                    from,
                    tail_lines,
                    ..v1::LogRequest::default()
                };
                self.read_logs(request, answer).await
            }
        }
    }

    async fn send(&mut self, kind: ToNode) -> Result<(), SessionEnd> {
        Ok(self.channel.send(EngineMessage { kind: Some(kind) }).await?)
    }

    /// The node has said hello: its machine is ready.
    async fn ready(&mut self) -> Result<(), SessionEnd> {
        let now = self.engine.clock.now();
        self.engine.live.heard(&self.node, now);
        let (key, attempt) = (machine_key(&self.peer.cluster, &self.peer.machine), self.peer.attempt);
        let handle = {
            let state = self.engine.ledger.read();
            let record = state
                .attempts
                .get(&attempt_key(&self.peer.cluster, &self.peer.machine, attempt));
            record.and_then(|record| record.handle().cloned())
        };
        let written = self.engine.ledger.write(move |draft| {
            let Some(record) = draft.get::<MachineRecord>(&key) else {
                return;
            };
            let mut record = record.clone();
            let since = now;
            let handle = match &record.machine.phase {
                MachinePhase::Booting { handle, .. }
                | MachinePhase::Lost {
                    handle: Some(handle), ..
                } => handle.clone(),
                MachinePhase::Creating { .. } | MachinePhase::Lost { handle: None, .. } => match handle {
                    Some(handle) => handle,
                    // Its answer is not committed yet: it is ready when that is.
                    None => return,
                },
                MachinePhase::Ready { .. }
                | MachinePhase::Wanted { .. }
                | MachinePhase::Releasing { .. }
                | MachinePhase::Gone { .. } => return,
            };
            let was_lost = matches!(record.machine.phase, MachinePhase::Lost { .. });
            record.machine.phase = MachinePhase::Ready { since, handle };
            if was_lost {
                record.machine.version.0 += 1;
            }
            draft.put(record);
        });
        written.await.map_err(|_| SessionEnd::Stopping)?;
        self.engine
            .live
            .report(&self.node, self.node_report(&v1::Status::default()), BTreeMap::new());
        self.engine.live.progressed();
        Ok(())
    }

    async fn renew(&mut self, renew: &v1::Renew) -> Result<(), SessionEnd> {
        // An engine whose own lease has run out may have a successor, for whom this node must become silent.
        if self.engine.may_act().is_err() {
            return Err(SessionEnd::Stopping);
        }
        self.engine.live.heard(&self.node, self.engine.clock.now());
        let bounds = &self.engine.config.bounds;
        let (valid_ms, abandon_after_ms) = (bounds.lease_ms, bounds.abandon_after_ms);
        self.send(ToNode::Lease(v1::Lease {
            sequence: renew.sequence,
            valid_ms,
            abandon_after_ms,
        }))
        .await
    }

    async fn report(&mut self, status: v1::Status) -> Result<(), SessionEnd> {
        let now = self.engine.clock.now();
        self.engine.live.heard(&self.node, now);
        let usage = status.replicas.iter().map(|replica| {
            let used = ReplicaUsage {
                memory_bytes: replica.memory_bytes,
                cpu_used_ms: replica.cpu_used_ms,
            };
            (ReplicaId::new(&replica.id), used)
        });
        self.engine
            .live
            .report(&self.node, self.node_report(&status), usage.collect());
        let (cluster, machine) = self.node.clone();
        let news = {
            let state = self.engine.ledger.read();
            status.replicas.iter().any(|replica| {
                let key = replica_key(&cluster, &machine, &ReplicaId::new(&replica.id));
                let record = state.replicas.get(&key);
                record.is_some_and(|r| message::reported_phase(&r.replica.phase, replica, now).is_some())
            })
        };
        if !news {
            return Ok(());
        }
        let written = self.engine.ledger.write(move |draft| {
            for replica in &status.replicas {
                let key = replica_key(&cluster, &machine, &ReplicaId::new(&replica.id));
                let Some(record) = draft.get::<ReplicaRecord>(&key) else {
                    continue;
                };
                if let Some(phase) = message::reported_phase(&record.replica.phase, replica, now) {
                    let mut record = record.clone();
                    record.replica.phase = phase;
                    draft.put(record);
                }
            }
        });
        written.await.map_err(|_| SessionEnd::Stopping)?;
        self.engine.live.progressed();
        Ok(())
    }

    fn node_report(&self, status: &v1::Status) -> NodeReport {
        NodeReport {
            heard: self.engine.clock.now(),
            agent_version: self.hello.agent_version.clone(),
            kernel: self.hello.kernel.clone(),
            joined_after_ms: self.hello.joined_boot_ms,
            agent_rss_kib: status.agent_rss_kib,
            memory_used_mib: status.memory_used_mib,
            endpoints: BTreeMap::new(),
        }
    }

    /// Everything that the node is to run. Nothing on a store that is being recovered: the node runs on what it runs.
    async fn send_desired(&mut self) -> Result<(), SessionEnd> {
        if self.engine.is_recovering() {
            return Ok(());
        }
        // Grows within an engine's life by the count, and from one engine to the next by the epoch.
        let revision = (self.engine.ledger.epoch().0 << 40) + self.engine.live.next_desired();
        let replicas = {
            let state = self.engine.ledger.read();
            let prefix = machine_prefix(&self.peer.cluster, &self.peer.machine);
            state.replicas.under(&prefix).map(message::desired_replica).collect()
        };
        self.send(ToNode::Desired(v1::Desired { revision, replicas })).await
    }

    /// Sends a request for output on, under a number of its own.
    async fn read_logs(&mut self, request: v1::LogRequest, answer: mpsc::Sender<LogChunk>) -> Result<(), SessionEnd> {
        self.readers.retain(|_, reader| !reader.is_closed());
        if self.readers.len() >= LOG_READERS_MAX {
            let refusal = LogChunk {
                end: true,
                error: "too many readers of output".into(),
                ..Default::default()
            };
            // The reader may have gone.
            let _ = answer.try_send(refusal);
            return Ok(());
        }
        self.readers_ever += 1;
        let id = self.readers_ever;
        self.readers.insert(id, answer);
        self.send(ToNode::Log(v1::LogRequest { id, ..request })).await
    }

    fn pass_on(&mut self, chunk: LogChunk) {
        let (id, end) = (chunk.id, chunk.end);
        if let Some(reader) = self.readers.get(&id) {
            // A reader that does not keep up, or is gone, loses the rest.
            if reader.try_send(chunk).is_err() || end {
                self.readers.remove(&id);
            }
        }
    }

    async fn renew_certificate(&mut self, request: &v1::CertificateRequest) -> Result<(), SessionEnd> {
        let name = machine_dns_name(
            self.peer.cluster.as_str(),
            self.peer.machine.as_str(),
            self.peer.attempt.0,
        );
        let signed = SignedRequest::parse(&request.csr_der)
            .and_then(|signed| self.engine.authority.sign(&signed, &name, self.engine.clock.now()));
        match signed {
            Ok(certificate_der) => {
                let certificate = v1::Certificate {
                    certificate_der,
                    valid_ms: NODE_CERTIFICATE_VALID_MS,
                };
                self.send(ToNode::Certificate(certificate)).await
            }
            Err(error) => {
                tracing::warn!(machine = %self.peer.machine, %error, "node asks for a certificate that cannot be signed");
                Ok(())
            }
        }
    }
}
