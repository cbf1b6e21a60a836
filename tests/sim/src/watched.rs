//! The innermost boundaries: what gets here truly happens, and the witness sees it. Beyond them are the cloud and the
//! store themselves; before them whatever a scenario or a mutation does to calls.

use std::time::Duration;

use isobar_engine_model::id::{Epoch, MemberId, ResourceHandle, ShardId};
use isobar_engine_provider::{CreateResource, Created, Provider, Result, Site, Token};
use isobar_engine_store::{Member, Store, Write};

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
        if let Some(epoch) = epoch {
            self.witness.claimed(self.engine, shard, epoch);
        }
        Ok(epoch)
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        self.inner.commit(shard, epoch, batch).await?;
        self.witness.committed(self.engine, (shard, epoch), batch);
        Ok(())
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Answer<()> {
        self.inner.beat(member, lease).await?;
        self.witness.leased(self.engine, lease);
        Ok(())
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        self.inner.leave(member).await?;
        self.witness.left(self.engine);
        Ok(())
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        self.inner.release(shard, epoch).await?;
        self.witness.released(shard, epoch);
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
