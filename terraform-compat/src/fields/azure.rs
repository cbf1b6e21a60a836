//! Fields of Microsoft's resource types. Ids tell no case there, so they are in lower case here.

use std::collections::BTreeSet;

use isobar_engine_model::object::FieldValue;
use isobar_engine_model::rule::{Rule, route};

use super::Spelling::{AsIs, Lower};
use super::Why::{AsWritten, NotReadBack, OfOthers, Secret, Terraforms};
use super::{Entry, Field, Unmanaged, made, map, not, set, spelt, text};
use crate::read::Taken;

const TAGS: Field = map("tags", &["tags.*"]);

pub(super) const TABLES: &[Entry] = &[
    ("azurerm_linux_virtual_machine", MACHINE, MACHINE_NOT),
    ("azurerm_windows_virtual_machine", MACHINE, MACHINE_NOT),
    ("azurerm_virtual_machine", OLD_MACHINE, MACHINE_NOT),
    ("azurerm_linux_virtual_machine_scale_set", GROUP, GROUP_NOT),
    ("azurerm_windows_virtual_machine_scale_set", GROUP, GROUP_NOT),
    ("azurerm_orchestrated_virtual_machine_scale_set", GROUP, GROUP_NOT),
    ("azurerm_virtual_machine_scale_set", OLD_GROUP, GROUP_NOT),
    (
        "azurerm_virtual_network",
        NETWORK,
        &[not("subnet", OfOthers), not("guid", NotReadBack)],
    ),
    ("azurerm_subnet", SUBNET, SUBNET_NOT),
    ("azurerm_network_interface", CARD, CARD_NOT),
    (
        "azurerm_network_security_group",
        &[made("rules", RULES_FROM, rules), TAGS],
        &[],
    ),
    (
        "azurerm_network_security_rule",
        &[made("rule", RULE_FROM, |taken| {
            rule(taken, "", 0).map(FieldValue::Text)
        })],
        &[not("description", NotReadBack)],
    ),
    (
        "azurerm_route_table",
        &[made("routes", ROUTES_FROM, routes), TAGS],
        &[not("subnets", OfOthers)],
    ),
    ("azurerm_route", ROUTE, &[]),
    (
        "azurerm_nat_gateway",
        &[text("type", &["sku_name"]), TAGS],
        &[not("public_ip_address_ids", OfOthers)],
    ),
    ("azurerm_public_ip", ADDRESS, ADDRESS_NOT),
    (
        "azurerm_managed_disk",
        DISK,
        &[not("create_option", AsWritten), not("encryption_settings", Secret)],
    ),
    ("azurerm_ssh_public_key", &[TAGS], &[not("public_key", AsWritten)]),
];

const MACHINE: &[Field] = &[
    text("type", &["size"]),
    made("image", IMAGE_FROM, image),
    text("zone", &["zone"]),
    set("interfaces", &["network_interface_ids"], Lower),
    spelt("boot_disk", &["os_disk.name"], Lower),
    made("purchase", &["priority"], purchase),
    TAGS,
];

const OLD_MACHINE: &[Field] = &[
    text("type", &["vm_size"]),
    made("image", OLD_IMAGE_FROM, old_image),
    text("zone", &["zones"]),
    set("interfaces", &["network_interface_ids"], Lower),
    spelt("boot_disk", &["storage_os_disk.name"], Lower),
    TAGS,
];

const MACHINE_NOT: &[Unmanaged] = &[
    not("admin_password", Secret),
    not("custom_data", Secret),
    not("user_data", Secret),
    not("os_profile", Secret),
    not("os_profile_linux_config", Secret),
    not("admin_ssh_key", NotReadBack),
    not("private_ip_address", OfOthers),
    not("public_ip_address", OfOthers),
    not("storage_data_disk", OfOthers),
    not("delete_os_disk_on_termination", Terraforms),
];

const IMAGE_FROM: &[&str] = &[
    "source_image_id",
    "source_image_reference.publisher",
    "source_image_reference.offer",
    "source_image_reference.sku",
    "source_image_reference.version",
];

const OLD_IMAGE_FROM: &[&str] = &[
    "storage_image_reference.id",
    "storage_image_reference.publisher",
    "storage_image_reference.offer",
    "storage_image_reference.sku",
    "storage_image_reference.version",
];

const PROFILE_IMAGE_FROM: &[&str] = &[
    "storage_profile_image_reference.id",
    "storage_profile_image_reference.publisher",
    "storage_profile_image_reference.offer",
    "storage_profile_image_reference.sku",
    "storage_profile_image_reference.version",
];

fn image(taken: &Taken) -> Option<FieldValue> {
    image_of(taken, IMAGE_FROM)
}

fn old_image(taken: &Taken) -> Option<FieldValue> {
    image_of(taken, OLD_IMAGE_FROM)
}

fn profile_image(taken: &Taken) -> Option<FieldValue> {
    image_of(taken, PROFILE_IMAGE_FROM)
}

/// An id, or `publisher:offer:sku:version` as Azure's own tools write it.
fn image_of(taken: &Taken, from: &'static [&'static str]) -> Option<FieldValue> {
    let (id, reference) = from.split_first()?;
    let joined = || {
        let parts: Option<Vec<&str>> = reference.iter().map(|path| taken.get(path)).collect();
        Some(parts?.join(":"))
    };
    let image = taken.get(id).map(str::to_owned).or_else(joined)?;
    Some(FieldValue::Text(image.to_lowercase()))
}

fn purchase(taken: &Taken) -> Option<FieldValue> {
    let spot = match taken.get("priority")? {
        "Spot" | "Low" => "spot",
        _ => "on_demand",
    };
    Some(FieldValue::Text(spot.to_owned()))
}

