//! Instances, and the templates that others make them from. A template's user data is in EC2's answer and stays there.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Instance, InstanceLifecycleType, LaunchTemplate, Reservation};
use isobar_engine_provider::adoption::{Found, ObjectState};
use isobar_engine_provider::{ProviderError, ResourceStatus, Result};

use super::{Described, described};
use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::{look, tags};

/// Of a template, the version that Terraform keeps.
const LATEST: &str = "$Latest";

pub(super) async fn instances(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    let found: Vec<Vec<Described>> = described!(
        client,
        describe_instances,
        filters("instance-id", ids),
        reservations,
        |one: &Reservation| Some(of(one))
    );
    Ok(found.into_iter().flatten().collect())
}

fn of(reservation: &Reservation) -> Vec<Described> {
    let account = reservation.owner_id();
    let instances = reservation.instances().iter();
    instances
        .filter_map(|instance| described_as(instance, account))
        .collect()
}

/// Absent once it is terminated: EC2 only remembers it.
fn described_as(instance: &Instance, account: Option<&str>) -> Option<Described> {
    let spot = instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot);
    let groups = instance.security_groups().iter().filter_map(|group| group.group_id());
    let found = Found::default()
        .text("type", instance.instance_type().map(|kind| kind.as_str()))
        .text("image", instance.image_id())
        .text("zone", instance.placement().and_then(|place| place.availability_zone()))
        .text("subnet", instance.subnet_id())
        .set("firewalls", groups)
        .text("private_address", instance.private_ip_address())
        .text("public_address", instance.public_ip_address())
        .text("boot_disk", boot_disk(instance))
        .text("key", instance.key_name())
        .text("purchase", Some(if spot { "spot" } else { "on_demand" }))
        .tags(tags::given(instance.tags()));
    Some(Described {
        id: instance.instance_id()?.to_owned(),
        account: account.map(str::to_owned),
        state: ObjectState {
            fields: found.fields(),
            status: look::status(instance)?,
            owner: tags::owner(instance.tags()),
        },
    })
}

fn boot_disk(instance: &Instance) -> Option<&str> {
    let root = instance.root_device_name()?;
    let disks = instance.block_device_mappings().iter();
    let mut disks = disks.filter(|disk| disk.device_name() == Some(root));
    disks.next()?.ebs()?.volume_id()
}

/// EC2 filters templates by name alone, so each is asked for by itself.
pub(super) async fn templates(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    let mut found = Vec::new();
    for id in ids {
        match template(client, id).await {
            Ok(template) => found.extend(template),
            Err(ProviderError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn template(client: &Client, id: &str) -> Result<Option<Described>> {
    let answer = quiet(client.describe_launch_templates().launch_template_ids(id).send()).await;
    let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
    let Some(template) = answer.launch_templates().first() else {
        return Ok(None);
    };
    let ask = client
        .describe_launch_template_versions()
        .launch_template_id(id)
        .versions(LATEST);
    let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
    let version = answer.launch_template_versions().first();
    let data = version.and_then(|version| version.launch_template_data());
    let groups = data.map(|data| data.security_group_ids()).unwrap_or_default();
    let found = Found::default()
        .text(
            "type",
            data.and_then(|data| data.instance_type()).map(|kind| kind.as_str()),
        )
        .text("image", data.and_then(|data| data.image_id()))
        .text("key", data.and_then(|data| data.key_name()))
        .set("firewalls", groups);
    Ok(Some(named(template, id, found)))
}

fn named(template: &LaunchTemplate, id: &str, found: Found) -> Described {
    let found = found
        .text("name", template.launch_template_name())
        .text("version", template.latest_version_number())
        .tags(tags::given(template.tags()));
    Described {
        id: id.to_owned(),
        account: None,
        state: ObjectState {
            fields: found.fields(),
            status: ResourceStatus::Running,
            owner: tags::owner(template.tags()),
        },
    }
}
