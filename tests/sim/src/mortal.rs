//! Boundaries that live as long as a [`Life`]: once it is over, nothing that an engine asks of the world ever answers.
//! To the world that is what `kill -9` looks like; the engine's leftover tasks hang for good.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ProviderId, ResourceHandle, ShardId};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{
    Capabilities, Clock, Console, CreateResource, Created, Listing, Owner, Page, Provider, ResourceKind, ResourceState,
    Result, Site, Token,
};
use isobar_engine_store::{Member, Row, Shard, Store, StoreError, Table, Write};
use isobar_node_image_protocol::channel::{Channel, Closed};

use crate::life::Crossing;
pub use crate::life::Life;

/// What a store answers.
type Answer<T> = std::result::Result<T, StoreError>;

/// Whether an engine that is fenced stops by itself. While it does not (its steps then wait for a commit that never
/// comes without giving way, and its sessions go on renewing leases), it is ended as soon as the store refuses it.
pub const FENCED_ENGINES_STOP: bool = true;

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

#[async_trait]
impl<T: Store> Store for Mortal<T> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    async fn is_recovering(&self) -> Answer<bool> {
        self.life.live(Crossing::TakeOver, self.inner.is_recovering()).await
    }

    async fn end_recovery(&self) -> Answer<()> {
        self.life.live(Crossing::TakeOver, self.inner.end_recovery()).await
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        let committing = async {
            let done = self.inner.commit(shard, epoch, batch).await;
            if !FENCED_ENGINES_STOP && matches!(done, Err(StoreError::Fenced { .. })) {
                self.life.end();
            }
            done
        };
        self.life.live(Crossing::Commit, committing).await
    }

    async fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> Answer<Vec<Row>> {
        self.life
            .live(Crossing::Scan, self.inner.scan(shard, table, after, limit))
            .await
    }

    async fn get(&self, table: Table, key: &str) -> Answer<Option<Row>> {
        self.life.live(Crossing::ReadBack, self.inner.get(table, key)).await
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Answer<()> {
        self.life.live(Crossing::TakeOver, self.inner.beat(member, lease)).await
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        self.life.live(Crossing::TakeOver, self.inner.leave(member)).await
    }

    async fn members(&self) -> Answer<Vec<Member>> {
        self.life.live(Crossing::TakeOver, self.inner.members()).await
    }

    async fn shards(&self) -> Answer<Vec<Shard>> {
        self.life.live(Crossing::TakeOver, self.inner.shards()).await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Answer<Option<Epoch>> {
        self.life
            .live(Crossing::TakeOver, self.inner.claim(shard, member))
            .await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        self.life
            .live(Crossing::TakeOver, self.inner.release(shard, epoch))
            .await
    }

    async fn once(&self, key: &str, value: &str) -> Answer<String> {
        self.life.live(Crossing::TakeOver, self.inner.once(key, value)).await
    }
}

#[async_trait]
impl<T: Provider> Provider for Mortal<T> {
    fn id(&self) -> &ProviderId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        self.life.live(Crossing::Catalog, self.inner.catalog(site)).await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        self.life.live(Crossing::Create, self.inner.create(request)).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        self.life.live(Crossing::Get, self.inner.get(site, handle)).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        self.life
            .live(Crossing::List, self.inner.list(site, kind, owner, page))
            .await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        self.life
            .live(Crossing::Delete, self.inner.delete(site, handle, token))
            .await
    }

    fn console(&self) -> Option<&dyn Console> {
        None
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
