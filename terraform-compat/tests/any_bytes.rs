//! Any bytes are an account or an error, never a panic; and what is in a state is in its account.

use isobar_terraform_compat::account::{Told, account};
use isobar_terraform_compat::read::{Keys, ReadError};
use proptest::prelude::*;
use serde_json::{Value, json};

mod corpus {
    pub(crate) mod archive;
}

/// A part of a state is replaced, cut out or doubled.
fn mutated(mut bytes: Vec<u8>, at: usize, length: usize, with: &[u8]) -> Vec<u8> {
    let start = at % (bytes.len() + 1);
    let end = (start + length).min(bytes.len());
    bytes.splice(start..end, with.iter().copied());
    bytes
}

fn index_key() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ]
}

fn instance() -> impl Strategy<Value = Value> {
    let deposed = proptest::option::of("[0-9a-f]{8}");
    (index_key(), deposed, any::<bool>(), "[a-z0-9-]{0,12}").prop_map(|(key, deposed, tainted, id)| {
        let mut instance = json!({"index_key": key, "schema_version": 1, "attributes": {"id": id, "user_data": "x"}});
        if let Some(deposed) = deposed {
            instance["deposed"] = deposed.into();
        }
        if tainted {
            instance["status"] = "tainted".into();
        }
        instance
    })
}

fn resource() -> impl Strategy<Value = Value> {
    let kind = prop_oneof!["aws_instance", "azurerm_subnet", "google_compute_disk", "random_pet"];
    let mode = prop_oneof![Just("managed"), Just("data")];
    let provider = prop_oneof![
        "provider\\.[a-z]{1,8}",
        Just("provider[\"registry.terraform.io/hashicorp/aws\"]".to_owned())
    ];
    (kind, mode, provider, proptest::collection::vec(instance(), 0..6)).prop_map(|(kind, mode, provider, instances)| {
        json!({"mode": mode, "type": kind, "name": "n", "provider": provider, "instances": instances})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_an_account_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = account("any", &bytes, &Keys::default(), &Told::default());
    }

    #[test]
    fn every_instance_that_is_written_is_in_the_account(resources in proptest::collection::vec(resource(), 0..8)) {
        let instances: usize = resources.iter().map(|r| r["instances"].as_array().unwrap().len()).sum();
        let state = json!({"version": 4, "serial": 1, "lineage": "l", "resources": resources}).to_string();
        let account = account("written", state.as_bytes(), &Keys::default(), &Told::default()).unwrap();
        prop_assert_eq!(account.lines.len(), instances);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_state_of_the_archive_with_a_fault_is_an_account_or_an_error(
        at in any::<usize>(),
        length in 0_usize..64,
        with in proptest::collection::vec(any::<u8>(), 0..16),
        token in prop_oneof![Just("{"), Just("]"), Just("null"), Just("\"\""), Just("1e999"), Just("[[[[")],
    ) {
        for (name, bytes) in corpus::archive::states() {
            for with in [&with[..], token.as_bytes()] {
                let wrong = mutated(bytes.clone(), at, length, with);
                let _ = account(&name, &wrong, &Keys::default(), &Told::default());
            }
        }
    }
}

#[test]
fn what_is_no_state_is_refused_by_name() {
    let refused = |text: &str| account("x", text.as_bytes(), &Keys::default(), &Told::default()).unwrap_err();
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    assert!(matches!(refused(lfs), ReadError::LfsPointer));
    assert!(matches!(refused("<!DOCTYPE html><p>log in"), ReadError::Html));
    assert!(matches!(
        refused("{\"version\":3,\"backend\":{\"type\":\"http\"}}"),
        ReadError::BackendCache
    ));
    assert!(matches!(
        refused("{\"version\":2,\"modules\":[]}"),
        ReadError::TooOld { version: 2 }
    ));
    assert!(matches!(refused("{\"version\":5}"), ReadError::TooNew { version: 5 }));
    assert!(matches!(refused("{}"), ReadError::NotAState));
    assert!(matches!(refused("../shared/terraform.tfstate"), ReadError::NotAState));
    assert!(matches!(refused("\u{feff} \r\n"), ReadError::Empty));
    assert!(matches!(
        refused("{\"version\":4,\"resources\":["),
        ReadError::Truncated { .. }
    ));
    assert!(matches!(refused("{\"encryption_version\":\"v0\"}"), ReadError::NoKey));
    assert!(matches!(
        refused("{\"format_version\":\"1.0\",\"planned_values\":{}}"),
        ReadError::Plan
    ));
}

#[test]
fn an_error_says_where_in_the_file_it_is() {
    let text = "{\"version\": 4, \"resources\": [\n  {\"mode\": \"managed\", \"type\": \"t\", \"name\": \"n\", \"instances\": [\n    {\"schema_version\": \"x\"}]}]}";
    let error = account("x", text.as_bytes(), &Keys::default(), &Told::default()).unwrap_err();
    let ReadError::Shape { place } = error else {
        panic!("{error:?}")
    };
    assert_eq!(place.line, 3);
}

#[test]
fn modules_of_show_json_end_somewhere() {
    let deep = 5_000;
    let text = format!(
        "{{\"format_version\":\"1.0\",\"values\":{{\"root_module\":{}{}}}}}",
        "{\"child_modules\":[{".repeat(deep).replace("{{", "{"),
        "}]}".repeat(deep)
    );
    assert!(account("x", text.as_bytes(), &Keys::default(), &Told::default()).is_err());
}
