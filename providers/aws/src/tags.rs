//! Our labels as EC2 tags, and back. Besides the labels a resource carries its name and the ports that others may reach.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use isobar_engine_provider::{CreateResource, MachineRequest, Owner, OwnerTags, labels};

/// Where EC2's own pages look for a name.
const NAME: &str = "Name";
/// Tags of Amazon's own begin so: nobody else can give them.
const AMAZONS: &str = "aws:";
/// First and last port that others reach: `30000-30031`.
const PORTS: &str = "isobar-ports";

/// What a resource's tags say.
pub(crate) struct Read {
    pub(crate) name: String,
    pub(crate) owner: Option<OwnerTags>,
    pub(crate) ports: Option<(u16, u16)>,
}

/// The tags of a part of a network.
pub(crate) fn of_part(request: &CreateResource, kind: ResourceType) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(owned(request)))
        .build()
}

/// The labels and the name.
fn owned(request: &CreateResource) -> Vec<Tag> {
    let labels = request.tags.labels().into_iter();
    let mut tags: Vec<Tag> = labels.map(|(key, value)| tag(key, &value)).collect();
    tags.push(tag(NAME, &request.name));
    tags
}

/// Everything that one create makes carries the same tags.
pub(crate) fn of(request: &CreateResource, machine: &MachineRequest) -> Vec<TagSpecification> {
    let (first, last) = machine.open_ports;
    let mut tags = owned(request);
    tags.push(tag(PORTS, &format!("{first}-{last}")));
    [
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ]
    .into_iter()
    .map(|kind| {
        TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(tags.clone()))
            .build()
    })
    .collect()
}

/// What carries an owner's tags.
pub(crate) fn filters(owner: &Owner) -> Vec<Filter> {
    vec![
        filter(&format!("tag:{}", labels::STORE), &[&owner.store]),
        filter(&format!("tag:{}", labels::CLUSTER), &[owner.cluster.as_str()]),
    ]
}

/// One condition.
pub(crate) fn filter(name: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// Reads a resource's tags.
pub(crate) fn read(tags: &[Tag]) -> Read {
    let value = |key: &str| tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
    Read {
        name: value(NAME).unwrap_or_default().to_owned(),
        owner: OwnerTags::of_labels(value),
        ports: value(PORTS).and_then(ports),
    }
}

/// Whose a resource is, where Isobar made it.
pub(crate) fn owner(tags: &[Tag]) -> Option<Owner> {
    read(tags).owner.map(|tags| tags.owner)
}

/// All tags that somebody gave.
pub(crate) fn given(tags: &[Tag]) -> BTreeMap<String, String> {
    let tag = |tag: &Tag| {
        let key = tag.key().filter(|key| !key.starts_with(AMAZONS))?;
        Some((key.to_owned(), tag.value().unwrap_or_default().to_owned()))
    };
    tags.iter().filter_map(tag).collect()
}

fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}
