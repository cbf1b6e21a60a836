//! What Azure does with a request: who asks, is it one of the specification's, and then one function an operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{Provider, ProviderError, ResourceKind, ResourceState, Token};
use serde_json::{Value, json};

use super::answer::{self, Refused, refused};
use super::made::Made;
use super::model::{Matched, SKIP};
use super::{GROUP, SUBSCRIPTION, State, TOKEN};

pub(super) type Answer = Result<Response, Refused>;

/// A request, checked.
pub(super) struct Asked {
    matched: Matched,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    pub(super) fn name(&self, parameter: &str) -> &str {
        self.matched.parameters.get(parameter).map_or("", String::as_str)
    }

    fn expands(&self) -> bool {
        self.query.contains_key("$expand")
    }
}

/// Answers anything.
pub(super) async fn answer(
    Shared(state): Shared<Arc<State>>,
    (method, uri): (Method, Uri),
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = match state.admit((&method, uri.path()), (query, headers), body) {
        Ok(asked) => asked,
        Err(refused) => return refused.into_response(),
    };
    state.calls.count(&asked.matched.operation);
    if let Err(after) = state.door.pass(&asked.matched.operation) {
        return Refused::from(ProviderError::RateLimited { after: Some(after) }).into_response();
    }
    state.carry(&asked).await.unwrap_or_else(IntoResponse::into_response)
}

