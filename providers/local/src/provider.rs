//! The [`Provider`] over local machines: hands every call to a blocking thread and its answer back. Once handed over,
//! a call is carried out whatever becomes of its future.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ProviderId, ResourceHandle};
use isobar_engine_provider::{
    Adoption, Capabilities, Clock, Console, ConsoleChunk, CreateResource, Created, Listing, Networks, Owner, Page,
    Provider, ProviderError, ResourceKind, ResourceState, Result, Site, Token,
};
use tokio::task::spawn_blocking;

use crate::config::LocalConfig;
use crate::machines::{Machines, TOKEN_VALIDITY_MS};
use crate::offers::IDENTITY_MAX_BYTES;

/// Machines on this computer.
pub struct LocalProvider {
    machines: Arc<Machines>,
    clock: Arc<dyn Clock>,
}

/// The machines' folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("open the folder of the local machines, {}", folder.display())]
pub struct OpenError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

impl std::fmt::Debug for LocalProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalProvider")
            .field("machines", &self.machines)
            .finish_non_exhaustive()
    }
}

impl LocalProvider {
    /// Opens or makes the machines' folder; machines of an earlier process are found there. The image may be built
    /// later.
    pub fn new(config: LocalConfig, clock: Arc<dyn Clock>) -> std::result::Result<Self, OpenError> {
        let folder = config.data.clone();
        let machines = Machines::open(config).map_err(|source| OpenError { folder, source })?;
        Ok(Self {
            machines: Arc::new(machines),
            clock,
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Machines) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let machines = Arc::clone(&self.machines);
        let ended = spawn_blocking(move || work(&machines)).await;
        ended.unwrap_or_else(|error| {
            Err(ProviderError::OutcomeUnknown {
                message: format!("interrupted: {error}"),
            })
        })
    }
}

#[async_trait]
impl Provider for LocalProvider {
    fn id(&self) -> &ProviderId {
        &self.machines.config().id
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_validity_ms: TOKEN_VALIDITY_MS,
            visibility_delay_max_ms: 0,
            identity_max_bytes: IDENTITY_MAX_BYTES,
            account_settings: &[],
            network_token_validity_ms: 0,
            sees_engine_at: Some(crate::HOST_SEEN_BY_GUESTS),
        }
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        let (site, now) = (site.clone(), self.clock.now());
        self.blocking(move |machines| machines.catalog(&site, now)).await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        let (request, now) = (request.clone(), self.clock.now());
        self.blocking(move |machines| machines.create(&request, now)).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        let (site, handle) = (site.clone(), handle.clone());
        self.blocking(move |machines| machines.get(&site, &handle)).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let (site, owner) = (site.clone(), owner.clone());
        match kind {
            ResourceKind::Machine => {
                self.blocking(move |machines| machines.list(&site, &owner, page.as_ref()))
                    .await
            }
            // A machine's folder holds its disk; its network card and ports are its process's.
            ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Network
            | ResourceKind::Gateway
            | ResourceKind::Subnet
            | ResourceKind::Firewall => Ok(Listing {
                items: Vec::new(),
                next: None,
            }),
        }
    }

    /// The token is not needed: deleting twice is deleting once.
    async fn delete(&self, site: &Site, handle: &ResourceHandle, _token: &Token) -> Result<()> {
        let (site, handle, now) = (site.clone(), handle.clone(), self.clock.now());
        self.blocking(move |machines| machines.delete(&site, &handle, now))
            .await
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        None
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        None
    }
}

#[async_trait]
impl Console for LocalProvider {
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        let (site, handle) = (site.clone(), handle.clone());
        self.blocking(move |machines| machines.console(&site, &handle, offset))
            .await
    }
}
