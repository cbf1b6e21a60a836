//! MCP over streamable HTTP, behind a bearer token, and beside it [`terraform`]'s state backend and [`copy`]'s backups: plain on loopback, over TLS
//! elsewhere.
//!
//! Whatever the path or method, a request without the token gets 401 and nothing else. A foreign `Host` (DNS rebinding)
//! or `Origin` (a web page) gets 403; over TLS a host is foreign that the certificate does not name. Stateless: an engine that restarts has lost no session.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::{Listener, ListenerExt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::claim::door::Proof;
use crate::copy::{self, StoreCopies};
use crate::folder::Token;
use crate::server::Server;
use crate::terraform;
use crate::tls::TlsListener;

/// Where MCP is served on the listener.
pub const PATH: &str = "/mcp";
/// A request's body is at most so long. Room for a spec with a thousand workloads.
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Once told to stop, requests under way have so long to end.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// Origins that a page served by this machine may have.
const LOOPBACK_ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// Where MCP is served.
pub enum Door {
    /// Over plain HTTP, on loopback.
    Plain(TcpListener),
    /// Over TLS.
    Tls(TlsDoor),
}

/// A door beyond loopback.
pub struct TlsDoor {
    /// Where callers come from.
    pub listener: TlsListener,
    /// Under which hosts they may know it: names and addresses.
    pub hosts: Vec<String>,
    /// What an engine shows to whoever bought its machine, and to everybody else: no token is asked for it.
    pub open: Option<Proof>,
}

impl Door {
    /// Its URL for callers on this computer.
    pub fn url(&self) -> io::Result<String> {
        Ok(match self {
            Self::Plain(listener) => format!("http://{}{PATH}", listener.local_addr()?),
            Self::Tls(door) => {
                let mut address = door.listener.local_addr()?;
                if address.ip().is_unspecified() {
                    address.set_ip(Ipv4Addr::LOCALHOST.into());
                }
                format!("https://{address}{PATH}")
            }
        })
    }
}

/// What is served beside MCP.
pub struct Beside {
    /// How states are kept.
    pub rules: terraform::Rules,
    /// Who makes copies of the store.
    pub copies: Arc<dyn StoreCopies>,
}

/// Serves until `stop` is cancelled, then lets requests under way end within [`STOP_GRACE`].
pub async fn serve(
    server: Server,
    beside: Beside,
    door: Door,
    token: &Token,
    stop: CancellationToken,
) -> io::Result<()> {
    // Cuts off what is under way: only once the grace is over, or a caller would hear of an error that there was not.
    let cut = CancellationToken::new();
    let _at_the_end = cut.clone().drop_guard();
    match door {
        Door::Plain(listener) => {
            // Without TCP_NODELAY each answer waits up to 40 ms for the client's delayed ACK.
            let listener = listener.tap_io(|stream| {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY refused");
                }
            });
            until(listener, router(server, beside, (token, &[]), cut), stop).await
        }
        Door::Tls(TlsDoor { listener, hosts, open }) => {
            let router = router(server, beside, (token, &hosts), cut);
            let router = match open {
                Some(proof) => proof.beside(router),
                None => router,
            };
            until(listener, router, stop).await
        }
    }
}

async fn until<L>(listener: L, router: Router, stop: CancellationToken) -> io::Result<()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let stopped = stop.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stopped.cancelled().await });
    tokio::select! {
        biased;
        result = serving => result,
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_GRACE).await } => Ok(()),
    }
}

fn router(server: Server, beside: Beside, (token, hosts): (&Token, &[String]), cut: CancellationToken) -> Router {
    let states = terraform::router(server.fleet(), beside.rules);
    let loopback = StreamableHttpServerConfig::default();
    let hosts: Vec<String> = loopback.allowed_hosts.iter().chain(hosts).cloned().collect();
    let config = loopback
        .with_allowed_hosts(hosts)
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_origins(LOOPBACK_ORIGINS)
        .enforce_origin_validation()
        .with_max_request_body_bytes(BODY_MAX_BYTES)
        .with_cancellation_token(cut);
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    Router::new()
        .nest_service(PATH, service)
        .merge(states)
        .merge(copy::router(beside.copies))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(middleware::from_fn_with_state(Arc::new(Gate::new(token)), admit))
}

