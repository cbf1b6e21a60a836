//! Networks: VPCs with gateways, routes, subnets and security groups. What there is is the simulated cloud's; what is
//! attached, routed and opened is kept here. The account has a default VPC, unless a test takes it away.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/how-it-works.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use isobar_engine_model::id::{ResourceHandle, Zone};
use isobar_engine_provider::{
    CreateResource, Network, NetworkPart, NetworkRequest, OwnerTags, Provider, ProviderError, ResourceKind,
    ResourceSpec, ResourceState, ResourceStatus, Token,
};
use isobar_providers_sim::SimNetworkPart;

use super::Account;
use super::answer::{Answer, Failure, element, set};
use super::look::{self, outer, paged};
use super::params::Params;
use super::run::inner;

/// The account's default VPC. Its subnets and its default group need no name.
pub const DEFAULT_VPC: &str = "vpc-0defa0170defa0170";
/// "Your default security group allows ... 60 inbound rules":
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
const RULES_MAX: usize = 60;

/// How networks are wired.
#[derive(Default)]
pub(super) struct Wires(Mutex<Wired>);

#[derive(Default)]
struct Wired {
    without_default: bool,
    /// The VPC of each gateway.
    attached: BTreeMap<String, String>,
    /// The gateway to which a VPC's main route table sends what is for the internet.
    routed: BTreeMap<String, String>,
    /// What each group lets in.
    rules: BTreeMap<String, BTreeSet<String>>,
}

impl Wires {
    fn of(&self) -> MutexGuard<'_, Wired> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_default(&self) {
        self.of().without_default = true;
    }

    pub(super) fn rules(&self, group: &str) -> BTreeSet<String> {
        self.of().rules.get(group).cloned().unwrap_or_default()
    }

    /// Whether what leaves a VPC gets to the internet.
    pub(super) fn is_routed(&self, network: &str) -> bool {
        let wired = self.of();
        let gateway = wired.routed.get(network);
        gateway.is_some_and(|gateway| wired.attached.get(gateway).is_some_and(|attached| attached == network))
    }
}

/// Of one kind: what EC2 calls it.
struct Words {
    kind: ResourceKind,
    id: &'static str,
    missing: &'static str,
    set: &'static str,
    tagged: &'static str,
}

fn words(action: &str) -> Option<Words> {
    let of = |kind, [id, missing, set, tagged]: [&'static str; 4]| Words {
        kind,
        id,
        missing,
        set,
        tagged,
    };
    let noun = action.trim_start_matches("Create").trim_start_matches("Delete");
    let noun = noun.trim_start_matches("Describe").trim_end_matches('s');
    Some(match noun {
        "Vpc" => of(
            ResourceKind::Network,
            ["VpcId", "InvalidVpcID.NotFound", "vpcSet", "vpc"],
        ),
        "InternetGateway" => of(
            ResourceKind::Gateway,
            [
                "InternetGatewayId",
                "InvalidInternetGatewayID.NotFound",
                "internetGatewaySet",
                "internet-gateway",
            ],
        ),
        "Subnet" => of(
            ResourceKind::Subnet,
            ["SubnetId", "InvalidSubnetID.NotFound", "subnetSet", "subnet"],
        ),
        "SecurityGroup" => of(
            ResourceKind::Firewall,
            [
                "GroupId",
                "InvalidGroup.NotFound",
                "securityGroupInfo",
                "security-group",
            ],
        ),
        _ => return None,
    })
}

/// Answers a call about networks; absent: it is about something else.
pub(super) async fn answer(account: &Account, action: &str, params: &Params) -> Option<Result<Answer, Failure>> {
    let inner = match (action, words(action)) {
        ("AttachInternetGateway", _) => attach(account, params),
        ("DetachInternetGateway", _) => detach(account, params),
        ("DescribeRouteTables", _) => tables(account, params),
        ("CreateRoute", _) => route(account, params),
        ("AuthorizeSecurityGroupIngress", _) => authorize(account, params),
        (_, Some(words)) if action.starts_with("Create") => create(account, &words, params).await,
        (_, Some(words)) if action.starts_with("Delete") => delete(account, &words, params).await,
        (_, Some(words)) => describe(account, &words, params).await,
        (_, None) => return None,
    };
    let action = action.to_owned();
    Some(inner.map(|inner| Answer { action, inner }))
}

