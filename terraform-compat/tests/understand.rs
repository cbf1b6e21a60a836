//! What is found out about an object, from where, and what is asked.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use expect_test::{Expect, expect};
use isobar_terraform_compat::account::{Account, Answer, Told, account, settle_owners};
use isobar_terraform_compat::identity::{self, Part, Source};
use isobar_terraform_compat::markdown;
use isobar_terraform_compat::read::{Format, Keys, ReadError};
use serde_json::{Value, json};

const AWS: &str = "provider[\"registry.terraform.io/hashicorp/aws\"]";

fn resource(kind: &str, provider: &str, attributes: Value) -> Value {
    json!({"mode": "managed", "type": kind, "name": "n", "provider": provider, "instances": [{"attributes": attributes}]})
}

fn state(resources: &[Value]) -> String {
    json!({"version": 4, "serial": 3, "lineage": "l", "resources": resources}).to_string()
}

fn read(text: &str, told: &Told) -> Account {
    account("state", text.as_bytes(), &Keys::default(), told).expect("the state is read")
}

/// The rows of the report, without its head.
fn check(resources: &[Value], expected: Expect) {
    check_text(&state(resources), expected);
}

fn check_text(text: &str, expected: Expect) {
    let report = markdown::render(&read(text, &Told::default()));
    let rows = report
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("- "));
    expected.assert_eq(&rows.map(|row| format!("{row}\n")).collect::<String>());
}

