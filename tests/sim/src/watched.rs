//! The innermost boundaries: what gets here truly happens, and the witness sees it. Beyond them are the cloud and the
//! store themselves; before them whatever a scenario or a mutation does to calls.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ProviderId, ResourceHandle, ShardId};
use isobar_engine_provider::{
    Capabilities, Console, CreateResource, Created, Listing, Owner, Page, Provider, ResourceKind, ResourceState,
    Result, Site, Token,
};
use isobar_engine_store::{Member, Row, Shard, Store, StoreError, Table, Write};

use crate::witness::Witness;

/// What a store answers.
type Answer<T> = std::result::Result<T, StoreError>;

/// One engine's way to something, seen by the witness.
pub struct Watched<T> {
    /// What answers.
    pub inner: T,
    /// Which engine asks, from 1.
    pub engine: u64,
    /// Who sees it.
    pub witness: Witness,
}

#[async_trait]
impl<T: Store> Store for Watched<T> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    async fn is_recovering(&self) -> Answer<bool> {
        self.inner.is_recovering().await
    }

    async fn end_recovery(&self) -> Answer<()> {
        self.inner.end_recovery().await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Answer<Option<Epoch>> {
        let epoch = self.inner.claim(shard, member).await?;
        if epoch.is_some() {
            self.witness.took_over(self.engine);
        }
        Ok(epoch)
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        self.inner.commit(shard, epoch, batch).await?;
        self.witness.committed(self.engine, batch);
        Ok(())
    }

    async fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> Answer<Vec<Row>> {
        self.inner.scan(shard, table, after, limit).await
    }

    async fn get(&self, table: Table, key: &str) -> Answer<Option<Row>> {
        self.inner.get(table, key).await
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Answer<()> {
        self.inner.beat(member, lease).await
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        self.inner.leave(member).await
    }

    async fn members(&self) -> Answer<Vec<Member>> {
        self.inner.members().await
    }

    async fn shards(&self) -> Answer<Vec<Shard>> {
        self.inner.shards().await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        self.inner.release(shard, epoch).await
    }

    async fn once(&self, key: &str, value: &str) -> Answer<String> {
        self.inner.once(key, value).await
    }
}

#[async_trait]
impl<T: Provider> Provider for Watched<T> {
    fn id(&self) -> &ProviderId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        self.inner.catalog(site).await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        self.witness.creates(self.engine, request);
        self.inner.create(request).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        self.inner.get(site, handle).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        self.inner.list(site, kind, owner, page).await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        self.witness.deletes(self.engine, handle);
        self.inner.delete(site, handle, token).await
    }

    fn console(&self) -> Option<&dyn Console> {
        self.inner.console()
    }
}
