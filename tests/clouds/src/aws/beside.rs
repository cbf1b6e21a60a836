//! Services beside EC2 that speak JSON: Service Quotas and the price list. Each call is signed for its service and its region,
//! and fits Amazon's own model. They can be told to lie.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use isobar_engine_model::catalog::Purchase;
use isobar_engine_provider::Provider;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Account, signature};
use crate::front::endless;

static MODEL: &[u8] = include_bytes!("../../data/aws-json.json");
/// Says which operation a call is of.
pub(super) const TARGET: &str = "x-amz-target";
/// The only region of this price list. <https://docs.aws.amazon.com/general/latest/gr/billing.html>
const PRICES_IN: &str = "us-east-1";
/// Fewer than Amazon's hundred, so that there are several pages.
const PAGE_ITEMS: usize = 2;
/// Every type of the account has so many processors, so that its quota of machines is one of processors.
const CPUS: u32 = 2;
/// The account's quota of processors as spot.
pub const SPOT_CPUS: u32 = 64;
/// What these services may say that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Everything is free, and no quota is a number that counts.
    Nothing,
    /// Prices and quotas are negative.
    Negative,
    /// There is always another page.
    Endless,
    /// A page of 2 GiB.
    Huge,
    /// It is no JSON.
    Garbled,
    /// Whoever asks may not.
    Denied,
    /// They are away.
    Away,
}

impl Lie {
    /// Every lie.
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Negative,
        Self::Endless,
        Self::Huge,
        Self::Garbled,
        Self::Denied,
        Self::Away,
    ];
}

#[derive(Deserialize)]
struct Operation {
    signed_for: String,
    request: Value,
}