/// What a machine or a part is made in, of the ids that a call names: the default VPC is no part of the simulated cloud.
pub(super) fn within(account: &Account, ids: &[(ResourceKind, Option<&str>)]) -> Result<Network, Failure> {
    let mut network = Network::new();
    for (kind, id) in ids {
        let Some(id) = id else { continue };
        if *id == DEFAULT_VPC && !account.wires.of().without_default {
            continue;
        }
        network.insert(*kind, there(account, *kind, id)?);
    }
    Ok(network)
}

/// A part that is there and seen.
fn there(account: &Account, kind: ResourceKind, id: &str) -> Result<ResourceHandle, Failure> {
    let missing = match kind {
        ResourceKind::Network => "InvalidVpcID.NotFound",
        ResourceKind::Gateway => "InvalidInternetGatewayID.NotFound",
        ResourceKind::Subnet => "InvalidSubnetID.NotFound",
        ResourceKind::Firewall
        | ResourceKind::Machine
        | ResourceKind::Disk
        | ResourceKind::Interface
        | ResourceKind::Address => "InvalidGroup.NotFound",
    };
    let gone = || Failure::client(missing, &format!("The ID '{id}' does not exist"));
    let handle = inner(id, kind).ok_or_else(gone)?;
    let parts = account.cloud.networks();
    let known = parts.iter().any(|part| part.state.handle == handle);
    known.then_some(handle).ok_or_else(gone)
}

async fn create(account: &Account, words: &Words, params: &Params) -> Result<String, Failure> {
    let invalid = |message: &str| Failure::client("InvalidParameterValue", message);
    let tags = params.tags_of(words.tagged);
    let tags = OwnerTags::of_labels(|key| tags.get(key).map(String::as_str));
    let mut site = account.site()?;
    site.settings = params.0.clone();
    // Names are not unique in EC2, but for a group's in its VPC.
    let name = params.text("GroupName").unwrap_or_default().to_owned();
    if words.kind == ResourceKind::Firewall {
        unique(account, &name, params)?;
    }
    if words.kind == ResourceKind::Subnet {
        apart(account, params)?;
    }
    let request = CreateResource {
        site,
        name,
        token: Token(String::new()),
        tags: tags.ok_or_else(|| invalid("only parts of ours are expected"))?,
        spec: ResourceSpec::Network(NetworkRequest {
            part: NetworkPart {
                kind: words.kind,
                zone: params.text("AvailabilityZone").map(Zone::new),
            },
            within: within(account, &[(ResourceKind::Network, params.text("VpcId"))])?,
            open_ports: look::PORT,
            overlay_port: 0,
        }),
    };
    let made = account.provider.create(&request).await;
    let made = made.map_err(|error| {
        if let ProviderError::QuotaExceeded { message } = &error {
            return Failure::client(limit(words.kind), message);
        }
        Failure::of(error, words.missing, "InvalidParameterValue")
    })?;
    if words.kind != ResourceKind::Gateway && words.kind != ResourceKind::Firewall {
        account.cloud.connect(&request.site.region, &made.handle);
    }
    let id = outer(&made.handle, words.kind).ok_or_else(Failure::internal)?;
    let id = element(&lowered(words.id), &id);
    Ok(match words.kind {
        ResourceKind::Network => format!("<vpc>{id}</vpc>"),
        ResourceKind::Gateway => format!("<internetGateway>{id}</internetGateway>"),
        ResourceKind::Subnet => format!("<subnet>{id}</subnet>"),
        ResourceKind::Firewall
        | ResourceKind::Machine
        | ResourceKind::Disk
        | ResourceKind::Interface
        | ResourceKind::Address => format!("{}{id}", element("return", "true")),
    })
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
fn limit(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Network => "VpcLimitExceeded",
        ResourceKind::Gateway => "InternetGatewayLimitExceeded",
        ResourceKind::Subnet => "SubnetLimitExceeded",
        ResourceKind::Firewall
        | ResourceKind::Machine
        | ResourceKind::Disk
        | ResourceKind::Interface
        | ResourceKind::Address => "SecurityGroupLimitExceeded",
    }
}

/// "You can't have two security groups for the same VPC with the same name":
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html>
fn unique(account: &Account, name: &str, params: &Params) -> Result<(), Failure> {
    let vpc = params.text("VpcId");
    let same = |part: &SimNetworkPart| {
        let made = &part.request;
        part.kind == ResourceKind::Firewall
            && made.name == name
            && made.site.settings.get("VpcId").map(String::as_str) == vpc
    };
    if account.cloud.networks().iter().any(same) {
        return Err(Failure::client("InvalidGroup.Duplicate", name));
    }
    Ok(())
}

