//! What Compute Engine is asked for: the request id, the fingerprint and the body. A machine's is made here, that of a part of
//! a network in [`crate::network`]. Pure; the same request gives the same bytes.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use google_cloud_compute_v1::model::access_config::{NetworkTier, Type as AccessType};
use google_cloud_compute_v1::model::metadata::Items;
use google_cloud_compute_v1::model::scheduling::{InstanceTerminationAction, OnHostMaintenance, ProvisioningModel};
use google_cloud_compute_v1::model::{
    AccessConfig, AttachedDisk, AttachedDiskInitializeParams, Instance, Metadata, NetworkInterface, Scheduling,
    ServiceAccount, ShieldedInstanceConfig, Tags,
};
use isobar_engine_model::catalog::Purchase;
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::{
    CreateResource, MachineRequest, ProviderError, ResourceKind, ResourceSpec, Result, Token,
};
use sha2::{Digest, Sha256};

use crate::handle::{Collection, NAME_MAX_BYTES, Place, is_name};
use crate::network;
use crate::settings::{DEFAULT_NETWORK, NetworkChoice, Settings, is_image};
use crate::wire::Thing;

/// Where the node finds what it reads first, in base64: `instance/attributes/isobar-identity` of its metadata server.
pub(crate) const IDENTITY_KEY: &str = "isobar-identity";
/// Label: what was asked for, as a hash. Says whether an instance that is there is the one that is wanted.
pub(crate) const REQUEST_LABEL: &str = "isobar-request";
/// Label: the ports that others must reach, `first-last`. Who looks at an instance learns them here.
pub(crate) const PORTS_LABEL: &str = "isobar-ports";
/// Longest value in an instance's metadata, in bytes (`Metadata.items.value` of Compute Engine's discovery document).
const METADATA_VALUE_MAX_BYTES: usize = 262_144;
/// The longest identity, in bytes: base64 makes four of three.
pub(crate) const IDENTITY_MAX_BYTES: usize = METADATA_VALUE_MAX_BYTES / 4 * 3;
/// So many bytes of a hash stand in a label.
const FINGERPRINT_BYTES: usize = 16;

/// The name of a machine's second disk begins so, and ends as the machine's.
const DATA_PREFIX: &str = "data-";
/// As what the machine sees it: `/dev/disk/by-id/google-isobar-data`.
const DATA_DEVICE: &str = "isobar-data";
const EVERY_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A request that can be sent.
pub(crate) struct Wanted {
    pub(crate) place: Place,
    pub(crate) request_id: String,
    pub(crate) fingerprint: String,
    pub(crate) thing: Thing,
}

impl Wanted {
    /// What to send, or why it can never work.
    pub(crate) fn of(request: &CreateResource, settings: &Settings) -> Result<Self> {
        if !is_name(&request.name) {
            return Err(invalid(format!(
                "`{}` is no name that Compute Engine takes",
                request.name
            )));
        }
        let (fingerprint, thing) = match &request.spec {
            ResourceSpec::Machine(machine) => {
                let offered = offered(request, machine, settings)?;
                let fingerprint = fingerprint(request, of_machine(machine));
                let body = Box::new(body((request, machine), settings, &offered, &fingerprint)?);
                let zone = machine.zone.to_string();
                (fingerprint, Thing::Instance { zone, body })
            }
            ResourceSpec::Network(part) => {
                let fingerprint = fingerprint(request, network::words(part));
                let thing = network::thing((request, part), settings, &fingerprint)?;
                (fingerprint, thing)
            }
        };
        Ok(Self {
            place: thing.place(),
            request_id: request_id(&request.token),
            fingerprint,
            thing,
        })
    }
}

