//! The typed client: a function per tool, over streamable HTTP. The command line is built on it and on nothing else.
//!
//! Never retries: a caller knows whether its call may be sent again. Never reads the store.

use std::time::Duration;

use isobar_engine_control::api::{
    Adopted, ApiError, ApplyRequest, AuditAnswer, AuditRequest, Discovery, ExplainRequest, Explanation, HandOverAnswer,
    HandOverRequest, ImportAnswer, ImportRequest, LeaksAnswer, LeaksRequest, LogsAnswer, LogsRequest, OperationCancel,
    OperationGet, OperationView, PlanAnswer, PlanRequest, QueryAnswer, QueryRequest, RecoverAnswer, RecoverMachines,
    RecoverRequest, Recovered, StatePart, StateRead, StateRelease, StateReleased, StatesAnswer, StatesRequest,
};
use isobar_engine_model::id::OperationId;
use isobar_engine_model::operation::Operation;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation, JsonObject,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion,
};
use rmcp::service::{ClientInitializeError, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::folder::{DataFolder, FolderError, Token};

/// How long it takes to find out that no engine answers.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a call may take: more than the longest wait for news of an operation.
pub const CALL_MAX: Duration = Duration::from_secs(120);
/// An answer is at most so long.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The data folder does not say where the engine is: start it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Nothing answers there: start the engine, or try again.
    #[error("no engine answers at {endpoint}")]
    Unreachable {
        /// Where it should have been.
        endpoint: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What answers cannot show that it is the engine that the folder knows: another engine has the address, or somebody
    /// pretends to be it.
    #[error("what answers at {endpoint} is not the engine that this folder knows")]
    Stranger {
        /// Where it is.
        endpoint: String,
        /// What is wrong with what it shows.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something answers that does not take our token: another engine has the address.
    #[error("the engine at {endpoint} refuses the token")]
    Unauthorized {
        /// Where it is.
        endpoint: String,
    },
    /// The engine says no.
    #[error(transparent)]
    Refused(ApiError),
    /// What answers does not speak our MCP: use the same version on both sides.
    #[error("the answer of {endpoint} to `{tool}` cannot be read")]
    Protocol {
        /// Where it is.
        endpoint: String,
        /// What was asked.
        tool: String,
        /// What is wrong with the answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClientError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Unreachable { .. } => Some("start the engine with `isobar serve`".to_owned()),
            Self::Stranger { .. } => Some(
                "if the engine has moved or was made anew: `isobar connect` with the authority.pem of its data folder"
                    .to_owned(),
            ),
            Self::Unauthorized { .. } => Some("name the data folder of that engine with --data".to_owned()),
            Self::Refused(error) => error.hint.clone(),
            Self::Protocol { .. } => Some("run the same version of `isobar` on both sides".to_owned()),
        }
    }
}

/// A connection to a running engine.
pub struct Client {
    endpoint: String,
    service: RunningService<RoleClient, ClientConfig>,
}

impl Client {
    /// Connects to the engine that runs with a data folder.
    pub async fn connect(folder: &DataFolder) -> Result<Self, ClientError> {
        let (endpoint, authority, token) = known(folder)?;
        Self::to(endpoint, authority.as_deref(), &token).await
    }

    /// Connects to an engine; one beyond loopback is known by its authority's certificate, PEM.
    pub async fn to(endpoint: String, authority_pem: Option<&str>, token: &Token) -> Result<Self, ClientError> {
        let http = http(authority_pem).map_err(|error| ClientError::Unreachable {
            endpoint: endpoint.clone(),
            source: error.into(),
        })?;
        let config = StreamableHttpClientTransportConfig::with_uri(endpoint.as_str())
            .auth_header(token.as_str())
            .max_json_response_size(ANSWER_MAX_BYTES);
        let transport = StreamableHttpClientTransport::with_client(http.clone(), config);
        let ourselves = ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("isobar-cli", env!("CARGO_PKG_VERSION")),
        );
        let lifecycle = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::LATEST],
        };
        match ourselves.serve_with_lifecycle(transport, lifecycle).await {
            Ok(service) => Ok(Self { endpoint, service }),
            Err(error) => match stranger(&http, &endpoint).await {
                Some(source) => Err(ClientError::Stranger { endpoint, source }),
                None => Err(not_connected(endpoint, error)),
            },
        }
    }

    /// Where the engine listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the engine is and has.
    pub async fn discover(&self) -> Result<Discovery, ClientError> {
        self.call("discover", &JsonObject::new()).await
    }

    /// Lists things.
    pub async fn query(&self, request: &QueryRequest) -> Result<QueryAnswer, ClientError> {
        self.call("query", request).await
    }

    /// Makes a plan.
    pub async fn plan(&self, request: &PlanRequest) -> Result<PlanAnswer, ClientError> {
        self.call("plan", request).await
    }

    /// Takes over a page of the objects of a state.
    pub async fn import_terraform(&self, request: &ImportRequest) -> Result<ImportAnswer, ClientError> {
        self.call("import_terraform", request).await
    }

    /// Takes a step of a hand-over.
    pub async fn import_hand_over(&self, request: &HandOverRequest) -> Result<HandOverAnswer, ClientError> {
        self.call("import_hand_over", request).await
    }

    /// Accepts a plan.
    pub async fn apply(&self, request: &ApplyRequest) -> Result<OperationView, ClientError> {
        self.call("apply", request).await
    }

    /// How far an operation is.
    pub async fn operation_get(&self, request: &OperationGet) -> Result<OperationView, ClientError> {
        self.call("operation_get", request).await
    }

    /// Stops an operation.
    pub async fn operation_cancel(&self, operation: &OperationId) -> Result<Operation, ClientError> {
        self.call(
            "operation_cancel",
            &OperationCancel {
                operation: operation.clone(),
            },
        )
        .await
    }

    /// What sweeps found and did.
    pub async fn leaks(&self, request: &LeaksRequest) -> Result<LeaksAnswer, ClientError> {
        self.call("leaks", request).await
    }

    /// What a restored backup does not know.
    pub async fn recover(&self, request: &RecoverRequest) -> Result<RecoverAnswer, ClientError> {
        self.call("recover", request).await
    }

    /// Keeps machines that a backup does not know.
    pub async fn recover_adopt(&self, request: &RecoverMachines) -> Result<Adopted, ClientError> {
        self.call("recover_adopt", request).await
    }

    /// Deletes machines that a backup does not know.
    pub async fn recover_release(&self, request: &RecoverMachines) -> Result<OperationView, ClientError> {
        self.call("recover_release", request).await
    }

    /// Goes on after a restore.
    pub async fn recover_end(&self) -> Result<Recovered, ClientError> {
        self.call("recover_end", &serde_json::json!({})).await
    }

    /// Who changed what; whether the log is intact.
    pub async fn audit(&self, request: &AuditRequest) -> Result<AuditAnswer, ClientError> {
        self.call("audit", request).await
    }

    /// Why something is as it is.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ClientError> {
        self.call("explain", request).await
    }

    /// Output of a replica or a machine's console.
    pub async fn logs(&self, request: &LogsRequest) -> Result<LogsAnswer, ClientError> {
        self.call("logs", request).await
    }

    /// States of Terraform.
    pub async fn terraform_states(&self, request: &StatesRequest) -> Result<StatesAnswer, ClientError> {
        self.call("terraform_states", request).await
    }

    /// A part of a version of a state.
    pub async fn terraform_state_read(&self, request: &StateRead) -> Result<StatePart, ClientError> {
        self.call("terraform_state_read", request).await
    }

    /// Takes a state's lock away.
    pub async fn terraform_unlock(&self, request: &StateRelease) -> Result<StateReleased, ClientError> {
        self.call("terraform_unlock", request).await
    }

    /// Any tool, its result as it comes.
    pub(crate) async fn call_tool(&self, tool: String, arguments: JsonObject) -> Result<CallToolResult, ClientError> {
        let params = CallToolRequestParams::new(tool.clone()).with_arguments(arguments);
        self.service
            .call_tool(params)
            .await
            .map_err(|error| self.failed(&tool, error))
    }

    /// One page of the engine's tools.
    pub(crate) async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
    ) -> Result<ListToolsResult, ClientError> {
        self.service
            .list_tools(page)
            .await
            .map_err(|error| self.failed("tools/list", error))
    }

    async fn call<A: Serialize, R: DeserializeOwned>(&self, tool: &str, request: &A) -> Result<R, ClientError> {
        let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Protocol {
            endpoint: self.endpoint.clone(),
            tool: tool.to_owned(),
            source,
        };
        let arguments = match serde_json::to_value(request) {
            Ok(Value::Object(arguments)) => arguments,
            Ok(other) => return Err(unreadable(format!("arguments are an object, not {other}").into())),
            Err(error) => return Err(unreadable(error.into())),
        };
        let result = self.call_tool(tool.to_owned(), arguments).await?;
        let content = result.structured_content.unwrap_or(Value::Null);
        if result.is_error == Some(true) {
            let error = serde_json::from_value(content).map_err(|error| unreadable(error.into()))?;
            return Err(ClientError::Refused(error));
        }
        serde_json::from_value(content).map_err(|error| unreadable(error.into()))
    }

    fn failed(&self, tool: &str, error: ServiceError) -> ClientError {
        let endpoint = self.endpoint.clone();
        if error.is_authorization_required() || error.auth_challenge().is_some() {
            return ClientError::Unauthorized { endpoint };
        }
        let lost = matches!(
            error,
            ServiceError::TransportSend(_) | ServiceError::TransportClosed | ServiceError::Timeout { .. }
        );
        if lost {
            ClientError::Unreachable {
                endpoint,
                source: error.into(),
            }
        } else {
            ClientError::Protocol {
                endpoint,
                tool: tool.to_owned(),
                source: error.into(),
            }
        }
    }
}

