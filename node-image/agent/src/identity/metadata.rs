//! The metadata services of clouds: what a machine was given at birth, asked for at an address that only the machine
//! itself reaches. Asks for nothing else, and believes no redirect. Called by [`super::Source`], once there is a network.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_node_image_protocol::identity::METADATA_ATTRIBUTE;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, redirect};

use super::{IDENTITY_MAX_BYTES, IdentityError};

/// Where every cloud serves it.
pub const SERVICE: &str = "http://169.254.169.254";
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// For how long the service may be silent after the network is up.
const SERVICE_MAX: Duration = Duration::from_secs(60);
/// Between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// AWS: how long our session with the service lasts.
const TOKEN_TTL_SECONDS: &str = "60";
/// A session's token longer than this is none, in bytes.
const TOKEN_MAX_BYTES: u64 = 4096;
/// What Azure's machines carry, all alike.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// A cloud whose metadata service a machine asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon EC2, by version 2 of its service.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Compute Engine.
    Gcp,
}

/// Why a metadata service did not give an identity.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It does not answer, or not in time.
    #[error("the metadata service does not answer")]
    Silent(#[source] reqwest::Error),
    /// It says no.
    #[error("the metadata service answers {0}: this machine was given no identity")]
    Refused(StatusCode),
    /// Something answers that is no metadata service.
    #[error("what answers is not the metadata service of {0:?}")]
    Impostor(Cloud),
    /// What it gave is not what was put there.
    #[error("the metadata service's answer cannot be read")]
    Unreadable,
}

impl MetadataError {
    /// Whether the same may go well in a moment.
    fn may_pass(&self) -> bool {
        match self {
            Self::Silent(_) => true,
            Self::Refused(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Impostor(_) | Self::Unreadable => false,
        }
    }
}

impl Cloud {
    /// The cloud that this machine's firmware names, below `/sys`.
    pub fn of_firmware(sys: &Path) -> Option<Self> {
        let says = |field: &str| {
            let text = std::fs::read_to_string(sys.join("class/dmi/id").join(field));
            text.map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
        if says("sys_vendor") == "Amazon EC2" {
            return Some(Self::Aws);
        }
        // https://cloud.google.com/compute/docs/instances/detect-compute-engine
        if says("product_name") == "Google Compute Engine" {
            return Some(Self::Gcp);
        }
        // The vendor alone is any Hyper-V; every machine of Azure has this tag, as cloud-init looks for it.
        (says("chassis_asset_tag") == AZURE_ASSET_TAG).then_some(Self::Azure)
    }

    /// The identity's bytes, from the service at `service`. Tries for a while: it may come up after the network.
    pub(super) async fn identity(self, service: &str) -> Result<Vec<u8>, IdentityError> {
        let wrong = |source| IdentityError::Metadata { cloud: self, source };
        let client = client().map_err(|error| wrong(MetadataError::Silent(error)))?;
        let trying = async {
            loop {
                match self.ask(&client, service).await {
                    Err(error) if error.may_pass() => {
                        tracing::debug!(%error, "the metadata service is asked again");
                        tokio::time::sleep(TRY_AGAIN_AFTER).await;
                    }
                    answer => return answer,
                }
            }
        };
        match tokio::time::timeout(SERVICE_MAX, trying).await {
            Ok(answer) => answer.map_err(wrong),
            // Once more, for the reason.
            Err(_) => self.ask(&client, service).await.map_err(wrong),
        }
    }

    async fn ask(self, client: &Client, service: &str) -> Result<Vec<u8>, MetadataError> {
        let Asked { path, headers } = self.asked(client, service).await?;
        let get = client.get(format!("{service}{path}")).headers(headers);
        let answer = answer(get, IDENTITY_MAX_BYTES * 2).await?;
        match self {
            Self::Aws => Ok(answer.bytes),
            Self::Azure => STANDARD
                .decode(answer.bytes.trim_ascii())
                .map_err(|_| MetadataError::Unreadable),
            Self::Gcp => {
                let flavour = answer.headers.get("metadata-flavor");
                let is_google = flavour.is_some_and(|flavour| flavour == "Google");
                is_google.then_some(answer.bytes).ok_or(MetadataError::Impostor(self))
            }
        }
    }

    /// What to ask for; on AWS after a session is opened.
    async fn asked(self, client: &Client, service: &str) -> Result<Asked, MetadataError> {
        match self {
            Self::Aws => {
                let open = client.request(Method::PUT, format!("{service}/latest/api/token"));
                let open = open.header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_SECONDS);
                let token = answer(open, TOKEN_MAX_BYTES).await?.bytes;
                let token = HeaderValue::from_bytes(&token).map_err(|_| MetadataError::Unreadable)?;
                Ok(Asked::new(
                    "/latest/user-data".to_owned(),
                    "x-aws-ec2-metadata-token",
                    token,
                ))
            }
            Self::Azure => {
                let path = "/metadata/instance/compute/userData?api-version=2021-01-01&format=text".to_owned();
                Ok(Asked::new(path, "metadata", HeaderValue::from_static("true")))
            }
            Self::Gcp => {
                let path = format!("/computeMetadata/v1/instance/attributes/{METADATA_ATTRIBUTE}");
                Ok(Asked::new(path, "metadata-flavor", HeaderValue::from_static("Google")))
            }
        }
    }
}

struct Asked {
    path: String,
    headers: HeaderMap,
}

impl Asked {
    fn new(path: String, name: &'static str, value: HeaderValue) -> Self {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
        Self { path, headers }
    }
}

struct Answer {
    headers: HeaderMap,
    bytes: Vec<u8>,
}

fn client() -> reqwest::Result<Client> {
    // A client wants one, although this one never speaks TLS. Ok or not: there is one from here on.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(ANSWER_MAX)
        .build()
}

/// An answer of at most so many bytes.
async fn answer(request: reqwest::RequestBuilder, max_bytes: u64) -> Result<Answer, MetadataError> {
    let mut response = request.send().await.map_err(MetadataError::Silent)?;
    if response.status() != StatusCode::OK {
        return Err(MetadataError::Refused(response.status()));
    }
    let (headers, mut bytes) = (response.headers().clone(), Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(MetadataError::Silent)? {
        bytes.extend_from_slice(&chunk);
        if u64::try_from(bytes.len()).is_ok_and(|len| len > max_bytes) {
            return Err(MetadataError::Unreadable);
        }
    }
    Ok(Answer { headers, bytes })
}

#[cfg(test)]
mod tests;
