//! Fields of Amazon's resource types.

use std::collections::BTreeSet;

use isobar_engine_model::object::FieldValue;
use isobar_engine_model::rule::{Rule, ports, route};

use super::Spelling::{AsIs, Count};
use super::Why::{AsWritten, NotReadBack, OfOthers, Secret, Terraforms};
use super::{Entry, Field, Unmanaged, made, map, not, set, spelt, text};
use crate::read::Taken;

/// The tags as they are in the cloud, with those that the provider adds to every object; before those were known, its own.
const TAGS: Field = map("tags", &["tags_all.*", "tags.*"]);
const NETWORK: Field = text("network", &["vpc_id"]);
const SUBNET: Field = text("subnet", &["subnet_id"]);
const CIDR: Field = text("cidr", &["cidr_block"]);

pub(super) const TABLES: &[Entry] = &[
    ("aws_instance", INSTANCE, INSTANCE_NOT),
    ("aws_spot_instance_request", SPOT, INSTANCE_NOT),
    ("aws_launch_template", TEMPLATE, TEMPLATE_NOT),
    ("aws_autoscaling_group", &[], GROUP_NOT),
    (
        "aws_vpc",
        &[CIDR, text("tenancy", &["instance_tenancy"]), TAGS],
        VPC_NOT,
    ),
    ("aws_subnet", SUBNETS, SUBNETS_NOT),
    (
        "aws_security_group",
        FIREWALL,
        &[not("revoke_rules_on_delete", Terraforms)],
    ),
    ("aws_route_table", ROUTES, &[not("propagating_vgws", NotReadBack)]),
    ("aws_route", ROUTE, &[not("state", NotReadBack)]),
    ("aws_internet_gateway", &[NETWORK, TAGS], &[]),
    ("aws_nat_gateway", NAT, &[not("secondary_allocation_ids", OfOthers)]),
    ("aws_network_interface", CARD, CARD_NOT),
    ("aws_eip", ADDRESS, ADDRESS_NOT),
    ("aws_ebs_volume", DISK, &[not("final_snapshot", Terraforms)]),
    (
        "aws_key_pair",
        &[text("fingerprint", &["fingerprint"]), TAGS],
        &[not("public_key", NotReadBack)],
    ),
];

const INSTANCE: &[Field] = &[
    text("type", &["instance_type"]),
    text("image", &["ami"]),
    text("zone", &["availability_zone"]),
    SUBNET,
    set("firewalls", &["vpc_security_group_ids"], AsIs),
    text("private_address", &["private_ip"]),
    text("public_address", &["public_ip"]),
    text("boot_disk", &["root_block_device.volume_id"]),
    text("key", &["key_name"]),
    text("purchase", &["instance_lifecycle"]),
    TAGS,
];

/// Tags of a spot request are not its machine's.
const SPOT: &[Field] = &[
    text("type", &["instance_type"]),
    text("image", &["ami"]),
    text("zone", &["availability_zone"]),
    SUBNET,
    set("firewalls", &["vpc_security_group_ids"], AsIs),
    text("private_address", &["private_ip"]),
    text("public_address", &["public_ip"]),
    text("key", &["key_name"]),
];

const INSTANCE_NOT: &[Unmanaged] = &[
    not("user_data", Secret),
    not("user_data_base64", Secret),
    not("password_data", Secret),
    not("ebs_block_device", OfOthers),
    not("network_interface", OfOthers),
    not("security_groups", AsWritten),
    not("disable_api_termination", NotReadBack),
    not("instance_initiated_shutdown_behavior", NotReadBack),
    not("user_data_replace_on_change", Terraforms),
    not("volume_tags", OfOthers),
];

const TEMPLATE: &[Field] = &[
    text("name", &["name"]),
    text("version", &["latest_version"]),
    text("type", &["instance_type"]),
    text("image", &["image_id"]),
    text("key", &["key_name"]),
    set("firewalls", &["vpc_security_group_ids"], AsIs),
    TAGS,
];

const TEMPLATE_NOT: &[Unmanaged] = &[
    not("user_data", Secret),
    not("block_device_mappings", AsWritten),
    not("network_interfaces", AsWritten),
    not("update_default_version", Terraforms),
];

const GROUP_NOT: &[Unmanaged] = &[
    not("desired_capacity", NotReadBack),
    not("max_size", NotReadBack),
    not("min_size", NotReadBack),
    not("launch_template", NotReadBack),
    not("tag", NotReadBack),
];

const VPC_NOT: &[Unmanaged] = &[
    not("enable_dns_hostnames", NotReadBack),
    not("enable_dns_support", NotReadBack),
    not("main_route_table_id", OfOthers),
];

const SUBNETS: &[Field] = &[
    NETWORK,
    CIDR,
    text("zone", &["availability_zone"]),
    text("gives_public_address", &["map_public_ip_on_launch"]),
    TAGS,
];

const SUBNETS_NOT: &[Unmanaged] = &[not("timeouts", Terraforms)];

const FIREWALL: &[Field] = &[text("name", &["name"]), NETWORK, made("rules", RULES_FROM, rules), TAGS];

const RULES_FROM: &[&str] = &[
    "id",
    "ingress.protocol",
    "ingress.from_port",
    "ingress.to_port",
    "ingress.cidr_blocks",
    "ingress.ipv6_cidr_blocks",
    "ingress.prefix_list_ids",
    "ingress.security_groups",
    "ingress.self",
    "egress.protocol",
    "egress.from_port",
    "egress.to_port",
    "egress.cidr_blocks",
    "egress.ipv6_cidr_blocks",
    "egress.prefix_list_ids",
    "egress.security_groups",
    "egress.self",
];

