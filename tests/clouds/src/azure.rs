//! Azure's resource manager over a simulated cloud: `/subscriptions/...` with bearer tokens, versions, conditional PUTs,
//! operations, pages and errors as its documentation has them; each request is checked against Microsoft's OpenAPI.
//!
//! What the specification has nothing for is refused and kept in [`AzureCloud::violations`], which a test asks at its end.
//! State is the simulated cloud's, but for the bodies of the PUTs. Used by tests.

mod answer;
mod console;
mod identity;
mod made;
mod model;
mod network;
mod prices;
mod route;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::routing::get;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{ProviderId, SiteName, Zone};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources};
use isobar_engine_provider::Site;
use isobar_providers_sim::{RegionConfig, Shape, SimCloud, SimConfig, SimNetworkPart, SimProvider, ZoneConfig};
use serde_json::Value;

use crate::asked::Asked;
use crate::front::{Calls, Door, Front};
use made::Made;
use model::Model;
pub use model::openapi;
use network::Bodies;
pub use prices::Lie;

/// The only region there is.
pub const REGION: &str = "westeurope";
/// The first token that counts.
pub const TOKEN: &str = "a-token-of-entra";
/// The subscription that it is for.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
/// The only resource group.
pub const GROUP: &str = "isobar";

/// So many things are on a page, so that every list has several, unless somebody says otherwise.
pub const PAGE_ITEMS: usize = 2;

/// For what tokens are.
const RESOURCE: &str = "https://management.azure.com";
/// What engines' machines boot.
pub const ENGINE_IMAGE: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/isobar/images/engine";
/// An image that machines boot.
pub const IMAGE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/isobar/images/node";
/// A subnet for their network cards.
pub const SUBNET: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/nodes";

/// A strict Azure.
pub struct AzureCloud {
    /// Where it answers, and what it was asked.
    pub front: Front,
    state: Arc<State>,
}

struct State {
    sim: SimProvider,
    cloud: SimCloud,
    site: Site,
    model: Model,
    calls: Calls,
    door: Door,
    page_items: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By name in lower case; also of machines that are gone.
    made: BTreeMap<String, Made>,
    /// Where machines are on the internet, as far as somebody has said it, by name in lower case.
    addresses: BTreeMap<String, Ipv4Addr>,
    networks: Bodies,
    /// What others made, by id in lower case.
    others: BTreeMap<String, Value>,
    puts: u64,
    /// How often all tokens that were given out ceased to count.
    expiries: u64,
    /// The code with which the next machine fails once it is accepted.
    fail_next: Option<String>,
    /// What the price service says instead of the truth.
    lie: Option<Lie>,
    /// Where consoles are said to be, instead of here.
    blobs: Option<String>,
    violations: Vec<String>,
}

/// A simulated cloud that looks like a region of Azure: three zones, and the region for machines that choose none.
pub fn config(seed: u64) -> SimConfig {
    let zone = |name: String| ZoneConfig {
        zone: Zone::new(name),
        capacity_machines: 10_000,
        price_percent: 100,
    };
    let shape = |size: &str, purchase| Shape {
        instance_type: size.to_owned(),
        purchase,
        total: Resources {
            cpu: MilliCpus(2000),
            memory: Mebibytes(8192),
        },
        price: MicroUsdPerHour(115_000),
    };
    let sizes = ["Standard_D2s_v5", "Standard_D2ps_v5"];
    let shapes = sizes
        .iter()
        .flat_map(|size| [shape(size, Purchase::OnDemand), shape(size, Purchase::Spot)]);
    let numbered = (1..=3).map(|number| zone(format!("{REGION}-{number}")));
    let region = RegionConfig {
        zones: std::iter::once(zone(REGION.to_owned())).chain(numbered).collect(),
        shapes: shapes.collect(),
        quota_machines: 25_000,
    };
    SimConfig {
        regions: BTreeMap::from([(REGION.to_owned(), region)]),
        // More than any user data, whose bound is the front's to keep.
        identity_max_bytes: 1 << 20,
        ..SimConfig::of_regions(seed, &[])
    }
}

