//! Layers around a store or a provider: each states what it changes of which calls, all else goes through. What a layer
//! is for says the layer; nothing is decided here.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ProviderId, ResourceHandle, ShardId, Zone};
use isobar_engine_provider::adoption::{ObjectRef, ObjectState};
use isobar_engine_provider::{
    Adoption, Capabilities, Console, CreateResource, Created, Listing, NetworkNeeds, NetworkRequest, Networks, Owner,
    Page, Provider, ProviderError, ResourceKind, ResourceState, Result, Site, Token,
};
use isobar_engine_store::memory::Request;
use isobar_engine_store::{Member, Row, Shard, Store, StoreError, Table, Write};
use isobar_providers_sim::Operation;

/// What a store answers.
pub type Answer<T> = std::result::Result<T, StoreError>;

/// Changes some calls of the store in it.
pub trait StoreLayer: Send + Sync {
    /// What is in it.
    type Inner: Store;

    /// What is in it.
    fn inner(&self) -> &Self::Inner;

    /// Any call: `doing` carries it out when it is awaited.
    fn call<T: Send>(
        &self,
        _request: Request<'_>,
        doing: impl Future<Output = Answer<T>> + Send,
    ) -> impl Future<Output = Answer<T>> + Send {
        doing
    }

    /// A commit.
    fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> impl Future<Output = Answer<()>> + Send {
        async move { self.inner().commit(shard, epoch, batch).await }
    }

    /// A page of a table.
    fn scan(
        &self,
        shard: Option<ShardId>,
        table: Table,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<Row>>> + Send {
        async move { self.inner().scan(shard, table, after, limit).await }
    }

    /// A longer lease.
    fn beat(&self, member: &Member, lease: Duration) -> impl Future<Output = Answer<()>> + Send {
        async move { self.inner().beat(member, lease).await }
    }

    /// The end of a lease.
    fn leave(&self, member: &MemberId) -> impl Future<Output = Answer<()>> + Send {
        async move { self.inner().leave(member).await }
    }

    /// A shard that is given back.
    fn release(&self, shard: ShardId, epoch: Epoch) -> impl Future<Output = Answer<()>> + Send {
        async move { self.inner().release(shard, epoch).await }
    }

    /// A claim.
    fn claim(&self, shard: ShardId, member: &MemberId) -> impl Future<Output = Answer<Option<Epoch>>> + Send {
        async move { self.inner().claim(shard, member).await }
    }
}

/// Changes some calls of the provider in it.
pub trait ProviderLayer: Send + Sync {
    /// What is in it.
    type Inner: Provider;

    /// What is in it.
    fn inner(&self) -> &Self::Inner;

    /// Any call: `doing` carries it out when it is awaited.
    fn call<T: Send>(
        &self,
        _operation: Operation,
        doing: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send {
        doing
    }

    /// What a site offers.
    fn catalog(&self, site: &Site) -> impl Future<Output = Result<SiteCatalog>> + Send {
        async move { self.inner().catalog(site).await }
    }

    /// A create.
    fn create(&self, request: &CreateResource) -> impl Future<Output = Result<Created>> + Send {
        async move { self.inner().create(request).await }
    }

    /// A page of a list.
    fn list(
        &self,
        site: &Site,
        kind: ResourceKind,
        owner: &Owner,
        page: Option<Page>,
    ) -> impl Future<Output = Result<Listing>> + Send {
        async move { self.inner().list(site, kind, owner, page).await }
    }

    /// A deletion.
    fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> impl Future<Output = Result<()>> + Send {
        async move { self.inner().delete(site, handle, token).await }
    }
}

/// A layer as what it is around.
pub struct Around<L>(pub L);

#[async_trait]
impl<L: StoreLayer> Store for Around<L> {
    fn id(&self) -> &str {
        self.0.inner().id()
    }

    fn incarnation(&self) -> Incarnation {
        self.0.inner().incarnation()
    }

    async fn is_recovering(&self) -> Answer<bool> {
        let doing = self.0.inner().is_recovering();
        self.0.call(Request::IsRecovering, doing).await
    }

