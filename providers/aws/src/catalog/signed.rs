//! Calls of Amazon's services that speak JSON and have an SDK of their own, too large for the two calls that we make: signed
//! by the SDK's own signer, sent once, read up to a bound. Changes nothing anywhere. Used by prices and quotas.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use isobar_engine_provider::answer::Answer;
use isobar_engine_provider::error::Meaning;
use isobar_engine_provider::{ProviderError, Result, Site};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::Clients;
use crate::errors::{Call, of_code};
use crate::settings::Settings;

/// A connection is there after so long, or the service is away.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// An answer has at most so many bytes.
const ANSWER_MAX_BYTES: usize = 16 << 20;
/// Of an error's words we keep so many letters.
const MESSAGE_MAX_LETTERS: usize = 300;
/// The protocol's version 1.1.
const JSON: &str = "application/x-amz-json-1.1";

/// A service of Amazon's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// Its name in signatures.
    pub(crate) name: &'static str,
    /// What stands before an operation's name.
    pub(crate) target: &'static str,
    /// What its address starts with.
    pub(crate) host: &'static str,
}

/// Calls one service in one region, as whom a site says.
pub(crate) struct Caller {
    http: reqwest::Client,
    service: Service,
    region: String,
    url: String,
    credentials: aws_credential_types::Credentials,
    now: SystemTime,
}

impl Caller {
    /// Looks the credentials up. A site's endpoint stands for all services.
    pub(crate) async fn of(clients: &Clients, site: &Site, service: Service, region: &str) -> Result<Self> {
        let settings = Settings::of(site, &clients.config().allowed_endpoints)?;
        let url = match &settings.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => address(service, region)?,
        };
        Ok(Self {
            http: http()?,
            service,
            region: region.to_owned(),
            url,
            credentials: clients.credentials(site, &settings).await?,
            now: SystemTime::UNIX_EPOCH + Duration::from_millis(clients.clock().now().0),
        })
    }

    /// One call.
    pub(crate) async fn call<T: DeserializeOwned>(&self, operation: &str, asked: &Value) -> Result<T> {
        let request = self.signed(operation, asked.to_string())?;
        let mut sent = self.http.execute(request).await.map_err(lost)?;
        let status = sent.status().as_u16();
        let mut answer = Answer::of_at_most(ANSWER_MAX_BYTES);
        while let Some(chunk) = sent.chunk().await.map_err(lost)? {
            answer.take(&chunk)?;
        }
        let answer = answer.into_bytes();
        if status < 300 {
            return serde_json::from_slice(&answer).map_err(|_| ProviderError::Unexpected {
                message: format!("the answer of {operation} cannot be read"),
            });
        }
        Err(refused(&answer, status))
    }

    fn signed(&self, operation: &str, body: String) -> Result<reqwest::Request> {
        let wrong = |what: &str| ProviderError::Unexpected {
            message: format!("{operation} cannot be signed: {what}"),
        };
        let target = format!("{}.{operation}", self.service.target);
        let mut request = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, JSON)
            .header("x-amz-target", &target)
            .body(body.clone())
            .build()
            .map_err(|_| wrong("its address"))?;
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.name)
            .time(self.now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| wrong("its parameters"))?
            .into();
        let headers = [(CONTENT_TYPE.as_str(), JSON), ("x-amz-target", target.as_str())];
        let signable = SignableRequest::new(
            "POST",
            request.url().as_str(),
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let signable = signable.map_err(|_| wrong("its parts"))?;
        let (instructions, _) = sign(signable, &params)
            .map_err(|_| wrong("its signature"))?
            .into_parts();
        for (name, value) in instructions.headers() {
            let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("a header"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong("a header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

impl Clients {
    /// Who a site's calls are from.
    async fn credentials(&self, site: &Site, settings: &Settings) -> Result<aws_credential_types::Credentials> {
        let profile = self.profile(settings.profile.clone(), &site.region).await?;
        let none = || ProviderError::Unauthorized {
            message: "no credentials for AWS".to_owned(),
        };
        let provider = profile.credentials_provider().ok_or_else(none)?;
        crate::client::quiet(provider.provide_credentials())
            .await
            .map_err(|_| none())
    }
}

/// A service's own address in a region. Credentials go there, so that a region can be no more than a label of it.
fn address(service: Service, region: &str) -> Result<String> {
    let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.is_empty() || !region.bytes().all(is_label) {
        return Err(ProviderError::InvalidSpec {
            message: format!("`{region}` is no region"),
        });
    }
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    Ok(format!("https://{}.{region}.{domain}", service.host))
}

fn http() -> Result<reqwest::Client> {
    // Whoever came first has set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(lost)
}

fn lost(error: reqwest::Error) -> ProviderError {
    Meaning::Unknown.error(Call::Read, error.without_url().to_string())
}

/// `{"__type": "service#Code", "message": ...}`
fn refused(answer: &[u8], status: u16) -> ProviderError {
    let said: Value = serde_json::from_slice(answer).unwrap_or_default();
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    let code = text("__type").rsplit('#').next().unwrap_or_default();
    let message: String = format!("{code}: {}{}", text("message"), text("Message"))
        .chars()
        .take(MESSAGE_MAX_LETTERS)
        .collect();
    // <https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/CommonErrors.html>
    let meaning = match code {
        "AccessDeniedException" | "UnrecognizedClientException" | "ExpiredTokenException" => Meaning::Unauthorized,
        "ThrottlingException" | "TooManyRequestsException" => Meaning::Throttled,
        other => of_code(other, status),
    };
    meaning.error(Call::Read, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_a_label_of_amazons_address_and_nothing_else() {
        let service = Service {
            name: "pricing",
            target: "AWSPriceListService",
            host: "api.pricing",
        };
        for (region, own) in [
            ("us-east-1", "https://api.pricing.us-east-1.amazonaws.com"),
            ("cn-north-1", "https://api.pricing.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(address(service, region).as_deref(), Ok(own));
        }
        for region in ["", "evil.example/", "a@b", "EU", "a.b", "a:1", "a?b", "a#b"] {
            assert!(address(service, region).is_err(), "{region}");
        }
    }

    #[test]
    fn a_refusal_is_known_by_its_code() {
        for (answer, status, kind) in [
            (
                r#"{"__type":"AccessDeniedException","Message":"no"}"#,
                400,
                "unauthorized",
            ),
            (r#"{"__type":"com.amazonaws#ThrottlingException"}"#, 400, "rate_limited"),
            ("<html>", 503, "unavailable"),
            ("", 403, "unauthorized"),
        ] {
            assert_eq!(refused(answer.as_bytes(), status).kind(), kind, "{answer}");
        }
    }
}
