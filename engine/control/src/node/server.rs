//! The gRPC endpoint that nodes and other engines call: TLS with the store's own authority, a client certificate for
//! everything but joining. A node whose cluster is another engine's is sent there.

use std::pin::Pin;
use std::sync::Arc;

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId};
use isobar_node_image_protocol::channel::{GrpcChannel, NODE_MESSAGE_MAX_BYTES, STREAM_QUEUE_MAX_MESSAGES};
use isobar_node_image_protocol::names::{ENGINE_DNS_NAME, RESPONSIBLE, parse_machine_dns_name};
use isobar_node_image_protocol::v1::members_server::{Members, MembersServer};
use isobar_node_image_protocol::v1::node_server::{Node, NodeServer};
use isobar_node_image_protocol::v1::{EngineMessage, JoinReply, JoinRequest, MemberAnswer, MemberCall, NodeMessage};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Peer;
use super::join::{JoinError, cluster_of};
use crate::authority::AuthorityError;
use crate::engine::Engine;
use crate::fleet::members::{Answers, MEMBER_MESSAGE_MAX_BYTES};
use crate::fleet::{Fleet, Route};
use crate::periodic::ROUND_IS_DUE;

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

impl Fleet {
    /// Serves nodes, and the other engines of the store, on a listener until the fleet stops.
    pub async fn serve_nodes(
        self: Arc<Self>,
        listener: TcpListener,
        answers: Arc<dyn Answers>,
    ) -> Result<(), ServeError> {
        let identity = self.config.authority.server_identity(self.boundaries.clock.now())?;
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(identity.certificate_pem, identity.key_pem))
            .client_ca_root(Certificate::from_pem(identity.authority_pem))
            .client_auth_optional(true);
        let connections = TcpListenerStream::new(listener).map(|connection| {
            let connection = connection?;
            connection.set_nodelay(true)?;
            Ok::<_, std::io::Error>(connection)
        });
        let nodes = NodeServer::new(ForNodes { fleet: self.clone() }).max_decoding_message_size(NODE_MESSAGE_MAX_BYTES);
        let members = MembersServer::new(ForMembers {
            fleet: self.clone(),
            answers,
        })
        .max_decoding_message_size(MEMBER_MESSAGE_MAX_BYTES);
        Server::builder()
            .tls_config(tls)?
            .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
            .http2_keepalive_interval(Some(self.config.bounds.keepalive()))
            .add_service(nodes)
            .add_service(members)
            .serve_with_incoming_shutdown(connections, self.stop.cancelled())
            .await?;
        Ok(())
    }

    /// The engine of a cluster, or where it is.
    fn engine_of(&self, cluster: &ClusterName) -> Result<Arc<Engine>, Status> {
        match self.responsible(cluster) {
            Some(Route::Here(engine)) => Ok(engine),
            Some(Route::There(member)) => {
                let mut refusal = Status::failed_precondition("another engine is responsible");
                let responsible = member.nodes.join(",").parse();
                let responsible = responsible.map_err(|_| Status::unavailable("an engine's address is unreadable"))?;
                refusal.metadata_mut().insert(RESPONSIBLE, responsible);
                Err(refusal)
            }
            None => Err(Status::unavailable("no engine is responsible now")),
        }
    }
}

struct ForNodes {
    fleet: Arc<Fleet>,
}

type ToNode = Pin<Box<dyn Stream<Item = Result<EngineMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Node for ForNodes {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let from = request.remote_addr();
        let cluster = cluster_of(&request.get_ref().token)
            .ok_or_else(|| Status::permission_denied(JoinError::UnknownToken.to_string()))?;
        let engine = self.fleet.engine_of(&cluster)?;
        engine
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
        let peer = names(&request).iter().find_map(|name| machine(name));
        let peer = peer.ok_or_else(|| Status::unauthenticated("a machine's certificate is needed"))?;
        let engine = self.fleet.engine_of(&peer.cluster)?;
        if !engine.is_current(&peer) {
            tracing::warn!(cluster = %peer.cluster, machine = %peer.machine, attempt = peer.attempt.0, "refused a session");
            return Err(Status::permission_denied("the machine may not speak any more"));
        }
        let (outgoing, out) = mpsc::channel(STREAM_QUEUE_MAX_MESSAGES);
        let channel = Box::new(GrpcChannel::new(outgoing, request.into_inner()));
        let session = engine.clone();
        engine.tasks.spawn(async move { session.session(peer, channel).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(out).map(Ok))))
    }
}

struct ForMembers {
    fleet: Arc<Fleet>,
    answers: Arc<dyn Answers>,
}

#[tonic::async_trait]
impl Members for ForMembers {
    async fn call(&self, request: Request<MemberCall>) -> Result<Response<MemberAnswer>, Status> {
        if !names(&request).iter().any(|name| name == ENGINE_DNS_NAME) {
            return Err(Status::unauthenticated("an engine's certificate is needed"));
        }
        let MemberCall { tool, arguments_json } = request.into_inner();
        let arguments = serde_json::from_slice(&arguments_json)
            .map_err(|error| Status::invalid_argument(format!("the arguments are no JSON: {error}")))?;
        let answer = match tool.as_str() {
            ROUND_IS_DUE => self.fleet.told(arguments),
            tool => self.answers.answer(tool, arguments).await,
        };
        let refused = answer.is_err();
        let json = match answer {
            Ok(answer) => serde_json::to_vec(&answer),
            Err(error) => serde_json::to_vec(&error),
        };
        let json = json.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(MemberAnswer { json, refused }))
    }
}

/// The DNS names of the client's certificate.
fn names<T>(request: &Request<T>) -> Vec<String> {
    let certificates = request.peer_certs().unwrap_or_default();
    let Some(Ok((_, certificate))) = certificates.first().map(|der| X509Certificate::from_der(der)) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter().filter_map(|name| {
        let GeneralName::DNSName(name) = name else { return None };
        Some((*name).to_owned())
    });
    names.collect()
}

/// The machine that a certificate's name says is calling.
fn machine(name: &str) -> Option<Peer> {
    let (cluster, machine, attempt) = parse_machine_dns_name(name)?;
    Some(Peer {
        cluster: ClusterName::new(cluster).ok()?,
        machine: MachineId::new(machine),
        attempt: AttemptNo(attempt),
    })
}
