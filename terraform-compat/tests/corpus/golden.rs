//! A report of every state, as it was read by a person once.

use expect_test::expect_file;
use isobar_terraform_compat::account::{Told, account, settle_owners};
use isobar_terraform_compat::handover::{files, hand_over};
use isobar_terraform_compat::hcl::Blocks;
use isobar_terraform_compat::markdown;
use isobar_terraform_compat::read::Keys;
use serde_json::Value;

use super::archive::states;

/// Of the one state whose passphrase is known.
const PASSPHRASE: &str = "correct-horse-battery-staple";

fn keys() -> Keys {
    Keys {
        passphrase: Some(PASSPHRASE.into()),
        key: None,
    }
}

#[test]
fn every_state_is_accounted_for_as_it_was_or_refused_by_name() {
    for (name, bytes) in states() {
        let report = match account(&name, &bytes, &keys(), &Told::default()) {
            Ok(account) => markdown::render(&account),
            Err(error) => format!("# {name}\n\n{error}\n\nhint: {}\n", error.hint()),
        };
        let path = format!("{}/tests/golden/{name}.md", env!("CARGO_MANIFEST_DIR"));
        expect_file![path].assert_eq(&report);
    }
}

#[test]
fn every_instance_in_a_state_has_exactly_one_line() {
    let mut compared = 0;
    for (name, bytes) in states() {
        let Ok(state) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        let Some(resources) = state["resources"].as_array() else {
            continue;
        };
        if state["version"] != 4 {
            continue;
        }
        let instances: usize = resources
            .iter()
            .map(|r| r["instances"].as_array().map_or(0, Vec::len))
            .sum();
        let account = account(&name, &bytes, &keys(), &Told::default()).unwrap();
        let counts = serde_json::to_value(account.counts()).unwrap();
        let added: u64 = counts.as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(account.lines.len(), instances, "{name}");
        assert_eq!(added, instances as u64, "{name}");
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn a_copy_of_a_state_owns_nothing_that_the_first_owns() {
    let mut candidates = 0;
    for (name, bytes) in states() {
        let Ok(first) = account(&name, &bytes, &keys(), &Told::default()) else {
            continue;
        };
        let copy = account("copy", &bytes, &keys(), &Told::default()).unwrap();
        let before = first.counts().candidate;
        let mut both = [first, copy];
        settle_owners(&mut both);
        assert_eq!(both[1].counts().candidate, 0, "{name}");
        assert_eq!(
            both[0].counts().candidate + both[0].counts().already_owned,
            before,
            "{name}"
        );
        candidates += before;
    }
    assert!(candidates > 20, "{candidates}");
}

#[test]
fn the_encrypted_state_holds_what_its_plain_one_holds() {
    let states = states();
    let read = |wanted: &str| {
        let (_, bytes) = states.iter().find(|(name, _)| name == wanted).unwrap();
        account("same", bytes, &keys(), &Told::default()).unwrap()
    };
    let (sealed, plain) = (read("ours__made-here__4.tfstate"), read("ours__made-here__1.tfstate"));
    assert!(sealed.header.encrypted);
    assert_eq!(sealed.lines, plain.lines);
}

#[test]
fn every_state_is_handed_over_as_it_was_read_by_a_person_once() {
    let mut handed = 0;
    for (name, bytes) in states() {
        let Ok(account) = account(&name, &bytes, &keys(), &Told::default()) else {
            continue;
        };
        let plan = hand_over(&account, &Blocks::default());
        handed += plan.handed.len();
        assert_eq!(
            plan.handed.len() + plan.left.len(),
            account.counts().candidate,
            "{name}"
        );
        if plan.handed.is_empty() {
            continue;
        }
        let files = files(&account, &plan);
        let shown: String = files
            .iter()
            .map(|(file, text)| format!("--- {file}\n{text}\n"))
            .collect();
        let path = format!("{}/tests/golden-hand-over/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        expect_file![path].assert_eq(&shown);
    }
    assert!(handed > 20, "{handed}");
}
