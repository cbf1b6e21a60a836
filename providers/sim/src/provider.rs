//! The [`Provider`] over a simulated cloud: what a client sees, late, twice or not at all.
//!
//! Holds no state: a new one over the same cloud is what a restarted process has. Used by the engine's tests, by
//! benchmarks and by the conformance suite.

use std::collections::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ProviderId, ResourceHandle, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::resource::{CONSOLE_CHUNK_MAX_BYTES, PAGE_MAX_ITEMS};
use isobar_engine_provider::{
    Adoption, Capabilities, Console, ConsoleChunk, CreateResource, Created, Listing, Network, NetworkNeeds,
    NetworkPart, NetworkRequest, Networks, Owner, Page, Provider, ProviderError, ResourceKind, ResourceState, Result,
    Site, Token,
};

use crate::cloud::SimCloud;
use crate::fault::{Fault, Operation};
use crate::world::World;

/// A client of a [`SimCloud`].
#[derive(Clone)]
pub struct SimProvider {
    id: ProviderId,
    cloud: SimCloud,
}

/// What a call meets on its way, drawn when it comes in.
struct Weather {
    latency_ms: u64,
    give_up_ms: u64,
    throttle_ms: u64,
    late_by_ms: u64,
    lag_ms: u64,
    fault: Option<Fault>,
}

impl SimProvider {
    /// A client of `cloud` that answers to the name `id` in specs.
    pub fn new(id: ProviderId, cloud: SimCloud) -> Self {
        Self { id, cloud }
    }

    /// Draws what the call meets, always the same number of draws, and waits until it arrives.
    async fn travel(&self, operation: Operation) -> Weather {
        let weather = self.cloud.now_in(|world, _| {
            let fault = world.fault_of_call(operation);
            let timing = world.config.timing;
            Weather {
                latency_ms: world.random.within(timing.latency_ms),
                give_up_ms: world.random.within(timing.give_up_ms),
                throttle_ms: world.random.within(timing.throttle_ms),
                late_by_ms: world.random.within(timing.late_by_ms),
                lag_ms: world
                    .random
                    .within((1, (world.config.visibility_delay_max_ms / 2).max(1))),
                fault,
            }
        });
        self.wait(weather.latency_ms).await;
        weather
    }

    /// The resources of one kind in a site's region, whoever's they are, as [`Provider::list`] pages them: what a cloud
    /// shows that does not filter by tags.
    pub async fn list_everyone(&self, site: &Site, kind: ResourceKind, page: Option<Page>) -> Result<Listing> {
        self.list_where(site, kind, page, |_| true).await
    }

    async fn list_where(
        &self,
        site: &Site,
        kind: ResourceKind,
        page: Option<Page>,
        wanted: impl Fn(&ResourceState) -> bool + Send,
    ) -> Result<Listing> {
        self.read(Operation::List, |world, moment| {
            world.region(&site.region)?;
            let after = match page {
                Some(Page(last)) => Bound::Excluded(ResourceHandle::new(last)),
                None => Bound::Unbounded,
            };
            let mut listed = world
                .all_seen(kind, &site.region, (after, moment))
                .filter(|state| wanted(state));
            let items: Vec<_> = listed.by_ref().take(PAGE_MAX_ITEMS).collect();
            let last = items.last().map(|state| Page(state.handle.as_str().to_owned()));
            let next = last.filter(|_| listed.next().is_some());
            Ok(Listing { items, next })
        })
        .await
    }

    async fn wait(&self, ms: u64) {
        if ms > 0 {
            self.cloud.clock().sleep(Duration::from_millis(ms)).await;
        }
    }

    fn count(&self, fault: Fault) {
        self.cloud.now_in(|world, _| world.counters.count(fault));
    }

    /// Fails a call before anything is done, where its fault says so.
    async fn depart(&self, weather: &Weather, write: bool) -> Result<()> {
        let Some(fault) = weather.fault else { return Ok(()) };
        match fault {
            Fault::Refused => {
                self.count(fault);
                Err(ProviderError::Unavailable {
                    message: "connection refused".to_owned(),
                })
            }
            Fault::Unauthorized => {
                self.count(fault);
                Err(ProviderError::Unauthorized {
                    message: "the credentials have expired".to_owned(),
                })
            }
            Fault::Throttled => {
                self.count(fault);
                Err(ProviderError::RateLimited {
                    after: Some(Duration::from_millis(weather.throttle_ms)),
                })
            }
            Fault::LostRequest => {
                self.count(fault);
                self.wait(weather.give_up_ms).await;
                Err(lost(write))
            }
            Fault::LostAnswer
            | Fault::LateRequest
            | Fault::NoCapacity
            | Fault::OverQuota
            | Fault::LateVisibility
            | Fault::StaleRead
            | Fault::SlowDelete
            | Fault::Death
            | Fault::PartialCreate
            | Fault::LeftBehind => Ok(()),
        }
    }