/// The attributes of a rule of one direction.
struct Written {
    block: &'static str,
    protocol: &'static str,
    from_port: &'static str,
    to_port: &'static str,
    peers: [&'static str; 4],
    itself: &'static str,
}

const INGRESS: Written = Written {
    block: "ingress",
    protocol: "ingress.protocol",
    from_port: "ingress.from_port",
    to_port: "ingress.to_port",
    peers: [
        "ingress.cidr_blocks",
        "ingress.ipv6_cidr_blocks",
        "ingress.prefix_list_ids",
        "ingress.security_groups",
    ],
    itself: "ingress.self",
};

const EGRESS: Written = Written {
    block: "egress",
    protocol: "egress.protocol",
    from_port: "egress.from_port",
    to_port: "egress.to_port",
    peers: [
        "egress.cidr_blocks",
        "egress.ipv6_cidr_blocks",
        "egress.prefix_list_ids",
        "egress.security_groups",
    ],
    itself: "egress.self",
};

/// Both directions, or nothing: where one is not in the state nobody knows what the group lets through.
fn rules(taken: &Taken) -> Option<FieldValue> {
    let mut rules = BTreeSet::new();
    for written in [INGRESS, EGRESS] {
        let blocks = taken.blocks(written.block);
        if blocks.is_empty() && !taken.is_empty(written.block) {
            return None;
        }
        for block in blocks {
            rules.extend(rules_of(taken, &written, block));
        }
    }
    Some(FieldValue::Set(rules))
}

fn rules_of(taken: &Taken, written: &Written, block: u64) -> Vec<String> {
    let one = |path| taken.values_at(path, block).last();
    let protocol = one(written.protocol).unwrap_or("-1");
    let ports = match (protocol, one(written.from_port), one(written.to_port)) {
        ("-1" | "all", _, _) | (_, None, _) | (_, _, None) => String::new(),
        (_, Some(first), Some(last)) => ports(first, last),
    };
    let own = (one(written.itself) == Some("true")).then(|| taken.get("id")).flatten();
    let others = written.peers.iter().flat_map(|path| taken.values_at(path, block));
    // A group of another account is written behind its account.
    let alone = |peer: &str| {
        peer.split_once("/sg-")
            .map_or(peer.to_owned(), |(_, id)| format!("sg-{id}"))
    };
    let rule = |peer: &str| {
        let rule = Rule {
            inward: written.block == "ingress",
            allow: true,
            protocol,
            ports: &ports,
            peer: &alone(peer),
        };
        rule.to_string()
    };
    others.chain(own).map(rule).collect()
}

const ROUTES: &[Field] = &[NETWORK, made("routes", ROUTES_FROM, routes), TAGS];

/// Three ways to name a destination, then what a route may lead to, in the order in which the first that is there counts.
const ROUTES_FROM: &[&str] = &[
    "route.cidr_block",
    "route.ipv6_cidr_block",
    "route.destination_prefix_list_id",
    "route.gateway_id",
    "route.nat_gateway_id",
    "route.egress_only_gateway_id",
    "route.transit_gateway_id",
    "route.vpc_peering_connection_id",
    "route.network_interface_id",
    "route.instance_id",
];

const ROUTE: &[Field] = &[
    text("table", &["route_table_id"]),
    text(
        "destination",
        &[
            "destination_cidr_block",
            "destination_ipv6_cidr_block",
            "destination_prefix_list_id",
        ],
    ),
    text(
        "via",
        &[
            "gateway_id",
            "nat_gateway_id",
            "egress_only_gateway_id",
            "transit_gateway_id",
            "vpc_peering_connection_id",
            "network_interface_id",
            "instance_id",
        ],
    ),
];

/// The route within a VPC, which every table has and few states name.
const WITHIN: &str = "local";

fn routes(taken: &Taken) -> Option<FieldValue> {
    let blocks = taken.blocks("route");
    let (destinations, targets) = ROUTES_FROM.split_at(3);
    let of_block = |block| {
        let first = |paths: &[&'static str]| paths.iter().find_map(|path| taken.values_at(path, block).last());
        let target = first(targets).filter(|target| *target != WITHIN)?;
        Some(route(first(destinations)?, target))
    };
    let is_there = !blocks.is_empty() || taken.is_empty("route");
    is_there.then(|| FieldValue::Set(blocks.into_iter().filter_map(of_block).collect()))
}

const NAT: &[Field] = &[
    SUBNET,
    text("address", &["allocation_id"]),
    text("private_address", &["private_ip"]),
    text("public_address", &["public_ip"]),
    TAGS,
];

const CARD: &[Field] = &[
    SUBNET,
    set("firewalls", &["security_groups"], AsIs),
    text("private_address", &["private_ip"]),
    set("private_addresses", &["private_ips"], AsIs),
    text("checks_source", &["source_dest_check"]),
    TAGS,
];

const CARD_NOT: &[Unmanaged] = &[not("attachment", OfOthers), not("private_ip_list", AsWritten)];

const ADDRESS: &[Field] = &[text("public_address", &["public_ip"]), TAGS];

const ADDRESS_NOT: &[Unmanaged] = &[
    not("instance", OfOthers),
    not("network_interface", OfOthers),
    not("association_id", OfOthers),
    not("private_ip", OfOthers),
];

const DISK: &[Field] = &[
    text("type", &["type"]),
    text("size_gib", &["size"]),
    text("zone", &["availability_zone"]),
    text("encrypted", &["encrypted"]),
    text("snapshot", &["snapshot_id"]),
    spelt("iops", &["iops"], Count),
    spelt("throughput", &["throughput"], Count),
    TAGS,
];
