//! The provider over the strict EC2, over the simulated cloud, in a time that only jumps: real sockets, no waiting.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{ImageId, OfferingId, ProviderId, ResourceHandle, SiteName, Zone};
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::decorate::{Retry, RetryBounds};
use isobar_engine_provider::{Clock, MachineRequest, Provider, Secret, Site};
use isobar_providers_aws::{AwsConfig, AwsProvider, Keys};
use isobar_providers_sim::{FaultRates, SIMULATION_EPOCH, SeededEntropy, SimCloud};
use isobar_tests_clouds::aws::{self, AMI, Ec2, KEY_ID, KEY_SECRET, REGION};

use crate::clock::JumpingClock;

/// Smaller than any list of the suite: every list has several pages.
const PAGE_MAX: usize = 1;

pub(crate) struct StrictBed {
    pub(crate) cloud: SimCloud,
    pub(crate) ec2: Ec2,
    pub(crate) clock: Arc<JumpingClock>,
    seed: u64,
    decorated: bool,
    provider: Mutex<Arc<dyn Provider>>,
}

impl StrictBed {
    /// The bare provider, over a cloud that never fails.
    pub(crate) async fn reliable() -> Self {
        Self::new(1, FaultRates::none(), false).await
    }

    /// The provider behind retries, on a bad day.
    pub(crate) async fn rough(seed: u64) -> Self {
        Self::new(seed, FaultRates::rough(), true).await
    }

    async fn new(seed: u64, faults: FaultRates, decorated: bool) -> Self {
        let clock = Arc::new(JumpingClock::at(SIMULATION_EPOCH));
        let cloud = SimCloud::new(aws::config(seed).with_faults(faults), clock.clone());
        let ec2 = Ec2::serve(cloud.clone(), clock.clone(), REGION, PAGE_MAX)
            .await
            .unwrap();
        let provider = Mutex::new(wrapped(&ec2, &clock, decorated.then_some(seed)));
        Self {
            cloud,
            ec2,
            clock,
            seed,
            decorated,
            provider,
        }
    }
}

/// The provider with the ordinary chain of credentials.
pub(crate) fn chained(clock: &Arc<JumpingClock>, url: &str) -> AwsProvider {
    let config = AwsConfig {
        id: ProviderId::new("aws").unwrap(),
        allowed_endpoints: vec![url.to_owned()],
        keys: Keys::Chain,
    };
    AwsProvider::new(config, clock.clone())
}

/// The provider with other keys.
pub(crate) fn client(clock: &Arc<JumpingClock>, url: &str, secret: &str) -> AwsProvider {
    let config = AwsConfig {
        id: ProviderId::new("aws").unwrap(),
        allowed_endpoints: vec![url.to_owned()],
        keys: Keys::Given {
            id: KEY_ID.to_owned(),
            secret: Secret(secret.as_bytes().to_vec()),
        },
    };
    AwsProvider::new(config, clock.clone())
}

fn wrapped(ec2: &Ec2, clock: &Arc<JumpingClock>, seed: Option<u64>) -> Arc<dyn Provider> {
    let bare: Arc<dyn Provider> = Arc::new(client(clock, &ec2.front.url, KEY_SECRET));
    match seed {
        // No deadline: it would be over at once, in a time that jumps.
        Some(seed) => {
            let entropy = Arc::new(SeededEntropy::new(seed));
            Arc::new(Retry::around(bare, clock.clone(), entropy, RetryBounds::default()))
        }
        None => bare,
    }
}

#[async_trait]
impl TestBed for StrictBed {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.lock().unwrap().clone()
    }

    async fn restart(&self) {
        *self.provider.lock().unwrap() = wrapped(&self.ec2, &self.clock, self.decorated.then_some(self.seed));
    }

    async fn kill(&self, handle: &ResourceHandle) {
        let serial = u32::from_str_radix(handle.as_str().strip_prefix("i-").unwrap(), 16).unwrap();
        self.cloud.kill(&ResourceHandle::new(format!("sim-{serial:08}")));
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn site(&self) -> Site {
        let settings = [("image", AMI), ("endpoint", &self.ec2.front.url), ("disk_gib", "8")];
        Site {
            name: SiteName::new("aws-fra").unwrap(),
            provider: ProviderId::new("aws").unwrap(),
            region: REGION.to_owned(),
            settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }
    }

    fn machine(&self) -> MachineRequest {
        MachineRequest {
            zone: Zone::new("eu-central-1a"),
            offering: OfferingId::new("t3.small@eu-central-1a"),
            image: ImageId::new(AMI),
            identity: Secret(Vec::new()),
            open_ports: (30_000, 30_003),
            network: Default::default(),
        }
    }

    fn unknown_handle(&self) -> ResourceHandle {
        ResourceHandle::new("i-0fffffffffffffff0")
    }

    fn run_id(&self) -> String {
        "run1".to_owned()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3_600)
    }

    fn names_are_unique(&self) -> bool {
        false
    }
}
