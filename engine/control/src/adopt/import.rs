//! Importing a page of a state: every object of it is read in its cloud and gets a line; what is there and nobody's becomes
//! the cluster's. A page may come again, whenever the caller or the engine died: it finds what it made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isobar_engine_model::adopted::{Adopted, AdoptedFrom, AdoptedPhase};
use isobar_engine_model::id::{AdoptedName, ClusterName, Generation, SiteName, Version};
use isobar_engine_model::object::drift;
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_model::spec::SiteSpec;
use isobar_engine_provider::adoption::{ObjectRef, ObjectState};
use isobar_engine_provider::{ProviderError, Site};

use super::claim::owner;
use super::name::name;
use super::place::{Place, find, unreachable};
use super::{of_cluster, see, sight};
use crate::api::{
    ApiError, AuditWhat, AuditWho, ErrorCode, IMPORT_PAGE_MAX_OBJECTS, ImportAnswer, ImportFound, ImportLine,
    ImportObject, ImportRequest, ImportSource, ImportStanding, Taken,
};
use crate::audit;
use crate::engine::{Engine, resolve};
use crate::ledger::{Draft, LedgerError};
use crate::record::{AdoptedRecord, ClusterRecord, Healing, Record};

/// A commit that another engine's claim went before is tried again so often, each time without what it has lost.
const CLAIM_TRIES_MAX: u32 = 3;

/// An object that its cloud has and that nobody is known to own.
#[derive(Clone)]
struct Found {
    /// Its line.
    index: usize,
    record: AdoptedRecord,
    state: ObjectState,
}

impl Engine {
    /// Reads the objects of a page in their clouds and takes over those that are there and nobody's.
    pub async fn import_terraform(self: &Arc<Self>, request: ImportRequest) -> Result<ImportAnswer, ApiError> {
        if request.objects.len() > IMPORT_PAGE_MAX_OBJECTS {
            let message = format!("{} objects are too many for a page", request.objects.len());
            return Err(ApiError::new(ErrorCode::InvalidArgument, message)
                .pointer("/objects")
                .hint(format!("send at most {IMPORT_PAGE_MAX_OBJECTS} at a time")));
        }
        self.is_recovered()?;
        let sites = self.import_sites(&request)?;
        // Once begun it goes on without its caller.
        let engine = self.clone();
        let importing = self.tasks.spawn(async move { engine.import(request, sites).await });
        importing
            .await
            .unwrap_or_else(|error| Err(ApiError::new(ErrorCode::Internal, error.to_string())))
    }

    async fn import(&self, request: ImportRequest, sites: Vec<Site>) -> Result<ImportAnswer, ApiError> {
        let objects = request.objects.iter();
        let providers: BTreeSet<_> = objects.clone().map(|object| object.provider.clone()).collect();
        let places = self.places(sites, &providers).await;
        let mut lines: Vec<Option<ImportFound>> = vec![None; request.objects.len()];
        let mut at: BTreeMap<&SiteName, (&Place, Vec<usize>)> = BTreeMap::new();
        for (index, object) in objects.enumerate() {
            if matches!(object.standing, ImportStanding::Deposed(_)) {
                lines[index] = Some(ImportFound::Deposed);
                continue;
            }
            match find(&places, object) {
                Ok(place) => at.entry(&place.site.name).or_insert((place, Vec::new())).1.push(index),
                Err(found) => lines[index] = Some(found),
            }
        }
        let mut found = Vec::new();
        for (place, indices) in at.into_values() {
            let refs: Vec<ObjectRef> = indices
                .iter()
                .map(|&index| reference(&request.objects[index]))
                .collect();
            let answers = self.read_objects(&place.site, &refs).await;
            for (index, answer) in indices.into_iter().zip(answers) {
                match judge(&request.objects[index], place, answer) {
                    Ok(state) => found.push(self.candidate(&request, index, place, state)),
                    Err(line) => lines[index] = Some(line),
                }
            }
        }
        for (index, line) in self.claim(&request, found).await? {
            lines[index] = Some(line);
        }
        let line = |(object, found): (ImportObject, Option<ImportFound>)| ImportLine {
            address: object.address,
            found: found.expect("every object was judged, placed or claimed"),
        };
        Ok(ImportAnswer {
            lines: request.objects.into_iter().zip(lines).map(line).collect(),
        })
    }

