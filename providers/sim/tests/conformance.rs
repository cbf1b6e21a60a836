//! The simulated cloud passes the suite of all providers: on a good day as it is, on a bad one behind the decorators.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{ImageId, OfferingId, ProviderId, ResourceHandle, SiteName, Zone};
use isobar_engine_provider::conformance::{self, TestBed};
use isobar_engine_provider::{Clock, MachineRequest, Provider, Secret, Site, decorate};
use isobar_providers_sim::{Fault, FaultRates, SIM_IMAGE, SeededEntropy, SimCloud, SimConfig, SimProvider, TokioClock};

struct SimBed {
    cloud: SimCloud,
    clock: Arc<TokioClock>,
    provider: Mutex<Arc<dyn Provider>>,
    decorated: bool,
}

impl SimBed {
    fn new(seed: u64, faults: FaultRates) -> Self {
        let clock = Arc::new(TokioClock::new());
        let cloud = SimCloud::new(
            SimConfig::of_regions(seed, &["north"]).with_faults(faults),
            clock.clone(),
        );
        let decorated = faults != FaultRates::none();
        let provider = Mutex::new(client(&cloud, &clock, decorated));
        Self {
            cloud,
            clock,
            provider,
            decorated,
        }
    }
}

fn client(cloud: &SimCloud, clock: &Arc<TokioClock>, decorated: bool) -> Arc<dyn Provider> {
    let provider = Arc::new(SimProvider::new(ProviderId::new("sim").unwrap(), cloud.clone()));
    if decorated {
        decorate::standard(provider, clock.clone(), Arc::new(SeededEntropy::new(1)))
    } else {
        provider
    }
}

#[async_trait]
impl TestBed for SimBed {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.lock().unwrap().clone()
    }

    async fn restart(&self) {
        *self.provider.lock().unwrap() = client(&self.cloud, &self.clock, self.decorated);
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
            settings: Default::default(),
        }
    }

    fn machine(&self) -> MachineRequest {
        MachineRequest {
            zone: Zone::new("north-a"),
            offering: OfferingId::new("sim.small@north-a"),
            image: ImageId::new(SIM_IMAGE),
            identity: Secret(Vec::new()),
            open_ports: (30_000, 30_003),
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

#[tokio::test(start_paused = true)]
async fn a_reliable_cloud_conforms() {
    let bed = SimBed::new(1, FaultRates::none());
    conformance::run(&bed)
        .await
        .unwrap_or_else(|failures| panic!("{failures}"));
    assert_eq!(bed.cloud.machines().len(), 0, "the suite leaves nothing behind");
}

#[tokio::test(start_paused = true)]
async fn a_rough_cloud_conforms_behind_the_decorators() {
    let mut met = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let bed = SimBed::new(seed, FaultRates::rough());
        conformance::run(&bed)
            .await
            .unwrap_or_else(|failures| panic!("seed {seed}: {failures}"));
        assert_eq!(
            bed.cloud.machines().len(),
            0,
            "seed {seed}: the suite leaves nothing behind"
        );
        met.extend(bed.cloud.counters().faults.into_keys());
    }
    for fault in [
        Fault::Refused,
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::LateRequest,
        Fault::Throttled,
        Fault::LateVisibility,
        Fault::StaleRead,
        Fault::SlowDelete,
    ] {
        assert!(met.contains(&fault), "{fault:?} never happened in 20 seeds");
    }
}
