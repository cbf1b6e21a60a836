//! What a site offers: sizes of the packed table, less what Azure does not sell to this subscription there, at the table's
//! prices until [`prices`] says newer ones, and how many machines the quotas leave. Called by the provider.

pub(crate) mod prices;

use std::collections::BTreeMap;

use isobar_engine_model::catalog::{Architecture, Image, Offering, Purchase};
use isobar_engine_model::id::ImageId;
use isobar_engine_provider::offering::{Offered, machines_of_cpus};
use isobar_engine_provider::snapshot::Snapshot;
use isobar_engine_provider::{ProviderError, Result, Site};
use serde::Deserialize;

use crate::settings::{Settings, invalid};

/// Prices of mid 2026; see `data/NOTICE`.
static PACKED: &[u8] = include_bytes!("../data/azure.csv.zst");

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
    Snapshot::read(PACKED).map_err(|error| ProviderError::Unexpected {
        message: format!("the packed prices: {error}"),
    })
}

/// What a site offers, at listed prices. Sizes that Azure does not name are left out.
pub(crate) fn offerings(site: &Site, settings: &Settings, table: &Snapshot, skus: &[Sku]) -> Result<Vec<Offering>> {
    let listed = table.offerings(&settings.region);
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
    Ok(offerings
        .filter(|offering| bootable(settings, offering.architecture))
        .collect())
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

pub(crate) fn images(settings: &Settings) -> Vec<Image> {
    let image = |id: &String, architecture| Image {
        id: ImageId::new(id),
        architecture,
    };
    let arm64 = settings.image_arm64.as_ref();
    std::iter::once(image(&settings.image, Architecture::X86_64))
        .chain(arm64.map(|id| image(id, Architecture::Arm64)))
        .collect()
}

/// What the quotas of a region leave: of machines, and of processors on demand and spot, as many as the smallest sizes take.
/// Each size's family has another quota, which a create meets. Absent: Azure did not say.
pub(crate) fn machines_left(usages: &[Usage], offerings: &[Offering]) -> Option<u32> {
    let left = |quota: &str| {
        let usage = usages.iter().find(|usage| usage.name.value == quota)?;
        let left = usage.limit.saturating_sub(usage.current_value).max(0);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    };
    let machines = left("virtualMachines")?;
    let cpus = [
        (Purchase::OnDemand, left("cores")),
        (Purchase::Spot, left("lowPriorityCores")),
    ];
    let of_cpus = cpus.map(|(purchase, cpus)| {
        cpus.map_or(u32::MAX, |cpus| {
            machines_of_cpus(cpus, offerings.iter().filter(|offering| offering.purchase == purchase))
        })
    });
    Some(machines.min(of_cpus[0].saturating_add(of_cpus[1])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn processors_bound_machines_where_they_are_fewer() {
        let table = snapshot().expect("packed as tools/snapshots.py does");
        let size = |offering: &Offering| offering.instance_type == "Standard_D2s_v5";
        let offerings: Vec<_> = table.offerings("westeurope").into_iter().filter(size).collect();
        assert_eq!(offerings.len(), 2, "on demand and spot");
        for (quotas, left) in [
            (&[][..], None),
            (&[("virtualMachines", 100, 10)][..], Some(90)),
            (&[("virtualMachines", 10, 100)][..], Some(0)),
            (&[("virtualMachines", 100, 0), ("cores", 9, 4)][..], Some(100)),
            (
                &[("virtualMachines", 100, 0), ("cores", 9, 4), ("lowPriorityCores", 3, 0)][..],
                Some(3),
            ),
        ] {
            let usages: Vec<Usage> = quotas
                .iter()
                .map(|(name, limit, used)| json!({"limit": limit, "currentValue": used, "name": {"value": name}}))
                .map(|usage| serde_json::from_value(usage).expect("Azure's form"))
                .collect();
            assert_eq!(machines_left(&usages, &offerings), left, "{quotas:?}");
        }
    }
}
