//! Finds blocks in a configuration that is written as JSON: `*.tf.json`. Reads no more of a block than where it stands.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Piece, line_at};

/// An object's entries in their order: a name may stand there twice.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The blocks of a file; an error is the line where it is no JSON object.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, usize> {
    let file: Entries<'_> = serde_json::from_str(text).map_err(|error| error.line().max(1))?;
    let mut found = Vec::new();
    for (what, value) in &file.0 {
        match what.as_str() {
            "resource" => {
                for (kind, named) in labelled(value) {
                    let blocks = labelled(named)
                        .into_iter()
                        .flat_map(|(name, value)| bodies(value).into_iter().map(move |body| (name.clone(), body)));
                    found.extend(blocks.map(|(name, body)| resource(text, &kind, name, body)));
                }
            }
            "module" => {
                let calls = labelled(value).into_iter();
                found.extend(calls.filter_map(|(name, value)| {
                    let source = bodies(value).into_iter().find_map(source)?;
                    Some(Piece::Call { name, source })
                }));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The entries of an object, or of every object of a list: JSON may say either.
fn labelled(value: &RawValue) -> Vec<(String, &RawValue)> {
    let objects = bodies(value).into_iter();
    objects
        .filter_map(|object| serde_json::from_str::<Entries<'_>>(object.get()).ok())
        .flat_map(|entries| entries.0)
        .collect()
}

/// A value, or every value of a list.
fn bodies(value: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(value.get()).unwrap_or_else(|_| vec![value])
}

fn source(body: &RawValue) -> Option<String> {
    let entries: Entries<'_> = serde_json::from_str(body.get()).ok()?;
    let (_, source) = entries.0.iter().find(|(name, _)| name == "source")?;
    serde_json::from_str(source.get()).ok()
}

fn resource(text: &str, kind: &str, name: String, body: &RawValue) -> Piece {
    let start = (body.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    Piece::Resource {
        kind: kind.to_owned(),
        name,
        first_line: line_at(text, start),
        last_line: line_at(text, start + body.get().len()),
    }
}
