//! MCP over a pipe, for clients that start their servers: every request is relayed to the running engine over HTTP,
//! since one engine owns a data folder.
//!
//! Outlives the engine: while none runs, calls are refused with how to start it, and the next call finds the new one.

use std::sync::Arc;

use isobar_engine_control::api::{ApiError, ErrorCode};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, ListToolsResult, PaginatedRequestParams,
    ServerConfig,
};
use rmcp::service::{QuitReason, RequestContext, ServerInitializeError};
use rmcp::{RoleServer, ServerHandler, ServiceError, ServiceExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

use crate::client::{Client, ClientError};
use crate::folder::DataFolder;
use crate::refused;
use crate::server;

/// Why relaying ended early.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The client did not begin as MCP does.
    #[error("the client does not speak MCP")]
    Client(#[source] Box<ServerInitializeError>),
    /// The relay's own task failed.
    #[error("the relay ended unexpectedly")]
    Task(#[source] tokio::task::JoinError),
}

/// Relays standard input and output until the client closes them.
pub async fn relay(folder: DataFolder) -> Result<(), RelayError> {
    let (input, output) = rmcp::transport::stdio();
    relay_over(folder, input, output).await
}

/// Relays any pair of pipes until the client closes them.
pub async fn relay_over(
    folder: DataFolder,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<(), RelayError> {
    let engine = Mutex::new(None);
    let relay = Relay { folder, engine };
    let service = match relay.serve((input, output)).await {
        Ok(service) => service,
        // A client that goes away before it has said anything has done no harm.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(RelayError::Client(Box::new(error))),
    };
    match service.waiting().await {
        Ok(QuitReason::JoinError(error)) | Err(error) => Err(RelayError::Task(error)),
        Ok(_) => Ok(()),
    }
}

struct Relay {
    folder: DataFolder,
    engine: Mutex<Option<Arc<Client>>>,
}

impl Relay {
    /// The connection; a new one if there is none or the last one was lost.
    async fn engine(&self) -> Result<Arc<Client>, ClientError> {
        let mut slot = self.engine.lock().await;
        if let Some(client) = slot.as_ref() {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::connect(&self.folder).await?);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }

    /// The next call connects anew where this error says that the connection is of no use.
    async fn forget_after(&self, error: &ClientError) {
        match error {
            ClientError::Unreachable { .. }
            | ClientError::Stranger { .. }
            | ClientError::Unauthorized { .. }
            | ClientError::Folder(_) => {
                *self.engine.lock().await = None;
            }
            ClientError::Refused(_) | ClientError::Protocol { .. } => {}
        }
    }

    async fn call(&self, request: CallToolRequestParams) -> Result<CallToolResult, ClientError> {
        let engine = self.engine().await?;
        engine
            .call_tool(request.name.into_owned(), request.arguments.unwrap_or_default())
            .await
    }

    async fn list(&self, page: Option<PaginatedRequestParams>) -> Result<ListToolsResult, ClientError> {
        // The client's own metadata is between it and us.
        let page = page.map(|page| PaginatedRequestParams::default().with_cursor(page.cursor));
        self.engine().await?.list_tools(page).await
    }
}

impl ServerHandler for Relay {
    fn get_info(&self) -> ServerConfig {
        server::introduction()
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        match self.list(request).await {
            Ok(result) => Ok(result),
            Err(error) => {
                self.forget_after(&error).await;
                Err(ErrorData::internal_error(in_words(&error), None))
            }
        }
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match self.call(request).await {
            Ok(result) => Ok(result.into()),
            Err(error) => {
                if let Some(refusal) = in_terms_of_the_protocol(&error) {
                    return Err(refusal.clone());
                }
                self.forget_after(&error).await;
                let mut away = ApiError::new(ErrorCode::Unavailable, error.to_string());
                away.hint = error.hint();
                Ok(refused::into_result(&away).into())
            }
        }
    }
}

/// What the engine's server answered as an error of the protocol itself: an unknown tool. Relayed as it is.
fn in_terms_of_the_protocol(error: &ClientError) -> Option<&ErrorData> {
    let ClientError::Protocol { source, .. } = error else {
        return None;
    };
    match source.downcast_ref::<ServiceError>() {
        Some(ServiceError::McpError(refusal)) => Some(refusal),
        Some(_) | None => None,
    }
}

fn in_words(error: &ClientError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    }
}
