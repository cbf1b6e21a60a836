//! The body of the PUT that makes a machine: a request and a site's settings, in Azure's typed models. Pure, so that a
//! replay has the same bytes. Called by create.

use azure_mgmt_compute::package_2024_07_01::models;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::{CreateResource, MachineRequest, OwnerTags, ProviderError, Result};
use serde_json::{Map, Value, json};

use crate::names::{Names, digest};
use crate::network::{self, Place};
use crate::settings::{Settings, invalid};

/// Tag: the name that the engine gave.
pub(crate) const NAME: &str = "isobar-name";
/// Tag: the digest of the whole request, by which a replay knows its own.
pub(crate) const REQUEST: &str = "isobar-request";
/// Tag: the first and last port that others must reach.
pub(crate) const PORTS: &str = "isobar-ports";

/// The most that user data may be, encoded, in bytes.
/// <https://learn.microsoft.com/azure/virtual-machines/user-data>
const USER_DATA_MAX_BYTES: usize = 64 * 1024;
/// The most that an identity may be: base64 makes four bytes of three.
pub(crate) const IDENTITY_MAX_BYTES: usize = USER_DATA_MAX_BYTES / 4 * 3;
/// A spot machine is never evicted for its price, only for want of room.
/// <https://learn.microsoft.com/azure/virtual-machines/spot-vms#pricing>
const NO_PRICE_LIMIT: f64 = -1.0;

/// What is sent, and how what it makes is called.
pub(crate) struct Wanted {
    pub(crate) names: Names,
    /// The tag [`REQUEST`].
    pub(crate) digest: String,
    pub(crate) body: Vec<u8>,
}

/// Checks a request against its site and says it in Azure's words.
pub(crate) fn wanted(request: &CreateResource, settings: &Settings) -> Result<Wanted> {
    let machine = request.spec.machine()?;
    let offered = offered(request, machine, settings)?;
    let place = network::place(&request.site, settings, machine)?;
    let json = serde_json::to_vec(request).map_err(|error| unreadable(&error))?;
    let (names, digest) = (Names::of(&request.name, &request.token), digest(&json));
    let tags = tags(
        &request.tags,
        [
            (NAME, request.name.clone()),
            (REQUEST, digest.clone()),
            (PORTS, format!("{}-{}", machine.open_ports.0, machine.open_ports.1)),
        ],
    );
    let vm = models::VirtualMachine {
        properties: Some(properties(machine, &offered, &names, (settings, place))),
        zones: settings
            .zone_number(&machine.zone)
            .map(str::to_owned)
            .into_iter()
            .collect(),
        ..models::VirtualMachine::new(models::Resource {
            tags: Some(tags),
            ..models::Resource::new(settings.region.clone())
        })
    };
    let mut body = serde_json::to_value(&vm).map_err(|error| unreadable(&error))?;
    // The frozen models write this read-only field as null.
    if let Some(properties) = body["properties"].as_object_mut() {
        properties.remove("timeCreated");
    }
    if let Some(id) = &settings.machine_identity {
        // The frozen models have no room for the ids.
        body["identity"] = json!({ "type": "UserAssigned", "userAssignedIdentities": { id.as_str(): {} } });
    }
    let body = serde_json::to_vec(&body).map_err(|error| unreadable(&error))?;
    Ok(Wanted { names, digest, body })
}

fn unreadable(error: &serde_json::Error) -> ProviderError {
    ProviderError::InvalidSpec {
        message: format!("the request cannot be written as JSON: {error}"),
    }
}

/// What of the request Azure would refuse only after it had accepted it, or take for something else.
fn offered(request: &CreateResource, machine: &MachineRequest, settings: &Settings) -> Result<Offered> {
    let wrong = |what: String| invalid(&request.site, &what);
    let offered = Offered::of(&machine.offering)
        .filter(|offered| offered.zone == machine.zone)
        .ok_or_else(|| wrong(format!("zone {} has no offering {}", machine.zone, machine.offering)))?;
    if !settings.zone_names().contains(&machine.zone) {
        return Err(wrong(format!("there is no zone {}", machine.zone)));
    }
    let image = machine.image.as_str();
    if image != settings.image && Some(image) != settings.image_arm64.as_deref() {
        return Err(wrong(format!("{image} is not the site's image")));
    }
    if machine.identity.0.len() > IDENTITY_MAX_BYTES {
        return Err(wrong(format!("an identity has at most {IDENTITY_MAX_BYTES} bytes")));
    }
    Ok(offered)
}

fn tags(owner: &OwnerTags, ours: [(&str, String); 3]) -> Value {
    let all = owner.labels().into_iter().chain(ours);
    Value::Object(
        all.map(|(key, value)| (key.to_owned(), Value::String(value)))
            .collect::<Map<_, _>>(),
    )
}

