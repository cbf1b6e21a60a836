//! The network area of EC2: a VPC with its internet gateway and subnets, and a security group.
//!
//! Whoever names subnets, or has a default VPC, needs the group alone. None of these calls knows a client token: who lost an
//! answer looks for the tags. What takes a second call ([`connect()`]) says "already there" when it is sent again.

pub(crate) mod connect;
pub(crate) mod look;
mod make;

use aws_sdk_ec2::Client;
use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_provider::{Network, NetworkNeeds, NetworkPart, ProviderError, ResourceKind, Result};

use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::settings::Settings;
use crate::tags;

pub(crate) use self::connect::connect;
pub(crate) use self::make::make;

/// What a machine of a zone is connected to. Without anything it is as the settings say.
pub(crate) async fn needs(client: &Client, settings: &Settings, zone: &Zone) -> Result<NetworkNeeds> {
    let firewall = settings.security_groups.is_empty().then_some(NetworkPart {
        kind: ResourceKind::Firewall,
        zone: None,
    });
    let found = match settings.subnets.get(zone) {
        _ if settings.own_network => None,
        Some(subnet) if firewall.is_some() => Some(network_of(client, subnet).await?),
        Some(_) => Some(Network::new()),
        None => default_network(client).await?,
    };
    let Some(found) = found else {
        return own(settings, (zone, firewall));
    };
    Ok(NetworkNeeds {
        found,
        make: firewall.into_iter().collect(),
    })
}

/// A network of the cluster's own.
fn own(settings: &Settings, (zone, firewall): (&Zone, Option<NetworkPart>)) -> Result<NetworkNeeds> {
    let Some(firewall) = firewall else {
        return Err(ProviderError::InvalidSpec {
            message: format!(
                "security_groups names {}, and no subnet of {zone} is named that they are for",
                settings.security_groups.join(", ")
            ),
        });
    };
    let part = |kind, zone| NetworkPart { kind, zone };
    Ok(NetworkNeeds {
        found: Network::new(),
        make: vec![
            part(ResourceKind::Network, None),
            part(ResourceKind::Gateway, None),
            part(ResourceKind::Subnet, Some(zone.clone())),
            firewall,
        ],
    })
}

/// A named subnet and its VPC.
async fn network_of(client: &Client, subnet: &str) -> Result<Network> {
    let answer = quiet(client.describe_subnets().subnet_ids(subnet).send()).await;
    let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
    let network = answer.subnets().first().and_then(|subnet| subnet.vpc_id());
    let network = network.ok_or_else(|| ProviderError::InvalidSpec {
        message: format!("subnets: there is no {subnet}"),
    })?;
    Ok(Network::from([
        (ResourceKind::Network, ResourceHandle::new(network)),
        (ResourceKind::Subnet, ResourceHandle::new(subnet)),
    ]))
}

/// The account's default VPC, which has a subnet in every zone.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc.html>
async fn default_network(client: &Client) -> Result<Option<Network>> {
    let ask = client.describe_vpcs().filters(tags::filter("is-default", &["true"]));
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    let network = answer.vpcs().first().and_then(|network| network.vpc_id());
    Ok(network.map(|network| Network::from([(ResourceKind::Network, ResourceHandle::new(network))])))
}

/// What a part is made in.
fn within(network: &Network, kind: ResourceKind) -> Result<&str> {
    let handle = network.get(&kind).ok_or_else(|| ProviderError::InvalidSpec {
        message: format!("the {} that it is made in is missing", kind.name()),
    })?;
    Ok(handle.as_str())
}
