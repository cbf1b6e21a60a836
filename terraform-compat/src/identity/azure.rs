//! Azure: the id holds the subscription and every parent. Ids are compared without case.

use super::{Draft, Row, Source, What, first, of_identity, of_object};
use crate::read::Object;

pub(super) const ROWS: &[Row] = &[
    Row::new("azurerm_linux_virtual_machine", What::Machine, "virtual_machine"),
    Row::new("azurerm_windows_virtual_machine", What::Machine, "virtual_machine"),
    Row::new("azurerm_virtual_machine", What::Machine, "virtual_machine"),
    Row::new("azurerm_linux_virtual_machine_scale_set", What::Group, "scale_set"),
    Row::new("azurerm_windows_virtual_machine_scale_set", What::Group, "scale_set"),
    Row::new(
        "azurerm_orchestrated_virtual_machine_scale_set",
        What::Group,
        "scale_set",
    ),
    Row::new("azurerm_virtual_machine_scale_set", What::Group, "scale_set"),
    Row::new("azurerm_virtual_network", What::Network, "virtual_network"),
    Row::new("azurerm_subnet", What::Network, "subnet"),
    Row::new("azurerm_network_interface", What::Network, "network_interface"),
    Row::new("azurerm_network_security_group", What::Network, "security_group"),
    Row::new("azurerm_network_security_rule", What::Network, "security_rule"),
    Row::new("azurerm_route_table", What::Network, "route_table"),
    Row::new("azurerm_route", What::Network, "route"),
    Row::new("azurerm_nat_gateway", What::Network, "nat_gateway"),
    Row::new("azurerm_public_ip", What::Address, "public_address"),
    Row::new("azurerm_managed_disk", What::Disk, "disk"),
    Row::new("azurerm_ssh_public_key", What::Key, "ssh_key"),
];

pub(super) const TAKEN: &[&str] = &["id", "location", "zone"];

pub(super) fn draft(object: &Object) -> Draft {
    let id = first([of_identity(object, "id"), of_object(object, "id")]).map(|(id, _)| id);
    let account = id
        .as_deref()
        .and_then(subscription)
        .map(|value| (value.to_owned(), Source::Object));
    let location = first([of_identity(object, "location"), of_object(object, "location")]);
    Draft {
        account: first([of_identity(object, "subscription_id"), account]),
        region: location.map(|(value, from)| (value.replace(' ', "").to_lowercase(), from)),
        zone: object.attributes.get("zone").map(str::to_owned),
        id,
    }
}

/// `/subscriptions/S/…`.
fn subscription(id: &str) -> Option<&str> {
    let mut parts = id.split('/').skip(1);
    let named = parts.next()?.eq_ignore_ascii_case("subscriptions");
    parts.next().filter(|subscription| named && !subscription.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_its_subscription() {
        assert_eq!(subscription("/subscriptions/s-1/resourceGroups/g"), Some("s-1"));
        assert_eq!(subscription("/Subscriptions/s-1"), Some("s-1"));
        for id in ["", "/subscriptions/", "/x/s-1", "subscriptions/s-1"] {
            assert_eq!(subscription(id), None, "{id}");
        }
    }
}
