//! Objects that others made in a simulated cloud: put in and changed by tests, read by the engine.

use std::collections::BTreeMap;

use async_trait::async_trait;
use isobar_engine_model::object::ObjectId;
use isobar_engine_provider::adoption::{ObjectRef, ObjectState, refuse_too_many};
use isobar_engine_provider::{Adoption, Provider, ProviderError, Result, Site};

use crate::cloud::SimCloud;
use crate::fault::Operation;
use crate::provider::SimProvider;

/// The setting that says whose account a site is; without it the provider has one for all.
const ACCOUNT: &str = "account";

/// The objects of all regions, by region and id.
pub(crate) type Objects = BTreeMap<(String, ObjectId), (ObjectRef, ObjectState)>;

impl SimCloud {
    /// Puts in an object that others made, or changes it.
    pub fn put_object(&self, region: &str, object: ObjectRef, state: ObjectState) {
        let key = (region.to_owned(), object.id.clone());
        self.now_in(|world, _| world.objects.insert(key, (object, state)));
    }

    /// Takes away an object that others made. Whether it was there.
    pub fn take_object(&self, region: &str, id: &ObjectId) -> bool {
        let key = (region.to_owned(), id.clone());
        self.now_in(|world, _| world.objects.remove(&key).is_some())
    }
}

#[async_trait]
impl Adoption for SimProvider {
    async fn account(&self, site: &Site) -> Result<String> {
        SimProvider::read(self, Operation::Account, |world, _| {
            world.region(&site.region)?;
            let named = site.settings.get(ACCOUNT).cloned();
            Ok(named.unwrap_or_else(|| self.id().to_string()))
        })
        .await
    }

    async fn read(&self, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>> {
        refuse_too_many(objects)?;
        SimProvider::read(self, Operation::Read, |world, _| {
            world.region(&site.region)?;
            let read = |wanted: &ObjectRef| {
                let (object, state) = world
                    .objects
                    .get(&(site.region.clone(), wanted.id.clone()))
                    .ok_or(ProviderError::NotFound)?;
                if object.kind != wanted.kind {
                    return Err(ProviderError::NotFound);
                }
                Ok(state.clone())
            };
            Ok(objects.iter().map(read).collect())
        })
        .await
    }
}
