//! What Azure says about resources, in the engine's words. Pure. Called by the provider for `get` and `list`.

use std::collections::BTreeMap;

use azure_mgmt_compute::package_2024_07_01::models;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{OfferingId, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::{OwnerTags, ProviderError, ResourceKind, ResourceState, ResourceStatus, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::body::{NAME, PORTS, REQUEST};
use crate::names::{Names, part};

/// A disk, a network card, an address or a part of a network: as much of it as we read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    tags: Value,
    #[serde(default)]
    properties: PartProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartProperties {
    #[serde(default)]
    provisioning_state: String,
    #[serde(default)]
    ip_configurations: Vec<IpConfiguration>,
    /// Of an address.
    ip_address: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct IpConfiguration {
    properties: IpProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IpProperties {
    #[serde(rename = "privateIPAddress")]
    private_ip_address: Option<String>,
    #[serde(rename = "publicIPAddress")]
    public_ip_address: Option<Box<PublicAddress>>,
}

#[derive(Debug, Clone, Deserialize)]
struct PublicAddress {
    id: Option<String>,
    #[serde(default)]
    properties: PartProperties,
}

/// Names in Azure differ in more than case, or are the same.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules>
pub(crate) fn same_id(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The tags of a machine as text.
pub(crate) fn tag<'a>(vm: &'a models::VirtualMachine, key: &str) -> Option<&'a str> {
    tag_of(vm.resource.tags.as_ref()?, key)
}

pub(crate) fn tag_of<'a>(tags: &'a Value, key: &str) -> Option<&'a str> {
    let tags = tags.as_object()?;
    let found = tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    found.and_then(|(_, value)| value.as_str())
}

/// A machine's owner tags; absent where they are not ours.
pub(crate) fn owner(vm: &models::VirtualMachine) -> Option<OwnerTags> {
    OwnerTags::of_labels(|key| tag(vm, key))
}

/// The id of a machine's network card, once it has one.
pub(crate) fn card_id(vm: &models::VirtualMachine) -> Option<&str> {
    let network = vm.properties.as_ref()?.network_profile.as_ref()?;
    network.network_interfaces.first()?.sub_resource.id.as_deref()
}

/// A machine, with its network card where that is known.
pub(crate) fn machine(vm: &models::VirtualMachine, card: Option<&Part>, addresses: &[Part]) -> Result<ResourceState> {
    let broken = |what: &str| ProviderError::Unexpected {
        message: format!("a virtual machine without {what}"),
    };
    let name = vm.resource.name.clone().ok_or_else(|| broken("a name"))?;
    let properties = vm.properties.as_ref().ok_or_else(|| broken("properties"))?;
    let disk = properties
        .storage_profile
        .as_ref()
        .and_then(|storage| storage.os_disk.as_ref());
    let disk = disk
        .and_then(|disk| disk.name.clone())
        .ok_or_else(|| broken("a disk"))?;
    let created = properties
        .time_created
        .map_or(0, |at| at.unix_timestamp_nanos() / 1_000_000);
    Ok(ResourceState {
        handle: Names {
            machine: name.clone(),
            disk,
        }
        .handle(),
        name: tag(vm, NAME).map_or(name, str::to_owned),
        tags: owner(vm),
        status: status(properties),
        offering: offered(vm, properties),
        endpoints: endpoints(tag(vm, PORTS), card.and_then(|card| card.address(addresses))),
        created: Timestamp(u64::try_from(created).unwrap_or(0)),
    })
}

/// As what a machine was rented. Its zone is named as [`Settings::zone_names`](crate::settings::Settings::zone_names) does.
fn offered(vm: &models::VirtualMachine, properties: &models::VirtualMachineProperties) -> Option<OfferingId> {
    use models::Priority;
    let size = properties.hardware_profile.as_ref()?.vm_size.as_ref()?;
    let size = serde_json::to_value(size).ok()?;
    let region = vm.resource.location.as_str();
    let purchase = match properties.priority {
        Some(Priority::Spot | Priority::Low) => Purchase::Spot,
        Some(_) | None => Purchase::OnDemand,
    };
    let offered = Offered {
        instance_type: size.as_str()?.to_owned(),
        zone: Zone::new(
            vm.zones
                .first()
                .map_or(region.to_owned(), |number| format!("{region}-{number}")),
        ),
        purchase,
    };
    Some(offered.id())
}

/// Where a machine stands: what is being done to it, then what its host says.
/// <https://learn.microsoft.com/azure/virtual-machines/states-billing>
pub(crate) fn status(properties: &models::VirtualMachineProperties) -> ResourceStatus {
    let view = properties.instance_view.as_ref();
    let statuses = view.map(|view| view.statuses.as_slice()).unwrap_or_default();
    let code = |start: &str| {
        let all = statuses
            .iter()
            .filter_map(|status| Some((status.code.as_deref()?, status)));
        let mut found = all.filter_map(|(code, status)| Some((code.strip_prefix(start)?.to_owned(), status)));
        found.next()
    };
    match properties.provisioning_state.as_deref().unwrap_or_default() {
        "Failed" => {
            // The reason is in the view: ProvisioningState/failed/AllocationFailed.
            let reason = code("ProvisioningState/failed/").map(|(code, status)| {
                let words = status.message.as_deref().unwrap_or_default();
                format!("{code}: {words}")
            });
            ResourceStatus::Stopped {
                reason: reason.unwrap_or_else(|| "Azure could not make it".to_owned()),
            }
        }
        "Deleting" => ResourceStatus::Deleting,
        "Creating" | "Updating" => ResourceStatus::Pending,
        _ => match code("PowerState/") {
            Some((state, _)) if state == "running" => ResourceStatus::Running,
            Some((state, _)) if state == "starting" => ResourceStatus::Pending,
            Some((state, _)) => ResourceStatus::Stopped {
                reason: format!("its power state is {state}"),
            },
            None if view.is_some() => ResourceStatus::Pending,
            // A list shows no power: https://learn.microsoft.com/rest/api/compute/virtual-machines/list
            None => ResourceStatus::Running,
        },
    }
}

fn endpoints(ports: Option<&str>, address: Option<String>) -> BTreeMap<u16, String> {
    let range = ports.and_then(|ports| ports.split_once('-'));
    let range = range.and_then(|(first, last)| Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?)));
    let (Some((first, last)), Some(address)) = (range, address) else {
        return BTreeMap::new();
    };
    (first..=last).map(|port| (port, format!("{address}:{port}"))).collect()
}

