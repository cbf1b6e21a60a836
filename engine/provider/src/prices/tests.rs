use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use isobar_engine_model::catalog::Architecture;
use isobar_engine_model::id::{OfferingId, Zone};
use isobar_engine_model::quantity::{Mebibytes, MilliCpus, Resources};

use super::*;

struct Set(AtomicU64);

#[async_trait]
impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

impl Set {
    fn to(&self, ms: u64) -> &Self {
        self.0.store(ms, Ordering::SeqCst);
        self
    }
}

fn table(price: i64) -> PriceTable {
    let mut table = PriceTable::default();
    table
        .add("m1", Purchase::OnDemand, MicroUsdPerHour(price))
        .expect("there is room");
    table
}

fn listed(price: i64) -> Offering {
    let room = Resources {
        cpu: MilliCpus(1000),
        memory: Mebibytes(1024),
    };
    Offering {
        id: OfferingId::new("M1@a"),
        instance_type: "M1".to_owned(),
        zone: Zone::new("a"),
        purchase: Purchase::OnDemand,
        architecture: Architecture::X86_64,
        total: room,
        allocatable: room,
        price: MicroUsdPerHour(price),
        priced: Timestamp(1),
    }
}

fn away() -> ProviderError {
    ProviderError::Unavailable {
        message: "away".to_owned(),
    }
}

#[test]
fn only_what_can_be_a_price_is_one() {
    for (text, price) in [
        ("0.0104", Some(10_400)),
        ("12", Some(12_000_000)),
        ("0.12345678", Some(123_456)),
        ("0", Some(0)),
        ("", None),
        (".5", None),
        ("free", None),
        ("-1", None),
        ("0.-1", None),
        ("1e9", None),
        ("+1", None),
        ("99999999999999999999", None),
        ("9999999999999", None),
    ] {
        assert_eq!(micro_usd(text), price.map(MicroUsdPerHour), "{text}");
    }
    for price in [i64::MIN, -1, 0, PRICE_MAX.0 + 1, i64::MAX] {
        assert!(table(price).is_empty(), "{price}");
    }
    assert!(!table(PRICE_MAX.0).is_empty());
}

#[test]
fn of_two_prices_for_the_same_the_dearer_counts() {
    let mut twice = table(5);
    for price in [9, 7] {
        let added = twice.add("M1", Purchase::OnDemand, MicroUsdPerHour(price));
        added.expect("there is room");
    }
    assert_eq!(twice.of("m1", Purchase::OnDemand), Some(MicroUsdPerHour(9)));
    assert_eq!(twice.of("m1", Purchase::Spot), None);
}

#[test]
fn a_table_has_an_end() {
    let mut full = PriceTable::default();
    let add = |number| full.add(&format!("m{number}"), Purchase::Spot, MicroUsdPerHour(1));
    let refused = (0..=PRICES_MAX).map(add).find(Result::is_err);
    assert!(
        matches!(refused, Some(Err(ProviderError::Unexpected { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_live_price_far_from_the_listed_one_is_not_believed() {
    for (live, believed) in [(5_000, true), (4_999, false), (2_000_000, true), (2_000_001, false)] {
        let mut offerings = [listed(100_000)];
        let prices = LivePrices {
            as_of: Timestamp(9),
            table: table(live),
        };
        prices.price(&mut offerings);
        let expected = if believed { (live, 9) } else { (100_000, 1) };
        assert_eq!((offerings[0].price.0, offerings[0].priced.0), expected, "{live}");
    }
}

#[tokio::test(start_paused = true)]
async fn prices_are_asked_for_when_they_are_old_and_served_on_when_nobody_answers() {
    let (cache, clock) = (PriceCache::default(), Set(AtomicU64::new(1_000)));
    let never = async || panic!("it was not to be asked");
    assert_eq!(cache.of("west", &clock, async { Err(away()) }).await, None);
    assert_eq!(cache.of("west", clock.to(1_000 + RETRY_MS - 1), never()).await, None);

    let asked_ms = 1_000 + RETRY_MS;
    let first = cache.of("west", clock.to(asked_ms), async { Ok(table(5)) }).await;
    assert_eq!(first.as_ref().map(|prices| prices.as_of), Some(Timestamp(asked_ms)));
    let kept = cache.of("west", clock.to(asked_ms + FRESH_MS - 1), never()).await;
    assert_eq!(kept, first);

    for broken in [Err(away()), Ok(PriceTable::default())] {
        clock.to(clock.now().0 + FRESH_MS);
        assert_eq!(
            cache.of("west", &clock, async { broken }).await,
            first,
            "with its own age"
        );
    }
    clock.to(clock.now().0 + FRESH_MS);
    let hangs = cache.of("west", &clock, std::future::pending()).await;
    assert_eq!(hangs, first, "a service that hangs is left after a while");
    let elsewhere = cache.of("east", &clock, async { Ok(table(7)) }).await;
    assert_ne!(elsewhere, first);
}
