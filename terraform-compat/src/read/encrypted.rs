//! OpenTofu's encryption of a state, version 0: AES-GCM with a key from a passphrase (PBKDF2) or given as it is. Never
//! shows a key, never asks another service for one.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{aead, pbkdf2};
use serde::Deserialize;

use super::refuse::ReadError;
use super::{Envelope, json};

/// A state that asks for more is refused: rounds cost time, and whoever wrote the file chose their number.
const ROUNDS_MAX: u32 = 10_000_000;
/// Entries of key providers that are tried.
const PROVIDERS_MAX: usize = 16;

/// What may open a state. Shows nothing of itself.
#[derive(Clone, Default)]
pub struct Keys {
    /// Of a `pbkdf2` key provider.
    pub passphrase: Option<String>,
    /// Of a `static` key provider: 16 or 32 bytes.
    pub key: Option<Vec<u8>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a `pbkdf2` key provider keeps beside the state.
#[derive(Deserialize)]
struct Derivation {
    salt: String,
    iterations: u32,
    hash_function: String,
    key_length: usize,
}

/// The state in the clear.
pub(super) fn decrypt(text: &str, envelope: &Envelope<'_>, keys: &Keys) -> Result<Vec<u8>, ReadError> {
    if keys.passphrase.is_none() && keys.key.is_none() {
        return Err(ReadError::NoKey);
    }
    let version: Option<String> = json::optional(text, envelope.encryption_version)?;
    let data: Option<String> = json::optional(text, envelope.encrypted_data)?;
    let (Some("v0"), Some(data)) = (version.as_deref(), data) else {
        return Err(ReadError::UnknownEncryption);
    };
    let sealed = STANDARD.decode(data).map_err(|_| ReadError::UnknownEncryption)?;
    let meta = json::optional(text, envelope.meta).map_err(|_| ReadError::UnknownEncryption)?;
    let candidates = candidates(meta.unwrap_or_default(), keys)?;
    candidates
        .iter()
        .find_map(|key| open(key, &sealed))
        .ok_or(ReadError::WrongKey)
}

fn candidates(meta: BTreeMap<String, String>, keys: &Keys) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut candidates: Vec<Vec<u8>> = keys.key.iter().cloned().collect();
    if let Some(passphrase) = &keys.passphrase {
        for provided in meta.values().take(PROVIDERS_MAX) {
            let json = STANDARD.decode(provided).map_err(|_| ReadError::UnknownEncryption)?;
            if let Ok(derivation) = serde_json::from_slice::<Derivation>(&json) {
                candidates.push(derive(&derivation, passphrase).ok_or(ReadError::UnknownEncryption)?);
            }
        }
    }
    match candidates.is_empty() {
        true => Err(ReadError::UnknownEncryption),
        false => Ok(candidates),
    }
}

fn derive(derivation: &Derivation, passphrase: &str) -> Option<Vec<u8>> {
    let algorithm = match derivation.hash_function.as_str() {
        "sha512" => pbkdf2::PBKDF2_HMAC_SHA512,
        "sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
        _ => return None,
    };
    let rounds = NonZeroU32::new(derivation.iterations).filter(|rounds| rounds.get() <= ROUNDS_MAX)?;
    if !matches!(derivation.key_length, 16 | 32) {
        return None;
    }
    let salt = STANDARD.decode(&derivation.salt).ok()?;
    let mut key = vec![0; derivation.key_length];
    pbkdf2::derive(algorithm, rounds, &salt, passphrase.as_bytes(), &mut key);
    Some(key)
}

/// `nonce || ciphertext || tag`, without additional data.
fn open(key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let algorithm = match key.len() {
        16 => &aead::AES_128_GCM,
        32 => &aead::AES_256_GCM,
        _ => return None,
    };
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).ok()?);
    let (nonce, sealed) = sealed.split_at_checked(aead::NONCE_LEN)?;
    let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut plain = sealed.to_vec();
    let length = key.open_in_place(nonce, aead::Aad::empty(), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}
