//! What the cloud sees: a provider that counts the lists of machines, cluster by cluster. Here only sweeps list, since no
//! cluster has a machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ClusterName, ProviderId, ResourceHandle};

use isobar_engine_provider::{
    Adoption, Capabilities, Console, CreateResource, Created, Listing, Networks, Owner, Page, Provider, ResourceKind,
    ResourceState, Result, Site, Token,
};

/// A list takes so long, so that two at once are seen.
const LIST: Duration = Duration::from_millis(300);

/// The lists of one cluster.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lists {
    pub(crate) ended: u64,
    underway: u64,
    pub(crate) at_once_max: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<BTreeMap<ClusterName, Lists>>>);

impl Witness {
    pub(crate) fn lists(&self) -> BTreeMap<ClusterName, Lists> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, owner: &Owner, change: impl FnOnce(&mut Lists)) {
        change(self.0.lock().unwrap().entry(owner.cluster.clone()).or_default());
    }
}

pub(crate) struct Watched<P> {
    pub(crate) inner: P,
    pub(crate) witness: Witness,
}

#[async_trait]
impl<P: Provider> Provider for Watched<P> {
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
        self.inner.create(request).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        self.inner.get(site, handle).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        if kind != ResourceKind::Machine {
            return self.inner.list(site, kind, owner, page).await;
        }
        self.witness.note(owner, |lists| {
            lists.underway += 1;
            lists.at_once_max = lists.at_once_max.max(lists.underway);
        });
        tokio::time::sleep(LIST).await;
        let listing = self.inner.list(site, kind, owner, page).await;
        self.witness.note(owner, |lists| {
            lists.underway -= 1;
            lists.ended += 1;
        });
        listing
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        self.inner.delete(site, handle, token).await
    }

    fn console(&self) -> Option<&dyn Console> {
        self.inner.console()
    }

    fn networks(&self) -> Option<&dyn Networks> {
        self.inner.networks()
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        self.inner.adoption()
    }
}
