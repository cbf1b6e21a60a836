//! What somebody else built, read and compared with the state that Terraform would have of it; then each field is changed
//! where it is, and is named, alone. The strict cloud checks every answer by Google's own description.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::object::{ObjectId, ObjectType};
use isobar_engine_provider::ProviderError;
use isobar_engine_provider::adoption::{ADOPTION_READ_MAX_OBJECTS, ObjectRef};
use isobar_engine_provider::conformance::TestBed as _;
use isobar_engine_provider::labels;
use isobar_tests_clouds::gcp::PROJECT;
use isobar_tests_clouds::stated::{agree, drifted, read, stated};
use serde_json::{Value, json};

use crate::bed::GcpBed;

const STATE: &str = include_str!("built.tfstate");
/// As Google shows them, by path.
const RESOURCES: &str = include_str!("built.json");

/// Which object of the state, the field, where in the resource it stands, and what it becomes; null: it is not there.
type Change = (&'static str, &'static str, &'static str, fn() -> Value);

const CHANGES: &[Change] = &[
    ("instance", "type", "/machineType", || {
        json!("zones/europe-west1-b/machineTypes/e2-medium")
    }),
    ("instance", "zone", "/zone", || json!("zones/europe-west1-c")),
    ("instance", "boot_disk", "/disks/0/source", || {
        json!("zones/europe-west1-b/disks/other")
    }),
    ("instance", "network", "/networkInterfaces/0/network", || {
        json!("global/networks/other")
    }),
    ("instance", "subnet", "/networkInterfaces/0/subnetwork", || {
        json!("regions/europe-west1/subnetworks/b")
    }),
    ("instance", "private_address", "/networkInterfaces/0/networkIP", || {
        json!("10.1.0.3")
    }),
    (
        "instance",
        "public_address",
        "/networkInterfaces/0/accessConfigs",
        || json!([]),
    ),
    ("instance", "network_tags", "/tags/items", || json!(["http", "https"])),
    ("instance", "purchase", "/scheduling/provisioningModel", || {
        json!("SPOT")
    }),
    ("instance", "tags", "/labels", || json!({"team": "shop"})),
    ("instance_template", "name", "/name", || json!("other")),
    ("instance_template", "type", "/properties/machineType", || {
        json!("e2-medium")
    }),
    (
        "instance_template",
        "network",
        "/properties/networkInterfaces/0/network",
        || json!("global/networks/b"),
    ),
    ("instance_template", "network_tags", "/properties/tags/items", || {
        json!([])
    }),
    ("instance_template", "purchase", "/properties/scheduling", || json!({})),
    ("instance_template", "tags", "/properties/labels", || json!({})),
    ("group", "count", "/targetSize", || json!(4)),
    ("group", "base_name", "/baseInstanceName", || json!("other")),
    ("group", "templates", "/versions/0/instanceTemplate", || {
        json!("global/instanceTemplates/b")
    }),
    ("region_group", "count", "/targetSize", || json!(0)),
    ("region_group", "base_name", "/baseInstanceName", || json!("other")),
    ("region_group", "templates", "/versions", || json!([])),
    ("network", "makes_subnets", "/autoCreateSubnetworks", || json!(true)),
    ("network", "routing", "/routingConfig/routingMode", || json!("GLOBAL")),
    ("network", "mtu", "/mtu", || json!(8896)),
    ("subnetwork", "network", "/network", || json!("global/networks/other")),
    ("subnetwork", "cidr", "/ipCidrRange", || json!("10.1.0.0/23")),
    (
        "subnetwork",
        "secondary_cidrs",
        "/secondaryIpRanges/0/ipCidrRange",
        || json!("10.3.0.0/20"),
    ),
    ("subnetwork", "private_google_access", "/privateIpGoogleAccess", || {
        json!(false)
    }),
    ("firewall", "network", "/network", || json!("global/networks/other")),
    ("firewall", "rules", "/allowed/0/ports", || json!(["80"])),
    ("firewall", "sources", "/sourceRanges", || json!(["10.0.0.0/8"])),
    ("firewall", "source_tags", "/sourceTags", || json!(["a"])),
    ("firewall", "target_tags", "/targetTags", || json!([])),
    ("firewall", "priority", "/priority", || json!(10)),
    ("firewall", "disabled", "/disabled", || json!(true)),
    ("route", "network", "/network", || json!("global/networks/other")),
    ("route", "destination", "/destRange", || json!("10.0.0.0/8")),
    ("route", "via", "/nextHopGateway", || json!("global/gateways/other")),
    ("route", "priority", "/priority", || json!(10)),
    ("route", "network_tags", "/tags", || json!([])),
    ("router", "network", "/network", || json!("global/networks/other")),
    ("router", "asn", "/bgp/asn", || json!(64515)),
    ("address", "address", "/address", || json!("34.1.1.2")),
    ("address", "type", "/addressType", || json!("INTERNAL")),
    ("address", "tags", "/labels", || json!({})),
    ("global_address", "address", "/address", || json!("34.8.8.9")),
    ("global_address", "type", "/addressType", || json!("INTERNAL")),
    ("global_address", "tags", "/labels", || json!({"team": "web", "a": ""})),
    ("disk", "type", "/type", || {
        json!("zones/europe-west1-b/diskTypes/pd-balanced")
    }),
    ("disk", "size_gib", "/sizeGb", || json!("30")),
    ("disk", "zone", "/zone", || json!("zones/europe-west1-c")),
    ("disk", "tags", "/labels", || json!({})),
    ("region_disk", "type", "/type", || {
        json!("regions/europe-west1/diskTypes/pd-ssd")
    }),
    ("region_disk", "size_gib", "/sizeGb", || json!("201")),
    ("region_disk", "zones", "/replicaZones/1", || {
        json!("zones/europe-west1-d")
    }),
    ("region_disk", "tags", "/labels", || json!({"a": "b"})),
];

fn resources() -> BTreeMap<String, Value> {
    serde_json::from_str(RESOURCES).unwrap()
}

async fn built() -> GcpBed {
    let bed = GcpBed::plain().await;
    for (path, resource) in resources() {
        bed.gcp.put_resource(&path, resource);
    }
    bed
}

/// Puts a value where it belongs, also where there is none.
fn set(resource: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = resource.pointer_mut(parent).unwrap();
    match name.parse::<usize>() {
        Ok(at) => parent[at] = value,
        Err(_) => parent[name] = value,
    }
}

fn object(kind: &str, id: &str) -> ObjectRef {
    ObjectRef {
        kind: ObjectType(kind.to_owned()),
        id: ObjectId(id.to_owned()),
        zone: None,
    }
}

#[tokio::test]
async fn what_terraform_built_is_read_as_its_state_has_it() {
    let bed = built().await;
    let provider = bed.provider();
    let account = provider.adoption().unwrap().account(&bed.site()).await;
    assert_eq!(account, Ok(PROJECT.to_owned()));
    let compared = agree(&*provider, &bed.site(), &stated(STATE)).await;
    assert_eq!(compared, CHANGES.len());
}

#[tokio::test]
async fn whatever_is_changed_where_it_is_is_named_and_nothing_else() {
    let bed = built().await;
    let stated = stated(STATE);
    let mut changed = BTreeSet::new();
    for (name, field, pointer, value) in CHANGES {
        let one = &stated[*name];
        let path = &one.object.id.0;
        let before = resources().remove(path).unwrap();
        let mut after = before.clone();
        set(&mut after, pointer, value());
        bed.gcp.put_resource(path, after);
        assert_eq!(drifted(&*bed.provider(), &bed.site(), one).await, [*field], "{name}");
        bed.gcp.put_resource(path, before);
        changed.insert((name.to_string(), field.to_string()));
    }
    let all = stated
        .iter()
        .flat_map(|(name, one)| one.fields.keys().map(|field| (name.clone(), field.clone())));
    assert_eq!(changed, all.collect(), "each field of each object");
}

#[tokio::test]
async fn what_is_not_there_is_of_another_or_is_not_read_is_told_apart() {
    let bed = built().await;
    let objects = [
        object("instance", "zones/europe-west1-b/instances/gone"),
        object("route", "global/routes/gone"),
        object("address", "regions/europe-west1/addresses/gone"),
        object("disk", "no id at all"),
        object("instance", "projects/other/zones/europe-west1-b/instances/web"),
        object("bastion", "x"),
        object("instance", "projects/shop-1/zones/europe-west1-b/instances/web"),
    ];
    let found = read(&*bed.provider(), &bed.site(), &objects).await;
    assert_eq!(found[..4], [const { Err(ProviderError::NotFound) }; 4]);
    assert!(matches!(&found[4], Err(ProviderError::InvalidSpec { message }) if message.contains(PROJECT)));
    assert!(matches!(&found[5], Err(ProviderError::Unsupported { .. })));
    assert!(found[6].is_ok());
    let too_many = vec![object("network", "global/networks/main"); ADOPTION_READ_MAX_OBJECTS + 1];
    let provider = bed.provider();
    let refused = provider.adoption().unwrap().read(&bed.site(), &too_many).await;
    assert!(matches!(refused, Err(ProviderError::InvalidSpec { .. })));
}

#[tokio::test]
async fn what_isobar_made_says_whose_it_is_and_no_secret_is_in_any_field() {
    let bed = built().await;
    let path = "zones/europe-west1-b/instances/web";
    let mut resource = resources().remove(path).unwrap();
    let owner = [
        (labels::STORE, "s1"),
        (labels::CLUSTER, "web"),
        (labels::MACHINE, "m-1"),
    ];
    let attempt = [
        (labels::OPERATION, "op-1"),
        (labels::ATTEMPT, "1"),
        (labels::EPOCH, "1"),
    ];
    for (label, value) in owner.into_iter().chain(attempt) {
        resource["labels"][label] = json!(value);
    }
    bed.gcp.put_resource(path, resource);
    let found = read(&*bed.provider(), &bed.site(), &[object("instance", path)]).await;
    let found = found[0].as_ref().unwrap();
    assert_eq!(found.owner.as_ref().map(|owner| owner.store.as_str()), Some("s1"));
    assert!(!format!("{found:?}").contains("a secret of the node"));
}

#[tokio::test]
async fn where_nothing_can_be_read_the_whole_call_fails() {
    let bed = built().await;
    let objects = [object("instance", "zones/europe-west1-b/instances/web")];
    bed.gcp.fail_next("instances.get");
    let provider = bed.provider();
    let failed = provider.adoption().unwrap().read(&bed.site(), &objects).await;
    assert!(matches!(failed, Err(ProviderError::Unavailable { .. })), "{failed:?}");
}
