//! The owner's side: asks a machine that was bought whether its engine is there, and claims it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Answer, BACKUP_PATH, CLAIM_MAX_BYTES, Claim, Derived, PART_MAX_BYTES, PATH, Standing};
use crate::folder::Token;

/// A machine that boots answers nothing for longer than this.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Nor does a machine that is up take longer to say how it stands.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// What it is told is done within so long: a backup is restored before it answers.
const CALL_MAX: Duration = Duration::from_secs(600);
/// So much of a refusal is told.
const REFUSAL_MAX_CHARS: usize = 500;

/// Why an engine was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Nothing answers there, or not yet: ask again.
    #[error("nothing answers at {address}")]
    Silent {
        /// Where.
        address: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// What answers is not what was bought: somebody has the address, or is in between. Nothing was shown to it.
    #[error("what answers at {address} cannot show that it is the machine that was bought")]
    Stranger {
        /// Where.
        address: String,
    },
    /// It says no.
    #[error("the engine at {address} refuses: {reason}")]
    Refused {
        /// Where.
        address: String,
        /// Why, in its words.
        reason: String,
    },
    /// The backup cannot be read.
    #[error("read the backup")]
    Backup(#[source] std::io::Error),
    /// No connection can be made from here at all.
    #[error("prepare a connection")]
    Unprepared(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Somebody who bought a machine for an engine.
#[derive(Debug)]
pub struct Owner {
    /// Where its engine serves: `host:port`.
    address: String,
    token: Token,
}

/// The very machine, by the certificate that it has shown.
#[derive(Debug, Clone)]
pub struct Known(CertificateDer<'static>);

impl Owner {
    /// Of the machine at an address, `host:port`, that was born with what is derived from the token.
    pub fn new(address: String, token: Token) -> Self {
        Self { address, token }
    }

    /// How far its engine is, once it has proven itself.
    pub async fn standing(&self) -> Result<(Standing, Known), OwnerError> {
        let (http, looking) = client(None).map_err(OwnerError::Unprepared)?;
        let answer = http
            .get(self.url(PATH))
            .timeout(LOOK_MAX)
            .send()
            .await
            .map_err(|error| self.silent(error))?;
        if answer.status() != StatusCode::OK {
            return Err(self.stranger());
        }
        let body = bounded(answer).await.map_err(|error| self.silent(error))?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| self.stranger())?;
        let seen = looking.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let seen = seen.ok_or_else(|| self.stranger())?;
        let standing = answer.standing(&Derived::from(&self.token), &seen);
        Ok((standing.ok_or_else(|| self.stranger())?, Known(seen)))
    }

    /// Brings a backup to an engine that waits.
    pub async fn bring(&self, known: &Known, mut backup: impl AsyncRead + Unpin) -> Result<(), OwnerError> {
        let (http, _) = client(Some(known)).map_err(OwnerError::Unprepared)?;
        let mut offset = 0;
        loop {
            let mut part = Vec::new();
            let most = u64::try_from(PART_MAX_BYTES).unwrap_or(u64::MAX);
            (&mut backup)
                .take(most)
                .read_to_end(&mut part)
                .await
                .map_err(OwnerError::Backup)?;
            let length = part.len();
            if length == 0 && offset > 0 {
                return Ok(());
            }
            let url = format!("{}?offset={offset}", self.url(BACKUP_PATH));
            self.send(http.put(url).body(part)).await?;
            if length < PART_MAX_BYTES {
                return Ok(());
            }
            offset += length;
        }
    }

    /// Claims an engine that waits.
    pub async fn claim(&self, known: &Known, claim: &Claim) -> Result<(), OwnerError> {
        let (http, _) = client(Some(known)).map_err(OwnerError::Unprepared)?;
        let body = serde_json::to_vec(claim).expect("text fields");
        let request = http.post(self.url(PATH)).header("content-type", "application/json");
        self.send(request.body(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(), OwnerError> {
        let answer = request.bearer_auth(self.token.as_str()).send().await;
        let answer = answer.map_err(|error| self.silent(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let body = bounded(answer).await.unwrap_or_default();
        let words: String = String::from_utf8_lossy(&body)
            .trim()
            .chars()
            .take(REFUSAL_MAX_CHARS)
            .collect();
        Err(OwnerError::Refused {
            address: self.address.clone(),
            reason: if words.is_empty() { status.to_string() } else { words },
        })
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    fn silent(&self, source: reqwest::Error) -> OwnerError {
        OwnerError::Silent {
            address: self.address.clone(),
            source,
        }
    }

    fn stranger(&self) -> OwnerError {
        OwnerError::Stranger {
            address: self.address.clone(),
        }
    }
}

async fn bounded(mut answer: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = CLAIM_MAX_BYTES.saturating_sub(body.len()).min(chunk.len());
        body.extend_from_slice(&chunk[..room]);
    }
    Ok(body)
}

/// A client that takes whatever certificate is shown and keeps it, or only the one that is known.
fn client(known: Option<&Known>) -> Result<(reqwest::Client, Arc<Looking>), Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let looking = Arc::new(Looking {
        known: known.map(|known| known.0.clone()),
        seen: Mutex::new(None),
        provider: provider.clone(),
    });
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(looking.clone())
        .with_no_client_auth();
    let http = reqwest::Client::builder()
        .no_proxy()
        .https_only(true)
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_MAX)
        .timeout(CALL_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok((http, looking))
}

/// Whoever answers has the key of the certificate that it shows. Whose that is, the proof over it says: until then
/// nothing is sent that is worth anything.
#[derive(Debug)]
struct Looking {
    known: Option<CertificateDer<'static>>,
    seen: Mutex<Option<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Looking {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.known.as_ref().is_some_and(|known| known != end_entity) {
            let another = rustls::CertificateError::ApplicationVerificationFailure;
            return Err(rustls::Error::InvalidCertificate(another));
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
