//! A simulated cloud as a test bed of the suite.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{ImageId, OfferingId, ProviderId, ResourceHandle, SiteName, Zone};
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::{Clock, MachineRequest, Provider, Secret, Site};
use isobar_providers_sim::{FaultRates, SIM_IMAGE, SimCloud, SimConfig, SimProvider, TokioClock};

/// What is put around the provider, anew after each restart.
type Wrap = Box<dyn Fn(SimProvider, SimCloud, Arc<TokioClock>) -> Arc<dyn Provider> + Send + Sync>;

/// A region of a simulated cloud, and a provider over it that may be wrapped.
pub(crate) struct SimBed {
    pub(crate) cloud: SimCloud,
    clock: Arc<TokioClock>,
    wrap: Wrap,
    provider: Mutex<Arc<dyn Provider>>,
}

impl SimBed {
    pub(crate) fn new(
        seed: u64,
        faults: FaultRates,
        wrap: impl Fn(SimProvider, SimCloud, Arc<TokioClock>) -> Arc<dyn Provider> + Send + Sync + 'static,
    ) -> Self {
        let clock = Arc::new(TokioClock::new());
        let cloud = SimCloud::new(
            SimConfig::of_regions(seed, &["north"]).with_faults(faults),
            clock.clone(),
        );
        let provider = wrap(client(&cloud), cloud.clone(), clock.clone());
        Self {
            cloud,
            clock,
            wrap: Box::new(wrap),
            provider: Mutex::new(provider),
        }
    }
}

fn client(cloud: &SimCloud) -> SimProvider {
    SimProvider::new(ProviderId::new("sim").unwrap(), cloud.clone())
}

#[async_trait]
impl TestBed for SimBed {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.lock().unwrap().clone()
    }

    async fn restart(&self) {
        *self.provider.lock().unwrap() = (self.wrap)(client(&self.cloud), self.cloud.clone(), self.clock.clone());
    }

    async fn kill(&self, handle: &ResourceHandle) {
        self.cloud.kill(handle);
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn site(&self) -> Site {
        Site {
            name: SiteName::new("sim-north").unwrap(),
            provider: ProviderId::new("sim").unwrap(),
            region: "north".to_owned(),
            settings: BTreeMap::new(),
        }
    }

    fn machine(&self) -> MachineRequest {
        MachineRequest {
            zone: Zone::new("north-a"),
            offering: OfferingId::new("sim.small@north-a"),
            image: ImageId::new(SIM_IMAGE),
            identity: Secret(Vec::new()),
            open_ports: (30_000, 30_003),
            network: Default::default(),
        }
    }

    fn unknown_handle(&self) -> ResourceHandle {
        ResourceHandle::new("sim-99999999")
    }

    fn run_id(&self) -> String {
        "run1".to_owned()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(600)
    }
}
