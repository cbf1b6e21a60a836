//! What the decorators share: one [`Provider`] that hands every call to a layer.
//!
//! Decides nothing. The layers hold the behaviour.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{MachineId, ProviderId, ResourceHandle, Zone};

use crate::adoption::{ObjectRef, ObjectState};
use crate::{
    Adoption, Capabilities, Console, ConsoleChunk, CreateResource, Created, Listing, NetworkNeeds, NetworkRequest,
    Networks, Owner, Page, Provider, ProviderError, ResourceKind, ResourceState, Result, Site, Token,
};

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// [`Provider::catalog`]
    Catalog,
    /// [`Provider::create`]
    Create,
    /// [`Provider::get`]
    Get,
    /// [`Provider::list`]
    List,
    /// [`Provider::delete`]
    Delete,
    /// [`Console::read`]
    Console,
    /// [`Networks::needs`]
    Needs,
    /// [`Networks::connect`]
    Connect,
    /// [`Adoption::account`]
    Account,
    /// [`Adoption::read`]
    Read,
}

impl Operation {
    /// One word for fields.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Console => "console",
            Self::Needs => "needs",
            Self::Connect => "connect",
            Self::Account => "account",
            Self::Read => "read",
        }
    }

    /// Whether it changes anything, so that a lost answer leaves its outcome unknown.
    pub fn writes(self) -> bool {
        match self {
            Self::Create | Self::Delete | Self::Connect => true,
            Self::Catalog | Self::Get | Self::List | Self::Console | Self::Needs | Self::Account | Self::Read => false,
        }
    }
}

/// A call, as far as a layer may know it: nothing secret.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Of which provider.
    pub provider: &'a ProviderId,
    /// What is called.
    pub operation: Operation,
    /// Where.
    pub site: &'a Site,
    /// For which machine of ours, where the call says so.
    pub machine: Option<&'a MachineId>,
    /// On which resource, where there is one.
    pub handle: Option<&'a ResourceHandle>,
}

/// Whose limits and whose credentials a call counts for: the values of the settings that say so.
pub(super) type Account = Vec<Option<String>>;

impl Call<'_> {
    pub(super) fn account(&self, settings: &[&str]) -> Account {
        let value = |name: &&str| self.site.settings.get(*name).cloned();
        settings.iter().map(value).collect()
    }
}

/// One sending of a call.
pub(super) type Sending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What a decorator does around a call: send it never, once or again.
#[async_trait]
pub(super) trait Layer: Send + Sync {
    async fn around<'a, T: Send>(&self, call: Call<'a>, send: &(dyn Fn() -> Sending<'a, T> + Send + Sync))
    -> Result<T>;
}

/// A provider whose every call passes a layer.
pub struct Decorated<L> {
    inner: Arc<dyn Provider>,
    layer: L,
}

impl<L> Decorated<L> {
    pub(super) fn new(inner: Arc<dyn Provider>, layer: L) -> Self {
        Self { inner, layer }
    }

    fn call<'a>(&'a self, operation: Operation, site: &'a Site) -> Call<'a> {
        Call {
            provider: self.inner.id(),
            operation,
            site,
            machine: None,
            handle: None,
        }
    }
}

#[async_trait]
impl<L: Layer> Provider for Decorated<L> {
    fn id(&self) -> &ProviderId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        self.layer
            .around(self.call(Operation::Catalog, site), &|| self.inner.catalog(site))
            .await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        let call = Call {
            machine: Some(&request.tags.machine),
            ..self.call(Operation::Create, &request.site)
        };
        self.layer.around(call, &|| self.inner.create(request)).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        let call = Call {
            handle: Some(handle),
            ..self.call(Operation::Get, site)
        };
        self.layer.around(call, &|| self.inner.get(site, handle)).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let call = self.call(Operation::List, site);
        self.layer
            .around(call, &|| self.inner.list(site, kind, owner, page.clone()))
            .await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        let call = Call {
            handle: Some(handle),
            ..self.call(Operation::Delete, site)
        };
        self.layer
            .around(call, &|| self.inner.delete(site, handle, token))
            .await
    }

    fn console(&self) -> Option<&dyn Console> {
        self.inner.console().map(|_| -> &dyn Console { self })
    }

    fn networks(&self) -> Option<&dyn Networks> {
        self.inner.networks().map(|_| -> &dyn Networks { self })
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        self.inner.adoption().map(|_| -> &dyn Adoption { self })
    }
}

impl<L> Decorated<L> {
    fn inner_networks(&self) -> Result<&dyn Networks> {
        self.inner.networks().ok_or_else(|| ProviderError::Unsupported {
            message: "making networks".to_owned(),
        })
    }

    fn inner_adoption(&self) -> Result<&dyn Adoption> {
        self.inner.adoption().ok_or_else(|| ProviderError::Unsupported {
            message: "reading what others made".to_owned(),
        })
    }
}

#[async_trait]
impl<L: Layer> Networks for Decorated<L> {
    async fn needs(&self, site: &Site, zone: &Zone) -> Result<NetworkNeeds> {
        let networks = self.inner_networks()?;
        self.layer
            .around(self.call(Operation::Needs, site), &|| networks.needs(site, zone))
            .await
    }

    async fn connect(&self, site: &Site, handle: &ResourceHandle, request: &NetworkRequest) -> Result<()> {
        let networks = self.inner_networks()?;
        let call = Call {
            handle: Some(handle),
            ..self.call(Operation::Connect, site)
        };
        self.layer
            .around(call, &|| networks.connect(site, handle, request))
            .await
    }
}

#[async_trait]
impl<L: Layer> Adoption for Decorated<L> {
    async fn account(&self, site: &Site) -> Result<String> {
        let adoption = self.inner_adoption()?;
        self.layer
            .around(self.call(Operation::Account, site), &|| adoption.account(site))
            .await
    }

    async fn read(&self, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>> {
        let adoption = self.inner_adoption()?;
        self.layer
            .around(self.call(Operation::Read, site), &|| adoption.read(site, objects))
            .await
    }
}

#[async_trait]
impl<L: Layer> Console for Decorated<L> {
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        let no_console = || ProviderError::Unsupported {
            message: "reading a console".to_owned(),
        };
        let console = self.inner.console().ok_or_else(no_console)?;
        let call = Call {
            handle: Some(handle),
            ..self.call(Operation::Console, site)
        };
        self.layer.around(call, &|| console.read(site, handle, offset)).await
    }
}
