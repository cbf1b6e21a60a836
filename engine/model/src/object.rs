//! Objects that others made in a cloud: what Terraform built and Isobar takes over. The engine compares their fields and
//! nothing else; what a type or a field means, its provider knows.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A type of objects in its provider's words: `instance`, `subnet`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ObjectType(pub String);

/// What the provider calls an object: `i-0abc`, a resource id, `zones/europe-west3-a/instances/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ObjectId(pub String);

/// The fields of an object that can be read back, by name. A field that is not there is not known: it equals nothing and
/// differs from nothing.
pub type Fields = BTreeMap<String, FieldValue>;

/// What a field holds. Never a secret: only fields on a provider's list are ever read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FieldValue {
    /// One value. Numbers and yes or no are written out.
    Text(String),
    /// Several, in no order.
    Set(BTreeSet<String>),
    /// Tags and labels.
    Map(BTreeMap<String, String>),
}

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldDrift {
    /// Which.
    pub field: String,
    /// As it should be.
    pub wanted: FieldValue,
    /// As it is.
    pub found: FieldValue,
}

/// Which fields differ, in order of their names. Only fields that both sides know are compared.
pub fn drift(wanted: &Fields, found: &Fields) -> Vec<FieldDrift> {
    let differing = |(field, wanted): (&String, &FieldValue)| {
        let found = found.get(field).filter(|found| *found != wanted)?;
        Some(FieldDrift {
            field: field.clone(),
            wanted: wanted.clone(),
            found: found.clone(),
        })
    };
    wanted.iter().filter_map(differing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> FieldValue {
        FieldValue::Text(value.to_owned())
    }

    fn fields<const N: usize>(of: [(&str, &str); N]) -> Fields {
        of.map(|(name, value)| (name.to_owned(), text(value))).into()
    }

    #[test]
    fn only_what_both_sides_know_can_differ() {
        let wanted = fields([("image", "ami-1"), ("type", "t3.small"), ("user_data", "x")]);
        let found = fields([("image", "ami-1"), ("type", "t3.large"), ("zone", "a")]);
        let differing = FieldDrift {
            field: "type".to_owned(),
            wanted: text("t3.small"),
            found: text("t3.large"),
        };
        assert_eq!(drift(&wanted, &found), [differing]);
        assert_eq!(drift(&wanted, &wanted), []);
    }

    #[test]
    fn values_are_written_as_people_write_them() {
        let set = FieldValue::Set(["sg-1".to_owned()].into());
        let map = FieldValue::Map([("team".to_owned(), "web".to_owned())].into());
        for (value, json) in [(text("a"), r#""a""#), (set, r#"["sg-1"]"#), (map, r#"{"team":"web"}"#)] {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<FieldValue>(json).unwrap(), value);
        }
    }
}
