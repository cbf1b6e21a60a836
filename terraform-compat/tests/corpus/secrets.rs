//! A secret is planted wherever a state may hold one; it must show nowhere.

use isobar_terraform_compat::account::{Told, account};
use isobar_terraform_compat::identity;
use isobar_terraform_compat::markdown;
use isobar_terraform_compat::read::Keys;
use serde_json::{Value, json};

use super::archive::states;

const SECRET: &str = "planted-7f3a9c";

/// Replaces every text and number under a value.
fn poison(value: &mut Value) {
    match value {
        Value::String(_) | Value::Number(_) => *value = SECRET.into(),
        Value::Array(list) => list.iter_mut().for_each(poison),
        Value::Object(map) => map.values_mut().for_each(poison),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Plants the secret in every attribute that may not be taken, and in all that stands around them.
fn plant(state: &mut Value) {
    poison(&mut state["outputs"]);
    for resource in state["resources"].as_array_mut().into_iter().flatten() {
        let taken = identity::taken_of(resource["type"].as_str().unwrap_or_default());
        for instance in resource["instances"].as_array_mut().into_iter().flatten() {
            for form in ["attributes", "attributes_flat"] {
                let Some(attributes) = instance.get_mut(form).and_then(Value::as_object_mut) else {
                    continue;
                };
                for (name, value) in attributes.iter_mut() {
                    if !taken.contains(&name.as_str()) {
                        poison(value);
                    }
                }
                for name in [
                    "user_data",
                    "password",
                    "admin_password",
                    "private_key_pem",
                    "custom_data",
                    "metadata",
                ] {
                    attributes.insert(name.into(), SECRET.into());
                }
            }
            instance["private"] = SECRET.into();
            instance["sensitive_attributes"] = json!([[{"type": "get_attr", "value": SECRET}]]);
        }
    }
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
