//! One call that makes a part of a network, with its tags.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, TagSpecification};
use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_provider::{CreateResource, Created, NetworkRequest, ProviderError, ResourceKind, Result};

use super::within;
use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::tags;

/// The addresses of a network of our own; a zone has a sixteenth of them.
const RANGE: &str = "10.77.0.0/16";
/// A network has room for so many zones.
const ZONES_MAX: u8 = 16;

/// Asks for a part, once.
pub(crate) async fn make(client: &Client, request: &CreateResource, wanted: &NetworkRequest) -> Result<Created> {
    let tags = |kind| tags::of_part(request, kind);
    let made = match wanted.part.kind {
        ResourceKind::Network => network(client, tags(ResourceType::Vpc)).await?,
        ResourceKind::Gateway => gateway(client, tags(ResourceType::InternetGateway)).await?,
        ResourceKind::Subnet => subnet(client, wanted, tags(ResourceType::Subnet)).await?,
        ResourceKind::Firewall => group(client, request, (wanted, tags(ResourceType::SecurityGroup))).await?,
        ResourceKind::Machine | ResourceKind::Disk | ResourceKind::Interface | ResourceKind::Address => {
            return Err(ProviderError::Unsupported {
                message: format!("a {} is no part of a network", wanted.part.kind.name()),
            });
        }
    };
    let made = made.ok_or_else(|| ProviderError::OutcomeUnknown {
        message: format!("EC2 answered without the {}", wanted.part.kind.name()),
    })?;
    Ok(Created {
        handle: ResourceHandle::new(made),
    })
}

async fn network(client: &Client, tags: TagSpecification) -> Result<Option<String>> {
    let call = client.create_vpc().cidr_block(RANGE).tag_specifications(tags);
    let answer = quiet(call.send())
        .await
        .map_err(|error| kind_of(&error, Call::Create))?;
    Ok(answer.vpc().and_then(|made| made.vpc_id()).map(str::to_owned))
}

async fn gateway(client: &Client, tags: TagSpecification) -> Result<Option<String>> {
    let call = client.create_internet_gateway().tag_specifications(tags);
    let answer = quiet(call.send())
        .await
        .map_err(|error| kind_of(&error, Call::Create))?;
    let made = answer.internet_gateway();
    Ok(made.and_then(|made| made.internet_gateway_id()).map(str::to_owned))
}

async fn subnet(client: &Client, wanted: &NetworkRequest, tags: TagSpecification) -> Result<Option<String>> {
    let zone = wanted.part.zone.as_ref().ok_or_else(|| ProviderError::InvalidSpec {
        message: "a subnet of EC2 is a zone's".to_owned(),
    })?;
    let call = client
        .create_subnet()
        .vpc_id(within(&wanted.within, ResourceKind::Network)?)
        .availability_zone(zone.as_str())
        .cidr_block(range_of(zone)?)
        .tag_specifications(tags);
    let answer = quiet(call.send())
        .await
        .map_err(|error| kind_of(&error, Call::Create))?;
    Ok(answer.subnet().and_then(|made| made.subnet_id()).map(str::to_owned))
}

async fn group(
    client: &Client,
    request: &CreateResource,
    (wanted, tags): (&NetworkRequest, TagSpecification),
) -> Result<Option<String>> {
    let call = client
        .create_security_group()
        .group_name(&request.name)
        .description(format!("isobar-{}", request.tags.owner.cluster))
        .vpc_id(within(&wanted.within, ResourceKind::Network)?)
        .tag_specifications(tags);
    let answer = quiet(call.send())
        .await
        .map_err(|error| kind_of(&error, Call::Create))?;
    Ok(answer.group_id().map(str::to_owned))
}

/// A zone's part of the range, by its last letter: `eu-central-1b` has the second.
fn range_of(zone: &Zone) -> Result<String> {
    let letter = zone.as_str().bytes().last().unwrap_or_default();
    let place = letter.checked_sub(b'a').filter(|place| *place < ZONES_MAX);
    let place = place.ok_or_else(|| ProviderError::InvalidSpec {
        message: format!("{zone} has no part of {RANGE}: name a subnet of it in subnets"),
    })?;
    Ok(format!("10.77.{}.0/20", place * 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_ranges_of_their_own() {
        assert_eq!(range_of(&Zone::new("eu-central-1a")).unwrap(), "10.77.0.0/20");
        assert_eq!(range_of(&Zone::new("eu-central-1p")).unwrap(), "10.77.240.0/20");
        for other in ["eu-central-1q", "eu-central-1", ""] {
            assert!(range_of(&Zone::new(other)).is_err(), "{other}");
        }
    }
}
