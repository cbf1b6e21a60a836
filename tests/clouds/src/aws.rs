//! A strict EC2: its query protocol over the simulated cloud. Every call is signed, fits Amazon's own model and is
//! counted; what is not so is a violation, and a violation fails the test that made it. Links no SDK.
//!
//! Faults, capacity, quota, delays and states are the simulated cloud's: break that one.

mod answer;
mod beside;
mod look;
mod model;
mod network;
pub use network::DEFAULT_VPC;
mod offers;
mod params;
mod role;
mod run;
pub mod signature;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{ProviderId, ResourceHandle, SiteName, Zone};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources};
use isobar_engine_provider::{Clock, Provider, ProviderError, Site};
use isobar_providers_sim::{RegionConfig, Shape, SimCloud, SimConfig, SimProvider, ZoneConfig};

use crate::asked::Asked;
use crate::front::{Calls, Door, Front};
use answer::{Answer, Failure};
pub use beside::{Lie, SPOT_CPUS};
use model::Model;
use network::Wires;
use params::Params;
use role::Role;
use serde_json::Value;

/// The region that [`config`] makes.
pub const REGION: &str = "eu-central-1";
/// An image of the account: for x86_64, its root disk is `/dev/xvda`.
pub const AMI: &str = "ami-0123456789abcdef0";
/// Its other image: what engines' machines boot.
pub const ENGINE_AMI: &str = "ami-0fedcba9876543210";
/// The only access key of the account.
pub const KEY_ID: &str = "AKIDEXAMPLE";
/// Its secret.
pub const KEY_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A simulated cloud that looks like a region of EC2: real names, so that price lists know them.
pub fn config(seed: u64) -> SimConfig {
    let shape = |instance_type: &str, cpus: u32, memory_mib, purchase, price| Shape {
        instance_type: instance_type.to_owned(),
        purchase,
        total: Resources {
            cpu: MilliCpus(cpus * 1000),
            memory: Mebibytes(memory_mib),
        },
        price: MicroUsdPerHour(price),
    };
    let zone = |zone: &str| ZoneConfig {
        zone: Zone::new(zone),
        capacity_machines: 1_000,
        price_percent: 100,
    };
    let region = RegionConfig {
        zones: vec![zone("eu-central-1a"), zone("eu-central-1b")],
        shapes: vec![
            shape("t3.small", 2, 2_048, Purchase::OnDemand, 24_000),
            shape("t3.small", 2, 2_048, Purchase::Spot, 8_000),
            shape("m7i.large", 2, 8_192, Purchase::OnDemand, 120_000),
            shape("m7i.large", 2, 8_192, Purchase::Spot, 50_000),
        ],
        quota_machines: 1_000,
    };
    SimConfig {
        regions: BTreeMap::from([(REGION.to_owned(), region)]),
        // "Terminated instances remain visible after termination (for approximately one hour)"
        remembers_ms: 3_600_000,
        // No call that makes a part of a network takes a client token.
        network_token_validity_ms: 0,
        ..SimConfig::of_regions(seed, &[])
    }
}

/// A strict EC2 on a port of loopback. Dropping it fails the test if a call was not as EC2 documents.
pub struct Ec2 {
    /// Where, and what it was asked.
    pub front: Front,
    violations: Violations,
    wires: Arc<Wires>,
    lie: Arc<Mutex<Option<Lie>>>,
    role: Role,
    account: Arc<Account>,
}

/// What was not as EC2 documents.
#[derive(Debug, Clone, Default)]
struct Violations(Arc<Mutex<Vec<String>>>);

