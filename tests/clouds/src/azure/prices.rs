//! Azure's open price service: whoever asks is told, in pages. It knows a few fields to filter by, and prices of machines with
//! Windows, of low priority and by the year beside those that are wanted. It can be told to lie.
//! <https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices>

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use isobar_engine_model::catalog::Purchase;
use serde_json::{Value, json};

use super::State;
use super::answer::{Refused, refused};
use super::route::Answer;
use crate::front::endless;

/// Where it is.
pub(super) const PATH: &str = "/api/retail/prices";
/// Fewer than Azure's thousand, so that there are several pages.
const PAGE_ITEMS: usize = 7;
/// "API filters"
const FILTERS: [&str; 12] = [
    "armRegionName",
    "Location",
    "meterId",
    "meterName",
    "productid",
    "skuId",
    "productName",
    "skuName",
    "serviceName",
    "serviceId",
    "serviceFamily",
    "priceType",
];
/// What a price service may say that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Everything is free.
    Free,
    /// Everything pays.
    Negative,
    /// Everything costs a fraction of what it can cost.
    AlmostFree,
    /// Everything costs more than there is.
    Absurd,
    /// Prices are in another currency.
    Currency,
    /// There is always another page.
    Endless,
    /// A page of 2 GiB.
    Huge,
    /// The next page is somewhere else.
    Elsewhere,
    /// It is no JSON.
    Garbled,
    /// It never answers.
    Hangs,
    /// It is away.
    Away,
}

impl Lie {
    /// Every lie.
    pub const ALL: [Self; 11] = [
        Self::Free,
        Self::Negative,
        Self::AlmostFree,
        Self::Absurd,
        Self::Currency,
        Self::Endless,
        Self::Huge,
        Self::Elsewhere,
        Self::Garbled,
        Self::Hangs,
        Self::Away,
    ];
}

pub(super) async fn answer(
    Shared(state): Shared<Arc<State>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    state.calls.count("RetailPrices");
    if state.lying() == Some(Lie::Hangs) {
        return std::future::pending().await;
    }
    state
        .retail_prices(&query, &headers)
        .unwrap_or_else(IntoResponse::into_response)
}

impl State {
    fn lying(&self) -> Option<Lie> {
        self.kept().lie
    }

    fn retail_prices(&self, query: &BTreeMap<String, String>, headers: &HeaderMap) -> Answer {
        if headers.contains_key(header::AUTHORIZATION) {
            return Err(self.violated("BadRequest", "the price service was shown a token".to_owned()));
        }
        let filter = query.get("$filter").map(String::as_str).unwrap_or_default();
        let wanted = filters(filter).map_err(|what| self.violated("BadRequest", what))?;
        let lie = self.lying();
        match lie {
            Some(Lie::Away) => return Err(unavailable()),
            Some(Lie::Huge) => return Ok(endless().into_response()),
            Some(Lie::Garbled) => return Ok("<html>".into_response()),
            Some(
                Lie::Free
                | Lie::Negative
                | Lie::AlmostFree
                | Lie::Absurd
                | Lie::Currency
                | Lie::Endless
                | Lie::Elsewhere
                | Lie::Hangs,
            )
            | None => {}
        }
        let fits = |meter: &Value| {
            wanted
                .iter()
                .all(|(field, value)| meter[field.as_str()] == value.as_str())
        };
        let meters: Vec<Value> = self.meters(lie).into_iter().filter(fits).collect();
        let skip: usize = query.get("$skip").and_then(|skip| skip.parse().ok()).unwrap_or(0);
        let shown: Vec<&Value> = meters.iter().skip(skip).take(PAGE_ITEMS).collect();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = if lie == Some(Lie::Elsewhere) {
            Some("127.0.0.1:1")
        } else {
            host
        };
        let more = lie == Some(Lie::Endless) || skip + PAGE_ITEMS < meters.len();
        let following = if lie == Some(Lie::Endless) {
            0
        } else {
            skip + PAGE_ITEMS
        };
        let next = more.then(|| {
            let filter = filter.replace(' ', "%20").replace('\'', "%27");
            format!(
                "http://{}{PATH}?$filter={filter}&$skip={following}",
                host.unwrap_or_default()
            )
        });
        Ok(Json(json!({
            "BillingCurrency": "USD", "CustomerEntityId": "Default", "CustomerEntityType": "Retail",
            "Items": shown, "NextPageLink": next, "Count": shown.len(),
        }))
        .into_response())
    }

