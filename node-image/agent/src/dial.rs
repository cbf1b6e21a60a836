//! The way home: gRPC over TLS to the engine, which must show a certificate of the cluster's CA and no other; or, where
//! nodes are simulated, whatever implements [`Dial`]. Decides nothing: who joins, when, and how often is told by
//! [`crate::node`].

use std::time::Duration;

use async_trait::async_trait;
use isobar_node_image_protocol::channel::{Channel as MessageChannel, Closed, GrpcChannel, STREAM_QUEUE_MAX_MESSAGES};
use isobar_node_image_protocol::identity::is_host_and_port;
use isobar_node_image_protocol::names::{ENGINE_DNS_NAME, RESPONSIBLE};
use isobar_node_image_protocol::v1::node_client::NodeClient;
use isobar_node_image_protocol::v1::{EngineMessage, JoinReply, JoinRequest, NodeMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate as TlsCertificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};
use tonic::{Code, Status};

use crate::credentials::{Certificate, NodeKey, certificate_pem};
use crate::identity::Home;
use crate::session::EngineChannel;

/// How long a connection may take to stand.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long the engine may take to answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How often a silent connection is tried, and how long it may stay silent then.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEP_ALIVE_ANSWER_MAX: Duration = Duration::from_secs(5);

/// Why the engine cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The engine's address or the CA's certificate cannot be used. Trying again does not help.
    #[error("the identity leads nowhere")]
    Unusable(#[source] tonic::transport::Error),
    /// Nobody answers there, or it is not our engine. Try again later.
    #[error("no engine of this cluster answers")]
    Away(#[source] tonic::transport::Error),
    /// The engine refuses this node: its token or its certificate. Trying again helps only if the engine changes.
    #[error("the engine refuses this node: {}", .0.message())]
    Refused(Status),
    /// Another engine is responsible: call that one, at the first of its addresses that answers.
    #[error("engine {} is responsible", .0.join(" or "))]
    Elsewhere(Vec<String>),
    /// The engine answers but cannot help now. Try again later.
    #[error("the engine cannot answer now: {}", .0.message())]
    Unready(Status),
}

/// How a node reaches an engine, `host:port`. Nothing is retried in here.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Shows the token and asks for a certificate.
    async fn join(&self, engine: &str, request: JoinRequest) -> Result<JoinReply, DialError>;

    /// Opens a session as the certificate's owner, with `first` as its first message. It is open until the channel is
    /// dropped.
    async fn open_session(
        &self,
        engine: &str,
        key: &NodeKey,
        certificate: &Certificate,
        first: NodeMessage,
    ) -> Result<Box<EngineChannel>, DialError>;
}

#[async_trait]
impl Dial for Home {
    async fn join(&self, engine: &str, request: JoinRequest) -> Result<JoinReply, DialError> {
        join(self, engine, request).await
    }

    async fn open_session(
        &self,
        engine: &str,
        key: &NodeKey,
        certificate: &Certificate,
        first: NodeMessage,
    ) -> Result<Box<EngineChannel>, DialError> {
        Ok(Box::new(open_session((self, engine), key, certificate, first).await?))
    }
}

/// A session's stream, kept open for as long as this lives.
pub struct OpenSession {
    /// Messages out and in. The first one was sent already.
    pub channel: GrpcChannel<NodeMessage, EngineMessage>,
    _connection: NodeClient<Channel>,
}

#[async_trait]
impl MessageChannel<NodeMessage, EngineMessage> for OpenSession {
    async fn send(&mut self, message: NodeMessage) -> Result<(), Closed> {
        self.channel.send(message).await
    }

    async fn recv(&mut self) -> Result<EngineMessage, Closed> {
        self.channel.recv().await
    }
}

/// Shows the token and asks for a certificate.
pub async fn join(home: &Home, engine: &str, request: JoinRequest) -> Result<JoinReply, DialError> {
    let mut client = NodeClient::new(connect(home, engine, None).await?);
    let mut request = tonic::Request::new(request);
    request.set_timeout(ANSWER_MAX);
    Ok(client.join(request).await.map_err(refusal)?.into_inner())
}

/// Opens a session as the certificate's owner, with `first` as its first message.
pub async fn open_session(
    (home, engine): (&Home, &str),
    key: &NodeKey,
    certificate: &Certificate,
    first: NodeMessage,
) -> Result<OpenSession, DialError> {
    let identity = TlsIdentity::from_pem(certificate_pem(&certificate.der), key.pem());
    let mut client = NodeClient::new(connect(home, engine, Some(identity)).await?);
    let (outgoing, stream) = mpsc::channel(STREAM_QUEUE_MAX_MESSAGES);
    outgoing
        .try_send(first)
        .expect("the queue is empty and its reader is here");
    let opened = tokio::time::timeout(ANSWER_MAX, client.session(ReceiverStream::new(stream))).await;
    let incoming = match opened {
        Ok(answer) => answer.map_err(refusal)?.into_inner(),
        Err(_) => {
            return Err(DialError::Unready(Status::deadline_exceeded(
                "no answer to the session's first message",
            )));
        }
    };
    Ok(OpenSession {
        channel: GrpcChannel::new(outgoing, incoming),
        _connection: client,
    })
}

async fn connect(home: &Home, engine: &str, identity: Option<TlsIdentity>) -> Result<Channel, DialError> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(TlsCertificate::from_pem(certificate_pem(&home.ca_der)))
        .domain_name(ENGINE_DNS_NAME);
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://{engine}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(DialError::Unusable)?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER_MAX)
        .keep_alive_while_idle(true);
    match tokio::time::timeout(CONNECT_MAX + ANSWER_MAX, endpoint.connect()).await {
        Ok(connected) => connected.map_err(DialError::Away),
        Err(_) => Err(DialError::Unready(Status::deadline_exceeded(
            "the connection does not stand in time",
        ))),
    }
}

fn refusal(status: Status) -> DialError {
    let responsible = status.metadata().get(RESPONSIBLE).and_then(|value| value.to_str().ok());
    let addresses: Vec<String> = responsible
        .iter()
        .flat_map(|all| all.split(','))
        .map(str::to_owned)
        .collect();
    if !addresses.is_empty() && addresses.iter().all(|address| is_host_and_port(address)) {
        return DialError::Elsewhere(addresses);
    }
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Unimplemented => DialError::Refused(status),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => DialError::Unready(status),
    }
}
