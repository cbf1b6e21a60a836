//! Taking over what others made: importing what a state names, and looking at it again and again. Reads clouds, and writes
//! nothing but its own records; what is done about an object is a plan's business.
//!
//! One owner an object, over all states and clusters: the key of its record is its place in its cloud, and the store has
//! a key once, whichever engine writes.

mod claim;
mod import;
mod look;
mod name;
mod phase;
mod place;
mod read;
pub(crate) mod release;

use std::collections::BTreeMap;

use isobar_engine_model::adopted::{Adopted, AdoptedPhase, AdoptedStatus, Sight};
use isobar_engine_model::id::{AdoptedName, ClusterName, Version};
use isobar_engine_model::spec::Spec;
use isobar_engine_provider::adoption::ObjectState;
use isobar_engine_provider::{ResourceStatus, Site};

use crate::engine::resolve;
use crate::ledger::Draft;
use crate::record::{AdoptedRecord, Record};
use crate::state::State;

pub(crate) use self::look::AdoptedLooks;

/// The objects of a cluster, in name order.
pub(crate) fn of_cluster<'s>(state: &'s State, cluster: &ClusterName) -> Vec<&'s AdoptedRecord> {
    let here = state.adopted.all().filter(|record| record.cluster == *cluster);
    let mut here: Vec<&AdoptedRecord> = here.collect();
    here.sort_by(|a, b| a.object.name.cmp(&b.object.name));
    here
}

/// Notes which objects an accepted spec names: from here on they go with their entries.
pub(crate) fn note_named(draft: &mut Draft, cluster: &ClusterName, spec: Option<&Spec>) {
    let Some(spec) = spec.filter(|spec| !spec.adopted.is_empty()) else {
        return;
    };
    let named = |record: &&AdoptedRecord| !record.object.named && spec.adopted.contains_key(&record.object.name);
    let records: Vec<AdoptedRecord> = of_cluster(draft.state(), cluster)
        .into_iter()
        .filter(named)
        .cloned()
        .collect();
    for mut record in records {
        record.object.named = true;
        if let Some(site) = spec.sites.get(&record.object.site) {
            record.site = resolve(&record.object.site, site);
        }
        draft.put(record);
    }
}

/// The first object whose version is no longer the one that a plan was made from.
pub(crate) fn moved(
    state: &State,
    cluster: &ClusterName,
    base: &BTreeMap<AdoptedName, Version>,
) -> Option<AdoptedName> {
    let now = of_cluster(state, cluster);
    let version = |name: &AdoptedName| {
        let found = now.binary_search_by(|record| record.object.name.cmp(name)).ok()?;
        Some(now[found].object.version)
    };
    base.iter()
        .find(|(name, then)| version(name) != Some(**then))
        .map(|(name, _)| name.clone())
}

/// What a provider says of an object, as it is kept.
fn sight(state: &ObjectState) -> Sight {
    let status = match &state.status {
        ResourceStatus::Pending => AdoptedStatus::Pending,
        ResourceStatus::Running => AdoptedStatus::Running,
        ResourceStatus::Stopped { reason } => AdoptedStatus::Stopped { reason: reason.clone() },
        ResourceStatus::Deleting => AdoptedStatus::Deleting,
    };
    Sight::There {
        fields: state.fields.clone(),
        status,
    }
}

/// Takes in what was seen of an object. Whether that is anything new.
fn see(object: &mut Adopted, seen: Sight) -> bool {
    let same = match (&object.seen, &seen) {
        (Sight::Missing { .. }, Sight::Missing { .. }) => true,
        (known, seen) => known == seen,
    };
    if !same {
        object.seen = seen;
        object.version.0 += 1;
    }
    !same
}

/// The site of a record: as the spec has it now, else as it was when it was imported.
fn site_of(record: &AdoptedRecord, spec: Option<&Spec>) -> Site {
    let site = spec.and_then(|spec| spec.sites.get(&record.object.site));
    site.map_or_else(|| record.site.clone(), |site| resolve(&record.object.site, site))
}

/// What is known of the objects of a cluster, and when each was looked at.
pub(crate) fn observed(state: &State, looks: &AdoptedLooks, cluster: &ClusterName) -> Vec<Adopted> {
    let here = of_cluster(state, cluster).into_iter();
    here.map(|record| {
        let mut object = record.object.clone();
        let looked = looks.at(cluster, &object.site);
        object.looked = object.looked.max(looked.unwrap_or_default());
        object
    })
    .collect()
}

/// The key of the object of this name.
fn key_of(draft: &Draft, cluster: &ClusterName, name: &AdoptedName) -> Option<String> {
    let here = of_cluster(draft.state(), cluster);
    here.into_iter()
        .find(|record| record.object.name == *name)
        .map(Record::key)
}

/// Whose an object is.
pub(crate) fn phase(state: &State, cluster: &ClusterName, name: &AdoptedName) -> Option<AdoptedPhase> {
    let here = of_cluster(state, cluster);
    let found = here.into_iter().find(|record| record.object.name == *name)?;
    Some(found.object.phase)
}
