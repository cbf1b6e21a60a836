//! Volumes, addresses and keys.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Address, KeyPairInfo, Volume};
use isobar_engine_provider::adoption::Found;
use isobar_engine_provider::{ResourceStatus, Result};

use super::network::there;
use super::{Described, described};
use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::tags;

pub(super) async fn volumes(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(
        client,
        describe_volumes,
        filters("volume-id", ids),
        volumes,
        volume
    ))
}

pub(super) async fn addresses(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    let ask = client.describe_addresses().filters(tags::filter("allocation-id", ids));
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    Ok(answer.addresses().iter().filter_map(address).collect())
}

pub(super) async fn keys(client: &Client, names: &[&str]) -> Result<Vec<Described>> {
    let ask = client.describe_key_pairs().filters(tags::filter("key-name", names));
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    Ok(answer.key_pairs().iter().filter_map(key).collect())
}

fn volume(volume: &Volume) -> Option<Described> {
    let status = match volume.state()?.as_str() {
        "creating" => ResourceStatus::Pending,
        "deleting" => ResourceStatus::Deleting,
        "deleted" => return None,
        "available" | "in-use" => ResourceStatus::Running,
        other => ResourceStatus::Stopped {
            reason: format!("the volume is {other}"),
        },
    };
    let found = Found::default()
        .text("type", volume.volume_type().map(|kind| kind.as_str()))
        .text("size_gib", volume.size())
        .text("zone", volume.availability_zone())
        .text("encrypted", volume.encrypted())
        .text("snapshot", volume.snapshot_id())
        .text("iops", volume.iops())
        .text("throughput", volume.throughput());
    let mut described = there((volume.volume_id(), None), found, volume.tags())?;
    described.state.status = status;
    Some(described)
}

fn address(address: &Address) -> Option<Described> {
    let found = Found::default().text("public_address", address.public_ip());
    there((address.allocation_id(), None), found, address.tags())
}

fn key(key: &KeyPairInfo) -> Option<Described> {
    let found = Found::default().text("fingerprint", key.key_fingerprint());
    there((key.key_name(), None), found, key.tags())
}
