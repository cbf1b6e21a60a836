//! The [`Provider`] over Azure's resource manager: which calls each of its functions is, and nothing else. One call of a
//! machine's making, two at most of a look at it. Used by the engine behind the decorators.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_mgmt_compute::package_2024_07_01::models::VirtualMachine;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ProviderId, ResourceHandle};
use isobar_engine_provider::decorate::KeepsCredentials;
use isobar_engine_provider::endpoint;
use isobar_engine_provider::live::LiveFacts;
use isobar_engine_provider::prices::{FRESH_MS, PriceTable};
use isobar_engine_provider::snapshot::Snapshot;
use isobar_engine_provider::{
    Adoption, Capabilities, Clock, Console, ConsoleChunk, CreateResource, Created, Listing, Networks, Owner, Page,
    Provider, ProviderError, ResourceKind, ResourceSpec, ResourceState, Result, Site, Token,
};
use reqwest::Method;
use serde::de::DeserializeOwned;

use crate::arm::{Arm, Call, List};
use crate::body::{self, IDENTITY_MAX_BYTES};
use crate::catalog::{self, Sku, Usage, prices};
use crate::console;
use crate::credentials::Credentials;
use crate::look::{self, Part};
use crate::names::{self, Named, Names};
use crate::paths::{MACHINES, SKUS, collection, path, version};
use crate::settings::Settings;
use crate::walk::{Beside, Walks};

/// How long an attempt may be sent again, in ms. A name is taken for as long as its machine is there, so this is ours: after
/// a deletion Azure has forgotten it (docs/clouds/azure.md).
const TOKEN_VALIDITY_MS: u64 = 3_600_000;
/// After so long lists show what was made, in ms. Azure gives no bound; its own clients wait so long for what they have
/// just made. <https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-not-found>
const VISIBILITY_DELAY_MAX_MS: u64 = 60_000;
/// Settings that say whose account a site is. Requests are throttled for a subscription and region.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>
const ACCOUNT_SETTINGS: [&str; 2] = ["subscription", endpoint::SETTING];
/// A list that is read to its end has at most so many pages.
const PAGES_MAX: usize = 200;
/// So many things that this process deleted are remembered.
const DELETED_MAX: usize = 10_000;

/// What the engine's starter decides.
#[derive(Debug, Clone)]
pub struct AzureConfig {
    /// The name that specs use.
    pub id: ProviderId,
    /// Addresses besides Azure's own to which a site may send our credentials.
    pub allowed_endpoints: Vec<String>,
    /// Who we are.
    pub credentials: Credentials,
}

/// Azure as the engine sees it.
pub struct AzureProvider {
    id: ProviderId,
    pub(crate) arm: Arm,
    clock: Arc<dyn Clock>,
    listed: Snapshot,
    live: LiveFacts<PriceTable>,
    deleted: Mutex<Deleted>,
    walks: Mutex<Walks>,
}

/// Machines and parts of networks that this process saw deleted, the newest last.
#[derive(Default)]
struct Deleted {
    known: BTreeSet<ResourceHandle>,
    order: VecDeque<ResourceHandle>,
}

