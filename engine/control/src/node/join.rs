//! Joining: a one-time token becomes a certificate.
//!
//! The token binds to the first public key that shows it: the same key gets its certificate again, another key never.
//! Only the latest attempt of a machine may join, and only while nobody has decided to delete it.

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId};
use isobar_engine_model::observed::MachinePhase;
use isobar_node_image_protocol::names::machine_dns_name;
use isobar_node_image_protocol::v1::{JoinReply, JoinRequest};
use sha2::{Digest, Sha256};

use crate::authority::{NODE_CERTIFICATE_VALID_MS, SignedRequest};
use crate::engine::Engine;
use crate::ledger::Draft;
use crate::record::{CredentialRecord, MachineRecord, attempt_key, machine_key};

/// The secret part of a join token is so long, in bytes.
pub(crate) const SECRET_BYTES: usize = 32;

/// Why a node may not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The token is of no machine: the node gives up.
    #[error("the token is unknown")]
    UnknownToken,
    /// The token belongs to another key: the node gives up.
    #[error("the token was used with another key")]
    UsedToken,
    /// The machine was replaced or is being deleted: the node gives up.
    #[error("the machine may not join any more")]
    Revoked,
    /// The request is malformed: the node gives up.
    #[error("the certificate request cannot be used")]
    BadRequest,
    /// The engine cannot keep it now: the node tries again.
    #[error("the engine cannot answer now: {0}")]
    Unavailable(String),
}

impl Engine {
    /// Gives a node that shows a machine's token its certificate.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinReply, JoinError> {
        let signed = SignedRequest::parse(&request.csr_der).map_err(|_| JoinError::BadRequest)?;
        let shown = ShownToken::parse(&request.token).ok_or(JoinError::UnknownToken)?;
        let key_hash = signed.key_hash();
        let bound = self
            .ledger
            .change(move |draft| bind(draft, &shown, key_hash))
            .await
            .map_err(|error| JoinError::Unavailable(error.to_string()))?;
        let (cluster, machine, attempt) = match bound {
            // It may be of a machine that was bought after the backup.
            Err(JoinError::UnknownToken | JoinError::Revoked) if self.is_recovering() => {
                return Err(JoinError::Unavailable("the store is being recovered".to_owned()));
            }
            bound => bound?,
        };
        let name = machine_dns_name(cluster.as_str(), machine.as_str(), attempt.0);
        let certificate_der = self
            .authority
            .sign(&signed, &name, self.clock.now())
            .map_err(|error| JoinError::Unavailable(error.to_string()))?;
        tracing::info!(%cluster, %machine, attempt = attempt.0, "node joins");
        Ok(JoinReply {
            certificate_der,
            machine: machine.to_string(),
            valid_ms: NODE_CERTIFICATE_VALID_MS,
        })
    }
}

/// A join token: the key of its credential's record, a line feed, and [`SECRET_BYTES`] random bytes.
pub(crate) fn make_token(credential: &str, secret: &[u8; SECRET_BYTES]) -> Vec<u8> {
    [credential.as_bytes(), b"\n", secret].concat()
}

/// Of which cluster a token says that it is. Proves nothing: it says whom to ask.
pub(crate) fn cluster_of(token: &[u8]) -> Option<ClusterName> {
    let shown = ShownToken::parse(token)?;
    let (cluster, _) = shown.credential.split_once('/')?;
    ClusterName::new(cluster).ok()
}

/// What the store keeps of a token.
pub(crate) fn token_hash(token: &[u8]) -> String {
    hex::encode(Sha256::digest(token))
}

struct ShownToken {
    credential: String,
    hash: String,
}

impl ShownToken {
    fn parse(token: &[u8]) -> Option<Self> {
        let end = token.len().checked_sub(SECRET_BYTES + 1)?;
        let credential = std::str::from_utf8(token.get(..end)?).ok()?.to_owned();
        Some(Self {
            credential,
            hash: token_hash(token),
        })
    }
}

fn bind(
    draft: &mut Draft,
    shown: &ShownToken,
    key_hash: String,
) -> Result<(ClusterName, MachineId, AttemptNo), JoinError> {
    // Hashes of random secrets: how long the comparison takes says nothing that helps a guess.
    let mut credential = draft
        .get::<CredentialRecord>(&shown.credential)
        .filter(|credential| credential.token_hash == shown.hash)
        .cloned()
        .ok_or(JoinError::UnknownToken)?;
    let (cluster, machine, attempt) = (
        credential.cluster.clone(),
        credential.machine.clone(),
        credential.attempt,
    );
    if credential.revoked || !may_speak(draft.get(&machine_key(&cluster, &machine)), attempt) {
        return Err(JoinError::Revoked);
    }
    match &credential.key_hash {
        Some(bound) if *bound == key_hash => {}
        Some(_) => return Err(JoinError::UsedToken),
        None => {
            credential.key_hash = Some(key_hash);
            draft.put(credential);
        }
    }
    Ok((cluster, machine, attempt))
}

/// Whether an attempt is the one that its machine stands for, and not being deleted.
pub(crate) fn may_speak(machine: Option<&MachineRecord>, attempt: AttemptNo) -> bool {
    let Some(MachineRecord { machine, .. }) = machine else {
        return false;
    };
    let current = machine.bought.as_ref().is_some_and(|bought| bought.attempt == attempt);
    current
        && match machine.phase {
            MachinePhase::Creating { .. }
            | MachinePhase::Booting { .. }
            | MachinePhase::Ready { .. }
            | MachinePhase::Lost { .. } => true,
            MachinePhase::Wanted { .. } | MachinePhase::Releasing { .. } | MachinePhase::Gone { .. } => false,
        }
}

impl Engine {
    /// Whether the peer of a session may speak for its machine now.
    pub(crate) fn is_current(&self, peer: &super::Peer) -> bool {
        let state = self.ledger.read();
        let credential = state
            .credentials
            .get(&attempt_key(&peer.cluster, &peer.machine, peer.attempt));
        credential.is_some_and(|credential| !credential.revoked)
            && may_speak(
                state.machines.get(&machine_key(&peer.cluster, &peer.machine)),
                peer.attempt,
            )
    }
}
