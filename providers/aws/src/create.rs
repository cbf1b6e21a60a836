//! One `RunInstances` makes a machine, its disk and its network card, tagged and deleted together.

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::builders::EbsBlockDeviceBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification, InstanceInterruptionBehavior,
    InstanceMarketOptionsRequest, InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceType,
    MarketType, Placement, ShutdownBehavior, SpotInstanceType, SpotMarketOptions, VolumeType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::offering::Offered;
use isobar_engine_provider::{
    CreateResource, Created, MachineRequest, ProviderError, ResourceKind, ResourceSpec, Result,
};

use crate::client::{Clients, quiet};
use crate::errors::{Call, kind_of};
use crate::image::Images;
use crate::network;
use crate::settings::{InstanceProfile, Settings};
use crate::tags;

/// User data has at most so many bytes before it is written in base64.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html>
pub(crate) const IDENTITY_MAX_BYTES: usize = 16 * 1024;
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>
const TOKEN_MAX_BYTES: usize = 64;

/// "Recommended for EBS volumes": <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html>
const DATA_DEVICE: &str = "/dev/sdf";

/// Asks for what is wanted, once.
pub(crate) async fn create(clients: &Clients, images: &Images, request: &CreateResource) -> Result<Created> {
    let machine = match &request.spec {
        ResourceSpec::Machine(machine) => machine,
        ResourceSpec::Network(wanted) => {
            let (_, client) = clients.of(&request.site).await?;
            return network::make(&client, request, wanted).await;
        }
    };
    let offered = checked(request, machine)?;
    let (settings, client) = clients.of(&request.site).await?;
    let facts = images.facts(&client, &request.site.region, &machine.image).await?;
    let call = client
        .run_instances()
        .client_token(&request.token.0)
        .min_count(1)
        .max_count(1)
        .image_id(machine.image.as_str())
        .user_data(STANDARD.encode(&machine.identity.0))
        .set_tag_specifications(Some(tags::of(request, machine)))
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .network_interfaces(interface(&settings, machine))
        .set_block_device_mappings(Some(disks(&settings, &facts.root_device)))
        .set_iam_instance_profile(settings.machine_identity.as_ref().map(identity))
        .metadata_options(
            InstanceMetadataOptionsRequest::builder()
                .http_tokens(HttpTokensState::Required)
                .build(),
        );
    let answer = quiet(bought(call, &offered).send()).await;
    let answer = answer.map_err(|error| kind_of(&error, Call::Create))?;
    let made = answer.instances().first().and_then(|instance| instance.instance_id());
    // Something was answered, so something was done: the same token says what.
    let made = made.ok_or_else(|| ProviderError::OutcomeUnknown {
        message: "EC2 answered without an instance".to_owned(),
    })?;
    Ok(Created {
        handle: ResourceHandle::new(made),
    })
}

/// What can be known to be wrong without asking.
fn checked(request: &CreateResource, machine: &MachineRequest) -> Result<Offered> {
    let wrong = |message: String| Err(ProviderError::InvalidSpec { message });
    let Some(offered) = Offered::of(&machine.offering) else {
        return wrong(format!("{} is no offering of EC2", machine.offering));
    };
    if offered.zone != machine.zone {
        return wrong(format!("{} is not offered in {}", machine.offering, machine.zone));
    }
    if machine.identity.0.len() > IDENTITY_MAX_BYTES {
        return wrong(format!(
            "EC2 gives a machine at most {IDENTITY_MAX_BYTES} bytes of identity"
        ));
    }
    if request.token.0.len() > TOKEN_MAX_BYTES || !request.token.0.is_ascii() {
        return wrong(format!("a token has at most {TOKEN_MAX_BYTES} letters of ASCII"));
    }
    Ok(offered)
}

/// Type, zone and how it is paid.
fn bought(call: RunInstancesFluentBuilder, offered: &Offered) -> RunInstancesFluentBuilder {
    let call = call
        .instance_type(InstanceType::from(offered.instance_type.as_str()))
        .placement(Placement::builder().availability_zone(offered.zone.as_str()).build());
    match offered.purchase {
        Purchase::OnDemand => call,
        Purchase::Spot => {
            let once = SpotMarketOptions::builder()
                .spot_instance_type(SpotInstanceType::OneTime)
                .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
                .build();
            let spot = InstanceMarketOptionsRequest::builder()
                .market_type(MarketType::Spot)
                .spot_options(once);
            call.instance_market_options(spot.build())
        }
    }
}

fn interface(settings: &Settings, machine: &MachineRequest) -> InstanceNetworkInterfaceSpecification {
    let connected = |kind| machine.network.get(&kind).map(|handle| handle.as_str().to_owned());
    let named = (!settings.security_groups.is_empty()).then(|| settings.security_groups.clone());
    let groups = connected(ResourceKind::Firewall).map(|group| vec![group]).or(named);
    let subnet = connected(ResourceKind::Subnet).or_else(|| settings.subnets.get(&machine.zone).cloned());
    InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .delete_on_termination(true)
        .associate_public_ip_address(settings.public_address)
        .set_subnet_id(subnet)
        .set_groups(groups)
        .build()
}

/// The disk that it boots from, and the one for what it keeps.
fn disks(settings: &Settings, root_device: &str) -> Vec<BlockDeviceMapping> {
    let of = |device: &str, ebs: EbsBlockDeviceBuilder| {
        let ebs = ebs.delete_on_termination(true).volume_type(VolumeType::Gp3).build();
        BlockDeviceMapping::builder().device_name(device).ebs(ebs).build()
    };
    let root = EbsBlockDevice::builder().set_volume_size(settings.disk_gib);
    let kept = settings
        .data_disk_gib
        .map(|gib| EbsBlockDevice::builder().volume_size(gib.into()).encrypted(true));
    let root = of(root_device, root);
    std::iter::once(root)
        .chain(kept.map(|kept| of(DATA_DEVICE, kept)))
        .collect()
}

fn identity(profile: &InstanceProfile) -> IamInstanceProfileSpecification {
    let identity = IamInstanceProfileSpecification::builder();
    match profile {
        InstanceProfile::Arn(arn) => identity.arn(arn),
        InstanceProfile::Name(name) => identity.name(name),
    }
    .build()
}