    async fn end_recovery(&self) -> Answer<()> {
        let doing = self.0.inner().end_recovery();
        self.0.call(Request::EndRecovery, doing).await
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        let doing = self.0.commit(shard, epoch, batch);
        self.0.call(Request::Commit(shard, batch), doing).await
    }

    async fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> Answer<Vec<Row>> {
        let doing = self.0.scan(shard, table, after, limit);
        self.0.call(Request::Scan(table), doing).await
    }

    async fn get(&self, table: Table, key: &str) -> Answer<Option<Row>> {
        let doing = self.0.inner().get(table, key);
        self.0.call(Request::Get(table), doing).await
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Answer<()> {
        let doing = self.0.beat(member, lease);
        self.0.call(Request::Beat(&member.id), doing).await
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        let doing = self.0.leave(member);
        self.0.call(Request::Leave(member), doing).await
    }

    async fn members(&self) -> Answer<Vec<Member>> {
        let doing = self.0.inner().members();
        self.0.call(Request::Members, doing).await
    }

    async fn shards(&self) -> Answer<Vec<Shard>> {
        let doing = self.0.inner().shards();
        self.0.call(Request::Shards, doing).await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Answer<Option<Epoch>> {
        let doing = self.0.claim(shard, member);
        self.0.call(Request::Claim(shard), doing).await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        let doing = self.0.release(shard, epoch);
        self.0.call(Request::Release(shard), doing).await
    }

    async fn once(&self, key: &str, value: &str) -> Answer<String> {
        let doing = self.0.inner().once(key, value);
        self.0.call(Request::Once(key), doing).await
    }
}

#[async_trait]
impl<L: ProviderLayer> Provider for Around<L> {
    fn id(&self) -> &ProviderId {
        self.0.inner().id()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.inner().capabilities()
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        let doing = self.0.catalog(site);
        self.0.call(Operation::Catalog, doing).await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        let doing = self.0.create(request);
        self.0.call(Operation::Create, doing).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        let doing = self.0.inner().get(site, handle);
        self.0.call(Operation::Get, doing).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let doing = self.0.list(site, kind, owner, page);
        self.0.call(Operation::List, doing).await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        let doing = self.0.delete(site, handle, token);
        self.0.call(Operation::Delete, doing).await
    }

    /// No engine reads one.
    fn console(&self) -> Option<&dyn Console> {
        None
    }

    fn networks(&self) -> Option<&dyn Networks> {
        self.0.inner().networks().map(|_| -> &dyn Networks { self })
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        self.0.inner().adoption().map(|_| -> &dyn Adoption { self })
    }
}

impl<L: ProviderLayer> Around<L> {
    fn inner_networks(&self) -> Result<&dyn Networks> {
        self.0.inner().networks().ok_or_else(|| ProviderError::Unsupported {
            message: "making networks".to_owned(),
        })
    }

    fn inner_adoption(&self) -> Result<&dyn Adoption> {
        self.0.inner().adoption().ok_or_else(|| ProviderError::Unsupported {
            message: "reading what others made".to_owned(),
        })
    }
}

#[async_trait]
impl<L: ProviderLayer> Networks for Around<L> {
    async fn needs(&self, site: &Site, zone: &Zone) -> Result<NetworkNeeds> {
        let doing = self.inner_networks()?.needs(site, zone);
        self.0.call(Operation::Needs, doing).await
    }

    async fn connect(&self, site: &Site, handle: &ResourceHandle, request: &NetworkRequest) -> Result<()> {
        let doing = self.inner_networks()?.connect(site, handle, request);
        self.0.call(Operation::Connect, doing).await
    }
}

#[async_trait]
impl<L: ProviderLayer> Adoption for Around<L> {
    async fn account(&self, site: &Site) -> Result<String> {
        let doing = self.inner_adoption()?.account(site);
        self.0.call(Operation::Account, doing).await
    }

    async fn read(&self, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>> {
        let doing = self.inner_adoption()?.read(site, objects);
        self.0.call(Operation::Read, doing).await
    }
}
