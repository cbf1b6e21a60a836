//! What EC2 shows of machines and their parts. What is hidden or late is the simulated cloud's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::id::{ClusterName, ResourceHandle};
use isobar_engine_provider::{
    Console, Owner, Provider, ProviderError, ResourceKind, ResourceState, ResourceStatus, labels,
};

use super::answer::{Answer, Failure, element, set};
use super::params::Params;
use super::run::{self, id_of, inner, tags_of};
use super::{Account, time};

/// A machine of the simulated cloud shows its address with a port; any will do.
pub(super) const PORT: (u16, u16) = (1, 1);
/// "The maximum number of items": <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>
const MAX_RESULTS: std::ops::RangeInclusive<usize> = 5..=1000;

/// Ids of a kind begin so: EC2's, and the simulated cloud's.
pub(super) fn prefixes(kind: ResourceKind) -> (&'static str, &'static str) {
    match kind {
        ResourceKind::Machine => ("i-", "sim-"),
        ResourceKind::Disk => ("vol-", "sim-disk-"),
        ResourceKind::Interface => ("eni-", "sim-interface-"),
        ResourceKind::Address => ("eipalloc-", "sim-address-"),
        ResourceKind::Network => ("vpc-", "sim-network-"),
        ResourceKind::Gateway => ("igw-", "sim-gateway-"),
        ResourceKind::Subnet => ("subnet-", "sim-subnet-"),
        ResourceKind::Firewall => ("sg-", "sim-firewall-"),
    }
}

/// What EC2 calls a resource of the simulated cloud.
pub(super) fn outer(handle: &ResourceHandle, kind: ResourceKind) -> Option<String> {
    let (prefix, sim) = prefixes(kind);
    let serial: u32 = handle.as_str().strip_prefix(sim)?.parse().ok()?;
    Some(format!("{prefix}{serial:017x}"))
}

pub(super) async fn instances(account: &Account, params: &Params) -> Result<Answer, Failure> {
    let ids = params.list("InstanceId");
    let (items, next) = if ids.is_empty() {
        let states = listed(account, ResourceKind::Machine, params).await?;
        let items = states
            .iter()
            .map(|state| instance(account, state))
            .collect::<Result<Vec<_>, _>>()?;
        paged(account, params, items)?
    } else {
        if params.text("MaxResults").is_some() {
            let both = "The parameter instancesSet cannot be used with the parameter maxResults";
            return Err(Failure::client("InvalidParameterCombination", both));
        }
        let mut items = Vec::new();
        for id in ids {
            items.push(one(account, id).await?);
        }
        (items, String::new())
    };
    // Each machine is a reservation of its own, since each create makes one.
    let reservations = items
        .into_iter()
        .map(|item| format!("{}{}", element("reservationId", "r-0"), set("instancesSet", [item])));
    Ok(Answer {
        action: "DescribeInstances".to_owned(),
        inner: format!("{}{next}", set("reservationSet", reservations)),
    })
}

async fn one(account: &Account, id: &str) -> Result<String, Failure> {
    let handle = inner(id, ResourceKind::Machine).ok_or_else(|| Failure::client("InvalidInstanceID.Malformed", id))?;
    match account.provider.get(&account.site()?, &handle).await {
        Ok(state) => instance(account, &state),
        // "Terminated instances remain visible after termination (for approximately one hour)":
        // <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html>
        Err(ProviderError::NotFound | ProviderError::Gone) if was(account, &handle) => {
            let state = state_element("terminated");
            Ok(format!(
                "{}<instanceState>{state}</instanceState>",
                element("instanceId", id)
            ))
        }
        Err(error) => Err(Failure::of(
            error,
            "InvalidInstanceID.NotFound",
            "IncorrectInstanceState",
        )),
    }
}

/// Whether there was such a machine, and is no more.
pub(super) fn was(account: &Account, handle: &ResourceHandle) -> bool {
    account.cloud.request_of(handle).is_some() && account.cloud.machine(handle).is_none()
}

