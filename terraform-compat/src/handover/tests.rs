//! What goes by which means, what stays, and when it is confirmed.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::account::{Told, account};
use crate::hcl::blocks;
use crate::read::Keys;

fn instance(key: Option<Value>, id: &str) -> Value {
    let mut instance = json!({"schema_version": 1, "attributes": {"id": id, "arn":
        format!("arn:aws:ec2:eu-west-1:123456789012:instance/{id}")}});
    if let Some(key) = key {
        instance["index_key"] = key;
    }
    instance
}

fn machines(module: &str, name: &str, instances: Vec<Value>) -> Value {
    json!({"module": module, "mode": "managed", "type": "aws_instance", "name": name, "instances": instances,
        "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]"})
}

fn state(version: &str, serial: u64, resources: Vec<Value>) -> Account {
    let state = json!({"version": 4, "terraform_version": version, "serial": serial, "lineage": "l", "outputs": {},
        "resources": resources});
    account("shop", state.to_string().as_bytes(), &Keys::default(), &Told::default()).unwrap()
}

fn found(files: &[(&str, &str)]) -> Blocks {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    blocks(&files, "").unwrap()
}

fn check(account: &Account, blocks: &Blocks, expect: Expect) {
    let files = files(account, &hand_over(account, blocks));
    let shown = files.iter().map(|(name, text)| format!("--- {name}\n{text}"));
    expect.assert_eq(&shown.collect::<String>());
}

const WEB: &str = "resource \"aws_instance\" \"web\" {\n  count = 2\n}\n";

