//! Deletes a machine with all that was made with it, or a part that was left behind. Accepted is not gone.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::InstanceStateName;
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{ProviderError, ResourceKind, Result};

use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::look::kind;
use crate::network::look;

/// Asks for the deletion, once. No call does anything a second time, so that none needs a token.
pub(crate) async fn delete(client: &Client, handle: &ResourceHandle) -> Result<()> {
    match kind(handle) {
        Some(ResourceKind::Machine) => machine(client, handle).await,
        Some(ResourceKind::Disk) => {
            let answer = quiet(client.delete_volume().volume_id(handle.as_str()).send()).await;
            answer.map(drop).map_err(|error| kind_of(&error, Call::Delete))
        }
        Some(ResourceKind::Interface) => {
            let call = client.delete_network_interface().network_interface_id(handle.as_str());
            quiet(call.send())
                .await
                .map(drop)
                .map_err(|error| kind_of(&error, Call::Delete))
        }
        Some(ResourceKind::Network) => look::delete_network(client, handle).await,
        Some(ResourceKind::Gateway) => look::delete_gateway(client, handle).await,
        Some(ResourceKind::Subnet) => look::delete_subnet(client, handle).await,
        Some(ResourceKind::Firewall) => look::delete_group(client, handle).await,
        Some(ResourceKind::Address) | None => Err(ProviderError::NotFound),
    }
}

/// Its disk and its interface go with it: both were made to be deleted on termination.
async fn machine(client: &Client, handle: &ResourceHandle) -> Result<()> {
    let answer = quiet(client.terminate_instances().instance_ids(handle.as_str()).send()).await;
    let answer = answer.map_err(|error| kind_of(&error, Call::Delete))?;
    let change = answer.terminating_instances().first();
    let before = change
        .and_then(|change| change.previous_state())
        .and_then(|state| state.name());
    // A terminated instance can be terminated for as long as EC2 still shows it.
    if before == Some(&InstanceStateName::Terminated) {
        Err(ProviderError::Gone)
    } else {
        Ok(())
    }
}