/// What the filters let through. Filters that no call of ours has are refused.
pub(super) async fn listed(
    account: &Account,
    kind: ResourceKind,
    params: &Params,
) -> Result<Vec<ResourceState>, Failure> {
    let invalid = |what: &str| Failure::client("InvalidParameterValue", &format!("The filter '{what}' is invalid"));
    let (mut store, mut cluster, mut states) = (None, None, None);
    for (name, values) in params.filters() {
        let value = values.first().copied().unwrap_or_default();
        match name.strip_prefix("tag:") {
            Some(labels::STORE) => store = Some(value.to_owned()),
            Some(labels::CLUSTER) => cluster = Some(ClusterName::new(value).map_err(|_| invalid(value))?),
            // The simulated cloud lists nothing that is terminated.
            None if name == "instance-state-name" && !values.contains(&"terminated") => states = Some(values),
            Some(_) | None => return Err(invalid(name)),
        }
    }
    let site = account.site()?;
    let listing = match (store, cluster) {
        (Some(store), Some(cluster)) => {
            account
                .provider
                .list(&site, kind, &Owner { store, cluster }, None)
                .await
        }
        (None, None) => account.provider.list_everyone(&site, kind, None).await,
        (Some(_), None) | (None, Some(_)) => return Err(invalid("of an owner")),
    };
    let listing = listing.map_err(|error| Failure::of(error, "InvalidParameterValue", "InvalidParameterValue"))?;
    let mut items = listing.items;
    items.retain(|state| {
        states
            .as_ref()
            .is_none_or(|names| names.contains(&self::state(&state.status)))
    });
    Ok(items)
}

/// A page of the items, and the token of the next. A page may hold fewer than were asked for.
pub(super) fn paged(account: &Account, params: &Params, items: Vec<String>) -> Result<(Vec<String>, String), Failure> {
    let asked = params.text("MaxResults").map_or(Some(1000), |text| text.parse().ok());
    let asked = asked.filter(|asked| MAX_RESULTS.contains(asked));
    let asked = asked.ok_or_else(|| Failure::client("InvalidParameterValue", "MaxResults is from 5 to 1000"))?;
    let from = params
        .text("NextToken")
        .map_or(Some(0), |token| token.strip_prefix("from-")?.parse().ok());
    let from: usize = from.ok_or_else(|| Failure::client("InvalidNextToken", "no such token"))?;
    let to = from + asked.min(account.page_max);
    let next = if to < items.len() {
        element("nextToken", &format!("from-{to}"))
    } else {
        String::new()
    };
    Ok((items.into_iter().take(to).skip(from).collect(), next))
}

/// Where a machine is on the internet, if it asked to be and somebody has said it.
fn public_address(account: &Account, state: &ResourceState) -> Option<Ipv4Addr> {
    let asked = run::asked(account, &state.handle)?;
    let known = account.addresses.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(&state.handle).copied().filter(|_| asked.public_address)
}

/// One machine, in EC2's words.
pub(super) fn instance(account: &Account, state: &ResourceState) -> Result<String, Failure> {
    let address = state
        .endpoints
        .get(&PORT.0)
        .and_then(|endpoint| endpoint.split(':').next());
    let tags = tags_of(account, state);
    let reason = match &state.status {
        ResourceStatus::Stopped { reason } => format!("<stateReason>{}</stateReason>", element("message", reason)),
        ResourceStatus::Pending | ResourceStatus::Running | ResourceStatus::Deleting => String::new(),
    };
    Ok([
        element("instanceId", &id_of(&state.handle, ResourceKind::Machine)?),
        format!(
            "<instanceState>{}</instanceState>",
            state_element(self::state(&state.status))
        ),
        element("launchTime", &time::iso(state.created)),
        address
            .map(|address| element("privateIpAddress", address))
            .unwrap_or_default(),
        public_address(account, state)
            .map(|address| element("ipAddress", &address.to_string()))
            .unwrap_or_default(),
        element("clientToken", &state.name),
        rented_as(state),
        reason,
        tag_set(&tags),
    ]
    .concat())
}

