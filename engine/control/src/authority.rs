//! The certificate authority of one store: signs the engine's and the nodes' certificates. Nothing else is trusted by
//! either side.

use std::net::IpAddr;
use std::time::Duration;

use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::Entropy;
use isobar_node_image_protocol::names::ENGINE_DNS_NAME;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::vault::{KEY_BYTES, Unsealable, Vault};

/// A node's certificate is valid for so long; it renews at two thirds.
pub const NODE_CERTIFICATE_VALID_MS: u64 = 24 * 60 * 60 * 1000;
/// The engine's certificate is made at each start and valid for so long.
const ENGINE_CERTIFICATE_VALID_MS: u64 = 365 * 24 * 60 * 60 * 1000;
/// The authority itself.
const AUTHORITY_VALID_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;
/// Certificates start so much earlier, for clocks that lag.
const CLOCK_SKEW_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// What a sealed authority is sealed for.
const SEALED_ABOUT: &str = "authority";

/// Why something cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The request is malformed or its signature is wrong.
    #[error("the certificate request cannot be used")]
    BadRequest(#[source] rcgen::Error),
    /// A key or certificate could not be made or read.
    #[error("make or read a certificate")]
    Certificate(#[source] rcgen::Error),
    /// The kept authority cannot be opened.
    #[error("open the authority")]
    Sealed(#[from] Unsealable),
    /// The kept authority is not one.
    #[error("the authority's file is damaged")]
    Damaged,
}

/// The authority's key and certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    certificate_der: Vec<u8>,
    key_pem: String,
}

/// A server certificate and its key, PEM.
pub struct ServerIdentity {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
    /// The authority's certificate: what clients must come from.
    pub authority_pem: String,
}

impl Authority {
    /// A new authority.
    pub fn generate(store: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Certificate)?;
        let mut params = params(&format!("isobar {store}"), now, AUTHORITY_VALID_MS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(AuthorityError::Certificate)?
            .der()
            .clone();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// For keeping: sealed with the engine's key.
    pub fn seal(&self, key: &[u8; KEY_BYTES], entropy: &dyn Entropy) -> String {
        let kept = Kept {
            certificate_der: self.certificate.to_vec(),
            key_pem: self.issuer.key().serialize_pem(),
        };
        let json = serde_json::to_vec(&kept).expect("bytes and text");
        Vault::new(key).seal(entropy, SEALED_ABOUT, &json)
    }

    /// What [`Self::seal`] gave.
    pub fn open(key: &[u8; KEY_BYTES], sealed: &str) -> Result<Self, AuthorityError> {
        let json = Vault::new(key).open(SEALED_ABOUT, sealed.trim())?;
        let kept: Kept = serde_json::from_slice(&json).map_err(|_| AuthorityError::Damaged)?;
        let key = KeyPair::from_pem(&kept.key_pem).map_err(AuthorityError::Certificate)?;
        let certificate = CertificateDer::from(kept.certificate_der);
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Certificate)?;
        Ok(Self { issuer, certificate })
    }

    /// The authority's certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The authority's certificate, PEM.
    pub(crate) fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// A certificate for the engine's node endpoint.
    pub fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        // It calls the other engines of its store with the same certificate.
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.identity(vec![dns_name(ENGINE_DNS_NAME)?], usages, now)
    }

    /// A certificate for the engine's MCP endpoint, which clients reach under these hosts: names and addresses. It proves
    /// nothing to nodes and to other engines.
    pub fn mcp_identity(&self, hosts: &[String], now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        let name = |host: &String| match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => Ok(rcgen::SanType::IpAddress(address)),
            Err(_) => dns_name(host),
        };
        let names = hosts.iter().map(name).collect::<Result<_, _>>()?;
        self.identity(names, vec![ExtendedKeyUsagePurpose::ServerAuth], now)
    }

    fn identity(
        &self,
        names: Vec<rcgen::SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        now: Timestamp,
    ) -> Result<ServerIdentity, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Certificate)?;
        let mut params = params("isobar engine", now, ENGINE_CERTIFICATE_VALID_MS);
        params.subject_alt_names = names;
        params.extended_key_usages = usages;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(AuthorityError::Certificate)?;
        Ok(ServerIdentity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            authority_pem: self.certificate_pem(),
        })
    }

    /// Signs a node's request. Who the node is says `name`, never the request.
    pub(crate) fn sign(&self, request: &SignedRequest, name: &str, now: Timestamp) -> Result<Vec<u8>, AuthorityError> {
        let mut params = params(name, now, NODE_CERTIFICATE_VALID_MS);
        params.subject_alt_names = vec![dns_name(name)?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from_slice(&request.serial(now)));
        let signed = params
            .signed_by(&request.parsed.public_key, &self.issuer)
            .map_err(AuthorityError::Certificate)?;
        Ok(signed.der().to_vec())
    }
}

/// A request whose signature was checked: who sent it has the key.
pub(crate) struct SignedRequest {
    parsed: CertificateSigningRequestParams,
    key_hash: [u8; 32],
}

impl SignedRequest {
    pub(crate) fn parse(der: &[u8]) -> Result<Self, AuthorityError> {
        let der = CertificateSigningRequestDer::from(der);
        let parsed = CertificateSigningRequestParams::from_der(&der).map_err(AuthorityError::BadRequest)?;
        let key_hash = Sha256::digest(rcgen::PublicKeyData::der_bytes(&parsed.public_key)).into();
        Ok(Self { parsed, key_hash })
    }

    /// SHA-256 of the public key, in hex.
    pub(crate) fn key_hash(&self) -> String {
        hex::encode(self.key_hash)
    }

    /// A positive serial number that no other key has at this time.
    fn serial(&self, now: Timestamp) -> Vec<u8> {
        let mut serial = self.key_hash[..12].to_vec();
        serial[0] = serial[0] & 0x3f | 0x40;
        serial.extend(now.0.to_be_bytes());
        serial
    }
}

fn params(common_name: &str, now: Timestamp, valid_ms: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_millis(now.0.saturating_sub(CLOCK_SKEW_MAX_MS));
    params.not_after = epoch + Duration::from_millis(now.0 + valid_ms);
    params
}

fn dns_name(name: &str) -> Result<rcgen::SanType, AuthorityError> {
    let name = name.try_into().map_err(AuthorityError::Certificate)?;
    Ok(rcgen::SanType::DnsName(name))
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