    /// The sites of the cluster and those that the caller adds.
    fn import_sites(&self, request: &ImportRequest) -> Result<Vec<Site>, ApiError> {
        let mut sites: BTreeMap<SiteName, Site> = BTreeMap::new();
        {
            let state = self.ledger.read();
            for record in of_cluster(&state, &request.cluster) {
                sites.insert(record.site.name.clone(), record.site.clone());
            }
            let cluster = state.clusters.get(request.cluster.as_str());
            for (name, site) in cluster
                .and_then(|record| record.spec.as_ref())
                .iter()
                .flat_map(|spec| &spec.sites)
            {
                sites.insert(name.clone(), resolve(name, site));
            }
        }
        for (name, spec) in &request.sites {
            let site = added(name, spec, sites.get(name))?;
            self.provider(&site)?;
            sites.insert(name.clone(), site);
        }
        Ok(sites.into_values().collect())
    }

    fn candidate(&self, request: &ImportRequest, index: usize, place: &Place, state: ObjectState) -> Found {
        let (object, now) = (&request.objects[index], self.clock.now());
        let record = AdoptedRecord {
            cluster: request.cluster.clone(),
            site: place.site.clone(),
            object: Adopted {
                // Given when it is claimed: only then is it known what is taken.
                name: name(&object.address, |_| false),
                version: Version(1),
                site: place.site.name.clone(),
                account: place.account().to_owned(),
                kind: object.kind.clone(),
                id: object.id.clone(),
                zone: object.zone.clone(),
                from: AdoptedFrom {
                    lineage: request.source.lineage.clone(),
                    address: object.address.clone(),
                },
                serial: request.source.serial,
                phase: AdoptedPhase::Observed { since: now },
                named: false,
                seen: sight(&state),
                looked: now,
            },
        };
        Found { index, record, state }
    }

