//! What EC2 rents in a region: instance types and zones as EC2 says, spot prices of this moment, prices on demand as the
//! price list says or else of the snapshot, and how many machines the quotas leave. The price list and the quotas are other
//! services, with permissions of their own: without them the rest is as it is.

pub(crate) mod prices;
pub(crate) mod quotas;
mod signed;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ArchitectureType, InstanceType, InstanceTypeInfo, LocationType};
use aws_smithy_types::DateTime;
use isobar_engine_model::catalog::{Architecture, Image, Offering, Purchase, SiteCatalog};
use isobar_engine_model::id::Zone;
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources, Timestamp};
use isobar_engine_provider::live::{Live, LiveFacts};
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::prices::{FRESH_MS, PriceTable, micro_usd, plausible};
use isobar_engine_provider::snapshot::{RESERVED, Snapshot};
use isobar_engine_provider::{ProviderError, Result, Site};

use crate::client::{Clients, quiet};
use crate::errors::{Call, kind_of};
use crate::image::Images;
use crate::settings::Settings;
use quotas::Cpus;

/// No answer has more pages; EC2 has about 1,400 types in at most 7 zones.
const PAGES_MAX: usize = 200;
/// The most that `DescribeInstanceTypes` gives at a time.
const TYPES_A_PAGE: i32 = 100;
/// The most that the other lists give at a time.
const ROWS_A_PAGE: i32 = 1_000;
/// What we boot, in EC2's words.
const LINUX: &str = "Linux/UNIX";

/// By type and zone; a price on demand is the same in all zones of a region.
type Prices = BTreeMap<(String, Zone), MicroUsdPerHour>;

/// What each type has.
type Types = BTreeMap<String, (Architecture, Resources)>;

/// What the services beside EC2 said last.
#[derive(Debug)]
pub(crate) struct Beside {
    prices: LiveFacts<PriceTable>,
    quotas: LiveFacts<Cpus>,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            prices: LiveFacts::fresh_for(FRESH_MS),
            quotas: LiveFacts::fresh_for(quotas::FRESH_MS),
        }
    }
}

/// What EC2 offered on the day of the snapshot: list prices, for where it cannot be asked.
pub fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: LazyLock<Snapshot> =
        LazyLock::new(|| Snapshot::read(include_bytes!("../data/aws.csv.zst")).expect("a test reads the same bytes"));
    &SNAPSHOT
}

/// What a site offers now.
pub(crate) async fn catalog(clients: &Clients, images: &Images, beside: &Beside, site: &Site) -> Result<SiteCatalog> {
    let (settings, client) = clients.of(site).await?;
    let mut bootable = Vec::new();
    for id in &settings.images {
        let facts = images.facts(&client, &site.region, id).await?;
        bootable.push(Image {
            id: id.clone(),
            architecture: facts.architecture,
        });
    }
    let types = types(&client).await?;
    let spot = spot(&client, clients, &settings).await?;
    let on_demand = on_demand(&site.region);
    let (now, listed) = (clients.clock().now(), snapshot().as_of);
    let mut offerings = Vec::new();
    for (instance_type, zone) in zones(&client, &settings).await? {
        let Some((architecture, total)) = types.get(&instance_type).copied() else {
            continue;
        };
        let key = (instance_type, zone);
        let prices = [
            (Purchase::OnDemand, on_demand.get(&key.0), listed),
            (Purchase::Spot, spot.get(&key), now),
        ];
        for (purchase, price, priced) in prices {
            offerings.extend(price.map(|price| offering(&key, purchase, (architecture, total), (*price, priced))));
        }
    }
    // Both at once: neither may take so long that the whole takes too long.
    let (live, limits) = tokio::join!(
        beside.prices(clients, &settings, site),
        beside.limits(clients, &settings, site)
    );
    if let Some(live) = live {
        live.price(&mut offerings);
    }
    let machines_left = match limits {
        Some(limits) => machines_left(&client, site, &limits.said, (&types, &offerings)).await,
        None => None,
    };
    Ok(SiteCatalog {
        site: site.name.clone(),
        as_of: now,
        offerings,
        images: bootable,
        machines_left,
    })
}

impl Beside {
    async fn prices(&self, clients: &Clients, settings: &Settings, site: &Site) -> Option<Arc<Live<PriceTable>>> {
        let service = service("prices", settings, site);
        self.prices
            .of(service, clients.clock(), prices::ask(clients, site))
            .await
    }

    async fn limits(&self, clients: &Clients, settings: &Settings, site: &Site) -> Option<Arc<Live<Cpus>>> {
        let service = service("quotas", settings, site);
        self.quotas
            .of(service, clients.clock(), quotas::limits(clients, site))
            .await
    }
}

/// How many machines the account may still make. Absent: nobody says.
async fn machines_left(
    client: &Client,
    site: &Site,
    limits: &Cpus,
    (types, offerings): (&Types, &[Offering]),
) -> Option<u32> {
    match quotas::used(client, types).await {
        Ok(used) => quotas::machines_left(limits, &used, offerings),
        Err(error) => {
            tracing::warn!(site = %site.name, %error, "what the quota leaves is not known");
            None
        }
    }
}

/// Whom a service is asked as, and about where.
fn service(name: &str, settings: &Settings, site: &Site) -> String {
    let or_own = |text: &Option<String>| text.clone().unwrap_or_default();
    let (at, profile) = (or_own(&settings.endpoint), or_own(&settings.profile));
    format!("{name} {} {profile} {at}", site.region)
}

