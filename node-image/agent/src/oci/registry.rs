//! Asking a registry: manifests, configurations, blobs, each with a bound on size and time, each checked against its
//! digest. Turns a registry's many ways of saying no into what the supervisor does next. It stores nothing.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use oci_client::Reference;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::unpack::is_full;
use crate::runtime::RuntimeError;

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a registry may say nothing in the middle of an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a manifest may take.
const MANIFEST_MAX: Duration = Duration::from_secs(30);
/// How long a blob may take.
const BLOB_MAX: Duration = Duration::from_secs(20 * 60);

/// A client for all registries.
pub(super) struct Registry {
    client: Client,
}

impl Registry {
    /// Speaks plain HTTP with the registries listed and TLS with all others, trusting the certificates of `ca_file`
    /// alone. Without that file no TLS registry is trusted.
    pub(super) fn new(insecure: &[String], ca_file: Option<&Path>) -> Result<Self, RuntimeError> {
        // Whoever came first has set the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(insecure.to_vec()),
            tls_certs_only: trusted(ca_file)?,
            read_timeout: Some(SILENCE_MAX),
            connect_timeout: Some(CONNECT_MAX),
            user_agent: concat!("isobar-node/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| RuntimeError::Failed(crate::chain(&error)))?;
        Ok(Self { client })
    }

    /// An image's manifest, for this platform, and its digest.
    pub(super) async fn manifest(&self, image: &Reference) -> Result<(OciImageManifest, String), RuntimeError> {
        let asked = self.client.pull_image_manifest(image, &RegistryAuth::Anonymous);
        within(MANIFEST_MAX, asked)
            .await?
            .map_err(|error| refused(image, &error))
    }

    /// Writes a blob of at most `bytes_max` bytes. Nothing of it may be used unless this succeeds: the digest is known
    /// at the end.
    pub(super) async fn blob(
        &self,
        image: &Reference,
        blob: &OciDescriptor,
        bytes_max: u64,
        into: &mut (impl Write + Send),
    ) -> Result<(), RuntimeError> {
        within(BLOB_MAX, self.copy(image, blob, bytes_max, into)).await?
    }

    async fn copy(
        &self,
        image: &Reference,
        blob: &OciDescriptor,
        bytes_max: u64,
        into: &mut (impl Write + Send),
    ) -> Result<(), RuntimeError> {
        let mut stream = self
            .client
            .pull_blob_stream(image, blob)
            .await
            .map_err(|error| refused(image, &error))?;
        let mut bytes: u64 = 0;
        while let Some(chunk) = stream.try_next().await.map_err(|error| broken(image, &error))? {
            bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if bytes > bytes_max {
                return Err(RuntimeError::BadImage(format!(
                    "{image}: blob of more than {bytes_max} bytes"
                )));
            }
            into.write_all(&chunk).map_err(|error| no_room(&error))?;
        }
        into.flush().map_err(|error| no_room(&error))
    }
}

async fn within<T>(limit: Duration, asked: impl Future<Output = T>) -> Result<T, RuntimeError> {
    tokio::time::timeout(limit, asked)
        .await
        .map_err(|_| RuntimeError::RegistryAway(format!("no whole answer within {} s", limit.as_secs())))
}

/// Certificates to trust. The platform's own search for them panics where there are none, as in the node image.
fn trusted(ca_file: Option<&Path>) -> Result<Vec<Certificate>, RuntimeError> {
    let failed = |error: String| RuntimeError::Failed(format!("certificates of registries: {error}"));
    let pem = match ca_file.map(fs::read) {
        Some(Ok(pem)) => pem,
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error.to_string())),
        Some(Err(_)) | None => Vec::new(),
    };
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let der = certificate.map_err(|error| failed(error.to_string()))?;
        certificates.push(Certificate {
            encoding: CertificateEncoding::Der,
            data: der.to_vec(),
        });
    }
    if certificates.is_empty() {
        certificates.push(nobody().map_err(|error| failed(error.to_string()))?);
    }
    Ok(certificates)
}

/// A certificate whose key is thrown away: trusting it is trusting nobody.
fn nobody() -> Result<Certificate, rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(Vec::new())?.self_signed(&key)?;
    Ok(Certificate {
        encoding: CertificateEncoding::Der,
        data: certificate.der().to_vec(),
    })
}

/// What to do about a registry's refusal.
fn refused(image: &Reference, error: &OciDistributionError) -> RuntimeError {
    let message = format!("{image}: {}", crate::chain(error));
    match error {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::ImageManifestNotFoundError(_) => RuntimeError::NoSuchImage(message),
        OciDistributionError::RegistryError { envelope, .. } => {
            if envelope
                .errors
                .iter()
                .any(|error| error.code == OciErrorCode::Toomanyrequests)
            {
                RuntimeError::RegistryAway(message)
            } else {
                RuntimeError::NoSuchImage(message)
            }
        }
        OciDistributionError::ServerError { code, .. } if *code == 429 || *code >= 500 => {
            RuntimeError::RegistryAway(message)
        }
        OciDistributionError::ServerError { .. } => RuntimeError::NoSuchImage(message),
        OciDistributionError::RequestError(_)
        | OciDistributionError::GenericError(_)
        | OciDistributionError::RegistryTokenDecodeError(_) => RuntimeError::RegistryAway(message),
        OciDistributionError::IoError(error) => broken(image, error),
        OciDistributionError::DigestError(_)
        | OciDistributionError::ConfigConversionError(_)
        | OciDistributionError::HeaderValueError(_)
        | OciDistributionError::ImageIndexParsingNoPlatformResolverError
        | OciDistributionError::IncompatibleLayerMediaTypeError(_)
        | OciDistributionError::JsonError(_)
        | OciDistributionError::ManifestEncodingError(_)
        | OciDistributionError::ManifestParsingError(_)
        | OciDistributionError::PushNoDataError
        | OciDistributionError::PushLayerNoDataError
        | OciDistributionError::PullNoLayersError
        | OciDistributionError::RegistryNoDigestError
        | OciDistributionError::RegistryNoLocationError
        | OciDistributionError::SpecViolationError(_)
        | OciDistributionError::UrlParseError(_)
        | OciDistributionError::UnsupportedMediaTypeError(_)
        | OciDistributionError::UnsupportedSchemaVersionError(_)
        | OciDistributionError::VersionedParsingError(_) => RuntimeError::BadImage(message),
    }
}

/// A stream ends early because the registry went away, or because the digest at its end is wrong.
fn broken(image: &Reference, error: &io::Error) -> RuntimeError {
    let message = format!("{image}: {}", crate::chain(error));
    let wrong_digest = error.get_ref().is_some_and(|cause| {
        cause.is::<oci_client::errors::DigestError>()
            || matches!(cause.downcast_ref(), Some(OciDistributionError::DigestError(_)))
    });
    if wrong_digest {
        RuntimeError::BadImage(message)
    } else {
        RuntimeError::RegistryAway(message)
    }
}

/// Writing a blob failed.
pub(super) fn no_room(error: &io::Error) -> RuntimeError {
    if is_full(error) {
        RuntimeError::Full(format!("images: {error}"))
    } else {
        RuntimeError::Failed(format!("write image: {error}"))
    }
}
