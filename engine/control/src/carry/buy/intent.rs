//! What an attempt at a machine sends, frozen before it is sent: the request with its token, its tags and the node's identity.

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId};
use isobar_engine_provider::{MachineRequest, Network, ResourceSpec, Secret, Site};

use super::Wanted;
use crate::births::born;
use crate::carry::journal::{Subject, journal};
use crate::carry::{StepError, StepJob};
use crate::engine::Engine;
use crate::node::join::{SECRET_BYTES, make_token, token_hash};
use crate::record::{AttemptRecord, CredentialRecord, attempt_key};

/// The journal entry of an attempt with its frozen request, and what its node will identify itself with.
pub(super) fn intent(
    job: &StepJob<'_>,
    wanted: &Wanted<'_>,
    (site, network): (Site, Network),
) -> Result<(AttemptRecord, CredentialRecord), StepError> {
    let engine = job.engine;
    let Wanted {
        machine,
        candidate,
        index,
        number,
    } = *wanted;
    let key = attempt_key(job.cluster(), machine, number);
    let mut secret = [0; SECRET_BYTES];
    engine.entropy.fill(&mut secret);
    let join_token = make_token(&key, &secret);
    let spec = ResourceSpec::Machine(MachineRequest {
        zone: candidate.zone.clone(),
        offering: candidate.offering.clone(),
        image: candidate.image.clone(),
        identity: Secret(born(engine, machine, &join_token)),
        open_ports: engine.config.births.open_ports(),
        network,
    });
    let subject = Subject::Machine { id: machine, index };
    let attempt = journal(job, &subject, number, (site, spec))?;
    let credential = CredentialRecord {
        cluster: job.cluster().clone(),
        machine: machine.clone(),
        attempt: number,
        token_hash: token_hash(&join_token),
        key_hash: None,
        revoked: false,
    };
    Ok((attempt, credential))
}

/// How long the identity of a machine of that name would be, in bytes.
pub(crate) fn identity_bytes(engine: &Engine, cluster: &ClusterName, machine: &MachineId) -> usize {
    let key = attempt_key(cluster, machine, AttemptNo(u32::MAX));
    born(engine, machine, &make_token(&key, &[0; SECRET_BYTES])).len()
}
