//! States of version 4: Terraform 0.12 and later, every OpenTofu, `.backup` and `errored.tfstate`. Reads one resource at a
//! time, of it one instance at a time.

use serde::Deserialize;
use serde::de::DeserializeSeed as _;
use serde_json::value::RawValue;

use super::refuse::ReadError;
use super::taken::{Take, Taken, Written};
use super::wanted::Wanted;
use super::{Object, json};
use crate::address::{Address, Key, Mode, ProviderConfig};
use crate::identity;

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(default)]
    module: String,
    mode: ModeWritten,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    provider: String,
    #[serde(borrow)]
    instances: Option<&'a RawValue>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModeWritten {
    Managed,
    Data,
}

#[derive(Deserialize)]
struct Instance<'a> {
    index_key: Option<KeyWritten>,
    status: Option<Status>,
    #[serde(default)]
    deposed: String,
    /// OpenTofu's providers with `for_each`.
    provider: Option<String>,
    schema_version: Option<u64>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    #[serde(borrow)]
    attributes_flat: Option<&'a RawValue>,
    #[serde(borrow)]
    identity: Option<&'a RawValue>,
    dependencies: Option<Vec<String>>,
    /// 0.12's name for dependencies.
    depends_on: Option<Vec<String>>,
    create_before_destroy: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum KeyWritten {
    Text(String),
    Number(serde_json::Number),
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Status {
    Tainted,
    #[serde(other)]
    Ready,
}

/// Hands on every object.
pub(super) fn read(text: &str, resources: Option<&RawValue>, each: &mut dyn FnMut(Object)) -> Result<(), ReadError> {
    json::each_of(text, resources, |resource: Resource<'_>| {
        json::each_of(text, resource.instances, |instance: Instance<'_>| {
            each(object(text, &resource, instance)?);
            Ok(())
        })
    })
}

fn object(text: &str, resource: &Resource<'_>, instance: Instance<'_>) -> Result<Object, ReadError> {
    let wanted = identity::taken_of(&resource.kind);
    let flat = instance.attributes.is_none() && instance.attributes_flat.is_some();
    let attributes = match instance.attributes_flat {
        Some(flatmap) if flat => take(text, Some(flatmap), wanted, Written::Flatmap)?,
        Some(_) | None => take(text, instance.attributes, wanted, Written::Json)?,
    };
    let written = instance.provider.as_deref().unwrap_or(&resource.provider);
    let mut dependencies = instance.dependencies.unwrap_or_default();
    dependencies.extend(instance.depends_on.unwrap_or_default());
    Ok(Object {
        address: Address {
            module: resource.module.clone(),
            mode: resource.mode.into(),
            kind: resource.kind.clone(),
            name: resource.name.clone(),
            key: instance.index_key.map(Key::from),
        },
        deposed: Some(instance.deposed).filter(|key| !key.is_empty()),
        tainted: instance.status == Some(Status::Tainted),
        provider: ProviderConfig::parse(written),
        schema_version: instance.schema_version.unwrap_or(0),
        flatmap: flat,
        create_before_destroy: instance.create_before_destroy.unwrap_or(false),
        identity: take(text, instance.identity, &identity::OF_IDENTITY, Written::Json)?,
        attributes,
        dependencies,
    })
}

/// What is on the list, of a piece that may be absent.
pub(super) fn take(
    text: &str,
    piece: Option<&RawValue>,
    wanted: &'static Wanted,
    written: Written,
) -> Result<Taken, ReadError> {
    let Some(piece) = piece else {
        return Ok(Taken::default());
    };
    let mut deserializer = serde_json::Deserializer::from_str(piece.get());
    let taken = Take { wanted, written }.deserialize(&mut deserializer);
    taken.map_err(|error| json::located(text, piece.get(), &error))
}

impl From<ModeWritten> for Mode {
    fn from(mode: ModeWritten) -> Self {
        match mode {
            ModeWritten::Managed => Self::Managed,
            ModeWritten::Data => Self::Data,
        }
    }
}

impl From<KeyWritten> for Key {
    fn from(key: KeyWritten) -> Self {
        match key {
            KeyWritten::Text(text) => Self::Text(text),
            KeyWritten::Number(number) => Self::Number(number.to_string()),
        }
    }
}
