//! What Azure's open price service says of a region's sizes: pay-as-you-go and spot, for Linux, in dollars. Needs no
//! credentials and is shown none. What it says is believed within the bounds of [`isobar_engine_provider::prices`].
//! <https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices>

use isobar_engine_model::catalog::Purchase;
use isobar_engine_provider::prices::{ANSWER_MAX_BYTES, PAGES_MAX, PriceTable, micro_usd};
use isobar_engine_provider::{ProviderError, Result, Site};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Number;

use crate::arm::Arm;

/// The service's own address.
pub(crate) const SERVICE: &str = "https://prices.azure.com";
/// From this version on words are compared letter by letter.
const VERSION: &str = "2023-01-01-preview";
/// The only currency in which Azure sets prices; others are for reference.
const CURRENCY: &str = "USD";
/// What an hour of a machine is counted in.
const HOUR: &str = "1 Hour";
/// A price that is paid as one goes, neither reserved nor for tests.
const AS_ONE_GOES: &str = "Consumption";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    items: Vec<Meter>,
    next_page_link: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meter {
    currency_code: String,
    retail_price: Number,
    arm_region_name: String,
    arm_sku_name: String,
    product_name: String,
    sku_name: String,
    unit_of_measure: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Asks for a region's prices, page by page.
pub(crate) async fn ask(arm: &Arm, site: &Site, region: &str) -> Result<PriceTable> {
    let service = address(arm.base(site, SERVICE)?)?;
    let filter =
        format!("serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and priceType eq '{AS_ONE_GOES}'");
    let mut page = service.join("/api/retail/prices").map_err(|_| strange("its address"))?;
    page.query_pairs_mut()
        .append_pair("api-version", VERSION)
        .append_pair("$filter", &filter);
    let mut table = PriceTable::default();
    for _ in 0..PAGES_MAX {
        let answer = arm.open(page, ANSWER_MAX_BYTES).await?;
        let answer: Page = serde_json::from_slice(&answer).map_err(|_| strange("a page"))?;
        for meter in answer.items.iter().filter(|meter| meter.arm_region_name == region) {
            meter.enter(&mut table)?;
        }
        match answer.next_page_link.filter(|link| !link.is_empty()) {
            Some(link) => page = following(&service, &link)?,
            None => return table.or_none(),
        }
    }
    Err(strange("a list without an end"))
}

impl Meter {
    /// Enters what it says, if that is an hour of a machine with Linux. A machine with Windows is another product of the same
    /// size, and so are the sizes of Cloud Services.
    fn enter(&self, table: &mut PriceTable) -> Result<()> {
        let other = ["Windows", "Cloud Services", "CloudServices"];
        let plain = self.currency_code == CURRENCY && self.unit_of_measure == HOUR && self.kind == AS_ONE_GOES;
        let low_priority = self.sku_name.ends_with("Low Priority");
        if !plain || low_priority || other.iter().any(|word| self.product_name.contains(word)) {
            return Ok(());
        }
        let purchase = if self.sku_name.ends_with("Spot") {
            Purchase::Spot
        } else {
            Purchase::OnDemand
        };
        match micro_usd(&self.retail_price.to_string()) {
            Some(price) => table.add(&self.arm_sku_name, purchase, price),
            None => Ok(()),
        }
    }
}

fn address(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|_| strange("its address"))
}

/// The next page is where the first one was: nobody sends us elsewhere.
fn following(service: &Url, link: &str) -> Result<Url> {
    let next = address(link)?;
    if next.origin() == service.origin() {
        Ok(next)
    } else {
        Err(strange("the address of the next page"))
    }
}

fn strange(what: &str) -> ProviderError {
    ProviderError::Unexpected {
        message: format!("the price service of Azure: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entered(change: &[(&str, Value)]) -> PriceTable {
        let mut meter = json!({
            "currencyCode": "USD", "retailPrice": 0.115, "armRegionName": "westeurope", "armSkuName": "Standard_D2s_v5",
            "productName": "Virtual Machines Dsv5 Series", "skuName": "D2s v5", "unitOfMeasure": "1 Hour",
            "type": "Consumption",
        });
        for (name, value) in change {
            meter[*name] = value.clone();
        }
        let mut table = PriceTable::default();
        let meter: Meter = serde_json::from_value(meter).expect("Azure's form");
        meter.enter(&mut table).expect("there is room");
        table
    }

    #[test]
    fn an_hour_of_linux_in_dollars_is_a_price_and_nothing_else_is() {
        let size = "Standard_D2s_v5";
        let price =
            |table: PriceTable| [Purchase::OnDemand, Purchase::Spot].map(|one| table.of(size, one).map(|p| p.0));
        assert_eq!(price(entered(&[])), [Some(115_000), None]);
        assert_eq!(
            price(entered(&[("skuName", json!("D2s v5 Spot"))])),
            [None, Some(115_000)]
        );
        for change in [
            ("skuName", json!("D2s v5 Low Priority")),
            ("productName", json!("Virtual Machines Dsv5 Series Windows")),
            ("productName", json!("Dsv5 Series Cloud Services")),
            ("currencyCode", json!("VND")),
            ("unitOfMeasure", json!("1 Month")),
            ("type", json!("Reservation")),
            ("type", json!("DevTestConsumption")),
            ("retailPrice", json!(0)),
            ("retailPrice", json!(-0.115)),
            ("retailPrice", json!(1e-9)),
            ("retailPrice", json!(1e300)),
        ] {
            assert!(entered(std::slice::from_ref(&change)).or_none().is_err(), "{change:?}");
        }
    }

    #[test]
    fn the_next_page_is_at_the_same_service() {
        let service = address(SERVICE).expect("an address");
        let same = "https://prices.azure.com:443/api/retail/prices?$skip=1000";
        assert!(following(&service, same).is_ok());
        for other in [
            "http://prices.azure.com/api/retail/prices",
            "https://prices.azure.com.example.org/",
            "https://example.org/?https://prices.azure.com",
            "file:///etc/passwd",
            "",
        ] {
            assert!(following(&service, other).is_err(), "{other}");
        }
    }
}
