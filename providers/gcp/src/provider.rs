//! The [`Provider`] over Google's clients: each call reads the site's settings, takes the endpoint's clients and hands over.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ProviderId, ResourceHandle, Zone};
use isobar_engine_provider::adoption::{ObjectRef, ObjectState};
use isobar_engine_provider::decorate::KeepsCredentials;
use isobar_engine_provider::endpoint;
use isobar_engine_provider::live::LiveFacts;
use isobar_engine_provider::prices::{FRESH_MS, PriceTable};
use isobar_engine_provider::{
    Adoption, Capabilities, Clock, Console, ConsoleChunk, CreateResource, Created, Listing, NetworkNeeds,
    NetworkRequest, Networks, Owner, Page, Provider, ResourceKind, ResourceState, Result, Site, Token,
};

use crate::client::{Clients, Pool};
use crate::config::GcpConfig;
use crate::handle::Place;
use crate::request::IDENTITY_MAX_BYTES;
use crate::settings::Settings;
use crate::{adoption, catalog, console, create, delete, look, network};

/// For how long the same request id answers with the same operation, in ms. Compute Engine's own documentation names no
/// time; Google's other services that describe `requestId` in the same words guarantee 60 minutes "since the first request"
/// (for one, <https://docs.cloud.google.com/cloud-ftp/reference/rest/v1/projects.locations.servers/create>).
const TOKEN_VALIDITY_MS: u64 = 60 * 60_000;
/// After so long a new instance is in every list, in ms. Compute Engine's documentation names no bound: this one is ours, and
/// meant to be generous, since only what fails waits for it.
const VISIBILITY_DELAY_MAX_MS: u64 = 60_000;
/// Settings that say whose account a site is. Requests are limited for a project and region.
/// <https://cloud.google.com/compute/api-quota>
const ACCOUNT_SETTINGS: [&str; 2] = ["project", endpoint::SETTING];

/// Machines of Compute Engine.
pub struct GcpProvider {
    pool: Pool,
    clock: Arc<dyn Clock>,
    live: LiveFacts<PriceTable>,
}

impl fmt::Debug for GcpProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcpProvider")
            .field("id", self.id())
            .finish_non_exhaustive()
    }
}

impl GcpProvider {
    /// A provider that has called nobody yet.
    pub fn new(config: GcpConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            pool: Pool::new(config),
            clock,
            live: LiveFacts::fresh_for(FRESH_MS),
        }
    }

    async fn ready(&self, site: &Site) -> Result<(Settings, Arc<Clients>)> {
        let settings = Settings::of(site)?;
        Ok((settings, self.pool.of(site).await?))
    }
}

#[async_trait]
impl Provider for GcpProvider {
    fn id(&self) -> &ProviderId {
        &self.pool.config().id
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_validity_ms: TOKEN_VALIDITY_MS,
            visibility_delay_max_ms: VISIBILITY_DELAY_MAX_MS,
            identity_max_bytes: IDENTITY_MAX_BYTES,
            account_settings: &ACCOUNT_SETTINGS,
            network_token_validity_ms: TOKEN_VALIDITY_MS,
            sees_engine_at: None,
        }
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        let (settings, clients) = self.ready(site).await?;
        catalog::catalog(&clients, site, &settings, (&self.live, &*self.clock)).await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        let (settings, clients) = self.ready(&request.site).await?;
        create::create(&clients, &settings, request).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        let (settings, clients) = self.ready(site).await?;
        look::get(&clients, &settings, &Place::of(handle)?).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let (settings, clients) = self.ready(site).await?;
        look::list(&clients, (site, &settings), kind, owner, page).await
    }

    /// The token is not needed: names are never used twice.
    async fn delete(&self, site: &Site, handle: &ResourceHandle, _token: &Token) -> Result<()> {
        let (settings, clients) = self.ready(site).await?;
        delete::delete(&clients, &settings, &Place::of(handle)?).await
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        Some(self)
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        Some(self)
    }
}

#[async_trait]
impl Adoption for GcpProvider {
    async fn account(&self, site: &Site) -> Result<String> {
        Ok(Settings::of(site)?.project)
    }

    async fn read(&self, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>> {
        let (settings, clients) = self.ready(site).await?;
        adoption::read(&clients, (site, &settings), objects).await
    }
}

#[async_trait]
impl Networks for GcpProvider {
    /// The same for all zones: subnetworks are a region's.
    async fn needs(&self, site: &Site, _zone: &Zone) -> Result<NetworkNeeds> {
        let (settings, clients) = self.ready(site).await?;
        network::needs(&clients, site, &settings).await
    }

    /// A part is whole when it is there. What is made in one that the cloud still makes is told so, and asks again.
    async fn connect(&self, site: &Site, handle: &ResourceHandle, _request: &NetworkRequest) -> Result<()> {
        let (settings, clients) = self.ready(site).await?;
        look::get(&clients, &settings, &Place::of(handle)?).await.map(drop)
    }
}

#[async_trait]
impl KeepsCredentials for GcpProvider {
    async fn forget_credentials(&self) {
        self.pool.forget().await;
    }
}

#[async_trait]
impl Console for GcpProvider {
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        let (settings, clients) = self.ready(site).await?;
        console::read(&clients, &settings, &Place::of(handle)?, offset).await
    }
}
