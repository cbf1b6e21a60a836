//! One part of a network as Compute Engine is asked for it. Pure: ranges and ports come from the request and the site's frozen
//! settings alone, so that a replay sends the same.

use google_cloud_compute_v1::model::firewall::{Allowed, Direction};
use google_cloud_compute_v1::model::router_nat::{NatIpAllocateOption, SourceSubnetworkIpRangesToNat};
use google_cloud_compute_v1::model::{Firewall, Network, Router, RouterNat, Subnetwork};
use isobar_engine_provider::{CreateResource, Network as Parts, NetworkRequest, ProviderError, ResourceKind, Result};

use super::Described;
use crate::request::invalid;
use crate::settings::Settings;
use crate::wire::Thing;

/// The addresses of a region's machines: the first half of the range that every network of ours has.
const SUBNETWORK_RANGE: &str = "10.77.0.0/17";
/// Who reaches machines that the internet sees.
const ANYWHERE: [&str; 1] = ["0.0.0.0/0"];
/// Who reaches machines that it does not: private addresses, <https://www.rfc-editor.org/rfc/rfc1918>.
const PRIVATE_RANGES: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// What a router's only translation of addresses is called; a router has a name of its own.
const NAT: &str = "nat";

/// What to send for a part, or why it can never work.
pub(crate) fn thing(
    (request, part): (&CreateResource, &NetworkRequest),
    settings: &Settings,
    fingerprint: &str,
) -> Result<Thing> {
    let region = request.site.region.clone();
    let description = Described {
        tags: request.tags.clone(),
        region: region.clone(),
        fingerprint: fingerprint.to_owned(),
    }
    .text();
    match part.part.kind {
        ResourceKind::Network => {
            let network = Network::new()
                .set_name(&request.name)
                .set_description(description)
                .set_auto_create_subnetworks(false);
            Ok(Thing::Network(Box::new(network)))
        }
        ResourceKind::Subnet => {
            let subnetwork = Subnetwork::new()
                .set_name(&request.name)
                .set_description(description)
                .set_network(network_of(part, settings)?)
                .set_ip_cidr_range(SUBNETWORK_RANGE)
                .set_private_ip_google_access(true);
            let body = Box::new(subnetwork);
            Ok(Thing::Subnetwork { region, body })
        }
        ResourceKind::Gateway => {
            let router = Router::new()
                .set_name(&request.name)
                .set_description(description)
                .set_network(network_of(part, settings)?)
                .set_nats([nat()]);
            let body = Box::new(router);
            Ok(Thing::Router { region, body })
        }
        ResourceKind::Firewall => {
            let firewall = firewall(part, settings)
                .set_name(&request.name)
                .set_description(description)
                .set_network(network_of(part, settings)?)
                .set_target_tags([&request.name]);
            Ok(Thing::Firewall(Box::new(firewall)))
        }
        ResourceKind::Machine | ResourceKind::Disk | ResourceKind::Interface | ResourceKind::Address => {
            Err(ProviderError::Unsupported {
                message: format!("a {} by itself", part.part.kind.name()),
            })
        }
    }
}

/// With its project: some calls take no shorter path.
fn network_of(part: &NetworkRequest, settings: &Settings) -> Result<String> {
    let network = part.within.get(&ResourceKind::Network);
    let network = network.ok_or_else(|| invalid(format!("a {} is made in a network", part.part.kind.name())))?;
    Ok(match network.as_str() {
        path if path.starts_with("global/") => format!("projects/{}/{path}", settings.project),
        path => path.to_owned(),
    })
}

/// All of the network goes out by addresses that Google takes and gives back.
fn nat() -> RouterNat {
    RouterNat::new()
        .set_name(NAT)
        .set_nat_ip_allocate_option(NatIpAllocateOption::AutoOnly)
        .set_source_subnetwork_ip_ranges_to_nat(SourceSubnetworkIpRangesToNat::AllSubnetworksAllIpRanges)
}

/// What a node needs from outside, and nothing else. What goes out is allowed unless a network says otherwise.
fn firewall(part: &NetworkRequest, settings: &Settings) -> Firewall {
    let ranges: &[&str] = if settings.public_address {
        &ANYWHERE
    } else {
        &PRIVATE_RANGES
    };
    let allowed = |protocol: &str, ports: String| Allowed::new().set_ip_protocol(protocol).set_ports([ports]);
    Firewall::new()
        .set_direction(Direction::Ingress)
        .set_source_ranges(ranges.iter().copied())
        .set_allowed([
            allowed("udp", part.overlay_port.to_string()),
            allowed("tcp", ports(part)),
        ])
}

fn ports(part: &NetworkRequest) -> String {
    match part.open_ports {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

/// What is asked of a part, in words for its hash.
pub(crate) fn words(part: &NetworkRequest) -> Vec<String> {
    let zone = part.part.zone.as_ref().map_or_else(String::new, ToString::to_string);
    let mut words = vec![
        part.part.kind.name().to_owned(),
        zone,
        ports(part),
        part.overlay_port.to_string(),
    ];
    words.extend(connected(&part.within));
    words
}

/// What something is made in, in words for its hash.
pub(crate) fn connected(parts: &Parts) -> impl Iterator<Item = String> {
    parts
        .iter()
        .flat_map(|(kind, handle)| [kind.name().to_owned(), handle.to_string()])
}
