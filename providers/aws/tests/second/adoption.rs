//! What somebody else built in moto, read and compared with the state that Terraform would have of it; then each thing is
//! changed where it is, and the field that says so is named, alone.

use std::collections::BTreeMap;

use isobar_engine_model::object::{ObjectId, ObjectType};
use isobar_engine_provider::ProviderError;
use isobar_engine_provider::adoption::ObjectRef;
use isobar_engine_provider::conformance::TestBed as _;
use isobar_tests_clouds::program::moto::{Moto, between};
use isobar_tests_clouds::stated::{agree, drifted, read, stated};

use crate::MotoBed;

const STATE: &str = include_str!("built.tfstate");
/// moto's only account.
const ACCOUNT: &str = "123456789012";

/// Builds what the state says, and writes the ids that it got into the state.
async fn built(moto: &Moto) -> BTreeMap<&'static str, String> {
    let mut ids = BTreeMap::from([("image", moto.image.clone())]);
    // Each form may name what was built before it.
    for (form, got) in FORMS {
        let form = filled(form, &ids);
        let answer = moto.terraform(&form).await;
        for (name, tag) in *got {
            ids.insert(name, between(&answer, tag));
        }
    }
    ids
}

/// What is called, and what of the answer is kept under which name.
type Form = (&'static str, &'static [(&'static str, &'static str)]);

const FORMS: &[Form] = &[
    ("CreateVpc&CidrBlock=10.20.0.0%2F16", &[("vpc", "vpcId")]),
    (
        "CreateTags&ResourceId.1=@vpc@&Tag.1.Key=Name&Tag.1.Value=main&Tag.2.Key=team&Tag.2.Value=web",
        &[],
    ),
    (
        "CreateSubnet&VpcId=@vpc@&CidrBlock=10.20.1.0%2F24&AvailabilityZone=us-east-1a",
        &[("subnet", "subnetId")],
    ),
    (
        "CreateSecurityGroup&GroupName=web&GroupDescription=web&VpcId=@vpc@",
        &[("group", "groupId")],
    ),
    (
        "AuthorizeSecurityGroupIngress&GroupId=@group@&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=8000\
         &IpPermissions.1.ToPort=8010&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0%2F8\
         &IpPermissions.1.IpRanges.2.CidrIp=192.168.0.0%2F16",
        &[],
    ),
    (
        "AuthorizeSecurityGroupIngress&GroupId=@group@&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22\
         &IpPermissions.1.ToPort=22&IpPermissions.1.Groups.1.GroupId=@group@",
        &[],
    ),
    ("CreateInternetGateway", &[("gateway", "internetGatewayId")]),
    ("AttachInternetGateway&InternetGatewayId=@gateway@&VpcId=@vpc@", &[]),
    ("CreateRouteTable&VpcId=@vpc@", &[("table", "routeTableId")]),
    (
        "CreateRoute&RouteTableId=@table@&DestinationCidrBlock=0.0.0.0%2F0&GatewayId=@gateway@",
        &[],
    ),
    (
        "AllocateAddress&Domain=vpc",
        &[("address", "allocationId"), ("public", "publicIp")],
    ),
    (
        "CreateNatGateway&SubnetId=@subnet@&AllocationId=@address@",
        &[("nat", "natGatewayId")],
    ),
    (
        "CreateNetworkInterface&SubnetId=@subnet@&PrivateIpAddress=10.20.1.77&SecurityGroupId.1=@group@",
        &[("card", "networkInterfaceId")],
    ),
    (
        "CreateVolume&AvailabilityZone=us-east-1a&Size=20&VolumeType=gp3&Iops=3000&Throughput=125\
         &TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=data",
        &[("volume", "volumeId")],
    ),
    (
        "CreateKeyPair&KeyName=deploy",
        &[("key", "keyPairId"), ("fingerprint", "keyFingerprint")],
    ),
    (
        "CreateLaunchTemplate&LaunchTemplateName=web&LaunchTemplateData.ImageId=@image@&LaunchTemplateData.KeyName=deploy\
         &LaunchTemplateData.InstanceType=t3.small&LaunchTemplateData.SecurityGroupId.1=@group@\
         &LaunchTemplateData.UserData=c2VjcmV0",
        &[("template", "launchTemplateId")],
    ),
    (
        "RunInstances&ImageId=@image@&InstanceType=t3.small&MinCount=1&MaxCount=1&KeyName=deploy&SubnetId=@subnet@\
         &SecurityGroupId.1=@group@&UserData=c2VjcmV0&TagSpecification.1.ResourceType=instance\
         &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=web",
        &[("instance", "instanceId"), ("private", "privateIpAddress")],
    ),
    ("DescribeInstances&InstanceId.1=@instance@", &[("root", "volumeId")]),
];

