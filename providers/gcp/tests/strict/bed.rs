//! A strict Compute Engine as a test bed of the suite: real HTTP on loopback, in a time that only sleeping moves.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{ImageId, OfferingId, ProviderId, ResourceHandle, SiteName, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::{Clock, MachineRequest, Provider, Secret, Site};
use isobar_providers_gcp::{GcpConfig, GcpProvider};
use isobar_providers_sim::{FaultRates, SIMULATION_EPOCH, SimCloud};
use isobar_tests_clouds::gcp::{self, Gcp};

/// Time stands still, and whoever sleeps moves it: nothing waits for the wall clock.
pub(crate) struct LeapingClock(AtomicU64);

#[async_trait]
impl Clock for LeapingClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, pause: Duration) {
        let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(ms, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

type Wrap = Box<dyn Fn(GcpProvider, Arc<LeapingClock>) -> Arc<dyn Provider> + Send + Sync>;

pub(crate) struct GcpBed {
    pub(crate) cloud: SimCloud,
    pub(crate) gcp: Gcp,
    pub(crate) clock: Arc<LeapingClock>,
    config: GcpConfig,
    wrap: Wrap,
    provider: Mutex<Arc<dyn Provider>>,
    credentials: tempfile::NamedTempFile,
}

impl GcpBed {
    pub(crate) async fn new(
        seed: u64,
        faults: FaultRates,
        wrap: impl Fn(GcpProvider, Arc<LeapingClock>) -> Arc<dyn Provider> + Send + Sync + 'static,
    ) -> Self {
        let clock = Arc::new(LeapingClock(AtomicU64::new(SIMULATION_EPOCH.0)));
        let cloud = SimCloud::new(gcp::config(seed).with_faults(faults), clock.clone());
        let gcp = Gcp::serve(cloud.clone(), clock.clone()).await.unwrap();
        let mut credentials = tempfile::NamedTempFile::new().unwrap();
        credentials.write_all(gcp.credentials().to_string().as_bytes()).unwrap();
        let config = GcpConfig {
            id: ProviderId::new("gcp").unwrap(),
            allowed_endpoints: vec![gcp.front.url.clone()],
            credentials: Some(credentials.path().to_owned()),
        };
        let provider = wrap(GcpProvider::new(config.clone(), clock.clone()), clock.clone());
        Self {
            cloud,
            gcp,
            clock,
            config,
            wrap: Box::new(wrap),
            provider: Mutex::new(provider),
            credentials,
        }
    }

    /// Without faults, and with nothing around the provider.
    pub(crate) async fn plain() -> Self {
        Self::new(1, FaultRates::none(), |provider, _| Arc::new(provider)).await
    }

    /// The file of the provider's credentials.
    pub(crate) fn credentials(&self) -> &Path {
        self.credentials.path()
    }

    pub(crate) fn site_with(&self, settings: &[(&str, &str)]) -> Site {
        let mut site = self.site();
        for (name, value) in settings {
            site.settings.insert((*name).to_owned(), (*value).to_owned());
        }
        site
    }
}

#[async_trait]
impl TestBed for GcpBed {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.lock().unwrap().clone()
    }

    async fn restart(&self) {
        let provider = GcpProvider::new(self.config.clone(), self.clock.clone());
        *self.provider.lock().unwrap() = (self.wrap)(provider, self.clock.clone());
    }

    async fn kill(&self, handle: &ResourceHandle) {
        let name = handle.as_str().rsplit('/').next().unwrap();
        let machines = self.cloud.machines();
        let machine = machines.iter().find(|machine| machine.state.name == name).unwrap();
        assert!(self.cloud.kill(&machine.handle));
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn site(&self) -> Site {
        let settings = [
            ("project", gcp::PROJECT),
            ("image", gcp::IMAGE),
            ("endpoint", self.gcp.front.url.as_str()),
        ];
        Site {
            name: SiteName::new("gcp-eu").unwrap(),
            provider: ProviderId::new("gcp").unwrap(),
            region: gcp::REGION.to_owned(),
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn machine(&self) -> MachineRequest {
        MachineRequest {
            zone: Zone::new("europe-west1-b"),
            offering: OfferingId::new("e2-small@europe-west1-b"),
            image: ImageId::new(gcp::IMAGE),
            identity: Secret(Vec::new()),
            open_ports: (30_000, 30_003),
            network: Default::default(),
        }
    }

    fn unknown_handle(&self) -> ResourceHandle {
        ResourceHandle::new("europe-west1-b/instances/iso-nobody")
    }

    fn run_id(&self) -> String {
        "run1".to_owned()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(600)
    }
}
