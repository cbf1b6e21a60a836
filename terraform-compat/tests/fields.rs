//! What a state says of objects that can be read back: the same whoever wrote it, in whatever form.

use std::collections::BTreeSet;

use expect_test::{Expect, expect, expect_file};
use isobar_engine_model::object::{FieldValue, Fields};
use isobar_terraform_compat::account::{Account, Told, account};
use isobar_terraform_compat::fields;
use isobar_terraform_compat::identity;
use isobar_terraform_compat::read::Keys;
use serde_json::{Value, json};

fn read(state: &Value) -> Account {
    account(
        "state",
        state.to_string().as_bytes(),
        &Keys::default(),
        &Told::default(),
    )
    .expect("the state is read")
}

fn said(state: &Value) -> (String, Fields) {
    let account = read(state);
    let identified = account.lines[0].standing.identified().expect("an object of a cloud");
    (
        format!("{} {}", identified.kind.0, identified.object.0),
        identified.fields.clone(),
    )
}

fn v4(kind: &str, attributes: &Value) -> Value {
    let provider = format!("provider[\"registry.terraform.io/hashicorp/{}\"]", provider(kind));
    json!({"version": 4, "serial": 1, "lineage": "l", "resources": [
        {"mode": "managed", "type": kind, "name": "n", "provider": provider, "instances": [{"attributes": attributes}]}
    ]})
}

fn v3(kind: &str, attributes: &Value) -> Value {
    let primary = json!({"id": attributes["id"], "attributes": attributes});
    let resource = json!({"type": kind, "primary": primary, "provider": format!("provider.{}", provider(kind))});
    json!({"version": 3, "serial": 1, "lineage": "l", "modules": [
        {"path": ["root"], "resources": {format!("{kind}.n"): resource}}
    ]})
}

fn provider(kind: &str) -> &str {
    kind.split('_').next().unwrap_or_default()
}

fn check(kind: &str, attributes: &Value, expected: Expect) {
    let (object, fields) = said(&v4(kind, attributes));
    expected.assert_eq(&written(&object, &fields));
}

fn written(object: &str, fields: &Fields) -> String {
    let lines = fields.iter().map(|(name, value)| {
        let value = match value {
            FieldValue::Text(text) => text.clone(),
            FieldValue::Set(set) => format!("{set:?}"),
            FieldValue::Map(map) => format!("{map:?}"),
        };
        format!("{name}: {value}\n")
    });
    format!("{object}\n{}", lines.collect::<String>())
}

