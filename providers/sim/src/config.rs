//! What a simulated cloud offers, how fast it is and how often it fails. Plain data, given once.

use std::collections::BTreeMap;

use isobar_engine_model::catalog::{Architecture, Image, Offering, Purchase};
use isobar_engine_model::id::{ImageId, OfferingId, Zone};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources, Timestamp};
use isobar_engine_provider::ResourceKind;

use crate::fault::FaultRates;

/// The only image that a simulated cloud boots.
pub const SIM_IMAGE: &str = "sim-node-image";

/// Processor share that the kernel and the agent keep of every simulated machine.
const RESERVED_CPU: MilliCpus = MilliCpus(100);
/// Memory that the kernel and the agent keep of every simulated machine.
const RESERVED_MEMORY: Mebibytes = Mebibytes(128);

/// A whole simulated cloud.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Everything that looks random follows from it and from the order of the calls.
    pub seed: u64,
    /// What there is, by region in the spelling of [`isobar_engine_provider::Site::region`].
    pub regions: BTreeMap<String, RegionConfig>,
    /// How long things take.
    pub timing: Timing,
    /// How often things fail.
    pub faults: FaultRates,
    /// For how long a token answers with what it made first, in ms.
    pub token_validity_ms: u64,
    /// After so long a machine is in every list, in ms. Half of it is the most that a new machine stays hidden, half
    /// the most that an answer lags behind.
    pub visibility_delay_max_ms: u64,
    /// For so long a machine that has ended is remembered as such, in ms; then it is as if it had never been.
    pub remembers_ms: u64,
    /// Largest identity of a machine, in bytes.
    pub identity_max_bytes: usize,
    /// What a machine is connected to, each to be made in those before it; a subnet for a zone each. Empty: nothing.
    pub network: Vec<ResourceKind>,
    /// For how long a token answers with the part of a network that it made first, in ms; 0: these know no tokens, and
    /// their names need not differ.
    pub network_token_validity_ms: u64,
}

impl SimConfig {
    /// A cloud without faults with the given regions, each of three zones.
    pub fn of_regions(seed: u64, regions: &[&str]) -> Self {
        Self {
            seed,
            regions: regions
                .iter()
                .map(|region| ((*region).to_owned(), RegionConfig::three_zones(region)))
                .collect(),
            timing: Timing::default(),
            faults: FaultRates::none(),
            token_validity_ms: 24 * 3_600_000,
            visibility_delay_max_ms: 10_000,
            remembers_ms: 0,
            identity_max_bytes: 16 * 1024,
            network: Vec::new(),
            network_token_validity_ms: 24 * 3_600_000,
        }
    }

    /// The same cloud with faults.
    #[must_use]
    pub fn with_faults(self, faults: FaultRates) -> Self {
        Self { faults, ..self }
    }
}

/// A region: its zones, its shapes, and how many machines the account may have in it.
#[derive(Debug, Clone)]
pub struct RegionConfig {
    /// Its zones in order.
    pub zones: Vec<ZoneConfig>,
    /// What every zone of it offers.
    pub shapes: Vec<Shape>,
    /// Most machines of the account at a time.
    pub quota_machines: u32,
}

impl RegionConfig {
    /// Zones `<region>-a` to `<region>-c`, each 2 % dearer than the one before, room for 20,000 machines in each.
    pub fn three_zones(region: &str) -> Self {
        let zone = |letter: &str, price_percent| ZoneConfig {
            zone: Zone::new(format!("{region}-{letter}")),
            capacity_machines: 20_000,
            price_percent,
        };
        Self {
            zones: vec![zone("a", 100), zone("b", 102), zone("c", 104)],
            shapes: Shape::standard(),
            quota_machines: 50_000,
        }
    }

    /// Everything that the region rents, zones in order, priced at a moment.
    pub fn offerings(&self, priced: Timestamp) -> Vec<Offering> {
        let in_zone = |zone: &ZoneConfig| {
            self.shapes
                .iter()
                .map(|shape| shape.offered_in(zone, priced))
                .collect::<Vec<_>>()
        };
        self.zones.iter().flat_map(in_zone).collect()
    }

