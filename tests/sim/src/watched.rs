//! The innermost boundaries: what gets here truly happens, and the witness sees it. Beyond them are the cloud and the
//! store themselves; before them whatever a scenario or a mutation does to calls.

use isobar_engine_model::id::{Epoch, MemberId, ResourceHandle, ShardId};
use isobar_engine_provider::{CreateResource, Created, Provider, Result, Site, Token};
use isobar_engine_store::{Store, Write};

use crate::around::{Answer, ProviderLayer, StoreLayer};
use crate::witness::Witness;

/// One engine's way to something, seen by the witness.
pub struct Watched<T> {
    /// What answers.
    pub inner: T,
    /// Which engine asks, from 1.
    pub engine: u64,
    /// Who sees it.
    pub witness: Witness,
}

impl<T: Store> StoreLayer for Watched<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.inner
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
}

impl<T: Provider> ProviderLayer for Watched<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.inner
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        self.witness.creates(self.engine, request);
        self.inner.create(request).await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        self.witness.deletes(self.engine, handle);
        self.inner.delete(site, handle, token).await
    }
}
