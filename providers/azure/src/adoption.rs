//! What others made in a subscription, as it is: each object by its resource id, in whatever resource group. Reads only; what
//! a machine was given to read or to log in with is in no field.

mod fields;
mod id;
mod rules;

use async_trait::async_trait;
use azure_mgmt_compute::package_2024_07_01::models::VirtualMachineProperties;
use futures_util::future::join_all;
use isobar_engine_provider::adoption::{ObjectRef, ObjectState, of_another, refuse_too_many, unless_all_failed};
use isobar_engine_provider::{Adoption, OwnerTags, ProviderError, ResourceStatus, Result, Site};
use serde_json::Value;

use self::id::Kind;
use crate::errors::is_gone_around;
use crate::look;
use crate::provider::AzureProvider;
use crate::settings::Settings;

/// So many objects are asked for at a time.
const READS_AT_ONCE: usize = 8;

#[async_trait]
impl Adoption for AzureProvider {
    async fn account(&self, site: &Site) -> Result<String> {
        Ok(Settings::of(site)?.subscription)
    }

    async fn read(&self, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>> {
        refuse_too_many(objects)?;
        let settings = Settings::of(site)?;
        let mut answers = Vec::new();
        for some in objects.chunks(READS_AT_ONCE) {
            let reads = some.iter().map(|object| self.object(site, &settings, object));
            answers.extend(join_all(reads).await);
        }
        unless_all_failed(answers)
    }
}

impl AzureProvider {
    async fn object(&self, site: &Site, settings: &Settings, object: &ObjectRef) -> Result<ObjectState> {
        let kind = Kind::of(&object.kind)?;
        let subscription = kind.subscription(&object.id).ok_or(ProviderError::NotFound)?;
        if !subscription.eq_ignore_ascii_case(&settings.subscription) {
            return Err(of_another(subscription, site, &settings.subscription));
        }
        let mut query = vec![("api-version", kind.version())];
        if kind == Kind::VirtualMachine {
            query.push(("$expand", "instanceView"));
        }
        let read = AzureProvider::read::<Value>(self, site, object.id.0.clone(), &query).await;
        match read {
            Ok(body) => state(kind, &body),
            Err(error) if is_gone_around(&error) => Err(ProviderError::NotFound),
            Err(error) => Err(error),
        }
    }
}

/// An object as Azure shows it.
fn state(kind: Kind, body: &Value) -> Result<ObjectState> {
    if !body.is_object() {
        return Err(ProviderError::Unexpected {
            message: "an object that is none".to_owned(),
        });
    }
    let tag = |key: &str| look::tag_of(&body["tags"], key);
    Ok(ObjectState {
        fields: fields::of(kind, body),
        status: status(kind, body),
        owner: OwnerTags::of_labels(tag).map(|tags| tags.owner),
    })
}

fn status(kind: Kind, body: &Value) -> ResourceStatus {
    let properties = &body["properties"];
    if kind == Kind::VirtualMachine
        && let Ok(machine) = serde_json::from_value::<VirtualMachineProperties>(properties.clone())
    {
        return look::status(&machine);
    }
    match properties["provisioningState"].as_str().unwrap_or_default() {
        "Deleting" => ResourceStatus::Deleting,
        "Creating" | "Updating" => ResourceStatus::Pending,
        "Failed" => ResourceStatus::Stopped {
            reason: "Azure could not make it".to_owned(),
        },
        _ => ResourceStatus::Running,
    }
}