/// What is done to an object, and the field that says so.
type Change = (&'static str, &'static str, &'static [&'static str]);

const CHANGES: &[Change] = &[
    (
        "vpc",
        "tags",
        &["CreateTags&ResourceId.1=@vpc@&Tag.1.Key=team&Tag.1.Value=shop"],
    ),
    (
        "subnet",
        "gives_public_address",
        &["ModifySubnetAttribute&SubnetId=@subnet@&MapPublicIpOnLaunch.Value=true"],
    ),
    (
        "subnet",
        "tags",
        &["CreateTags&ResourceId.1=@subnet@&Tag.1.Key=a&Tag.1.Value="],
    ),
    (
        "security_group",
        "rules",
        &[
            "RevokeSecurityGroupIngress&GroupId=@group@&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=8000\
           &IpPermissions.1.ToPort=8010&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0%2F8",
        ],
    ),
    (
        "security_group",
        "tags",
        &["CreateTags&ResourceId.1=@group@&Tag.1.Key=a&Tag.1.Value=b"],
    ),
    (
        "internet_gateway",
        "network",
        &["DetachInternetGateway&InternetGatewayId=@gateway@&VpcId=@vpc@"],
    ),
    (
        "internet_gateway",
        "tags",
        &["CreateTags&ResourceId.1=@gateway@&Tag.1.Key=a&Tag.1.Value=b"],
    ),
    (
        "route",
        "via",
        &["ReplaceRoute&RouteTableId=@table@&DestinationCidrBlock=0.0.0.0%2F0&NatGatewayId=@nat@"],
    ),
    // The same change, seen by the table that the route is in.
    ("route_table", "routes", &[]),
    (
        "route_table",
        "tags",
        &["CreateTags&ResourceId.1=@table@&Tag.1.Key=a&Tag.1.Value=b"],
    ),
    (
        "address",
        "tags",
        &["CreateTags&ResourceId.1=@address@&Tag.1.Key=a&Tag.1.Value=b"],
    ),
    (
        "nat_gateway",
        "tags",
        &["CreateTags&ResourceId.1=@nat@&Tag.1.Key=a&Tag.1.Value=b"],
    ),
    (
        "network_interface",
        "checks_source",
        &["ModifyNetworkInterfaceAttribute&NetworkInterfaceId=@card@&SourceDestCheck.Value=false"],
    ),
    (
        "network_interface",
        "private_addresses",
        &["AssignPrivateIpAddresses&NetworkInterfaceId=@card@&PrivateIpAddress.1=10.20.1.78"],
    ),
    (
        "network_interface",
        "tags",
        &["CreateTags&ResourceId.1=@card@&Tag.1.Key=a&Tag.1.Value=b"],
    ),
    ("volume", "size_gib", &["ModifyVolume&VolumeId=@volume@&Size=30"]),
    ("volume", "tags", &["DeleteTags&ResourceId.1=@volume@&Tag.1.Key=Name"]),
    (
        "key_pair",
        "tags",
        &["CreateTags&ResourceId.1=@key@&Tag.1.Key=a&Tag.1.Value=b"],
    ),
    // moto goes on to show the tags that a template was made with, so those cannot be changed here.
    (
        "launch_template",
        "version",
        &[
            "CreateLaunchTemplateVersion&LaunchTemplateId=@template@&LaunchTemplateData.ImageId=@image@\
           &LaunchTemplateData.KeyName=deploy&LaunchTemplateData.InstanceType=t3.small\
           &LaunchTemplateData.SecurityGroupId.1=@group@",
        ],
    ),
    (
        "instance",
        "type",
        &[
            "StopInstances&InstanceId.1=@instance@",
            "ModifyInstanceAttribute&InstanceId=@instance@&InstanceType.Value=t3.large",
        ],
    ),
    (
        "instance",
        "tags",
        &["CreateTags&ResourceId.1=@instance@&Tag.1.Key=Name&Tag.1.Value=other"],
    ),
];

