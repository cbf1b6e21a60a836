//! The [`Provider`] over EC2: hands every call to its area.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ProviderId, ResourceHandle, Zone};
use isobar_engine_provider::adoption::{ObjectRef, ObjectState};
use isobar_engine_provider::decorate::KeepsCredentials;
use isobar_engine_provider::endpoint;
use isobar_engine_provider::{
    Adoption, Capabilities, Clock, Console, ConsoleChunk, CreateResource, Created, Listing, NetworkNeeds,
    NetworkRequest, Networks, Owner, Page, Provider, ResourceKind, ResourceState, Result, Site, Token,
};

use crate::catalog::Beside;
use crate::client::Clients;
use crate::config::AwsConfig;
use crate::create::IDENTITY_MAX_BYTES;
use crate::image::Images;
use crate::{adoption, catalog, console, create, delete, look, network};

/// A client token is valid for at least 24 hours after the termination of the instance; counted from its making here,
/// since that is sooner. <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Run_Instance_Idempotency.html>
const TOKEN_VALIDITY_MS: u64 = 24 * 3_600_000;
/// What was made may be invisible while callers pause for up to five minutes.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
const VISIBILITY_DELAY_MAX_MS: u64 = 5 * 60_000;
/// Settings that say whose account a site is. Requests are throttled for an account and region.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
const ACCOUNT_SETTINGS: [&str; 2] = ["profile", endpoint::SETTING];

/// Machines of EC2. A clone of nothing: one a process and account is enough.
pub struct AwsProvider {
    clients: Clients,
    images: Images,
    beside: Beside,
}

impl fmt::Debug for AwsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsProvider")
            .field("config", self.clients.config())
            .finish_non_exhaustive()
    }
}

impl AwsProvider {
    /// Asks nobody yet: credentials are looked for at the first call.
    pub fn new(config: AwsConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            clients: Clients::new(config, clock),
            images: Images::default(),
            beside: Beside::default(),
        }
    }
}

#[async_trait]
impl Provider for AwsProvider {
    fn id(&self) -> &ProviderId {
        &self.clients.config().id
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_validity_ms: TOKEN_VALIDITY_MS,
            visibility_delay_max_ms: VISIBILITY_DELAY_MAX_MS,
            identity_max_bytes: IDENTITY_MAX_BYTES,
            account_settings: &ACCOUNT_SETTINGS,
            // No call that makes one takes a client token.
            network_token_validity_ms: 0,
            sees_engine_at: None,
        }
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        catalog::catalog(&self.clients, &self.images, &self.beside, site).await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        create::create(&self.clients, &self.images, request).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        let (_, client) = self.clients.of(site).await?;
        look::get(&client, handle).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let (_, client) = self.clients.of(site).await?;
        look::list(&client, kind, owner, page).await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, _token: &Token) -> Result<()> {
        let (_, client) = self.clients.of(site).await?;
        delete::delete(&client, handle).await
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
impl Adoption for AwsProvider {
    async fn account(&self, site: &Site) -> Result<String> {
        adoption::account(&self.clients, site).await
    }

    async fn read(&self, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>> {
        adoption::read(&self.clients, site, objects).await
    }
}

#[async_trait]
impl Networks for AwsProvider {
    async fn needs(&self, site: &Site, zone: &Zone) -> Result<NetworkNeeds> {
        let (settings, client) = self.clients.of(site).await?;
        network::needs(&client, &settings, zone).await
    }

    async fn connect(&self, site: &Site, handle: &ResourceHandle, request: &NetworkRequest) -> Result<()> {
        let (settings, client) = self.clients.of(site).await?;
        network::connect(&client, &settings, (handle, request)).await
    }
}

#[async_trait]
impl KeepsCredentials for AwsProvider {
    async fn forget_credentials(&self) {
        self.clients.forget().await;
    }
}

#[async_trait]
impl Console for AwsProvider {
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        let (_, client) = self.clients.of(site).await?;
        console::read(&client, handle, offset).await
    }
}