impl Violations {
    fn add(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What every call needs.
struct Account {
    cloud: SimCloud,
    provider: SimProvider,
    clock: Arc<dyn Clock>,
    region: String,
    page_max: usize,
    model: Model,
    wires: Arc<Wires>,
    calls: Calls,
    door: Door,
    violations: Violations,
    lie: Arc<Mutex<Option<Lie>>>,
    role: Role,
    /// Where machines are on the internet, as far as somebody has said it.
    addresses: Mutex<BTreeMap<ResourceHandle, Ipv4Addr>>,
}

impl Ec2 {
    /// Serves one region of `cloud`, in pages of at most `page_max`: EC2 may give fewer than a caller asks for.
    pub async fn serve(cloud: SimCloud, clock: Arc<dyn Clock>, region: &str, page_max: usize) -> io::Result<Self> {
        let id = ProviderId::new("ec2").map_err(io::Error::other)?;
        let (calls, door) = (Calls::default(), Door::default());
        let (violations, role) = (Violations::default(), Role::default());
        let wires = Arc::new(Wires::default());
        let lie = Arc::new(Mutex::new(None));
        let account = Account {
            provider: SimProvider::new(id, cloud.clone()),
            cloud,
            clock,
            region: region.to_owned(),
            page_max,
            model: Model::read()?,
            wires: wires.clone(),
            calls: calls.clone(),
            door: door.clone(),
            violations: violations.clone(),
            lie: Arc::clone(&lie),
            role: role.clone(),
            addresses: Mutex::default(),
        };
        let account = Arc::new(account);
        let router = Router::new()
            .route("/", post(answered))
            .with_state(Arc::clone(&account));
        let beside = Router::new()
            .route(role::PATH, get(role::credentials))
            .with_state(Arc::clone(&account));
        Ok(Self {
            front: Front::serve(router, beside, (calls, door)).await?,
            violations,
            wires,
            lie,
            role,
            account,
        })
    }

    /// Its machines, for whoever boots them.
    pub fn machines(&self) -> Machines {
        Machines(Arc::clone(&self.account))
    }

    /// From now on the account has no default VPC.
    pub fn take_default_vpc(&self) {
        self.wires.take_default();
    }

    /// What a security group lets in: `tcp 30000-30031 from 10.0.0.0/8`.
    pub fn rules(&self, group: &str) -> BTreeSet<String> {
        self.wires.rules(group)
    }

    /// Whether what leaves a VPC gets to the internet.
    pub fn is_routed(&self, vpc: &str) -> bool {
        self.wires.is_routed(vpc)
    }

    /// From now on the services beside EC2 lie; absent: they say the truth again.
    pub fn lie(&self, lie: Option<Lie>) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = lie;
    }

    /// The environment of a program that runs in a container under a role: where it gets its keys, which end.
    pub fn environment_of_a_role(&self) -> [(&'static str, String); 2] {
        role::environment(&self.front.url)
    }

    /// The role's keys that were given out until now count no more.
    pub fn expire_session(&self) {
        self.role.expire();
    }

    /// What was not as EC2 documents until now; it does not count any more.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *self.violations.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The account's machines. A clone is of the same account.
#[derive(Clone)]
pub struct Machines(Arc<Account>);

impl Machines {
    /// What the call that made a machine asked for; absent where none did.
    pub fn asked(&self, machine: &ResourceHandle) -> Option<Asked> {
        run::asked(&self.0, machine)
    }

    /// From now on a machine is there on the internet, if it asked for an address.
    pub fn reached_at(&self, machine: ResourceHandle, address: Ipv4Addr) {
        let mut known = self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(machine, address);
    }

    /// Keys of the role, which end, as a program gets them that may call under it.
    pub fn keys_of_a_role(&self) -> Value {
        role::keys(&self.0)
    }
}

impl Drop for Ec2 {
    fn drop(&mut self) {
        let violations = self.violations.all();
        assert!(
            std::thread::panicking() || violations.is_empty(),
            "EC2 documents otherwise: {violations:#?}"
        );
    }
}

async fn answered(State(account): State<Arc<Account>>, headers: HeaderMap, body: Bytes) -> Response {
    if headers.contains_key(beside::TARGET) {
        return beside::answer(&account, &headers, &body).await;
    }
    let answer = match account.answer(&headers, &body).await {
        Ok(answer) => answer.into_response(),
        Err(failure) => failure.into_response(),
    };
    // The SDK signs by the clock that the cloud shows.
    ([("date", time::http(account.clock.now()))], answer).into_response()
}

impl Account {
    async fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Failure> {
        let params = Params::read(body);
        let action = params.text("Action").unwrap_or_default().to_owned();
        self.calls.count(&action);
        signature::check(headers, body, (&self.region, "ec2", self.clock.now()), &self.role)?;
        self.door.pass(&action).map_err(|after| {
            let error = ProviderError::RateLimited { after: Some(after) };
            Failure::of(error, "", "")
        })?;
        if let Err(wrong) = self.model.check(&action, &params) {
            self.violations.add(format!("{action}: {wrong}"));
            return Err(Failure::client("UnknownParameter", &wrong));
        }
        if let Some(answer) = network::answer(self, &action, &params).await {
            return answer;
        }
        match action.as_str() {
            "RunInstances" => run::run(self, &params).await,
            "TerminateInstances" => run::terminate(self, &params).await,
            "DeleteVolume" | "DeleteNetworkInterface" => run::delete_part(self, &action, &params).await,
            "DescribeInstances" => look::instances(self, &params).await,
            "DescribeVolumes" | "DescribeNetworkInterfaces" => look::parts(self, &action, &params).await,
            "GetConsoleOutput" => look::console(self, &params).await,
            _ => offers::answer(self, &action, &params).await,
        }
    }

    fn lie(&self) -> Option<Lie> {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn site(&self) -> Result<Site, Failure> {
        Ok(Site {
            name: SiteName::new("ec2").map_err(|_| Failure::internal())?,
            provider: self.provider.id().clone(),
            region: self.region.clone(),
            settings: BTreeMap::new(),
        })
    }
}
