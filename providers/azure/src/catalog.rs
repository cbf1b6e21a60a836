//! What a site offers: sizes and prices of the packed table, less what Azure does not sell to this subscription there, and
//! how many machines the quota leaves. Called by the provider.

use std::collections::BTreeMap;

use isobar_engine_model::catalog::{Architecture, Image, Offering, SiteCatalog};
use isobar_engine_model::id::ImageId;
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::snapshot::Snapshot;
use isobar_engine_provider::{ProviderError, Result, Site};
use serde::Deserialize;

use crate::settings::{Settings, invalid};

/// Prices of mid 2026; see `data/NOTICE`.
static PRICES: &[u8] = include_bytes!("../data/azure.csv.zst");

/// One kind of thing that Azure sells, as much of it as we read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sku {
    resource_type: String,
    name: String,
    #[serde(default)]
    location_info: Vec<LocationInfo>,
    #[serde(default)]
    restrictions: Vec<Restriction>,
}

#[derive(Debug, Deserialize)]
struct LocationInfo {
    #[serde(default)]
    zones: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Restriction {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    restriction_info: RestrictionInfo,
}

#[derive(Debug, Default, Deserialize)]
struct RestrictionInfo {
    #[serde(default)]
    zones: Vec<String>,
}

/// How much of a quota is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    current_value: i64,
    limit: i64,
    name: UsageName,
}

#[derive(Debug, Deserialize)]
struct UsageName {
    value: String,
}

/// The packed table.
pub(crate) fn snapshot() -> Result<Snapshot> {
    Snapshot::read(PRICES).map_err(|error| ProviderError::Unexpected {
        message: format!("the packed prices: {error}"),
    })
}

/// What a site offers. Sizes that Azure does not name are left out.
pub(crate) fn of(
    site: &Site,
    settings: &Settings,
    prices: &Snapshot,
    (skus, usages): (&[Sku], &[Usage]),
) -> Result<SiteCatalog> {
    let listed = prices.offerings(&settings.region);
    if listed.is_empty() {
        return Err(invalid(
            site,
            &format!("no prices are known for region {}", settings.region),
        ));
    }
    let sold: BTreeMap<String, &Sku> = skus
        .iter()
        .filter(|sku| sku.resource_type == "virtualMachines")
        .map(|sku| (sku.name.to_ascii_lowercase(), sku))
        .collect();
    let offerings = listed.into_iter().flat_map(|offering| {
        let sku = sold.get(&offering.instance_type.to_ascii_lowercase()).copied();
        sku.map(|sku| in_zones(&offering, sku, settings)).unwrap_or_default()
    });
    Ok(SiteCatalog {
        site: site.name.clone(),
        as_of: prices.as_of,
        offerings: offerings
            .filter(|offering| bootable(settings, offering.architecture))
            .collect(),
        images: images(settings),
        machines_left: machines_left(usages),
    })
}

/// An offering of the region, once for each of the site's zones that has it.
fn in_zones(offering: &Offering, sku: &Sku, settings: &Settings) -> Vec<Offering> {
    if sku
        .restrictions
        .iter()
        .any(|restriction| restriction.kind == "Location")
    {
        return Vec::new();
    }
    let has = |number: &&str| {
        let offered = sku
            .location_info
            .iter()
            .any(|info| info.zones.iter().any(|zone| zone == number));
        let refused = sku.restrictions.iter().any(|restriction| {
            restriction.kind == "Zone" && restriction.restriction_info.zones.iter().any(|zone| zone == number)
        });
        offered && !refused
    };
    let zones = settings.zone_names().into_iter();
    let zones = zones.filter(|zone| settings.zone_number(zone).is_none_or(|number| has(&number)));
    let in_zone = |zone| {
        let offered = Offered {
            instance_type: offering.instance_type.clone(),
            zone,
            purchase: offering.purchase,
        };
        Offering {
            id: offered.id(),
            zone: offered.zone,
            ..offering.clone()
        }
    };
    zones.map(in_zone).collect()
}

fn bootable(settings: &Settings, architecture: Architecture) -> bool {
    match architecture {
        Architecture::X86_64 => true,
        Architecture::Arm64 => settings.image_arm64.is_some(),
    }
}

fn images(settings: &Settings) -> Vec<Image> {
    let image = |id: &String, architecture| Image {
        id: ImageId::new(id),
        architecture,
    };
    let arm64 = settings.image_arm64.as_ref();
    std::iter::once(image(&settings.image, Architecture::X86_64))
        .chain(arm64.map(|id| image(id, Architecture::Arm64)))
        .collect()
}

/// The quota of machines in a region; each size's family has another, of processors, which a create meets.
fn machines_left(usages: &[Usage]) -> Option<u32> {
    let machines = usages.iter().find(|usage| usage.name.value == "virtualMachines")?;
    let left = machines.limit.saturating_sub(machines.current_value).max(0);
    Some(u32::try_from(left).unwrap_or(u32::MAX))
}
