//! The parameters of a query call: `TagSpecification.1.Tag.2.Key=...`, form-encoded. Judges nothing.

use std::collections::BTreeMap;

/// Name and value, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Params(pub(super) BTreeMap<String, String>);

impl Params {
    pub(super) fn read(body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A list: `Name.1`, `Name.2` ...
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|place| self.text(&format!("{name}.{place}"))).collect()
    }

    /// The tags that a create puts on one kind of resource, by key.
    pub(super) fn tags_of(&self, kind: &str) -> BTreeMap<String, String> {
        let specification = |place: &usize| self.text(&format!("TagSpecification.{place}.ResourceType"));
        let places = (1..).take_while(|place| specification(place).is_some());
        let Some(found) = places.into_iter().find(|place| specification(place) == Some(kind)) else {
            return BTreeMap::new();
        };
        let part = |place: usize, what: &str| self.text(&format!("TagSpecification.{found}.Tag.{place}.{what}"));
        let tags = (1..).map_while(|place| Some((part(place, "Key")?, part(place, "Value")?)));
        tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Conditions: a filter's name and the values that satisfy it.
    pub(super) fn filters(&self) -> Vec<(&str, Vec<&str>)> {
        let filter = |place: usize| {
            let name = self.text(&format!("Filter.{place}.Name"))?;
            Some((name, self.list(&format!("Filter.{place}.Value"))))
        };
        (1..).map_while(filter).collect()
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' if after.len() >= 2 => {
                bytes.extend(hex::decode(&after[..2]).unwrap_or_default());
                rest = &after[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