/// Answers a call that has a target.
pub(super) async fn answer(account: &Account, headers: &HeaderMap, body: &[u8]) -> Response {
    let target = headers
        .get(TARGET)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let name = target.rsplit('.').next().unwrap_or_default();
    account.calls.count(name);
    let asked = match admitted(account, (target, name), headers, body) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    let lie = account.lie();
    match lie {
        Some(Lie::Denied) => return error(StatusCode::BAD_REQUEST, "AccessDeniedException", "no permission"),
        Some(Lie::Away) => return error(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", "try again"),
        Some(Lie::Huge) => return endless().into_response(),
        Some(Lie::Garbled) => return written("<html>".to_owned()),
        Some(Lie::Nothing | Lie::Negative | Lie::Endless) | None => {}
    }
    let all = match name {
        "ListServiceQuotas" => quotas(account, lie),
        _ => products(account, &asked, lie).await,
    };
    let (list, from) = (
        if name == "ListServiceQuotas" {
            "Quotas"
        } else {
            "PriceList"
        },
        asked["NextToken"]
            .as_str()
            .and_then(|token| token.parse().ok())
            .unwrap_or(0_usize),
    );
    let shown: Vec<&Value> = all.iter().skip(from).take(PAGE_ITEMS).collect();
    let mut page = json!({ list: shown });
    if lie == Some(Lie::Endless) {
        page["NextToken"] = json!("0");
    } else if from + PAGE_ITEMS < all.len() {
        page["NextToken"] = json!((from + PAGE_ITEMS).to_string());
    }
    written(page.to_string())
}

/// Who asks, for which service and region, and whether Amazon's model has such a request.
fn admitted(
    account: &Account,
    (target, name): (&str, &str),
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, Box<Response>> {
    let model: BTreeMap<String, Operation> = serde_json::from_slice(MODEL).expect("as its script makes it");
    let wrong = |what: String| {
        account.violations.add(format!("{target}: {what}"));
        Box::new(error(StatusCode::BAD_REQUEST, "ValidationException", &what))
    };
    let operation = model
        .get(target)
        .ok_or_else(|| wrong("there is no such operation".to_owned()))?;
    let region = if name == "GetProducts" {
        PRICES_IN
    } else {
        &account.region
    };
    let scope = (region, operation.signed_for.as_str(), account.clock.now());
    signature::check(headers, body, scope, &account.role).map_err(|_| {
        Box::new(error(
            StatusCode::BAD_REQUEST,
            "UnrecognizedClientException",
            "who is that",
        ))
    })?;
    // https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
    if headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|value| value != "application/x-amz-json-1.1")
    {
        return Err(wrong("its content has another type".to_owned()));
    }
    let asked: Value = serde_json::from_slice(body).map_err(|_| wrong("its body is no JSON".to_owned()))?;
    let schema = jsonschema::validator_for(&operation.request).expect("a schema, by its script");
    let fault = schema.iter_errors(&asked).next().map(|fault| fault.to_string());
    fault.map_or(Ok(asked), |fault| Err(wrong(fault)))
}

/// <https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html>
fn quotas(account: &Account, lie: Option<Lie>) -> Vec<Value> {
    let machines = account.cloud.machines();
    let left = account.cloud.quota_left(&account.region);
    let on_demand = (left + u32::try_from(machines.len()).unwrap_or(u32::MAX)).saturating_mul(CPUS);
    let all = [
        ("L-0263D0A3", "EC2-VPC Elastic IPs", 5),
        (
            "L-1216C47A",
            "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
            on_demand,
        ),
        (
            "L-34B43A08",
            "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
            SPOT_CPUS,
        ),
    ];
    let value = |cpus: u32| match lie {
        Some(Lie::Nothing) => json!(null),
        Some(Lie::Negative) => json!(-f64::from(cpus)),
        Some(Lie::Endless | Lie::Huge | Lie::Garbled | Lie::Denied | Lie::Away) | None => json!(f64::from(cpus)),
    };
    let quota = |(code, name, cpus): (&str, &str, u32)| json!({"ServiceCode": "ec2", "QuotaCode": code, "QuotaName": name, "Value": value(cpus), "Unit": "None"});
    all.map(quota).into()
}

/// <https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html>
async fn products(account: &Account, asked: &Value, lie: Option<Lie>) -> Vec<Value> {
    let Ok(site) = account.site() else { return Vec::new() };
    let Ok(catalog) = account.provider.catalog(&site).await else {
        return Vec::new();
    };
    let on_demand = catalog
        .offerings
        .iter()
        .filter(|offering| offering.purchase == Purchase::OnDemand);
    let prices: BTreeMap<&str, i64> = on_demand.map(|one| (one.instance_type.as_str(), one.price.0)).collect();
    let systems = [("Linux", "NA", 1), ("Windows", "NA", 2), ("Linux", "SQL Ent", 9)];
    let all = prices.into_iter().flat_map(|(instance_type, price)| {
        systems.map(|(system, software, times)| {
            let attributes = json!({
                "instanceType": instance_type, "regionCode": account.region, "operatingSystem": system,
                "preInstalledSw": software, "tenancy": "Shared", "capacitystatus": "Used",
            });
            (attributes, price * times)
        })
    });
    let conditions: Vec<&Value> = asked["Filters"].as_array().into_iter().flatten().collect();
    let fits = |attributes: &Value| {
        conditions
            .iter()
            .all(|one| attributes[one["Field"].as_str().unwrap_or_default()] == one["Value"])
    };
    let shown = all.filter(|(attributes, _)| fits(attributes));
    shown
        .map(|(attributes, price)| json!(product(&attributes, price, lie).to_string()))
        .collect()
}

fn product(attributes: &Value, price: i64, lie: Option<Lie>) -> Value {
    let dollars = match lie {
        Some(Lie::Nothing) => "0.0000000000".to_owned(),
        Some(Lie::Negative) => format!("-{}.{:06}0000", price / 1_000_000, price % 1_000_000),
        Some(Lie::Endless | Lie::Huge | Lie::Garbled | Lie::Denied | Lie::Away) | None => {
            format!("{}.{:06}0000", price / 1_000_000, price % 1_000_000)
        }
    };
    let dimension = |unit: &str, dollars: &str| json!({"unit": unit, "pricePerUnit": {"USD": dollars}});
    json!({
        "serviceCode": "AmazonEC2",
        "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": "S"},
        "terms": {
            "OnDemand": {"S.J": {"priceDimensions": {"S.J.6": dimension("Hrs", &dollars)}, "sku": "S"}},
            "Reserved": {"S.R": {"priceDimensions": {"S.R.2": dimension("Quantity", "700")}, "sku": "S"}},
        },
    })
}

fn written(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.1")], text).into_response()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"__type": code, "message": message}).to_string();
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body).into_response()
}