/// Compares tokens in constant time: by the MAC of each under a key of this process.
struct Gate {
    key: hmac::Key,
    expected: hmac::Tag,
}

impl Gate {
    fn new(token: &Token) -> Self {
        let key =
            hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("the kernel always gives random bytes");
        let expected = hmac::sign(&key, token.as_str().as_bytes());
        Self { key, expected }
    }

    fn opens_for(&self, authorization: Option<&HeaderValue>, wanted: Wanted) -> bool {
        let Some((scheme, token)) = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        let shown = token.trim_start();
        match wanted {
            Wanted::Bearer => scheme.eq_ignore_ascii_case("bearer") && self.is_token(shown.as_bytes()),
            Wanted::BearerOrPassword if scheme.eq_ignore_ascii_case("basic") => {
                password(shown).is_some_and(|password| self.is_token(&password))
            }
            Wanted::BearerOrPassword => scheme.eq_ignore_ascii_case("bearer") && self.is_token(shown.as_bytes()),
        }
    }

    fn is_token(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.key, shown, self.expected.as_ref()).is_ok()
    }
}

/// How a request may show the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// As the token of a bearer.
    Bearer,
    /// Or as the password of anybody: Terraform's backend knows no other way.
    BearerOrPassword,
}

impl Wanted {
    fn at(path: &str) -> Self {
        let below = path.strip_prefix(terraform::PATH);
        match below.is_some_and(|below| below.starts_with('/')) {
            true => Self::BearerOrPassword,
            false => Self::Bearer,
        }
    }
}

/// The password of `Basic` credentials, whatever the user's name.
fn password(credentials: &str) -> Option<Vec<u8>> {
    let decoded = STANDARD.decode(credentials).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let wanted = Wanted::at(request.uri().path());
    if gate.opens_for(authorization, wanted) {
        return next.run(request).await;
    }
    let challenge = match (wanted, authorization) {
        (Wanted::BearerOrPassword, _) => r#"Basic realm="isobar""#,
        (Wanted::Bearer, None) => r#"Bearer realm="isobar""#,
        (Wanted::Bearer, Some(_)) => r#"Bearer realm="isobar", error="invalid_token""#,
    };
    let words = "a token is needed: the file `token` in the engine's data folder holds it\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], words).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_opens() {
        let token = Token::random();
        let gate = Gate::new(&token);
        let opens = |header: Option<&HeaderValue>| gate.opens_for(header, Wanted::at("/mcp"));
        let header = |text: String| HeaderValue::from_str(&text).unwrap();
        assert!(opens(Some(&header(format!("Bearer {}", token.as_str())))));
        assert!(opens(Some(&header(format!("bearer {}", token.as_str())))));
        for wrong in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            token.as_str().to_owned(),
            format!("Basic {}", token.as_str()),
            format!("Bearer {}0", token.as_str()),
            format!("Bearer {}", &token.as_str()[1..]),
            format!("Bearer {}", Token::random().as_str()),
        ] {
            assert!(!opens(Some(&header(wrong.clone()))), "{wrong}");
        }
        assert!(!opens(None));
    }

    #[test]
    fn a_state_opens_for_the_token_as_a_password_too() {
        let token = Token::random();
        let gate = Gate::new(&token);
        let opens = |path: &str, text: String| {
            let header = HeaderValue::from_str(&text).unwrap();
            gate.opens_for(Some(&header), Wanted::at(path))
        };
        let basic = |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        assert!(opens("/terraform/shop", basic("isobar", token.as_str())));
        assert!(opens("/terraform/shop", basic("", token.as_str())));
        assert!(opens("/terraform/shop", format!("Bearer {}", token.as_str())));
        assert!(!opens("/terraform/shop", basic(token.as_str(), "")));
        assert!(!opens("/terraform/shop", basic("isobar", Token::random().as_str())));
        assert!(!opens("/terraform/shop", "Basic %".to_owned()));
        for elsewhere in ["/mcp", "/terraform", "/terraformer/x", "/"] {
            assert!(!opens(elsewhere, basic("isobar", token.as_str())), "{elsewhere}");
        }
    }
}
