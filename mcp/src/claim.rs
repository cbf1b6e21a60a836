//! How somebody who bought a machine for an engine and the engine on it come to know each other, once, over a network
//! that neither trusts.
//!
//! They have one token in common, and the machine has only what was derived from it: it was born with that, and others may
//! read what machines are born with. It shows by a MAC over the very certificate that it serves with that it is the
//! machine that was bought; its owner then shows the token, over that certificate alone, and says how it is reached and
//! whether its store comes from a backup. From there on it is known by its store's own authority. [`door`] is the
//! engine's side, [`owner`] the other one. Knows nothing of clusters.

pub mod door;
pub mod owner;

use isobar_engine_control::authority::ServerIdentity;
use ring::{digest, hmac};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::folder::Token;

/// Where it is asked and told.
pub const PATH: &str = "/claim";
/// Where a backup is brought to, part by part.
pub const BACKUP_PATH: &str = "/claim/backup";
/// A part of a backup is at most so long.
pub const PART_MAX_BYTES: usize = 4 * 1024 * 1024;
/// A backup is at most so long.
pub const BACKUP_MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Every other request and answer is at most so long.
const CLAIM_MAX_BYTES: usize = 64 * 1024;

/// What keeps one use of the token apart from the other.
const HASH_LABEL: &[u8] = b"isobar claim hash\n";
const PROOF_LABEL: &[u8] = b"isobar claim proof\n";

/// What an engine's machine is born with, derived from its owner's token, which cannot be found from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Derived {
    hash: [u8; digest::SHA256_OUTPUT_LEN],
    proof_key: [u8; digest::SHA256_OUTPUT_LEN],
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A machine was born with something else than was derived from a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not {} bytes in hex", digest::SHA256_OUTPUT_LEN)]
pub struct NotDerived {
    /// Which part.
    field: &'static str,
}

/// What an engine's owner tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Under which hosts its callers know it: names and addresses.
    pub hosts: Vec<String>,
    /// How its nodes reach it: `host:port`.
    pub nodes: Vec<String>,
    /// What its store is sealed with: its owner keeps it too, so that a backup can be opened when the machine is lost.
    pub key: StoreKey,
    /// Whether its store comes from the backup that was brought; else it is empty.
    pub restore: bool,
}

/// A store's key, in hex. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreKey(pub String);

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How far an engine is with being claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits for its owner.
    Waiting,
    /// It serves, and is known by this authority, PEM.
    Serves(String),
}

/// A [`Standing`] on the wire.
#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority_pem: Option<String>,
    /// See [`Derived::proof`], in hex.
    proof: String,
}

impl Derived {
    /// From the token.
    pub fn from(token: &Token) -> Self {
        let derive = |label: &[u8]| {
            let text = [label, token.as_str().as_bytes()].concat();
            let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
            bytes.copy_from_slice(digest::digest(&digest::SHA256, &text).as_ref());
            bytes
        };
        Self {
            hash: derive(HASH_LABEL),
            proof_key: derive(PROOF_LABEL),
        }
    }

    /// As a machine is born with it, both in hex.
    pub fn parse(hash_hex: &str, proof_key_hex: &str) -> Result<Self, NotDerived> {
        let bytes = |field, text: &str| {
            let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or(NotDerived { field })
        };
        Ok(Self {
            hash: bytes("the claim's hash", hash_hex)?,
            proof_key: bytes("the proof's key", proof_key_hex)?,
        })
    }

    /// What to compare the owner's token with, in hex.
    pub fn hash_hex(&self) -> String {
        hex::encode(self.hash)
    }

    /// The key of the machine's proof, in hex.
    pub fn proof_key_hex(&self) -> String {
        hex::encode(self.proof_key)
    }

    /// Whether that is the token. Hashes of random tokens: how long the comparison takes says nothing that helps a guess.
    fn is_of(&self, token: &Token) -> bool {
        Self::from(token).hash == self.hash
    }

    fn proof(&self, certificate: &CertificateDer<'_>, standing: &Standing) -> hmac::Tag {
        hmac::sign(&self.key(), &Self::shown(certificate, standing))
    }

    fn proves(&self, certificate: &CertificateDer<'_>, standing: &Standing, proof: &[u8]) -> bool {
        hmac::verify(&self.key(), &Self::shown(certificate, standing), proof).is_ok()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.proof_key)
    }

    /// The connection's certificate and what is said over it: nobody else can say it over another one.
    fn shown(certificate: &CertificateDer<'_>, standing: &Standing) -> Vec<u8> {
        let mut shown = digest::digest(&digest::SHA256, certificate).as_ref().to_vec();
        match standing {
            Standing::Waiting => shown.push(0),
            Standing::Serves(authority_pem) => {
                shown.push(1);
                shown.extend(authority_pem.as_bytes());
            }
        }
        shown
    }
}

impl Answer {
    fn of(derived: &Derived, identity: &ServerIdentity, standing: Standing) -> Result<Self, NoCertificate> {
        let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).map_err(NoCertificate)?;
        let proof = hex::encode(derived.proof(&certificate, &standing));
        let authority_pem = match standing {
            Standing::Waiting => None,
            Standing::Serves(authority_pem) => Some(authority_pem),
        };
        Ok(Self { authority_pem, proof })
    }

    /// What it says, if it proves it. None: whoever said it does not know what the machine was born with.
    fn standing(self, derived: &Derived, certificate: &CertificateDer<'_>) -> Option<Standing> {
        let standing = self.authority_pem.map_or(Standing::Waiting, Standing::Serves);
        let proof = hex::decode(&self.proof).ok()?;
        derived.proves(certificate, &standing, &proof).then_some(standing)
    }
}

/// The certificate that is served with cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read the engine's own certificate")]
pub struct NoCertificate(#[source] rustls::pki_types::pem::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_born_with_neither_the_token_nor_anything_that_is_it() {
        let token = Token::random();
        let derived = Derived::from(&token);
        for hex in [derived.hash_hex(), derived.proof_key_hex()] {
            assert_ne!(hex, token.as_str());
            assert!(!derived.is_of(&Token::parse(&hex).unwrap()), "it opens nothing");
        }
        assert_ne!(derived.hash_hex(), derived.proof_key_hex());
        assert!(derived.is_of(&token) && !derived.is_of(&Token::random()));
        let born = Derived::parse(&derived.hash_hex(), &derived.proof_key_hex());
        assert!(born.is_ok_and(|born| born == derived));
        for wrong in ["", "00", "zz"] {
            assert!(Derived::parse(wrong, &derived.proof_key_hex()).is_err(), "{wrong}");
            assert!(Derived::parse(&derived.hash_hex(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_proof_holds_for_one_certificate_and_one_standing() {
        let derived = Derived::from(&Token::random());
        let (mine, other) = (CertificateDer::from(vec![1; 8]), CertificateDer::from(vec![2; 8]));
        let serves = Standing::Serves("pem".to_owned());
        let proof = derived.proof(&mine, &serves);
        assert!(derived.proves(&mine, &serves, proof.as_ref()));
        assert!(!derived.proves(&other, &serves, proof.as_ref()), "somebody in between");
        assert!(!derived.proves(&mine, &Standing::Waiting, proof.as_ref()));
        assert!(!derived.proves(&mine, &Standing::Serves("pen".to_owned()), proof.as_ref()));
        assert!(!Derived::from(&Token::random()).proves(&mine, &serves, proof.as_ref()));
    }

    #[test]
    fn the_key_of_a_store_is_never_printed() {
        assert_eq!(format!("{:?}", StoreKey("0011".to_owned())), "***");
    }
}
