//! Objects as a state of Terraform has them, to be compared with what a provider reads of a cloud. Used by the tests of the
//! providers.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::collections::BTreeMap;

use isobar_engine_model::object::{FieldValue, Fields, drift};
use isobar_engine_provider::adoption::{ObjectRef, ObjectState};
use isobar_engine_provider::{Provider, Result, Site};
use isobar_terraform_compat::account::{Told, account};
use isobar_terraform_compat::read::Keys;

/// An object as a state has it.
#[derive(Debug, Clone)]
pub struct Stated {
    /// Which.
    pub object: ObjectRef,
    /// What the state says of it.
    pub fields: Fields,
}

/// The objects of a state, by the names of their resources.
pub fn stated(state: &str) -> BTreeMap<String, Stated> {
    let account = account("state", state.as_bytes(), &Keys::default(), &Told::default()).unwrap();
    let objects = account.lines.iter().map(|line| {
        let identified = line.standing.identified().unwrap().clone();
        let object = ObjectRef {
            kind: identified.kind,
            id: identified.object,
            zone: None,
        };
        let fields = identified.fields;
        (line.address.name.clone(), Stated { object, fields })
    });
    let objects: BTreeMap<String, Stated> = objects.collect();
    assert_eq!(objects.len(), account.lines.len(), "a resource's name stands twice");
    objects
}

/// What a provider reads of objects.
pub async fn read(provider: &dyn Provider, site: &Site, objects: &[ObjectRef]) -> Vec<Result<ObjectState>> {
    provider.adoption().unwrap().read(site, objects).await.unwrap()
}

/// The names of the fields in which an object is not as the state has it.
pub async fn drifted(provider: &dyn Provider, site: &Site, one: &Stated) -> Vec<String> {
    let found = read(provider, site, std::slice::from_ref(&one.object)).await.remove(0);
    let found = found.unwrap_or_else(|error| panic!("{:?}: {error}", one.object));
    let differing = drift(&one.fields, &found.fields).into_iter();
    differing.map(|one| one.field).collect()
}

/// Nothing differs from the state, and every field that the state has is one that could. How many those are.
pub async fn agree(provider: &dyn Provider, site: &Site, all: &BTreeMap<String, Stated>) -> usize {
    let objects: Vec<ObjectRef> = all.values().map(|one| one.object.clone()).collect();
    let mut compared = 0;
    for (one, found) in all.values().zip(read(provider, site, &objects).await) {
        let found = found.unwrap_or_else(|error| panic!("{:?}: {error}", one.object));
        assert_eq!(drift(&one.fields, &found.fields), [], "{:?}", one.object);
        assert_eq!(found.owner, None, "{:?}", one.object);
        for (field, value) in &one.fields {
            let mut wanted = one.fields.clone();
            wanted.insert(field.clone(), other(value));
            let differing: Vec<String> = drift(&wanted, &found.fields).into_iter().map(|one| one.field).collect();
            assert_eq!(&differing, std::slice::from_ref(field), "{:?}", one.object);
            compared += 1;
        }
    }
    compared
}

/// A value that is not the one given.
fn other(value: &FieldValue) -> FieldValue {
    match value {
        FieldValue::Text(text) => FieldValue::Text(format!("{text}-other")),
        FieldValue::Set(set) => FieldValue::Set(set.iter().cloned().chain(["other".to_owned()]).collect()),
        FieldValue::Map(map) => {
            let more = [("other".to_owned(), "x".to_owned())];
            FieldValue::Map(map.clone().into_iter().chain(more).collect())
        }
    }
}