impl Part {
    /// The address at which others reach a network card: the public one, where it has one.
    fn address(&self, addresses: &[Self]) -> Option<String> {
        let ip = &self.properties.ip_configurations.first()?.properties;
        let Some(public) = &ip.public_ip_address else {
            return ip.private_ip_address.clone();
        };
        let listed = addresses
            .iter()
            .find(|part| public.id.as_deref().is_some_and(|id| same_id(&part.id, id)));
        let listed = listed.and_then(|part| part.properties.ip_address.clone());
        listed.or_else(|| public.properties.ip_address.clone())
    }

    /// The digest of the request that made it, where it says so.
    pub(crate) fn digest(&self) -> Option<&str> {
        tag_of(&self.tags, REQUEST)
    }

    /// A part in the engine's words.
    pub(crate) fn state(&self, kind: ResourceKind) -> ResourceState {
        ResourceState {
            handle: part(kind, &self.name),
            name: tag_of(&self.tags, NAME).unwrap_or(&self.name).to_owned(),
            tags: OwnerTags::of_labels(|key| tag_of(&self.tags, key)),
            status: match self.properties.provisioning_state.as_str() {
                "Deleting" => ResourceStatus::Deleting,
                "Creating" | "Updating" => ResourceStatus::Pending,
                "Failed" if kind.is_network() => ResourceStatus::Stopped {
                    reason: "Azure could not make it".to_owned(),
                },
                _ => ResourceStatus::Running,
            },
            offering: None,
            endpoints: BTreeMap::new(),
            // Network cards, addresses and networks have no such time.
            created: Timestamp(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(provisioning: &str, codes: &[(&str, &str)]) -> ResourceStatus {
        let statuses: Vec<Value> = codes
            .iter()
            .map(|(code, message)| json!({"code": code, "message": message}))
            .collect();
        let properties = json!({"provisioningState": provisioning, "instanceView": {"statuses": statuses}});
        status(&serde_json::from_value(properties).expect("Azure's model"))
    }

    #[test]
    fn a_machine_that_was_accepted_and_could_not_be_made_says_why() {
        let failed = seen("Failed", &[("ProvisioningState/failed/AllocationFailed", "no room")]);
        let reason = "AllocationFailed: no room".to_owned();
        assert_eq!(failed, ResourceStatus::Stopped { reason });
    }

    #[test]
    fn power_counts_once_azure_is_done_with_a_machine() {
        let running = ("PowerState/running", "");
        assert_eq!(seen("Succeeded", &[running]), ResourceStatus::Running);
        assert_eq!(seen("Creating", &[running]), ResourceStatus::Pending);
        assert_eq!(seen("Deleting", &[running]), ResourceStatus::Deleting);
        assert_eq!(
            seen("Succeeded", &[("PowerState/starting", "")]),
            ResourceStatus::Pending
        );
        assert_eq!(seen("Succeeded", &[]), ResourceStatus::Pending, "a view without power");
        for state in ["stopped", "deallocated"] {
            let code = format!("PowerState/{state}");
            let stopped = seen("Succeeded", &[(&code, "")]);
            assert!(matches!(stopped, ResourceStatus::Stopped { .. }), "{stopped:?}");
        }
    }

    #[test]
    fn names_of_azure_do_not_tell_case() {
        let tags = json!({"Isobar-Name": "m"});
        assert_eq!(tag_of(&tags, NAME), Some("m"));
        assert!(same_id("/Subscriptions/A", "/subscriptions/a"));
    }
}
