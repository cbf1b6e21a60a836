//! Fields of Google's resource types. Links are shortened to what stands within their project.

use std::collections::BTreeSet;

use isobar_engine_model::object::FieldValue;
use isobar_engine_model::rule::Rule;

use super::Spelling::{AsIs, Count, Last, Path};
use super::Why::{AsWritten, NotReadBack, OfOthers, Secret, Terraforms};
use super::{Entry, Field, Unmanaged, first, made, map, not, set, spelt, text};
use crate::read::Taken;

/// Labels as they are in the cloud, with those that the provider adds; before those were known, the object's own.
const LABELS: Field = map("tags", &["effective_labels.*", "labels.*"]);
const NETWORK: Field = spelt("network", &["network"], Path);

pub(super) const TABLES: &[Entry] = &[
    ("google_compute_instance", INSTANCE, INSTANCE_NOT),
    ("google_compute_instance_template", TEMPLATE, INSTANCE_NOT),
    ("google_compute_region_instance_template", TEMPLATE, INSTANCE_NOT),
    ("google_compute_instance_group_manager", GROUP, GROUP_NOT),
    ("google_compute_region_instance_group_manager", GROUP, GROUP_NOT),
    (
        "google_compute_network",
        NETWORKS,
        &[not("delete_default_routes_on_create", Terraforms)],
    ),
    ("google_compute_subnetwork", SUBNET, &[not("fingerprint", NotReadBack)]),
    ("google_compute_firewall", FIREWALL, &[not("enable_logging", AsWritten)]),
    ("google_compute_route", ROUTE, &[not("next_hop_network", NotReadBack)]),
    (
        "google_compute_router",
        &[NETWORK, text("asn", &["bgp.asn"])],
        &[not("encrypted_interconnect_router", NotReadBack)],
    ),
    ("google_compute_address", ADDRESS, &[not("users", OfOthers)]),
    ("google_compute_global_address", ADDRESS, &[not("users", OfOthers)]),
    ("google_compute_disk", DISK, DISK_NOT),
    ("google_compute_region_disk", REGION_DISK, DISK_NOT),
];

const INSTANCE: &[Field] = &[
    spelt("type", &["machine_type"], Last),
    spelt("zone", &["zone"], Last),
    first("boot_disk", &["boot_disk.source"], Path),
    first("network", &["network_interface.network"], Path),
    first("subnet", &["network_interface.subnetwork"], Path),
    first("private_address", &["network_interface.network_ip"], AsIs),
    first("public_address", &["network_interface.access_config.nat_ip"], AsIs),
    set("network_tags", &["tags"], AsIs),
    made("purchase", PURCHASE_FROM, purchase),
    LABELS,
];

const TEMPLATE: &[Field] = &[
    text("name", &["name"]),
    spelt("type", &["machine_type"], Last),
    first("network", &["network_interface.network"], Path),
    first("subnet", &["network_interface.subnetwork"], Path),
    set("network_tags", &["tags"], AsIs),
    made("purchase", PURCHASE_FROM, purchase),
    LABELS,
];

const INSTANCE_NOT: &[Unmanaged] = &[
    not("metadata", Secret),
    not("metadata_startup_script", Secret),
    not("attached_disk", OfOthers),
    not("boot_disk.initialize_params", AsWritten),
    not("disk", AsWritten),
    not("allow_stopping_for_update", Terraforms),
    not("desired_status", Terraforms),
];

const PURCHASE_FROM: &[&str] = &["scheduling.provisioning_model", "scheduling.preemptible"];

fn purchase(taken: &Taken) -> Option<FieldValue> {
    let model = taken.get("scheduling.provisioning_model");
    let spot = match (model, taken.get("scheduling.preemptible")) {
        (Some("SPOT"), _) | (_, Some("true")) => "spot",
        (Some(_), _) | (None, Some(_)) => "on_demand",
        (None, None) => return None,
    };
    Some(FieldValue::Text(spot.to_owned()))
}

const GROUP: &[Field] = &[
    text("count", &["target_size"]),
    text("base_name", &["base_instance_name"]),
    set("templates", &["version.instance_template"], Path),
];

