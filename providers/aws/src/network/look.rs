//! What there is of networks, and its end: one part, a page of an owner's, a deletion. A deletion that EC2 has answered is
//! done.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{InternetGateway, SecurityGroup, Subnet, SubnetState, Tag, Vpc, VpcState};
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{Owner, ProviderError, ResourceState, ResourceStatus, Result};

use super::connect::{absent_or, code};
use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::look::{Found, page_size};
use crate::tags;

/// A part as it is, or a page of them.
macro_rules! part {
    ($one:ident, $page:ident, $delete:ident, $describe:ident, $ids:ident, $items:ident, $remove:ident, $id:ident, $state:expr) => {
        pub(crate) async fn $one(client: &Client, handle: &ResourceHandle) -> Result<Option<ResourceState>> {
            let answer = quiet(client.$describe().$ids(handle.as_str()).send()).await;
            let answer = answer.map_err(|error| absent_or(&error, Call::Read))?;
            Ok(answer.$items().first().and_then($state))
        }

        pub(crate) async fn $page(client: &Client, owner: &Owner, page: Option<String>) -> Result<Found> {
            let ask = client
                .$describe()
                .set_filters(Some(tags::filters(owner)))
                .max_results(page_size())
                .set_next_token(page);
            let answer = quiet(ask.send())
                .await
                .map_err(|error| kind_of(&error, Call::Read))?;
            let found = answer.$items().iter().filter_map($state).collect();
            Ok((found, answer.next_token().map(str::to_owned)))
        }

        pub(crate) async fn $delete(client: &Client, handle: &ResourceHandle) -> Result<()> {
            let answer = quiet(client.$remove().$id(handle.as_str()).send()).await;
            answer.map_err(|error| absent_or(&error, Call::Delete))?;
            Err(ProviderError::Gone)
        }
    };
}

part!(
    network,
    networks,
    delete_network,
    describe_vpcs,
    vpc_ids,
    vpcs,
    delete_vpc,
    vpc_id,
    |vpc: &Vpc| state(vpc.vpc_id()?, vpc.tags(), vpc.state() == Some(&VpcState::Available))
);
part!(
    subnet,
    subnets,
    delete_subnet,
    describe_subnets,
    subnet_ids,
    subnets,
    delete_subnet,
    subnet_id,
    |subnet: &Subnet| state(
        subnet.subnet_id()?,
        subnet.tags(),
        subnet.state() == Some(&SubnetState::Available)
    )
);
part!(
    gateway,
    gateways,
    delete_detached,
    describe_internet_gateways,
    internet_gateway_ids,
    internet_gateways,
    delete_internet_gateway,
    internet_gateway_id,
    |gateway: &InternetGateway| state(
        gateway.internet_gateway_id()?,
        gateway.tags(),
        !gateway.attachments().is_empty()
    )
);
part!(
    group,
    groups,
    delete_group,
    describe_security_groups,
    group_ids,
    security_groups,
    delete_security_group,
    group_id,
    |group: &SecurityGroup| state(group.group_id()?, group.tags(), true)
);

/// A gateway is detached before it is deleted; one that is attached cannot be.
pub(crate) async fn delete_gateway(client: &Client, handle: &ResourceHandle) -> Result<()> {
    let ask = client
        .describe_internet_gateways()
        .internet_gateway_ids(handle.as_str());
    let answer = quiet(ask.send()).await.map_err(|error| absent_or(&error, Call::Read))?;
    let attached = answer.internet_gateways().iter().flat_map(|one| one.attachments());
    for network in attached.filter_map(|attachment| attachment.vpc_id()) {
        let call = client
            .detach_internet_gateway()
            .internet_gateway_id(handle.as_str())
            .vpc_id(network);
        match quiet(call.send()).await {
            Err(error) if code(&error) != "Gateway.NotAttached" => return Err(absent_or(&error, Call::Delete)),
            Ok(_) | Err(_) => {}
        }
    }
    delete_detached(client, handle).await
}

/// EC2 does not say when a part of a network was made.
fn state(handle: &str, tags: &[Tag], ready: bool) -> Option<ResourceState> {
    let tags = tags::read(tags);
    Some(ResourceState {
        handle: ResourceHandle::new(handle),
        name: tags.name,
        tags: tags.owner,
        status: if ready {
            ResourceStatus::Running
        } else {
            ResourceStatus::Pending
        },
        offering: None,
        endpoints: BTreeMap::new(),
        created: Timestamp(0),
    })
}
