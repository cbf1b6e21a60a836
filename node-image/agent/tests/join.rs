//! The node's real client code joins a small engine over real TLS.
#![expect(clippy::unwrap_used, reason = "what a test cannot get has failed it")]

mod engine;

use std::future::pending;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use isobar_node_image_agent::clock::BootClock;
use isobar_node_image_agent::credentials::NodeKey;
use isobar_node_image_agent::dial::DialError;
use isobar_node_image_agent::identity::Home;
use isobar_node_image_agent::metrics::MachineUsage;
use isobar_node_image_agent::node::{Ended, Node, REFUSED_JOINS_MAX};
use isobar_node_image_agent::runtime::{ContainerSpec, Exit, OutputLine, PulledImage, Runtime, RuntimeError, Usage};
use isobar_node_image_protocol::v1::{EngineMessage, PowerOff, engine_message, node_message};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use engine::{NOBODY, Session, Terms, TestEngine};

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Joining needs no containers.
struct NoContainers;

#[async_trait]
impl Runtime for NoContainers {
    async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError> {
        Err(RuntimeError::NoSuchImage(image.into()))
    }
    async fn start(&self, _: &ContainerSpec, _: &PulledImage) -> Result<Ipv4Addr, RuntimeError> {
        Err(RuntimeError::NotFound)
    }
    async fn wait(&self, _: &str) -> Result<Exit, RuntimeError> {
        Err(RuntimeError::NotFound)
    }
    async fn signal(&self, _: &str, _: i32) -> Result<(), RuntimeError> {
        Err(RuntimeError::NotFound)
    }
    async fn exec(&self, _: &str, _: &[String], _: Duration) -> Result<i32, RuntimeError> {
        Err(RuntimeError::NotFound)
    }
    async fn usage(&self, _: &str) -> Result<Usage, RuntimeError> {
        Err(RuntimeError::NotFound)
    }
    async fn output(&self, _: &str, _: Option<u64>, _: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError> {
        Err(RuntimeError::NotFound)
    }
    async fn remove(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn forget(&self, _: &str) {}
}

fn live(home: Home) -> (JoinHandle<Ended>, Arc<AtomicBool>) {
    live_as(home, NodeKey::generate().unwrap(), Box::pin(pending()))
}

fn live_as(
    home: Home,
    key: NodeKey,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> (JoinHandle<Ended>, Arc<AtomicBool>) {
    let joined = Arc::new(AtomicBool::new(false));
    let tell = joined.clone();
    let node = Node {
        dial: Arc::new(home.clone()),
        home,
        key,
        runtime: Arc::new(NoContainers),
        clock: Arc::new(BootClock),
        stopped,
        on_joined: Box::new(move || tell.store(true, Ordering::SeqCst)),
        usage: MachineUsage::default,
        random: Box::new(|| 0),
    };
    (tokio::spawn(node.live()), joined)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it happens in time")
}

async fn next_kind(session: &mut Session) -> node_message::Kind {
    within(session.messages.recv()).await.unwrap().kind.unwrap()
}

async fn power_off(session: &Session) {
    let message = EngineMessage {
        kind: Some(engine_message::Kind::PowerOff(PowerOff {})),
    };
    session.reply.send(Ok(message)).await.unwrap();
}

#[tokio::test]
async fn a_node_joins_holds_a_session_and_ends_when_it_is_released() {
    let mut engine = TestEngine::start(Terms::default()).await;
    let (node, joined) = live(engine.home.clone());
    let mut session = within(engine.sessions.recv()).await.unwrap();
    assert!(matches!(next_kind(&mut session).await, node_message::Kind::Hello(hello) if hello.joined_boot_ms > 0));
    assert!(matches!(next_kind(&mut session).await, node_message::Kind::Renew(_)));
    assert!(joined.load(Ordering::SeqCst));
    power_off(&session).await;
    assert!(matches!(within(node).await.unwrap(), Ended::Released));
    assert_eq!(engine.joins.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_daemon_that_its_host_stops_comes_back_with_the_key_that_it_kept() {
    let mut engine = TestEngine::start(Terms::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let key = || NodeKey::kept_in(&folder.path().join("node.key")).unwrap();
    for _ in 0..2 {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = Box::pin(async { stopped.await.unwrap() });
        let (node, _) = live_as(engine.home.clone(), key(), stopped);
        let _session = within(engine.sessions.recv()).await.unwrap();
        stop.send(()).unwrap();
        assert!(matches!(within(node).await.unwrap(), Ended::Stopped));
    }
    // Another key would not have been let in.
    assert_eq!(engine.joins.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_broken_session_is_opened_again_without_joining_again() {
    let mut engine = TestEngine::start(Terms::default()).await;
    let (node, _) = live(engine.home.clone());
    for _ in 0..3 {
        let session = within(engine.sessions.recv()).await.unwrap();
        drop(session.messages);
        let broken = tonic::Status::unavailable("restarting");
        session.reply.send(Err(broken)).await.unwrap();
    }
    let session = within(engine.sessions.recv()).await.unwrap();
    power_off(&session).await;
    assert!(matches!(within(node).await.unwrap(), Ended::Released));
    assert_eq!(engine.joins.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_follows_its_cluster_from_engine_to_engine() {
    let mut first = TestEngine::start(Terms::default()).await;
    let mut second = first.start_beside(Terms::default()).await;
    first.point_to(&second);
    let (node, _) = live(first.home.clone());
    let session = within(second.sessions.recv()).await.unwrap();
    assert!(first.joins.lock().unwrap().is_empty());
    assert_eq!(second.joins.lock().unwrap().len(), 1);

    *first.elsewhere.lock().unwrap() = None;
    second.point_to(&first);
    drop(session.messages);
    let moved = tonic::Status::unavailable("the shard went elsewhere");
    session.reply.send(Err(moved)).await.unwrap();
    let session = within(first.sessions.recv()).await.unwrap();
    power_off(&session).await;
    assert!(matches!(within(node).await.unwrap(), Ended::Released));
    assert!(
        first.joins.lock().unwrap().is_empty(),
        "the certificate serves with every engine"
    );
}

#[tokio::test]
async fn an_engine_that_is_away_gives_its_turn_to_the_next() {
    let mut engine = TestEngine::start(Terms::default()).await;
    let mut home = engine.home.clone();
    home.engines.insert(0, NOBODY.into());
    let (node, _) = live(home);
    let session = within(engine.sessions.recv()).await.unwrap();
    power_off(&session).await;
    assert!(matches!(within(node).await.unwrap(), Ended::Released));
}

#[tokio::test]
async fn a_refused_token_ends_the_node_after_so_many_tries() {
    let engine = TestEngine::start(Terms::default()).await;
    let (node, joined) = live(Home {
        token: vec![0; 32],
        ..engine.home.clone()
    });
    let ended = within(node).await.unwrap();
    assert!(matches!(&ended, Ended::Refused(DialError::Refused(status)) if status.message() == "unknown token"));
    assert_eq!(
        engine.joins.lock().unwrap().len(),
        usize::try_from(REFUSED_JOINS_MAX).unwrap()
    );
    assert!(!joined.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_token_that_another_key_used_is_refused() {
    let mut engine = TestEngine::start(Terms::default()).await;
    let (first, _) = live(engine.home.clone());
    let session = within(engine.sessions.recv()).await.unwrap();
    let (second, _) = live(engine.home.clone());
    assert!(matches!(within(second).await.unwrap(), Ended::Refused(_)));
    power_off(&session).await;
    within(first).await.unwrap();
}

#[tokio::test]
async fn an_engine_of_another_cluster_never_sees_the_token() {
    let engine = TestEngine::start(Terms::default()).await;
    let other_ca = engine::new_ca().der().to_vec();
    let (node, joined) = live(Home {
        ca_der: other_ca,
        ..engine.home.clone()
    });
    // Long enough for several tries: it never gives up on an engine that may yet come.
    assert!(timeout(Duration::from_secs(2), node).await.is_err());
    assert!(!joined.load(Ordering::SeqCst));
    assert!(engine.joins.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_the_node() {
    let terms = Terms {
        lease_ms: 200,
        abandon_after_ms: 300,
        ..Terms::default()
    };
    let mut engine = TestEngine::start(terms).await;
    let (node, _) = live(engine.home.clone());
    let mut session = within(engine.sessions.recv()).await.unwrap();
    // The second renewal follows a lease that was granted.
    for _ in 0..2 {
        while !matches!(next_kind(&mut session).await, node_message::Kind::Renew(_)) {}
    }
    engine.fall_silent();
    drop(session);
    assert!(matches!(within(node).await.unwrap(), Ended::Abandoned));
}

#[tokio::test]
async fn a_certificate_is_renewed_within_its_session() {
    let terms = Terms {
        certificate_ms: 1_500,
        ..Terms::default()
    };
    let mut engine = TestEngine::start(terms).await;
    let (node, _) = live(engine.home.clone());
    let mut session = within(engine.sessions.recv()).await.unwrap();
    let mut asked = 0;
    while asked < 2 {
        asked += u32::from(matches!(
            next_kind(&mut session).await,
            node_message::Kind::Certificate(_)
        ));
    }
    power_off(&session).await;
    within(node).await.unwrap();
    assert_eq!(engine.joins.lock().unwrap().len(), 1);
}
