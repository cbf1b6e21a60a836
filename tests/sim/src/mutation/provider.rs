//! A provider with a bug: what it is sent, and what it shows of a cloud.

use std::sync::{Mutex, MutexGuard, PoisonError};

use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{
    CreateResource, Created, Listing, Owner, OwnerTags, Page, Provider, ProviderError, ResourceKind, ResourceState,
    Result, Site, Token,
};
use isobar_providers_sim::SimCloud;

use super::Mutation;
use crate::around::ProviderLayer;

/// A provider with a mutation, or without.
pub struct FlawedProvider<T> {
    inner: T,
    mutation: Option<Mutation>,
    cloud: SimCloud,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    count: u64,
    last: Option<OwnerTags>,
}

impl<T> FlawedProvider<T> {
    /// `inner`, whose cloud is `cloud`, with this mutation.
    pub fn new(inner: T, mutation: Option<Mutation>, cloud: SimCloud) -> Self {
        Self {
            inner,
            mutation,
            cloud,
            sent: Mutex::default(),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not ours in a region, as though it were the last machine that was asked for.
    fn taken_for_ours(&self, region: &str) -> Vec<ResourceState> {
        let Some(tags) = self.sent().last.clone() else {
            return Vec::new();
        };
        let machines = self.cloud.machines();
        let foreign = machines
            .into_iter()
            .filter(|machine| machine.region == region && machine.tags().is_none());
        foreign
            .map(|machine| ResourceState {
                tags: Some(tags.clone()),
                ..machine.state
            })
            .collect()
    }
}

impl<T: Provider> ProviderLayer for FlawedProvider<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.inner
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        let mut catalog = self.inner.catalog(site).await?;
        if self.is(Mutation::WrongPrice) {
            for offering in &mut catalog.offerings {
                offering.price.0 /= 2;
            }
        }
        Ok(catalog)
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        let mut request = request.clone();
        {
            let mut sent = self.sent();
            sent.count += 1;
            sent.last = Some(request.tags.clone());
            if self.is(Mutation::NoToken) {
                request.token = Token(format!("{}-{}", request.token.0, sent.count));
                request.name = format!("{}-{}", request.name, sent.count);
            }
        }
        self.inner.create(&request).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let mut listing = self.inner.list(site, kind, owner, page).await?;
        if self.is(Mutation::EmptyList) {
            listing.items.clear();
        }
        if self.is(Mutation::NoTagCheck) && kind == ResourceKind::Machine && listing.next.is_none() {
            listing.items.extend(self.taken_for_ours(&site.region));
        }
        Ok(listing)
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        if self.is(Mutation::GoneUnseen) {
            return Err(ProviderError::NotFound);
        }
        self.inner.delete(site, handle, token).await
    }
}
