//! A node played by the test: it has a machine's identity and speaks to the engine's real endpoint as the agent does,
//! with the agent's own code for the way home. For what no honest node does.

use std::fs;
use std::path::Path;

use isobar_node_image_agent::credentials::{Certificate, NodeKey};
use isobar_node_image_agent::dial::{self, DialError};
use isobar_node_image_agent::identity::{self, Born, Home};
use isobar_node_image_protocol::channel::Channel;
use isobar_node_image_protocol::v1::node_message::Kind;
use isobar_node_image_protocol::v1::{EngineMessage, Hello, JoinReply, JoinRequest, NodeMessage, Renew};
use tokio::runtime::{Builder, Runtime};

use crate::wait::{SOON, within};

/// The identity that a machine of the local provider was given.
///
/// # Panics
///
/// When the machine's folder holds none.
pub fn identity_of(machine: &Path) -> Home {
    within(SOON, "the machine has its identity", || {
        let bytes = fs::read(machine.join("identity")).map_err(|error| error.to_string())?;
        let born = identity::parse(&bytes).and_then(Born::node);
        born.map_err(|error| error.to_string())
    })
}

/// A node with a key of its own.
#[derive(Debug)]
pub struct Node {
    key: NodeKey,
    runtime: Runtime,
}

impl Node {
    /// With a new key.
    ///
    /// # Panics
    ///
    /// When the system gives no random bytes.
    pub fn new() -> Self {
        Self {
            key: NodeKey::generate().expect("the kernel gives random bytes"),
            runtime: Builder::new_current_thread().enable_all().build().expect("a runtime"),
        }
    }

    /// Shows a token.
    pub fn join(&self, home: &Home) -> Result<JoinReply, DialError> {
        let request = JoinRequest {
            token: home.token.clone(),
            csr_der: self.key.signing_request().expect("the key is whole"),
            agent_version: "test".to_owned(),
            boot_ms: 1_000,
        };
        self.runtime.block_on(dial::join(home, &home.engines[0], request))
    }

    /// Opens a session with a certificate, asks for a lease, and returns the first thing that the engine says.
    pub fn first_word(&self, home: &Home, certificate_der: &[u8]) -> Result<EngineMessage, DialError> {
        let certificate = Certificate::received(certificate_der.to_vec(), u64::MAX, 0);
        let hello = Hello {
            agent_version: "test".to_owned(),
            kernel: "test".to_owned(),
            joined_boot_ms: 1_000,
        };
        self.runtime.block_on(async {
            let mut session = dial::open_session(
                (home, &home.engines[0]),
                &self.key,
                &certificate,
                of(Kind::Hello(hello)),
            )
            .await?;
            let asked = session.channel.send(of(Kind::Renew(Renew { sequence: 1 }))).await;
            let heard = match asked {
                Ok(()) => tokio::time::timeout(SOON, session.channel.recv())
                    .await
                    .expect("an engine answers at once"),
                Err(closed) => Err(closed),
            };
            heard.map_err(|closed| DialError::Unready(tonic::Status::unavailable(closed.to_string())))
        })
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

fn of(kind: Kind) -> NodeMessage {
    NodeMessage { kind: Some(kind) }
}