fn offered(request: &CreateResource, machine: &MachineRequest, settings: &Settings) -> Result<Offered> {
    let zone = &machine.zone;
    if !settings.has_zone(&request.site, zone.as_str()) {
        return Err(invalid(format!("site {} has no zone {zone}", request.site.name)));
    }
    let offered = Offered::of(&machine.offering)
        .filter(|offered| offered.zone == *zone && is_name(&offered.instance_type))
        .ok_or_else(|| invalid(format!("zone {zone} has no offering {}", machine.offering)))?;
    if !is_image(machine.image.as_str()) {
        return Err(invalid(format!("{} names no image", machine.image)));
    }
    if machine.identity.0.len() > IDENTITY_MAX_BYTES {
        return Err(invalid(format!("an identity has at most {IDENTITY_MAX_BYTES} bytes")));
    }
    Ok(offered)
}

fn body(
    (request, machine): (&CreateResource, &MachineRequest),
    settings: &Settings,
    offered: &Offered,
    fingerprint: &str,
) -> Result<Instance> {
    let mut labels: HashMap<String, String> = request
        .tags
        .labels()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    labels.insert(REQUEST_LABEL.to_owned(), fingerprint.to_owned());
    labels.insert(PORTS_LABEL.to_owned(), ports(machine));
    let instance = Instance::new()
        .set_name(&request.name)
        .set_machine_type(format!("zones/{}/machineTypes/{}", machine.zone, offered.instance_type))
        .set_disks(disks(request, machine, settings, &labels))
        .set_service_accounts(service_accounts(settings))
        .set_labels(labels)
        .set_network_interfaces([interface(machine, settings)?])
        .set_scheduling(scheduling(offered.purchase))
        .set_metadata(metadata(machine))
        // What Google gives to new machines of people: no unsigned kernel modules matter to the node image, so that only
        // secure boot is left out, for which the image would need Microsoft's signature.
        .set_shielded_instance_config(
            ShieldedInstanceConfig::new()
                .set_enable_vtpm(true)
                .set_enable_integrity_monitoring(true)
                .set_enable_secure_boot(false),
        );
    Ok(match firewall(machine)? {
        Some(name) => instance.set_tags(Tags::new().set_items([name])),
        None => instance,
    })
}

/// The firewall around a machine is for those that carry its name.
fn firewall(machine: &MachineRequest) -> Result<Option<String>> {
    let Some(handle) = machine.network.get(&ResourceKind::Firewall) else {
        return Ok(None);
    };
    match Place::of(handle) {
        Ok(Place {
            collection: Collection::Firewalls,
            name,
        }) => Ok(Some(name)),
        Ok(_) | Err(_) => Err(invalid(format!("`{handle}` is no firewall"))),
    }
}

/// The disk that it boots from, and the one for what it keeps.
fn disks(
    request: &CreateResource,
    machine: &MachineRequest,
    settings: &Settings,
    labels: &HashMap<String, String>,
) -> Vec<AttachedDisk> {
    let kept = settings.data_disk_gib.map(|gib| {
        let blank = AttachedDiskInitializeParams::new()
            .set_disk_name(data_disk(&request.name))
            .set_disk_size_gb(i64::from(gib))
            .set_labels(labels.clone());
        AttachedDisk::new()
            .set_auto_delete(true)
            .set_device_name(DATA_DEVICE)
            .set_initialize_params(blank)
    });
    let boot = boot_disk(request, machine, settings, labels);
    std::iter::once(boot).chain(kept).collect()
}

/// What the second disk of a machine is called.
pub(crate) fn data_disk(machine: &str) -> String {
    // What is its own is at the end of a machine's name.
    let room = NAME_MAX_BYTES - DATA_PREFIX.len();
    let end = &machine[machine.len().saturating_sub(room)..];
    format!("{DATA_PREFIX}{end}")
}

/// "We recommend setting the full cloud-platform scope ... and then control the access by granting IAM roles":
/// <https://cloud.google.com/compute/docs/access/service-accounts#scopes_best_practice>
fn service_accounts(settings: &Settings) -> Option<ServiceAccount> {
    let account = |email: &String| ServiceAccount::new().set_email(email).set_scopes([EVERY_SCOPE]);
    settings.machine_identity.as_ref().map(account)
}

