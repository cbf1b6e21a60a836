//! `RunInstances`, `TerminateInstances` and the deletion of what a machine left. State is the simulated cloud's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::{ImageId, OfferingId, ResourceHandle, Zone};
use isobar_engine_provider::{
    CreateResource, MachineRequest, OwnerTags, Provider, ProviderError, ResourceKind, ResourceSpec, ResourceState,
    Secret, Token,
};
use isobar_providers_sim::SIM_IMAGE;

use super::answer::{Answer, Failure, element, set};
use super::look::{self, outer};
use super::network;
use super::params::Params;
use super::{AMI, Account, ENGINE_AMI};
use crate::asked::Asked;

/// "User data is limited to 16 KB, in raw form, before it is base64-encoded":
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html>
const USER_DATA_MAX_BYTES: usize = 16_384;
/// "A client token is a unique, case-sensitive string of up to 64 ASCII characters":
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>
const TOKEN_MAX_BYTES: usize = 64;
/// What one create of ours makes, and must tag.
const TAGGED: [&str; 3] = ["instance", "volume", "network-interface"];

pub(super) async fn run(account: &Account, params: &Params) -> Result<Answer, Failure> {
    house_rules(account, params);
    let request = request(account, params).await?;
    let made = account.provider.create(&request).await;
    let made = made.map_err(|error| Failure::of(error, "InvalidParameterValue", "IdempotentParameterMismatch"))?;
    // "The request to launch an instance uses the same client token as a previous request for which the instance has
    // been terminated": <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
    let machine = account.cloud.machine(&made.handle);
    let machine = machine.ok_or_else(|| Failure::client("IdempotentInstanceTerminated", "it was terminated"))?;
    let instance = look::instance(account, &machine.state)?;
    Ok(Answer {
        action: "RunInstances".to_owned(),
        inner: format!("{}{}", element("reservationId", "r-0"), set("instancesSet", [instance])),
    })
}

