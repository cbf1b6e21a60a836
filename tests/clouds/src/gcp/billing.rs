//! Google's catalog of prices, strictly: a bearer token, the parameters and the answer of its discovery document, pages. It prices
//! processors and memory by family, among much that is something else. It can be told to lie.
//! <https://cloudbilling.googleapis.com/$discovery/rest?version=v1>

use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answers::{self, Refusal};
use super::{REGION, Shared};
use crate::front::endless;

/// Compute Engine's prices (`cloudbilling.services.skus.list`).
pub(super) const PATH: &str = "/v1/services/6F81-5844-456A/skus";
/// That method, as Google describes it: tools/models/gcp_billing.py.
static DESCRIBED: &[u8] = include_bytes!("../../data/gcp-billing.json");
/// Fewer than Google's five thousand, so that there are several pages.
const PAGE_ITEMS: usize = 3;
/// Billionths of a dollar for an hour of a processor, on demand and as spot.
const CORE: [i64; 2] = [24_000_000, 6_000_000];
/// Likewise of a GiB of memory.
const RAM: [i64; 2] = [3_200_000, 800_000];
/// What the catalog of prices may say that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Everything is free.
    Free,
    /// Everything pays.
    Negative,
    /// Everything costs more than there is.
    Absurd,
    /// Prices are in another currency.
    Currency,
    /// There is always another page.
    Endless,
    /// A page of 2 GiB.
    Huge,
    /// It is away.
    Away,
}

impl Lie {
    /// Every lie.
    pub const ALL: [Self; 7] = [
        Self::Free,
        Self::Negative,
        Self::Absurd,
        Self::Currency,
        Self::Endless,
        Self::Huge,
        Self::Away,
    ];
}

impl Shared {
    pub(super) fn skus(&self, headers: &HeaderMap, query: &[(String, String)]) -> Response {
        self.calls.count("skus.list");
        let lie = self.known().lie;
        if lie == Some(Lie::Huge) {
            return endless().into_response();
        }
        answers::of(self.skus_page(headers, query, lie))
    }

    fn skus_page(&self, headers: &HeaderMap, query: &[(String, String)], lie: Option<Lie>) -> Result<Value, Refusal> {
        if !self.known().tokens.counts(headers) {
            return Err(Refusal::unauthenticated());
        }
        let described: Value = serde_json::from_slice(DESCRIBED).expect("JSON, by its script");
        let wrong = |(name, value): &&(String, String)| match described["query"][name]["type"].as_str() {
            Some("integer") => value.parse::<i32>().is_err(),
            Some(_) => false,
            None => true,
        };
        if let Some((name, value)) = query.iter().find(wrong) {
            return Err(self.not_described(&format!("the parameter {name}={value}")));
        }
        if lie == Some(Lie::Away) {
            return Err(Refusal::backend("told to be away"));
        }
        let token = query.iter().find(|(name, _)| name == "pageToken");
        let from = token.and_then(|(_, token)| token.parse().ok()).unwrap_or(0_usize);
        let all = skus(lie);
        let shown: Vec<&Value> = all.iter().skip(from).take(PAGE_ITEMS).collect();
        let next = match lie {
            Some(Lie::Endless) => "0".to_owned(),
            _ if from + PAGE_ITEMS < all.len() => (from + PAGE_ITEMS).to_string(),
            _ => String::new(),
        };
        let answer = json!({"skus": shown, "nextPageToken": next});
        let schema = jsonschema::validator_for(&described["answer"]).expect("a schema, by its script");
        let fault = schema.iter_errors(&answer).next().map(|fault| fault.to_string());
        fault.map_or(Ok(answer), |fault| Err(self.not_described(&fault)))
    }

    fn not_described(&self, what: &str) -> Refusal {
        let what = format!("skus.list: {what}");
        let refusal = Refusal::invalid(&what);
        self.known().faults.push(what);
        refusal
    }
}

fn skus(lie: Option<Lie>) -> Vec<Value> {
    let mut all = vec![
        sku(
            "Storage PD Capacity in Belgium",
            ("OnDemand", "GiBy.mo"),
            (lie, 40_000_000),
            REGION,
        ),
        sku(
            "E2 Custom Instance Core running in Belgium",
            ("OnDemand", "h"),
            (lie, 90_000_000),
            REGION,
        ),
        sku(
            "E2 Instance Core running in Iowa",
            ("OnDemand", "h"),
            (lie, 90_000_000),
            "us-central1",
        ),
        sku(
            "Commitment v1: E2 Cpu in Belgium",
            ("Commit1Yr", "h"),
            (lie, 1_000_000),
            REGION,
        ),
    ];
    for (usage, prefix, place) in [("OnDemand", "", 0), ("Preemptible", "Spot Preemptible ", 1)] {
        for (part, unit, price) in [("Core", "h", CORE[place]), ("Ram", "GiBy.h", RAM[place])] {
            let description = format!("{prefix}E2 Instance {part} running in Belgium");
            all.push(sku(&description, (usage, unit), (lie, price), REGION));
        }
    }
    all
}

fn sku(description: &str, (usage, unit): (&str, &str), (lie, price): (Option<Lie>, i64), region: &str) -> Value {
    let (units, nanos) = match lie {
        Some(Lie::Free) => ("0", 0),
        Some(Lie::Negative) => ("0", -price),
        Some(Lie::Absurd) => ("9000000000000000000", price),
        Some(Lie::Currency | Lie::Endless | Lie::Huge | Lie::Away) | None => ("0", price),
    };
    let currency = if lie == Some(Lie::Currency) { "JPY" } else { "USD" };
    json!({
        "name": "services/6F81-5844-456A/skus/S", "skuId": "S", "description": description,
        "category": {"serviceDisplayName": "Compute Engine", "resourceFamily": "Compute", "usageType": usage},
        "serviceRegions": [region], "serviceProviderName": "Google",
        "pricingInfo": [{"pricingExpression": {
            "usageUnit": unit, "displayQuantity": 1,
            "tieredRates": [{
                "startUsageAmount": 0,
                "unitPrice": {"currencyCode": currency, "units": units, "nanos": nanos},
            }],
        }}],
    })
}
