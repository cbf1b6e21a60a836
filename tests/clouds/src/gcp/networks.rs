//! Parts of networks: made, shown, deleted, each by itself and by an operation. What is in what, the simulated cloud says,
//! which is asked under a part's path for its name.
//!
//! <https://cloud.google.com/compute/docs/reference/rest/v1/networks>, `subnetworks`, `routers` and `firewalls`.

use std::collections::BTreeMap;

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{
    CreateResource, Network, NetworkPart, NetworkRequest, Networks as _, OwnerTags, Provider as _, ProviderError,
    ResourceKind, ResourceSpec, Token,
};
use serde_json::{Value, json};

use super::answers::Refusal;
use super::instances::is_uuid;
use super::model::Call;
use super::operations::{self, Failure};
use super::{PROJECT, REGION, Shared, render};

/// What came before anybody asked has been there since then.
const BEFORE: Timestamp = Timestamp(0);

/// Which kind, in Google's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Network,
    Subnetwork,
    Router,
    Firewall,
}

/// What is done with one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    Insert,
    Get,
    Delete,
    List,
}

/// One part.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) kind: Kind,
    /// Without the project: `global/networks/nodes`.
    pub(super) path: String,
    pub(super) body: Value,
    /// Whether the simulated cloud was asked for it; else it was there before.
    asked: bool,
    /// When the operation that makes it is over.
    ready: Timestamp,
    /// When the operation that deletes it is over.
    gone: Option<Timestamp>,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Network, Self::Subnetwork, Self::Router, Self::Firewall];

    /// Its name, of which the collection's is the plural.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Subnetwork => "subnetwork",
            Self::Router => "router",
            Self::Firewall => "firewall",
        }
    }

    fn simulated(self) -> ResourceKind {
        match self {
            Self::Network => ResourceKind::Network,
            Self::Subnetwork => ResourceKind::Subnet,
            Self::Router => ResourceKind::Gateway,
            Self::Firewall => ResourceKind::Firewall,
        }
    }

    fn of(collection: &str) -> Option<Self> {
        let word = collection.strip_suffix('s')?;
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl Part {
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The path of the network that it is in; absent: it is one, or in none.
    pub(super) fn network(&self) -> Option<String> {
        self.body["network"].as_str().map(path)
    }
}

/// What a method does with which kind; absent: it is about something else.
pub(super) fn called(method: &str) -> Option<(Kind, Verb)> {
    let (collection, verb) = method.split_once('.')?;
    let verb = match verb {
        "insert" => Verb::Insert,
        "get" => Verb::Get,
        "delete" => Verb::Delete,
        "list" => Verb::List,
        _ => return None,
    };
    Some((Kind::of(collection)?, verb))
}

/// The path in the project, of a reference in any of Google's spellings.
fn path(reference: &str) -> String {
    let project = format!("projects/{PROJECT}/");
    match reference.split_once(&project) {
        Some((_, path)) => path.to_owned(),
        None => reference.to_owned(),
    }
}

impl Shared {
    /// Puts in what nobody asked for here.
    pub(super) fn add_part(&self, path: &str, fields: Value) {
        let mut parts = path.rsplit('/');
        let (name, collection) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut body = fields;
        body["name"] = json!(name);
        let part = Part {
            kind: Kind::of(collection).expect("a collection of parts"),
            path: path.to_owned(),
            body,
            asked: false,
            ready: BEFORE,
            gone: None,
        };
        self.known().parts.insert(path.to_owned(), part);
    }

    /// What was deleted is gone when its operation is over.
    pub(super) fn settle(&self) {
        let now = self.clock.now();
        let over = |part: &Part| part.gone.is_some_and(|gone| gone <= now);
        let gone: Vec<Part> = {
            let mut known = self.known();
            let gone = known.parts.values().filter(|part| over(part)).cloned().collect();
            known.parts.retain(|_, part| !over(part));
            gone
        };
        for part in gone {
            if let Some(handle) = self.simulated(&part) {
                self.cloud.remove_network(&handle);
            }
        }
    }

    pub(super) async fn of_network(
        &self,
        call: &Call,
        body: &Value,
        (kind, verb): (Kind, Verb),
    ) -> Result<Value, Refusal> {
        if !["", REGION].contains(&call.get("region")) {
            return Err(Refusal::not_found(&format!("regions/{}", call.get("region"))));
        }
        match verb {
            Verb::Insert => self.insert_part(call, body, kind).await,
            Verb::Get => {
                let part = self.part(call, kind)?;
                self.seen_part(&part).await
            }
            Verb::Delete => self.delete_part(call, kind).await,
            Verb::List => self.parts(call, kind).await,
        }
    }

    async fn insert_part(&self, call: &Call, body: &Value, kind: Kind) -> Result<Value, Refusal> {
        let (id, now) = (call.get("requestId"), self.clock.now());
        is_uuid(id)?;
        if let Some(earlier) = self.known().operations.of_request(id) {
            return Ok(earlier.at(now));
        }
        let target = format!("{}s/{}", kind.word(), body["name"].as_str().unwrap_or_default());
        let scope = operations::scope(call);
        let part = Part {
            kind,
            path: format!("{scope}/{target}"),
            body: body.clone(),
            asked: true,
            ready: operations::done(now),
            gone: None,
        };
        let what = format!("projects/{PROJECT}/{}", part.path);
        if self.known().parts.get(&part.path).is_some_and(|there| !there.asked) {
            return Err(Refusal::exists(&what));
        }
        let request = self.part_request(&part, id)?;
        // An answer that is lost below has made it all the same.
        self.known()
            .parts
            .entry(part.path.clone())
            .or_insert_with(|| part.clone());
        let failure = match self.client.create(&request).await {
            Ok(_) => None,
            // As of instances.
            Err(ProviderError::QuotaExceeded { message }) => Some(Failure {
                code: "QUOTA_EXCEEDED",
                status: (403, "FORBIDDEN"),
                message,
            }),
            Err(ProviderError::Conflict { .. }) => return Err(Refusal::exists(&what)),
            Err(other) => return Err(Refusal::of(other, &what)),
        };
        // Of those who sent the same at the same time, one is first.
        let mut known = self.known();
        let earlier = known.operations.of_request(id).cloned();
        let start = ("insert", scope, target);
        let operation = earlier.unwrap_or_else(|| known.operations.start(start, id, now, failure));
        Ok(operation.at(now))
    }

    /// The request as the simulated cloud takes it.
    fn part_request(&self, part: &Part, id: &str) -> Result<CreateResource, Refusal> {
        let said = part.body["description"].as_str().unwrap_or_default();
        let said: BTreeMap<String, String> = serde_json::from_str(said).unwrap_or_default();
        let tags = OwnerTags::of_labels(|key| said.get(key).map(String::as_str));
        let tags = tags.ok_or_else(|| Refusal::invalid("a description of ours is missing"))?;
        let mut within = Network::new();
        if let Some(network) = part.network() {
            let network = self.usable(&network)?;
            within.extend(self.simulated(&network).map(|handle| (ResourceKind::Network, handle)));
        }
        Ok(CreateResource {
            site: self.site(),
            name: part.path.clone(),
            token: Token(id.to_owned()),
            tags,
            spec: ResourceSpec::Network(NetworkRequest {
                part: NetworkPart {
                    kind: part.kind.simulated(),
                    zone: None,
                },
                within,
                open_ports: (0, 0),
                overlay_port: 0,
            }),
        })
    }

    async fn delete_part(&self, call: &Call, kind: Kind) -> Result<Value, Refusal> {
        let part = self.part(call, kind)?;
        let what = format!("projects/{PROJECT}/{}", part.path);
        let Some(handle) = self.simulated(&part) else {
            let fault = vec![format!("{what} was there before: who deletes it?")];
            return Err(self.fault(call, fault));
        };
        let now = self.clock.now();
        let deleted = self.client.delete(&self.site(), &handle, &Token(what.clone())).await;
        let failure = match (deleted, kind) {
            (Ok(()), _) => None,
            // "Operation error: The network resource '...' is already being used by '...'": genevieve/leftovers 6, and with its
            // status kubernetes/kops 13855.
            (Err(ProviderError::NotReady { .. }), Kind::Network) => Some(Failure {
                code: "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
                status: (400, "BAD REQUEST"),
                message: format!("The network resource '{what}' is already being used"),
            }),
            (Err(ProviderError::NotReady { .. }), Kind::Subnetwork | Kind::Router | Kind::Firewall) => {
                return Err(Refusal::used(&what));
            }
            (Err(other), _) => return Err(Refusal::of(other, &what)),
        };
        let mut known = self.known();
        let target = format!("{}s/{}", kind.word(), part.name());
        let start = ("delete", operations::scope(call), target);
        let operation = known.operations.start(start, "", now, failure.clone());
        if let (None, Some(part)) = (failure, known.parts.get_mut(&part.path)) {
            part.gone.get_or_insert(operation.done());
        }
        Ok(operation.at(now))
    }

    /// All of a kind that are seen now and wanted, by name.
    pub(super) async fn seen_parts(&self, kind: Kind, wanted: impl Fn(&Part) -> bool) -> Result<Vec<Value>, Refusal> {
        let parts: Vec<Part> = {
            let known = self.known();
            let of_kind = known.parts.values().filter(|part| part.kind == kind && wanted(part));
            of_kind.cloned().collect()
        };
        let mut seen = Vec::new();
        for part in &parts {
            match self.seen_part(part).await {
                Ok(shown) => seen.push(shown),
                Err(Refusal::Error { status: 404, .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(seen)
    }

    /// A part as it is seen now.
    async fn seen_part(&self, part: &Part) -> Result<Value, Refusal> {
        if !part.asked {
            return Ok(render::part(part, "1", part.ready));
        }
        let what = format!("projects/{PROJECT}/{}", part.path);
        let handle = self.simulated(part).ok_or_else(|| Refusal::not_found(&what))?;
        let state = self.client.get(&self.site(), &handle).await;
        let state = state.map_err(|error| Refusal::of(error, &what))?;
        Ok(render::part(part, &render::id(&state), state.created))
    }

    /// The part that a call names.
    fn part(&self, call: &Call, kind: Kind) -> Result<Part, Refusal> {
        let path = format!("{}/{}s/{}", operations::scope(call), kind.word(), call.get(kind.word()));
        self.there(&path)
    }

    fn there(&self, path: &str) -> Result<Part, Refusal> {
        let part = self.known().parts.get(path).cloned();
        part.filter(|part| !part.asked || self.simulated(part).is_some())
            .ok_or_else(|| Refusal::not_found(&format!("projects/{PROJECT}/{path}")))
    }

    /// The part with a path, to make something in it.
    fn usable(&self, path: &str) -> Result<Part, Refusal> {
        let part = self.there(path)?;
        if self.clock.now() < part.ready {
            return Err(Refusal::not_ready(&format!("projects/{PROJECT}/{path}")));
        }
        Ok(part)
    }

    /// What the simulated cloud calls a part; absent: it does not have it.
    fn simulated(&self, part: &Part) -> Option<ResourceHandle> {
        let simulated = self.cloud.networks().into_iter().filter(|_| part.asked);
        let mut of_path = simulated.filter(|there| there.state.name == part.path);
        of_path.next().map(|there| there.state.handle)
    }

    /// What an instance's card is connected to, as the simulated cloud calls it. Nothing of what was there before.
    pub(super) async fn connected(&self, body: &Value) -> Result<Network, Refusal> {
        let card = &body["networkInterfaces"][0];
        let named = |word: &str| card[word].as_str().map(path);
        let subnetwork = named("subnetwork").map(|path| self.usable(&path)).transpose()?;
        let of_subnetwork = subnetwork.as_ref().and_then(Part::network);
        let network = match (named("network"), of_subnetwork) {
            // The message: hashicorp/terraform-provider-google 7895.
            (Some(network), Some(other)) if network != other => {
                let message = format!("Subnetwork of \"{other}\" is not valid for Network \"{network}\".");
                return Err(Refusal::invalid(&message));
            }
            (Some(network), _) | (None, Some(network)) => self.usable(&network)?,
            (None, None) => self.usable("global/networks/default")?,
        };
        // `NetworkInterface.subnetwork` of the discovery document: "If the network is in custom subnet mode, specifying the
        // subnetwork is required."
        if subnetwork.is_none() && network.body["autoCreateSubnetworks"] == false {
            let message = "Network interface must specify a subnet if the network resource is in custom subnet mode.";
            return Err(Refusal::invalid(message));
        }
        let mut connected = Network::new();
        for part in [Some(network), subnetwork].into_iter().flatten() {
            if let Some(handle) = self.simulated(&part) {
                self.connect(&part, &handle).await?;
                connected.insert(part.kind.simulated(), handle);
            }
        }
        Ok(connected)
    }

    /// Its operation is over: it is ready for use.
    async fn connect(&self, part: &Part, handle: &ResourceHandle) -> Result<(), Refusal> {
        let there = self
            .cloud
            .networks()
            .into_iter()
            .find(|there| there.state.handle == *handle);
        let Some(ResourceSpec::Network(wanted)) = there.map(|there| there.request.spec.clone()) else {
            return Err(Refusal::not_found(&part.path));
        };
        let connected = self.client.connect(&self.site(), handle, &wanted).await;
        connected.map_err(|error| Refusal::of(error, &part.path))
    }
}
