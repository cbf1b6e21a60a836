//! A virtual machine as its PUT asked for it: the names that it gave and what it becomes in the simulated cloud. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::catalog::{Offering, Purchase};
use isobar_engine_model::id::{ImageId, Zone};
use isobar_engine_provider::{
    CreateResource, MachineRequest, Network, OwnerTags, ResourceSpec, ResourceState, Secret, Site, Token,
};
use isobar_providers_sim::SIM_IMAGE;
use serde_json::{Value, json};

use super::REGION;
use crate::asked::Asked;

/// Longest user data, encoded, in bytes. <https://learn.microsoft.com/azure/virtual-machines/user-data>
const USER_DATA_MAX_BYTES: usize = 64 * 1024;

/// What a PUT asked for.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) disk: String,
    pub(super) card: String,
    pub(super) address: Option<String>,
    pub(super) body: Value,
    /// Why Azure could not make it after all.
    pub(super) failed: Option<String>,
}

impl Made {
    /// Reads a body that the specification has nothing against; or says what Azure would.
    pub(super) fn of(group: String, name: &str, body: Value) -> Result<Self, String> {
        let properties = &body["properties"];
        let text = |value: &Value, what: &str| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("{what} is missing"))
        };
        let card = &properties["networkProfile"]["networkInterfaceConfigurations"][0];
        let address = &card["properties"]["ipConfigurations"][0]["properties"]["publicIPAddressConfiguration"]["name"];
        // "networkApiVersion: required when networkInterfaceConfigurations are given"
        // https://learn.microsoft.com/rest/api/compute/virtual-machines/create-or-update#networkprofile
        text(&properties["networkProfile"]["networkApiVersion"], "networkApiVersion")?;
        for disk in properties["storageProfile"]["dataDisks"]
            .as_array()
            .into_iter()
            .flatten()
        {
            data_disk(disk)?;
        }
        Ok(Self {
            disk: text(&properties["storageProfile"]["osDisk"]["name"], "osDisk.name")?,
            card: text(&card["name"], "the network card's name")?,
            address: address.as_str().map(str::to_owned),
            name: name.to_owned(),
            group,
            body,
            failed: None,
        })
    }

    /// What somebody else made, who was not asked here: as Azure would show it to whoever looks.
    pub(super) fn elsewhere(group: String, state: &ResourceState, offering: &Offering) -> Self {
        let labels = state.tags.as_ref().map(OwnerTags::labels).unwrap_or_default();
        let disk = format!("{}-disk", state.name);
        let number = offering.zone.as_str().rsplit('-').next();
        let priority = match offering.purchase {
            Purchase::OnDemand => "Regular",
            Purchase::Spot => "Spot",
        };
        let body = json!({
            "location": REGION,
            "zones": number.filter(|_| offering.zone.as_str() != REGION).into_iter().collect::<Vec<_>>(),
            "tags": labels.into_iter().collect::<BTreeMap<_, _>>(),
            "properties": {
                "hardwareProfile": { "vmSize": offering.instance_type },
                "priority": priority,
                "storageProfile": { "osDisk": { "name": disk, "createOption": "FromImage" } },
            },
        });
        Self {
            name: state.name.clone(),
            group,
            disk,
            card: format!("{}-nic", state.name),
            address: None,
            body,
            failed: None,
        }
    }

    /// What was asked for, in words that are no cloud's own.
    pub(super) fn asked(&self) -> Asked {
        let storage = &self.body["properties"]["storageProfile"];
        let gib = storage["dataDisks"][0]["diskSizeGB"].as_u64();
        let identities = self.body["identity"]["userAssignedIdentities"].as_object();
        let image = storage["imageReference"]["id"].as_str();
        Asked {
            image: image.unwrap_or_default().to_owned(),
            data_disk_gib: gib.and_then(|gib| gib.try_into().ok()),
            identity: identities.and_then(|ids| ids.keys().next().cloned()),
            public_address: self.address.is_some(),
        }
    }

    /// The id of something in the same resource group.
    pub(super) fn id(&self, kind: &str, name: &str) -> String {
        format!("{}/providers/{kind}/{name}", self.group)
    }

    /// What the simulated cloud is asked to make: any image is its only one.
    pub(super) fn request(
        &self,
        site: Site,
        offerings: &[Offering],
        (token, network): (Token, Network),
    ) -> Result<CreateResource, String> {
        let properties = &self.body["properties"];
        let zone = match self.body["zones"][0].as_str() {
            Some(number) => Zone::new(format!("{}-{number}", site.region)),
            None => Zone::new(&site.region),
        };
        let size = properties["hardwareProfile"]["vmSize"].as_str().unwrap_or_default();
        let purchase = match properties["priority"].as_str() {
            Some("Spot") => Purchase::Spot,
            Some(_) | None => Purchase::OnDemand,
        };
        let offering = offerings
            .iter()
            .find(|offering| offering.instance_type == size && offering.zone == zone && offering.purchase == purchase);
        let offering = offering.ok_or_else(|| format!("there is no size {size} in {zone}"))?;
        let image = properties["storageProfile"]["imageReference"]["id"]
            .as_str()
            .unwrap_or_default();
        if !image.starts_with("/subscriptions/") {
            return Err("imageReference.id is no resource id".to_owned());
        }
        let user_data = properties["userData"].as_str().unwrap_or_default();
        if user_data.len() > USER_DATA_MAX_BYTES {
            return Err(format!("userData is longer than {USER_DATA_MAX_BYTES} bytes"));
        }
        let identity = STANDARD
            .decode(user_data)
            .map_err(|_| "userData is not base64".to_owned())?;
        let tag = |key: &str| self.body["tags"][key].as_str();
        let ports = tag("isobar-ports").and_then(|ports| ports.split_once('-'));
        let ports = ports.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        Ok(CreateResource {
            site,
            name: self.name.clone(),
            token,
            tags: OwnerTags::of_labels(tag).ok_or("the machine has not all of our tags")?,
            spec: ResourceSpec::Machine(MachineRequest {
                zone,
                offering: offering.id.clone(),
                image: ImageId::new(SIM_IMAGE),
                identity: Secret(identity),
                open_ports: ports.unwrap_or((0, 0)),
                network,
            }),
        })
    }
}

/// A disk of no image has a size, and is attached at a number; ours goes with its machine.
/// <https://learn.microsoft.com/rest/api/compute/virtual-machines/create-or-update#datadisk>
fn data_disk(disk: &Value) -> Result<(), String> {
    for (name, wanted) in [("createOption", "Empty"), ("deleteOption", "Delete")] {
        if disk[name] != wanted {
            return Err(format!("{name} of a data disk is {}, not {wanted}", disk[name]));
        }
    }
    match (disk["diskSizeGB"].as_u64(), disk["lun"].as_u64()) {
        (Some(_), Some(_)) => Ok(()),
        (None, _) | (_, None) => Err("a data disk has no size or no number".to_owned()),
    }
}