const GROUP_NOT: &[Unmanaged] = &[
    not("instance_group", OfOthers),
    not("status", NotReadBack),
    not("wait_for_instances", Terraforms),
];

const NETWORKS: &[Field] = &[
    text("makes_subnets", &["auto_create_subnetworks"]),
    text("routing", &["routing_mode"]),
    spelt("mtu", &["mtu"], Count),
];

const SUBNET: &[Field] = &[
    NETWORK,
    text("cidr", &["ip_cidr_range"]),
    made("secondary_cidrs", SECONDARY_FROM, secondary),
    text("private_google_access", &["private_ip_google_access"]),
];

const SECONDARY_FROM: &[&str] = &["secondary_ip_range.range_name", "secondary_ip_range.ip_cidr_range"];

/// `pods 10.1.0.0/16`.
fn secondary(taken: &Taken) -> Option<FieldValue> {
    let blocks = taken.blocks("secondary_ip_range");
    let is_there = !blocks.is_empty() || taken.is_empty("secondary_ip_range");
    let of_block = |block| {
        let one = |path| taken.values_at(path, block).last();
        Some(format!("{} {}", one(SECONDARY_FROM[0])?, one(SECONDARY_FROM[1])?))
    };
    is_there.then(|| FieldValue::Set(blocks.into_iter().filter_map(of_block).collect()))
}

const FIREWALL: &[Field] = &[
    NETWORK,
    made("rules", RULES_FROM, rules),
    set("sources", &["source_ranges"], AsIs),
    set("source_tags", &["source_tags"], AsIs),
    set("target_tags", &["target_tags"], AsIs),
    text("priority", &["priority"]),
    text("disabled", &["disabled"]),
];

const RULES_FROM: &[&str] = &[
    "direction",
    "allow.protocol",
    "allow.ports",
    "deny.protocol",
    "deny.ports",
];

/// A line a protocol and range of ports. Who is at the other end are fields of their own.
fn rules(taken: &Taken) -> Option<FieldValue> {
    let inward = taken.get("direction")? == "INGRESS";
    let mut rules = BTreeSet::new();
    for (allow, block) in [(true, "allow"), (false, "deny")] {
        let (protocol, ports) = (format!("{block}.protocol"), format!("{block}.ports"));
        for at in taken.blocks(block) {
            let Some(protocol) = taken.values_at(&protocol, at).last() else {
                continue;
            };
            let rule = |ports: &str| {
                Rule {
                    inward,
                    allow,
                    protocol,
                    ports,
                    peer: "",
                }
                .to_string()
            };
            let before = rules.len();
            rules.extend(taken.values_at(&ports, at).map(rule));
            if rules.len() == before && taken.values_at(&ports, at).next().is_none() {
                rules.insert(rule(""));
            }
        }
    }
    Some(FieldValue::Set(rules))
}

const ROUTE: &[Field] = &[
    NETWORK,
    text("destination", &["dest_range"]),
    spelt(
        "via",
        &[
            "next_hop_gateway",
            "next_hop_instance",
            "next_hop_ip",
            "next_hop_vpn_tunnel",
            "next_hop_ilb",
        ],
        Last,
    ),
    text("priority", &["priority"]),
    set("network_tags", &["tags"], AsIs),
];

const ADDRESS: &[Field] = &[
    text("address", &["address"]),
    text("type", &["address_type"]),
    spelt("subnet", &["subnetwork"], Path),
    LABELS,
];

const DISK: &[Field] = &[
    spelt("type", &["type"], Last),
    text("size_gib", &["size"]),
    spelt("zone", &["zone"], Last),
    LABELS,
];

const REGION_DISK: &[Field] = &[
    spelt("type", &["type"], Last),
    text("size_gib", &["size"]),
    set("zones", &["replica_zones"], Last),
    LABELS,
];

const DISK_NOT: &[Unmanaged] = &[
    not("disk_encryption_key", Secret),
    not("image", AsWritten),
    not("snapshot", AsWritten),
    not("users", OfOthers),
];