    /// What the region boots.
    pub fn images(&self) -> Vec<Image> {
        vec![Image {
            id: ImageId::new(SIM_IMAGE),
            architecture: Architecture::X86_64,
        }]
    }
}

/// A zone of a region.
#[derive(Debug, Clone)]
pub struct ZoneConfig {
    /// Its name.
    pub zone: Zone,
    /// Most machines at a time, of all shapes and owners.
    pub capacity_machines: u32,
    /// Its prices, in hundredths of the shape's price.
    pub price_percent: u16,
}

/// An instance type under one purchase option.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The instance type.
    pub instance_type: String,
    /// How it is paid.
    pub purchase: Purchase,
    /// What it has.
    pub total: Resources,
    /// What it costs where [`ZoneConfig::price_percent`] is 100.
    pub price: MicroUsdPerHour,
}

impl Shape {
    /// `sim.small`, `sim.medium` and `sim.large`, each also as spot at three tenths of the price.
    pub fn standard() -> Vec<Self> {
        let sizes = [
            ("sim.small", 1, 1024, 10_000),
            ("sim.medium", 2, 4096, 40_000),
            ("sim.large", 8, 16_384, 160_000),
        ];
        sizes
            .into_iter()
            .flat_map(|(instance_type, cpus, memory_mib, price)| {
                let shape = |purchase, price| Self {
                    instance_type: instance_type.to_owned(),
                    purchase,
                    total: Resources {
                        cpu: MilliCpus(cpus * 1000),
                        memory: Mebibytes(memory_mib),
                    },
                    price: MicroUsdPerHour(price),
                };
                [shape(Purchase::OnDemand, price), shape(Purchase::Spot, price * 3 / 10)]
            })
            .collect()
    }

    fn offered_in(&self, zone: &ZoneConfig, priced: Timestamp) -> Offering {
        let suffix = match self.purchase {
            Purchase::OnDemand => "",
            Purchase::Spot => ":spot",
        };
        Offering {
            id: OfferingId::new(format!("{}@{}{suffix}", self.instance_type, zone.zone)),
            instance_type: self.instance_type.clone(),
            zone: zone.zone.clone(),
            purchase: self.purchase,
            architecture: Architecture::X86_64,
            total: self.total,
            allocatable: self.total.less(&Resources {
                cpu: RESERVED_CPU,
                memory: RESERVED_MEMORY,
            }),
            price: MicroUsdPerHour(self.price.0.saturating_mul(i64::from(zone.price_percent)) / 100),
            priced,
        }
    }
}

/// How long things take, each as shortest and longest in ms; what is drawn lies between.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From a call to its effect.
    pub latency_ms: (u64, u64),
    /// From a machine's making to its running.
    pub boot_ms: (u64, u64),
    /// From the accepted deletion to the end.
    pub delete_ms: (u64, u64),
    /// What [`crate::Fault::SlowDelete`] makes of the deletion.
    pub slow_delete_ms: (u64, u64),
    /// After how long the caller of a lost request or of a lost answer gives up.
    pub give_up_ms: (u64, u64),
    /// How long after its caller gave up a late request arrives.
    pub late_by_ms: (u64, u64),
    /// For how long a zone stays out of capacity.
    pub dry_ms: (u64, u64),
    /// What a throttled caller is told to wait.
    pub throttle_ms: (u64, u64),
    /// When a machine that dies by itself does so, from its running on.
    pub death_ms: (u64, u64),
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            latency_ms: (5, 50),
            boot_ms: (800, 3_000),
            delete_ms: (200, 1_000),
            slow_delete_ms: (10_000, 60_000),
            give_up_ms: (1_000, 5_000),
            late_by_ms: (100, 20_000),
            dry_ms: (1_000, 30_000),
            throttle_ms: (100, 2_000),
            death_ms: (1_000, 3_600_000),
        }
    }
}

impl Timing {
    /// Nothing takes any time: for benchmarks on a real clock.
    pub fn instant() -> Self {
        Self {
            latency_ms: (0, 0),
            boot_ms: (0, 0),
            delete_ms: (0, 0),
            slow_delete_ms: (0, 0),
            give_up_ms: (0, 0),
            late_by_ms: (0, 0),
            dry_ms: (0, 0),
            throttle_ms: (0, 0),
            death_ms: (0, 0),
        }
    }
}