fn filled(text: &str, ids: &BTreeMap<&'static str, String>) -> String {
    ids.iter().fold(text.to_owned(), |text, (name, id)| {
        text.replace(&format!("@{name}@"), id)
    })
}

#[tokio::test]
async fn what_terraform_built_is_read_as_its_state_has_it() {
    let moto = Moto::start().await;
    let bed = MotoBed::new(&moto, 0);
    let state = filled(STATE, &built(&moto).await);
    assert!(!state.contains("@"), "{state}");
    let provider = bed.provider();
    assert_eq!(
        provider.adoption().unwrap().account(&bed.site()).await,
        Ok(ACCOUNT.to_owned())
    );
    let compared = agree(&*provider, &bed.site(), &stated(&state)).await;
    assert!(compared >= 50, "{compared}");
}

#[tokio::test]
async fn whatever_is_changed_where_it_is_is_named_and_nothing_else() {
    let moto = Moto::start().await;
    let bed = MotoBed::new(&moto, 0);
    let ids = built(&moto).await;
    let stated = stated(&filled(STATE, &ids));
    let mut changed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, field, forms) in CHANGES {
        for form in *forms {
            moto.terraform(&filled(form, &ids)).await;
        }
        let wanted = changed.entry(kind).or_default();
        wanted.push(field);
        wanted.sort_unstable();
        let one = &stated[*kind];
        let drifted = drifted(&*bed.provider(), &bed.site(), one).await;
        assert_eq!(&drifted, wanted, "{kind} {field}");
    }
}

#[tokio::test]
async fn what_is_not_there_spoils_nothing_else_and_what_is_not_read_says_so() {
    let moto = Moto::start().await;
    let bed = MotoBed::new(&moto, 0);
    let ids = built(&moto).await;
    moto.terraform(&filled("TerminateInstances&InstanceId.1=@instance@", &ids))
        .await;
    let object = |kind: &str, id: &str| ObjectRef {
        kind: ObjectType(kind.to_owned()),
        id: ObjectId(id.to_owned()),
        zone: None,
    };
    let mut objects: Vec<ObjectRef> = [
        ("instance", "i-0fffffffffffffff0"),
        ("instance", "no-id-at-all"),
        ("subnet", "subnet-0fffffffffffffff0"),
        ("route", "rtb-0fffffffffffffff0_0.0.0.0/0"),
        ("launch_template", "lt-0fffffffffffffff0"),
        ("key_pair", "gone"),
    ]
    .map(|(kind, id)| object(kind, id))
    .into();
    // EC2 shows a terminated instance for about an hour.
    objects.push(object("instance", &ids["instance"]));
    let missing = objects.len();
    objects.push(object("autoscaling_group", "web"));
    objects.push(object("subnet", &ids["subnet"]));
    let found = read(&*bed.provider(), &bed.site(), &objects).await;
    for (object, found) in objects.iter().zip(&found).take(missing) {
        assert_eq!(found, &Err(ProviderError::NotFound), "{object:?}");
    }
    assert!(matches!(&found[missing], Err(ProviderError::Unsupported { .. })));
    assert!(found[missing + 1].is_ok());
}
