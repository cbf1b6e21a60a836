//! A node's life: join, hold a session, come back when it breaks, live through the engine's absence, end. Called by
//! `main` once there is a network and an identity.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use isobar_node_image_protocol::v1::{Hello, JoinReply, JoinRequest, node_message};
use isobar_node_image_protocol::watch;
use tokio::time::sleep;

use crate::backoff::{Backoff, jittered};
use crate::clock::Clock;
use crate::credentials::{Certificate, KeyError, NodeKey};
use crate::dial::{Dial, DialError};
use crate::identity::Home;
use crate::lease::{LeaseKeeper, Standing};
use crate::metrics::MachineUsage;
use crate::runtime::Runtime;
use crate::session::{self, SessionEnd, SessionParts};
use crate::supervisor::Supervisor;
use crate::way::Way;

/// The pauses between two tries to reach the engine.
pub const REDIAL_FIRST: Duration = Duration::from_millis(100);
/// The longest of them.
pub const REDIAL_MAX: Duration = Duration::from_secs(5);

/// A session that lived so long was a good one: the next pause is the first one again.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// A token that is refused so often is wrong or used.
pub const REFUSED_JOINS_MAX: u32 = 3;

/// How long replicas have to stop before the machine powers off regardless.
pub const DRAIN_MAX: Duration = Duration::from_secs(120);

