//! A small engine for tests: the real protocol over real TLS with a CA of its own. It binds the token to the first key
//! like the real one, signs what it is asked to, answers renewals, and hands every message to the test.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use isobar_node_image_agent::identity::Home;
use isobar_node_image_protocol::names::{ENGINE_DNS_NAME, RESPONSIBLE, machine_dns_name};
use isobar_node_image_protocol::v1::node_server::{Node, NodeServer};
use isobar_node_image_protocol::v1::{
    Certificate, EngineMessage, JoinReply, JoinRequest, Lease, NodeMessage, engine_message, node_message,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Certificate as TlsCertificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

pub(crate) const TOKEN: [u8; 32] = [7; 32];
const QUEUE_MESSAGES: usize = 64;

/// How the engine answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) lease_ms: u64,
    pub(crate) abandon_after_ms: u64,
    pub(crate) certificate_ms: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease_ms: 9_000,
            abandon_after_ms: 86_400_000,
            certificate_ms: 3_600_000,
        }
    }
}

/// A session as the test sees it.
pub(crate) struct Session {
    pub(crate) messages: mpsc::Receiver<NodeMessage>,
    pub(crate) reply: mpsc::Sender<Result<EngineMessage, Status>>,
}

/// Where nobody listens.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

pub(crate) struct TestEngine {
    pub(crate) home: Home,
    pub(crate) sessions: mpsc::Receiver<Session>,
    pub(crate) joins: Arc<Mutex<Vec<JoinRequest>>>,
    silent: Arc<AtomicBool>,
    pub(crate) elsewhere: Arc<Mutex<Option<String>>>,
    ca: Arc<CertifiedIssuer<'static, KeyPair>>,
}

impl TestEngine {
    pub(crate) async fn start(terms: Terms) -> Self {
        Self::start_under(Arc::new(new_ca()), terms).await
    }

    /// Another engine of the same authority.
    pub(crate) async fn start_beside(&self, terms: Terms) -> Self {
        Self::start_under(self.ca.clone(), terms).await
    }

    async fn start_under(ca: Arc<CertifiedIssuer<'static, KeyPair>>, terms: Terms) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let elsewhere = Arc::default();
        let joins = Arc::new(Mutex::new(Vec::new()));
        let silent = Arc::new(AtomicBool::new(false));
        let (to_test, sessions) = mpsc::channel(QUEUE_MESSAGES);
        let service = Service {
            ca: ca.clone(),
            joins: joins.clone(),
            bound_key: Mutex::default(),
            to_test,
            terms,
            silent: silent.clone(),
            elsewhere: Arc::clone(&elsewhere),
        };
        serve(listener, &ca, service);
        Self {
            home: home(address, ca.der().to_vec()),
            sessions,
            joins,
            silent,
            elsewhere,
            ca,
        }
    }

    /// From here on it says that another engine is responsible, which is at the second of its addresses.
    pub(crate) fn point_to(&self, other: &Self) {
        *self.elsewhere.lock().unwrap() = Some(format!("{NOBODY},{}", other.home.engines[0]));
    }

    /// From here on no renewal is answered.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn home(address: SocketAddr, ca_der: Vec<u8>) -> Home {
    Home {
        engines: vec![address.to_string()],
        ca_der,
        token: TOKEN.to_vec(),
        machine: "general-1".into(),
        insecure_registries: Vec::new(),
    }
}

pub(crate) fn new_ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test cluster");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn serve(listener: TcpListener, ca: &CertifiedIssuer<'static, KeyPair>, service: Service) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![ENGINE_DNS_NAME.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, ca).unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate.pem(), key.serialize_pem()))
        .client_ca_root(TlsCertificate::from_pem(ca.pem()))
        .client_auth_optional(true);
    let server = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(NodeServer::new(service));
    tokio::spawn(async move {
        server
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    });
}

struct Service {
    ca: Arc<CertifiedIssuer<'static, KeyPair>>,
    joins: Arc<Mutex<Vec<JoinRequest>>>,
    bound_key: Mutex<Option<Vec<u8>>>,
    to_test: mpsc::Sender<Session>,
    terms: Terms,
    silent: Arc<AtomicBool>,
    elsewhere: Arc<Mutex<Option<String>>>,
}

impl Service {
    fn is_responsible(&self) -> Result<(), Status> {
        let Some(other) = self.elsewhere.lock().unwrap().clone() else {
            return Ok(());
        };
        let mut refusal = Status::failed_precondition("another engine is responsible");
        refusal.metadata_mut().insert(RESPONSIBLE, other.parse().unwrap());
        Err(refusal)
    }
}

fn sign(ca: &CertifiedIssuer<'static, KeyPair>, csr_der: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Status> {
    let csr = CertificateSigningRequestParams::from_der(&csr_der.into());
    let mut csr = csr.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let name = machine_dns_name("test", "general-1", 1).try_into().unwrap();
    csr.params.subject_alt_names = vec![SanType::DnsName(name)];
    csr.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = rcgen::PublicKeyData::der_bytes(&csr.public_key).to_vec();
    Ok((csr.signed_by(ca).unwrap().der().to_vec(), key))
}

#[tonic::async_trait]
impl Node for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        self.is_responsible()?;
        let request = request.into_inner();
        self.joins.lock().unwrap().push(request.clone());
        if request.token != TOKEN {
            return Err(Status::unauthenticated("unknown token"));
        }
        let (certificate_der, key) = sign(&self.ca, &request.csr_der)?;
        if *self.bound_key.lock().unwrap().get_or_insert(key.clone()) != key {
            return Err(Status::permission_denied("the token was used by another key"));
        }
        let valid_ms = self.terms.certificate_ms;
        Ok(Response::new(JoinReply {
            certificate_der,
            machine: "general-1".into(),
            valid_ms,
        }))
    }

    type SessionStream = ReceiverStream<Result<EngineMessage, Status>>;

    async fn session(&self, request: Request<Streaming<NodeMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        if request.peer_certs().is_none_or(|certificates| certificates.is_empty()) {
            return Err(Status::unauthenticated("a session needs a certificate"));
        }
        self.is_responsible()?;
        let mut incoming = request.into_inner();
        let (reply, outgoing) = mpsc::channel(QUEUE_MESSAGES);
        let (to_test, messages) = mpsc::channel(QUEUE_MESSAGES);
        let (ca, terms, answers, silent) = (self.ca.clone(), self.terms, reply.clone(), self.silent.clone());
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let answer = answer(&ca, terms, &message).filter(|_| !silent.load(Ordering::SeqCst));
                if let Some(answer) = answer {
                    let _ = answers.send(Ok(EngineMessage { kind: Some(answer) })).await;
                }
                let _ = to_test.send(message).await;
            }
        });
        let _ = self.to_test.send(Session { messages, reply }).await;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

fn answer(ca: &CertifiedIssuer<'static, KeyPair>, terms: Terms, message: &NodeMessage) -> Option<engine_message::Kind> {
    match message.kind.as_ref()? {
        node_message::Kind::Renew(renew) => Some(engine_message::Kind::Lease(Lease {
            sequence: renew.sequence,
            valid_ms: terms.lease_ms,
            abandon_after_ms: terms.abandon_after_ms,
        })),
        node_message::Kind::Certificate(request) => {
            let (certificate_der, _) = sign(ca, &request.csr_der).ok()?;
            Some(engine_message::Kind::Certificate(Certificate {
                certificate_der,
                valid_ms: terms.certificate_ms,
            }))
        }
        node_message::Kind::Hello(_) | node_message::Kind::Status(_) | node_message::Kind::Log(_) => None,
    }
}