/// "The CIDR block ... conflicts with another subnet": InvalidSubnet.Conflict.
fn apart(account: &Account, params: &Params) -> Result<(), Failure> {
    let of = |settings: &BTreeMap<String, String>| (settings.get("VpcId").cloned(), settings.get("CidrBlock").cloned());
    let wanted = of(&params.0);
    let same = |part: &SimNetworkPart| part.kind == ResourceKind::Subnet && of(&part.request.site.settings) == wanted;
    if account.cloud.networks().iter().any(same) {
        return Err(Failure::client(
            "InvalidSubnet.Conflict",
            "The CIDR conflicts with another subnet",
        ));
    }
    Ok(())
}

async fn delete(account: &Account, words: &Words, params: &Params) -> Result<String, Failure> {
    let id = params.text(words.id).unwrap_or_default();
    let handle = there(account, words.kind, id)?;
    let depends = |what: &str| Failure::client("DependencyViolation", &format!("{id} has dependencies: {what}"));
    if account
        .wires
        .of()
        .attached
        .iter()
        .any(|(gateway, vpc)| gateway == id || vpc == id)
    {
        return Err(depends("an internet gateway is attached"));
    }
    let answer = account
        .provider
        .delete(&account.site()?, &handle, &Token(String::new()))
        .await;
    answer.map_err(|error| {
        if let ProviderError::NotReady { message } = &error {
            return depends(message);
        }
        Failure::of(error, words.missing, "DependencyViolation")
    })?;
    // It is gone when EC2 answers.
    account.cloud.remove_network(&handle);
    account.wires.of().rules.remove(id);
    Ok(element("return", "true"))
}

async fn describe(account: &Account, words: &Words, params: &Params) -> Result<String, Failure> {
    if params.filters().iter().any(|(name, _)| *name == "is-default") {
        let there = !account.wires.of().without_default;
        let item = there.then(|| format!("{}{}", element("vpcId", DEFAULT_VPC), element("state", "available")));
        return Ok(set(words.set, item));
    }
    let states = match params.list(words.id).first() {
        Some(id) => {
            let handle = inner(id, words.kind).ok_or_else(|| Failure::client(words.missing, id))?;
            let state = account.provider.get(&account.site()?, &handle).await;
            vec![state.map_err(|error| Failure::of(error, words.missing, words.missing))?]
        }
        None => look::listed(account, words.kind, params).await?,
    };
    let items = states.iter().map(|state| item(account, words, state));
    let (items, next) = paged(account, params, items.collect::<Result<Vec<_>, _>>()?)?;
    Ok(format!("{}{next}", set(words.set, items)))
}

fn item(account: &Account, words: &Words, state: &ResourceState) -> Result<String, Failure> {
    let id = outer(&state.handle, words.kind).ok_or_else(Failure::internal)?;
    let parts = account.cloud.networks();
    let made = parts.iter().find(|part| part.state.handle == state.handle);
    let settings = made.map(|part| part.request.site.settings.clone()).unwrap_or_default();
    let tags = look::tag_set(&Params(settings.clone()).tags_of(words.tagged));
    let vpc = settings
        .get("VpcId")
        .map(|vpc| element("vpcId", vpc))
        .unwrap_or_default();
    let ready = if state.status == ResourceStatus::Pending {
        "pending"
    } else {
        "available"
    };
    let id = element(&lowered(words.id), &id);
    Ok(match words.kind {
        ResourceKind::Network => format!("{id}{}{tags}", element("state", ready)),
        ResourceKind::Subnet => format!("{id}{vpc}{}{tags}", element("state", ready)),
        ResourceKind::Gateway => {
            let wired = account.wires.of();
            let outer = outer(&state.handle, words.kind).unwrap_or_default();
            let attached = wired.attached.get(&outer);
            let attached = attached.map(|vpc| format!("{}{}", element("vpcId", vpc), element("state", "available")));
            format!("{id}{}{tags}", set("attachmentSet", attached))
        }
        ResourceKind::Firewall
        | ResourceKind::Machine
        | ResourceKind::Disk
        | ResourceKind::Interface
        | ResourceKind::Address => format!("{id}{vpc}{}{tags}", element("groupName", &state.name)),
    })
}

