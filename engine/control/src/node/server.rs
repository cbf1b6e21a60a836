//! The gRPC endpoint that nodes call: TLS with the store's own authority, a client certificate for everything but
//! joining.

use std::pin::Pin;
use std::sync::Arc;

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId};
use isobar_node_image_protocol::channel::{GrpcChannel, NODE_MESSAGE_MAX_BYTES, STREAM_QUEUE_MAX_MESSAGES};
use isobar_node_image_protocol::names::parse_machine_dns_name;
use isobar_node_image_protocol::v1::node_server::{Node, NodeServer};
use isobar_node_image_protocol::v1::{EngineMessage, JoinReply, JoinRequest, NodeMessage};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Peer;
use super::join::JoinError;
use crate::authority::AuthorityError;
use crate::engine::Engine;

/// At most so many calls of one connection at a time: a node needs two.
const CALLS_PER_CONNECTION_MAX: usize = 4;

/// Why the endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its certificate cannot be made.
    #[error("make the node endpoint's certificate")]
    Certificate(#[from] AuthorityError),
    /// The connection layer failed.
    #[error("serve the node endpoint")]
    Transport(#[from] tonic::transport::Error),
}

impl Engine {
    /// Serves nodes on a listener until the engine stops.
    pub async fn serve_nodes(self: Arc<Self>, listener: TcpListener) -> Result<(), ServeError> {
        let identity = self.authority.server_identity(self.clock.now())?;
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(identity.certificate_pem, identity.key_pem))
            .client_ca_root(Certificate::from_pem(identity.authority_pem))
            .client_auth_optional(true);
        let connections = TcpListenerStream::new(listener).map(|connection| {
            let connection = connection?;
            connection.set_nodelay(true)?;
            Ok::<_, std::io::Error>(connection)
        });
        let service =
            NodeServer::new(Endpoint { engine: self.clone() }).max_decoding_message_size(NODE_MESSAGE_MAX_BYTES);
        Server::builder()
            .tls_config(tls)?
            .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
            .http2_keepalive_interval(Some(self.config.bounds.keepalive()))
            .add_service(service)
            .serve_with_incoming_shutdown(connections, self.stop.cancelled())
            .await?;
        Ok(())
    }
}

struct Endpoint {
    engine: Arc<Engine>,
}

type ToNode = Pin<Box<dyn Stream<Item = Result<EngineMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Node for Endpoint {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let from = request.remote_addr();
        self.engine
            .join(request.get_ref())
            .await
            .map(Response::new)
            .map_err(|error| {
                tracing::warn!(?from, %error, "refused to let a node join");
                match error {
                    JoinError::UnknownToken | JoinError::UsedToken | JoinError::Revoked => {
                        Status::permission_denied(error.to_string())
                    }
                    JoinError::BadRequest => Status::invalid_argument(error.to_string()),
                    JoinError::Unavailable(_) => Status::unavailable(error.to_string()),
                }
            })
    }

    type SessionStream = ToNode;

    async fn session(&self, request: Request<Streaming<NodeMessage>>) -> Result<Response<ToNode>, Status> {
        let peer = peer(&request).ok_or_else(|| Status::unauthenticated("a machine's certificate is needed"))?;
        if !self.engine.is_current(&peer) {
            tracing::warn!(cluster = %peer.cluster, machine = %peer.machine, attempt = peer.attempt.0, "refused a session");
            return Err(Status::permission_denied("the machine may not speak any more"));
        }
        let (outgoing, out) = mpsc::channel(STREAM_QUEUE_MAX_MESSAGES);
        let channel = Box::new(GrpcChannel::new(outgoing, request.into_inner()));
        let engine = self.engine.clone();
        self.engine
            .tasks
            .spawn(async move { engine.session(peer, channel).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(out).map(Ok))))
    }
}

/// Who the client certificate says is calling.
fn peer<T>(request: &Request<T>) -> Option<Peer> {
    let certificates = request.peer_certs()?;
    let (_, certificate) = X509Certificate::from_der(certificates.first()?).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| {
        let GeneralName::DNSName(name) = name else { return None };
        let (cluster, machine, attempt) = parse_machine_dns_name(name)?;
        let cluster = ClusterName::new(cluster).ok()?;
        Some(Peer {
            cluster,
            machine: MachineId::new(machine),
            attempt: AttemptNo(attempt),
        })
    })
}