#[test]
fn a_block_that_goes_as_a_whole_is_removed() {
    let web = machines(
        "",
        "web",
        vec![instance(Some(json!(0)), "i-1"), instance(Some(json!(1)), "i-2")],
    );
    check(
        &state("1.11.4", 1, vec![web]),
        &found(&[("main.tf", WEB)]),
        expect![[r#"
            --- README.md
            # Handing over shop

            In this order:

            1. Let nobody else apply meanwhile. Keep a copy: `terraform state pull > before.tfstate`.
            2. Change the configuration as is said below. **A block that stays makes the next apply create its object a second time. A block that goes without the rest of this makes the next apply destroy its object.** So no apply in between.
            3. Copy `isobar-hand-over.tf` beside the root module's files.
            4. `terraform plan`: it must say `0 to destroy` and create none of these. If it says anything else, stop.
            5. `terraform apply`. It forgets them and destroys nothing.
            6. Show Isobar what `terraform state pull` prints now. From then on the objects are Isobar's.

            ## Delete these blocks

            | block | file | lines |
            |---|---|---|
            | `aws_instance.web` | main.tf | 1-3 |
            --- isobar-hand-over.tf
            # Terraform forgets these and destroys nothing. Delete this file once it is applied.

            removed {
              from = aws_instance.web

              lifecycle {
                destroy = false
              }
            }
            --- way-back.tf
            # The way back: put this and the resource blocks into the configuration again, after Isobar has released the
            # objects, and apply.

            import {
              to = aws_instance.web[0]
              id = "i-1"
            }

            import {
              to = aws_instance.web[1]
              id = "i-2"
            }
        "#]],
    );
}

#[test]
fn single_instances_and_older_terraforms_use_state_rm() {
    let instances = |tainted: bool| {
        let mut second = instance(Some(json!("it's")), "i-2");
        if tainted {
            second["status"] = "tainted".into();
        }
        vec![instance(Some(json!("a${b}")), "i-1"), second]
    };
    let each = "resource \"aws_instance\" \"web\" {\n  for_each = var.all\n}\n";
    let blocks = found(&[("main.tf", each)]);
    let part = hand_over(&state("1.11.4", 1, vec![machines("", "web", instances(true))]), &blocks);
    assert_eq!(part.state_rm, [r#"aws_instance.web["a$${b}"]"#.to_owned()].into());
    assert_eq!((part.removed.len(), part.delete.len(), part.shrink.len()), (0, 0, 1));
    let old = state("1.6.6", 1, vec![machines("", "web", instances(false))]);
    let plan = hand_over(&old, &blocks);
    assert_eq!((plan.removed.len(), plan.state_rm.len(), plan.delete.len()), (0, 2, 1));
    let lines = files(&old, &plan)["state-rm.sh"].clone();
    assert!(lines.ends_with(
        "terraform state rm 'aws_instance.web[\"a$${b}\"]'\nterraform state rm 'aws_instance.web[\"it'\\''s\"]'\n"
    ));
}

#[test]
fn what_would_be_lost_or_is_anothers_stays() {
    let mut old = instance(None, "i-old");
    old["deposed"] = "0a1b2c3d".into();
    let both = machines("", "web", vec![instance(None, "i-1"), old]);
    let in_a = machines("module.a", "db", vec![instance(None, "i-2")]);
    let mut tainted = instance(None, "i-3");
    tainted["status"] = "tainted".into();
    let in_b = machines("module.b", "db", vec![tainted]);
    let odd = machines("", "x\" }", vec![instance(None, "i-4")]);
    let calls = "module \"a\" {\n  source = \"./m\"\n}\nmodule \"b\" {\n  source = \"./m\"\n}\n";
    let blocks = found(&[("main.tf", calls), ("m/db.tf", "resource \"aws_instance\" \"db\" {}\n")]);
    let plan = hand_over(&state("1.11.4", 1, vec![both, in_a, in_b, odd]), &blocks);
    let left: Vec<(&str, &Left)> = plan
        .left
        .iter()
        .map(|(address, left)| (address.as_str(), left))
        .collect();
    let with = "module.b.aws_instance.db".to_owned();
    let expected = [
        ("aws_instance.web", &Left::Deposed),
        ("aws_instance.x\" }", &Left::OddAddress),
        ("module.a.aws_instance.db", &Left::Shared { with }),
    ];
    assert_eq!(left, expected);
    assert_eq!((plan.handed.len(), plan.removed.len(), plan.delete.len()), (0, 0, 0));
}

#[test]
fn one_removed_block_stands_for_all_modules_of_a_call() {
    let module = |key: &str| machines(&format!("module.a[\"{key}\"]"), "db", vec![instance(None, key)]);
    let calls = "module \"a\" {\n  for_each = var.all\n  source = \"./m\"\n}\n";
    let blocks = found(&[("main.tf", calls), ("m/db.tf", "resource \"aws_instance\" \"db\" {}\n")]);
    let plan = hand_over(&state("1.11.4", 1, vec![module("x"), module("y")]), &blocks);
    assert_eq!(plan.removed, ["module.a.aws_instance.db".to_owned()].into());
    assert_eq!((plan.delete.len(), plan.handed.len()), (1, 2));
}

#[test]
fn only_a_later_state_of_the_same_history_without_the_objects_confirms() {
    let web = || machines("", "web", vec![instance(None, "i-1")]);
    let before = state("1.11.4", 4, vec![web()]);
    let handed = hand_over(&before, &Blocks::default()).handed;
    let confirmed = |after: &Account| confirm(&before.header, &handed, after);
    assert_eq!(confirmed(&state("1.11.4", 5, vec![])), Ok(Confirmed { serial: 5 }));
    let still = |address: &str| {
        Err(NotConfirmed::StillThere {
            addresses: vec![address.to_owned()],
        })
    };
    assert_eq!(confirmed(&state("1.11.4", 5, vec![web()])), still("aws_instance.web"));
    let moved = machines("", "www", vec![instance(None, "i-1")]);
    assert_eq!(confirmed(&state("1.11.4", 5, vec![moved])), still("aws_instance.www"));
    let same = NotConfirmed::OlderSerial { before: 4, found: 4 };
    assert_eq!(confirmed(&state("1.11.4", 4, vec![])), Err(same));
    let mut other = state("1.11.4", 9, vec![]);
    other.header.lineage = "another".into();
    assert!(matches!(confirmed(&other), Err(NotConfirmed::OtherLineage { .. })));
    other.header.lineage.clear();
    assert_eq!(confirmed(&other), Err(NotConfirmed::NoHistory));
    assert_eq!(declared(&found(&[("main.tf", WEB)]), &handed).len(), 1);
}

#[test]
fn google_s_objects_are_imported_by_their_paths() {
    let told = |attributes: Value| {
        let disk = json!({"mode": "managed", "type": "google_compute_disk", "name": "d", "provider": "provider.google",
            "instances": [{"schema_version": 0, "attributes": attributes}]});
        import(&state("1.5.0", 1, vec![disk]).lines[0])
    };
    let id = |told: Option<Import>| match told {
        Some(Import::Block { id, .. }) => id,
        other => panic!("{other:?}"),
    };
    let path = "projects/p/zones/europe-west1-b/disks/d";
    assert_eq!(id(told(json!({"id": path}))), path);
    assert_eq!(
        id(told(
            json!({"id": "d", "name": "d", "project": "p", "zone": "europe-west1-b"})
        )),
        path
    );
    assert!(matches!(
        told(json!({"id": "d", "name": "d"})),
        Some(Import::Impossible { .. })
    ));
}