const GROUP: &[Field] = &[
    text("type", &["sku", "sku_name"]),
    text("count", &["instances"]),
    made("image", IMAGE_FROM, image),
    set("zones", &["zones"], AsIs),
    TAGS,
];

const OLD_GROUP: &[Field] = &[
    text("type", &["sku.name"]),
    text("count", &["sku.capacity"]),
    made("image", PROFILE_IMAGE_FROM, profile_image),
    set("zones", &["zones"], AsIs),
    TAGS,
];

const GROUP_NOT: &[Unmanaged] = &[
    not("admin_password", Secret),
    not("custom_data", Secret),
    not("user_data", Secret),
    not("os_profile", Secret),
    not("extension", Secret),
    not("network_interface", AsWritten),
    not("network_profile", AsWritten),
];

const NETWORK: &[Field] = &[
    set("cidrs", &["address_space"], AsIs),
    set("dns", &["dns_servers"], AsIs),
    TAGS,
];

const SUBNET: &[Field] = &[set("cidrs", &["address_prefixes", "address_prefix"], AsIs)];

const SUBNET_NOT: &[Unmanaged] = &[
    not("network_security_group_id", OfOthers),
    not("route_table_id", OfOthers),
    not("ip_configurations", OfOthers),
];

const CARD: &[Field] = &[
    set("subnets", &["ip_configuration.subnet_id"], Lower),
    set("addresses", &["ip_configuration.public_ip_address_id"], Lower),
    set("private_addresses", &["private_ip_addresses"], AsIs),
    text("forwards", &["ip_forwarding_enabled", "enable_ip_forwarding"]),
    TAGS,
];

const CARD_NOT: &[Unmanaged] = &[
    not("network_security_group_id", OfOthers),
    not("virtual_machine_id", OfOthers),
    not("applied_dns_servers", OfOthers),
];

const RULES_FROM: &[&str] = &[
    "security_rule.name",
    "security_rule.priority",
    "security_rule.direction",
    "security_rule.access",
    "security_rule.protocol",
    "security_rule.source_address_prefix",
    "security_rule.source_address_prefixes",
    "security_rule.destination_address_prefix",
    "security_rule.destination_address_prefixes",
    "security_rule.destination_port_range",
    "security_rule.destination_port_ranges",
];

const RULE_FROM: &[&str] = &[
    "priority",
    "direction",
    "access",
    "protocol",
    "source_address_prefix",
    "source_address_prefixes",
    "destination_address_prefix",
    "destination_address_prefixes",
    "destination_port_range",
    "destination_port_ranges",
];

fn rules(taken: &Taken) -> Option<FieldValue> {
    let blocks = taken.blocks("security_rule");
    let is_there = !blocks.is_empty() || taken.is_empty("security_rule");
    let rules = |block| rule(taken, "security_rule.", block);
    is_there.then(|| FieldValue::Set(blocks.into_iter().filter_map(rules).collect()))
}

/// `100 in allow tcp 22 10.0.0.0/8 to *`: the order of rules is their priority.
fn rule(taken: &Taken, within: &str, block: u64) -> Option<String> {
    // A list outside of any block is numbered by its elements.
    let all = |name: &str| -> BTreeSet<String> {
        let path = format!("{within}{name}");
        match within {
            "" => taken.values(&path).map(str::to_owned).collect(),
            _ => taken.values_at(&path, block).map(str::to_owned).collect(),
        }
    };
    let several = |one: &str, more: &str| {
        let both: Vec<String> = all(one).union(&all(more)).cloned().collect();
        both.join(",")
    };
    let one = |name: &str| all(name).pop_last();
    let peer = format!(
        "{} to {}",
        several("source_address_prefix", "source_address_prefixes"),
        several("destination_address_prefix", "destination_address_prefixes")
    );
    let rule = Rule {
        inward: one("direction")?.eq_ignore_ascii_case("inbound"),
        allow: one("access")?.eq_ignore_ascii_case("allow"),
        protocol: &one("protocol")?,
        ports: &several("destination_port_range", "destination_port_ranges"),
        peer: &peer,
    };
    Some(format!("{} {rule}", one("priority")?))
}

const ROUTES_FROM: &[&str] = &[
    "route.address_prefix",
    "route.next_hop_type",
    "route.next_hop_in_ip_address",
];

fn routes(taken: &Taken) -> Option<FieldValue> {
    let blocks = taken.blocks("route");
    let is_there = !blocks.is_empty() || taken.is_empty("route");
    let of_block = |block| {
        let one = |path| taken.values_at(path, block).last();
        let via = one("route.next_hop_in_ip_address").or_else(|| one("route.next_hop_type"));
        Some(route(one("route.address_prefix")?, via?))
    };
    is_there.then(|| FieldValue::Set(blocks.into_iter().filter_map(of_block).collect()))
}

const ROUTE: &[Field] = &[
    text("destination", &["address_prefix"]),
    text("via", &["next_hop_in_ip_address", "next_hop_type"]),
];

const ADDRESS: &[Field] = &[
    text("type", &["sku"]),
    text("allocation", &["allocation_method", "public_ip_address_allocation"]),
    text("public_address", &["ip_address"]),
    set("zones", &["zones"], AsIs),
    TAGS,
];

const ADDRESS_NOT: &[Unmanaged] = &[not("fqdn", NotReadBack), not("domain_name_label", NotReadBack)];

const DISK: &[Field] = &[
    text("type", &["storage_account_type"]),
    text("size_gib", &["disk_size_gb"]),
    text("zone", &["zone", "zones"]),
    TAGS,
];
