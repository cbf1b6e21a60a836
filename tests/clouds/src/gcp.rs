//! Google's Compute Engine, strictly: its REST interface over a simulated cloud.
//!
//! A bearer token is checked at every call; each request and each answer is checked by Google's own description of its calls
//! (`model`); a fault is answered with 400 and fails the test when the cloud goes. Instances and parts of networks are made and
//! deleted by operations, idempotent by `requestId`; lists come in pages of two. What is there, how it fails and how long it
//! takes is the simulated cloud's.

mod answers;
mod auth;
mod billing;
mod instances;
mod lists;
mod model;
mod networks;
mod operations;
mod render;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::routing::post;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{ProviderId, SiteName, Zone};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources};
use isobar_engine_provider::{Clock, ProviderError, Site};
use isobar_providers_sim::{RegionConfig, Shape, SimCloud, SimConfig, SimProvider, ZoneConfig};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::front::{Calls, Door, Front};
use answers::Refusal;
use model::{Call, Model};
use networks::Part;
use operations::Operations;

pub use auth::AUTHORIZED_USER;
pub use billing::Lie;

/// The only project.
pub const PROJECT: &str = "shop-1";
/// The only region.
pub const REGION: &str = "europe-west1";
/// What engines' machines boot.
pub const ENGINE_IMAGE: &str = "projects/shop-1/global/images/sim-engine-image";
/// What nodes boot.
pub const IMAGE: &str = "projects/shop-1/global/images/sim-node-image";
/// So many things are on a page at most, so that lists have several, unless somebody says otherwise.
pub const PAGE_ITEMS: usize = 2;
/// Longest value in an instance's metadata, in bytes (`Metadata.items.value` of the discovery document).
const METADATA_VALUE_MAX_BYTES: usize = 262_144;

/// A simulated cloud that a strict Compute Engine can stand on: its zones, machine types and bounds.
pub fn config(seed: u64) -> SimConfig {
    let zone = |letter: &str| ZoneConfig {
        zone: Zone::new(format!("{REGION}-{letter}")),
        capacity_machines: 20_000,
        price_percent: 100,
    };
    let shape = |name: &str, memory_mib, purchase| Shape {
        instance_type: name.to_owned(),
        purchase,
        total: Resources {
            cpu: MilliCpus(2_000),
            memory: Mebibytes(memory_mib),
        },
        price: MicroUsdPerHour(20_000),
    };
    let types = [("e2-small", 2_048), ("e2-medium", 4_096), ("e2-standard-2", 8_192)];
    let shapes = types
        .into_iter()
        .flat_map(|(name, memory)| [Purchase::OnDemand, Purchase::Spot].map(|purchase| shape(name, memory, purchase)));
    let region = RegionConfig {
        zones: ["b", "c", "d"].map(zone).into(),
        shapes: shapes.collect(),
        quota_machines: 1_000,
    };
    SimConfig {
        regions: BTreeMap::from([(REGION.to_owned(), region)]),
        identity_max_bytes: METADATA_VALUE_MAX_BYTES,
        visibility_delay_max_ms: 4_000,
        ..SimConfig::of_regions(seed, &[])
    }
}

/// A strict Compute Engine that answers. Dropping it fails the test if a request or an answer was not as Google describes.
pub struct Gcp {
    /// Where, and what it was asked: by the description's names, `instances.insert`.
    pub front: Front,
    shared: Arc<Shared>,
}

/// What the handlers share.
struct Shared {
    cloud: SimCloud,
    client: SimProvider,
    clock: Arc<dyn Clock>,
    model: Model,
    calls: Calls,
    door: Door,
    page_items: usize,
    state: Mutex<Known>,
}

/// What the front itself remembers.
#[derive(Default)]
struct Known {
    faults: Vec<String>,
    tokens: auth::Tokens,
    operations: Operations,
    /// What was asked for, by zone and name. It may not have come to be.
    instances: BTreeMap<(String, String), instances::Asked>,
    /// Where instances are on the internet, as far as somebody has said it, by name.
    addresses: BTreeMap<String, Ipv4Addr>,
    /// Methods whose next call fails.
    failing: Vec<String>,
    lost: BTreeSet<String>,
    /// By path, without the project. What was asked for may not have come to be.
    parts: BTreeMap<String, Part>,
    /// What others made, by path, without the project.
    others: BTreeMap<String, Value>,
    /// What the catalog of prices says instead of the truth.
    lie: Option<Lie>,
}

impl Known {
    /// What was asked for, and where it is since.
    fn instance(&self, zone: &str, name: &str) -> Option<instances::Asked> {
        let asked = self.instances.get(&(zone.to_owned(), name.to_owned()))?;
        let mut asked = asked.clone();
        asked.reached_at = self.addresses.get(name).copied();
        Some(asked)
    }