#[test]
fn account_and_region_come_from_the_object_or_from_all_its_neighbours() {
    let vpc = |region: &str| {
        resource(
            "aws_vpc",
            AWS,
            json!({"id": "vpc-1", "arn": format!("arn:aws:ec2:{region}:111122223333:vpc/vpc-1")}),
        )
    };
    let key = resource("aws_key_pair", AWS, json!({"id": "deploy"}));
    check(
        &[vpc("eu-west-1"), key.clone()],
        expect![[r#"
            | `aws_vpc.n` | can be taken over | Aws 111122223333 eu-west-1 `vpc-1` |  |
            | `aws_key_pair.n` | can be taken over | Aws 111122223333 eu-west-1 `deploy` |  |
        "#]],
    );
    let other = resource(
        "aws_sqs_queue",
        AWS,
        json!({"arn": "arn:aws:sqs:us-east-1:111122223333:q"}),
    );
    check(
        &[vpc("eu-west-1"), key.clone(), other],
        expect![[r#"
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS region does this provider configuration use?
            | `aws_vpc.n` | can be taken over | Aws 111122223333 eu-west-1 `vpc-1` |  |
            | `aws_key_pair.n` | can be taken over | Aws 111122223333 ? `deploy` |  |
            | `aws_sqs_queue.n` | not managed |  |  |
        "#]],
    );
    check(
        &[key],
        expect![[r#"
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS account does this provider configuration use?
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS region does this provider configuration use?
            | `aws_key_pair.n` | can be taken over | Aws ? ? `deploy` |  |
        "#]],
    );
}

#[test]
fn neighbours_of_another_alias_say_nothing() {
    let west = format!("{AWS}.west");
    let vpc = resource(
        "aws_vpc",
        &west,
        json!({"id": "vpc-1", "arn": "arn:aws:ec2:us-west-2:111122223333:vpc/vpc-1"}),
    );
    check(
        &[vpc, resource("aws_key_pair", AWS, json!({"id": "deploy"}))],
        expect![[r#"
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS account does this provider configuration use?
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS region does this provider configuration use?
            | `aws_vpc.n` | can be taken over | Aws 111122223333 us-west-2 `vpc-1` |  |
            | `aws_key_pair.n` | can be taken over | Aws ? ? `deploy` |  |
        "#]],
    );
}

#[test]
fn what_the_caller_says_of_itself_is_the_account() {
    let mut caller = resource(
        "aws_caller_identity",
        AWS,
        json!({"account_id": "111122223333", "id": "111122223333"}),
    );
    caller["mode"] = "data".into();
    let volume = resource(
        "aws_ebs_volume",
        AWS,
        json!({"id": "vol-1", "availability_zone": "eu-west-1b"}),
    );
    check(
        &[caller, volume],
        expect![[r#"
            | `data.aws_caller_identity.n` | data |  |  |
            | `aws_ebs_volume.n` | can be taken over | Aws 111122223333 eu-west-1 eu-west-1b `vol-1` | zone `eu-west-1b` |
        "#]],
    );
}

#[test]
fn ids_that_only_the_provider_knows_are_not_taken_for_the_clouds() {
    let spot = resource(
        "aws_spot_instance_request",
        AWS,
        json!({"id": "sir-1", "spot_instance_id": "i-1"}),
    );
    let mut waits = resource("aws_spot_instance_request", AWS, json!({"id": "sir-2"}));
    waits["name"] = "waits".into();
    let route = resource(
        "aws_route",
        AWS,
        json!({"id": "r-rtb-11080289494", "route_table_id": "rtb-1", "destination_cidr_block": "0.0.0.0/0"}),
    );
    check(
        &[spot, waits, route],
        expect![[r#"
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS account does this provider configuration use?
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS region does this provider configuration use?
            | `aws_spot_instance_request.n` | can be taken over | Aws ? ? `i-1` |  |
            | `aws_spot_instance_request.waits` | refused: its id is not in the state |  |  |
            | `aws_route.n` | can be taken over | Aws ? ? `rtb-1_0.0.0.0/0` | destination `0.0.0.0/0`, table `rtb-1` |
        "#]],
    );
}

#[test]
fn a_type_of_another_provider_is_not_the_clouds() {
    let fork = "provider[\"example.com/acme/cloudish\"]";
    check(
        &[resource("aws_instance", fork, json!({"id": "i-1"}))],
        expect![[r#"
            | `aws_instance.n` | not managed |  |  |
        "#]],
    );
}

#[test]
fn what_is_not_managed_says_what_it_hangs_on() {
    let machine = resource("aws_instance", AWS, json!({"id": "i-1"}));
    let mut attachment = resource(
        "aws_volume_attachment",
        AWS,
        json!({"instance_id": "i-1", "volume_id": "vol-elsewhere"}),
    );
    attachment["instances"][0]["dependencies"] = json!(["aws_ebs_volume.gone"]);
    check(
        &[machine, attachment],
        expect![[r#"
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS account does this provider configuration use?
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS region does this provider configuration use?
            | `aws_instance.n` | can be taken over | Aws ? ? `i-1` |  |
            | `aws_volume_attachment.n` | not managed, attached to `aws_ebs_volume.gone`, `aws_instance.n` |  |  |
        "#]],
    );
}

#[test]
fn old_google_and_openstack_objects_are_composed() {
    let google = "provider.google";
    let disk = resource(
        "google_compute_disk",
        google,
        json!({"id": "d", "name": "d", "project": "p", "zone": "https://x/projects/p/zones/europe-west1-b"}),
    );
    let machine = resource(
        "openstack_compute_instance_v2",
        "provider.openstack",
        json!({"id": "u-1", "region": "GRA"}),
    );
    check(
        &[disk, machine],
        expect![[r#"
            - `provider.openstack`: which OpenStack project does this provider configuration use?
            | `google_compute_disk.n` | can be taken over | Gcp p europe-west1 europe-west1-b `d` | zone `europe-west1-b` |
            | `openstack_compute_instance_v2.n` | reported: Isobar has no provider of its cloud | Openstack ? GRA `u-1` |  |
        "#]],
    );
}

#[test]
fn states_of_version_3_are_read() {
    let text = json!({"version": 3, "terraform_version": "0.11.14", "serial": 9, "lineage": "l", "modules": [
        {"path": ["root"], "resources": {
            "aws_instance.web.1": {"type": "aws_instance", "provider": "", "depends_on": ["aws_vpc.v"],
                "primary": {"id": "i-1", "attributes": {"id": "i-1", "availability_zone": "eu-west-1a", "tags.%": "1", "tags.id": "x"}, "tainted": true},
                "deposed": [{"id": "i-0", "attributes": {}}]},
            "data.aws_ami.a": {"type": "aws_ami", "primary": {"id": "ami-1", "attributes": {"id": "ami-1"}}}}},
        {"path": ["root", "net"], "resources": {
            "aws_vpc.v": {"type": "aws_vpc", "provider": "module.net.provider.aws", "primary": {"id": "vpc-1", "attributes": {"id": "vpc-1"}}}}}]});
    assert_eq!(read(&text.to_string(), &Told::default()).header.format, Format::V3);
    check_text(
        &text.to_string(),
        expect![[r#"
            - `module.net.provider.aws`: which AWS account does this provider configuration use?
            - `module.net.provider.aws`: which AWS region does this provider configuration use?
            - `provider.aws`: which AWS account does this provider configuration use?
            | `aws_instance.web[1]` | tainted, attributes of 0.11 | Aws ? eu-west-1 eu-west-1a `i-1` | tags `id=x`, zone `eu-west-1a` |
            | `aws_instance.web[1]` | deposed 00000001, attributes of 0.11 | Aws ? eu-west-1 `i-0` |  |
            | `data.aws_ami.a` | data, attributes of 0.11 |  |  |
            | `module.net.aws_vpc.v` | can be taken over, attributes of 0.11 | Aws ? ? `vpc-1` |  |
        "#]],
    );
}

#[test]
fn show_json_is_read() {
    let machine = |deposed: Option<&str>| {
        json!({"address": "module.m[0].aws_instance.w[\"a\"]", "mode": "managed", "type": "aws_instance", "name": "w", "index": "a",
        "provider_name": "registry.terraform.io/hashicorp/aws", "schema_version": 1, "values": {"id": "i-1"}, "deposed_key": deposed})
    };
    let text = json!({"format_version": "1.0", "terraform_version": "1.11.4", "values": {"root_module": {
        "child_modules": [{"address": "module.m[0]", "resources": [machine(None), machine(Some("998d6b4b"))]}]}}});
    let account = read(&text.to_string(), &Told::default());
    assert_eq!((account.header.format, account.header.serial), (Format::Show, None));
    check_text(
        &text.to_string(),
        expect![[r#"
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS account does this provider configuration use?
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS region does this provider configuration use?
            | `module.m[0].aws_instance.w["a"]` | can be taken over | Aws ? ? `i-1` |  |
            | `module.m[0].aws_instance.w["a"]` | deposed 998d6b4b | Aws ? ? `i-1` |  |
        "#]],
    );
}

#[test]
fn an_answer_settles_what_was_asked_and_changes_nothing_that_was_known() {
    let text = state(&[
        resource("aws_key_pair", AWS, json!({"id": "deploy"})),
        resource(
            "aws_vpc",
            &format!("{AWS}.west"),
            json!({"id": "v", "arn": "arn:aws:ec2:us-west-2:111122223333:vpc/v"}),
        ),
    ]);
    let answer = Answer {
        account: Some("999999999999".into()),
        region: Some("eu-north-1".into()),
    };
    let told = Told(BTreeMap::from([
        (AWS.to_owned(), answer.clone()),
        (format!("{AWS}.west"), answer),
    ]));
    let account = read(&text, &told);
    assert!(account.questions().is_empty());
    let regions = account
        .lines
        .iter()
        .map(|line| line.standing.identified().unwrap().region.clone());
    let known = |value: &str, from| Part::Known {
        value: value.into(),
        from,
    };
    let expected = [known("eu-north-1", Source::Told), known("us-west-2", Source::Object)];
    assert_eq!(regions.collect::<Vec<_>>(), expected);
}

#[test]
fn the_same_name_in_two_regions_is_two_objects_and_an_unknown_region_may_be_either() {
    let key = |region: &str| {
        state(&[resource(
            "aws_key_pair",
            AWS,
            json!({"id": "deploy", "arn": format!("arn:aws:ec2:{region}:111122223333:key-pair/deploy")}),
        )])
    };
    let unknown = state(&[resource("aws_key_pair", AWS, json!({"id": "deploy"}))]);
    let mut accounts = [key("eu-west-1"), key("us-east-1"), unknown].map(|text| read(&text, &Told::default()));
    settle_owners(&mut accounts);
    assert_eq!(accounts.each_ref().map(|account| account.counts().candidate), [1, 1, 0]);
}

#[test]
fn an_object_that_is_twice_in_a_state_is_refused_the_second_time() {
    let machine = resource("aws_instance", AWS, json!({"id": "i-1"}));
    check(
        &[machine.clone(), machine],
        expect![[r#"
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS account does this provider configuration use?
            - `provider["registry.terraform.io/hashicorp/aws"]`: which AWS region does this provider configuration use?
            | `aws_instance.n` | can be taken over | Aws ? ? `i-1` |  |
            | `aws_instance.n` | refused: it is twice in the state |  |  |
        "#]],
    );
}

fn sealed(plain: &str, key: &[u8], outer_serial: u64) -> String {
    let key =
        ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key).expect("32 bytes"));
    let nonce = [7; ring::aead::NONCE_LEN];
    let mut data = plain.as_bytes().to_vec();
    key.seal_in_place_append_tag(
        ring::aead::Nonce::assume_unique_for_key(nonce),
        ring::aead::Aad::empty(),
        &mut data,
    )
    .expect("it is short");
    let data = STANDARD.encode([&nonce[..], &data].concat());
    json!({"serial": outer_serial, "lineage": "l", "meta": {}, "encrypted_data": data, "encryption_version": "v0"})
        .to_string()
}

#[test]
fn a_state_sealed_with_a_key_opens_with_it_alone_and_only_if_it_is_the_one_outside() {
    let open = |text: &str, key: &[u8]| {
        let keys = Keys {
            passphrase: None,
            key: Some(key.to_vec()),
        };
        account("x", text.as_bytes(), &keys, &Told::default())
    };
    let text = sealed(&state(&[]), &[1; 32], 3);
    assert!(open(&text, &[1; 32]).unwrap().header.encrypted);
    assert!(matches!(open(&text, &[2; 32]), Err(ReadError::WrongKey)));
    assert!(matches!(open(&text, &[1; 5]), Err(ReadError::WrongKey)));
    assert!(matches!(
        open(&sealed(&state(&[]), &[1; 32], 4), &[1; 32]),
        Err(ReadError::OtherInside)
    ));
}

#[test]
fn the_page_lists_what_is_understood() {
    let page = include_str!("../../docs/import-terraform.md");
    for (cloud, row) in identity::all() {
        let expected = format!("| `{}` | {cloud:?} | {:?} |", row.kind, row.what).to_lowercase();
        assert!(
            page.to_lowercase().contains(&expected),
            "docs/import-terraform.md lacks {expected}"
        );
    }
    let listed = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches('|').count() == 4)
        .count();
    assert_eq!(listed, identity::all().count());
}
