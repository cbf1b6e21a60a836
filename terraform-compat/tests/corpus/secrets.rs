//! A secret is planted wherever a state may hold one; it must show nowhere.

use isobar_terraform_compat::account::{Told, account};
use isobar_terraform_compat::fields::{self, Why};
use isobar_terraform_compat::identity;
use isobar_terraform_compat::markdown;
use isobar_terraform_compat::read::Keys;
use serde_json::{Value, json};

use super::archive::states;

const SECRET: &str = "planted-7f3a9c";
/// Attributes that hold secrets in resource types of every cloud.
const SECRETS: [&str; 12] = [
    "user_data",
    "user_data_base64",
    "password",
    "password_data",
    "admin_password",
    "private_key_pem",
    "custom_data",
    "metadata",
    "metadata_startup_script",
    "os_profile",
    "secret",
    "disk_encryption_key",
];

/// Replaces every text and number under a value.
fn poison(value: &mut Value) {
    match value {
        Value::String(_) | Value::Number(_) => *value = SECRET.into(),
        Value::Array(list) => list.iter_mut().for_each(poison),
        Value::Object(map) => map.values_mut().for_each(poison),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Replaces every text and number under an attribute that is on no list. `path` is where the value stands.
fn poison_beside(value: &mut Value, path: &str, taken: &[&str]) {
    let is_taken = taken.contains(&path);
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if !taken.contains(&format!("{path}.*").as_str()) {
                    poison_beside(value, &format!("{path}.{name}"), taken);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| poison_beside(value, path, taken)),
        Value::String(_) | Value::Number(_) if !is_taken => *value = SECRET.into(),
        Value::String(_) | Value::Number(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// The path of an attribute as Terraform 0.11 writes it, without the numbers of elements.
fn unnumbered(name: &str) -> String {
    let is_name = |part: &&str| part.parse::<u64>().is_err();
    name.split('.').filter(is_name).collect::<Vec<_>>().join(".")
}

/// Plants the secret in every attribute that may not be taken, and in all that stands around them.
fn plant(state: &mut Value) {
    poison(&mut state["outputs"]);
    for resource in state["resources"].as_array_mut().into_iter().flatten() {
        let wanted = identity::taken_of(resource["type"].as_str().unwrap_or_default());
        let taken: Vec<&str> = wanted.paths().collect();
        for instance in resource["instances"].as_array_mut().into_iter().flatten() {
            for form in ["attributes", "attributes_flat"] {
                let Some(attributes) = instance.get_mut(form).and_then(Value::as_object_mut) else {
                    continue;
                };
                for (name, value) in attributes.iter_mut() {
                    let path = unnumbered(name);
                    let of_map = path.split_once('.').map(|(map, _)| format!("{map}.*"));
                    if !of_map.is_some_and(|path| taken.contains(&path.as_str())) {
                        let path = if taken.contains(&format!("{path}.*").as_str()) {
                            continue;
                        } else {
                            path
                        };
                        poison_beside(value, &path, &taken);
                    }
                }
                for name in SECRETS {
                    attributes.insert(name.into(), SECRET.into());
                }
            }
            instance["private"] = SECRET.into();
            instance["sensitive_attributes"] = json!([[{"type": "get_attr", "value": SECRET}]]);
        }
    }
}

#[test]
fn no_list_names_an_attribute_that_may_hold_a_secret() {
    let mut listed = 0;
    for (_, row) in identity::all() {
        let table = fields::of(row.kind);
        let secret = table.unmanaged.iter().filter(|not| not.why == Why::Secret);
        let secret: Vec<&str> = secret.map(|not| not.attribute).chain(SECRETS).collect();
        for path in identity::taken_of(row.kind).paths() {
            let inside = |name: &&str| path == *name || path.starts_with(&format!("{name}."));
            assert!(!secret.iter().any(inside), "{}: {path}", row.kind);
            listed += 1;
        }
    }
    assert!(listed > 300, "{listed}");
}

#[test]
fn a_planted_secret_is_in_no_answer() {
    let mut planted = 0;
    for (name, bytes) in states() {
        let Ok(mut state) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        plant(&mut state);
        let text = state.to_string();
        planted += text.matches(SECRET).count();
        let Ok(account) = account(&name, text.as_bytes(), &Keys::default(), &Told::default()) else {
            continue;
        };
        let json = serde_json::to_string(&account).unwrap();
        for told in [format!("{account:?}"), json, markdown::render(&account)] {
            assert!(!told.contains(SECRET), "{name}");
        }
    }
    assert!(planted > 1000, "{planted}");
}

#[test]
fn a_planted_secret_is_in_no_error() {
    const CUTS: usize = 97;
    let mut errors = 0;
    for (name, bytes) in states() {
        let Ok(mut state) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        plant(&mut state);
        let text = state.to_string();
        let mut wrong = vec![text.replacen("\"mode\":\"managed\"", &format!("\"mode\":\"{SECRET}\""), 1)];
        wrong.push(text.replacen("\"schema_version\":0", &format!("\"schema_version\":\"{SECRET}\""), 1));
        wrong.push(text.replacen("\"instances\":[", &format!("\"instances\":[\"{SECRET}\","), 1));
        wrong.extend((1..CUTS).filter_map(|cut| text.get(..text.len() * cut / CUTS).map(str::to_owned)));
        for text in wrong {
            if let Err(error) = account(&name, text.as_bytes(), &Keys::default(), &Told::default()) {
                let told = format!("{error:?} {error} {}", error.hint());
                assert!(!told.contains(SECRET), "{name}: {told}");
                errors += 1;
            }
        }
    }
    assert!(errors > 1000, "{errors}");
}

#[test]
fn keys_show_nothing_of_themselves() {
    let keys = Keys {
        passphrase: Some(SECRET.into()),
        key: Some(SECRET.into()),
    };
    assert_eq!(format!("{keys:?}"), "***");
}
