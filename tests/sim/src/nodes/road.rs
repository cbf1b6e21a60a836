//! A simulated node's way to whichever engine lives now, in the place of gRPC and TLS.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use isobar_engine_control::Engine;
use isobar_engine_control::node::Peer;
use isobar_engine_control::node::join::JoinError;
use isobar_engine_model::id::ResourceHandle;
use isobar_node_image_agent::credentials::{Certificate, NodeKey};
use isobar_node_image_agent::dial::{Dial, DialError};
use isobar_node_image_agent::session::EngineChannel;
use isobar_node_image_protocol::channel::{Channel, memory_pair};
use isobar_node_image_protocol::v1::{EngineMessage, JoinReply, JoinRequest, NodeMessage};
use tonic::Status;

use super::Living;
use crate::life::Life;
use crate::mortal::{MortalChannel, REPLACED_ENGINES_NOTICE};
use crate::net::Net;
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

fn away(why: &str) -> DialError {
    DialError::Unready(Status::unavailable(why))
}

#[async_trait]
impl Dial for Road {
    async fn join(&self, _: &str, request: JoinRequest) -> Result<JoinReply, DialError> {
        if !self.net.travel(self.number).await {
            return Err(away("the request is lost"));
        }
        let living = self.living.borrow().clone();
        let Some((engine, life)) = living else {
            return Err(away("no engine"));
        };
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
        _: &str,
        _: &NodeKey,
        _: &Certificate,
        first: NodeMessage,
    ) -> Result<Box<EngineChannel>, DialError> {
        if !self.net.travel(self.number).await {
            return Err(away("the request is lost"));
        }
        let living = self.living.borrow().clone();
        let Some((engine, life)) = living else {
            return Err(away("no engine"));
        };
        if life.is_over() || life.is_frozen() {
            return Err(away("the engine is gone"));
        }
        let (to_engine, engines) = memory_pair::<NodeMessage, EngineMessage>();
        let (peer, mut living) = (self.peer.clone(), self.living.clone());
        tokio::spawn(async move {
            let channel = MortalChannel::new(engines, life.clone());
            let mine = engine.clone();
            let is_other =
                |now: &Option<(Arc<Engine>, Life)>| now.as_ref().is_none_or(|(now, _)| !Arc::ptr_eq(now, &mine));
            let replaced = async {
                if REPLACED_ENGINES_NOTICE || living.wait_for(is_other).await.is_err() {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                // Its process is gone, and with it the connection.
                () = life.ended() => {}
                // One that is fenced would hold them.
                () = replaced => {}
                _ = engine.session(peer, Box::new(channel)) => {}
            }
        });
        let mut channel = self.net.connect(self.number, to_engine);
        channel.send(first).await.map_err(|_| away("the session is closed"))?;
        Ok(Box::new(channel))
    }
}
