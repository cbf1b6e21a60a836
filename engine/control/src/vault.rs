//! Keeps secrets out of the store: requests that hold join tokens, and the CA's key, are sealed with the engine's key.

use isobar_engine_provider::Entropy;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Length of the engine's key, in bytes.
pub const KEY_BYTES: usize = 32;

/// A sealed secret cannot be opened: it was changed, or sealed with another key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a sealed record cannot be opened: it was changed, or the key file is another store's")]
pub struct Unsealable;

/// Seals and opens secrets.
pub(crate) struct Vault {
    key: LessSafeKey,
}

impl Vault {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the algorithm's length");
        Self {
            key: LessSafeKey::new(key),
        }
    }

    /// Seals bytes; `about` must be the same when opening, so that records cannot be swapped.
    pub(crate) fn seal(&self, entropy: &dyn Entropy, about: &str, secret: &[u8]) -> String {
        hex::encode(self.seal_bytes(entropy, about, secret))
    }

    /// As [`Self::seal`], for what is long.
    pub(crate) fn seal_bytes(&self, entropy: &dyn Entropy, about: &str, secret: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = secret.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce_used, Aad::from(about.as_bytes()), &mut sealed)
            .expect("far below the algorithm's bound");
        [&nonce[..], &sealed].concat()
    }

    /// What was sealed.
    pub(crate) fn open(&self, about: &str, sealed: &str) -> Result<Vec<u8>, Unsealable> {
        self.open_bytes(about, &hex::decode(sealed).map_err(|_| Unsealable)?)
    }

    /// What was sealed by [`Self::seal_bytes`].
    pub(crate) fn open_bytes(&self, about: &str, bytes: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(about.as_bytes()), &mut sealed)
            .map_err(|_| Unsealable)?;
        Ok(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;
    impl Entropy for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(1);
        }
    }

    #[test]
    fn what_is_sealed_opens_only_unchanged_and_for_the_same_record() {
        let vault = Vault::new(&[7; KEY_BYTES]);
        let sealed = vault.seal(&Ones, "a/1", b"token");
        assert!(!sealed.contains(&hex::encode(b"token")));
        assert_eq!(vault.open("a/1", &sealed).as_deref(), Ok(&b"token"[..]));
        assert_eq!(vault.open("a/2", &sealed), Err(Unsealable));
        assert_eq!(Vault::new(&[8; KEY_BYTES]).open("a/1", &sealed), Err(Unsealable));
        let changed = sealed.replace(&sealed[30..31], if &sealed[30..31] == "0" { "1" } else { "0" });
        assert_eq!(vault.open("a/1", &changed), Err(Unsealable));
        assert_eq!(vault.open("a/1", "ab"), Err(Unsealable));
    }
}
