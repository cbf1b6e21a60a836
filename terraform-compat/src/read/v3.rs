//! States of version 3: Terraform 0.7 to 0.11. Attributes are flatmaps, instances stand under keys.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::refuse::ReadError;
use super::taken::Written;
use super::{Object, json, v4};
use crate::address::{Address, Key, Mode, ProviderConfig};
use crate::identity;

#[derive(Deserialize)]
struct Module<'a> {
    #[serde(default)]
    path: Vec<String>,
    #[serde(borrow)]
    resources: Option<BTreeMap<String, Resource<'a>>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    depends_on: Option<Vec<String>>,
    #[serde(borrow)]
    primary: Option<Instance<'a>>,
    #[serde(borrow)]
    deposed: Option<Vec<Instance<'a>>>,
    provider: Option<String>,
}

#[derive(Deserialize)]
struct Instance<'a> {
    #[serde(default)]
    id: String,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    tainted: Option<bool>,
}

/// Hands on every object.
pub(super) fn read(text: &str, modules: Option<&RawValue>, each: &mut dyn FnMut(Object)) -> Result<(), ReadError> {
    json::each_of(text, modules, |module: Module<'_>| {
        let path = module.path.get(1..).unwrap_or_default();
        let path = path
            .iter()
            .map(|name| format!("module.{name}"))
            .collect::<Vec<_>>()
            .join(".");
        for (key, resource) in module.resources.unwrap_or_default() {
            objects(text, &path, &key, &resource, each)?;
        }
        Ok(())
    })
}

fn objects(
    text: &str,
    module: &str,
    key: &str,
    resource: &Resource<'_>,
    each: &mut dyn FnMut(Object),
) -> Result<(), ReadError> {
    let address = address(module, key);
    let old = resource.deposed.iter().flatten().enumerate();
    let old = old.map(|(number, instance)| (Some(format!("{:08x}", number + 1)), instance));
    for (deposed, instance) in resource.primary.iter().map(|primary| (None, primary)).chain(old) {
        let wanted = identity::taken_of(&address.kind);
        let mut attributes = v4::take(text, instance.attributes, wanted, Written::Flatmap)?;
        if attributes.get("id").is_none() && wanted.paths().any(|path| path == "id") {
            attributes.push("id", &instance.id);
        }
        each(Object {
            deposed,
            tainted: instance.tainted.unwrap_or(false),
            provider: match resource.provider.as_deref() {
                None | Some("") => ProviderConfig::of_type(&address.kind),
                Some(written) => ProviderConfig::parse(written),
            },
            schema_version: 0,
            flatmap: true,
            create_before_destroy: false,
            identity: super::Taken::default(),
            attributes,
            dependencies: resource.depends_on.clone().unwrap_or_default(),
            address: address.clone(),
        });
    }
    Ok(())
}

/// `[data.]TYPE.NAME[.INDEX]`.
fn address(module: &str, key: &str) -> Address {
    let (mode, key) = key
        .strip_prefix("data.")
        .map_or((Mode::Managed, key), |key| (Mode::Data, key));
    let mut parts = key.splitn(3, '.').map(str::to_owned);
    Address {
        module: module.to_owned(),
        mode,
        kind: parts.next().unwrap_or_default(),
        name: parts.next().unwrap_or_default(),
        key: parts.next().map(Key::Number),
    }
}
