//! One session with the engine, from its first renewal to its end: what is desired comes down, status and logs go up.
//! Knows nothing of TLS or addresses, and stops nothing when it ends: the node lives on without it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use isobar_node_image_protocol::channel::Channel;
use isobar_node_image_protocol::v1::{
    CertificateRequest, EngineMessage, NodeMessage, Renew, Status, engine_message, node_message,
};
use isobar_node_image_protocol::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::Clock;
use crate::credentials::{Certificate, NodeKey};
use crate::lease::LeaseKeeper;
use crate::logs::LogStreams;
use crate::metrics::MachineUsage;
use crate::supervisor::Supervisor;

#[cfg(test)]
mod tests;

/// The engine's side of the stream, as a node sees it.
pub type EngineChannel = dyn Channel<NodeMessage, EngineMessage>;

/// How often a status goes out, whatever happens.
pub const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Changes within so long go out as one status.
pub const STATUS_GATHER: Duration = Duration::from_millis(20);

/// How long the engine may leave a message untaken.
pub const SEND_MAX: Duration = Duration::from_secs(10);

/// So many renewals in a row may stay unanswered before the session is given up.
pub const UNANSWERED_RENEWALS_MAX: u32 = 2;

/// How long a request for a certificate may stay unanswered before it is sent again.
pub const CERTIFICATE_ANSWER_MAX: Duration = Duration::from_secs(60);

/// What outlives a session.
pub struct SessionParts<'a> {
    /// Runs the replicas.
    pub supervisor: &'a Arc<Supervisor>,
    /// The lease that this session renews.
    pub lease: &'a LeaseKeeper,
    /// The key that certificates are for.
    pub key: &'a NodeKey,
    /// Replaced when the engine gives another.
    pub certificate: &'a mut Certificate,
    /// What certificates' ends are told by.
    pub clock: &'a dyn Clock,
    /// What the machine uses now.
    pub usage: fn() -> MachineUsage,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The engine is gone or does not take messages: connect again.
    Closed,
    /// The engine takes messages and answers no renewal: connect again.
    Silent,
    /// The machine is released: stop everything and power off.
    PowerOff,
}

/// Runs a session to its end.
pub async fn run(channel: &mut EngineChannel, parts: SessionParts<'_>) -> SessionEnd {
    let changes = parts.supervisor.changes();
    let logs = LogStreams::new(parts.supervisor.clone());
    let now = Instant::now();
    let mut session = Session {
        channel,
        parts,
        changes,
        logs,
        renew_at: now,
        unanswered: 0,
        status_at: now,
        certificate_asked: None,
    };
    loop {
        match session.turn().await {
            Ok(()) => {}
            Err(end) => return end,
        }
    }
}

struct Session<'a> {
    channel: &'a mut EngineChannel,
    parts: SessionParts<'a>,
    changes: watch::Receiver<u64>,
    logs: LogStreams,
    renew_at: Instant,
    unanswered: u32,
    status_at: Instant,
    certificate_asked: Option<Instant>,
}

enum Event {
    Received(Box<EngineMessage>),
    Gone,
    RenewDue,
    StatusDue,
    CertificateDue,
    Changed,
    Log(NodeMessage),
}