fn boot_disk(
    request: &CreateResource,
    machine: &MachineRequest,
    settings: &Settings,
    labels: &HashMap<String, String>,
) -> AttachedDisk {
    AttachedDisk::new()
        .set_boot(true)
        .set_auto_delete(true)
        .set_initialize_params(
            AttachedDiskInitializeParams::new()
                .set_disk_name(&request.name)
                .set_disk_size_gb(settings.disk_gib)
                .set_source_image(machine.image.as_str())
                .set_labels(labels.clone()),
        )
}

/// One card, in what the request names, else in what the site does. An address that the internet sees only where the site
/// asks for it: an access configuration is one.
fn interface(machine: &MachineRequest, settings: &Settings) -> Result<NetworkInterface> {
    let mut interface = NetworkInterface::new();
    let path = |kind| machine.network.get(&kind).map(ToString::to_string);
    (interface.network, interface.subnetwork) = match &settings.network {
        _ if !machine.network.is_empty() => (path(ResourceKind::Network), path(ResourceKind::Subnet)),
        NetworkChoice::Unsaid => (Some(DEFAULT_NETWORK.to_owned()), None),
        NetworkChoice::Own => return Err(invalid("the machine's own network has to be made first".to_owned())),
        NetworkChoice::Named { network, subnetwork } => (network.clone(), subnetwork.clone()),
    };
    if settings.public_address {
        let access = AccessConfig::new()
            .set_name("External NAT")
            .set_type(AccessType::OneToOneNat)
            .set_network_tier(NetworkTier::Premium);
        interface = interface.set_access_configs([access]);
    }
    Ok(interface)
}

/// A machine that stops has lost its key: it is never started again, and a preempted one is deleted by the cloud.
fn scheduling(purchase: Purchase) -> Scheduling {
    let scheduling = Scheduling::new().set_automatic_restart(false);
    match purchase {
        Purchase::OnDemand => scheduling
            .set_provisioning_model(ProvisioningModel::Standard)
            .set_on_host_maintenance(OnHostMaintenance::Migrate),
        Purchase::Spot => scheduling
            .set_provisioning_model(ProvisioningModel::Spot)
            .set_on_host_maintenance(OnHostMaintenance::Terminate)
            .set_instance_termination_action(InstanceTerminationAction::Delete),
    }
}

fn metadata(machine: &MachineRequest) -> Metadata {
    let item = |key: &str, value: String| Items::new().set_key(key).set_value(value);
    Metadata::new().set_items([
        item(IDENTITY_KEY, STANDARD.encode(&machine.identity.0)),
        item("block-project-ssh-keys", "TRUE".to_owned()),
    ])
}

/// The token as the cloud wants it: a UUID (version 8: of our own making), never zero.
pub(crate) fn request_id(token: &Token) -> String {
    let hash = Sha256::new()
        .chain_update("isobar request\n")
        .chain_update(&token.0)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let (a, rest) = digits.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// What is asked for, as a hash that fits into a label. The identity holds a token that nobody can guess, so that the hash
/// does not give it away.
fn fingerprint(request: &CreateResource, words: Vec<String>) -> String {
    let mut hash = Sha256::new();
    let tags = request
        .tags
        .labels()
        .into_iter()
        .flat_map(|(key, value)| [key.to_owned(), value]);
    let who = [request.token.0.clone(), request.name.clone()];
    for part in who.into_iter().chain(words).chain(tags) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..FINGERPRINT_BYTES])
}

/// What is asked of a machine, in words for its hash.
fn of_machine(machine: &MachineRequest) -> Vec<String> {
    let mut words = vec![
        machine.zone.to_string(),
        machine.offering.to_string(),
        machine.image.to_string(),
        ports(machine),
        hex::encode(&machine.identity.0),
    ];
    words.extend(network::connected(&machine.network));
    words
}

fn ports(machine: &MachineRequest) -> String {
    let (first, last) = machine.open_ports;
    format!("{first}-{last}")
}

pub(crate) fn invalid(message: String) -> ProviderError {
    ProviderError::InvalidSpec { message }
}
