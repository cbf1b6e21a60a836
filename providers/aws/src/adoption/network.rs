//! Networks, their subnets, gateways and interfaces.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{InternetGateway, NatGateway, NetworkInterface, Subnet, Tag, Vpc};
use isobar_engine_provider::adoption::{Found, ObjectState};
use isobar_engine_provider::{ResourceStatus, Result};

use super::{Described, described};
use crate::tags;

pub(super) async fn vpcs(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(client, describe_vpcs, filters("vpc-id", ids), vpcs, vpc))
}

pub(super) async fn subnets(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(
        client,
        describe_subnets,
        filters("subnet-id", ids),
        subnets,
        subnet
    ))
}

pub(super) async fn gateways(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(
        client,
        describe_internet_gateways,
        filters("internet-gateway-id", ids),
        internet_gateways,
        gateway
    ))
}

pub(super) async fn interfaces(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(
        client,
        describe_network_interfaces,
        filters("network-interface-id", ids),
        network_interfaces,
        interface
    ))
}

/// EC2 has another word for the filters of these.
pub(super) async fn nat_gateways(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(
        client,
        describe_nat_gateways,
        filter("nat-gateway-id", ids),
        nat_gateways,
        nat_gateway
    ))
}

/// An object that is there as soon as it is made.
pub(super) fn there((id, account): (Option<&str>, Option<&str>), found: Found, tags: &[Tag]) -> Option<Described> {
    Some(Described {
        id: id?.to_owned(),
        account: account.map(str::to_owned),
        state: ObjectState {
            fields: found.tags(tags::given(tags)).fields(),
            status: ResourceStatus::Running,
            owner: tags::owner(tags),
        },
    })
}

fn vpc(vpc: &Vpc) -> Option<Described> {
    let found = Found::default()
        .text("cidr", vpc.cidr_block())
        .text("tenancy", vpc.instance_tenancy().map(|tenancy| tenancy.as_str()));
    there((vpc.vpc_id(), vpc.owner_id()), found, vpc.tags())
}

fn subnet(subnet: &Subnet) -> Option<Described> {
    let found = Found::default()
        .text("network", subnet.vpc_id())
        .text("cidr", subnet.cidr_block())
        .text("zone", subnet.availability_zone())
        .text("gives_public_address", subnet.map_public_ip_on_launch());
    there((subnet.subnet_id(), subnet.owner_id()), found, subnet.tags())
}

fn gateway(gateway: &InternetGateway) -> Option<Described> {
    let network = gateway.attachments().first().and_then(|attached| attached.vpc_id());
    let found = Found::default().text("network", network);
    there(
        (gateway.internet_gateway_id(), gateway.owner_id()),
        found,
        gateway.tags(),
    )
}

fn interface(interface: &NetworkInterface) -> Option<Described> {
    let groups = interface.groups().iter().filter_map(|group| group.group_id());
    let addresses = interface.private_ip_addresses().iter();
    let found = Found::default()
        .text("subnet", interface.subnet_id())
        .set("firewalls", groups)
        .text("private_address", interface.private_ip_address())
        .set(
            "private_addresses",
            addresses.filter_map(|address| address.private_ip_address()),
        )
        .text("checks_source", interface.source_dest_check());
    there(
        (interface.network_interface_id(), interface.owner_id()),
        found,
        interface.tag_set(),
    )
}

/// Absent once it is deleted: EC2 shows it for about an hour.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html>
fn nat_gateway(gateway: &NatGateway) -> Option<Described> {
    let status = match gateway.state()?.as_str() {
        "deleted" => return None,
        "pending" => ResourceStatus::Pending,
        "available" => ResourceStatus::Running,
        "deleting" => ResourceStatus::Deleting,
        other => ResourceStatus::Stopped {
            reason: gateway.failure_message().unwrap_or(other).to_owned(),
        },
    };
    let addresses = gateway.nat_gateway_addresses();
    let primary = addresses.iter().find(|one| one.is_primary() == Some(true));
    let primary = primary.or_else(|| addresses.first());
    let found = Found::default()
        .text("subnet", gateway.subnet_id())
        .text("address", primary.and_then(|one| one.allocation_id()))
        .text("private_address", primary.and_then(|one| one.private_ip()))
        .text("public_address", primary.and_then(|one| one.public_ip()));
    let mut described = there((gateway.nat_gateway_id(), None), found, gateway.tags())?;
    described.state.status = status;
    Some(described)
}
