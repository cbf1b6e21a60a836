//! An engine on a store in memory and a simulated cloud, served on a free port of loopback.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use isobar_engine_control::authority::Authority;
use isobar_engine_control::{Births, Boundaries, Bounds, Config, Fleet, Pacing};
use isobar_engine_model::id::{MemberId, ProviderId};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::{Spec, text};
use isobar_engine_provider::Clock;
use isobar_engine_store::Member;
use isobar_engine_store::memory::MemoryStore;
use isobar_mcp::Server;
use isobar_mcp::client::Client;
use isobar_mcp::copy::StoreCopies;
use isobar_mcp::folder::DataFolder;
use isobar_mcp::http::{self, Beside, Door};
use isobar_mcp::terraform;
use isobar_providers_sim::{SeededEntropy, SimCloud, SimConfig, SimProvider, TokioClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SPEC: &str = "
cluster: shop
sites:
  north: { provider: sim, region: north }
pools:
  general: { machines: { min: 2, max: 2 } }
workloads:
  web:
    kind: { service: { replicas: 2 } }
    image: registry.example/shop/web:1
    resources: { cpu: 100m, memory: 32MiB }
";

/// Copies of a store that is this file.
struct Copies(PathBuf);

#[async_trait::async_trait]
impl StoreCopies for Copies {
    fn file(&self) -> io::Result<File> {
        tempfile::tempfile()
    }

    async fn copy(&self, mut into: File) -> Result<Value, String> {
        let copied = fs::File::open(&self.0).and_then(|mut store| io::copy(&mut store, &mut into));
        let length = copied.map_err(|error| format!("read the store: {error}"))?;
        Ok(json!({ "length": length }))
    }
}

/// See the module.
pub(crate) struct Running {
    pub(crate) folder: DataFolder,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    pub(crate) cloud: SimCloud,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    _dir: Option<tempfile::TempDir>,
}

/// Two machines, two replicas.
pub(crate) fn spec() -> Spec {
    text::read("spec", SPEC).unwrap()
}

impl Running {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut running = Self::start_in(DataFolder::new(dir.path())).await;
        running._dir = Some(dir);
        running
    }

    pub(crate) async fn start_in(folder: DataFolder) -> Self {
        let clock = TokioClock::new();
        let cloud = SimCloud::new(SimConfig::of_regions(1, &["north"]), Arc::new(clock.clone()));
        let sim = SimProvider::new(ProviderId::new("sim").unwrap(), cloud.clone());
        let config = Config {
            insecure_registries: Vec::new(),
            proven_for: BTreeSet::new(),
            key: [7; 32],
            authority: Arc::new(Authority::generate("test", Timestamp(1_800_000_000_000)).unwrap()),
            births: Births::Nodes,
            bounds: Bounds::default(),
            pacing: Pacing::Interval,
            at_crash_point: None,
        };
        let store_clock = clock.clone();
        let store = MemoryStore::new("test", Arc::new(move || store_clock.now()));
        let boundaries = Boundaries {
            store: Arc::new(store),
            providers: vec![Arc::new(sim)],
            clock: Arc::new(clock),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let me = Member {
            id: MemberId::new("test"),
            peers: "127.0.0.1:1".into(),
            nodes: vec!["127.0.0.1:1".into()],
        };
        let fleet = Fleet::start(config, boundaries, me).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::Plain(listener);
        let (url, token) = (door.url().unwrap(), folder.token_or_new().unwrap());
        folder.publish_endpoint(&url).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let beside = Beside {
            rules: terraform::Rules::default(),
            copies: Arc::new(Copies(folder.path().join("store"))),
        };
        let serving = tokio::spawn(async move { http::serve(Server::new(fleet), beside, door, &token, stopped).await });
        // As in the client: reqwest wants to know whose cryptography to use, if any crate of the build turned its TLS on.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            folder,
            url,
            http,
            cloud,
            stop,
            serving,
            _dir: None,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.folder).await.unwrap()
    }

    /// A request with the token, as a client of that revision sends it.
    pub(crate) fn post(&self, revision: &str, body: &Value) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .post(&self.url)
            .bearer_auth(self.folder.token().unwrap().as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", revision)
            .header("mcp-method", body["method"].as_str().unwrap())
            .body(body.to_string());
        if let Some(name) = body["params"]["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        request
    }

    pub(crate) async fn send(&self, revision: &str, body: &Value) -> Value {
        let answer = self.post(revision, body).send().await.unwrap();
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Calls a method without a handshake.
    pub(crate) async fn call(&self, revision: &str, method: &str, mut params: Value) -> Value {
        if revision >= "2026-07-28" {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": revision,
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        self.send(
            revision,
            &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}),
        )
        .await
    }
}