    /// Loses the answer to what was done, where the call's fault says so.
    async fn come_back<T>(&self, weather: &Weather, write: bool, answer: Result<T>) -> Result<T> {
        if weather.fault == Some(Fault::LostAnswer) {
            self.count(Fault::LostAnswer);
            self.wait(weather.give_up_ms).await;
            return Err(lost(write));
        }
        answer
    }

    /// A read: it fails as a whole, or sees the world as it is or was.
    pub(crate) async fn read<T>(
        &self,
        operation: Operation,
        look: impl FnOnce(&mut World, Timestamp) -> Result<T>,
    ) -> Result<T> {
        let weather = self.travel(operation).await;
        self.depart(&weather, false).await?;
        let answer = self.cloud.now_in(|world, now| {
            let mut moment = now;
            if weather.fault == Some(Fault::StaleRead) {
                world.counters.count(Fault::StaleRead);
                moment = Timestamp(now.0.saturating_sub(weather.lag_ms));
            }
            look(world, moment)
        });
        self.come_back(&weather, false, answer).await
    }
}

#[async_trait]
impl Provider for SimProvider {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn capabilities(&self) -> Capabilities {
        self.cloud.now_in(|world, _| Capabilities {
            token_validity_ms: world.config.token_validity_ms,
            visibility_delay_max_ms: world.config.visibility_delay_max_ms,
            identity_max_bytes: world.config.identity_max_bytes,
            account_settings: &[],
            network_token_validity_ms: world.config.network_token_validity_ms,
            sees_engine_at: Some("127.0.0.1"),
        })
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        self.read(Operation::Catalog, |world, moment| {
            let region = world.region(&site.region)?;
            Ok(SiteCatalog {
                site: site.name.clone(),
                as_of: moment,
                offerings: region.offerings(moment),
                images: region.images(),
                machines_left: Some(world.machines_left(&site.region)?),
            })
        })
        .await
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        let weather = self.travel(Operation::Create).await;
        self.depart(&weather, true).await?;
        let request = Arc::new(request.clone());
        if weather.fault == Some(Fault::LateRequest) {
            self.cloud.now_in(|world, now| {
                world.counters.count(Fault::LateRequest);
                world.arrive_at(
                    now.plus_ms(weather.give_up_ms.saturating_add(weather.late_by_ms)),
                    request,
                );
            });
            self.wait(weather.give_up_ms).await;
            return Err(lost(true));
        }
        let answer = self
            .cloud
            .now_in(|world, now| world.create(&request, weather.fault, now));
        self.come_back(&weather, true, answer).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        self.read(Operation::Get, |world, moment| {
            let seen = world.seen(&site.region, handle, moment);
            seen.ok_or_else(|| world.absent(&site.region, handle, moment))
        })
        .await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let ours = |state: &ResourceState| state.tags.as_ref().is_some_and(|tags| tags.owner == *owner);
        self.list_where(site, kind, page, ours).await
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, _token: &Token) -> Result<()> {
        let weather = self.travel(Operation::Delete).await;
        self.depart(&weather, true).await?;
        let answer = self
            .cloud
            .now_in(|world, now| world.delete(&site.region, handle, weather.fault, now));
        self.come_back(&weather, true, answer).await
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        let there = self.cloud.now_in(|world, _| !world.config.network.is_empty());
        there.then_some(self as &dyn Networks)
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        Some(self)
    }
}

#[async_trait]
impl Networks for SimProvider {
    async fn needs(&self, _site: &Site, zone: &Zone) -> Result<NetworkNeeds> {
        self.read(Operation::Needs, |world, _| {
            let part = |kind: &ResourceKind| NetworkPart {
                kind: *kind,
                zone: (*kind == ResourceKind::Subnet).then(|| zone.clone()),
            };
            Ok(NetworkNeeds {
                found: Network::new(),
                make: world.config.network.iter().map(part).collect(),
            })
        })
        .await
    }

    async fn connect(&self, site: &Site, handle: &ResourceHandle, _request: &NetworkRequest) -> Result<()> {
        let weather = self.travel(Operation::Connect).await;
        self.depart(&weather, true).await?;
        let answer = self
            .cloud
            .now_in(|world, now| world.networks.connect(&site.region, handle, now));
        self.come_back(&weather, true, answer).await
    }
}

#[async_trait]
impl Console for SimProvider {
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        SimProvider::read(self, Operation::Console, |world, moment| {
            let machine = world
                .machines
                .get(handle)
                .filter(|machine| machine.region() == site.region);
            let machine = machine
                .filter(|machine| machine.seen_at(moment).is_some())
                .ok_or(ProviderError::NotFound)?;
            let printed = machine.console().into_bytes();
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(printed.len());
            let to = from.saturating_add(CONSOLE_CHUNK_MAX_BYTES).min(printed.len());
            Ok(ConsoleChunk {
                bytes: printed[from..to].to_vec(),
                next_offset: offset + (to - from) as u64,
            })
        })
        .await
    }
}

/// What the caller of a call without an answer knows: a read did nothing, a write may have.
fn lost(write: bool) -> ProviderError {
    let message = "no answer".to_owned();
    if write {
        ProviderError::OutcomeUnknown { message }
    } else {
        ProviderError::Unavailable { message }
    }
}