impl Session<'_> {
    /// Waits for the next thing to do and does it.
    async fn turn(&mut self) -> Result<(), SessionEnd> {
        let certificate_at = self.certificate_due();
        let event = tokio::select! {
            biased;
            () = sleep_until(self.renew_at) => Event::RenewDue,
            received = self.channel.recv() => match received {
                Ok(message) => Event::Received(Box::new(message)),
                Err(_) => Event::Gone,
            },
            () = sleep_until(self.status_at) => Event::StatusDue,
            () = sleep_or_never(certificate_at) => Event::CertificateDue,
            Ok(()) = self.changes.changed() => Event::Changed,
            message = self.logs.next() => Event::Log(message),
        };
        match event {
            Event::Received(message) => self.receive(*message),
            Event::Gone => Err(SessionEnd::Closed),
            Event::RenewDue => self.renew().await,
            Event::StatusDue => self.report().await,
            Event::CertificateDue => self.ask_certificate().await,
            Event::Changed => {
                self.status_at = self.status_at.min(Instant::now() + STATUS_GATHER);
                Ok(())
            }
            Event::Log(message) => self.send(message).await,
        }
    }

    fn receive(&mut self, message: EngineMessage) -> Result<(), SessionEnd> {
        match message.kind {
            Some(engine_message::Kind::Lease(lease)) => {
                let counts = self
                    .parts
                    .lease
                    .granted(lease.sequence, lease.valid_ms, lease.abandon_after_ms);
                self.unanswered = if counts { 0 } else { self.unanswered };
                self.renew_at = self.renew_at.min(Instant::now() + self.parts.lease.renew_every());
            }
            Some(engine_message::Kind::Desired(desired)) => self.parts.supervisor.apply(desired),
            Some(engine_message::Kind::Log(request)) => self.logs.request(request),
            Some(engine_message::Kind::Certificate(given)) => {
                let now_ms = self.parts.clock.boot_ms();
                *self.parts.certificate = Certificate::received(given.certificate_der, given.valid_ms, now_ms);
                self.certificate_asked = None;
                tracing::info!(valid_ms = given.valid_ms, "the certificate was renewed");
            }
            Some(engine_message::Kind::PowerOff(_)) => return Err(SessionEnd::PowerOff),
            // From a newer engine: what this agent cannot do, it does not do.
            None => {}
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), SessionEnd> {
        if self.unanswered >= UNANSWERED_RENEWALS_MAX {
            return Err(SessionEnd::Silent);
        }
        self.unanswered += 1;
        self.renew_at = Instant::now() + self.parts.lease.renew_every();
        let sequence = self.parts.lease.renew();
        self.send(message(node_message::Kind::Renew(Renew { sequence }))).await
    }

    async fn report(&mut self) -> Result<(), SessionEnd> {
        self.status_at = Instant::now() + STATUS_EVERY;
        self.changes.mark_unchanged();
        let usage = (self.parts.usage)();
        let status = Status {
            desired_revision: self.parts.supervisor.revision(),
            replicas: self.parts.supervisor.statuses(),
            agent_rss_kib: usage.agent_rss_kib,
            memory_used_mib: usage.memory_used_mib,
            cpu_used_ms: usage.cpu_used_ms,
        };
        self.send(message(node_message::Kind::Status(status))).await
    }

    fn certificate_due(&self) -> Option<Instant> {
        let due_ms = self
            .parts
            .certificate
            .renew_boot_ms
            .saturating_sub(self.parts.clock.boot_ms());
        let due = Instant::now().checked_add(Duration::from_millis(due_ms))?;
        Some(
            self.certificate_asked
                .map_or(due, |asked| due.max(asked + CERTIFICATE_ANSWER_MAX)),
        )
    }

    async fn ask_certificate(&mut self) -> Result<(), SessionEnd> {
        self.certificate_asked = Some(Instant::now());
        match self.parts.key.signing_request() {
            Ok(csr_der) => {
                self.send(message(node_message::Kind::Certificate(CertificateRequest { csr_der })))
                    .await
            }
            Err(error) => {
                tracing::error!(error = %crate::chain(&error), "no certificate can be asked for");
                Ok(())
            }
        }
    }

    async fn send(&mut self, message: NodeMessage) -> Result<(), SessionEnd> {
        match timeout(SEND_MAX, self.channel.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(SessionEnd::Closed),
        }
    }
}

/// A message of this kind.
pub fn message(kind: node_message::Kind) -> NodeMessage {
    NodeMessage { kind: Some(kind) }
}

async fn sleep_or_never(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}
