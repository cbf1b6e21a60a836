//! Instances and their disks: made, shown, deleted. Each is asked of the simulated cloud, which may fail as it does.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::id::{ImageId, OfferingId, ResourceHandle, Zone};
use isobar_engine_provider::{
    Console as _, CreateResource, MachineRequest, Owner, OwnerTags, Provider as _, ProviderError, ResourceKind,
    ResourceSpec, ResourceState, Secret, Token, list_all,
};
use isobar_providers_sim::{SIM_IMAGE, SimMachine};
use serde_json::{Value, json};

use super::answers::Refusal;
use super::model::Call;
use super::operations::Failure;
use super::{ENGINE_IMAGE, METADATA_VALUE_MAX_BYTES, PROJECT, Shared, operations, render};

/// Where the provider puts the identity.
const IDENTITY_KEY: &str = "isobar-identity";
/// What ends the name of a simulated machine's disk.
const DISK_SUFFIX: &str = "-disk";
/// What ends the simulated cloud's name of a spot offering.
const SPOT: &str = ":spot";

/// An instance that somebody asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) zone: String,
    pub(super) name: String,
    pub(super) body: Value,
    pub(super) owner: Owner,
    /// What the simulated cloud calls it, once it has said so.
    handle: Option<ResourceHandle>,
    /// Where it is on the internet, if somebody has said it.
    pub(super) reached_at: Option<Ipv4Addr>,
}

impl Asked {
    /// An instance that nobody asked for here, as Google would show it to whoever looks; absent where it is nobody's whom
    /// a filter could name.
    pub(super) fn elsewhere(machine: &SimMachine) -> Option<Self> {
        let tags = machine.tags()?;
        let zone = machine.zone.to_string();
        let offering = machine.state.offering.as_ref()?.to_string();
        let (machine_type, spot) = (offering.split('@').next()?, offering.ends_with(SPOT));
        let model = if spot { "SPOT" } else { "STANDARD" };
        let labels = json!(tags.labels());
        let body = json!({
            "name": machine.state.name,
            "machineType": format!("zones/{zone}/machineTypes/{machine_type}"),
            "labels": labels,
            "scheduling": { "provisioningModel": model },
            "disks": [{ "boot": true, "autoDelete": true, "initializeParams": { "labels": labels } }],
            "networkInterfaces": [{}],
        });
        Some(Self {
            zone,
            name: machine.state.name.clone(),
            body,
            owner: tags.owner.clone(),
            handle: Some(machine.handle.clone()),
            reached_at: None,
        })
    }
}

impl Shared {
    pub(super) async fn insert(&self, call: &Call, body: &Value) -> Result<Value, Refusal> {
        let (zone, id) = (call.get("zone"), call.get("requestId"));
        is_uuid(id)?;
        let now = self.clock.now();
        if let Some(earlier) = self.known().operations.of_request(id) {
            return Ok(earlier.at(now));
        }
        let mut request = self.request(zone, id, body)?;
        if let Some(machine) = request.spec.machine_mut() {
            machine.network = self.connected(body).await?;
        }
        let (name, owner) = (request.name.clone(), request.tags.owner.clone());
        let key = (zone.to_owned(), name.clone());
        let what = format!("projects/{PROJECT}/zones/{zone}/instances/{name}");
        let asked = Asked {
            zone: zone.to_owned(),
            name: name.clone(),
            body: body.clone(),
            owner,
            handle: None,
            reached_at: None,
        };
        // An answer that is lost below has made it all the same.
        self.known()
            .instances
            .entry(key.clone())
            .or_insert_with(|| asked.clone());
        let failure = match self.client.create(&request).await {
            Ok(created) => {
                let handle = Some(created.handle);
                self.known().instances.insert(key, Asked { handle, ..asked });
                None
            }
            // In the operation, as CCExtractor/sample-platform 901 shows one; what it means:
            // <https://docs.cloud.google.com/compute/docs/troubleshooting/troubleshooting-resource-availability>
            Err(ProviderError::InsufficientCapacity { .. }) => Some(Failure {
                code: "ZONE_RESOURCE_POOL_EXHAUSTED",
                status: (503, "SERVICE UNAVAILABLE"),
                message: format!(
                    "The zone 'projects/{PROJECT}/zones/{zone}' does not have enough resources available to fulfill \
                     the request.  Try a different zone, or try again later."
                ),
            }),
            // `errorDetails` of an operation in the discovery document names the code.
            Err(ProviderError::QuotaExceeded { message }) => Some(Failure {
                code: "QUOTA_EXCEEDED",
                status: (403, "FORBIDDEN"),
                message,
            }),
            Err(ProviderError::Conflict { .. }) => return Err(Refusal::exists(&what)),
            Err(other) => return Err(Refusal::of(other, &what)),
        };
        let target = ("insert", operations::scope(call), format!("instances/{name}"));
        // Of those who sent the same at the same time, one is first.
        let mut known = self.known();
        let earlier = known.operations.of_request(id).cloned();
        let operation = earlier.unwrap_or_else(|| known.operations.start(target, id, now, failure));
        Ok(operation.at(now))
    }

