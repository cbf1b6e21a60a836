//! Networks, their parts and their rules, and addresses. What a cloud leaves out of an answer because it is false is false.

use google_cloud_compute_v1::model::Firewall;
use isobar_engine_model::rule::Rule;
use isobar_engine_provider::adoption::{Found, ObjectState};
use isobar_engine_provider::{ProviderError, Result};

use super::Asked;
use super::machine::{get, labelled, there};
use super::place::{Place, Within, last, within_project};
use crate::look::unread;
use crate::network::Described;

pub(super) async fn network(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let Within::Global = place.within else {
        return Err(ProviderError::NotFound);
    };
    let call = get!(asked, networks).set_network(&place.name);
    let body = call.send().await.map_err(|error| unread(asked.clients, &error))?;
    let routing = body.routing_config.and_then(|routing| routing.routing_mode);
    let found = Found::default()
        .text("makes_subnets", Some(body.auto_create_subnetworks.unwrap_or(false)))
        .text("routing", routing.as_ref().and_then(|mode| mode.name()))
        .text("mtu", body.mtu);
    Ok(described(found, body.description.as_deref()))
}

pub(super) async fn subnetwork(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let Within::Region(region) = &place.within else {
        return Err(ProviderError::NotFound);
    };
    let call = get!(asked, subnetworks).set_region(region).set_subnetwork(&place.name);
    let body = call.send().await.map_err(|error| unread(asked.clients, &error))?;
    let secondary = body.secondary_ip_ranges.iter();
    let secondary = secondary.filter_map(|range| {
        let (name, cidr) = (range.range_name.as_deref()?, range.ip_cidr_range.as_deref()?);
        Some(format!("{name} {cidr}"))
    });
    let found = Found::default()
        .text("network", body.network.as_deref().map(within_project))
        .text("cidr", body.ip_cidr_range.as_deref())
        .set("secondary_cidrs", secondary)
        .text(
            "private_google_access",
            Some(body.private_ip_google_access.unwrap_or(false)),
        );
    Ok(described(found, body.description.as_deref()))
}

pub(super) async fn firewall(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let Within::Global = place.within else {
        return Err(ProviderError::NotFound);
    };
    let call = get!(asked, firewalls).set_firewall(&place.name);
    let body = call.send().await.map_err(|error| unread(asked.clients, &error))?;
    let found = Found::default()
        .text("network", body.network.as_deref().map(within_project))
        .set("rules", rules(&body))
        .set("sources", &body.source_ranges)
        .set("source_tags", &body.source_tags)
        .set("target_tags", &body.target_tags)
        .text("priority", body.priority)
        .text("disabled", Some(body.disabled.unwrap_or(false)));
    Ok(described(found, body.description.as_deref()))
}

/// A line a protocol and range of ports. Who is at the other end are fields of their own.
fn rules(firewall: &Firewall) -> Vec<String> {
    let direction = firewall.direction.as_ref().and_then(|direction| direction.name());
    let inward = direction != Some("EGRESS");
    let lines = |allow: bool, protocol: Option<&str>, ports: &[String]| -> Vec<String> {
        let rule = |ports: &str| {
            let rule = Rule {
                inward,
                allow,
                protocol: protocol.unwrap_or_default(),
                ports,
                peer: "",
            };
            rule.to_string()
        };
        match ports {
            [] => vec![rule("")],
            ports => ports.iter().map(|ports| rule(ports)).collect(),
        }
    };
    let allowed = firewall.allowed.iter();
    let allowed = allowed.flat_map(|one| lines(true, one.ip_protocol.as_deref(), &one.ports));
    let denied = firewall.denied.iter();
    let denied = denied.flat_map(|one| lines(false, one.ip_protocol.as_deref(), &one.ports));
    allowed.chain(denied).collect()
}

pub(super) async fn route(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let Within::Global = place.within else {
        return Err(ProviderError::NotFound);
    };
    let call = get!(asked, routes).set_route(&place.name);
    let body = call.send().await.map_err(|error| unread(asked.clients, &error))?;
    // In the order in which a state's next hops count.
    let hops = [
        body.next_hop_gateway,
        body.next_hop_instance,
        body.next_hop_ip,
        body.next_hop_vpn_tunnel,
        body.next_hop_ilb,
    ];
    let via = hops.iter().flatten().next();
    let found = Found::default()
        .text("network", body.network.as_deref().map(within_project))
        .text("destination", body.dest_range.as_deref())
        .text("via", via.map(|hop| last(hop)))
        .text("priority", body.priority)
        .set("network_tags", &body.tags);
    Ok(there(found))
}

pub(super) async fn router(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let Within::Region(region) = &place.within else {
        return Err(ProviderError::NotFound);
    };
    let call = get!(asked, routers).set_region(region).set_router(&place.name);
    let body = call.send().await.map_err(|error| unread(asked.clients, &error))?;
    let found = Found::default()
        .text("network", body.network.as_deref().map(within_project))
        .text("asn", body.bgp.and_then(|bgp| bgp.asn));
    Ok(described(found, body.description.as_deref()))
}

pub(super) async fn address(asked: Asked<'_>, place: Place) -> Result<ObjectState> {
    let name = &place.name;
    let sent = match &place.within {
        Within::Region(region) => get!(asked, addresses).set_region(region).set_address(name).send().await,
        Within::Global => get!(asked, global_addresses).set_address(name).send().await,
        Within::Zone(_) => return Err(ProviderError::NotFound),
    };
    let body = sent.map_err(|error| unread(asked.clients, &error))?;
    let found = Found::default()
        .text("address", body.address.as_deref())
        .text("type", body.address_type.as_ref().and_then(|kind| kind.name()))
        .text("subnet", body.subnetwork.as_deref().map(within_project));
    Ok(labelled(found, body.labels))
}

/// A part of a network: its description says whose it is where Isobar made it.
fn described(found: Found, description: Option<&str>) -> ObjectState {
    ObjectState {
        owner: Described::read(description).map(|described| described.tags.owner),
        ..there(found)
    }
}