    /// Whether this call is one that was told to fail.
    fn fails(&mut self, method: &str) -> bool {
        let told = self.failing.iter().position(|failing| failing == method);
        told.map(|place| self.failing.remove(place)).is_some()
    }
}

/// The project's instances. A clone is of the same project.
#[derive(Clone)]
pub struct Machines(Arc<Shared>);

impl Machines {
    /// What the call that made an instance asked for; absent where none did.
    pub fn asked(&self, name: &str) -> Option<Asked> {
        let body = self.0.asked_of(name)?;
        let text = |place: &str| body.pointer(place).and_then(Value::as_str).map(str::to_owned);
        let gib = text("/disks/1/initializeParams/diskSizeGb");
        Some(Asked {
            image: text("/disks/0/initializeParams/sourceImage")?,
            data_disk_gib: gib.and_then(|gib| gib.parse().ok()),
            identity: text("/serviceAccounts/0/email"),
            public_address: body.pointer("/networkInterfaces/0/accessConfigs/0").is_some(),
        })
    }

    /// From now on an instance is there on the internet, if it asked for an address.
    pub fn reached_at(&self, name: &str, address: Ipv4Addr) {
        self.0.known().addresses.insert(name.to_owned(), address);
    }

    /// A token that counts, as an instance under a service account gets it.
    pub fn token_of_an_account(&self) -> Value {
        self.0.known().tokens.another()
    }
}

impl Gcp {
    /// Serves `cloud`, made with [`config`], in the time of `clock`.
    pub async fn serve(cloud: SimCloud, clock: Arc<dyn Clock>) -> io::Result<Self> {
        Self::serve_paged(cloud, clock, PAGE_ITEMS).await
    }

    /// The same, with lists in pages of at most so many.
    pub async fn serve_paged(cloud: SimCloud, clock: Arc<dyn Clock>, page_items: usize) -> io::Result<Self> {
        let (calls, door) = (Calls::default(), Door::default());
        let id = ProviderId::new("sim").map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            client: SimProvider::new(id, cloud.clone()),
            cloud,
            clock,
            model: Model::new(),
            calls: calls.clone(),
            door: door.clone(),
            page_items,
            state: Mutex::default(),
        });
        // "Each new project starts with a default network": <https://cloud.google.com/vpc/docs/vpc#default-network>
        shared.add_part("global/networks/default", json!({ "autoCreateSubnetworks": true }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let beside = Router::new()
            .route(auth::PATH, post(token))
            .with_state(Arc::clone(&shared));
        Ok(Self {
            front: Front::serve(router, beside, (calls, door)).await?,
            shared,
        })
    }

    /// A file of credentials that count here: of the type `authorized_user`, with this cloud's address for tokens.
    pub fn credentials(&self) -> Value {
        auth::credentials(&self.front.url)
    }

    /// Its machines, for whoever boots them.
    pub fn machines(&self) -> Machines {
        Machines(Arc::clone(&self.shared))
    }

    /// No access token that was given out until now counts any more.
    pub fn expire_tokens(&self) {
        self.shared.known().tokens.expire();
    }

    /// The next call of this method (`zoneOperations.wait`) fails with 503, before anything is done.
    pub fn fail_next(&self, method: &str) {
        self.shared.known().failing.push(method.to_owned());
    }

    /// From now on the catalog of prices lies; absent: it says the truth again.
    pub fn lie(&self, lie: Option<Lie>) {
        self.shared.known().lie = lie;
    }

    /// From now on a zone or the region does not answer lists.
    pub fn lose(&self, place: &str) {
        self.shared.known().lost.insert(place.to_owned());
    }

    /// What an instance of that name was asked for with, as it came.
    pub fn asked(&self, name: &str) -> Option<Value> {
        self.shared.asked_of(name)
    }

    /// Something that is in the project without anybody's asking here: `global/networks/nodes` with the fields that it has.
    pub fn add(&self, path: &str, fields: Value) {
        self.shared.add_part(path, fields);
    }

    /// Puts in what others made, or changes it: a resource as Google shows it, at `zones/europe-west1-b/instances/web`.
    pub fn put_resource(&self, path: &str, resource: Value) {
        self.shared.known().others.insert(path.to_owned(), resource);
    }

    /// Takes such a thing away, the default network for one.
    pub fn remove(&self, path: &str) {
        self.shared.known().parts.remove(path);
    }

    /// What the part of a network with this path was asked for with, as it came; absent: there is none.
    pub fn part(&self, path: &str) -> Option<Value> {
        self.shared.known().parts.get(path).map(|part| part.body.clone())
    }

    /// What was not as Google describes, until now.
    pub fn faults(&self) -> Vec<String> {
        self.shared.known().faults.clone()
    }
}