    pub(super) async fn get(&self, call: &Call) -> Result<Value, Refusal> {
        let (asked, state) = self.found(call).await?;
        Ok(render::instance(&asked, &state))
    }

    pub(super) async fn delete(&self, call: &Call) -> Result<Value, Refusal> {
        let (asked, handle, what) = self.asked(call, "instance")?;
        let token = Token(what.clone());
        let deleted = self.client.delete(&self.site(), &handle, &token).await;
        deleted.map_err(|error| Refusal::of(error, &what))?;
        Ok(self.deleting(&asked.zone, format!("instances/{}", asked.name)))
    }

    pub(super) async fn serial_port(&self, call: &Call) -> Result<Value, Refusal> {
        let (_, handle, what) = self.asked(call, "instance")?;
        let start = call.get("start").parse().unwrap_or(0);
        let chunk = self.client.read(&self.site(), &handle, start).await;
        let chunk = chunk.map_err(|error| Refusal::of(error, &what))?;
        Ok(json!({
            "kind": "compute#serialPortOutput",
            "contents": String::from_utf8_lossy(&chunk.bytes),
            "start": start.to_string(),
            "next": chunk.next_offset.to_string(),
        }))
    }

    pub(super) async fn disk(&self, call: &Call) -> Result<Value, Refusal> {
        let (asked, state, _) = self.found_disk(call).await?;
        Ok(render::disk(&asked, &state))
    }

    pub(super) async fn delete_disk(&self, call: &Call) -> Result<Value, Refusal> {
        if self.known().others.remove(&call.path).is_some() {
            return Ok(self.deleting(call.get("zone"), format!("disks/{}", call.get("disk"))));
        }
        let (asked, state, what) = self.found_disk(call).await?;
        let deleted = self
            .client
            .delete(&self.site(), &state.handle, &Token(what.clone()))
            .await;
        deleted.map_err(|error| Refusal::of(error, &what))?;
        Ok(self.deleting(&asked.zone, format!("disks/{}", asked.name)))
    }

    fn deleting(&self, zone: &str, target: String) -> Value {
        let now = self.clock.now();
        self.known()
            .operations
            .start(("delete", format!("zones/{zone}"), target), "", now, None)
            .at(now)
    }

    /// The instance that a call names, as it is seen now.
    async fn found(&self, call: &Call) -> Result<(Asked, ResourceState), Refusal> {
        let (asked, handle, what) = self.asked(call, "instance")?;
        let state = self.client.get(&self.site(), &handle).await;
        Ok((asked, state.map_err(|error| Refusal::of(error, &what))?))
    }

    async fn found_disk(&self, call: &Call) -> Result<(Asked, ResourceState, String), Refusal> {
        let (asked, _, what) = self.asked(call, "disk")?;
        let disks = list_all(&self.client, &self.site(), ResourceKind::Disk, &asked.owner).await;
        let disks = disks.map_err(|error| Refusal::of(error, &what))?;
        let name = format!("{}{DISK_SUFFIX}", asked.name);
        let found = disks.into_iter().find(|disk| disk.name == name);
        Ok((asked, found.ok_or_else(|| Refusal::not_found(&what))?, what))
    }

    /// What was asked for under the name in a call, and the machine that came of it.
    fn asked(&self, call: &Call, parameter: &str) -> Result<(Asked, ResourceHandle, String), Refusal> {
        let (zone, name) = (call.get("zone"), call.get(parameter));
        let what = format!("projects/{PROJECT}/zones/{zone}/{parameter}s/{name}");
        let machines = self.cloud.machines();
        let there = machines.iter().find(|machine| machine.state.name == name);
        let asked = self.known().instance(zone, name);
        let elsewhere = || Asked::elsewhere(there.filter(|machine| machine.zone.as_str() == zone)?);
        let asked = asked.or_else(elsewhere).ok_or_else(|| Refusal::not_found(&what))?;
        let handle = there
            .map(|machine| machine.handle.clone())
            .or_else(|| asked.handle.clone());
        let handle = handle.ok_or_else(|| Refusal::not_found(&what))?;
        Ok((asked, handle, what))
    }