/// Its type, its zone, and whether it is a spot machine: the simulated cloud names offerings `t3.small@eu-central-1a:spot`.
fn rented_as(state: &ResourceState) -> String {
    let Some((instance_type, rest)) = state.offering.as_ref().and_then(|id| id.as_str().split_once('@')) else {
        return String::new();
    };
    let (zone, lifecycle) = match rest.split_once(':') {
        Some((zone, lifecycle)) => (zone, element("instanceLifecycle", lifecycle)),
        None => (rest, String::new()),
    };
    let place = element("availabilityZone", zone);
    format!(
        "{}<placement>{place}</placement>{lifecycle}",
        element("instanceType", instance_type)
    )
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html>
pub(super) fn state(status: &ResourceStatus) -> &'static str {
    match status {
        ResourceStatus::Pending => "pending",
        ResourceStatus::Running => "running",
        ResourceStatus::Stopped { .. } => "stopped",
        ResourceStatus::Deleting => "shutting-down",
    }
}

pub(super) fn state_element(name: &str) -> String {
    let code = match name {
        "pending" => "0",
        "running" => "16",
        "shutting-down" => "32",
        "terminated" => "48",
        _ => "80",
    };
    format!("{}{}", element("code", code), element("name", name))
}

pub(super) fn tag_set(tags: &BTreeMap<String, String>) -> String {
    set(
        "tagSet",
        tags.iter()
            .map(|(key, value)| format!("{}{}", element("key", key), element("value", value))),
    )
}

/// The tags that follow from whose a resource is, and its name.
pub(super) fn labels_of(state: &ResourceState) -> BTreeMap<String, String> {
    let labels = state.tags.as_ref().map(|tags| tags.labels()).unwrap_or_default();
    let mut tags: BTreeMap<String, String> = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    tags.insert("Name".to_owned(), state.name.clone());
    tags
}

/// Disks and interfaces: a list by tag, or one by its id.
pub(super) async fn parts(account: &Account, action: &str, params: &Params) -> Result<Answer, Failure> {
    let (kind, ids, missing, outer_set) = match action {
        "DescribeVolumes" => (ResourceKind::Disk, "VolumeId", "InvalidVolume.NotFound", "volumeSet"),
        _ => (
            ResourceKind::Interface,
            "NetworkInterfaceId",
            "InvalidNetworkInterfaceID.NotFound",
            "networkInterfaceSet",
        ),
    };
    let mut items = Vec::new();
    let states = match params.list(ids).first() {
        Some(id) => {
            let handle = inner(id, kind).ok_or_else(|| Failure::client(missing, id))?;
            let state = account.provider.get(&account.site()?, &handle).await;
            vec![state.map_err(|error| Failure::of(error, missing, missing))?]
        }
        None => listed(account, kind, params).await?,
    };
    for state in &states {
        items.push(part(state, kind)?);
    }
    let (items, next) = paged(account, params, items)?;
    Ok(Answer {
        action: action.to_owned(),
        inner: format!("{}{next}", set(outer_set, items)),
    })
}

fn part(state: &ResourceState, kind: ResourceKind) -> Result<String, Failure> {
    let tags = labels_of(state);
    let id = id_of(&state.handle, kind)?;
    Ok(match kind {
        ResourceKind::Disk => {
            let status = if state.status == ResourceStatus::Deleting {
                "deleting"
            } else {
                "in-use"
            };
            let created = element("createTime", &time::iso(state.created));
            format!(
                "{}{}{created}{}",
                element("volumeId", &id),
                element("status", status),
                tag_set(&tags)
            )
        }
        ResourceKind::Machine
        | ResourceKind::Interface
        | ResourceKind::Address
        | ResourceKind::Network
        | ResourceKind::Gateway
        | ResourceKind::Subnet
        | ResourceKind::Firewall => {
            format!("{}{}", element("networkInterfaceId", &id), tag_set(&tags))
        }
    })
}

/// "Returns the most recent 64 KB", in base64:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
pub(super) async fn console(account: &Account, params: &Params) -> Result<Answer, Failure> {
    let id = params.text("InstanceId").unwrap_or_default();
    let handle = inner(id, ResourceKind::Machine).ok_or_else(|| Failure::client("InvalidInstanceID.Malformed", id))?;
    let printed = Console::read(&account.provider, &account.site()?, &handle, 0).await;
    let printed =
        printed.map_err(|error| Failure::of(error, "InvalidInstanceID.NotFound", "IncorrectInstanceState"))?;
    let output = element("output", &STANDARD.encode(printed.bytes));
    Ok(Answer {
        action: "GetConsoleOutput".to_owned(),
        inner: format!("{}{output}", element("instanceId", id)),
    })
}
