//! What Amazon tells beside its machines: prices on demand, quotas; and what of it is not believed.

use std::collections::BTreeMap;
use std::time::Duration;

use isobar_engine_model::catalog::{Purchase, SiteCatalog};
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::prices::{FRESH_MS, PAGES_MAX};
use isobar_providers_aws::snapshot;
use isobar_tests_clouds::aws::{Lie, REGION, SPOT_CPUS};

use crate::bed::StrictBed;

async fn catalog(bed: &StrictBed) -> SiteCatalog {
    bed.provider().catalog(&bed.site()).await.unwrap()
}

/// Prices on demand, by type.
fn on_demand(catalog: &SiteCatalog) -> BTreeMap<String, i64> {
    let offered = catalog
        .offerings
        .iter()
        .filter(|one| one.purchase == Purchase::OnDemand);
    offered.map(|one| (one.instance_type.clone(), one.price.0)).collect()
}

#[tokio::test]
async fn prices_on_demand_are_the_price_list_s_and_quotas_count_processors() {
    let bed = StrictBed::reliable().await;
    let asked = bed.clock().now();
    let first = catalog(&bed).await;
    let listed = [("m7i.large".to_owned(), 120_000), ("t3.small".to_owned(), 24_000)];
    assert_eq!(on_demand(&first), listed.into());
    assert!(first.offerings.iter().all(|offering| offering.priced >= asked));
    let left = first.machines_left.unwrap();
    assert_eq!(left, 1_000 + SPOT_CPUS / 2);

    bed.provider().create(&super::request(&bed)).await.unwrap();
    bed.clock().sleep(Duration::from_secs(600)).await;
    let (products, quotas) = (
        bed.ec2.front.calls.of("GetProducts"),
        bed.ec2.front.calls.of("ListServiceQuotas"),
    );
    let second = catalog(&bed).await;
    assert_eq!(
        second.machines_left,
        Some(left - 1),
        "what is used is counted each time"
    );
    let calls = &bed.ec2.front.calls;
    assert_eq!(
        (calls.of("GetProducts"), calls.of("ListServiceQuotas")),
        (products, quotas),
        "kept"
    );
    bed.clock().sleep(Duration::from_millis(FRESH_MS)).await;
    catalog(&bed).await;
    assert!(calls.of("GetProducts") > products && calls.of("ListServiceQuotas") > quotas);
}

#[tokio::test]
async fn services_that_lie_change_no_price_and_block_nothing() {
    let listed = snapshot().offerings(REGION);
    let listed: BTreeMap<_, _> = listed
        .iter()
        .filter(|one| one.purchase == Purchase::OnDemand)
        .map(|one| (one.instance_type.as_str(), (one.price.0, one.priced)))
        .collect();
    for lie in Lie::ALL {
        let bed = StrictBed::reliable().await;
        bed.ec2.lie(Some(lie));
        let catalog = catalog(&bed).await;
        let offered = catalog
            .offerings
            .iter()
            .filter(|one| one.purchase == Purchase::OnDemand);
        for offering in offered {
            let expected = listed[offering.instance_type.as_str()];
            assert_eq!((offering.price.0, offering.priced), expected, "{lie:?}");
        }
        assert_eq!(catalog.machines_left, None, "{lie:?}");
        let pages = bed.ec2.front.calls.of("GetProducts");
        assert!(usize::try_from(pages).unwrap() <= PAGES_MAX, "{lie:?}: {pages} pages");
    }
}
