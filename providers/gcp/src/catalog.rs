//! What a region offers: its zones and quotas as they are now, the machine types that its zones have now, at the prices that
//! the catalog of prices says or else the packed table. A type that the table does not know is not offered.
//!
//! One call for the region and one a zone, more only where a zone has more types than a page holds.

mod prices;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use google_cloud_compute_v1::model::Region;
use google_cloud_compute_v1::model::quota::Metric;
use isobar_engine_model::catalog::{Architecture, Image, SiteCatalog};
use isobar_engine_model::id::ImageId;
use isobar_engine_provider::live::LiveFacts;
use isobar_engine_provider::prices::PriceTable;
use isobar_engine_provider::snapshot::Snapshot;
use isobar_engine_provider::{Clock, ProviderError, Result, Site, endpoint};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::settings::Settings;

/// The packed table of prices.
const PACKED: &[u8] = include_bytes!("../data/catalog.csv.zst");
/// The most that one page holds (`maxResults` of the discovery document).
const TYPES_PAGE_MAX: u32 = 500;
/// So many pages of one zone's types are read at most.
const TYPES_MAX_PAGES: usize = 20;

pub(crate) async fn catalog(
    clients: &Clients,
    site: &Site,
    settings: &Settings,
    (live, clock): (&LiveFacts<PriceTable>, &dyn Clock),
) -> Result<SiteCatalog> {
    let region = region(clients, site, settings).await?;
    let mut offerings = prices()?.offerings(&site.region);
    // The pool has found that the endpoint is allowed.
    let base = site
        .settings
        .get(endpoint::SETTING)
        .map_or(prices::SERVICE, |at| at.trim_end_matches('/'));
    let service = format!("{base} {} {}", settings.project, site.region);
    let ask = prices::ask(&clients.source, base, &site.region, &offerings);
    if let Some(live) = live.of(service, clock, ask).await {
        live.price(&mut offerings);
    }
    let mut offered = BTreeSet::new();
    for zone in zones(site, settings, &region) {
        for name in types(clients, settings, &zone).await? {
            offered.insert((zone.clone(), name));
        }
    }
    offerings.retain(|offering| offered.contains(&(offering.zone.to_string(), offering.instance_type.clone())));
    Ok(SiteCatalog {
        site: site.name.clone(),
        as_of: clock.now(),
        offerings,
        images: vec![Image {
            id: ImageId::new(&settings.image),
            // The node image is of no other.
            architecture: Architecture::X86_64,
        }],
        machines_left: machines_left(&region),
    })
}

async fn region(clients: &Clients, site: &Site, settings: &Settings) -> Result<Region> {
    let call = clients
        .regions
        .get()
        .set_project(&settings.project)
        .set_region(&site.region);
    let answer = call.send().await;
    answer.map_err(|error| {
        let meant = errors::of_call(&error, Call::Read, &clients.source);
        if meant != ProviderError::NotFound {
            return meant;
        }
        ProviderError::InvalidSpec {
            message: format!("project {} has no region {}", settings.project, site.region),
        }
    })
}

/// The region's zones that the site uses, in order. The cloud names them by their addresses.
fn zones(site: &Site, settings: &Settings, region: &Region) -> BTreeSet<String> {
    let names = region.zones.iter().filter_map(|address| address.rsplit('/').next());
    names
        .filter(|zone| settings.has_zone(site, zone))
        .map(str::to_owned)
        .collect()
}

async fn types(clients: &Clients, settings: &Settings, zone: &str) -> Result<Vec<String>> {
    let (mut names, mut page) = (Vec::new(), None);
    for _ in 0..TYPES_MAX_PAGES {
        let call = clients
            .machine_types
            .list()
            .set_project(&settings.project)
            .set_zone(zone)
            .set_max_results(TYPES_PAGE_MAX)
            .set_or_clear_page_token(page);
        let answer = call
            .send()
            .await
            .map_err(|error| errors::of_call(&error, Call::Read, &clients.source))?;
        let current = answer.items.into_iter().filter(|found| found.deprecated.is_none());
        names.extend(current.filter_map(|found| found.name));
        page = answer.next_page_token.filter(|token| !token.is_empty());
        if page.is_none() {
            return Ok(names);
        }
    }
    Err(ProviderError::Unexpected {
        message: format!("the list of machine types of {zone} does not end"),
    })
}

/// What the quota of instances leaves. Other quotas (of processors, of addresses) may be reached earlier: then a create says
/// so.
fn machines_left(region: &Region) -> Option<u32> {
    let quota = region
        .quotas
        .iter()
        .find(|quota| quota.metric == Some(Metric::Instances))?;
    let left = (quota.limit? - quota.usage?).max(0.0).floor();
    // Whole and not negative; more than fit are as good as all.
    format!("{left:.0}").parse().ok().or(Some(u32::MAX))
}

/// The table, unpacked once.
fn prices() -> Result<&'static Snapshot> {
    static PRICES: OnceLock<Option<Snapshot>> = OnceLock::new();
    let read = PRICES.get_or_init(|| Snapshot::read(PACKED).ok());
    read.as_ref().ok_or_else(|| ProviderError::Unexpected {
        message: "the packed table of prices cannot be read".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_table_can_be_read_and_prices_machines_in_europe() {
        let prices = prices().expect("packed as tools/snapshots.py does");
        assert!(prices.regions().len() > 20);
        let offerings = prices.offerings("europe-west1");
        let small = offerings
            .iter()
            .find(|offering| offering.id.as_str() == "e2-small@europe-west1-b");
        assert!(small.is_some_and(|small| small.price.0 > 0));
        assert!(offerings.iter().any(|offering| offering.id.as_str().ends_with("+spot")));
    }
}
