//! What machines need around them in Azure: a security group, and a virtual network with one subnet where the site names
//! none. Found things are named by their resource ids and never changed. Used by the provider.

use async_trait::async_trait;
use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_provider::{
    CreateResource, Created, MachineRequest, NetworkNeeds, NetworkPart, NetworkRequest, Networks, ProviderError,
    ResourceKind, ResourceStatus, Result, Site,
};
use reqwest::Method;

use crate::arm::Call;
use crate::look::Part;
use crate::names::{self, Named};
use crate::network_body;
use crate::paths::{path, version};
use crate::provider::AzureProvider;
use crate::settings::{Settings, invalid};

/// The only subnet of a network that we make.
pub(crate) const SUBNET: &str = "nodes";

/// What a machine's network card is put in: resource ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) subnet: String,
    pub(crate) security_group: Option<String>,
}

/// Where a machine goes: what it was given comes before the site's settings.
pub(crate) fn place(site: &Site, settings: &Settings, machine: &MachineRequest) -> Result<Place> {
    let given = |kind| {
        let handle = machine.network.get(&kind);
        handle
            .map(|handle| resource_id(site, settings, (kind, handle)))
            .transpose()
    };
    let made = given(ResourceKind::Network)?.map(|network| format!("{network}/subnets/{SUBNET}"));
    let subnet = given(ResourceKind::Subnet)?
        .or(made)
        .or_else(|| settings.subnet.clone());
    Ok(Place {
        subnet: subnet.ok_or_else(|| invalid(site, "the machine has no subnet: none is named, and none was made"))?,
        security_group: given(ResourceKind::Firewall)?.or_else(|| settings.security_group.clone()),
    })
}

/// The id of something that was found, which is its handle, or made.
pub(crate) fn resource_id(
    site: &Site,
    settings: &Settings,
    (kind, handle): (ResourceKind, &ResourceHandle),
) -> Result<String> {
    if handle.as_str().starts_with("/subscriptions/") {
        return Ok(handle.as_str().to_owned());
    }
    match names::named(handle) {
        Some(Named::Part(known, name)) if known == kind => Ok(path(settings, kind, &name)),
        Some(Named::Part(..) | Named::Machine(_)) | None => {
            Err(invalid(site, &format!("{handle} is no {}", kind.name())))
        }
    }
}

impl AzureProvider {
    /// Makes a part by its name. Azure has no `If-None-Match` for these, so a look goes before the call; what is there
    /// under the same name and of the same request is the answer.
    pub(crate) async fn create_part(&self, request: &CreateResource, part: &NetworkRequest) -> Result<Created> {
        let site = &request.site;
        let settings = Settings::of(site)?;
        let wanted = network_body::wanted(request, part, &settings)?;
        let handle = names::part(wanted.kind, &wanted.name);
        self.refuse_deleted(&handle)?;
        match self.part(site, &settings, (wanted.kind, &wanted.name)).await {
            Ok(there) if there.digest() == Some(&wanted.digest) => return Ok(Created { handle }),
            Ok(_) => {
                return Err(ProviderError::Conflict {
                    message: format!("{} was made by another request", wanted.name),
                });
            }
            Err(ProviderError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let query = [("api-version", version(wanted.kind))];
        let call = Call {
            body: Some(wanted.body),
            ..Call::of(Method::PUT, path(&settings, wanted.kind, &wanted.name), &query)
        };
        self.arm.send(site, call).await?;
        Ok(Created { handle })
    }

    /// A disk, a network card, an address or a part of a network.
    pub(crate) async fn part(
        &self,
        site: &Site,
        settings: &Settings,
        (kind, name): (ResourceKind, &str),
    ) -> Result<Part> {
        let query = [("api-version", version(kind))];
        self.read(site, path(settings, kind, name), &query).await
    }
}

#[async_trait]
impl Networks for AzureProvider {
    async fn needs(&self, site: &Site, zone: &Zone) -> Result<NetworkNeeds> {
        let settings = Settings::of(site)?;
        if !settings.zone_names().contains(zone) {
            return Err(invalid(site, &format!("there is no zone {zone}")));
        }
        let mut needs = NetworkNeeds::default();
        let named = [
            (
                ResourceKind::Firewall,
                ResourceKind::Firewall,
                settings.security_group.as_ref(),
            ),
            (
                ResourceKind::Subnet,
                ResourceKind::Network,
                settings.subnet.as_ref().filter(|_| !settings.own_network),
            ),
        ];
        for (found, made, id) in named {
            match id {
                Some(id) => {
                    needs.found.insert(found, ResourceHandle::new(id));
                }
                None => needs.make.push(NetworkPart { kind: made, zone: None }),
            }
        }
        Ok(needs)
    }

    /// Nothing takes a second call: only that Azure is done with it.
    async fn connect(&self, site: &Site, handle: &ResourceHandle, _request: &NetworkRequest) -> Result<()> {
        let settings = Settings::of(site)?;
        let Some(Named::Part(kind, name)) = names::named(handle) else {
            return Err(ProviderError::NotFound);
        };
        match self.part(site, &settings, (kind, &name)).await?.state(kind).status {
            ResourceStatus::Running => Ok(()),
            ResourceStatus::Pending => Err(ProviderError::NotReady {
                message: format!("{handle} is still being made"),
            }),
            ResourceStatus::Stopped { reason } => Err(ProviderError::Conflict {
                message: format!("{handle}: {reason}"),
            }),
            ResourceStatus::Deleting => Err(ProviderError::Conflict {
                message: format!("{handle} is being deleted"),
            }),
        }
    }
}