fn attach(account: &Account, params: &Params) -> Result<String, Failure> {
    let (gateway, vpc) = (
        params.text("InternetGatewayId").unwrap_or_default(),
        params.text("VpcId"),
    );
    let handle = there(account, ResourceKind::Gateway, gateway)?;
    let vpc = vpc.unwrap_or_default();
    there(account, ResourceKind::Network, vpc)?;
    if let Some(other) = account.wires.of().attached.get(gateway) {
        let message = format!("resource {gateway} is already attached to network {other}");
        return Err(Failure::client("Resource.AlreadyAssociated", &message));
    }
    account.wires.of().attached.insert(gateway.to_owned(), vpc.to_owned());
    account.cloud.connect(&account.region, &handle);
    Ok(element("return", "true"))
}

/// "The VPC must not contain any running instances with Elastic IP addresses or public IPv4 addresses":
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachInternetGateway.html>
fn detach(account: &Account, params: &Params) -> Result<String, Failure> {
    let gateway = params.text("InternetGatewayId").unwrap_or_default();
    there(account, ResourceKind::Gateway, gateway)?;
    let mut wired = account.wires.of();
    if wired.attached.get(gateway).map(String::as_str) != params.text("VpcId") {
        return Err(Failure::client("Gateway.NotAttached", gateway));
    }
    wired.attached.remove(gateway);
    Ok(element("return", "true"))
}

/// Every VPC comes with a main route table.
fn tables(account: &Account, params: &Params) -> Result<String, Failure> {
    let filters = params.filters();
    let value = |name: &str| {
        filters
            .iter()
            .find(|(known, _)| *known == name)
            .and_then(|(_, values)| values.first())
    };
    let (Some(vpc), Some(&"true")) = (value("vpc-id"), value("association.main")) else {
        return Err(Failure::client(
            "InvalidParameterValue",
            "only the main table of a VPC is expected",
        ));
    };
    there(account, ResourceKind::Network, vpc)?;
    let item = format!(
        "{}{}",
        element("routeTableId", &vpc.replace("vpc-", "rtb-")),
        element("vpcId", vpc)
    );
    Ok(set("routeTableSet", [item]))
}

fn route(account: &Account, params: &Params) -> Result<String, Failure> {
    let text = |name: &str| params.text(name).unwrap_or_default();
    let (vpc, gateway) = (text("RouteTableId").replace("rtb-", "vpc-"), text("GatewayId"));
    there(account, ResourceKind::Network, &vpc)?;
    there(account, ResourceKind::Gateway, gateway)?;
    if text("DestinationCidrBlock") != "0.0.0.0/0" {
        return Err(Failure::client(
            "InvalidParameterValue",
            "only the way to the internet is expected",
        ));
    }
    let mut wired = account.wires.of();
    if wired.attached.get(gateway) != Some(&vpc) {
        return Err(Failure::client("Gateway.NotAttached", gateway));
    }
    if wired.routed.contains_key(&vpc) {
        return Err(Failure::client(
            "RouteAlreadyExists",
            "The route identified by 0.0.0.0/0 already exists.",
        ));
    }
    wired.routed.insert(vpc, gateway.to_owned());
    Ok(element("return", "true"))
}

fn authorize(account: &Account, params: &Params) -> Result<String, Failure> {
    let group = params.text("GroupId").unwrap_or_default();
    let handle = there(account, ResourceKind::Firewall, group)?;
    let asked = rules(params);
    {
        let mut wired = account.wires.of();
        let known = wired.rules.entry(group.to_owned()).or_default();
        if let Some(twice) = asked.iter().find(|rule| known.contains(*rule)) {
            let message = format!("the specified rule \"{twice}\" already exists");
            return Err(Failure::client("InvalidPermission.Duplicate", &message));
        }
        if known.len() + asked.len() > RULES_MAX {
            return Err(Failure::client("RulesPerSecurityGroupLimitExceeded", group));
        }
        known.extend(asked);
    }
    account.cloud.connect(&account.region, &handle);
    Ok(element("return", "true"))
}

/// `tcp 30000-30031 from 10.0.0.0/8`, one a range.
fn rules(params: &Params) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for place in (1_u8..).take_while(|place| params.text(&format!("IpPermissions.{place}.IpProtocol")).is_some()) {
        let text = |name: &str| {
            params
                .text(&format!("IpPermissions.{place}.{name}"))
                .unwrap_or_default()
        };
        let what = format!("{} {}-{}", text("IpProtocol"), text("FromPort"), text("ToPort"));
        let ranges = (1_u8..).map_while(|range| params.text(&format!("IpPermissions.{place}.IpRanges.{range}.CidrIp")));
        rules.extend(ranges.map(|range| format!("{what} from {range}")));
    }
    rules
}

fn lowered(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
