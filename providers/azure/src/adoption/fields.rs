//! Where in Azure's answers fields stand. Ids and names tell no case, so they are in lower case. An allow list: whatever else
//! is in an answer, keys and user data too, stays there.

use std::collections::BTreeMap;

use isobar_engine_model::object::Fields;
use isobar_engine_model::rule::route;
use isobar_engine_provider::adoption::Found;
use serde_json::Value;

use super::id::Kind;
use super::rules::rule;

/// The fields of an object.
pub(super) fn of(kind: Kind, body: &Value) -> Fields {
    let found = match kind {
        Kind::VirtualMachine => machine(body),
        Kind::ScaleSet => scale_set(body),
        Kind::Disk => Found::default()
            .text("type", text(body, "/sku/name"))
            .text("size_gib", text(body, "/properties/diskSizeGB"))
            .text("zone", text(body, "/zones/0")),
        Kind::SshKey => Found::default(),
        Kind::VirtualNetwork => Found::default()
            .set("cidrs", texts(body, "/properties/addressSpace/addressPrefixes"))
            .set("dns", texts(body, "/properties/dhcpOptions/dnsServers")),
        Kind::Subnet => {
            let one = text(body, "/properties/addressPrefix");
            Found::default().set(
                "cidrs",
                one.into_iter().chain(texts(body, "/properties/addressPrefixes")),
            )
        }
        Kind::NetworkInterface => interface(body),
        Kind::SecurityGroup => Found::default().set("rules", each(body, "/properties/securityRules").filter_map(rule)),
        Kind::SecurityRule => Found::default().text("rule", rule(&body["properties"])),
        Kind::RouteTable => {
            let line = |one: &Value| Some(route(&text(one, "/addressPrefix")?, &via(one)?));
            Found::default().set("routes", each(body, "/properties/routes").filter_map(line))
        }
        Kind::Route => Found::default()
            .text("destination", text(body, "/properties/addressPrefix"))
            .text("via", via(&body["properties"])),
        Kind::NatGateway => Found::default().text("type", text(body, "/sku/name")),
        Kind::PublicAddress => Found::default()
            .text("type", text(body, "/sku/name"))
            .text("allocation", text(body, "/properties/publicIPAllocationMethod"))
            .text("public_address", text(body, "/properties/ipAddress"))
            .set("zones", texts(body, "/zones")),
    };
    match kind {
        Kind::Subnet | Kind::SecurityRule | Kind::Route => found.fields(),
        Kind::VirtualMachine
        | Kind::ScaleSet
        | Kind::Disk
        | Kind::SshKey
        | Kind::VirtualNetwork
        | Kind::NetworkInterface
        | Kind::SecurityGroup
        | Kind::RouteTable
        | Kind::NatGateway
        | Kind::PublicAddress => found.tags(tags(body)).fields(),
    }
}

fn machine(body: &Value) -> Found {
    let cards = each_of(body, "/properties/networkProfile/networkInterfaces");
    let spot = matches!(text(body, "/properties/priority").as_deref(), Some("Spot" | "Low"));
    Found::default()
        .text("type", text(body, "/properties/hardwareProfile/vmSize"))
        .text("image", image(&body["properties"]["storageProfile"]["imageReference"]))
        .text("zone", text(body, "/zones/0"))
        .set("interfaces", cards.filter_map(|card| lower(card, "/id")))
        .text("boot_disk", lower(body, "/properties/storageProfile/osDisk/name"))
        .text("purchase", Some(if spot { "spot" } else { "on_demand" }))
}

fn scale_set(body: &Value) -> Found {
    let storage = &body["properties"]["virtualMachineProfile"]["storageProfile"];
    Found::default()
        .text("type", text(body, "/sku/name"))
        .text("count", text(body, "/sku/capacity"))
        .text("image", image(&storage["imageReference"]))
        .set("zones", texts(body, "/zones"))
}

fn interface(body: &Value) -> Found {
    let each = || each(body, "/properties/ipConfigurations");
    Found::default()
        .set("subnets", each().filter_map(|one| lower(one, "/subnet/id")))
        .set("addresses", each().filter_map(|one| lower(one, "/publicIPAddress/id")))
        .set(
            "private_addresses",
            each().filter_map(|one| text(one, "/privateIPAddress")),
        )
        .text(
            "forwards",
            text(body, "/properties/enableIPForwarding").or(Some("false".to_owned())),
        )
}

/// An id, or `publisher:offer:sku:version` as Azure's own tools write it.
fn image(reference: &Value) -> Option<String> {
    let parts: Option<Vec<String>> = ["/publisher", "/offer", "/sku", "/version"]
        .iter()
        .map(|part| lower(reference, part))
        .collect();
    lower(reference, "/id").or_else(|| Some(parts?.join(":")))
}

fn via(route: &Value) -> Option<String> {
    text(route, "/nextHopIpAddress").or_else(|| text(route, "/nextHopType"))
}

/// A text, or a number or a yes or no written out; absent also when it is empty.
pub(super) fn text(body: &Value, at: &str) -> Option<String> {
    match body.pointer(at)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn lower(body: &Value, at: &str) -> Option<String> {
    text(body, at).map(|text| text.to_lowercase())
}

/// All texts of a list.
pub(super) fn texts<'a>(body: &'a Value, at: &str) -> impl Iterator<Item = String> + use<'a> {
    each_of(body, at).filter_map(|one| text(one, ""))
}

/// The properties of each resource of a list.
fn each<'a>(body: &'a Value, at: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    each_of(body, at).map(|one| &one["properties"])
}

fn each_of<'a>(body: &'a Value, at: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    body.pointer(at).and_then(Value::as_array).into_iter().flatten()
}

fn tags(body: &Value) -> BTreeMap<String, String> {
    let tags = body["tags"].as_object().into_iter().flatten();
    tags.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
