//! Taking a machine that the journal does not know into it, as if it had been bought by it. One commit; sends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_engine_model::catalog::Offering;
use isobar_engine_model::id::{Generation, ImageId, PlanId, StepId, Version};
use isobar_engine_model::observed::{Bought, Machine, MachinePhase};
use isobar_engine_model::quantity::{MicroUsdPerHour, Timestamp};
use isobar_engine_model::spec::NODE_PORTS;
use isobar_engine_provider::{CreateResource, MachineRequest, ResourceKind, ResourceSpec, Secret, Token};
use sha2::{Digest, Sha256};

use super::recover::pool_of;
use crate::api::{AuditEntry, AuditWhat, AuditWho};
use crate::engine::Engine;
use crate::ledger::{Draft, LedgerError};
use crate::record::{
    AttemptRecord, AttemptState, ClusterRecord, CredentialRecord, Healing, MachineRecord, OrphanRecord, Record,
    attempt_key, prefix,
};

/// Whose plan an adoption is, in the audit log: nobody's.
const NO_PLAN: &str = "none";
/// No token and no key has this hash: an adopted machine's node has its certificate already, and joins never again.
const NO_HASH: &str = "adopted";

/// A machine, and as what it was bought.
pub(super) struct Adoption {
    pub(super) orphan: OrphanRecord,
    pub(super) offering: Offering,
}

/// Commits that the journal knows a machine.
pub(super) async fn adopt(
    engine: &Arc<Engine>,
    adoption: Adoption,
    (idempotency_key, why): (&str, Option<String>),
) -> Result<(), LedgerError> {
    let now = engine.clock.now();
    let attempt = attempt(engine, &adoption, now);
    let idempotency_key = idempotency_key.to_owned();
    let what = format!("adopted: it is {}", adoption.orphan.handle);
    let (cluster, machine) = (adoption.orphan.cluster.clone(), adoption.orphan.tags.machine.clone());
    engine
        .ledger
        .write(move |draft| {
            note(draft, &adoption.orphan, now, (idempotency_key, why));
            take_in(draft, &adoption, attempt, now);
        })
        .await?;
    engine.event(&cluster, machine.as_str(), &what).await
}

fn take_in(draft: &mut Draft, adoption: &Adoption, attempt: AttemptRecord, now: Timestamp) {
    let (orphan, tags) = (&adoption.orphan, &adoption.orphan.tags);
    let (pool, ordinal) = pool_of(&tags.machine).expect("it was looked at");
    let mut cluster = cluster(draft, orphan);
    let next = cluster.next_machine.entry(pool.clone()).or_default();
    *next = (*next).max(ordinal + 1);
    // The backup's spec may be older than the machine: nothing that was adopted goes before somebody applies a spec.
    cluster.held = true;
    draft.put(cluster);
    draft.put(MachineRecord {
        cluster: orphan.cluster.clone(),
        machine: Machine {
            id: tags.machine.clone(),
            pool,
            version: Version(1),
            bought: Some(Bought {
                operation: tags.operation.clone(),
                attempt: tags.attempt,
                site: orphan.site.name.clone(),
                zone: adoption.offering.zone.clone(),
                offering: adoption.offering.id.clone(),
                purchase: adoption.offering.purchase,
                price: adoption.offering.price,
                allocatable: adoption.offering.allocatable,
            }),
            phase: MachinePhase::Ready {
                since: now,
                handle: orphan.handle.clone(),
            },
            node: None,
        },
    });
    draft.put(CredentialRecord {
        cluster: orphan.cluster.clone(),
        machine: tags.machine.clone(),
        attempt: tags.attempt,
        token_hash: NO_HASH.to_owned(),
        key_hash: Some(NO_HASH.to_owned()),
        revoked: false,
    });
    draft.put(attempt);
    let of_it: Vec<String> = draft
        .state()
        .orphans
        .under(&prefix(&orphan.cluster))
        .filter(|record| record.tags == *tags)
        .map(Record::key)
        .collect();
    for key in of_it {
        draft.remove::<OrphanRecord>(&key);
    }
}

/// The cluster, where the backup does not know it: without a spec.
fn cluster(draft: &Draft, orphan: &OrphanRecord) -> ClusterRecord {
    let known = draft.get::<ClusterRecord>(orphan.cluster.as_str()).cloned();
    known.unwrap_or_else(|| ClusterRecord {
        cluster: orphan.cluster.clone(),
        generation: Generation(0),
        spec: None,
        next_machine: BTreeMap::new(),
        next_replica: BTreeMap::new(),
        running: None,
        held: false,
        ceiling: MicroUsdPerHour(0),
        healing: Healing::default(),
    })
}

/// The journal's entry, with a request that is never sent: its token is over, and it says only where the machine is.
fn attempt(engine: &Engine, adoption: &Adoption, now: Timestamp) -> AttemptRecord {
    let (orphan, tags) = (&adoption.orphan, &adoption.orphan.tags);
    let key = attempt_key(&orphan.cluster, &tags.machine, tags.attempt);
    let request = CreateResource {
        site: orphan.site.clone(),
        name: orphan.name.clone(),
        token: Token(hex::encode(Sha256::digest(format!("adopted/{key}")))[..32].to_owned()),
        tags: tags.clone(),
        spec: ResourceSpec::Machine(MachineRequest {
            zone: adoption.offering.zone.clone(),
            offering: adoption.offering.id.clone(),
            image: ImageId::new(""),
            identity: Secret(Vec::new()),
            open_ports: NODE_PORTS,
            network: Default::default(),
        }),
    };
    debug_assert_eq!(orphan.kind, ResourceKind::Machine);
    let json = serde_json::to_vec(&request).expect("text keys");
    AttemptRecord {
        cluster: orphan.cluster.clone(),
        operation: tags.operation.clone(),
        step: StepId(0),
        attempt: tags.attempt,
        machine: tags.machine.clone(),
        kind: orphan.kind,
        site: orphan.site.name.clone(),
        candidate: 0,
        epoch: tags.epoch,
        token: request.token.clone(),
        sealed_request: engine.vault.seal(&*engine.entropy, &key, &json),
        request_hash: hex::encode(Sha256::digest(&json)),
        intended: now,
        expires: now,
        state: AttemptState::Accepted {
            handle: orphan.handle.clone(),
            since: orphan.found,
        },
    }
}

fn note(draft: &mut Draft, orphan: &OrphanRecord, at: Timestamp, (idempotency_key, why): (String, Option<String>)) {
    let (shard, sequence) = draft.next_audit();
    draft.append(AuditEntry {
        shard,
        sequence,
        at,
        who: AuditWho::Client,
        what: AuditWhat::Adopted {
            machine: orphan.tags.machine.clone(),
            handle: orphan.handle.to_string(),
        },
        cluster: Some(orphan.cluster.clone()),
        plan: Some(PlanId::new(NO_PLAN)),
        plan_hash: None,
        operation: Some(orphan.tags.operation.clone()),
        idempotency_key,
        why,
    });
}