impl AzureCloud {
    /// Serves a simulated cloud that was made of [`config`].
    pub async fn serve(cloud: SimCloud) -> io::Result<Self> {
        Self::serve_paged(cloud, PAGE_ITEMS).await
    }

    /// The same, with lists in pages of so many.
    pub async fn serve_paged(cloud: SimCloud, page_items: usize) -> io::Result<Self> {
        let named = || io::Error::other("a name");
        let (calls, door) = (Calls::default(), Door::default());
        let state = Arc::new(State {
            sim: SimProvider::new(ProviderId::new("sim").map_err(|_| named())?, cloud.clone()),
            cloud,
            site: Site {
                name: SiteName::new(REGION).map_err(|_| named())?,
                provider: ProviderId::new("sim").map_err(|_| named())?,
                region: REGION.to_owned(),
                settings: BTreeMap::new(),
            },
            model: Model::read(),
            calls: calls.clone(),
            door: door.clone(),
            page_items,
            kept: Mutex::default(),
        });
        let router = Router::new().fallback(route::answer).with_state(Arc::clone(&state));
        let beside = Router::new()
            .route(identity::PATH, get(identity::give))
            .route(prices::PATH, get(prices::answer))
            .route(console::PATH, get(console::blob))
            .with_state(Arc::clone(&state));
        let front = Front::serve(router, beside, (calls, door)).await?;
        Ok(Self { front, state })
    }

    /// The environment of a program that this Azure runs under a managed identity: where it gets its tokens.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        identity::environment(&self.front.url)
    }

    /// The next machine is accepted, and then cannot be made, for this code's reason.
    /// <https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations#provisioningstate-values>
    pub fn fail_next_once_accepted(&self, code: &str) {
        self.state.kept().fail_next = Some(code.to_owned());
    }

    /// From now on the price service lies; absent: it says the truth again.
    pub fn lie(&self, lie: Option<Lie>) {
        self.state.kept().lie = lie;
    }

    /// From now on consoles are said to be at another address than this cloud's.
    pub fn move_consoles_to(&self, address: &str) {
        self.state.kept().blobs = Some(address.to_owned());
    }

    /// Tokens that were given out until now count no more.
    pub fn expire_tokens(&self) {
        self.state.kept().expiries += 1;
    }

    /// Its machines, for whoever boots them.
    pub fn machines(&self) -> Machines {
        Machines(Arc::clone(&self.state))
    }

    /// Security groups and virtual networks that are there, as the interface shows them.
    pub fn networks(&self) -> Vec<Value> {
        let parts = self.state.cloud.networks();
        let shown = |part: &SimNetworkPart| self.state.network_shown(&part.state, part.kind);
        parts.iter().map(shown).collect()
    }

    /// Puts in what others made, or changes it: a resource as the interface shows it, with its id.
    pub fn put_resource(&self, resource: Value) {
        let id = resource["id"].as_str().unwrap_or_default().to_ascii_lowercase();
        self.state.kept().others.insert(id, resource);
    }

    /// Requests that Microsoft's specification has nothing for.
    pub fn violations(&self) -> Vec<String> {
        self.state.kept().violations.clone()
    }
}

/// The resource group's machines. A clone is of the same group.
#[derive(Clone)]
pub struct Machines(Arc<State>);

impl Machines {
    /// What the call that made a machine asked for; absent where none did.
    pub fn asked(&self, machine: &str) -> Option<Asked> {
        let kept = self.0.kept();
        kept.made.get(&machine.to_ascii_lowercase()).map(Made::asked)
    }

    /// From now on a machine is there on the internet, if it asked for an address.
    pub fn reached_at(&self, machine: &str, address: Ipv4Addr) {
        self.0.kept().addresses.insert(machine.to_ascii_lowercase(), address);
    }

    /// A token that counts, as a machine under a managed identity gets it.
    pub fn token_of_an_identity(&self) -> Value {
        identity::token(&self.0, RESOURCE)
    }
}

impl State {
    /// The token that counts.
    fn token(&self) -> String {
        match self.kept().expiries {
            0 => TOKEN.to_owned(),
            after => format!("{TOKEN}-{after}"),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
