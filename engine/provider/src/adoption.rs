//! The area for what others made in a cloud and Isobar takes over. Reads; changes nothing.

mod found;

use async_trait::async_trait;
use isobar_engine_model::id::Zone;
use isobar_engine_model::object::{Fields, ObjectId, ObjectType};

pub use self::found::Found;
use crate::{Owner, ProviderError, ResourceStatus, Result, Site};

/// At most so many objects are asked for in one call of [`Adoption::read`].
pub const ADOPTION_READ_MAX_OBJECTS: usize = 100;

/// Reads objects that others made.
#[async_trait]
pub trait Adoption: Send + Sync {
    /// Whose objects a site's credentials reach: AWS account, Azure subscription, Google project. Asked of the cloud where
    /// the site does not say.
    async fn account(&self, site: &Site) -> Result<String>;

    /// Objects of a site as they are now: an answer an object, in the order of the question, for at most
    /// [`ADOPTION_READ_MAX_OBJECTS`]. The whole call fails where nothing could be read at all.
    ///
    /// Of one object: [`crate::ProviderError::NotFound`], it is not there;
    /// [`crate::ProviderError::Unsupported`], the provider reads no objects of its type.
    async fn read(&self, site: &Site, objects: &[ObjectRef]) -> Result<Vec<Result<ObjectState>>>;
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Of which type.
    pub kind: ObjectType,
    /// What the provider calls it.
    pub id: ObjectId,
    /// Where it is said to stand, for providers whose ids do not say.
    pub zone: Option<Zone>,
}

/// An object as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectState {
    /// What can be read back of it.
    pub fields: Fields,
    /// Whether it runs. Of what does not run by its nature: [`ResourceStatus::Running`] once it is there.
    pub status: ResourceStatus,
    /// It carries the tags of an owner: Isobar made it, for this or for another cluster.
    pub owner: Option<Owner>,
}

/// Refuses a call of [`Adoption::read`] for too many objects.
pub fn refuse_too_many(objects: &[ObjectRef]) -> Result<()> {
    if objects.len() <= ADOPTION_READ_MAX_OBJECTS {
        return Ok(());
    }
    Err(ProviderError::InvalidSpec {
        message: format!("at most {ADOPTION_READ_MAX_OBJECTS} objects can be read at once"),
    })
}

/// What [`Adoption::read`] says of an object of a type that the provider does not read.
pub fn unsupported(cloud: &str, kind: &ObjectType) -> ProviderError {
    ProviderError::Unsupported {
        message: format!("objects of type `{}` of {cloud} are not read", kind.0),
    }
}

/// What [`Adoption::read`] says of an object of another account than the site's.
pub fn of_another(account: &str, site: &Site, own: &str) -> ProviderError {
    ProviderError::InvalidSpec {
        message: format!("it is of {account}, and site {} is of {own}", site.name),
    }
}

/// All answers of a call, unless every object failed: then nothing could be read at all, and the first says why.
pub fn unless_all_failed(answers: Vec<Result<ObjectState>>) -> Result<Vec<Result<ObjectState>>> {
    let failure = |answer: &Result<ObjectState>| match answer {
        Ok(_)
        | Err(ProviderError::NotFound | ProviderError::Unsupported { .. } | ProviderError::InvalidSpec { .. }) => None,
        Err(error) => Some(error.clone()),
    };
    let failures: Vec<ProviderError> = answers.iter().filter_map(failure).collect();
    match failures.first() {
        Some(first) if failures.len() == answers.len() => Err(first.clone()),
        Some(_) | None => Ok(answers),
    }
}
