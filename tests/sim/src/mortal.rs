//! Boundaries that die: from one call on, nothing that an engine asks of the world ever answers. To the world that is
//! what `kill -9` looks like; the engine's leftover tasks hang for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use tokio_util::sync::CancellationToken;

/// What a store answers.
type Answer<T> = std::result::Result<T, StoreError>;

/// One engine's life: counts its calls to the outside and ends at one of them.
#[derive(Clone)]
pub struct Life {
    calls: Arc<AtomicU64>,
    last: u64,
    over: CancellationToken,
}

/// Where in a call a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Nothing has happened.
    Before,
    /// It has happened, and nobody hears of it.
    After,
}

impl Life {
    /// Ends at half-call `last`: an even one before call `last / 2` happens, an odd one after.
    pub fn until(last: u64) -> Self {
        Self {
            calls: Arc::default(),
            last,
            over: CancellationToken::new(),
        }
    }

    /// Never ends by itself.
    pub fn long() -> Self {
        Self::until(u64::MAX)
    }

    /// Ends it now.
    pub fn end(&self) {
        self.over.cancel();
    }

    /// Returns when it has ended.
    pub async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Calls begun so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    async fn live<T>(&self, call: impl Future<Output = T>) -> T {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        self.pass(number, Moment::Before).await;
        let answer = call.await;
        self.pass(number, Moment::After).await;
        answer
    }

    async fn pass(&self, call: u64, moment: Moment) {
        let half = call.saturating_mul(2) + u64::from(moment == Moment::After);
        if half >= self.last {
            self.over.cancel();
        }
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }
}

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
        self.life.live(self.inner.is_recovering()).await
    }

    async fn end_recovery(&self) -> Answer<()> {
        self.life.live(self.inner.end_recovery()).await
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        self.life.live(self.inner.commit(shard, epoch, batch)).await
    }

    async fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> Answer<Vec<Row>> {
        self.life.live(self.inner.scan(shard, table, after, limit)).await
    }

    async fn get(&self, table: Table, key: &str) -> Answer<Option<Row>> {
        self.life.live(self.inner.get(table, key)).await
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Answer<()> {
        self.life.live(self.inner.beat(member, lease)).await
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        self.life.live(self.inner.leave(member)).await
    }

    async fn members(&self) -> Answer<Vec<Member>> {
        self.life.live(self.inner.members()).await
    }

    async fn shards(&self) -> Answer<Vec<Shard>> {
        self.life.live(self.inner.shards()).await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Answer<Option<Epoch>> {
        self.life.live(self.inner.claim(shard, member)).await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        self.life.live(self.inner.release(shard, epoch)).await
    }

    async fn once(&self, key: &str, value: &str) -> Answer<String> {
        self.life.live(self.inner.once(key, value)).await
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
        self.life.live(self.inner.catalog(site)).await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        self.life.live(self.inner.create(request)).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        self.life.live(self.inner.get(site, handle)).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        self.life.live(self.inner.list(site, kind, owner, page)).await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        self.life.live(self.inner.delete(site, handle, token)).await
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
        self.inner.sleep(pause).await;
        if self.life.is_over() {
            std::future::pending::<()>().await;
        }
    }
}
