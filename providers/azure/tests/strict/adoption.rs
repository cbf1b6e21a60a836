//! What somebody else built, read and compared with the state that Terraform would have of it; then each field is changed
//! where it is, and is named, alone.

use std::collections::BTreeSet;

use isobar_engine_model::object::{ObjectId, ObjectType};
use isobar_engine_provider::ProviderError;
use isobar_engine_provider::adoption::{ADOPTION_READ_MAX_OBJECTS, ObjectRef};
use isobar_engine_provider::conformance::TestBed as _;
use isobar_engine_provider::labels;
use isobar_tests_clouds::azure::{GROUP, SUBSCRIPTION};
use isobar_tests_clouds::stated::{agree, drifted, read, stated};
use serde_json::{Value, json};

use crate::bed::{AzureBed, owner};

const STATE: &str = include_str!("built.tfstate");
/// As the interface shows them: Microsoft's examples with our names.
const RESOURCES: &str = include_str!("built.json");

/// Which object of the state, the field, where in the resource it stands, and what it becomes.
type Change = (&'static str, &'static str, &'static str, fn() -> Value);

const CHANGES: &[Change] = &[
    ("virtual_machine", "type", "/properties/hardwareProfile/vmSize", || {
        json!("Standard_B4ms")
    }),
    (
        "virtual_machine",
        "image",
        "/properties/storageProfile/imageReference/sku",
        || json!("24_04-lts"),
    ),
    ("virtual_machine", "zone", "/zones", || json!(["2"])),
    (
        "virtual_machine",
        "interfaces",
        "/properties/networkProfile/networkInterfaces",
        || json!([]),
    ),
    (
        "virtual_machine",
        "boot_disk",
        "/properties/storageProfile/osDisk/name",
        || json!("other"),
    ),
    ("virtual_machine", "purchase", "/properties/priority", || json!("Spot")),
    (
        "virtual_machine",
        "tags",
        "/tags",
        || json!({"team": "web", "more": ""}),
    ),
    ("scale_set", "type", "/sku/name", || json!("Standard_B4ms")),
    ("scale_set", "count", "/sku/capacity", || json!(4)),
    (
        "scale_set",
        "image",
        "/properties/virtualMachineProfile/storageProfile/imageReference/id",
        || json!("other"),
    ),
    ("scale_set", "zones", "/zones", || json!(["1"])),
    ("scale_set", "tags", "/tags", || Value::Null),
    ("disk", "type", "/sku/name", || json!("StandardSSD_LRS")),
    ("disk", "size_gib", "/properties/diskSizeGB", || json!(128)),
    ("disk", "zone", "/zones", || json!([])),
    ("disk", "tags", "/tags", || json!({"team": "web"})),
    ("ssh_key", "tags", "/tags", || json!({})),
    (
        "virtual_network",
        "cidrs",
        "/properties/addressSpace/addressPrefixes",
        || json!(["10.0.0.0/16", "10.1.0.0/16"]),
    ),
    ("virtual_network", "dns", "/properties/dhcpOptions", || Value::Null),
    ("virtual_network", "tags", "/tags", || json!({})),
    ("subnet", "cidrs", "/properties/addressPrefix", || json!("10.0.2.0/24")),
    (
        "network_interface",
        "subnets",
        "/properties/ipConfigurations/0/properties/subnet/id",
        || json!("other"),
    ),
    (
        "network_interface",
        "addresses",
        "/properties/ipConfigurations/0/properties/publicIPAddress",
        || Value::Null,
    ),
    (
        "network_interface",
        "private_addresses",
        "/properties/ipConfigurations/0/properties/privateIPAddress",
        || json!("10.0.1.5"),
    ),
    (
        "network_interface",
        "forwards",
        "/properties/enableIPForwarding",
        || json!(true),
    ),
    ("network_interface", "tags", "/tags", || json!({"a": "b"})),
    (
        "security_group",
        "rules",
        "/properties/securityRules/0/properties/sourceAddressPrefix",
        || json!("*"),
    ),
    ("security_group", "tags", "/tags", || json!({"a": "b"})),
    ("security_rule", "rule", "/properties/access", || json!("Deny")),
    ("route_table", "routes", "/properties/routes", || json!([])),
    ("route_table", "tags", "/tags", || json!({"a": "b"})),
    ("route", "destination", "/properties/addressPrefix", || {
        json!("10.9.0.0/16")
    }),
    ("route", "via", "/properties/nextHopIpAddress", || json!("10.0.1.10")),
    ("nat_gateway", "type", "/sku/name", || json!("StandardV2")),
    ("nat_gateway", "tags", "/tags", || json!({})),
    ("public_address", "type", "/sku/name", || json!("Basic")),
    (
        "public_address",
        "allocation",
        "/properties/publicIPAllocationMethod",
        || json!("Dynamic"),
    ),
    ("public_address", "public_address", "/properties/ipAddress", || {
        Value::Null
    }),
    ("public_address", "zones", "/zones", || json!(["3"])),
    ("public_address", "tags", "/tags", || json!({"a": "b"})),
];

fn resources() -> Vec<Value> {
    serde_json::from_str(RESOURCES).unwrap()
}

async fn built() -> AzureBed {
    let bed = AzureBed::plain().await;
    for resource in resources() {
        bed.azure.put_resource(resource);
    }
    bed
}

fn object(kind: &str, id: &str) -> ObjectRef {
    ObjectRef {
        kind: ObjectType(kind.to_owned()),
        id: ObjectId(id.to_owned()),
        zone: None,
    }
}

fn machine(subscription: &str, group: &str, name: &str) -> ObjectRef {
    let group = format!("/subscriptions/{subscription}/resourceGroups/{group}");
    object(
        "virtual_machine",
        &format!("{group}/providers/Microsoft.Compute/virtualMachines/{name}"),
    )
}

#[tokio::test]
async fn what_terraform_built_is_read_as_its_state_has_it() {
    let bed = built().await;
    let provider = bed.provider();
    let account = provider.adoption().unwrap().account(&bed.site()).await;
    assert_eq!(account, Ok(SUBSCRIPTION.to_owned()));
    let compared = agree(&*provider, &bed.site(), &stated(STATE)).await;
    assert_eq!(compared, CHANGES.len());
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn whatever_is_changed_where_it_is_is_named_and_nothing_else() {
    let bed = built().await;
    let stated = stated(STATE);
    let mut changed = BTreeSet::new();
    for (name, field, pointer, value) in CHANGES {
        let one = &stated[*name];
        let is = |resource: &Value| resource["id"].as_str().unwrap().eq_ignore_ascii_case(&one.object.id.0);
        let before = resources().into_iter().find(is).unwrap();
        let mut after = before.clone();
        *after.pointer_mut(pointer).unwrap() = value();
        bed.azure.put_resource(after);
        assert_eq!(drifted(&*bed.provider(), &bed.site(), one).await, [*field], "{name}");
        bed.azure.put_resource(before);
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
        machine(SUBSCRIPTION, GROUP, "gone"),
        // Its resource group is gone too.
        machine(SUBSCRIPTION, "gone", "web"),
        object("disk", "no id at all"),
        machine("00000000-0000-0000-0000-00000000000f", GROUP, "web"),
        object("bastion", "x"),
        machine(SUBSCRIPTION, GROUP, "web"),
    ];
    let found = read(&*bed.provider(), &bed.site(), &objects).await;
    assert_eq!(found[..3], [const { Err(ProviderError::NotFound) }; 3]);
    assert!(matches!(&found[3], Err(ProviderError::InvalidSpec { message }) if message.contains(SUBSCRIPTION)));
    assert!(matches!(&found[4], Err(ProviderError::Unsupported { .. })));
    assert!(found[5].is_ok());
    let too_many = vec![machine(SUBSCRIPTION, GROUP, "web"); ADOPTION_READ_MAX_OBJECTS + 1];
    let provider = bed.provider();
    let refused = provider.adoption().unwrap().read(&bed.site(), &too_many).await;
    assert!(matches!(refused, Err(ProviderError::InvalidSpec { .. })));
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_isobar_made_says_whose_it_is_and_no_secret_is_in_any_field() {
    let bed = built().await;
    let mut resource = resources().remove(0);
    let owned = bed.request(1).tags;
    for (label, value) in owned.labels() {
        resource["tags"][label] = json!(value);
    }
    assert!(resource["tags"][labels::STORE].is_string());
    bed.azure.put_resource(resource);
    let found = read(&*bed.provider(), &bed.site(), &[machine(SUBSCRIPTION, GROUP, "web")]).await;
    let found = found[0].as_ref().unwrap();
    assert_eq!(found.owner, Some(owner()));
    assert!(!format!("{found:?}").contains("a secret of the node"));
}

#[tokio::test]
async fn where_nothing_can_be_read_the_whole_call_fails() {
    let bed = built().await;
    bed.azure.expire_tokens();
    let objects: Vec<ObjectRef> = stated(STATE).into_values().map(|one| one.object).collect();
    let provider = bed.provider();
    let failed = provider.adoption().unwrap().read(&bed.site(), &objects).await;
    assert!(matches!(failed, Err(ProviderError::Unauthorized { .. })), "{failed:?}");
}
