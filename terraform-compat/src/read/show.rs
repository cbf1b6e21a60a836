//! `terraform show -json`: the second choice, since it has lost lineage, serial and the provider's alias.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::refuse::ReadError;
use super::taken::Written;
use super::v4::{KeyWritten, ModeWritten, take};
use super::{Object, json};
use crate::address::{Address, Key, ProviderConfig};
use crate::identity;

/// How deep modules may stand in each other: each level is read once more for every level above it.
const MODULES_MAX_DEEP: usize = 64;

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow)]
    root_module: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Module<'a> {
    #[serde(default)]
    address: String,
    #[serde(borrow)]
    resources: Option<&'a RawValue>,
    #[serde(borrow)]
    child_modules: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    mode: ModeWritten,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    index: Option<KeyWritten>,
    #[serde(default)]
    provider_name: String,
    schema_version: Option<u64>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow)]
    identity: Option<&'a RawValue>,
    depends_on: Option<Vec<String>>,
    tainted: Option<bool>,
    deposed_key: Option<String>,
}

/// Hands on every object.
pub(super) fn read(text: &str, values: Option<&RawValue>, each: &mut dyn FnMut(Object)) -> Result<(), ReadError> {
    let root = json::optional::<Values<'_>>(text, values)?.and_then(|values| values.root_module);
    let mut waiting: Vec<(usize, Module<'_>)> = Vec::new();
    if let Some(root) = json::optional(text, root)? {
        waiting.push((0, root));
    }
    while let Some((deep, module)) = waiting.pop() {
        if deep > MODULES_MAX_DEEP {
            return Err(ReadError::TooDeep { most: MODULES_MAX_DEEP });
        }
        json::each_of(text, module.resources, |resource: Resource<'_>| {
            each(object(text, &module.address, resource)?);
            Ok(())
        })?;
        json::each_of(text, module.child_modules, |child: Module<'_>| {
            waiting.push((deep + 1, child));
            Ok(())
        })?;
    }
    Ok(())
}

fn object(text: &str, module: &str, resource: Resource<'_>) -> Result<Object, ReadError> {
    let provider = match resource.provider_name.contains('/') {
        true => format!("provider[\"{}\"]", resource.provider_name),
        false => format!("provider.{}", resource.provider_name),
    };
    let wanted = identity::taken_of(&resource.kind);
    Ok(Object {
        address: Address {
            module: module.to_owned(),
            mode: resource.mode.into(),
            kind: resource.kind,
            name: resource.name,
            key: resource.index.map(Key::from),
        },
        deposed: resource.deposed_key,
        tainted: resource.tainted.unwrap_or(false),
        provider: ProviderConfig::parse(&provider),
        schema_version: resource.schema_version.unwrap_or(0),
        flatmap: false,
        create_before_destroy: false,
        identity: take(text, resource.identity, &identity::OF_IDENTITY, Written::Json)?,
        attributes: take(text, resource.values, wanted, Written::Json)?,
        dependencies: resource.depends_on.unwrap_or_default(),
    })
}