    /// What there is to say, or the lie about it: on demand a little dearer than what the simulated cloud asks.
    fn meters(&self, lie: Option<Lie>) -> Vec<Value> {
        let offerings = self.cloud_offerings();
        let here = |zone: &str| zone == self.site.region;
        let whole_region = offerings.iter().filter(|offering| here(offering.zone.as_str()));
        let of_offering = whole_region.flat_map(|offering| {
            let size = offering.instance_type.as_str();
            let name = size.trim_start_matches("Standard_").replace('_', " ");
            let (linux, windows) = ("Virtual Machines Series", "Virtual Machines Series Windows");
            let of_purchase = match offering.purchase {
                Purchase::OnDemand => [
                    (linux, name.clone(), "Consumption", ON_DEMAND),
                    (windows, name.clone(), "Consumption", ON_DEMAND * 2.0),
                    (linux, name.clone(), "Reservation", ON_DEMAND * 8000.0),
                ],
                Purchase::Spot => [
                    (linux, format!("{name} Spot"), "Consumption", SPOT),
                    (windows, format!("{name} Spot"), "Consumption", SPOT * 2.0),
                    (linux, format!("{name} Low Priority"), "Consumption", SPOT * 3.0),
                ],
            };
            of_purchase.map(|(product, sku, kind, price)| {
                meter((&self.site.region, size), (product, &sku, kind), (lie, price))
            })
        });
        of_offering.collect()
    }
}

/// Dollars an hour on demand.
const ON_DEMAND: f64 = 0.12;
/// Dollars an hour as spot.
const SPOT: f64 = 0.015;

fn lied(lie: Option<Lie>, price: f64) -> f64 {
    match lie {
        Some(Lie::Free) => 0.0,
        Some(Lie::Negative) => -price,
        Some(Lie::AlmostFree) => price / 100.0,
        Some(Lie::Absurd) => price * 1e12,
        Some(Lie::Currency | Lie::Endless | Lie::Huge | Lie::Elsewhere | Lie::Garbled | Lie::Hangs | Lie::Away)
        | None => price,
    }
}

fn meter(
    (region, size): (&str, &str),
    (product, sku, kind): (&str, &str, &str),
    (lie, price): (Option<Lie>, f64),
) -> Value {
    let price = lied(lie, price);
    let currency = if lie == Some(Lie::Currency) { "VND" } else { "USD" };
    json!({
        "currencyCode": currency, "tierMinimumUnits": 0.0, "retailPrice": price, "unitPrice": price,
        "armRegionName": region, "location": "EU West", "effectiveStartDate": "2026-01-01T00:00:00Z",
        "meterName": sku, "productName": product, "skuName": sku, "serviceName": "Virtual Machines",
        "serviceFamily": "Compute", "unitOfMeasure": "1 Hour", "type": kind, "priceType": kind,
        "isPrimaryMeterRegion": true, "armSkuName": size,
    })
}

/// `field eq 'value'`, joined by `and`; fields and values by letter and case.
fn filters(text: &str) -> Result<Vec<(String, String)>, String> {
    let part = |part: &str| {
        let (field, value) = part.split_once(" eq ")?;
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        (FILTERS.contains(&field) && !value.contains('\'')).then(|| (field.to_owned(), value.to_owned()))
    };
    let parts = text.split(" and ");
    parts
        .map(|text| part(text).ok_or_else(|| format!("{text} is no filter")))
        .collect()
}

fn unavailable() -> Refused {
    refused(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "try again later")
}
