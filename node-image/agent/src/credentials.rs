//! The node's key pair and the certificate it was given. The key is made here and never leaves; what leaves is a signing
//! request. On a machine that boots anew each time it lives in memory only; a daemon keeps it in its folder, so that its
//! token, which is bound to the key, lets it in again.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// The share of its life after which a certificate is renewed, in percent.
pub const RENEW_AFTER_PERCENT: u64 = 67;

/// Whom a kept key is for: its owner alone.
const KEY_MODE: u32 = 0o600;

/// ECDSA P-256.
pub struct NodeKey(KeyPair);

/// A certificate and when it ends, on CLOCK_BOOTTIME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// As the engine gave it.
    pub der: Vec<u8>,
    /// From then on it is renewed.
    pub renew_boot_ms: u64,
    /// From then on nobody takes it.
    pub ends_boot_ms: u64,
}

/// There is no key to join with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key or no request could be made: the machine has no entropy.
    #[error("make the node's key")]
    Make(#[from] rcgen::Error),
    /// It cannot be read or kept.
    #[error("keep the node's key in {}", path.display())]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is kept is no key. Another one is not let in.
    #[error("{} holds no key: this machine must be given a new identity", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
    },
}

impl NodeKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(KeyPair::generate()?))
    }

    /// The key in a file; a new one is made and kept there if there is none.
    pub fn kept_in(path: &Path) -> Result<Self, KeyError> {
        let keep = |source| KeyError::Keep {
            path: path.to_owned(),
            source,
        };
        match fs::read_to_string(path) {
            Ok(pem) => KeyPair::from_pem(&pem)
                .map(Self)
                .map_err(|_| KeyError::Damaged { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate()?;
                write_whole(path, key.pem().as_bytes()).map_err(keep)?;
                Ok(key)
            }
            Err(error) => Err(keep(error)),
        }
    }

    /// A signing request for this key, DER. It names nobody: who this is, the engine decides.
    pub fn signing_request(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.serialize_pem()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(***)")
    }
}

impl Certificate {
    /// A certificate that was received at `now_boot_ms` and ends `valid_ms` later.
    pub fn received(der: Vec<u8>, valid_ms: u64, now_boot_ms: u64) -> Self {
        let renew_after_ms = valid_ms / 100 * RENEW_AFTER_PERCENT;
        Self {
            der,
            renew_boot_ms: now_boot_ms.saturating_add(renew_after_ms),
            ends_boot_ms: now_boot_ms.saturating_add(valid_ms),
        }
    }
}

/// Writes a file that is there whole or not at all, whenever the machine stops.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(KEY_MODE)
        .open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(folder)?.sync_all()
}

/// A certificate as PEM, which is what the TLS stack is configured with.
pub(crate) fn certificate_pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_verifies_and_names_nobody() {
        let request = NodeKey::generate().unwrap().signing_request().unwrap();
        let parsed = rcgen::CertificateSigningRequestParams::from_der(&request.as_slice().into()).unwrap();
        assert!(parsed.params.subject_alt_names.is_empty());
        assert_eq!(parsed.params.distinguished_name.iter().count(), 0);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let certificate = Certificate::received(vec![1], 3_600_000, 1_000);
        assert_eq!(certificate.renew_boot_ms, 1_000 + 2_412_000);
        assert_eq!(certificate.ends_boot_ms, 3_601_000);
    }

    #[test]
    fn pem_reads_back() {
        let der: Vec<u8> = (0..=255).collect();
        let pem = certificate_pem(&der);
        assert!(pem.lines().all(|line| line.len() <= 64));
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(STANDARD.decode(body).unwrap(), der);
    }

    #[test]
    fn a_kept_key_is_the_same_after_a_restart_and_for_nobody_else_to_read() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/node.key");
        let first = NodeKey::kept_in(&path).unwrap();
        let again = NodeKey::kept_in(&path).unwrap();
        assert_eq!(first.pem(), again.pem());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, KEY_MODE);
        let others = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(others, 1, "nothing unfinished is left");
    }

    #[test]
    fn a_damaged_key_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        fs::write(&path, "no key").unwrap();
        assert!(matches!(NodeKey::kept_in(&path), Err(KeyError::Damaged { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "no key");
    }

    #[test]
    fn the_key_is_never_printed() {
        assert_eq!(format!("{:?}", NodeKey::generate().unwrap()), "NodeKey(***)");
    }
}
