//! Security groups and virtual networks: as their PUTs made them, in the simulated cloud that says when they are seen, in use
//! and gone. Called by the front for their operations.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{
    CreateResource, Network, NetworkPart, NetworkRequest, Networks, OwnerTags, Provider, ProviderError, ResourceKind,
    ResourceSpec, ResourceState, ResourceStatus, Token,
};
use isobar_providers_sim::SimNetworkPart;
use serde_json::{Value, json};

use super::answer::{self, Refused, refused};
use super::{GROUP, SUBSCRIPTION, State};

/// Bodies of PUTs by kind and name in lower case; also of what is gone.
pub(super) type Bodies = BTreeMap<(ResourceKind, String), Value>;

impl State {
    /// A PUT of a name that is in use changes what is there; there is no condition against it.
    /// <https://learn.microsoft.com/rest/api/virtualnetwork/network-security-groups/create-or-update>
    pub(super) async fn put_network(
        &self,
        (kind, name): (ResourceKind, &str),
        body: &[u8],
    ) -> Result<Response, Refused> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let key = (kind, name.to_ascii_lowercase());
        if let Some(there) = self.network(kind, name) {
            if self.kept().networks.get(&key) != Some(&body) {
                return Err(self.violated("InvalidRequestContent", format!("a PUT that changes {name}")));
            }
            return Ok(Json(self.network_shown(&there.state, kind)).into_response());
        }
        let request = self.network_request((kind, name), &body)?;
        // It may still come, though nobody hears of it.
        let made = self.sim.create(&request).await;
        if matches!(made, Ok(_) | Err(ProviderError::OutcomeUnknown { .. })) {
            self.kept().networks.insert(key, body.clone());
        }
        made?;
        let mut shown = body;
        shown["name"] = json!(name);
        shown["properties"]["provisioningState"] = json!("Updating");
        Ok(answer::accepted(StatusCode::CREATED, OPERATION, Some(shown)))
    }

    fn network_request(&self, (kind, name): (ResourceKind, &str), body: &Value) -> Result<CreateResource, Refused> {
        let bad = |what: &str| refused(StatusCode::BAD_REQUEST, "InvalidRequestFormat", what);
        let mut within = Network::new();
        let mut ports = ((0, 0), 0);
        match kind {
            ResourceKind::Firewall => {
                ports = opened(&body["properties"]["securityRules"]).map_err(|what| bad(&what))?
            }
            ResourceKind::Network
            | ResourceKind::Machine
            | ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Gateway
            | ResourceKind::Subnet => {
                let subnet = &body["properties"]["subnets"][0]["properties"];
                // https://learn.microsoft.com/azure/virtual-network/ip-services/default-outbound-access
                if subnet["defaultOutboundAccess"] != json!(true) {
                    return Err(bad("no node of this subnet would reach home"));
                }
                let group = subnet["networkSecurityGroup"]["id"].as_str().unwrap_or_default();
                within.extend(self.referred(group)?);
            }
        }
        let put = {
            let mut kept = self.kept();
            kept.puts += 1;
            kept.puts
        };
        let tag = |key: &str| body["tags"][key].as_str();
        Ok(CreateResource {
            site: self.site.clone(),
            name: name.to_owned(),
            token: Token(format!("put-{put}")),
            tags: OwnerTags::of_labels(tag).ok_or_else(|| bad("the resource has not all of our tags"))?,
            spec: ResourceSpec::Network(NetworkRequest {
                part: NetworkPart { kind, zone: None },
                within,
                open_ports: ports.0,
                overlay_port: ports.1,
            }),
        })
    }

    /// What an id names, if it is in our group: others are somebody else's, and taken to be there.
    /// "Resource ... referenced by ... was not found." `InvalidResourceReference`
    /// <https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-not-found>
    pub(super) fn referred(&self, id: &str) -> Result<Option<(ResourceKind, ResourceHandle)>, Refused> {
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/");
        let Some(local) = id.strip_prefix(&group) else {
            return Ok(None);
        };
        let mut segments = local.split('/');
        let (word, name) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let kind = match word {
            "networkSecurityGroups" => ResourceKind::Firewall,
            _ => ResourceKind::Network,
        };
        let there = self.network(kind, name).map(|part| (kind, part.state.handle));
        let words = format!("Resource {id} was not found.");
        there
            .map(Some)
            .ok_or_else(|| refused(StatusCode::BAD_REQUEST, "InvalidResourceReference", &words))
    }

    /// What a machine's network card is in.
    pub(super) async fn network_of(&self, card: &Value) -> Result<Network, Refused> {
        let properties = &card["properties"];
        let subnet = &properties["ipConfigurations"][0]["properties"]["subnet"]["id"];
        let mut network = Network::new();
        for id in [subnet, &properties["networkSecurityGroup"]["id"]] {
            network.extend(self.referred(id.as_str().unwrap_or_default())?);
        }
        for (kind, handle) in &network {
            self.settle(*kind, handle).await?;
        }
        Ok(network)
    }

    pub(super) async fn get_network(&self, (kind, name): (ResourceKind, &str)) -> Result<Response, Refused> {
        let part = self.network(kind, name).ok_or(ProviderError::NotFound)?;
        let handle = part.state.handle;
        let state = self.sim.get(&self.site, &handle).await?;
        // The first look sees it being made.
        let shown = self.network_shown(&state, kind);
        self.settle(kind, &handle).await?;
        Ok(Json(shown).into_response())
    }

    /// Azure finishes by itself what the simulated cloud leaves to a second call.
    async fn settle(&self, kind: ResourceKind, handle: &ResourceHandle) -> Result<(), Refused> {
        let request = NetworkRequest {
            part: NetworkPart { kind, zone: None },
            within: Network::new(),
            open_ports: (0, 0),
            overlay_port: 0,
        };
        Ok(self.sim.connect(&self.site, handle, &request).await?)
    }

    /// "In order to delete the Network security group, remove the association with the resource(s)."
    /// <https://learn.microsoft.com/azure/virtual-network/manage-network-security-group#delete-a-network-security-group>
    pub(super) async fn delete_network(&self, (kind, name): (ResourceKind, &str)) -> Result<Response, Refused> {
        let Some(part) = self.network(kind, name) else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        let token = Token(String::new());
        match self.sim.delete(&self.site, &part.state.handle, &token).await {
            Ok(()) => Ok(answer::accepted(StatusCode::ACCEPTED, OPERATION, None)),
            Err(ProviderError::NotFound) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(ProviderError::NotReady { .. }) => {
                let code = match kind {
                    ResourceKind::Firewall => "InUseNetworkSecurityGroupCannotBeDeleted",
                    ResourceKind::Network
                    | ResourceKind::Machine
                    | ResourceKind::Disk
                    | ResourceKind::Interface
                    | ResourceKind::Address
                    | ResourceKind::Gateway
                    | ResourceKind::Subnet => "InUseSubnetCannotBeDeleted",
                };
                let words = format!("{name} is in use and cannot be deleted.");
                Err(refused(StatusCode::BAD_REQUEST, code, &words))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As the interface shows it: its body, with its id and where it stands.
    pub(super) fn network_shown(&self, state: &ResourceState, kind: ResourceKind) -> Value {
        let key = (kind, state.name.to_ascii_lowercase());
        let mut shown = self.kept().networks.get(&key).cloned().unwrap_or_default();
        let word = match kind {
            ResourceKind::Firewall => "networkSecurityGroups",
            ResourceKind::Network
            | ResourceKind::Machine
            | ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Gateway
            | ResourceKind::Subnet => "virtualNetworks",
        };
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}");
        shown["id"] = json!(format!("{group}/providers/Microsoft.Network/{word}/{}", state.name));
        shown["name"] = json!(state.name);
        // https://learn.microsoft.com/rest/api/virtualnetwork/virtual-networks/get#provisioningstate
        shown["properties"]["provisioningState"] = json!(match &state.status {
            ResourceStatus::Pending => "Updating",
            ResourceStatus::Running | ResourceStatus::Stopped { .. } => "Succeeded",
            ResourceStatus::Deleting => "Deleting",
        });
        shown
    }

    fn network(&self, kind: ResourceKind, name: &str) -> Option<SimNetworkPart> {
        let named = |part: &SimNetworkPart| part.kind == kind && part.state.name.eq_ignore_ascii_case(name);
        self.cloud.networks().into_iter().find(named)
    }
}

/// Where an operation would be asked after. <https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations>
const OPERATION: &str = "https://management.azure.com/operations/1";

/// What the rules let in over TCP and UDP; or what Azure has against them.
/// <https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview#security-rules>
fn opened(rules: &Value) -> Result<((u16, u16), u16), String> {
    let rules = rules.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut priorities = Vec::new();
    let mut ports = ((0, 0), 0);
    for rule in rules.iter().map(|rule| &rule["properties"]) {
        let priority = rule["priority"].as_u64().unwrap_or_default();
        if !(100..=4096).contains(&priority) || priorities.contains(&priority) {
            return Err(format!("a rule's priority is {priority}"));
        }
        priorities.push(priority);
        let sources = [&rule["sourceAddressPrefix"], &rule["sourceAddressPrefixes"]];
        if sources.iter().filter(|source| !source.is_null()).count() != 1 {
            return Err("a rule has one source or several".to_owned());
        }
        if rule["access"] != "Allow" {
            continue;
        }
        let range = rule["destinationPortRange"].as_str().unwrap_or_default();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.parse().map_err(|_| format!("{range} is no range of ports"));
        match rule["protocol"].as_str() {
            Some("Tcp") => ports.0 = (port(first)?, port(last)?),
            Some("Udp") => ports.1 = port(first)?,
            Some(_) | None => return Err("a rule that lets in anything".to_owned()),
        }
    }
    Ok(ports)
}