fn offering(
    (instance_type, zone): &(String, Zone),
    purchase: Purchase,
    (architecture, total): (Architecture, Resources),
    (price, priced): (MicroUsdPerHour, Timestamp),
) -> Offering {
    let offered = Offered {
        instance_type: instance_type.clone(),
        zone: zone.clone(),
        purchase,
    };
    Offering {
        id: offered.id(),
        instance_type: offered.instance_type,
        zone: offered.zone,
        purchase,
        architecture,
        total,
        allocatable: total.less(&RESERVED),
        price,
        priced,
    }
}

/// A price on demand is the same in all zones of a region.
fn on_demand(region: &str) -> BTreeMap<String, MicroUsdPerHour> {
    let offered = snapshot().offerings(region).into_iter();
    let on_demand = offered.filter(|offering| offering.purchase == Purchase::OnDemand);
    on_demand
        .map(|offering| (offering.instance_type, offering.price))
        .collect()
}

/// Which types there are in which zones.
async fn zones(client: &Client, settings: &Settings) -> Result<Vec<(String, Zone)>> {
    let (mut found, mut page) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let ask = client
            .describe_instance_type_offerings()
            .location_type(LocationType::AvailabilityZone);
        let answer = quiet(ask.max_results(ROWS_A_PAGE).set_next_token(page).send()).await;
        let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
        let rows = answer.instance_type_offerings().iter();
        let rows = rows.filter_map(|row| Some((row.instance_type()?.as_str().to_owned(), Zone::new(row.location()?))));
        found.extend(rows.filter(|(instance_type, _)| settings.offers(instance_type)));
        page = following(answer.next_token());
        if page.is_none() {
            found.sort();
            found.dedup();
            return Ok(found);
        }
    }
    Err(endless())
}

/// What each type has. Those with accelerators are left out: no replica can ask for one.
async fn types(client: &Client) -> Result<Types> {
    let (mut found, mut page) = (Types::new(), None);
    for _ in 0..PAGES_MAX {
        let ask = client
            .describe_instance_types()
            .max_results(TYPES_A_PAGE)
            .set_next_token(page);
        let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
        found.extend(answer.instance_types().iter().filter_map(plain));
        page = following(answer.next_token());
        if page.is_none() {
            return Ok(found);
        }
    }
    Err(endless())
}

fn plain(info: &InstanceTypeInfo) -> Option<(String, (Architecture, Resources))> {
    let accelerated = info.gpu_info().is_some()
        || info.fpga_info().is_some()
        || info.inference_accelerator_info().is_some()
        || info.neuron_info().is_some()
        || info.media_accelerator_info().is_some();
    let supported = info.processor_info()?.supported_architectures();
    let architecture = if supported.contains(&ArchitectureType::X8664) {
        Architecture::X86_64
    } else {
        supported
            .contains(&ArchitectureType::Arm64)
            .then_some(Architecture::Arm64)?
    };
    let cpus = u32::try_from(info.v_cpu_info()?.default_v_cpus()?).ok()?;
    let memory = u32::try_from(info.memory_info()?.size_in_mib()?).ok()?;
    let total = Resources {
        cpu: MilliCpus(cpus.checked_mul(1000)?),
        memory: Mebibytes(memory),
    };
    let name = info.instance_type()?.as_str().to_owned();
    (!accelerated).then_some((name, (architecture, total)))
}

/// The spot prices of this moment: a history that starts now has one row a type and zone.
async fn spot(client: &Client, clients: &Clients, settings: &Settings) -> Result<Prices> {
    let now_ms = i64::try_from(clients.clock().now().0).unwrap_or(i64::MAX);
    let now = DateTime::from_millis(now_ms);
    let exact = settings.instance_types.iter().filter(|pattern| !pattern.ends_with('*'));
    let exact: Vec<InstanceType> = exact.map(|name| InstanceType::from(name.as_str())).collect();
    let only = (exact.len() == settings.instance_types.len() && !exact.is_empty()).then_some(exact);
    let (mut found, mut page) = (Prices::new(), None);
    for _ in 0..PAGES_MAX {
        let ask = client
            .describe_spot_price_history()
            .start_time(now)
            .product_descriptions(LINUX);
        let ask = ask
            .set_instance_types(only.clone())
            .max_results(ROWS_A_PAGE)
            .set_next_token(page);
        let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
        found.extend(answer.spot_price_history().iter().filter_map(|row| {
            let key = (
                row.instance_type()?.as_str().to_owned(),
                Zone::new(row.availability_zone()?),
            );
            Some((key, plausible(micro_usd(row.spot_price()?)?)?))
        }));
        page = following(answer.next_token());
        if page.is_none() {
            return Ok(found);
        }
    }
    Err(endless())
}

fn following(token: Option<&str>) -> Option<String> {
    token.filter(|token| !token.is_empty()).map(str::to_owned)
}

fn endless() -> ProviderError {
    ProviderError::Unexpected {
        message: format!("a list of more than {PAGES_MAX} pages"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_can_be_read_and_has_the_large_regions() {
        for region in ["us-east-1", "eu-central-1"] {
            assert!(snapshot().offerings(region).len() > 100, "{region}");
        }
    }
}
