//! Who we are to Azure: the ordinary chain of `azure_identity`, first that answers, with the engine's own transport (rustls
//! and ring). Never prints a token or a secret. Used by [`crate::arm`].

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret as AzureSecret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use isobar_engine_provider::{ProviderError, Result};

/// What a token is for.
const SCOPE: &str = "https://management.azure.com/.default";

/// Where tokens come from.
#[derive(Clone)]
pub enum Credentials {
    /// The first that answers of: a client's secret in the environment, a workload's identity, a managed identity, the
    /// Azure CLI.
    Chain,
    /// This one, for clouds that are not Azure.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "Chain",
            Self::Token(_) => "Token(***)",
        })
    }
}

/// The chain, made at its first use.
pub(crate) struct Identity {
    credentials: Credentials,
    http: reqwest::Client,
    chain: Mutex<Arc<Chain>>,
}

/// Where tokens may come from. Each source keeps its own until shortly before it runs out.
#[derive(Default)]
struct Chain {
    sources: OnceLock<Vec<Source>>,
    /// Which of them answered first; it is asked from then on.
    answered: OnceLock<usize>,
}

struct Source {
    name: &'static str,
    /// Or why it cannot be asked.
    credential: std::result::Result<Arc<dyn TokenCredential>, String>,
}

impl Identity {
    pub(crate) fn new(credentials: Credentials, http: reqwest::Client) -> Self {
        Self {
            credentials,
            http,
            chain: Mutex::default(),
        }
    }

    /// The chain is gone through from its beginning for the next call.
    pub(crate) fn forget(&self) {
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// A token for the next call.
    pub(crate) async fn token(&self) -> Result<AzureSecret> {
        if let Credentials::Token(token) = &self.credentials {
            return Ok(AzureSecret::new(token.clone()));
        }
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sources = chain.sources.get_or_init(|| sources(&self.http));
        if let Some(source) = chain.answered.get().and_then(|index| sources.get(*index)) {
            let token = source.ask().await.map_err(|reason| ProviderError::Unauthorized {
                message: format!("{}: {reason}", source.name),
            })?;
            return Ok(token.token);
        }
        let mut tried = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            match source.ask().await {
                Ok(token) => {
                    // Another call may have come first: both have a token that counts.
                    let _same = chain.answered.set(index);
                    return Ok(token.token);
                }
                Err(reason) => tried.push(format!("{}: {reason}", source.name)),
            }
        }
        Err(ProviderError::Unauthorized {
            message: format!("no credentials for Azure; tried {}", tried.join("; ")),
        })
    }
}

impl Source {
    async fn ask(&self) -> std::result::Result<AccessToken, String> {
        match &self.credential {
            Ok(credential) => credential
                .get_token(&[SCOPE], None)
                .await
                .map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        }
    }

    fn of<C: TokenCredential + 'static>(
        name: &'static str,
        made: std::result::Result<Arc<C>, impl fmt::Display>,
    ) -> Self {
        let credential = made.map(|made| made as Arc<dyn TokenCredential>);
        let credential = credential.map_err(|reason| reason.to_string());
        Self { name, credential }
    }
}

fn sources(http: &reqwest::Client) -> Vec<Source> {
    let options = || ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(Over(http.clone())))),
        ..ClientOptions::default()
    };
    let workload = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions {
            client_options: options(),
        },
        ..WorkloadIdentityCredentialOptions::default()
    };
    let managed = ManagedIdentityCredentialOptions {
        user_assigned_id: std::env::var("AZURE_CLIENT_ID").ok().map(UserAssignedId::ClientId),
        client_options: options(),
    };
    vec![
        Source::of("environment", client_secret(options())),
        Source::of("workload identity", WorkloadIdentityCredential::new(Some(workload))),
        Source::of("managed identity", ManagedIdentityCredential::new(Some(managed))),
        Source::of("Azure CLI", AzureCliCredential::new(None)),
    ]
}

fn client_secret(client_options: ClientOptions) -> std::result::Result<Arc<ClientSecretCredential>, String> {
    let var = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (tenant, client) = (var("AZURE_TENANT_ID")?, var("AZURE_CLIENT_ID")?);
    let secret = AzureSecret::new(var("AZURE_CLIENT_SECRET")?);
    let options = ClientSecretCredentialOptions { client_options };
    ClientSecretCredential::new(&tenant, client, secret, Some(options)).map_err(|error| error.to_string())
}

/// The SDK's requests over our client.
#[derive(Debug)]
struct Over(reqwest::Client);

#[async_trait]
impl HttpClient for Over {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let failed = |error: reqwest::Error| {
            let kind = if error.is_connect() {
                ErrorKind::Connection
            } else {
                ErrorKind::Io
            };
            // Without its address: there may be secrets in it.
            azure_core::Error::new(kind, error.without_url())
        };
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes());
        let method = method.map_err(|error| azure_core::Error::new(ErrorKind::Other, error))?;
        let mut ours = self.0.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            ours = ours.header(name.as_str(), value.as_str());
        }
        if let Body::Bytes(bytes) = request.body() {
            ours = ours.body(bytes.clone());
        }
        let answer = ours.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut headers = Headers::new();
        for (name, value) in answer.headers() {
            if let Ok(value) = value.to_str() {
                headers.insert(
                    HeaderName::from(name.as_str().to_owned()),
                    HeaderValue::from(value.to_owned()),
                );
            }
        }
        let body = answer.bytes().await.map_err(failed)?;
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
    }
}

#[cfg(test)]
mod tests {
    use azure_core::credentials::TokenRequestOptions;
    use azure_core::time::OffsetDateTime;

    use super::*;

    #[derive(Debug)]
    struct Always(&'static str);

    #[async_trait]
    impl TokenCredential for Always {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
            Ok(AccessToken::new(self.0, OffsetDateTime::UNIX_EPOCH))
        }
    }

    fn absent(name: &'static str) -> Source {
        Source {
            name,
            credential: Err(format!("no {name} here")),
        }
    }

    fn chain(sources: Vec<Source>) -> Identity {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let identity = Identity::new(Credentials::Chain, reqwest::Client::new());
        let chain = Chain::default();
        assert!(chain.sources.set(sources).is_ok(), "a new chain has no sources yet");
        *identity.chain.lock().expect("nobody panicked") = Arc::new(chain);
        identity
    }

    #[tokio::test]
    async fn the_first_source_that_answers_is_asked_from_then_on() {
        let answers = |name| Source {
            name,
            credential: Ok(Arc::new(Always(name))),
        };
        let identity = chain(vec![absent("environment"), answers("cli"), answers("later")]);
        for _ in 0..2 {
            assert_eq!(identity.token().await.expect("a token").secret(), "cli");
            let chain = identity.chain.lock().expect("nobody panicked").clone();
            assert_eq!(chain.answered.get(), Some(&1));
        }
    }

    #[tokio::test]
    async fn an_error_lists_what_was_tried_and_what_each_said() {
        let error = chain(vec![absent("environment"), absent("cli")]).token().await;
        let error = error.expect_err("nobody answers");
        assert_eq!(error.kind(), "unauthorized");
        let said = error.to_string();
        assert!(
            said.contains("environment: no environment here; cli: no cli here"),
            "{said}"
        );
    }
}