fn properties(
    machine: &MachineRequest,
    offered: &Offered,
    names: &Names,
    (settings, place): (&Settings, Place),
) -> models::VirtualMachineProperties {
    use models::hardware_profile::VmSize;
    let spot = match offered.purchase {
        Purchase::OnDemand => None,
        Purchase::Spot => Some(()),
    };
    models::VirtualMachineProperties {
        hardware_profile: Some(models::HardwareProfile {
            vm_size: Some(VmSize::UnknownValue(offered.instance_type.clone())),
            ..Default::default()
        }),
        storage_profile: Some(storage(machine, names, settings)),
        network_profile: Some(network(names, (settings, place))),
        // No osProfile: the image is a specialized one, which nobody sets up after its boot.
        diagnostics_profile: Some(models::DiagnosticsProfile {
            boot_diagnostics: Some(models::BootDiagnostics {
                enabled: Some(true),
                storage_uri: None,
            }),
        }),
        priority: spot.map(|()| models::Priority::Spot),
        eviction_policy: spot.map(|()| models::EvictionPolicy::Delete),
        billing_profile: spot.map(|()| models::BillingProfile {
            max_price: Some(NO_PRICE_LIMIT),
        }),
        user_data: Some(STANDARD.encode(&machine.identity.0)),
        ..Default::default()
    }
}

fn storage(machine: &MachineRequest, names: &Names, settings: &Settings) -> models::StorageProfile {
    let image = models::SubResource {
        id: Some(machine.image.as_str().to_owned()),
    };
    models::StorageProfile {
        image_reference: Some(models::ImageReference {
            sub_resource: image,
            ..Default::default()
        }),
        os_disk: Some(models::OsDisk {
            name: Some(names.disk.clone()),
            disk_size_gb: settings.disk_gib,
            delete_option: Some(models::DeleteOption::Delete),
            managed_disk: Some(managed_disk()),
            ..models::OsDisk::new(models::CreateOption::FromImage)
        }),
        data_disks: settings
            .data_disk_gib
            .map(|gib| models::DataDisk {
                name: Some(names.data_disk()),
                disk_size_gb: Some(gib.into()),
                delete_option: Some(models::DeleteOption::Delete),
                managed_disk: Some(managed_disk()),
                ..models::DataDisk::new(0, models::CreateOption::Empty)
            })
            .into_iter()
            .collect(),
        ..Default::default()
    }
}

fn managed_disk() -> models::ManagedDiskParameters {
    models::ManagedDiskParameters {
        storage_account_type: Some(models::StorageAccountType::StandardSsdLrs),
        ..Default::default()
    }
}

/// One network card, made and deleted with the machine; likewise its address, where the site asks for one.
fn network(names: &Names, (settings, place): (&Settings, Place)) -> models::NetworkProfile {
    use models::virtual_machine_network_interface_configuration_properties as card;
    let ip = models::VirtualMachineNetworkInterfaceIpConfigurationProperties {
        subnet: Some(models::SubResource { id: Some(place.subnet) }),
        primary: Some(true),
        public_ip_address_configuration: settings.public_address.then(|| address(names)),
        ..Default::default()
    };
    let card = models::VirtualMachineNetworkInterfaceConfigurationProperties {
        primary: Some(true),
        delete_option: Some(card::DeleteOption::Delete),
        network_security_group: place.security_group.map(|id| models::SubResource { id: Some(id) }),
        ..models::VirtualMachineNetworkInterfaceConfigurationProperties::new(vec![
            models::VirtualMachineNetworkInterfaceIpConfiguration {
                properties: Some(ip),
                ..models::VirtualMachineNetworkInterfaceIpConfiguration::new("ip".to_owned())
            },
        ])
    };
    models::NetworkProfile {
        network_api_version: Some(models::network_profile::NetworkApiVersion::N2020_11_01),
        network_interface_configurations: vec![models::VirtualMachineNetworkInterfaceConfiguration {
            properties: Some(card),
            ..models::VirtualMachineNetworkInterfaceConfiguration::new(names.interface())
        }],
        ..Default::default()
    }
}

fn address(names: &Names) -> models::VirtualMachinePublicIpAddressConfiguration {
    use models::virtual_machine_public_ip_address_configuration_properties as address;
    models::VirtualMachinePublicIpAddressConfiguration {
        properties: Some(models::VirtualMachinePublicIpAddressConfigurationProperties {
            delete_option: Some(address::DeleteOption::Delete),
            public_ip_allocation_method: Some(address::PublicIpAllocationMethod::Static),
            ..Default::default()
        }),
        // Basic addresses are retired: https://learn.microsoft.com/azure/virtual-network/ip-services/public-ip-basic-upgrade-guidance
        sku: Some(models::PublicIpAddressSku {
            name: Some(models::public_ip_address_sku::Name::Standard),
            ..Default::default()
        }),
        ..models::VirtualMachinePublicIpAddressConfiguration::new(names.address())
    }
}
