//! Rules of security groups as lines, as a state's are: `100 in allow tcp 22 10.0.0.0/8 to *`.

use std::collections::BTreeSet;

use isobar_engine_model::rule::Rule;
use serde_json::Value;

use super::fields::{text, texts};

/// A line of a rule's properties; absent: it is none.
pub(super) fn rule(properties: &Value) -> Option<String> {
    let several = |one: &str, more: &str| {
        let all: BTreeSet<String> = text(properties, one)
            .into_iter()
            .chain(texts(properties, more))
            .collect();
        all.into_iter().collect::<Vec<_>>().join(",")
    };
    let peer = format!(
        "{} to {}",
        several("/sourceAddressPrefix", "/sourceAddressPrefixes"),
        several("/destinationAddressPrefix", "/destinationAddressPrefixes")
    );
    let rule = Rule {
        inward: text(properties, "/direction")?.eq_ignore_ascii_case("inbound"),
        allow: text(properties, "/access")?.eq_ignore_ascii_case("allow"),
        protocol: &text(properties, "/protocol")?,
        ports: &several("/destinationPortRange", "/destinationPortRanges"),
        peer: &peer,
    };
    Some(format!("{} {rule}", text(properties, "/priority")?))
}