    /// The request as the simulated cloud takes it.
    fn request(&self, zone: &str, id: &str, body: &Value) -> Result<CreateResource, Refusal> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let label = |key: &str| body["labels"][key].as_str();
        let tags = OwnerTags::of_labels(label).ok_or_else(|| Refusal::invalid("labels of ours are missing"))?;
        if body["disks"][0]["initializeParams"]["labels"] != body["labels"] {
            return Err(Refusal::invalid("the boot disk has other labels than its instance"));
        }
        for disk in body["disks"].as_array().into_iter().flatten().skip(1) {
            data_disk(disk, &body["labels"])?;
        }
        let machine_type = text(&body["machineType"]);
        let prefix = format!("zones/{zone}/machineTypes/");
        let name = machine_type.strip_prefix(&prefix).ok_or_else(|| {
            Refusal::invalid(&format!(
                "Invalid value for field 'resource.machineType': '{machine_type}'."
            ))
        })?;
        let spot = match body["scheduling"]["provisioningModel"].as_str() {
            Some("SPOT") => SPOT,
            Some(_) | None => "",
        };
        // The simulated cloud has one image for both.
        let image = match text(&body["disks"][0]["initializeParams"]["sourceImage"]).as_str() {
            ENGINE_IMAGE => SIM_IMAGE.to_owned(),
            other => other.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let ports = label("isobar-ports").and_then(|ports| {
            let (first, last) = ports.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Ok(CreateResource {
            site: self.site(),
            name: text(&body["name"]),
            token: Token(id.to_owned()),
            tags,
            spec: ResourceSpec::Machine(MachineRequest {
                zone: Zone::new(zone),
                offering: OfferingId::new(format!("{name}@{zone}{spot}")),
                image: ImageId::new(image),
                identity: identity(body)?,
                open_ports: ports.ok_or_else(|| Refusal::invalid("the label of ports is missing"))?,
                network: Default::default(),
            }),
        })
    }
}

/// A disk beside the one that an instance boots from: ours is blank, goes with its instance and carries its labels.
/// <https://docs.cloud.google.com/compute/docs/reference/rest/v1/instances/insert> (`disks[].initializeParams`)
fn data_disk(disk: &Value, labels: &Value) -> Result<(), Refusal> {
    let wanted = &disk["initializeParams"];
    let refused = |what: &str| {
        Err(Refusal::invalid(&format!(
            "Invalid value for field 'resource.disks[1].{what}'."
        )))
    };
    match () {
        () if disk["autoDelete"] != true => refused("autoDelete"),
        () if wanted["labels"] != *labels => refused("initializeParams.labels"),
        () if wanted["sourceImage"].is_string() || !wanted["diskSizeGb"].is_string() => refused("initializeParams"),
        () => Ok(()),
    }
}

/// What the node would read, out of the instance's metadata. A value has a bound.
fn identity(body: &Value) -> Result<Secret, Refusal> {
    let items = body["metadata"]["items"].as_array().into_iter().flatten();
    for item in items.clone() {
        let bytes = item["value"].as_str().unwrap_or_default().len();
        if bytes > METADATA_VALUE_MAX_BYTES {
            let message = format!("Value for field 'resource.metadata.items.value' is too large: {bytes} bytes.");
            return Err(Refusal::invalid(&message));
        }
    }
    let value = items.clone().find(|item| item["key"] == IDENTITY_KEY);
    let text = value.and_then(|item| item["value"].as_str());
    let bytes = text.and_then(|text| STANDARD.decode(text).ok());
    bytes
        .map(Secret)
        .ok_or_else(|| Refusal::invalid("the identity is missing or no base64"))
}

/// "The request ID must be a valid UUID with the exception that zero UUID is not supported" (`requestId`).
pub(super) fn is_uuid(text: &str) -> Result<(), Refusal> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let zero = text.bytes().all(|byte| byte == b'0' || byte == b'-');
    if lengths == [8, 4, 4, 4, 12] && digits && !zero {
        return Ok(());
    }
    Err(Refusal::invalid(&format!(
        "Invalid value for field 'requestId': '{text}'."
    )))
}
