use isobar_engine_model::catalog::Architecture;
use isobar_engine_model::id::{OfferingId, Zone};
use isobar_engine_model::quantity::{Mebibytes, MilliCpus, Resources, Timestamp};

use super::*;

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
        assert!(table(price).or_none().is_err(), "{price}");
    }
    assert!(table(PRICE_MAX.0).or_none().is_ok());
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
        let prices = Live {
            as_of: Timestamp(9),
            said: table(live),
        };
        prices.price(&mut offerings);
        let expected = if believed { (live, 9) } else { (100_000, 1) };
        assert_eq!((offerings[0].price.0, offerings[0].priced.0), expected, "{live}");
    }
}
