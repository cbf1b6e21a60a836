//! Prices on demand as Amazon's price list says: machines with Linux and nothing else on them, shared hardware, in dollars.
//! What it says is believed within the bounds of [`isobar_engine_provider::prices`].
//! <https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html>

use std::collections::BTreeMap;

use isobar_engine_model::catalog::Purchase;
use isobar_engine_provider::prices::{PAGES_MAX, PriceTable, micro_usd};
use isobar_engine_provider::{ProviderError, Result, Site};
use serde::Deserialize;
use serde_json::json;

use super::signed::{Caller, Service};
use super::{endless, following};
use crate::client::Clients;

/// The price list.
const SERVICE: Service = Service {
    name: "pricing",
    target: "AWSPriceListService",
    host: "api.pricing",
};
/// It answers in few regions, for all of them.
const SERVED_IN: &str = "us-east-1";
/// The most that a page has.
const PRODUCTS_A_PAGE: u32 = 100;
/// What a machine has to be beside its type.
const PLAIN: [(&str, &str); 4] = [
    ("operatingSystem", "Linux"),
    ("preInstalledSw", "NA"),
    ("tenancy", "Shared"),
    ("capacitystatus", "Used"),
];
/// What an hour of a machine is counted in.
const HOUR: &str = "Hrs";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// JSON in JSON.
    #[serde(default)]
    price_list: Vec<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    product: Product,
    terms: Terms,
}

#[derive(Deserialize)]
struct Product {
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Terms {
    #[serde(rename = "OnDemand", default)]
    on_demand: BTreeMap<String, Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    price_dimensions: BTreeMap<String, Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    unit: String,
    price_per_unit: BTreeMap<String, String>,
}

/// Asks for a region's prices, page by page.
pub(crate) async fn ask(clients: &Clients, site: &Site) -> Result<PriceTable> {
    let caller = Caller::of(clients, site, SERVICE, SERVED_IN).await?;
    let conditions = PLAIN.into_iter().chain([("regionCode", site.region.as_str())]);
    let filters: Vec<_> = conditions
        .map(|(field, value)| json!({"Type": "TERM_MATCH", "Field": field, "Value": value}))
        .collect();
    let (mut table, mut token) = (PriceTable::default(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut asked = json!({"ServiceCode": "AmazonEC2", "Filters": filters, "MaxResults": PRODUCTS_A_PAGE});
        if let Some(token) = token {
            asked["NextToken"] = json!(token);
        }
        let page: Page = caller.call("GetProducts", &asked).await?;
        for product in &page.price_list {
            let listed: Listed = serde_json::from_str(product).map_err(|_| strange())?;
            listed.enter(&mut table, &site.region)?;
        }
        token = following(page.next_token.as_deref());
        if token.is_none() {
            return table.or_none();
        }
    }
    Err(endless())
}

impl Listed {
    /// Enters what it says, if that is what was asked for.
    fn enter(&self, table: &mut PriceTable, region: &str) -> Result<()> {
        let attributes = &self.product.attributes;
        let is = |(name, value): (&str, &str)| attributes.get(name).map(String::as_str) == Some(value);
        let Some(instance_type) = attributes.get("instanceType") else {
            return Ok(());
        };
        if !PLAIN.into_iter().all(is) || !is(("regionCode", region)) {
            return Ok(());
        }
        let dimensions = self
            .terms
            .on_demand
            .values()
            .flat_map(|term| term.price_dimensions.values());
        for dimension in dimensions.filter(|dimension| dimension.unit == HOUR) {
            if let Some(price) = dimension.price_per_unit.get("USD").and_then(|text| micro_usd(text)) {
                table.add(instance_type, Purchase::OnDemand, price)?;
            }
        }
        Ok(())
    }
}

fn strange() -> ProviderError {
    ProviderError::Unexpected {
        message: "a product of the price list cannot be read".to_owned(),
    }
}