#[test]
fn a_machine_of_amazon_says_the_same_in_both_forms() {
    let expected = expect![[r#"
        instance i-1
        boot_disk: vol-1
        firewalls: {"sg-1", "sg-2"}
        image: ami-1
        key: deploy
        private_address: 10.0.0.5
        subnet: subnet-1
        tags: {"Name": "web", "team.name": "a"}
        type: t3.small
        zone: eu-west-1a
    "#]];
    let (object, fields) = said(&v4(
        "aws_instance",
        &json!({
            "id": "i-1", "instance_type": "t3.small", "ami": "ami-1", "availability_zone": "eu-west-1a", "subnet_id": "subnet-1",
            "vpc_security_group_ids": ["sg-2", "sg-1"], "private_ip": "10.0.0.5", "public_ip": "", "key_name": "deploy",
            "root_block_device": [{"volume_id": "vol-1", "volume_size": 8}], "instance_lifecycle": null,
            "tags": {"Name": "web", "team.name": "a"}, "user_data": "c2VjcmV0"
        }),
    ));
    expected.assert_eq(&written(&object, &fields));
    let (object, old) = said(&v3(
        "aws_instance",
        &json!({
            "id": "i-1", "instance_type": "t3.small", "ami": "ami-1", "availability_zone": "eu-west-1a", "subnet_id": "subnet-1",
            "vpc_security_group_ids.#": "2", "vpc_security_group_ids.2311": "sg-2", "vpc_security_group_ids.11": "sg-1",
            "private_ip": "10.0.0.5", "key_name": "deploy", "root_block_device.#": "1",
            "root_block_device.0.volume_id": "vol-1", "tags.%": "2", "tags.Name": "web", "tags.team.name": "a",
            "user_data": "c2VjcmV0"
        }),
    ));
    assert_eq!(object, "instance i-1");
    assert_eq!(old, fields);
}

#[test]
fn rules_of_a_group_are_lines_in_both_forms() {
    let expected = expect![[r#"
        security_group sg-1
        name: web
        network: vpc-1
        rules: {"in allow icmp 3-4 sg-1", "in allow tcp 22 10.0.0.0/8", "in allow tcp 22 192.168.0.0/16", "in allow tcp 22 sg-9", "out allow all 0.0.0.0/0"}
        tags: {}
    "#]];
    let (object, fields) = said(&v4(
        "aws_security_group",
        &json!({
            "id": "sg-1", "name": "web", "vpc_id": "vpc-1", "tags": {}, "tags_all": {},
            "ingress": [
                {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["192.168.0.0/16", "10.0.0.0/8"],
                 "security_groups": ["111122223333/sg-9"], "self": false},
                {"protocol": "icmp", "from_port": 3, "to_port": 4, "cidr_blocks": [], "security_groups": [], "self": true}],
            "egress": [{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"], "self": false}]
        }),
    ));
    expected.assert_eq(&written(&object, &fields));
    let (_, old) = said(&v3(
        "aws_security_group",
        &json!({
            "id": "sg-1", "name": "web", "vpc_id": "vpc-1", "tags.%": "0", "ingress.#": "2", "egress.#": "1",
            "ingress.7.protocol": "tcp", "ingress.7.from_port": "22", "ingress.7.to_port": "22", "ingress.7.cidr_blocks.#": "2",
            "ingress.7.cidr_blocks.0": "192.168.0.0/16", "ingress.7.cidr_blocks.1": "10.0.0.0/8",
            "ingress.7.security_groups.#": "1", "ingress.7.security_groups.55": "sg-9", "ingress.7.self": "false",
            "ingress.8.protocol": "icmp", "ingress.8.from_port": "3", "ingress.8.to_port": "4", "ingress.8.self": "true",
            "egress.9.protocol": "-1", "egress.9.from_port": "0", "egress.9.to_port": "0", "egress.9.cidr_blocks.#": "1",
            "egress.9.cidr_blocks.0": "0.0.0.0/0", "egress.9.self": "false"
        }),
    ));
    assert_eq!(old, fields);
}

#[test]
fn a_list_that_is_empty_is_known_and_one_that_is_not_there_is_not() {
    let rules = |attributes: Value| said(&v4("aws_security_group", &attributes)).1.remove("rules");
    let none = Some(FieldValue::Set(BTreeSet::new()));
    assert_eq!(rules(json!({"id": "sg-1", "ingress": [], "egress": []})), none);
    assert_eq!(rules(json!({"id": "sg-1", "ingress": []})), None);
    assert_eq!(rules(json!({"id": "sg-1", "ingress": null, "egress": null})), None);
}

#[test]
fn tags_are_those_that_the_provider_gave() {
    check(
        "aws_ebs_volume",
        &json!({"id": "vol-1", "size": 8, "type": "gp3", "iops": 3000, "throughput": 0, "encrypted": false,
            "tags": {"a": "1"}, "tags_all": {"a": "1", "team": "x", "empty": ""}}),
        expect![[r#"
            volume vol-1
            encrypted: false
            iops: 3000
            size_gib: 8
            tags: {"a": "1", "empty": "", "team": "x"}
            type: gp3
        "#]],
    );
}

#[test]
fn azure_tells_no_case() {
    check(
        "azurerm_linux_virtual_machine",
        &json!({
            "id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachines/Web", "location": "westeurope",
            "size": "Standard_B2s", "zone": "1", "priority": "Regular", "admin_password": "x", "custom_data": "x",
            "network_interface_ids": ["/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/networkInterfaces/Web"],
            "os_disk": [{"name": "Web-OS", "disk_size_gb": 30}], "tags": {"Team": "x"},
            "source_image_reference": [{"publisher": "Canonical", "offer": "o", "sku": "22_04-lts", "version": "latest"}]
        }),
        expect![[r#"
            virtual_machine /subscriptions/s/resourcegroups/g/providers/microsoft.compute/virtualmachines/web
            boot_disk: web-os
            image: canonical:o:22_04-lts:latest
            interfaces: {"/subscriptions/s/resourcegroups/g/providers/microsoft.network/networkinterfaces/web"}
            purchase: on_demand
            tags: {"Team": "x"}
            type: Standard_B2s
            zone: 1
        "#]],
    );
    check(
        "azurerm_network_security_rule",
        &json!({
            "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n/securityRules/r",
            "priority": 100, "direction": "Inbound", "access": "Deny", "protocol": "*", "source_address_prefix": "",
            "source_address_prefixes": ["10.1.0.0/16", "10.0.0.0/16"], "destination_address_prefix": "*",
            "destination_port_range": "", "destination_port_ranges": ["443", "80"]
        }),
        expect![[r#"
            security_rule /subscriptions/s/resourcegroups/g/providers/microsoft.network/networksecuritygroups/n/securityrules/r
            rule: 100 in deny all 443,80 10.0.0.0/16,10.1.0.0/16 to *
        "#]],
    );
}

#[test]
fn links_of_google_are_what_stands_within_the_project() {
    let link = |path: &str| format!("https://www.googleapis.com/compute/v1/projects/p/{path}");
    check(
        "google_compute_instance",
        &json!({
            "id": "projects/p/zones/europe-west1-b/instances/web", "self_link": link("zones/europe-west1-b/instances/web"),
            "machine_type": "e2-small", "zone": "europe-west1-b", "tags": ["http"], "labels": {"a": "1"},
            "effective_labels": {"a": "1", "goog-terraform-provisioned": "true"}, "metadata": {"ssh-keys": "x"},
            "boot_disk": [{"source": link("zones/europe-west1-b/disks/web"), "disk_encryption_key_raw": "x"}],
            "scheduling": [{"provisioning_model": "SPOT", "preemptible": true}],
            "network_interface": [
                {"network": link("global/networks/a"), "subnetwork": link("regions/europe-west1/subnetworks/a"),
                 "network_ip": "10.0.0.2", "access_config": [{"nat_ip": "34.1.1.1"}]},
                {"network": link("global/networks/b"), "network_ip": "10.9.0.2", "access_config": []}]
        }),
        expect![[r#"
            instance zones/europe-west1-b/instances/web
            boot_disk: zones/europe-west1-b/disks/web
            network: global/networks/a
            network_tags: {"http"}
            private_address: 10.0.0.2
            public_address: 34.1.1.1
            purchase: spot
            subnet: regions/europe-west1/subnetworks/a
            tags: {"a": "1", "goog-terraform-provisioned": "true"}
            type: e2-small
            zone: europe-west1-b
        "#]],
    );
}

#[test]
fn a_name_of_google_becomes_an_id_where_its_place_is_known() {
    let id = |kind: &str, attributes: Value| said(&v4(kind, &attributes)).0;
    for (kind, attributes, expected) in [
        (
            "google_compute_disk",
            json!({"name": "d", "zone": "europe-west1-b"}),
            "disk zones/europe-west1-b/disks/d",
        ),
        ("google_compute_disk", json!({"name": "d"}), "disk d"),
        (
            "google_compute_region_disk",
            json!({"name": "d", "region": "europe-west1"}),
            "disk regions/europe-west1/disks/d",
        ),
        (
            "google_compute_network",
            json!({"name": "n"}),
            "network global/networks/n",
        ),
        (
            "google_compute_global_address",
            json!({"name": "a"}),
            "address global/addresses/a",
        ),
        (
            "google_compute_address",
            json!({"name": "a", "region": "europe-west1"}),
            "address regions/europe-west1/addresses/a",
        ),
    ] {
        assert_eq!(id(kind, attributes), expected, "{kind}");
    }
}

#[test]
fn every_type_of_a_cloud_with_a_provider_has_a_table_and_names_no_field_twice() {
    for (cloud, row) in identity::all() {
        let table = fields::of(row.kind);
        let names: BTreeSet<&str> = table.fields.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), table.fields.len(), "{}", row.kind);
        let known = !table.fields.is_empty() || !table.unmanaged.is_empty();
        assert_eq!(known, cloud != identity::Cloud::Openstack, "{}", row.kind);
    }
}

#[test]
fn the_page_lists_every_field_of_every_type() {
    let mut page = String::from(
        "# Fields of what Terraform built\n\n\
         What is compared of an object that is [taken over](import-terraform.md): for each resource type the word for its objects, \
         its fields, and\nthe attributes of the state that each is made of. Made by `UPDATE_EXPECT=1 cargo test --workspace --test \
         fields` from the tables in the code.\n",
    );
    for (cloud, row) in identity::all().filter(|(cloud, _)| *cloud != identity::Cloud::Openstack) {
        let table = fields::of(row.kind);
        page.push_str(&format!("\n## `{}`: {} of {cloud:?}\n\n", row.kind, row.object));
        for field in table.fields {
            let from: Vec<String> = field.from.iter().map(|path| format!("`{path}`")).collect();
            page.push_str(&format!("- **{}**: {}\n", field.name, from.join(", ")));
        }
        for not in table.unmanaged {
            page.push_str(&format!("- never `{}`: {}\n", not.attribute, not.why.words()));
        }
    }
    expect_file![format!("{}/../docs/terraform-fields.md", env!("CARGO_MANIFEST_DIR"))].assert_eq(&page);
}
