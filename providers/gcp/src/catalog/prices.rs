//! What Google's catalog of prices says of a region's machine types. It prices processors and memory by the hour, by family
//! and way to pay; a machine costs what it has of both. Families that it describes in other words keep their listed prices.
//! What it says is believed within the bounds of [`isobar_engine_provider::prices`].
//! <https://cloud.google.com/billing/v1/how-tos/catalog-api>

use std::collections::BTreeMap;
use std::time::Duration;

use google_cloud_auth::credentials::CacheableResource;
use isobar_engine_model::catalog::{Offering, Purchase};
use isobar_engine_model::quantity::MicroUsdPerHour;
use isobar_engine_provider::answer::Answer;
use isobar_engine_provider::error::{Call, Meaning};
use isobar_engine_provider::prices::{ANSWER_MAX_BYTES, PAGES_MAX, PRICES_MAX, PriceTable};
use isobar_engine_provider::{ProviderError, Result};
use serde::Deserialize;

use crate::credentials::Source;

/// The catalog's own address.
pub(crate) const SERVICE: &str = "https://cloudbilling.googleapis.com";
/// Compute Engine, by its number in the catalog.
const SKUS: &str = "/v1/services/6F81-5844-456A/skus";
/// The most that a page has.
const SKUS_A_PAGE: &str = "5000";
/// The only currency that we count in.
const CURRENCY: &str = "USD";
/// A connection is there after so long, or the catalog is away.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// What stands before the description of a price as spot.
const SPOT: &str = "Spot Preemptible ";
/// What the catalog calls a family, before `Core running in` and `Ram running in`.
const FAMILIES: [(&str, &str); 9] = [
    ("c2", "Compute optimized"),
    ("c2d", "C2D AMD Instance"),
    ("c3", "C3 Instance"),
    ("c3d", "C3D Instance"),
    ("e2", "E2 Instance"),
    ("n1", "N1 Predefined Instance"),
    ("n2", "N2 Instance"),
    ("n2d", "N2D AMD Instance"),
    ("t2d", "T2D AMD Instance"),
];
/// Types that share a processor: they show two and are billed for so many thousandths of one.
/// <https://cloud.google.com/compute/docs/general-purpose-machines#e2-shared-core>
const SHARED: [(&str, u32); 3] = [("e2-micro", 250), ("e2-small", 500), ("e2-medium", 1000)];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    skus: Vec<Sku>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sku {
    description: String,
    category: Category,
    #[serde(default)]
    service_regions: Vec<String>,
    #[serde(default)]
    pricing_info: Vec<PricingInfo>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Category {
    #[serde(default)]
    usage_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PricingInfo {
    pricing_expression: Expression,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expression {
    usage_unit: String,
    #[serde(default)]
    tiered_rates: Vec<Rate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    unit_price: Money,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Money {
    #[serde(default)]
    currency_code: String,
    #[serde(default)]
    units: String,
    #[serde(default)]
    nanos: i64,
}

/// What a machine is priced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// A processor.
    Core,
    /// A GiB of memory.
    Ram,
}

/// Billionths of a dollar an hour, by family.
#[derive(Debug, Default)]
struct Rates(BTreeMap<(&'static str, Purchase, Part), i64>);

/// Asks for all prices of Compute Engine, page by page, and prices what is offered in a region.
pub(crate) async fn ask(source: &Source, base: &str, region: &str, offerings: &[Offering]) -> Result<PriceTable> {
    let (http, headers) = (http()?, headers(source).await?);
    let (mut rates, mut token) = (Rates::default(), String::new());
    for _ in 0..PAGES_MAX {
        let asked = [
            ("currencyCode", CURRENCY),
            ("pageSize", SKUS_A_PAGE),
            ("pageToken", &token),
        ];
        let asked = asked
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect::<Vec<_>>();
        let request = http.get(format!("{base}{SKUS}")).query(&asked).headers(headers.clone());
        let mut sent = request.send().await.map_err(lost)?;
        if !sent.status().is_success() {
            let message = format!("the catalog of prices answers with {}", sent.status());
            return Err(Meaning::Unavailable.error(Call::Read, message));
        }
        let mut answer = Answer::of_at_most(ANSWER_MAX_BYTES);
        while let Some(chunk) = sent.chunk().await.map_err(lost)? {
            answer.take(&chunk)?;
        }
        let page: Page = serde_json::from_slice(&answer.into_bytes()).map_err(|_| strange("a page"))?;
        for sku in page.skus.iter().filter(|sku| sku.is_of(region)) {
            rates.enter(sku)?;
        }
        token = page.next_page_token;
        if token.is_empty() {
            return rates.price(offerings)?.or_none();
        }
    }
    Err(strange("a list without an end"))
}

impl Sku {
    fn is_of(&self, region: &str) -> bool {
        self.service_regions.iter().any(|known| known == region)
    }

    /// Which part of which family it prices; absent: something else.
    fn part(&self) -> Option<(&'static str, Purchase, Part)> {
        let (purchase, rest) = match (self.category.usage_type.as_str(), self.description.strip_prefix(SPOT)) {
            ("OnDemand", None) => (Purchase::OnDemand, self.description.as_str()),
            ("Preemptible", Some(rest)) => (Purchase::Spot, rest),
            (_, _) => return None,
        };
        let (name, _) = rest.split_once(" running in ")?;
        let (name, part) = match name.strip_suffix(" Core") {
            Some(name) => (name, Part::Core),
            None => (name.strip_suffix(" Ram")?, Part::Ram),
        };
        let (family, _) = FAMILIES.into_iter().find(|(_, words)| *words == name)?;
        Some((family, purchase, part))
    }

    /// Billionths of a dollar an hour, without what is free or cheaper at first.
    fn nano_usd(&self, part: Part) -> Option<i64> {
        let unit = match part {
            Part::Core => "h",
            Part::Ram => "GiBy.h",
        };
        let expression = &self.pricing_info.last()?.pricing_expression;
        let price = &expression.tiered_rates.last()?.unit_price;
        if expression.usage_unit != unit || price.currency_code != CURRENCY {
            return None;
        }
        let units: i64 = if price.units.is_empty() {
            0
        } else {
            price.units.parse().ok()?
        };
        let nano = units.checked_mul(1_000_000_000)?.checked_add(price.nanos)?;
        (nano > 0).then_some(nano)
    }
}

impl Rates {
    /// Of two for the same the dearer counts.
    fn enter(&mut self, sku: &Sku) -> Result<()> {
        let Some(key) = sku.part() else { return Ok(()) };
        let Some(nano) = sku.nano_usd(key.2) else { return Ok(()) };
        if self.0.len() >= PRICES_MAX {
            return Err(strange("too many prices"));
        }
        let known = self.0.entry(key).or_insert(nano);
        *known = (*known).max(nano);
        Ok(())
    }

    fn price(&self, offerings: &[Offering]) -> Result<PriceTable> {
        let mut table = PriceTable::default();
        for offering in offerings {
            if let Some(price) = self.of(offering) {
                table.add(&offering.instance_type, offering.purchase, price)?;
            }
        }
        Ok(table)
    }

    fn of(&self, offering: &Offering) -> Option<MicroUsdPerHour> {
        let (family, _) = offering.instance_type.split_once('-')?;
        let (family, _) = FAMILIES.into_iter().find(|(name, _)| *name == family)?;
        let rate = |part| {
            self.0
                .get(&(family, offering.purchase, part))
                .map(|nano| i128::from(*nano))
        };
        let shared = SHARED.into_iter().find(|(name, _)| *name == offering.instance_type);
        let milli_cpus = shared.map_or(offering.total.cpu.0, |(_, milli_cpus)| milli_cpus);
        let cores = rate(Part::Core)?.checked_mul(i128::from(milli_cpus))? / 1000;
        let memory = rate(Part::Ram)?.checked_mul(i128::from(offering.total.memory.0))? / 1024;
        i64::try_from((cores + memory) / 1000).ok().map(MicroUsdPerHour)
    }
}

async fn headers(source: &Source) -> Result<reqwest::header::HeaderMap> {
    let credentials = source.credentials()?;
    match credentials.headers(Default::default()).await {
        Ok(CacheableResource::New { data, .. }) => Ok(data),
        Ok(CacheableResource::NotModified) => Err(strange("credentials that nobody asked for")),
        Err(_) => Err(source.refused("no token for the catalog of prices")),
    }
}

fn http() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(lost)
}

fn lost(error: reqwest::Error) -> ProviderError {
    Meaning::Unknown.error(Call::Read, error.without_url().to_string())
}

fn strange(what: &str) -> ProviderError {
    ProviderError::Unexpected {
        message: format!("Google's catalog of prices: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sku(description: &str, usage: &str, unit: &str, price: &Value) -> Sku {
        let sku = json!({
            "description": description, "category": {"usageType": usage}, "serviceRegions": ["europe-west1"],
            "pricingInfo": [{"pricingExpression": {"usageUnit": unit, "tieredRates": [{"unitPrice": price}]}}],
        });
        serde_json::from_value(sku).expect("Google's form")
    }

    fn dollars(nanos: i64) -> Value {
        json!({"currencyCode": "USD", "units": "0", "nanos": nanos})
    }

    #[test]
    fn a_sku_prices_a_part_of_a_family_or_nothing() {
        for (description, usage, part) in [
            (
                "E2 Instance Core running in Belgium",
                "OnDemand",
                Some(("e2", Purchase::OnDemand, Part::Core)),
            ),
            (
                "E2 Instance Ram running in EMEA",
                "OnDemand",
                Some(("e2", Purchase::OnDemand, Part::Ram)),
            ),
            (
                "Spot Preemptible N2D AMD Instance Ram running in EMEA",
                "Preemptible",
                Some(("n2d", Purchase::Spot, Part::Ram)),
            ),
            (
                "Compute optimized Core running in EMEA",
                "OnDemand",
                Some(("c2", Purchase::OnDemand, Part::Core)),
            ),
            ("E2 Custom Instance Core running in EMEA", "OnDemand", None),
            ("N2 Instance Core running in EMEA", "Commit1Yr", None),
            ("Spot Preemptible E2 Instance Core running in EMEA", "OnDemand", None),
            ("E2 Instance Core running in EMEA", "Preemptible", None),
            ("N2D AMD Sole Tenancy Instance Core running in EMEA", "OnDemand", None),
            ("Storage PD Capacity in Belgium", "OnDemand", None),
        ] {
            assert_eq!(sku(description, usage, "h", &dollars(1)).part(), part, "{description}");
        }
    }

    #[test]
    fn only_dollars_an_hour_are_a_price() {
        let nano =
            |unit, price: Value| sku("E2 Instance Core running in EMEA", "OnDemand", unit, &price).nano_usd(Part::Core);
        assert_eq!(nano("h", dollars(24_000_000)), Some(24_000_000));
        assert_eq!(
            nano("h", json!({"currencyCode": "USD", "units": "2", "nanos": 5})),
            Some(2_000_000_005)
        );
        for (unit, price) in [
            ("mo", dollars(5)),
            ("GiBy.h", dollars(5)),
            ("h", dollars(0)),
            ("h", dollars(-5)),
            ("h", json!({"currencyCode": "JPY", "units": "2", "nanos": 0})),
            (
                "h",
                json!({"currencyCode": "USD", "units": "9223372036854775807", "nanos": 1}),
            ),
            ("h", json!({"currencyCode": "USD", "units": "much", "nanos": 1})),
        ] {
            assert_eq!(nano(unit, price.clone()), None, "{unit} {price}");
        }
    }

    #[test]
    fn a_machine_costs_what_it_has_and_a_shared_processor_a_part_of_one() {
        let mut rates = Rates::default();
        let (core, ram) = (
            "E2 Instance Core running in Belgium",
            "E2 Instance Ram running in Belgium",
        );
        for (description, unit, nanos) in [(core, "h", 24_000_000), (ram, "GiBy.h", 3_200_000)] {
            rates
                .enter(&sku(description, "OnDemand", unit, &dollars(nanos)))
                .expect("there is room");
        }
        let offered = crate::catalog::prices()
            .expect("the packed table")
            .offerings("europe-west1");
        let table = rates.price(&offered).expect("there is room");
        let of = |name| table.of(name, Purchase::OnDemand).map(|price| price.0);
        assert_eq!(of("e2-standard-2"), Some(2 * 24_000 + 8 * 3_200));
        assert_eq!(of("e2-small"), Some(12_000 + 2 * 3_200));
        assert_eq!(
            (of("n2-standard-2"), table.of("e2-small", Purchase::Spot)),
            (None, None)
        );
    }
}
