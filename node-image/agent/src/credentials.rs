//! The node's key pair and the certificate it was given. The key is made here, lives in memory only and never leaves;
//! what leaves is a signing request.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// The share of its life after which a certificate is renewed, in percent.
pub const RENEW_AFTER_PERCENT: u64 = 67;

/// ECDSA P-256, made at start and lost at power-off.
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

/// No key or no request could be made: the machine has no entropy.
#[derive(Debug, thiserror::Error)]
#[error("make the node's key")]
pub struct KeyError(#[from] rcgen::Error);

impl NodeKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(KeyPair::generate()?))
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
    fn the_key_is_never_printed() {
        assert_eq!(format!("{:?}", NodeKey::generate().unwrap()), "NodeKey(***)");
    }
}
