//! What an attempt at a machine sends, frozen before it is sent: the request with its token, its tags and the node's identity.

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId};
use isobar_engine_model::spec::NODE_PORTS;
use isobar_engine_provider::{MachineRequest, Network, ResourceSpec, Secret, Site};
use isobar_node_image_protocol::identity::Identity;

use super::Wanted;
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
        identity: Secret(identity(engine, machine, &join_token)),
        open_ports: NODE_PORTS,
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

/// What a machine's node reads first.
fn identity(engine: &Engine, machine: &MachineId, join_token: &[u8]) -> Vec<u8> {
    let identity = Identity {
        engines: engine.homes(),
        ca_der_hex: hex::encode(engine.authority.certificate_der()),
        token_hex: hex::encode(join_token),
        machine: machine.to_string(),
        insecure_registries: engine.config.insecure_registries.clone(),
    };
    serde_json::to_vec(&identity).expect("text fields")
}

/// How long the identity of a machine of that name would be, in bytes.
pub(crate) fn identity_bytes(engine: &Engine, cluster: &ClusterName, machine: &MachineId) -> usize {
    let key = attempt_key(cluster, machine, AttemptNo(u32::MAX));
    identity(engine, machine, &make_token(&key, &[0; SECRET_BYTES])).len()
}
