//! The fields of an object as a provider finds them. Knows no cloud. Used by the providers of real clouds.

use std::collections::BTreeMap;

use isobar_engine_model::object::{FieldValue, Fields};

/// Fields, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found(Fields);

impl Found {
    /// One value. What the cloud says is not there is empty, so that losing it is a difference too.
    pub fn text(mut self, name: &str, value: Option<impl ToString>) -> Self {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        self.0.insert(name.to_owned(), FieldValue::Text(value));
        self
    }

    /// Several, in no order.
    pub fn set<T: ToString>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(|value| value.to_string()).collect();
        self.0.insert(name.to_owned(), FieldValue::Set(values));
        self
    }

    /// Tags or labels.
    pub fn tags(mut self, tags: BTreeMap<String, String>) -> Self {
        self.0.insert("tags".to_owned(), FieldValue::Map(tags));
        self
    }

    /// All of them.
    pub fn fields(self) -> Fields {
        self.0
    }
}