    /// Commits who owns what was found: the first that comes, over all clusters and states.
    async fn claim(&self, request: &ImportRequest, found: Vec<Found>) -> Result<Vec<(usize, ImportFound)>, ApiError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut lines = Vec::new();
            let mut free = Vec::new();
            for one in &found {
                match self.owner_elsewhere(&one.record.key()).await {
                    Ok(Some(by)) => lines.push((one.index, ImportFound::AlreadyOwned { by })),
                    Ok(None) => free.push(one.clone()),
                    Err(error) => return Err(LedgerError::Store(error.to_string()).into()),
                }
            }
            let now = self.clock.now();
            let (cluster, source, objects) = (request.cluster.clone(), request.source.clone(), request.objects.clone());
            let committed = self
                .ledger
                .change(move |draft| {
                    is_no_older(draft, &cluster, &source)?;
                    let known = free
                        .iter()
                        .filter(|one| draft.get::<AdoptedRecord>(&one.record.key()).is_some());
                    let new = free.len() - known.count();
                    let claimed = free.into_iter().map(|one| {
                        let object = &objects[one.index];
                        (one.index, take(draft, one, object))
                    });
                    let claimed: Vec<_> = claimed.collect();
                    if new > 0 {
                        let what = AuditWhat::Imported {
                            lineage: source.lineage.clone(),
                            objects: u64::try_from(new).unwrap_or(u64::MAX),
                        };
                        audit::note_of_cluster(draft, now, &cluster, (AuditWho::Client, what));
                    }
                    if claimed.iter().any(|(_, line)| line.taken().is_some()) {
                        begin_cluster(draft, &cluster);
                    }
                    Ok::<_, ApiError>(claimed)
                })
                .await;
            match committed {
                Ok(claimed) => {
                    lines.extend(claimed?);
                    return Ok(lines);
                }
                // The key that another engine has by now fails the commit: the next try sees whose it is.
                Err(LedgerError::Store(_)) if tries < CLAIM_TRIES_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn reference(object: &ImportObject) -> ObjectRef {
    ObjectRef {
        kind: object.kind.clone(),
        id: object.id.clone(),
        zone: object.zone.clone(),
    }
}

/// A site that the caller adds: one of the cluster's own name must be the same.
fn added(name: &SiteName, spec: &SiteSpec, known: Option<&Site>) -> Result<Site, ApiError> {
    let site = resolve(name, spec);
    match known {
        Some(known) if *known != site => {
            let message = format!("the cluster has another site {name}");
            Err(ApiError::new(ErrorCode::InvalidArgument, message)
                .pointer(format!("/sites/{name}"))
                .hint("give it another name, or leave it out: the cluster's own sites are known"))
        }
        Some(_) | None => Ok(site),
    }
}

/// The state of an object that may be taken over, or its line.
fn judge(
    object: &ImportObject,
    place: &Place,
    answer: Result<ObjectState, ProviderError>,
) -> Result<ObjectState, ImportFound> {
    match answer {
        Ok(state) => match &state.owner {
            Some(owner) => Err(ImportFound::AlreadyOwned {
                by: format!("isobar made it, for cluster {} of store {}", owner.cluster, owner.store),
            }),
            None => Ok(state),
        },
        Err(ProviderError::NotFound | ProviderError::Gone) => Err(ImportFound::Missing {
            site: place.site.name.clone(),
        }),
        Err(ProviderError::Unsupported { message }) => Err(ImportFound::Unsupported {
            because: format!("{}: {message}", object.kind.0),
        }),
        Err(error) => Err(unreachable(&place.site, &error)),
    }
}

/// That nothing of a newer copy of the same state was imported already.
fn is_no_older(draft: &Draft, cluster: &ClusterName, source: &ImportSource) -> Result<(), ApiError> {
    let Some(serial) = source.serial.filter(|_| !source.lineage.is_empty()) else {
        return Ok(());
    };
    let of_it = of_cluster(draft.state(), cluster);
    let of_it = of_it
        .iter()
        .filter(|record| record.object.from.lineage == source.lineage);
    match of_it.filter_map(|record| record.object.serial).max() {
        Some(newest) if newest > serial => {
            let message = format!(
                "{} has serial {serial}, and serial {newest} was imported already",
                source.name
            );
            Err(ApiError::new(ErrorCode::Refused, message)
                .pointer("/source/serial")
                .hint("it is an old copy: import what `terraform state pull` gives now"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Makes an object the cluster's, unless somebody else has it.
fn take(draft: &mut Draft, found: Found, object: &ImportObject) -> ImportFound {
    let Found { mut record, state, .. } = found;
    match draft.get::<AdoptedRecord>(&record.key()).cloned() {
        // Its state has an object that it gave away: it must be taken back first, or forgotten there.
        Some(known) if matches!(known.object.phase, AdoptedPhase::Owned { .. }) => {
            return ImportFound::AlreadyOwned { by: owner(&known) };
        }
        Some(known) if is_same(&known, &record) => {
            let mut kept = known;
            if see(&mut kept.object, record.object.seen) {
                kept.object.looked = record.object.looked;
            }
            kept.object.serial = record.object.serial.or(kept.object.serial);
            record = kept;
        }
        Some(known) => return ImportFound::AlreadyOwned { by: owner(&known) },
        None => record.object.name = free_name(draft, &record.cluster, &object.address),
    }
    draft.put(record.clone());
    let drift = drift(&object.fields, &state.fields);
    let taken = Box::new(Taken {
        name: record.object.name.clone(),
        spec: record
            .object
            .as_seen(object.unmanaged.clone())
            .expect("it was seen just now"),
        drift,
    });
    match object.standing {
        ImportStanding::Tainted => ImportFound::Tainted(taken),
        ImportStanding::Current | ImportStanding::Deposed(_) if taken.drift.is_empty() => ImportFound::Adopted(taken),
        ImportStanding::Current | ImportStanding::Deposed(_) => ImportFound::Drifted(taken),
    }
}

fn is_same(known: &AdoptedRecord, record: &AdoptedRecord) -> bool {
    known.cluster == record.cluster && known.object.from == record.object.from
}

fn free_name(draft: &Draft, cluster: &ClusterName, address: &str) -> AdoptedName {
    let here = of_cluster(draft.state(), cluster);
    let state = draft.state().clusters.get(cluster.as_str());
    let spec = state.and_then(|record| record.spec.as_ref());
    name(address, |name| {
        here.iter().any(|record| record.object.name == *name)
            || spec.is_some_and(|spec| spec.adopted.contains_key(name))
    })
}

/// The cluster, where there is none yet: held, so that nothing is planned unasked before somebody applies a spec.
fn begin_cluster(draft: &mut Draft, cluster: &ClusterName) {
    let known = draft.get::<ClusterRecord>(cluster.as_str());
    if known.is_some_and(|record| record.spec.is_some() || record.held || record.running.is_some()) {
        return;
    }
    let fresh = ClusterRecord {
        cluster: cluster.clone(),
        generation: Generation(0),
        spec: None,
        next_machine: BTreeMap::new(),
        next_replica: BTreeMap::new(),
        running: None,
        held: true,
        ceiling: MicroUsdPerHour(0),
        healing: Healing {
            tries: 0,
            not_before: Timestamp(0),
        },
    };
    let record = known.map_or(fresh, |record| ClusterRecord {
        held: true,
        ..record.clone()
    });
    draft.put(record);
}
