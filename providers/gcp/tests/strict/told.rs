//! What Google tells beside its machines: prices; and what of it is not believed.

use std::time::Duration;

use isobar_engine_model::catalog::{Purchase, SiteCatalog};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::conformance::TestBed as _;
use isobar_engine_provider::prices::{FRESH_MS, PAGES_MAX};
use isobar_tests_clouds::gcp::Lie;

use crate::bed::GcpBed;

/// Price and age of the small machine, on demand and spot.
fn prices(catalog: &SiteCatalog) -> [(i64, Timestamp); 2] {
    [Purchase::OnDemand, Purchase::Spot].map(|purchase| {
        let small = |name: &str| name == "e2-small";
        let mut found = catalog.offerings.iter().filter(|one| one.purchase == purchase);
        let found = found.find(|one| small(&one.instance_type)).unwrap();
        (found.price.0, found.priced)
    })
}

async fn catalog(bed: &GcpBed) -> SiteCatalog {
    bed.provider().catalog(&bed.site()).await.unwrap()
}

#[tokio::test]
async fn prices_are_live_and_asked_for_again_when_they_are_old() {
    let bed = GcpBed::plain().await;
    let asked = bed.clock().now();
    let live = prices(&catalog(&bed).await);
    assert_eq!(live.map(|(price, _)| price), [12_000 + 2 * 3_200, 3_000 + 2 * 800]);
    assert!(live.iter().all(|(_, priced)| *priced >= asked));
    let pages = bed.gcp.front.calls.of("skus.list");
    assert!(pages > 1, "several pages");
    catalog(&bed).await;
    assert_eq!(bed.gcp.front.calls.of("skus.list"), pages, "kept");

    bed.clock().sleep(Duration::from_millis(FRESH_MS)).await;
    bed.gcp.lie(Some(Lie::Away));
    assert_eq!(
        prices(&catalog(&bed).await),
        live,
        "the last ones serve, with their age"
    );
}

#[tokio::test]
async fn a_catalog_of_prices_that_lies_changes_no_price_and_blocks_nothing() {
    for lie in Lie::ALL {
        let bed = GcpBed::plain().await;
        bed.gcp.lie(Some(lie));
        let listed = prices(&catalog(&bed).await);
        assert_eq!(listed.map(|(price, _)| price), [18_429, 8_926], "{lie:?}");
        assert!(
            listed.iter().all(|(_, priced)| *priced != bed.clock().now()),
            "{lie:?}: of the list's day"
        );
        let pages = bed.gcp.front.calls.of("skus.list");
        assert!(usize::try_from(pages).unwrap() <= PAGES_MAX, "{lie:?}: {pages} pages");
    }
}
