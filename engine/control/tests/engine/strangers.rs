//! Nodes at the real endpoint, over TLS: whom a certificate lets speak, and for what.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use isobar_engine_control::Bounds;
use isobar_engine_control::api::{ApiError, ErrorCode, QueryRequest, QueryWhat};
use isobar_engine_control::authority::Authority;
use isobar_engine_control::fleet::members::Answers;
use isobar_engine_model::id::ClusterName;
use isobar_engine_model::observed::MachinePhase;
use isobar_node_image_protocol::identity::Identity;
use isobar_node_image_protocol::names::{ENGINE_DNS_NAME, machine_dns_name};
use isobar_node_image_protocol::v1::node_client::NodeClient;
use isobar_node_image_protocol::v1::{EngineMessage, Hello, JoinRequest, NodeMessage, node_message};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};
use tonic::{Code, Status, Streaming};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::{PATIENCE, Running, authority, eventually};

/// An engine whose node endpoint listens.
struct Home {
    running: Running,
    address: String,
}

/// No other engine asks anything.
pub(crate) struct Nobody;

#[async_trait]
impl Answers for Nobody {
    async fn answer(&self, tool: &str, _: Value) -> Result<Value, ApiError> {
        Err(ApiError::new(ErrorCode::Internal, format!("asked for {tool}")))
    }
}

/// A node that has joined.
struct Node {
    key: KeyPair,
    certificate_der: Vec<u8>,
}

/// A session that the engine took.
struct Session {
    _outgoing: mpsc::Sender<NodeMessage>,
    incoming: Streaming<EngineMessage>,
}

impl Home {
    /// With one machine of each cluster.
    async fn start(store: &str, authority: Authority, clusters: &[&str]) -> Self {
        let running = Running::start(store, authority, Bounds::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(running.fleet.clone().serve_nodes(listener, Arc::new(Nobody)));
        for cluster in clusters {
            running.deploy(cluster, 1).await;
        }
        Self { running, address }
    }

    /// The token that the cluster's machine was born with.
    async fn token(&self, cluster: &str) -> Vec<u8> {
        let identity = eventually("a machine", async || {
            let machines = self.running.cloud.machines();
            let of = |tags: &isobar_engine_provider::OwnerTags| tags.owner.cluster.as_str() == cluster;
            let machine = machines.into_iter().find(|machine| machine.tags().is_some_and(of))?;
            Some(serde_json::from_slice::<Identity>(&machine.identity.0).unwrap())
        })
        .await;
        hex::decode(identity.token_hex).unwrap()
    }

    /// Joins with a token, asking for a name that is not its own.
    async fn join(&self, token: Vec<u8>) -> Result<Node, Status> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![machine_dns_name("shop", "general-1", 1)]).unwrap();
        let request = JoinRequest {
            token,
            csr_der: params.serialize_request(&key).unwrap().der().to_vec(),
            agent_version: "test".into(),
            boot_ms: 1,
        };
        let reply = NodeClient::new(self.connect(None).await?)
            .join(request)
            .await?
            .into_inner();
        Ok(Node {
            key,
            certificate_der: reply.certificate_der,
        })
    }

    /// Opens a session and says hello.
    async fn session(&self, node: &Node) -> Result<Session, Status> {
        let (outgoing, stream) = mpsc::channel(8);
        let hello = NodeMessage {
            kind: Some(node_message::Kind::Hello(Hello::default())),
        };
        outgoing.send(hello).await.unwrap();
        let mut client = NodeClient::new(self.connect(Some(node)).await?);
        let incoming = client.session(ReceiverStream::new(stream)).await?.into_inner();
        Ok(Session {
            _outgoing: outgoing,
            incoming,
        })
    }

    /// Any failure of the connection is an answer too.
    async fn connect(&self, node: Option<&Node>) -> Result<Channel, Status> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(pem(&self.running.ca_der)))
            .domain_name(ENGINE_DNS_NAME);
        if let Some(node) = node {
            tls = tls.identity(TlsIdentity::from_pem(
                pem(&node.certificate_der),
                node.key.serialize_pem(),
            ));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        let connecting = endpoint.tls_config(tls).unwrap().timeout(PATIENCE).connect().await;
        connecting.map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn is_ready(&self, cluster: &str) -> bool {
        let request = QueryRequest {
            what: QueryWhat::Machines,
            cluster: ClusterName::new(cluster).unwrap(),
            after: None,
            limit: None,
        };
        let machines = self
            .running
            .engine(cluster)
            .await
            .query(request)
            .await
            .unwrap()
            .machines
            .unwrap();
        machines
            .iter()
            .any(|machine| matches!(machine.phase, MachinePhase::Ready { .. }))
    }

    async fn until_ready(&self, cluster: &str) {
        eventually("ready", async || self.is_ready(cluster).await.then_some(())).await;
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn names(certificate_der: &[u8]) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names.value.general_names.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_speaks_for_its_own_machine_only() {
    let home = Home::start("one", authority("one"), &["shop", "till"]).await;
    // Both clusters' machines have the same name; the request asks for the other's.
    let node = home.join(home.token("till").await).await.unwrap();
    assert_eq!(
        names(&node.certificate_der),
        [format!("DNSName({})", machine_dns_name("till", "general-1", 1))]
    );
    let mut session = home.session(&node).await.unwrap();
    assert!(session.incoming.message().await.unwrap().is_some(), "what it is to run");
    home.until_ready("till").await;
    assert!(!home.is_ready("shop").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_engine_is_refused() {
    let ours = Home::start("ours", authority("ours"), &["shop"]).await;
    let theirs = Home::start("theirs", authority("theirs"), &["shop"]).await;
    // A machine of the same name, of a cluster of the same name.
    let token = theirs.token("shop").await;
    let refused = ours.join(token.clone()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let stranger = theirs.join(token).await.unwrap();
    assert!(ours.session(&stranger).await.is_err());
    assert!(!ours.is_ready("shop").await);
    // It is no broken node: its own engine takes it.
    let _session = theirs.session(&stranger).await.unwrap();
    theirs.until_ready("shop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_same_authority_for_what_the_store_does_not_have_is_refused() {
    let authority = authority("copied");
    let sealed = authority.seal(&[7; 32], &isobar_providers_sim::SeededEntropy::new(1));
    let copy = Authority::open(&[7; 32], &sealed).unwrap();
    let ours = Home::start("ours", authority, &["shop"]).await;
    let copied = Home::start("copied", copy, &["till"]).await;
    let stranger = copied.join(copied.token("till").await).await.unwrap();
    let refused = ours.session(&stranger).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}
