//! What the engine asks of a place that rents machines, and what every such place must answer.
//!
//! [`Provider`] is the contract; [`error::ProviderError`] says what the caller does next; [`decorate`] adds retries,
//! rate limits and traces around any provider; [`conformance`] is the suite that every provider passes. [`labels`],
//! [`offering`], [`endpoint`], [`answer`], [`live`], [`prices`] and [`snapshot`] are what clouds have in common. Knows no cloud's words; never reads the
//! store; nothing here blocks until a machine is ready: the engine polls.

pub mod adoption;
pub mod answer;
pub mod clock;
pub mod conformance;
mod console;
pub mod data_disk;
pub mod decorate;
pub mod endpoint;
pub mod error;
pub mod labels;
mod list;
pub mod live;
pub mod offering;
pub mod prices;
pub mod resource;
pub mod snapshot;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ProviderId, ResourceHandle, Zone};

pub use adoption::Adoption;
pub use clock::{Clock, Entropy};
pub use error::{ProviderError, Result};
pub use list::{LIST_MAX_PAGES, list_all};
pub use resource::{
    Capabilities, ConsoleChunk, CreateResource, Created, Listing, MachineRequest, Network, NetworkNeeds, NetworkPart,
    NetworkRequest, Owner, OwnerTags, Page, ResourceKind, ResourceSpec, ResourceState, ResourceStatus, Secret, Site,
    Token,
};

/// A place that rents or owns machines.
///
/// Every call may fail with [`ProviderError::OutcomeUnknown`]: the caller then asks again with the same token or finds
/// out by `get` and `list`. No call retries by itself; [`decorate`] does.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The name specs use: `local`, `aws` ...
    fn id(&self) -> &ProviderId;

    /// What a branch of the planner, of the executor or of a decorator depends on.
    fn capabilities(&self) -> Capabilities;

    /// Offerings, images and quota of a site. May be cached; [`SiteCatalog::as_of`] says from when it is.
    async fn catalog(&self, site: &Site) -> Result<SiteCatalog>;

    /// Makes a resource, tagged with its owner in the same call. Ok means accepted, not ready.
    ///
    /// Idempotent by token: the same token with the same request answers with the resource made first, also after a
    /// crash of the caller or of the provider's own process, for at least [`Capabilities::token_validity_ms`]. The same
    /// token with another request is [`ProviderError::Conflict`]; so is a name in use under another token, where the cloud knows unique
    /// names at all: a caller derives name and token from the same attempt, so that the token alone is enough.
    async fn create(&self, request: &CreateResource) -> Result<Created>;

    /// One resource as it is now. `NotFound` may be early: a new resource can be invisible for a while. `Gone` is for good.
    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState>;

    /// The resources of one kind that carry the owner's tags, in handle order. May lag behind `create` and `delete`.
    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing>;

    /// Deletes a resource and what was made with it. Ok means accepted, not gone: call until `NotFound` or
    /// `Gone`.
    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()>;

    /// The console area, where the provider has one.
    fn console(&self) -> Option<&dyn Console>;

    /// The network area, where machines need something around them before they can be made.
    fn networks(&self) -> Option<&dyn Networks>;

    /// The area for what others made there, where it can be taken over.
    fn adoption(&self) -> Option<&dyn Adoption>;
}

/// What machines need around them at a site. Its parts are resources like machines: made by [`Provider::create`], tagged
/// with their owner in the same call, listed, and deleted. A part that is in use answers a deletion with
/// [`ProviderError::NotReady`].
#[async_trait]
pub trait Networks: Send + Sync {
    /// What machines of a zone are connected to: what is there, and what has to be made first. Changes nothing.
    async fn needs(&self, site: &Site, zone: &Zone) -> Result<NetworkNeeds>;

    /// Brings a part that was made to where machines can use it: attaches it, opens its ports. The same however often.
    /// [`ProviderError::NotReady`]: not yet; [`ProviderError::NotFound`]: it is not there, or not yet.
    async fn connect(&self, site: &Site, handle: &ResourceHandle, request: &NetworkRequest) -> Result<()>;
}

/// A machine's serial console, kept by the provider.
#[async_trait]
pub trait Console: Send + Sync {
    /// What the console printed from byte `offset` on, at most [`resource::CONSOLE_CHUNK_MAX_BYTES`].
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk>;
}