/// What a folder says of its engine: where it is, by what it is known beyond loopback, what to show it.
fn known(folder: &DataFolder) -> Result<(String, Option<String>, Token), ClientError> {
    let endpoint = folder.endpoint()?;
    let token = folder.token()?;
    let authority = match endpoint.starts_with("https:") {
        true => Some(folder.authority()?),
        false => None,
    };
    Ok((endpoint, authority, token))
}

/// The way to the engine of a folder, for what is not MCP.
pub(crate) fn reach(folder: &DataFolder) -> Result<(String, reqwest::Client, Token), ClientError> {
    let (endpoint, authority, token) = known(folder)?;
    match http(authority.as_deref()) {
        Ok(http) => Ok((endpoint, http, token)),
        Err(error) => Err(ClientError::Unreachable {
            endpoint,
            source: error.into(),
        }),
    }
}

/// An engine is known by its own authority and by nothing else: not by those that the system trusts.
fn http(authority_pem: Option<&str>) -> reqwest::Result<reqwest::Client> {
    // Another crate of the same build may turn on reqwest's TLS, which then wants to know whose cryptography to use.
    // Whoever came first has set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // To the engine and nowhere else, so no proxy; idle connections are kept, since every answer is read to its end.
    let builder = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_MAX)
        .timeout(CALL_MAX)
        .redirect(reqwest::redirect::Policy::none());
    match authority_pem {
        Some(pem) => builder
            .https_only(true)
            .tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes())?])
            .build(),
        None => builder.build(),
    }
}

fn not_connected(endpoint: String, error: ClientInitializeError) -> ClientError {
    if error.is_authorization_required() || error.auth_challenge().is_some() {
        return ClientError::Unauthorized { endpoint };
    }
    let spoke = matches!(
        error,
        ClientInitializeError::JsonRpcError(_) | ClientInitializeError::NoCompatibleProtocolVersion { .. }
    );
    if spoke {
        ClientError::Protocol {
            endpoint,
            tool: "server/discover".to_owned(),
            source: error.into(),
        }
    } else {
        ClientError::Unreachable {
            endpoint,
            source: error.into(),
        }
    }
}

/// What is wrong with the proof of what answers, if that is what is wrong. The MCP client does not say, so it is asked again.
async fn stranger(http: &reqwest::Client, endpoint: &str) -> Option<Box<dyn std::error::Error + Send + Sync>> {
    let error = http.get(endpoint).send().await.err()?;
    shows_no_proof(&error).then(|| error.into())
}

/// Whether it failed since what answers has no certificate of the authority for the name that it was called by.
fn shows_no_proof(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    matches!(
        error.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_))
    ) || inner.is_some_and(|inner| shows_no_proof(inner))
        || error.source().is_some_and(shows_no_proof)
}
