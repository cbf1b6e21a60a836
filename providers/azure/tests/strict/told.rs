//! What Azure tells beside its machines: prices, quotas, consoles; and what of it is not believed.

use std::time::Duration;

use isobar_engine_model::catalog::{Purchase, SiteCatalog};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::live::RETRY_MS;
use isobar_engine_provider::prices::{FRESH_MS, PAGES_MAX};
use isobar_tests_clouds::azure::Lie;

use crate::bed::AzureBed;

/// When the packed table was made.
const LISTED: Timestamp = Timestamp(1_782_864_000_000);

async fn catalog(bed: &AzureBed) -> SiteCatalog {
    bed.provider().catalog(&bed.site()).await.unwrap()
}

/// Price and age, on demand and spot, which are the same in all zones.
fn prices(catalog: &SiteCatalog) -> [(i64, Timestamp); 2] {
    [Purchase::OnDemand, Purchase::Spot].map(|purchase| {
        let mut found = catalog
            .offerings
            .iter()
            .filter(|offering| offering.purchase == purchase);
        let first = found.next().unwrap();
        assert!(found.all(|offering| (offering.price, offering.priced) == (first.price, first.priced)));
        (first.price.0, first.priced)
    })
}

#[tokio::test(start_paused = true)]
async fn prices_are_live_and_asked_for_again_when_they_are_old() {
    let bed = AzureBed::plain().await;
    let asked = bed.clock().now();
    let first = catalog(&bed).await;
    let live = prices(&first);
    assert_eq!(live.map(|(price, _)| price), [120_000, 15_000]);
    assert!(live.iter().all(|(_, priced)| *priced >= asked));
    let pages = bed.azure.front.calls.of("RetailPrices");
    assert!(pages > 1, "several pages");
    catalog(&bed).await;
    assert_eq!(bed.azure.front.calls.of("RetailPrices"), pages, "kept");

    bed.clock().sleep(Duration::from_millis(FRESH_MS)).await;
    bed.azure.lie(Some(Lie::Away));
    let later = catalog(&bed).await;
    assert_eq!(prices(&later), live, "the last ones serve, with their age");
    assert!(later.as_of > first.as_of);
    bed.azure.lie(None);
    bed.clock().sleep(Duration::from_millis(RETRY_MS)).await;
    assert!(prices(&catalog(&bed).await)[0].1 > live[0].1);
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_price_service_that_lies_changes_no_price_and_blocks_nothing() {
    for lie in Lie::ALL {
        let bed = AzureBed::plain().await;
        bed.azure.lie(Some(lie));
        let asked = bed.clock().now();
        let catalog = catalog(&bed).await;
        let listed = [(115_000, LISTED), (12_650, LISTED)];
        assert_eq!(prices(&catalog), listed, "{lie:?}");
        assert!(catalog.as_of >= asked, "sizes and quotas are of now");
        let pages = bed.azure.front.calls.of("RetailPrices");
        assert!(usize::try_from(pages).unwrap() <= PAGES_MAX, "{lie:?}: {pages} pages");
        assert_eq!(bed.azure.violations(), Vec::<String>::new(), "{lie:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_console_is_read_without_our_token_and_nowhere_but_at_the_cloud() {
    let bed = AzureBed::plain().await;
    let made = bed.provider().create(&bed.request(1)).await.unwrap();
    bed.clock().sleep(Duration::from_secs(60)).await;
    let provider = bed.provider();
    let console = provider.console().unwrap();
    let read = console.read(&bed.site(), &made.handle, 0).await.unwrap();
    assert!(!read.bytes.is_empty());
    let rest = console.read(&bed.site(), &made.handle, read.next_offset).await.unwrap();
    assert_eq!(rest.next_offset, read.next_offset + rest.bytes.len() as u64);
    assert_eq!(bed.azure.violations(), Vec::<String>::new());

    let blobs = bed.azure.front.calls.of("blob");
    for elsewhere in [
        "http://169.254.169.254/metadata",
        "https://example.org/blobs",
        "http://127.0.0.1:1",
    ] {
        bed.azure.move_consoles_to(elsewhere);
        let refused = console.read(&bed.site(), &made.handle, 0).await.unwrap_err();
        assert_eq!(refused.kind(), "unexpected", "{elsewhere}");
        assert!(
            !format!("{refused:?}").contains("signature"),
            "the address stays secret"
        );
    }
    assert_eq!(bed.azure.front.calls.of("blob"), blobs);
}
