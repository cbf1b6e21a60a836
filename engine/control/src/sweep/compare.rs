//! What a site has under a cluster's tags, held against the journal: what is unknown, what is gone, what became known.
//! Pure but for [`is_known`], which asks the engine's journal.

use std::collections::BTreeSet;

use isobar_engine_model::id::{AttemptNo, ClusterName, Epoch, MachineId};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{OwnerTags, ResourceKind, ResourceState, ResourceStatus, Site};

use super::Found;
use crate::engine::Engine;
use crate::ledger::Draft;
use crate::record::{AttemptRecord, AttemptState, OrphanRecord, OrphanState, Record, attempt_key, orphan_key, prefix};
use crate::state::State;

/// What a sweep of a site changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is an orphan from now on.
    Found(OrphanRecord),
    /// The provider does not have it any more.
    Gone(OrphanRecord),
    /// The journal knows it by now, or it has been gone for long enough.
    Forget(OrphanRecord),
}

impl Change {
    pub(super) fn put(self, draft: &mut Draft, now: Timestamp) {
        match self {
            Self::Found(record) => draft.put(record),
            Self::Gone(record) => draft.put(OrphanRecord {
                state: OrphanState::Gone { since: now },
                ..record
            }),
            Self::Forget(record) => draft.remove::<OrphanRecord>(&record.key()),
        }
    }
}

/// What a site's resources are compared with.
pub(super) struct Context<'a> {
    pub(super) state: &'a State,
    pub(super) cluster: &'a ClusterName,
    pub(super) epoch: Epoch,
    pub(super) now: Timestamp,
    pub(super) visibility_delay_ms: u64,
    pub(super) tombstone_ms: u64,
}

pub(super) fn compare(context: &Context<'_>, site: &Site, found: Found) -> Vec<Change> {
    let (cluster, mut changes) = (context.cluster, Vec::new());
    let mut there = BTreeSet::new();
    for (kind, item, tags) in found {
        let key = orphan_key(cluster, &site.name, &item.handle);
        there.insert(key.clone());
        let before = context.state.orphans.get(&key);
        match (why_unknown(context, kind, &item, &tags), before) {
            (Some(because), None) if item.status != ResourceStatus::Deleting => {
                changes.push(Change::Found(OrphanRecord {
                    cluster: cluster.clone(),
                    site: site.clone(),
                    kind,
                    handle: item.handle,
                    name: item.name,
                    tags,
                    offering: item.offering,
                    found: context.now,
                    because,
                    state: OrphanState::Quarantined,
                }));
            }
            // A list that lagged behind had it gone too early.
            (Some(_), Some(record)) if matches!(record.state, OrphanState::Gone { .. }) => {
                if item.status != ResourceStatus::Deleting {
                    let state = OrphanState::Quarantined;
                    changes.push(Change::Found(OrphanRecord {
                        state,
                        ..record.clone()
                    }));
                }
            }
            (Some(_), _) | (None, None) => {}
            (None, Some(record)) => changes.push(Change::Forget(record.clone())),
        }
    }
    let here = context.state.orphans.under(&prefix(cluster));
    let missing = here.filter(|record| record.site.name == site.name && !there.contains(&record.key()));
    changes.extend(missing.filter_map(|record| match record.state {
        OrphanState::Quarantined | OrphanState::Asking { .. } => Some(Change::Gone(record.clone())),
        OrphanState::Gone { since } if context.now.since_ms(since) > context.tombstone_ms => {
            Some(Change::Forget(record.clone()))
        }
        // What an operation deletes is gone when the operation says so.
        OrphanState::Deleting { .. } | OrphanState::Gone { .. } => None,
    }));
    changes
}

/// Why the journal does not know a resource; absent: it does, or it is not for this engine to say.
fn why_unknown(context: &Context<'_>, kind: ResourceKind, item: &ResourceState, tags: &OwnerTags) -> Option<String> {
    if tags.epoch > context.epoch {
        return None;
    }
    let attempt = attempt_of(context.state, context.cluster, &tags.machine, tags.attempt)
        .filter(|attempt| attempt.operation == tags.operation);
    let Some(attempt) = attempt else {
        return Some(format!(
            "the journal has no attempt {} of {} by {}",
            tags.attempt.0, tags.machine, tags.operation
        ));
    };
    match &attempt.state {
        AttemptState::Intended => None,
        AttemptState::Accepted { .. } | AttemptState::Closing { .. } => {
            let other = attempt.handle().filter(|handle| **handle != item.handle);
            // What is of another kind was made with it.
            other
                .filter(|_| kind == attempt.kind)
                .map(|other| format!("{} is {other}", tags.machine))
        }
        AttemptState::Refused { reason } => Some(format!("attempt {} was refused: {reason}", tags.attempt.0)),
        AttemptState::Gone { since, .. } if context.now.since_ms(*since) <= context.visibility_delay_ms => None,
        AttemptState::Gone { .. } => Some(format!("attempt {} was gone already", tags.attempt.0)),
    }
}

fn attempt_of<'a>(
    state: &'a State,
    cluster: &ClusterName,
    machine: &MachineId,
    attempt: AttemptNo,
) -> Option<&'a AttemptRecord> {
    state.attempts.get(&attempt_key(cluster, machine, attempt))
}

/// Whether an orphan turned out to be known after all.
pub(crate) fn is_known(engine: &Engine, record: &OrphanRecord, item: &ResourceState) -> bool {
    let state = engine.ledger.read();
    let context = Context {
        state: &state,
        cluster: &record.cluster,
        epoch: engine.ledger.epoch(),
        now: engine.clock.now(),
        visibility_delay_ms: 0,
        tombstone_ms: engine.config.bounds.tombstone_ms,
    };
    why_unknown(&context, record.kind, item, &record.tags).is_none()
}