/// What EC2 would allow and we never want: recorded, and fails the test.
fn house_rules(account: &Account, params: &Params) {
    let rule = |holds: bool, broken: &str| {
        if !holds {
            account.violations.add(format!("RunInstances: {broken}"));
        }
    };
    let is = |name: &str, value: &str| params.text(name) == Some(value);
    rule(params.text("ClientToken").is_some(), "no ClientToken");
    rule(is("MinCount", "1") && is("MaxCount", "1"), "not one machine");
    rule(is("MetadataOptions.HttpTokens", "required"), "instance metadata v1");
    rule(
        is("InstanceInitiatedShutdownBehavior", "terminate"),
        "a machine that turns itself off is kept and billed",
    );
    rule(
        is("NetworkInterface.1.DeleteOnTermination", "true"),
        "its interface is left",
    );
    rule(
        is("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        "its disk is left",
    );
    rule(
        is("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        "a second disk beside the root disk",
    );
    let has_data = params.text("BlockDeviceMapping.2.DeviceName").is_some();
    rule(
        !has_data || is("BlockDeviceMapping.2.Ebs.DeleteOnTermination", "true"),
        "its data disk is left",
    );
    rule(
        !has_data || is("BlockDeviceMapping.2.Ebs.Encrypted", "true"),
        "its data disk is in clear",
    );
    rule(
        params.text("NetworkInterface.1.AssociatePublicIpAddress").is_some(),
        "the subnet decides who is public",
    );
    let tags: Vec<_> = TAGGED.iter().map(|kind| params.tags_of(kind)).collect();
    rule(
        tags.iter().all(|each| !each.is_empty() && *each == tags[0]),
        "not all that it makes carries the tags",
    );
}

/// The request in the simulated cloud's words. All parameters are in its settings, so that any other is another request.
async fn request(account: &Account, params: &Params) -> Result<CreateResource, Failure> {
    let invalid = |message: String| Failure::client("InvalidParameterValue", &message);
    let text = |name: &str| params.text(name).unwrap_or_default();
    match text("ImageId") {
        AMI | ENGINE_AMI => {}
        image if is_id(image, "ami-") => return Err(Failure::client("InvalidAMIID.NotFound", image)),
        image => return Err(Failure::client("InvalidAMIID.Malformed", image)),
    }
    let user_data = STANDARD
        .decode(text("UserData"))
        .map_err(|_| invalid("Invalid BASE64 encoding of user data".into()))?;
    if user_data.len() > USER_DATA_MAX_BYTES {
        return Err(invalid("User data is limited to 16384 bytes".into()));
    }
    let token = text("ClientToken");
    if token.len() > TOKEN_MAX_BYTES || !token.is_ascii() {
        return Err(invalid("the client token is too long".into()));
    }
    let tags = params.tags_of("instance");
    let tags = OwnerTags::of_labels(|key| tags.get(key).map(String::as_str));
    let mut site = account.site()?;
    site.settings = params.0.clone();
    let machine = MachineRequest {
        zone: Zone::new(text("Placement.AvailabilityZone")),
        offering: offering(account, params)?,
        image: ImageId::new(SIM_IMAGE),
        identity: Secret(user_data),
        open_ports: look::PORT,
        network: network::within(
            account,
            &[
                (ResourceKind::Subnet, params.text("NetworkInterface.1.SubnetId")),
                (
                    ResourceKind::Firewall,
                    params.text("NetworkInterface.1.SecurityGroupId.1"),
                ),
            ],
        )?,
    };
    Ok(CreateResource {
        site,
        // Names are not unique in EC2: the token stands in, which is.
        name: token.to_owned(),
        token: Token(token.to_owned()),
        tags: tags.ok_or_else(|| invalid("only machines of ours are expected".into()))?,
        spec: ResourceSpec::Machine(machine),
    })
}

fn offering(account: &Account, params: &Params) -> Result<OfferingId, Failure> {
    let purchase = match params.text("InstanceMarketOptions.MarketType") {
        Some("spot") => Purchase::Spot,
        Some(_) | None => Purchase::OnDemand,
    };
    let (instance_type, zone) = (params.text("InstanceType"), params.text("Placement.AvailabilityZone"));
    let offered = account.cloud.offerings(&account.region);
    let fits = offered.into_iter().find(|offering| {
        Some(offering.instance_type.as_str()) == instance_type
            && Some(offering.zone.as_str()) == zone
            && offering.purchase == purchase
    });
    let fits = fits.ok_or_else(|| Failure::client("InvalidParameterValue", "no such instance type or zone"))?;
    Ok(fits.id)
}

pub(super) async fn terminate(account: &Account, params: &Params) -> Result<Answer, Failure> {
    let ids = params.list("InstanceId");
    let [id] = ids[..] else {
        return Err(Failure::client(
            "InvalidParameterValue",
            "one machine at a time is expected",
        ));
    };
    let handle = inner(id, ResourceKind::Machine).ok_or_else(|| Failure::client("InvalidInstanceID.Malformed", id))?;
    let before = account.cloud.machine(&handle);
    let answer = account
        .provider
        .delete(&account.site()?, &handle, &Token(String::new()))
        .await;
    let states = match answer {
        Ok(()) => {
            let before = before.map(|machine| look::state(&machine.state.status));
            [before.unwrap_or("shutting-down"), "shutting-down"]
        }
        // It is shown as terminated for a while, and can be terminated all the same.
        // <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html>: "This operation is
        // idempotent; if you terminate an instance more than once, each call succeeds."
        Err(ProviderError::NotFound | ProviderError::Gone) if look::was(account, &handle) => ["terminated"; 2],
        Err(error) => {
            return Err(Failure::of(
                error,
                "InvalidInstanceID.NotFound",
                "IncorrectInstanceState",
            ));
        }
    };
    let [before, now] = states.map(look::state_element);
    let item = format!(
        "{}<currentState>{now}</currentState><previousState>{before}</previousState>",
        element("instanceId", id)
    );
    Ok(Answer {
        action: "TerminateInstances".to_owned(),
        inner: set("instancesSet", [item]),
    })
}

pub(super) async fn delete_part(account: &Account, action: &str, params: &Params) -> Result<Answer, Failure> {
    let (name, kind, missing, taken) = match action {
        "DeleteVolume" => ("VolumeId", ResourceKind::Disk, "InvalidVolume.NotFound", "VolumeInUse"),
        _ => (
            "NetworkInterfaceId",
            ResourceKind::Interface,
            "InvalidNetworkInterfaceID.NotFound",
            "InvalidNetworkInterface.InUse",
        ),
    };
    let handle = params.text(name).and_then(|id| inner(id, kind));
    let handle = handle.ok_or_else(|| Failure::client(missing, "no such id"))?;
    let answer = account
        .provider
        .delete(&account.site()?, &handle, &Token(String::new()))
        .await;
    answer.map_err(|error| Failure::of(error, missing, taken))?;
    Ok(Answer {
        action: action.to_owned(),
        inner: element("return", "true"),
    })
}

/// What the simulated cloud calls a resource; absent where the id is not one of EC2's.
pub(super) fn inner(id: &str, kind: ResourceKind) -> Option<ResourceHandle> {
    let (prefix, sim) = look::prefixes(kind);
    let serial = is_id(id, prefix).then(|| u32::from_str_radix(&id[prefix.len()..], 16).unwrap_or(u32::MAX));
    serial.map(|serial| ResourceHandle::new(format!("{sim}{serial:08}")))
}

/// `i-` and 17 hexadecimal digits, or 8 of old.
fn is_id(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The tags that a machine carries: as the create that made it wrote them, or those of one that was not made here.
pub(super) fn tags_of(account: &Account, state: &ResourceState) -> BTreeMap<String, String> {
    let request = account.cloud.request_of(&state.handle);
    let written = request.map(|request| Params(request.site.settings.clone()).tags_of("instance"));
    let written = written.filter(|tags| !tags.is_empty());
    written.unwrap_or_else(|| look::labels_of(state))
}

/// What the call that made a machine asked for; absent where none did.
pub(super) fn asked(account: &Account, machine: &ResourceHandle) -> Option<Asked> {
    let request = account.cloud.request_of(machine)?;
    let params = Params(request.site.settings.clone());
    let text = |name: &str| params.text(name).map(str::to_owned);
    Some(Asked {
        image: text("ImageId")?,
        data_disk_gib: text("BlockDeviceMapping.2.Ebs.VolumeSize").and_then(|gib| gib.parse().ok()),
        identity: text("IamInstanceProfile.Arn").or_else(|| text("IamInstanceProfile.Name")),
        public_address: params.text("NetworkInterface.1.AssociatePublicIpAddress") == Some("true"),
    })
}

/// What EC2 calls a resource.
pub(super) fn id_of(handle: &ResourceHandle, kind: ResourceKind) -> Result<String, Failure> {
    outer(handle, kind).ok_or_else(Failure::internal)
}