impl Drop for Gcp {
    fn drop(&mut self) {
        let faults = self.faults();
        assert!(
            std::thread::panicking() || faults.is_empty(),
            "not as Google describes: {faults:#?}"
        );
    }
}

impl Shared {
    fn asked_of(&self, name: &str) -> Option<Value> {
        let known = self.known();
        let asked = known.instances.values().find(|asked| asked.name == name);
        asked.map(|asked| asked.body.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The region as the simulated cloud knows it.
    fn site(&self) -> Site {
        Site {
            name: SiteName::new("strict").expect("a label"),
            provider: ProviderId::new("sim").expect("a label"),
            region: REGION.to_owned(),
            settings: BTreeMap::new(),
        }
    }

    async fn dispatch(&self, call: &Call, body: &Value) -> Result<Value, Refusal> {
        let is_get = call.method.ends_with(".get");
        if let Some(resource) = self.known().others.get(&call.path).filter(|_| is_get) {
            return Ok(resource.clone());
        }
        if let Some((kind, verb)) = networks::called(&call.method) {
            return self.of_network(call, body, (kind, verb)).await;
        }
        match call.method.as_str() {
            "instances.insert" => self.insert(call, body).await,
            "instances.get" => self.get(call).await,
            "instances.delete" => self.delete(call).await,
            "instances.getSerialPortOutput" => self.serial_port(call).await,
            "instances.aggregatedList" => self.instances(call).await,
            "disks.get" => self.disk(call).await,
            "disks.delete" => self.delete_disk(call).await,
            "disks.aggregatedList" => self.disks(call).await,
            "machineTypes.list" => self.machine_types(call).await,
            "regions.get" => self.region(call).await,
            "zoneOperations.wait" | "regionOperations.wait" | "globalOperations.wait" => self.wait(call).await,
            // Of these there is nothing but what others made.
            "addresses.get"
            | "globalAddresses.get"
            | "instanceGroupManagers.get"
            | "instanceTemplates.get"
            | "regionDisks.get"
            | "regionInstanceGroupManagers.get"
            | "regionInstanceTemplates.get"
            | "routes.get" => Err(Refusal::not_found(&call.path)),
            other => Err(Refusal::invalid(&format!("{other} is not served"))),
        }
    }

    /// One call: who asks, whether it is as described, what becomes of it, whether the answer is as described.
    async fn called(&self, call: &Call, headers: &HeaderMap, body: Option<&Value>) -> Result<Value, Refusal> {
        self.calls.count(&call.method);
        if !self.known().tokens.counts(headers) {
            return Err(Refusal::unauthenticated());
        }
        self.door.pass(&call.method).map_err(|after| {
            let error = ProviderError::RateLimited { after: Some(after) };
            Refusal::of(error, &call.method)
        })?;
        if self.known().fails(&call.method) {
            return Err(Refusal::backend("told to fail"));
        }
        let faults = self.model.request_faults(call, body);
        if !faults.is_empty() {
            return Err(self.fault(call, faults));
        }
        if call.get("project") != PROJECT {
            return Err(Refusal::not_found(&format!("projects/{}", call.get("project"))));
        }
        self.settle();
        let answer = self.dispatch(call, body.unwrap_or(&Value::Null)).await?;
        let faults = self.model.answer_faults(call, &answer);
        if !faults.is_empty() {
            return Err(self.fault(call, faults));
        }
        Ok(answer)
    }

    /// Notes what is not as described: the test fails.
    fn fault(&self, call: &Call, faults: Vec<String>) -> Refusal {
        let refusal = Refusal::invalid(&faults.join("; "));
        let named = faults.into_iter().map(|fault| format!("{}: {fault}", call.method));
        self.known().faults.extend(named);
        refusal
    }
}

async fn token(State(shared): State<Arc<Shared>>, bytes: Bytes) -> Response {
    let body: Option<Value> = serde_json::from_slice(&bytes).ok();
    shared.calls.count("token");
    answers::of(shared.known().tokens.give(body.as_ref()))
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body: Option<Value> = serde_json::from_slice(&bytes).ok();
    let query = answers::query(uri.query().unwrap_or_default());
    if uri.path() == billing::PATH {
        return shared.skus(&headers, &query);
    }
    match shared.model.call(method.as_str(), uri.path(), &query) {
        Some(call) => answers::of(shared.called(&call, &headers, body.as_ref()).await),
        None => {
            let what = format!("{method} {} is no method", uri.path());
            shared.known().faults.push(what.clone());
            answers::of(Err(Refusal::invalid(&what)))
        }
    }
}
