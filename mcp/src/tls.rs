//! TLS for MCP beyond loopback: a listener whose connections have shown that they speak TLS, each in its own time.
//!
//! Who calls shows a token, no certificate. Knows nothing of MCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use isobar_engine_control::authority::ServerIdentity;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A caller has so long to greet.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// So many callers greet at a time; others wait to be accepted.
const HANDSHAKES_MAX: usize = 64;
/// After a connection that could not be accepted, as when there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A certificate or key that cannot be served with.
#[derive(Debug, thiserror::Error)]
#[error("serve MCP over TLS")]
pub struct TlsError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Hands out connections that have greeted; one that is slow holds up no other.
pub struct TlsListener {
    address: SocketAddr,
    greeted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    _accepting: DropGuard,
}

impl TlsListener {
    /// Accepts from a listener until the value is dropped.
    pub fn start(listener: TcpListener, identity: &ServerIdentity) -> Result<Self, TlsError> {
        let acceptor = acceptor(identity).map_err(TlsError)?;
        let address = listener.local_addr().map_err(|error| TlsError(error.into()))?;
        let (hand_out, greeted) = mpsc::channel(HANDSHAKES_MAX);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = accept(&listener, &acceptor, &hand_out) => {}
            }
        });
        Ok(Self {
            address,
            greeted,
            _accepting: stop.drop_guard(),
        })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.greeted.recv().await {
            Some(connection) => connection,
            // Nobody accepts any more, which ends with this value only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    hand_out: &mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, hand_out) = (acceptor.clone(), hand_out.clone());
        tokio::spawn(async move {
            let greeting = tokio::time::timeout(HANDSHAKE_MAX, greet(&acceptor, stream)).await;
            match greeting {
                Ok(Ok(stream)) => drop(hand_out.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
                Err(_) => tracing::debug!(%address, "too slow to greet"),
            }
            drop(place);
        });
    }
}

async fn greet(acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    // Without TCP_NODELAY each answer waits up to 40 ms for the client's delayed ACK.
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

fn acceptor(identity: &ServerIdentity) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
