//! How engines that share a store pass calls on to each other: gRPC on the nodes' port, with certificates of the store's
//! authority that only engines have.

use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_store::Member;
use isobar_node_image_protocol::names::ENGINE_DNS_NAME;
use isobar_node_image_protocol::v1::MemberCall;
use isobar_node_image_protocol::v1::members_client::MembersClient;
use isobar_terraform_compat::backend::BODY_MAX_BYTES;
use serde_json::Value;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::api::{ApiError, ErrorCode};
use crate::authority::{Authority, ServerIdentity};

/// How long a connection may take to stand.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How often a silent connection is tried, and how long it may stay silent then.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// How long an answer may take: more than the longest wait for news of an operation.
const CALL_MAX: Duration = Duration::from_secs(60);
/// Largest call or answer of another engine, in bytes: the longest state of Terraform in base64, and room for its frame.
pub(crate) const MEMBER_MESSAGE_MAX_BYTES: usize = BODY_MAX_BYTES / 3 * 4 + 1024 * 1024;

/// What answers the calls that other engines pass on.
#[async_trait]
pub trait Answers: Send + Sync {
    /// Answers a tool's call here: never passes it on again.
    async fn answer(&self, tool: &str, arguments: Value) -> Result<Value, ApiError>;
}

/// Calls other engines.
pub(super) struct Caller {
    tls: Option<ClientTlsConfig>,
}

impl Caller {
    pub(super) fn new(authority: &Authority, now: Timestamp) -> Self {
        let identity = authority.server_identity(now);
        if let Err(error) = &identity {
            tracing::error!(%error, "this engine cannot call others");
        }
        Self {
            tls: identity.ok().map(tls),
        }
    }

    pub(super) async fn call(&self, member: &Member, tool: &str, arguments: &Value) -> Result<Value, ApiError> {
        let call = MemberCall {
            tool: tool.to_owned(),
            arguments_json: serde_json::to_vec(arguments).expect("text keys"),
        };
        let tls = self.tls.clone().ok_or_else(|| away(member, "it cannot be called"))?;
        let endpoint = Endpoint::from_shared(format!("https://{}", member.peers))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| away(member, &chain(&error)))?
            .connect_timeout(CONNECT_MAX)
            .timeout(CALL_MAX)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .tcp_nodelay(true);
        // A frozen process has its kernel take the connection and never says a word.
        let connecting = tokio::time::timeout(CONNECT_MAX, endpoint.connect());
        let channel = match connecting.await {
            Ok(connected) => connected.map_err(|error| away(member, &chain(&error)))?,
            Err(_) => return Err(away(member, "no connection in time")),
        };
        let mut client = MembersClient::new(channel).max_decoding_message_size(MEMBER_MESSAGE_MAX_BYTES);
        let answer = client
            .call(call)
            .await
            .map_err(|status| away(member, status.message()))?;
        let answer = answer.into_inner();
        let unreadable = |error: serde_json::Error| away(member, &error.to_string());
        if answer.refused {
            return Err(serde_json::from_slice(&answer.json).map_err(unreadable)?);
        }
        serde_json::from_slice(&answer.json).map_err(unreadable)
    }
}

fn tls(identity: ServerIdentity) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(identity.authority_pem))
        .identity(Identity::from_pem(identity.certificate_pem, identity.key_pem))
        .domain_name(ENGINE_DNS_NAME)
}

fn away(member: &Member, why: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Moving,
        format!("engine {} at {} does not answer: {why}", member.id, member.peers),
    )
    .hint("another engine takes its clusters over within seconds: try again")
}

fn chain(error: &dyn std::error::Error) -> String {
    crate::ledger::chain(error)
}
