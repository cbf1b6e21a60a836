//! A strict Azure as a test bed of the suite.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::{
    Clock, CreateResource, MachineRequest, Owner, OwnerTags, Provider, ResourceSpec, Secret, Site, Token,
};
use isobar_providers_azure::{AzureConfig, AzureProvider, Credentials};
use isobar_providers_sim::{FaultRates, SimCloud, TokioClock};
use isobar_tests_clouds::azure::{self, AzureCloud, GROUP, IMAGE, REGION, SUBNET, SUBSCRIPTION, TOKEN};

type Wrap = Box<dyn Fn(AzureProvider, Arc<TokioClock>) -> Arc<dyn Provider> + Send + Sync>;

/// A strict Azure, and a provider over it that may be wrapped.
pub(crate) struct AzureBed {
    pub(crate) azure: AzureCloud,
    pub(crate) cloud: SimCloud,
    pub(crate) clock: Arc<TokioClock>,
    wrap: Wrap,
    provider: Mutex<Arc<dyn Provider>>,
}

impl AzureBed {
    pub(crate) async fn new(
        seed: u64,
        faults: FaultRates,
        wrap: impl Fn(AzureProvider, Arc<TokioClock>) -> Arc<dyn Provider> + Send + Sync + 'static,
    ) -> Self {
        let clock = Arc::new(TokioClock::new());
        let cloud = SimCloud::new(azure::config(seed).with_faults(faults), clock.clone());
        let azure = AzureCloud::serve(cloud.clone()).await.unwrap();
        let provider = wrap(
            client(&azure, Credentials::Token(TOKEN.to_owned()), clock.clone()),
            clock.clone(),
        );
        Self {
            azure,
            cloud,
            clock,
            wrap: Box::new(wrap),
            provider: Mutex::new(provider),
        }
    }

    pub(crate) async fn plain() -> Self {
        Self::new(1, FaultRates::none(), |provider, _| Arc::new(provider)).await
    }

    pub(crate) fn client(&self, credentials: Credentials) -> AzureProvider {
        client(&self.azure, credentials, self.clock.clone())
    }

    pub(crate) fn request(&self, number: u32) -> CreateResource {
        CreateResource {
            site: self.site(),
            name: format!("isobar-shop-m-{number}-0badcafe"),
            token: Token(format!("token-{number}")),
            tags: OwnerTags {
                owner: owner(),
                machine: MachineId::new(format!("m-{number}")),
                operation: OperationId::new("op-00000000c0f02a9c"),
                attempt: AttemptNo(1),
                epoch: Epoch(1),
            },
            spec: ResourceSpec::Machine(self.machine()),
        }
    }
}

pub(crate) fn owner() -> Owner {
    Owner {
        store: "0123456789abcdef".to_owned(),
        cluster: ClusterName::new("shop").unwrap(),
    }
}

fn client(azure: &AzureCloud, credentials: Credentials, clock: Arc<TokioClock>) -> AzureProvider {
    let config = AzureConfig {
        id: ProviderId::new("azure").unwrap(),
        allowed_endpoints: vec![azure.front.url.clone()],
        credentials,
    };
    AzureProvider::new(config, clock).unwrap()
}

#[async_trait]
impl TestBed for AzureBed {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.lock().unwrap().clone()
    }

    async fn restart(&self) {
        let client = self.client(Credentials::Token(TOKEN.to_owned()));
        *self.provider.lock().unwrap() = (self.wrap)(client, self.clock.clone());
    }

    async fn kill(&self, handle: &ResourceHandle) {
        let machines = self.cloud.machines();
        let named = |name: &str| handle.as_str().contains(&format!("/{name}/"));
        let machine = machines.iter().find(|machine| named(&machine.state.name)).unwrap();
        assert!(self.cloud.kill(&machine.handle));
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn site(&self) -> Site {
        let settings = [
            ("subscription", SUBSCRIPTION),
            ("resource_group", GROUP),
            ("image", IMAGE),
            ("subnet", SUBNET),
            ("zones", "1,2,3"),
            ("endpoint", &self.azure.front.url),
        ];
        let settings = settings
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Site {
            name: SiteName::new("azure-west").unwrap(),
            provider: ProviderId::new("azure").unwrap(),
            region: REGION.to_owned(),
            settings: settings.collect::<BTreeMap<_, _>>(),
        }
    }

    fn machine(&self) -> MachineRequest {
        MachineRequest {
            zone: Zone::new(format!("{REGION}-1")),
            offering: OfferingId::new(format!("Standard_D2s_v5@{REGION}-1")),
            image: ImageId::new(IMAGE),
            identity: Secret(b"a join token".to_vec()),
            open_ports: (30_000, 30_003),
            network: Default::default(),
        }
    }

    fn unknown_handle(&self) -> ResourceHandle {
        ResourceHandle::new("virtualMachines/isobar-none/isobar-00000000000000000000000000000000")
    }

    fn run_id(&self) -> String {
        "run1".to_owned()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(900)
    }
}