/// The agent's version, as the engine is told.
pub const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why a node's life ended. A machine powers off, a daemon exits.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The engine released the machine.
    #[error("released by the engine")]
    Released,
    /// The lease ran out `abandon_after` ago.
    #[error("abandoned: no engine renewed the lease")]
    Abandoned,
    /// The engine refuses the token.
    #[error("not let in after {REFUSED_JOINS_MAX} tries")]
    Refused(#[source] DialError),
    /// The identity cannot be used at all.
    #[error("the identity cannot be used")]
    Unusable(#[source] DialError),
    /// The host stops the daemon.
    #[error("stopped by its host")]
    Stopped,
    /// There is no key.
    #[error("no key can be made")]
    NoKey(#[from] KeyError),
}

/// What a node is made of.
pub struct Node {
    /// Where home is.
    pub home: Home,
    /// What the token is bound to.
    pub key: NodeKey,
    /// How home is reached.
    pub dial: Arc<dyn Dial>,
    /// Runs containers.
    pub runtime: Arc<dyn Runtime>,
    /// Time since boot.
    pub clock: Arc<dyn Clock>,
    /// Ends when the host stops the daemon; a machine of its own is never stopped so.
    pub stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Called once after the first join: what a machine need not do before.
    pub on_joined: Box<dyn FnOnce() + Send>,
    /// What the machine uses now.
    pub usage: fn() -> MachineUsage,
    /// Spreads the pauses before new tries.
    pub random: Box<dyn Fn() -> u32 + Send + Sync>,
}

impl Node {
    /// Lives. Returns when the machine is to power off; everything is stopped then.
    pub async fn live(self) -> Ended {
        let lease = Arc::new(LeaseKeeper::new(self.clock.clone()));
        let supervisor = Arc::new(Supervisor::new(self.runtime.clone(), lease.watch()));
        let standing = lease.watch();
        let keep_lease = lease.clone();
        let life = Life {
            home: &self.home,
            way: Way::new(self.home.engines.clone()),
            dial: &*self.dial,
            usage: self.usage,
            random: &*self.random,
            clock: self.clock.clone(),
            lease: &lease,
            supervisor: &supervisor,
        };
        let key = self.key;
        let ended = tokio::select! {
            biased;
            () = keep_lease.keep() => Ended::Abandoned,
            () = self.stopped => Ended::Stopped,
            ended = life.run(&key, self.on_joined, standing) => ended,
        };
        tracing::warn!(reason = %crate::chain(&ended), "stopping everything");
        if tokio::time::timeout(DRAIN_MAX, supervisor.drain()).await.is_err() {
            tracing::warn!("not everything stopped in time");
        }
        ended
    }
}

struct Life<'a> {
    home: &'a Home,
    way: Way,
    dial: &'a dyn Dial,
    usage: fn() -> MachineUsage,
    random: &'a (dyn Fn() -> u32 + Send + Sync),
    clock: Arc<dyn Clock>,
    lease: &'a LeaseKeeper,
    supervisor: &'a Arc<Supervisor>,
}

impl Life<'_> {
    async fn run(
        &self,
        key: &NodeKey,
        on_joined: Box<dyn FnOnce() + Send>,
        standing: watch::Receiver<Standing>,
    ) -> Ended {
        let mut certificate = match self.join(key).await {
            Ok(certificate) => certificate,
            Err(ended) => return ended,
        };
        let joined_boot_ms = self.clock.boot_ms();
        tracing::info!(
            machine = self.home.machine,
            engine = self.way.engine(),
            boot_ms = joined_boot_ms,
            "joined"
        );
        on_joined();
        let mut backoff = Backoff::new(REDIAL_FIRST, REDIAL_MAX);
        loop {
            if self.clock.boot_ms() >= certificate.ends_boot_ms {
                tracing::warn!("the certificate ran out while the engine was away: joining with the same key");
                certificate = match self.join(key).await {
                    Ok(certificate) => certificate,
                    Err(ended) => return ended,
                };
            }
            let opened_ms = self.clock.boot_ms();
            match self.session(key, &mut certificate, joined_boot_ms).await {
                Ok(SessionEnd::PowerOff) => return Ended::Released,
                Ok(end @ (SessionEnd::Closed | SessionEnd::Silent)) => {
                    tracing::warn!(?end, standing = ?*standing.borrow(), "the session ended");
                    // Where a good session broke, the engine is most likely back soon.
                    if Duration::from_millis(self.clock.boot_ms() - opened_ms) < GOOD_SESSION {
                        self.way.lost();
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %crate::chain(&error), "no session");
                    self.turn(&error);
                }
            }
            if Duration::from_millis(self.clock.boot_ms() - opened_ms) >= GOOD_SESSION {
                backoff.reset();
            }
            sleep(jittered(backoff.pause(), (self.random)())).await;
        }
    }

    async fn session(
        &self,
        key: &NodeKey,
        certificate: &mut Certificate,
        joined_boot_ms: u64,
    ) -> Result<SessionEnd, DialError> {
        let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        let hello = Hello {
            agent_version: AGENT_VERSION.into(),
            kernel: kernel.unwrap_or_default(),
            joined_boot_ms,
        };
        let hello = session::message(node_message::Kind::Hello(hello));
        let engine = self.way.engine();
        let mut channel = self.dial.open_session(&engine, key, certificate, hello).await?;
        tracing::info!("in session with the engine");
        let parts = SessionParts {
            supervisor: self.supervisor,
            lease: self.lease,
            key,
            certificate,
            clock: self.clock.as_ref(),
            usage: self.usage,
        };
        Ok(session::run(&mut *channel, parts).await)
    }

    /// Turns to the engine that may help, after one did not.
    fn turn(&self, error: &DialError) {
        match error {
            DialError::Elsewhere(engine) => self.way.named(engine.clone()),
            DialError::Unusable(_) | DialError::Away(_) | DialError::Refused(_) | DialError::Unready(_) => {
                self.way.lost()
            }
        }
    }

    /// Joins, however long the engine is away; gives up when it refuses.
    async fn join(&self, key: &NodeKey) -> Result<Certificate, Ended> {
        let mut backoff = Backoff::new(REDIAL_FIRST, REDIAL_MAX);
        let mut refusals = 0;
        loop {
            let request = JoinRequest {
                token: self.home.token.clone(),
                csr_der: key.signing_request()?,
                agent_version: AGENT_VERSION.into(),
                boot_ms: self.clock.boot_ms(),
            };
            let error = match self.dial.join(&self.way.engine(), request).await {
                Ok(JoinReply {
                    certificate_der,
                    valid_ms,
                    machine: _,
                }) => {
                    return Ok(Certificate::received(certificate_der, valid_ms, self.clock.boot_ms()));
                }
                Err(error) => error,
            };
            tracing::warn!(error = %crate::chain(&error), engine = self.way.engine(), "not joined");
            self.turn(&error);
            match error {
                DialError::Unusable(_) => return Err(Ended::Unusable(error)),
                DialError::Refused(_) => {
                    refusals += 1;
                    if refusals == REFUSED_JOINS_MAX {
                        return Err(Ended::Refused(error));
                    }
                }
                DialError::Away(_) | DialError::Unready(_) | DialError::Elsewhere(_) => {}
            }
            sleep(jittered(backoff.pause(), (self.random)())).await;
        }
    }
}
