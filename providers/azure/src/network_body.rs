//! The bodies of the PUTs that make parts of a network: a security group with its rules, a virtual network with its subnet.
//! Pure, so that a replay has the same bytes. Called by the making of a part.

use std::collections::BTreeMap;

use isobar_engine_provider::{CreateResource, NetworkRequest, ProviderError, ResourceKind, Result};
use serde::Serialize;

use crate::body::{NAME, REQUEST};
use crate::names::{self, digest};
use crate::network::{self, SUBNET};
use crate::settings::{Settings, invalid};

/// Addresses of a network that we make.
const NETWORK_RANGE: &str = "10.77.0.0/16";
/// Of these its subnet, which is for the whole region, as all are in Azure.
const SUBNET_RANGE: &str = "10.77.0.0/17";
/// From where machines without a public address are reached.
const PRIVATE_RANGES: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// Rules hold in the order of their priorities, 100 to 4096; Azure's own, which let in the whole network, come after.
/// <https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview#security-rules>
const FIRST_PRIORITY: u16 = 100;
const LAST_PRIORITY: u16 = 4096;

/// What is sent, and how what it makes is called.
pub(crate) struct Wanted {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
    /// The tag [`REQUEST`].
    pub(crate) digest: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Serialize)]
struct Resource<'a, T> {
    location: &'a str,
    tags: BTreeMap<&'static str, String>,
    properties: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecurityGroup {
    security_rules: Vec<Named<Rule>>,
}

#[derive(Serialize)]
struct Named<T> {
    name: &'static str,
    properties: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    priority: u16,
    direction: &'static str,
    access: &'static str,
    protocol: &'static str,
    #[serde(flatten)]
    source: Source,
    source_port_range: &'static str,
    destination_address_prefix: &'static str,
    destination_port_range: String,
}

/// From where.
#[derive(Clone, Copy, Serialize)]
enum Source {
    #[serde(rename = "sourceAddressPrefix")]
    Anywhere(&'static str),
    #[serde(rename = "sourceAddressPrefixes")]
    Private([&'static str; 3]),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VirtualNetwork {
    address_space: AddressSpace,
    subnets: [Named<Subnet>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressSpace {
    address_prefixes: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subnet {
    address_prefix: &'static str,
    network_security_group: Reference,
    /// Nodes without a public address call home too.
    default_outbound_access: bool,
}

#[derive(Serialize)]
struct Reference {
    id: String,
}

/// Says a request in Azure's words.
pub(crate) fn wanted(request: &CreateResource, part: &NetworkRequest, settings: &Settings) -> Result<Wanted> {
    let json = serde_json::to_vec(request).map_err(|error| unreadable(&error))?;
    let digest = digest(&json);
    let mut tags = request.tags.labels();
    tags.extend([(NAME, request.name.clone()), (REQUEST, digest.clone())]);
    let kind = part.part.kind;
    let body = match kind {
        ResourceKind::Firewall => written(settings, tags, security_group(part, settings.public_address)),
        ResourceKind::Network => {
            let firewall = part.within.get(&ResourceKind::Firewall);
            let firewall =
                firewall.ok_or_else(|| invalid(&request.site, "a network is made in a firewall, which is missing"))?;
            let id = network::resource_id(&request.site, settings, (ResourceKind::Firewall, firewall))?;
            written(settings, tags, virtual_network(id))
        }
        ResourceKind::Machine
        | ResourceKind::Disk
        | ResourceKind::Interface
        | ResourceKind::Address
        | ResourceKind::Gateway
        | ResourceKind::Subnet => {
            return Err(ProviderError::Unsupported {
                message: format!("making a {} by itself", kind.name()),
            });
        }
    };
    Ok(Wanted {
        kind,
        name: names::short(&request.name),
        digest,
        body: body.map_err(|error| unreadable(&error))?,
    })
}

fn unreadable(error: &serde_json::Error) -> ProviderError {
    ProviderError::InvalidSpec {
        message: format!("the request cannot be written as JSON: {error}"),
    }
}

fn written(
    settings: &Settings,
    tags: BTreeMap<&'static str, String>,
    properties: impl Serialize,
) -> serde_json::Result<Vec<u8>> {
    let location = settings.region.as_str();
    serde_json::to_vec(&Resource {
        location,
        tags,
        properties,
    })
}

/// The open ports and the overlay's, then nothing else: not even from the network itself, which Azure lets in by default.
fn security_group(part: &NetworkRequest, public: bool) -> SecurityGroup {
    let source = if public {
        Source::Anywhere("*")
    } else {
        Source::Private(PRIVATE_RANGES)
    };
    let (first, last) = part.open_ports;
    let tcp = inbound(FIRST_PRIORITY, ("Allow", "Tcp"), source, format!("{first}-{last}"));
    let udp = inbound(
        FIRST_PRIORITY + 1,
        ("Allow", "Udp"),
        source,
        part.overlay_port.to_string(),
    );
    let rest = inbound(LAST_PRIORITY, ("Deny", "*"), Source::Anywhere("*"), "*".to_owned());
    let named = |name, properties| Named { name, properties };
    SecurityGroup {
        security_rules: vec![
            named("isobar-open", tcp),
            named("isobar-overlay", udp),
            named("isobar-rest", rest),
        ],
    }
}

fn inbound(
    priority: u16,
    (access, protocol): (&'static str, &'static str),
    source: Source,
    destination_port_range: String,
) -> Rule {
    Rule {
        priority,
        direction: "Inbound",
        access,
        protocol,
        source,
        source_port_range: "*",
        destination_address_prefix: "*",
        destination_port_range,
    }
}

fn virtual_network(security_group: String) -> VirtualNetwork {
    VirtualNetwork {
        address_space: AddressSpace {
            address_prefixes: [NETWORK_RANGE],
        },
        subnets: [Named {
            name: SUBNET,
            properties: Subnet {
                address_prefix: SUBNET_RANGE,
                network_security_group: Reference { id: security_group },
                default_outbound_access: true,
            },
        }],
    }
}
