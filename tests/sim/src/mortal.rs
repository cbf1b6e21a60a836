//! Boundaries that live as long as a [`Life`]: once it is over, nothing that an engine asks of the world ever answers.
//! To the world that is what `kill -9` looks like; the engine's leftover tasks hang for good.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_control::node::Peer;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{Clock, Provider, Result};
use isobar_engine_store::Store;
use isobar_engine_store::memory::Request;
use isobar_node_image_protocol::channel::{Channel, Closed};
use isobar_node_image_protocol::v1::engine_message::Kind;
use isobar_node_image_protocol::v1::{EngineMessage, NodeMessage};
use isobar_providers_sim::Operation;

use crate::around::{Answer, ProviderLayer, StoreLayer};
use crate::life::Crossing;
pub use crate::life::Life;
use crate::witness::Witness;

/// Something that answers only while a life lasts.
pub struct Mortal<T> {
    /// What answers.
    pub inner: T,
    /// While this lasts.
    pub life: Life,
}

impl<T: Store> StoreLayer for Mortal<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.inner
    }

    async fn call<A: Send>(&self, request: Request<'_>, doing: impl Future<Output = Answer<A>> + Send) -> Answer<A> {
        let crossing = match request {
            Request::Commit(..) => Crossing::Commit,
            Request::Scan(_) => Crossing::Scan,
            Request::Get(_) => Crossing::ReadBack,
            Request::Beat(_) | Request::Leave(_) => Crossing::Beat,
            Request::Claim(_) | Request::Release(_) => Crossing::Claim,
            Request::Members | Request::Shards | Request::Once(_) | Request::IsRecovering | Request::EndRecovery => {
                Crossing::Look
            }
        };
        self.life.live(crossing, doing).await
    }
}

impl<T: Provider> ProviderLayer for Mortal<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.inner
    }

    async fn call<A: Send>(&self, operation: Operation, doing: impl Future<Output = Result<A>> + Send) -> Result<A> {
        let crossing = match operation {
            Operation::Catalog => Crossing::Catalog,
            Operation::Create => Crossing::Create,
            Operation::Get | Operation::Console | Operation::Account | Operation::Read => Crossing::Get,
            Operation::List | Operation::Needs => Crossing::List,
            Operation::Connect => Crossing::Create,
            Operation::Delete => Crossing::Delete,
        };
        self.life.live(crossing, doing).await
    }
}

#[async_trait]
impl<T: Clock> Clock for Mortal<T> {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    async fn sleep(&self, pause: Duration) {
        self.life.live(Crossing::Sleep, self.inner.sleep(pause)).await;
    }
}

/// A session's channel on the engine's side.
pub struct MortalChannel<T> {
    inner: T,
    life: Life,
    peer: Peer,
    watched: (u64, Witness),
    /// Received, and not yet handed over: whoever waited may have stopped waiting meanwhile.
    held: Option<std::result::Result<NodeMessage, Closed>>,
}

impl<T> MortalChannel<T> {
    /// A channel to this node that lives so long, of the engine of this number, seen by the witness.
    pub fn new((inner, peer): (T, Peer), life: Life, watched: (u64, Witness)) -> Self {
        Self {
            inner,
            life,
            peer,
            watched,
            held: None,
        }
    }
}

#[async_trait]
impl<T: Channel<EngineMessage, NodeMessage>> Channel<EngineMessage, NodeMessage> for MortalChannel<T> {
    async fn send(&mut self, message: EngineMessage) -> std::result::Result<(), Closed> {
        let (inner, peer, (engine, witness)) = (&mut self.inner, &self.peer, &self.watched);
        let sending = async {
            if matches!(message.kind, Some(Kind::Lease(_))) {
                witness.renews(*engine, peer);
            }
            inner.send(message).await
        };
        self.life.live(Crossing::Send, sending).await
    }

    async fn recv(&mut self) -> std::result::Result<NodeMessage, Closed> {
        let (inner, held) = (&mut self.inner, &mut self.held);
        let receiving = async {
            if held.is_none() {
                *held = Some(inner.recv().await);
            }
        };
        self.life.live(Crossing::Receive, receiving).await;
        self.held.take().unwrap_or(Err(Closed))
    }
}