impl AzureProvider {
    /// Asks nobody: credentials are found at the first call.
    pub fn new(config: AzureConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            id: config.id,
            arm: Arm::new(config.credentials, config.allowed_endpoints)?,
            clock,
            listed: catalog::snapshot()?,
            live: LiveFacts::fresh_for(FRESH_MS),
            deleted: Mutex::default(),
            walks: Mutex::default(),
        })
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        site: &Site,
        path: String,
        query: &[(&str, &str)],
    ) -> Result<T> {
        self.arm.send(site, Call::get(path, query)).await?.read()
    }

    async fn read_all<T: DeserializeOwned>(&self, site: &Site, path: String, query: &[(&str, &str)]) -> Result<Vec<T>> {
        let mut page: List<T> = self.read(site, path, query).await?;
        let mut all = page.value;
        for _ in 1..PAGES_MAX {
            let Some(next) = page.next_link else { return Ok(all) };
            page = self.read(site, next, &[]).await?;
            all.append(&mut page.value);
        }
        Err(ProviderError::Unexpected {
            message: "a list that does not end".to_owned(),
        })
    }

    async fn vm(&self, site: &Site, settings: &Settings, name: &str) -> Result<VirtualMachine> {
        let path = path(settings, ResourceKind::Machine, name);
        let query = [("api-version", MACHINES), ("$expand", "instanceView")];
        self.read(site, path, &query).await
    }

    /// A name in use: by our own request, or by something else.
    async fn made_before(&self, site: &Site, settings: &Settings, wanted: &body::Wanted) -> Result<Created> {
        let vm = match self.vm(site, settings, &wanted.names.machine).await {
            // Deleted meanwhile, or not shown yet: only a look tells.
            Err(ProviderError::NotFound) => {
                return Err(ProviderError::OutcomeUnknown {
                    message: "the name is taken, and nothing shows by it".to_owned(),
                });
            }
            other => other?,
        };
        if look::tag(&vm, body::REQUEST) != Some(&wanted.digest) {
            return Err(ProviderError::Conflict {
                message: format!("{} was made by another request", wanted.names.machine),
            });
        }
        Ok(Created {
            handle: wanted.names.handle(),
        })
    }

    /// Asks for a deletion. False: there was nothing to delete.
    async fn remove(&self, site: &Site, settings: &Settings, (kind, name): (ResourceKind, &str)) -> Result<bool> {
        let query = [("api-version", version(kind))];
        let call = Call::of(Method::DELETE, path(settings, kind, name), &query);
        match self.arm.send(site, call).await {
            // 202: accepted. 204: there is none of that name.
            Ok(answer) => Ok(answer.status != 204),
            Err(ProviderError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A machine goes with all that was made with it; what Azure left of that is deleted by name.
    async fn remove_machine(&self, site: &Site, settings: &Settings, names: &Names) -> Result<bool> {
        if self
            .remove(site, settings, (ResourceKind::Machine, &names.machine))
            .await?
        {
            return Ok(true);
        }
        let mut left = self.remove(site, settings, (ResourceKind::Disk, &names.disk)).await?;
        left |= self
            .remove(site, settings, (ResourceKind::Interface, &names.interface()))
            .await?;
        if settings.data_disk_gib.is_some() {
            left |= self
                .remove(site, settings, (ResourceKind::Disk, &names.data_disk()))
                .await?;
        }
        if settings.public_address {
            left |= self
                .remove(site, settings, (ResourceKind::Address, &names.address()))
                .await?;
        }
        Ok(left)
    }

    async fn machines(
        &self,
        site: &Site,
        settings: &Settings,
        (owner, page): (&Owner, Option<Page>),
    ) -> Result<Listing> {
        // The list of cards is as long as that of machines: it is read once for all of its pages.
        let known = page.as_ref().and_then(|Page(next)| self.walks().take(next));
        let list: List<VirtualMachine> = self.page(site, settings, (ResourceKind::Machine, page)).await?;
        let ours = |vm: &VirtualMachine| look::owner(vm).is_some_and(|tags| tags.owner == *owner);
        let vms: Vec<_> = list.value.into_iter().filter(ours).collect();
        let beside = match known {
            Some(beside) => beside,
            None if vms.is_empty() => Arc::default(),
            None => Arc::new(self.beside(site, settings).await?),
        };
        let mut items = vms
            .iter()
            .map(|vm| look::machine(vm, look::card_id(vm).and_then(|id| beside.card(id)), &beside.addresses))
            .collect::<Result<Vec<_>>>()?;
        items.sort_by(|one, other| one.handle.cmp(&other.handle));
        if let Some(next) = &list.next_link
            && !vms.is_empty()
        {
            self.walks().keep(next.clone(), beside);
        }
        let next = list.next_link.map(Page);
        Ok(Listing { items, next })
    }

    /// What lists of machines say nothing of.
    async fn beside(&self, site: &Site, settings: &Settings) -> Result<Beside> {
        let cards = self.parts(site, settings, ResourceKind::Interface).await?;
        let addresses = if settings.public_address {
            self.parts(site, settings, ResourceKind::Address).await?
        } else {
            Vec::new()
        };
        Ok(Beside::of(cards, addresses))
    }

    async fn parts(&self, site: &Site, settings: &Settings, kind: ResourceKind) -> Result<Vec<Part>> {
        let query = [("api-version", version(kind))];
        self.read_all(site, collection(settings, kind), &query).await
    }

    async fn page<T: DeserializeOwned>(
        &self,
        site: &Site,
        settings: &Settings,
        (kind, page): (ResourceKind, Option<Page>),
    ) -> Result<List<T>> {
        let query = [("api-version", version(kind))];
        match page {
            Some(Page(next)) => self.read(site, next, &[]).await,
            None => self.read(site, collection(settings, kind), &query).await,
        }
    }

    fn walks(&self) -> std::sync::MutexGuard<'_, Walks> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was deleted is not made again under the same name.
    pub(crate) fn refuse_deleted(&self, handle: &ResourceHandle) -> Result<()> {
        if self.deleted().known.contains(handle) {
            return Err(ProviderError::Conflict {
                message: format!("{handle} was made and deleted"),
            });
        }
        Ok(())
    }

    fn deleted(&self) -> std::sync::MutexGuard<'_, Deleted> {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deleted {
    fn remember(&mut self, handle: ResourceHandle) {
        if self.known.insert(handle.clone()) {
            self.order.push_back(handle);
        }
        if self.order.len() > DELETED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[async_trait]
impl KeepsCredentials for AzureProvider {
    async fn forget_credentials(&self) {
        self.arm.forget_credentials();
    }
}

#[async_trait]
impl Provider for AzureProvider {
    fn id(&self) -> &ProviderId {
        &self.id
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
        let settings = Settings::of(site)?;
        let compute = format!("/subscriptions/{}/providers/Microsoft.Compute", settings.subscription);
        let here = format!("location eq '{}'", settings.region);
        let query = [("api-version", SKUS), ("$filter", here.as_str())];
        let skus: Vec<Sku> = self.read_all(site, format!("{compute}/skus"), &query).await?;
        let usages = format!("{compute}/locations/{}/usages", settings.region);
        let usages = self.read_all(site, usages, &[("api-version", MACHINES)]).await;
        let usages: Vec<Usage> = usages.unwrap_or_else(|error| {
            tracing::warn!(site = %site.name, %error, "the quota is not known");
            Vec::new()
        });
        let mut offerings = catalog::offerings(site, &settings, &self.listed, &skus)?;
        let service = format!("{}/{}", self.arm.base(site, prices::SERVICE)?, settings.region);
        let ask = prices::ask(&self.arm, site, &settings.region);
        if let Some(live) = self.live.of(service, &*self.clock, ask).await {
            live.price(&mut offerings);
        }
        Ok(SiteCatalog {
            site: site.name.clone(),
            as_of: self.clock.now(),
            machines_left: catalog::machines_left(&usages, &offerings),
            offerings,
            images: catalog::images(&settings),
        })
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        if let ResourceSpec::Network(part) = &request.spec {
            return self.create_part(request, part).await;
        }
        let settings = Settings::of(&request.site)?;
        let wanted = body::wanted(request, &settings)?;
        let handle = wanted.names.handle();
        self.refuse_deleted(&handle)?;
        let path = path(&settings, ResourceKind::Machine, &wanted.names.machine);
        let query = [("api-version", MACHINES)];
        let call = Call {
            body: Some(wanted.body.clone()),
            only_new: true,
            ..Call::of(Method::PUT, path, &query)
        };
        match self.arm.send(&request.site, call).await {
            Ok(_) => Ok(Created { handle }),
            Err(ProviderError::Conflict { message }) if message.starts_with("PreconditionFailed") => {
                self.made_before(&request.site, &settings, &wanted).await
            }
            Err(error) => Err(error),
        }
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        let settings = Settings::of(site)?;
        match names::named(handle).ok_or(ProviderError::NotFound)? {
            Named::Machine(named) => {
                let vm = self.vm(site, &settings, &named.machine).await?;
                let card = match look::card_id(&vm) {
                    Some(id) if id.starts_with('/') => {
                        let query = [
                            ("api-version", version(ResourceKind::Interface)),
                            ("$expand", "ipConfigurations/publicIPAddress"),
                        ];
                        match self.read::<Part>(site, id.to_owned(), &query).await {
                            Err(ProviderError::NotFound) => None,
                            other => Some(other?),
                        }
                    }
                    Some(_) | None => None,
                };
                let state = look::machine(&vm, card.as_ref(), &[])?;
                // Another machine under a name that was free again is not this one.
                Some(state)
                    .filter(|state| state.handle == *handle)
                    .ok_or(ProviderError::NotFound)
            }
            Named::Part(kind, name) => {
                let part = self.part(site, &settings, (kind, &name)).await?;
                Ok(part.state(kind))
            }
        }
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let settings = Settings::of(site)?;
        match kind {
            ResourceKind::Machine => self.machines(site, &settings, (owner, page)).await,
            ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Network
            | ResourceKind::Firewall => {
                let list: List<Part> = self.page(site, &settings, (kind, page)).await?;
                let states = list.value.iter().map(|part| part.state(kind));
                let ours = |state: &ResourceState| state.tags.as_ref().is_some_and(|tags| tags.owner == *owner);
                let mut items: Vec<_> = states.filter(ours).collect();
                items.sort_by(|one, other| one.handle.cmp(&other.handle));
                let next = list.next_link.map(Page);
                Ok(Listing { items, next })
            }
            // Never made by themselves.
            ResourceKind::Gateway | ResourceKind::Subnet => Ok(Listing {
                items: Vec::new(),
                next: None,
            }),
        }
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, _token: &Token) -> Result<()> {
        let settings = Settings::of(site)?;
        let there = match names::named(handle).ok_or(ProviderError::NotFound)? {
            Named::Machine(named) => {
                let there = self.remove_machine(site, &settings, &named).await?;
                self.deleted().remember(handle.clone());
                there
            }
            Named::Part(kind, name) => {
                let there = self.remove(site, &settings, (kind, &name)).await?;
                if kind.is_network() {
                    self.deleted().remember(handle.clone());
                }
                there
            }
        };
        if there { Ok(()) } else { Err(ProviderError::NotFound) }
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
impl Console for AzureProvider {
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        let settings = Settings::of(site)?;
        let Some(Named::Machine(named)) = names::named(handle) else {
            return Err(ProviderError::NotFound);
        };
        let machine = path(&settings, ResourceKind::Machine, &named.machine);
        console::read(&self.arm, site, (machine, MACHINES), offset).await
    }
}
