//! What an attempt sends, frozen before it is sent: the request with its token, its tags and the node's identity.

use isobar_engine_model::id::{AttemptNo, MachineId};
use isobar_engine_model::plan::Candidate;
use isobar_engine_model::spec::NODE_PORTS;
use isobar_engine_provider::{CreateResource, MachineRequest, Owner, OwnerTags, ResourceSpec, Secret, Token};
use isobar_node_image_protocol::identity::Identity;
use sha2::{Digest, Sha256};

use super::super::{StepError, StepJob};
use crate::node::join::{SECRET_BYTES, make_token, token_hash};
use crate::record::{AttemptRecord, AttemptState, CredentialRecord, attempt_key};

/// The journal entry of an attempt with its frozen request, and what its node will identify itself with.
pub(super) fn intent(
    job: &StepJob<'_>,
    machine: &MachineId,
    candidate: &Candidate,
    (index, number): (usize, AttemptNo),
) -> Result<(AttemptRecord, CredentialRecord), StepError> {
    let engine = job.engine;
    let key = attempt_key(job.cluster(), machine, number);
    let mut secret = [0; SECRET_BYTES];
    engine.entropy.fill(&mut secret);
    let join_token = make_token(&key, &secret);
    let site = engine
        .site(&job.plan.body, &candidate.site)
        .ok_or_else(|| StepError::Failed(format!("site {} is not in the spec", candidate.site)))?;
    let derived = hex::encode(Sha256::digest(format!("{}/{}/{}", job.operation, job.step, number.0)));
    let identity = Identity {
        engines: engine.homes(),
        ca_der_hex: hex::encode(engine.authority.certificate_der()),
        token_hex: hex::encode(&join_token),
        machine: machine.to_string(),
        insecure_registries: engine.config.insecure_registries.clone(),
    };
    let request = CreateResource {
        name: format!("isobar-{}-{machine}-{}", job.cluster(), &derived[..8]),
        token: Token(derived[..32].to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: engine.store_id.clone(),
                cluster: job.cluster().clone(),
            },
            machine: machine.clone(),
            operation: job.operation.clone(),
            attempt: number,
            epoch: engine.ledger.epoch(),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: candidate.zone.clone(),
            offering: candidate.offering.clone(),
            image: candidate.image.clone(),
            identity: Secret(serde_json::to_vec(&identity).expect("text fields")),
            open_ports: NODE_PORTS,
            network: Default::default(),
        }),
        site,
    };
    let provider = engine
        .provider(&request.site)
        .map_err(|error| StepError::Failed(error.message))?;
    let now = engine.clock.now();
    let json = serde_json::to_vec(&request).expect("text keys");
    let attempt = AttemptRecord {
        cluster: job.cluster().clone(),
        operation: job.operation.clone(),
        step: job.step,
        attempt: number,
        machine: machine.clone(),
        site: candidate.site.clone(),
        candidate: index,
        epoch: engine.ledger.epoch(),
        token: request.token.clone(),
        sealed_request: engine.vault.seal(&*engine.entropy, &key, &json),
        request_hash: hex::encode(Sha256::digest(&json)),
        intended: now,
        expires: now.plus_ms(provider.capabilities().token_validity_ms),
        state: AttemptState::Intended,
    };
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
