//! Calls to Azure's resource manager: a path, a version, a bearer token, one answer. Never sends twice, never follows an
//! operation, never prints a body. Called by the rest of this crate.

use std::net::IpAddr;
use std::time::Duration;

use isobar_engine_provider::error::{self, Meaning};
use isobar_engine_provider::{ProviderError, Result, Site, answer, endpoint};
use reqwest::header::{HeaderMap, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Method, Response, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::credentials::{Credentials, Identity};
use crate::errors::Failure;

/// Azure's own address.
const AZURE: &str = "https://management.azure.com";
/// How long a connection may take, in s.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Largest answer, in bytes: the sizes of a region are some megabytes.
const ANSWER_MAX_BYTES: usize = 32 << 20;
/// Of an error's words we keep so many letters.
const MESSAGE_MAX_LETTERS: usize = 500;

/// The client of one account.
pub(crate) struct Arm {
    http: reqwest::Client,
    identity: Identity,
    allowed_endpoints: Vec<String>,
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// From `/subscriptions` on, or a whole next link.
    pub(crate) path: String,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<Vec<u8>>,
    /// Only where there is none of that name yet.
    pub(crate) only_new: bool,
}

/// What was answered, and well.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<T> {
    pub(crate) value: Vec<T>,
    pub(crate) next_link: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorWords,
}

#[derive(Deserialize)]
struct ErrorWords {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl<'a> Call<'a> {
    pub(crate) fn get(path: String, query: &'a [(&'a str, &'a str)]) -> Self {
        Self::of(Method::GET, path, query)
    }

    pub(crate) fn of(method: Method, path: String, query: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            method,
            path,
            query,
            body: None,
            only_new: false,
        }
    }
}

impl Answer {
    /// What it says, or that Azure broke its word.
    pub(crate) fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| ProviderError::Unexpected {
            message: format!("Azure's answer cannot be read: {error}"),
        })
    }
}

impl Arm {
    pub(crate) fn new(credentials: Credentials, allowed_endpoints: Vec<String>) -> Result<Self> {
        // Whoever came first has set the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| ProviderError::Unavailable {
                message: format!("no HTTP client: {error}"),
            })?;
        Ok(Self {
            identity: Identity::new(credentials, http.clone()),
            http,
            allowed_endpoints,
        })
    }

    /// The next call looks for its credentials anew.
    pub(crate) fn forget_credentials(&self) {
        self.identity.forget();
    }

    /// Where a site's calls go: to Azure's own address, or to the one that stands for all of Azure's.
    pub(crate) fn base<'a>(&self, site: &'a Site, own: &'a str) -> Result<&'a str> {
        let base = endpoint::of(site, &self.allowed_endpoints)?.unwrap_or(own);
        Ok(base.trim_end_matches('/'))
    }

    /// The endpoint of a site, where it is on this computer and so stands for all of Azure.
    pub(crate) fn stands_for_azure(&self, site: &Site) -> Result<Option<Url>> {
        let endpoint = endpoint::of(site, &self.allowed_endpoints)?.and_then(|endpoint| Url::parse(endpoint).ok());
        let is_loopback = |host: &str| {
            host.trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|ip: IpAddr| ip.is_loopback())
        };
        let local = |endpoint: &Url| endpoint.host_str().is_some_and(is_loopback);
        Ok(endpoint.filter(local))
    }

    /// Reads what its address alone opens. Our token stays here, and so does the address: it may itself be a secret.
    pub(crate) async fn open(&self, address: Url, max_bytes: usize) -> Result<Vec<u8>> {
        let does = error::Call::Read;
        let answer = self.http.get(address).send().await.map_err(|error| lost(error, does))?;
        let status = answer.status();
        if status.is_success() {
            return bounded(answer, does, max_bytes).await;
        }
        let failure = Failure {
            status: status.as_u16(),
            code: String::new(),
            message: "an address that opens by itself was refused".to_owned(),
            retry_after: retry_after(answer.headers()),
            call: does,
        };
        Err(failure.into())
    }

    /// Sends a call once.
    pub(crate) async fn send(&self, site: &Site, call: Call<'_>) -> Result<Answer> {
        let base = self.base(site, AZURE)?;
        let does = does(&call.method);
        let url = match call.path.starts_with('/') {
            true => format!("{base}{}", call.path),
            false => link(base, &call.path)?,
        };
        let token = self.identity.token().await?;
        let mut request = self
            .http
            .request(call.method, url)
            .query(call.query)
            .bearer_auth(token.secret());
        if call.only_new {
            request = request.header(IF_NONE_MATCH, "*");
        }
        if let Some(body) = call.body {
            request = request
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let answer = request.send().await.map_err(|error| lost(error, does))?;
        let status = answer.status().as_u16();
        let retry_after = retry_after(answer.headers());
        let body = bounded(answer, does, ANSWER_MAX_BYTES).await?;
        if status < 400 {
            return Ok(Answer { status, body });
        }
        let (code, message) = words(&body);
        let failure = Failure {
            status,
            code,
            message,
            retry_after,
            call: does,
        };
        Err(failure.into())
    }
}

/// A next link leads to where the list came from, since our token goes there.
fn link(base: &str, link: &str) -> Result<String> {
    let rest = link.strip_prefix(base).filter(|rest| rest.starts_with('/'));
    rest.map(|_| link.to_owned()).ok_or_else(|| ProviderError::Unexpected {
        message: format!("the next page is not at {base}"),
    })
}

/// What a method does. Azure's actions, which are POSTs, are called here only where they change nothing.
fn does(method: &Method) -> error::Call {
    match method.as_str() {
        "GET" | "POST" => error::Call::Read,
        "DELETE" => error::Call::Delete,
        _ => error::Call::Create,
    }
}

/// A call without an answer. Refused at the door, nothing was done; after that a write may have been.
pub(crate) fn lost(error: reqwest::Error, call: error::Call) -> ProviderError {
    let refused = error.is_connect() || error.is_builder();
    let meaning = if refused {
        Meaning::Unavailable
    } else {
        Meaning::Unknown
    };
    meaning.error(call, error.without_url().to_string())
}

async fn bounded(mut sent: Response, call: error::Call, max_bytes: usize) -> Result<Vec<u8>> {
    let mut answer = answer::Answer::of_at_most(max_bytes);
    while let Some(chunk) = sent.chunk().await.map_err(|error| lost(error, call))? {
        answer.take(&chunk)?;
    }
    Ok(answer.into_bytes())
}

/// Azure gives whole seconds.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The code and the words of an error's body; the start of it where it is none of Azure's.
fn words(body: &[u8]) -> (String, String) {
    let short = |text: &str| text.chars().take(MESSAGE_MAX_LETTERS).collect::<String>();
    let parsed = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error);
    // Some of Microsoft's front doors leave the envelope out.
    let parsed = parsed.or_else(|_| serde_json::from_slice::<Value>(body).and_then(serde_json::from_value));
    match parsed {
        Ok(words) => (short(&words.code), short(&words.message)),
        Err(_) => (String::new(), short(&String::from_utf8_lossy(body))),
    }
}