impl State {
    /// Who asks, for which version, and whether the specification has such a request.
    fn admit(
        &self,
        (method, path): (&Method, &str),
        (query, headers): (BTreeMap<String, String>, HeaderMap),
        body: Bytes,
    ) -> Result<Asked, Refused> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        // https://learn.microsoft.com/rest/api/azure/#create-the-request
        let token = bearer
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        if token != self.token() {
            // https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors
            let (code, words) = match token.starts_with(TOKEN) {
                true => (
                    "ExpiredAuthenticationToken",
                    "The access token expiry UTC time is earlier than current UTC time.",
                ),
                false => ("InvalidAuthenticationToken", "The access token is invalid."),
            };
            return Err(refused(StatusCode::UNAUTHORIZED, code, words));
        }
        if !query.contains_key("api-version") {
            let code = "MissingApiVersionParameter";
            return Err(self.violated(code, "the api-version query parameter is required".to_owned()));
        }
        let matched = self.model.check((method.as_str(), path), &query, &body);
        let matched = matched.map_err(|what| self.violated("InvalidRequestContent", what))?;
        let asked = Asked {
            matched,
            query,
            headers,
            body,
        };
        if !asked.name("subscriptionId").eq_ignore_ascii_case(SUBSCRIPTION) {
            return Err(refused(
                StatusCode::NOT_FOUND,
                "SubscriptionNotFound",
                "no such subscription",
            ));
        }
        let group = asked.name("resourceGroupName");
        if !group.is_empty() && !group.eq_ignore_ascii_case(GROUP) {
            return Err(refused(
                StatusCode::NOT_FOUND,
                "ResourceGroupNotFound",
                "no such resource group",
            ));
        }
        Ok(asked)
    }

    pub(super) fn violated(&self, code: &str, what: String) -> Refused {
        let answer = refused(StatusCode::BAD_REQUEST, code, &what);
        self.kept().violations.push(what);
        answer
    }

    async fn carry(&self, asked: &Asked) -> Answer {
        if let Some(answer) = self.of_others(asked) {
            return Ok(answer);
        }
        use ResourceKind::{Address, Disk, Firewall, Interface, Machine, Network};
        let group = (Firewall, asked.name("networkSecurityGroupName"));
        let network = (Network, asked.name("virtualNetworkName"));
        match asked.matched.operation.as_str() {
            "VirtualMachines_CreateOrUpdate" => self.put(asked).await,
            "VirtualMachines_Get" => self.get(asked, (Machine, "vmName")).await,
            "VirtualMachines_Delete" => self.delete((Machine, asked.name("vmName"))).await,
            "VirtualMachines_List" => self.list(asked, Machine).await,
            "Disks_Get" => self.get(asked, (Disk, "diskName")).await,
            "Disks_Delete" => self.delete((Disk, asked.name("diskName"))).await,
            "Disks_ListByResourceGroup" => self.list(asked, Disk).await,
            "NetworkInterfaces_Get" => self.get(asked, (Interface, "networkInterfaceName")).await,
            "NetworkInterfaces_Delete" => self.delete((Interface, asked.name("networkInterfaceName"))).await,
            "NetworkInterfaces_List" => self.list(asked, Interface).await,
            "PublicIPAddresses_Get" => self.get(asked, (Address, "publicIpAddressName")).await,
            "PublicIPAddresses_Delete" => self.delete((Address, asked.name("publicIpAddressName"))).await,
            "PublicIPAddresses_List" => self.list(asked, Address).await,
            "VirtualMachines_RetrieveBootDiagnosticsData" => self.console(asked).await,
            "NetworkSecurityGroups_CreateOrUpdate" => self.put_network(group, &asked.body).await,
            "NetworkSecurityGroups_Get" => self.get_network(group).await,
            "NetworkSecurityGroups_Delete" => self.delete_network(group).await,
            "NetworkSecurityGroups_List" => self.list(asked, Firewall).await,
            "VirtualNetworks_CreateOrUpdate" => self.put_network(network, &asked.body).await,
            "VirtualNetworks_Get" => self.get_network(network).await,
            "VirtualNetworks_Delete" => self.delete_network(network).await,
            "VirtualNetworks_List" => self.list(asked, Network).await,
            // Of these there is nothing but what others made.
            "VirtualMachineScaleSets_Get"
            | "SshPublicKeys_Get"
            | "Subnets_Get"
            | "SecurityRules_Get"
            | "RouteTables_Get"
            | "Routes_Get"
            | "NatGateways_Get" => Err(ProviderError::NotFound.into()),
            "ResourceSkus_List" => self.skus().await,
            "Usage_List" => self.usages().await,
            other => Err(self.violated("InvalidResourceType", format!("nobody carries {other} out"))),
        }
    }

    /// What others made, where it is asked for by its id, or deleted.
    fn of_others(&self, asked: &Asked) -> Option<Response> {
        let (_, verb) = asked.matched.operation.split_once('_')?;
        let id = asked.matched.path.to_ascii_lowercase();
        match verb {
            "Get" => self
                .kept()
                .others
                .get(&id)
                .cloned()
                .map(|resource| Json(resource).into_response()),
            "Delete" => self.kept().others.remove(&id).map(|_| deleting()),
            _ => None,
        }
    }

    /// <https://learn.microsoft.com/rest/api/compute/virtual-machines/create-or-update>
    async fn put(&self, asked: &Asked) -> Answer {
        let name = asked.name("vmName");
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let bad = |what: String| refused(StatusCode::BAD_REQUEST, "InvalidParameter", &what);
        let mut made = Made::of(group(), name, body).map_err(bad)?;
        // A PUT without it would change a machine that is there.
        if asked
            .headers
            .get(header::IF_NONE_MATCH)
            .is_none_or(|value| value != "*")
        {
            return Err(self.violated("InvalidRequestContent", "a PUT without If-None-Match: *".to_owned()));
        }
        self.check_disk(&made)?;
        let token = {
            let mut kept = self.kept();
            kept.puts += 1;
            Token(format!("put-{}", kept.puts))
        };
        let region = self.cloud_offerings();
        let card = &made.body["properties"]["networkProfile"]["networkInterfaceConfigurations"][0];
        let network = self.network_of(card).await?;
        let request = made
            .request(self.site.clone(), &region, (token, network))
            .map_err(bad)?;
        let lower = name.to_ascii_lowercase();
        match self.sim.create(&request).await {
            // "If-None-Match: Set to '*' to allow a new record set to be created, but to prevent updating an existing
            // record set." https://learn.microsoft.com/rest/api/compute/virtual-machines/create-or-update#uri-parameters
            Err(ProviderError::Conflict { .. }) => {
                let words = "The condition specified using HTTP conditional header(s) is not met.";
                return Err(refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", words));
            }
            // It may still come.
            Err(error @ ProviderError::OutcomeUnknown { .. }) => {
                self.kept().made.entry(lower).or_insert(made);
                return Err(error.into());
            }
            other => other.map_err(Refused::from)?,
        };
        {
            let mut kept = self.kept();
            made.failed = kept.fail_next.take();
            kept.made.insert(lower, made.clone());
        }
        let location = self.site.region.as_str();
        let operation = format!(
            "https://management.azure.com/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/{location}/operations/{name}"
        );
        let mut shown = made.body.clone();
        shown["name"] = json!(name);
        shown["properties"]["provisioningState"] = json!("Creating");
        Ok(answer::accepted(StatusCode::CREATED, &operation, Some(shown)))
    }

    /// "Disk ... already exists in resource group ... Only CreateOption.Attach is supported."
    /// <https://learn.microsoft.com/troubleshoot/azure/virtual-machines/error-messages>
    fn check_disk(&self, made: &Made) -> Result<(), Refused> {
        let alive = self.cloud.machines();
        let kept = self.kept();
        let taken = alive.iter().any(|machine| {
            let other = kept.made.get(&machine.state.name.to_ascii_lowercase());
            other.is_some_and(|other| !other.name.eq_ignore_ascii_case(&made.name) && other.disk == made.disk)
        });
        if !taken {
            return Ok(());
        }
        let words = format!("Disk {} already exists in resource group {GROUP}.", made.disk);
        Err(refused(StatusCode::CONFLICT, "ConflictingUserInput", &words))
    }

    async fn get(&self, asked: &Asked, (kind, parameter): (ResourceKind, &str)) -> Answer {
        let (made, handle) = self
            .find((kind, asked.name(parameter)))
            .ok_or(ProviderError::NotFound)?;
        let state = self.sim.get(&self.site, &handle).await?;
        let shown = match kind {
            ResourceKind::Machine => answer::machine(&made, &state, asked.expands()),
            ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Network
            | ResourceKind::Gateway
            | ResourceKind::Subnet
            | ResourceKind::Firewall => self.part(&made, kind, asked.expands()),
        };
        Ok(Json(shown).into_response())
    }

    /// 202 while there is something to delete, then 204.
    /// <https://learn.microsoft.com/rest/api/compute/virtual-machines/delete#response>
    async fn delete(&self, (kind, name): (ResourceKind, &str)) -> Answer {
        let Some((_, handle)) = self.find((kind, name)) else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        match self.sim.delete(&self.site, &handle, &Token(String::new())).await {
            Ok(()) => Ok(deleting()),
            Err(ProviderError::NotFound) => Ok(StatusCode::NO_CONTENT.into_response()),
            // https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-in-use
            Err(ProviderError::Conflict { .. }) => {
                let words = "Disk is attached to a virtual machine.";
                Err(refused(StatusCode::CONFLICT, "OperationNotAllowed", words))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Pages by name; the next link is whole and goes to us.
    /// <https://learn.microsoft.com/rest/api/azure/#async-operations-throttling-and-paging>
    async fn list(&self, asked: &Asked, kind: ResourceKind) -> Answer {
        let after = asked.query.get(SKIP).map(String::as_str).unwrap_or_default();
        let listed = self.sim.list_everyone(&self.site, kind, None).await?;
        let named = |state: &ResourceState| Some((self.name_of(kind, state)?, state.clone()));
        let mut named: Vec<(String, ResourceState)> = listed.items.iter().filter_map(named).collect();
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        named.retain(|(name, _)| name.as_str() > after);
        let more = named.len() > self.page_items;
        named.truncate(self.page_items);
        let last = named.last().map(|(name, _)| name.clone()).unwrap_or_default();
        let shown = named.iter().filter_map(|(_, state)| self.shown(kind, state));
        let shown: Vec<Value> = shown.collect();
        let mut page = json!({"value": shown});
        if more {
            let host = asked
                .headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default();
            let version = asked.query.get("api-version").map(String::as_str).unwrap_or_default();
            let path = asked.matched.path.as_str();
            page["nextLink"] = json!(format!("http://{host}{path}?api-version={version}&{SKIP}={last}"));
        }
        Ok(Json(page).into_response())
    }

    /// Only what Azure says of a size; its names are the simulated cloud's.
    /// <https://learn.microsoft.com/rest/api/compute/resource-skus/list>
    async fn skus(&self) -> Answer {
        let catalog = self.sim.catalog(&self.site).await?;
        let mut names: Vec<_> = catalog
            .offerings
            .iter()
            .map(|offering| offering.instance_type.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let sku = |name: &str| {
            let info = json!({"location": self.site.region, "zones": ["1", "2", "3"]});
            json!({"resourceType": "virtualMachines", "name": name, "locationInfo": [info], "restrictions": []})
        };
        let skus: Vec<Value> = names.into_iter().map(sku).collect();
        Ok(Json(json!({"value": skus})).into_response())
    }

    /// <https://learn.microsoft.com/rest/api/compute/usage/list>
    async fn usages(&self) -> Answer {
        let catalog = self.sim.catalog(&self.site).await?;
        let used = self.cloud.machines().len();
        let limit = used + usize::try_from(catalog.machines_left.unwrap_or(0)).unwrap_or(usize::MAX);
        let name = json!({"value": "virtualMachines", "localizedValue": "Virtual Machines"});
        let usage = json!({"unit": "Count", "currentValue": used, "limit": limit, "name": name});
        Ok(Json(json!({"value": [usage]})).into_response())
    }

    pub(super) fn cloud_offerings(&self) -> Vec<isobar_engine_model::catalog::Offering> {
        self.cloud.offerings(&self.site.region)
    }

    /// What a name of Azure's is in the simulated cloud.
    pub(super) fn find(&self, (kind, name): (ResourceKind, &str)) -> Option<(Made, ResourceHandle)> {
        let named = |state: &ResourceState| self.made(kind, state).filter(|made| called(made, kind, name));
        match kind {
            ResourceKind::Machine => {
                let machines = self.cloud.machines();
                machines
                    .iter()
                    .find_map(|machine| Some((named(&machine.state)?, machine.handle.clone())))
            }
            ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Network
            | ResourceKind::Gateway
            | ResourceKind::Subnet
            | ResourceKind::Firewall => {
                let parts = self.cloud.parts();
                let mut parts = parts.iter().filter(|part| part.kind == kind);
                parts.find_map(|part| Some((named(&part.state)?, part.state.handle.clone())))
            }
        }
    }

    /// The PUT that made something, or what Azure would show of what another client made.
    fn made(&self, kind: ResourceKind, state: &ResourceState) -> Option<Made> {
        let name = match kind {
            ResourceKind::Machine => state.name.as_str(),
            ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Network
            | ResourceKind::Gateway
            | ResourceKind::Subnet
            | ResourceKind::Firewall => state.name.strip_suffix(kind.name())?.strip_suffix('-')?,
        };
        let kept = self.kept().made.get(&name.to_ascii_lowercase()).cloned();
        let made = kept.or_else(|| self.elsewhere(name))?;
        // The simulated cloud gives every machine an address.
        (kind != ResourceKind::Address || made.address.is_some()).then_some(made)
    }

    /// A machine that nobody asked for here.
    fn elsewhere(&self, name: &str) -> Option<Made> {
        let machines = self.cloud.machines();
        let machine = machines.iter().find(|machine| machine.state.name == name)?;
        let offerings = self.cloud_offerings();
        let rented = offerings
            .iter()
            .find(|offering| Some(&offering.id) == machine.state.offering.as_ref());
        Some(Made::elsewhere(group(), &machine.state, rented?))
    }

    fn name_of(&self, kind: ResourceKind, state: &ResourceState) -> Option<String> {
        if kind.is_network() {
            return Some(state.name.clone());
        }
        let made = self.made(kind, state)?;
        Some(name_in(&made, kind)?.to_owned())
    }

    fn shown(&self, kind: ResourceKind, state: &ResourceState) -> Option<Value> {
        if kind.is_network() {
            return Some(self.network_shown(state, kind));
        }
        let made = self.made(kind, state)?;
        Some(match kind {
            // "The list shows no instance view." https://learn.microsoft.com/rest/api/compute/virtual-machines/list
            ResourceKind::Machine => answer::machine(&made, state, false),
            ResourceKind::Disk
            | ResourceKind::Interface
            | ResourceKind::Address
            | ResourceKind::Network
            | ResourceKind::Gateway
            | ResourceKind::Subnet
            | ResourceKind::Firewall => self.part(&made, kind, false),
        })
    }

    fn part(&self, made: &Made, kind: ResourceKind, expanded: bool) -> Value {
        let machines = self.cloud.machines();
        let machine = machines
            .iter()
            .find(|machine| machine.state.name.eq_ignore_ascii_case(&made.name));
        let endpoint = machine.and_then(|machine| machine.state.endpoints.values().next());
        let private = endpoint.and_then(|endpoint| endpoint.split(':').next());
        let told = self.kept().addresses.get(&made.name.to_ascii_lowercase()).copied();
        let public = told.map(|told| told.to_string()).or_else(|| answer::public(private));
        match (kind, &made.address) {
            (ResourceKind::Interface, _) => answer::card(made, (private, public), expanded),
            (ResourceKind::Address, Some(name)) => answer::address(made, name, public),
            (
                ResourceKind::Disk
                | ResourceKind::Machine
                | ResourceKind::Address
                | ResourceKind::Network
                | ResourceKind::Gateway
                | ResourceKind::Subnet
                | ResourceKind::Firewall,
                _,
            ) => answer::disk(made),
        }
    }
}

fn deleting() -> Response {
    let operation = "https://management.azure.com/operations/1";
    answer::accepted(StatusCode::ACCEPTED, operation, None)
}

/// The id of the only resource group.
fn group() -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}")
}

fn name_in(made: &Made, kind: ResourceKind) -> Option<&str> {
    match kind {
        ResourceKind::Machine => Some(&made.name),
        ResourceKind::Disk => Some(&made.disk),
        ResourceKind::Interface => Some(&made.card),
        ResourceKind::Address => made.address.as_deref(),
        ResourceKind::Network | ResourceKind::Gateway | ResourceKind::Subnet | ResourceKind::Firewall => None,
    }
}

fn called(made: &Made, kind: ResourceKind, name: &str) -> bool {
    name_in(made, kind).is_some_and(|known| known.eq_ignore_ascii_case(name))
}
