//! Live prices of clouds: what of a price service's words is believed, and which offerings it prices anew. What it does not
//! say keeps the price of the snapshot, with its own age. Reads no answers and sends nothing. Used by the providers of clouds.

use std::collections::BTreeMap;

use isobar_engine_model::catalog::{Offering, Purchase};
use isobar_engine_model::quantity::MicroUsdPerHour;

use crate::live::Live;
use crate::{ProviderError, Result};

/// No machine costs more: several times the dearest that any cloud lists.
pub const PRICE_MAX: MicroUsdPerHour = MicroUsdPerHour(2_000_000_000);
/// A live price is at most so many times the listed one, and at least that part of it; else the listed one is kept.
pub const SWING_MAX_TIMES: i64 = 20;
/// A table has at most so many prices.
pub const PRICES_MAX: usize = 50_000;
/// An answer of a price service has at most so many bytes.
pub const ANSWER_MAX_BYTES: usize = 32 << 20;
/// A price service is asked for at most so many pages at a time.
pub const PAGES_MAX: usize = 60;
/// Prices are kept for so long before they are asked for again, in ms.
pub const FRESH_MS: u64 = 6 * 3_600_000;
/// Prices as a service said them, in the order of their names. Only what can be a price gets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceTable(BTreeMap<(String, Purchase), MicroUsdPerHour>);

impl PriceTable {
    /// Takes a price in, if it is [`plausible`]. Of two for the same the dearer counts:
    /// a plan may cost less than it says, never more.
    pub fn add(&mut self, instance_type: &str, purchase: Purchase, price: MicroUsdPerHour) -> Result<()> {
        let Some(price) = plausible(price) else { return Ok(()) };
        if self.0.len() >= PRICES_MAX {
            return Err(ProviderError::Unexpected {
                message: format!("more than {PRICES_MAX} prices"),
            });
        }
        let known = self
            .0
            .entry((instance_type.to_ascii_lowercase(), purchase))
            .or_insert(price);
        *known = (*known).max(price);
        Ok(())
    }

    /// What it says; names differ in more than case.
    pub fn of(&self, instance_type: &str, purchase: Purchase) -> Option<MicroUsdPerHour> {
        self.0.get(&(instance_type.to_ascii_lowercase(), purchase)).copied()
    }

    /// Itself, or that a service which knows no price at all is broken.
    pub fn or_none(self) -> Result<Self> {
        if self.0.is_empty() {
            return Err(ProviderError::Unexpected {
                message: "a list of prices without a price".to_owned(),
            });
        }
        Ok(self)
    }
}

impl Live<PriceTable> {
    /// Gives offerings their live prices, where they are known and in the range of what is listed.
    pub fn price(&self, offerings: &mut [Offering]) {
        for offering in offerings {
            let live = self.said.of(&offering.instance_type, offering.purchase);
            if let Some(live) = live.filter(|live| is_near(*live, offering.price)) {
                (offering.price, offering.priced) = (live, self.as_of);
            }
        }
    }
}

fn is_near(live: MicroUsdPerHour, listed: MicroUsdPerHour) -> bool {
    let within = |less: i64, more: i64| more <= less.saturating_mul(SWING_MAX_TIMES);
    within(live.0, listed.0) && within(listed.0, live.0)
}

/// A price that a machine can have: more than nothing, and at most [`PRICE_MAX`].
pub fn plausible(price: MicroUsdPerHour) -> Option<MicroUsdPerHour> {
    (price.0 > 0 && price <= PRICE_MAX).then_some(price)
}

/// Dollars an hour as services write them: digits, and up to six of them after a point; more are cut off. Absent: it is no
/// price, or none that fits.
pub fn micro_usd(text: &str) -> Option<MicroUsdPerHour> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) {
        return None;
    }
    let digits: String = part.chars().chain("000000".chars()).take(6).collect();
    let whole = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?;
    whole.checked_add(digits.parse().ok()?).map(MicroUsdPerHour)
}

#[cfg(test)]
mod tests;
