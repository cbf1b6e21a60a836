//! A simulated node's way to whichever engine lives now, in the place of gRPC and TLS.

use std::sync::Arc;

use async_trait::async_trait;
use isobar_engine_control::Engine;
use isobar_engine_control::fleet::Route;
use isobar_engine_control::node::Peer;
use isobar_engine_control::node::join::JoinError;
use isobar_engine_model::id::ResourceHandle;
use isobar_node_image_agent::credentials::{Certificate, NodeKey};
use isobar_node_image_agent::dial::{Dial, DialError};
use isobar_node_image_agent::session::EngineChannel;
use isobar_node_image_protocol::channel::{Channel, memory_pair};
use isobar_node_image_protocol::v1::{EngineMessage, JoinReply, JoinRequest, NodeMessage};
use tokio::time::timeout;
use tonic::Status;

use crate::life::Life;
use crate::mortal::MortalChannel;
use crate::net::{KEEPALIVE, Net};
use crate::process::Living;
use crate::witness::Witness;

/// See the module.
pub(super) struct Road {
    pub(super) living: Living,
    pub(super) net: Net,
    pub(super) witness: Witness,
    /// Which node of the run it is.
    pub(super) number: u64,
    pub(super) handle: ResourceHandle,
    /// What the certificate would say: whose the token is.
    pub(super) peer: Peer,
}

/// Who answered.
struct Reached {
    number: u64,
    engine: Arc<Engine>,
    life: Life,
}

impl Road {
    /// The engine that is responsible for the node's cluster, if the process that listens there has it.
    async fn reach(&self, at: &str) -> Result<Reached, DialError> {
        if !self.net.travel(self.number).await {
            return Err(away("the request is lost"));
        }
        let process = self.living.borrow().get(at).cloned();
        let process = process.ok_or_else(|| away("nobody listens there"))?;
        if !process.runs() {
            return Err(away("the engine is gone"));
        }
        match process.responsible(&self.peer.cluster) {
            Some(Route::Here(engine)) => Ok(Reached {
                number: process.number,
                engine,
                life: process.life,
            }),
            Some(Route::There(member)) => Err(DialError::Elsewhere(member.nodes)),
            None => Err(away("no engine is responsible now")),
        }
    }
}

/// Returns when a process is gone, or has stood still for so long that nobody keeps a connection to it.
async fn unheard(life: &Life) {
    while !life.is_over() {
        life.stopped().await;
        if timeout(KEEPALIVE, life.awake()).await.is_err() {
            return;
        }
    }
}

fn away(why: &str) -> DialError {
    DialError::Unready(Status::unavailable(why))
}

#[async_trait]
impl Dial for Road {
    async fn join(&self, at: &str, request: JoinRequest) -> Result<JoinReply, DialError> {
        let Reached { engine, life, .. } = self.reach(at).await?;
        let joined = tokio::select! {
            biased;
            () = life.stopped() => return Err(away("the engine is gone")),
            joined = engine.join(&request) => joined,
        };
        if joined.is_ok() {
            self.witness.joined(&self.handle, &self.peer);
        }
        if !self.net.travel(self.number).await {
            return Err(away("the answer is lost"));
        }
        joined.map_err(|error| match error {
            JoinError::UnknownToken | JoinError::UsedToken | JoinError::Revoked => {
                DialError::Refused(Status::permission_denied(error.to_string()))
            }
            JoinError::BadRequest => DialError::Refused(Status::invalid_argument(error.to_string())),
            JoinError::Unavailable(why) => away(&why),
        })
    }

    async fn open_session(
        &self,
        at: &str,
        _: &NodeKey,
        _: &Certificate,
        first: NodeMessage,
    ) -> Result<Box<EngineChannel>, DialError> {
        let Reached { number, engine, life } = self.reach(at).await?;
        let (to_engine, engines) = memory_pair::<NodeMessage, EngineMessage>();
        let (peer, witness) = (self.peer.clone(), self.witness.clone());
        tokio::spawn(async move {
            let channel = MortalChannel::new((engines, peer.clone()), life.clone(), (number, witness));
            tokio::select! {
                biased;
                // Its process is gone, and with it the connection.
                () = unheard(&life) => {}
                _ = engine.session(peer, Box::new(channel)) => {}
            }
        });
        let mut channel = self.net.connect(self.number, to_engine);
        channel.send(first).await.map_err(|_| away("the session is closed"))?;
        Ok(Box::new(channel))
    }
}
