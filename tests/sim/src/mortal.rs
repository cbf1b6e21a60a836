//! Boundaries that live as long as a [`Life`]: once it is over, nothing that an engine asks of the world ever answers.
//! To the world that is what `kill -9` looks like; the engine's leftover tasks hang for good.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{Clock, Provider, Result};
use isobar_engine_store::Store;
use isobar_engine_store::memory::Request;
use isobar_node_image_protocol::channel::{Channel, Closed};
use isobar_providers_sim::Operation;

use crate::around::{Answer, ProviderLayer, StoreLayer};
use crate::life::Crossing;
pub use crate::life::Life;

/// Whether an engine that was replaced notices though it has nothing to write. While it does not, it goes on renewing
/// leases of nodes that its successor counts as silent; so nodes leave it when another starts.
pub const REPLACED_ENGINES_NOTICE: bool = false;

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
            Request::Beat(_)
            | Request::Leave(_)
            | Request::Members
            | Request::Shards
            | Request::Claim(_)
            | Request::Release(_)
            | Request::Once(_)
            | Request::IsRecovering
            | Request::EndRecovery => Crossing::TakeOver,
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
            Operation::Get | Operation::Console => Crossing::Get,
            Operation::List => Crossing::List,
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
pub struct MortalChannel<T, In> {
    inner: T,
    life: Life,
    /// Received, and not yet handed over: whoever waited may have stopped waiting meanwhile.
    held: Option<std::result::Result<In, Closed>>,
}

impl<T, In> MortalChannel<T, In> {
    /// A channel that lives so long.
    pub fn new(inner: T, life: Life) -> Self {
        Self {
            inner,
            life,
            held: None,
        }
    }
}

#[async_trait]
impl<T, Out, In> Channel<Out, In> for MortalChannel<T, In>
where
    T: Channel<Out, In>,
    Out: Send + 'static,
    In: Send + 'static,
{
    async fn send(&mut self, message: Out) -> std::result::Result<(), Closed> {
        self.life.live(Crossing::Send, self.inner.send(message)).await
    }

    async fn recv(&mut self) -> std::result::Result<In, Closed> {
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
