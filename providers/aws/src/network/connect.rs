//! Bringing a part of a network to use: a gateway is attached and routed to, a group's ports are opened. Each call that
//! was done before says so, and counts as done.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{IpPermission, IpRange, VpcState};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{NetworkRequest, ProviderError, ResourceKind, Result};

use super::within;
use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::settings::Settings;
use crate::tags;

/// Everywhere.
const ANYWHERE: &str = "0.0.0.0/0";
/// Addresses that are nobody's on the internet (RFC 1918).
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// Brings a part to where machines can use it.
pub(crate) async fn connect(
    client: &Client,
    settings: &Settings,
    (handle, request): (&ResourceHandle, &NetworkRequest),
) -> Result<()> {
    match request.part.kind {
        ResourceKind::Network => available(client, handle).await,
        ResourceKind::Gateway => attach(client, handle, within(&request.within, ResourceKind::Network)?).await,
        ResourceKind::Firewall => open(client, settings, (handle, request)).await,
        ResourceKind::Subnet
        | ResourceKind::Machine
        | ResourceKind::Disk
        | ResourceKind::Interface
        | ResourceKind::Address => crate::look::get(client, handle).await.map(drop),
    }
}

async fn available(client: &Client, handle: &ResourceHandle) -> Result<()> {
    let answer = quiet(client.describe_vpcs().vpc_ids(handle.as_str()).send()).await;
    let answer = answer.map_err(|error| absent_or(&error, Call::Read))?;
    match answer.vpcs().first().map(|network| network.state()) {
        None => Err(ProviderError::NotFound),
        Some(Some(VpcState::Available)) => Ok(()),
        Some(_) => Err(ProviderError::NotReady {
            message: format!("{handle} is not available yet"),
        }),
    }
}

/// Attaches a gateway, and routes what leaves the network to it.
async fn attach(client: &Client, handle: &ResourceHandle, network: &str) -> Result<()> {
    let call = client
        .attach_internet_gateway()
        .internet_gateway_id(handle.as_str())
        .vpc_id(network);
    done(quiet(call.send()).await)?;
    let ask = client
        .describe_route_tables()
        .filters(tags::filter("vpc-id", &[network]))
        .filters(tags::filter("association.main", &["true"]));
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    let main = answer.route_tables().first().and_then(|table| table.route_table_id());
    let main = main.ok_or_else(|| ProviderError::NotReady {
        message: format!("{network} shows no main route table yet"),
    })?;
    let call = client
        .create_route()
        .route_table_id(main)
        .destination_cidr_block(ANYWHERE)
        .gateway_id(handle.as_str());
    done(quiet(call.send()).await)
}

/// Opens the ports of machines and of the overlay. Who has no address on the internet is reached from private ones alone.
async fn open(
    client: &Client,
    settings: &Settings,
    (handle, request): (&ResourceHandle, &NetworkRequest),
) -> Result<()> {
    let sources: &[&str] = if settings.public_address { &[ANYWHERE] } else { &PRIVATE };
    let rule = |protocol: &str, (first, last): (u16, u16)| {
        let ranges = sources.iter().map(|range| IpRange::builder().cidr_ip(*range).build());
        IpPermission::builder()
            .ip_protocol(protocol)
            .from_port(first.into())
            .to_port(last.into())
            .set_ip_ranges(Some(ranges.collect()))
            .build()
    };
    // One call a rule: of a call with a rule that is there already EC2 does nothing.
    for rule in [
        rule("tcp", request.open_ports),
        rule("udp", (request.overlay_port, request.overlay_port)),
    ] {
        let call = client
            .authorize_security_group_ingress()
            .group_id(handle.as_str())
            .ip_permissions(rule);
        done(quiet(call.send()).await)?;
    }
    Ok(())
}

/// What a call did, or an earlier one.
fn done<T, E>(answer: std::result::Result<T, SdkError<E, HttpResponse>>) -> Result<()>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = answer else { return Ok(()) };
    match code(&error) {
        "InvalidPermission.Duplicate" | "Resource.AlreadyAssociated" | "RouteAlreadyExists" => Ok(()),
        _ => Err(absent_or(&error, Call::Create)),
    }
}

/// A part that is not there, or what else went wrong.
pub(super) fn absent_or<E>(error: &SdkError<E, HttpResponse>, call: Call) -> ProviderError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match code(error) {
        "InvalidVpcID.NotFound"
        | "InvalidSubnetID.NotFound"
        | "InvalidGroup.NotFound"
        | "InvalidInternetGatewayID.NotFound" => ProviderError::NotFound,
        _ => kind_of(error, call),
    }
}

pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        .unwrap_or_default()
}
