//! A session with a scripted engine, over a pair in memory, in paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use isobar_node_image_protocol::channel::{Channel, MemoryChannel, memory_pair};
use isobar_node_image_protocol::v1::{
    self, Desired, EngineMessage, Lease, LogChunk, LogRequest, NodeMessage, PowerOff, Replica, ReplicaState, Status,
    engine_message, node_message,
};
use isobar_node_image_protocol::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{STATUS_EVERY, SessionEnd, SessionParts, UNANSWERED_RENEWALS_MAX, run};
use crate::clock::{Clock, TokioClock};
use crate::credentials::{Certificate, NodeKey};
use crate::lease::{LeaseKeeper, RENEW_UNLEASED_EVERY, Standing};
use crate::metrics::MachineUsage;
use crate::supervisor::Supervisor;
use crate::supervisor::simulated::SimulatedRuntime;

struct Engine {
    channel: MemoryChannel<EngineMessage, NodeMessage>,
    session: JoinHandle<SessionEnd>,
    runtime: Arc<SimulatedRuntime>,
    supervisor: Arc<Supervisor>,
    standing: watch::Receiver<Standing>,
    certificate: Arc<Mutex<Certificate>>,
}

impl Engine {
    fn start(certificate_ms: u64) -> Self {
        let (channel, mut node) = memory_pair();
        let clock = TokioClock::start();
        let lease = LeaseKeeper::new(clock.clone());
        let standing = lease.watch();
        let runtime = Arc::new(SimulatedRuntime::default());
        let supervisor = Arc::new(Supervisor::new(runtime.clone(), lease.watch()));
        let certificate = Arc::new(Mutex::new(Certificate::received(
            vec![1],
            certificate_ms,
            clock.boot_ms(),
        )));
        let (parts_supervisor, kept) = (supervisor.clone(), certificate.clone());
        let session = tokio::spawn(async move {
            let key = NodeKey::generate().unwrap();
            let mut certificate = kept.lock().unwrap().clone();
            let parts = SessionParts {
                supervisor: &parts_supervisor,
                lease: &lease,
                key: &key,
                certificate: &mut certificate,
                clock: &*clock,
                usage: MachineUsage::default,
            };
            let end = run(&mut node, parts).await;
            *kept.lock().unwrap() = certificate;
            end
        });
        Self {
            channel,
            session,
            runtime,
            supervisor,
            standing,
            certificate,
        }
    }

    async fn say(&mut self, kind: engine_message::Kind) {
        self.channel.send(EngineMessage { kind: Some(kind) }).await.unwrap();
    }

    async fn hear(&mut self) -> node_message::Kind {
        self.channel.recv().await.unwrap().kind.unwrap()
    }

    async fn hear_renewal(&mut self) -> u64 {
        loop {
            if let node_message::Kind::Renew(renew) = self.hear().await {
                return renew.sequence;
            }
        }
    }

    async fn hear_status(&mut self) -> Status {
        loop {
            if let node_message::Kind::Status(status) = self.hear().await {
                return status;
            }
        }
    }

    async fn hear_log(&mut self) -> LogChunk {
        loop {
            if let node_message::Kind::Log(chunk) = self.hear().await {
                return chunk;
            }
        }
    }

    async fn grant(&mut self, sequence: u64, valid_ms: u64) {
        let lease = Lease {
            sequence,
            valid_ms,
            abandon_after_ms: 86_400_000,
        };
        self.say(engine_message::Kind::Lease(lease)).await;
    }

    async fn run_web(&mut self) {
        let replica = Replica {
            id: "web-1".into(),
            image: "r/web:1".into(),
            ..Replica::default()
        };
        self.say(engine_message::Kind::Desired(Desired {
            revision: 4,
            replicas: vec![replica],
        }))
        .await;
        while self
            .hear_status()
            .await
            .replicas
            .first()
            .is_none_or(|replica| !replica.healthy)
        {}
    }
}

const HOUR_MS: u64 = 3_600_000;

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_every_third_of_it() {
    let mut engine = Engine::start(HOUR_MS);
    let first = engine.hear_renewal().await;
    engine.grant(first, 9_000).await;
    let granted = Instant::now();
    for _ in 0..3 {
        let sequence = engine.hear_renewal().await;
        engine.grant(sequence, 9_000).await;
    }
    assert_eq!(granted.elapsed().as_secs(), 9);
    assert_eq!(*engine.standing.borrow(), Standing::Leased);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_no_renewal_is_left() {
    let mut engine = Engine::start(HOUR_MS);
    let began = Instant::now();
    for _ in 0..UNANSWERED_RENEWALS_MAX {
        engine.hear_renewal().await;
    }
    assert_eq!(engine.session.await.unwrap(), SessionEnd::Silent);
    assert_eq!(began.elapsed(), RENEW_UNLEASED_EVERY * UNANSWERED_RENEWALS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_reported_at_once_and_nothing_new_every_few_seconds() {
    let mut engine = Engine::start(HOUR_MS);
    assert!(engine.hear_status().await.replicas.is_empty());
    let began = Instant::now();
    engine.run_web().await;
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    let quiet = Instant::now();
    let sequence = engine.hear_renewal().await;
    engine.grant(sequence, HOUR_MS).await;
    let status = engine.hear_status().await;
    assert_eq!(status.desired_revision, 4);
    assert_eq!(quiet.elapsed(), STATUS_EVERY);
}

#[tokio::test(start_paused = true)]
async fn replicas_outlive_the_session() {
    let mut engine = Engine::start(HOUR_MS);
    engine.run_web().await;
    let Engine {
        channel,
        session,
        runtime,
        supervisor,
        ..
    } = engine;
    drop(channel);
    assert_eq!(session.await.unwrap(), SessionEnd::Closed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(runtime.running(), ["web-1"]);
    assert_eq!(supervisor.statuses()[0].state(), ReplicaState::ReplicaRunning);
}

#[tokio::test(start_paused = true)]
async fn power_off_ends_the_session() {
    let mut engine = Engine::start(HOUR_MS);
    engine.say(engine_message::Kind::PowerOff(PowerOff {})).await;
    assert_eq!(engine.session.await.unwrap(), SessionEnd::PowerOff);
}

#[tokio::test(start_paused = true)]
async fn the_certificate_is_renewed_in_time_and_asked_for_again_when_nobody_answers() {
    let mut engine = Engine::start(HOUR_MS);
    let began = Instant::now();
    let mut asked = Vec::new();
    while asked.len() < 2 {
        match engine.hear().await {
            node_message::Kind::Renew(renew) => engine.grant(renew.sequence, 600_000).await,
            node_message::Kind::Certificate(request) => {
                assert!(!request.csr_der.is_empty());
                asked.push(began.elapsed().as_secs());
            }
            node_message::Kind::Hello(_) | node_message::Kind::Status(_) | node_message::Kind::Log(_) => {}
        }
    }
    assert_eq!(asked, [2412, 2472]);
    let given = v1::Certificate {
        certificate_der: vec![2],
        valid_ms: HOUR_MS,
    };
    engine.say(engine_message::Kind::Certificate(given)).await;
    engine.say(engine_message::Kind::PowerOff(PowerOff {})).await;
    engine.session.await.unwrap();
    assert_eq!(engine.certificate.lock().unwrap().der, [2]);
}

#[tokio::test(start_paused = true)]
async fn logs_begin_with_the_tail_and_follow_until_stopped() {
    let mut engine = Engine::start(HOUR_MS);
    engine.run_web().await;
    engine
        .runtime
        .write_lines("web-1", (0..5).map(|line| format!("line {line}")));
    let request = LogRequest {
        id: 9,
        replica: "web-1".into(),
        tail_lines: 2,
        follow: true,
        ..LogRequest::default()
    };
    engine.say(engine_message::Kind::Log(request.clone())).await;
    let texts = |chunk: LogChunk| chunk.lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
    assert_eq!(texts(engine.hear_log().await), ["line 3", "line 4"]);
    engine.runtime.write_lines("web-1", ["line 5".to_owned()]);
    assert_eq!(texts(engine.hear_log().await), ["line 5"]);
    engine
        .say(engine_message::Kind::Log(LogRequest { stop: true, ..request }))
        .await;
    engine.runtime.write_lines("web-1", ["line 6".to_owned()]);
    assert!(timeout(Duration::from_secs(4), engine.hear_log()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn logs_without_following_end_with_the_last_line() {
    let mut engine = Engine::start(HOUR_MS);
    engine.run_web().await;
    engine
        .runtime
        .write_lines("web-1", (0..600).map(|line| line.to_string()));
    let request = LogRequest {
        id: 9,
        replica: "web-1".into(),
        tail_lines: 1_000,
        ..LogRequest::default()
    };
    engine.say(engine_message::Kind::Log(request)).await;
    let mut sizes = Vec::new();
    loop {
        let chunk = engine.hear_log().await;
        sizes.push(chunk.lines.len());
        if chunk.end {
            assert_eq!(chunk.error, "");
            break;
        }
    }
    assert_eq!(sizes, [256, 256, 88, 0]);
}

#[tokio::test(start_paused = true)]
async fn logs_from_a_line_on_go_on_where_the_last_request_ended() {
    let mut engine = Engine::start(HOUR_MS);
    engine.run_web().await;
    let mut wanted = LogRequest {
        id: 9,
        replica: "web-1".into(),
        tail_lines: 3,
        ..LogRequest::default()
    };
    let mut heard = Vec::new();
    // All are written in the same millisecond, more than one request gives.
    for written in [0..2_u32, 2..9, 9..9] {
        engine
            .runtime
            .write_lines("web-1", written.map(|line| line.to_string()));
        for _ in 0..3 {
            engine.say(engine_message::Kind::Log(wanted.clone())).await;
            loop {
                let chunk = engine.hear_log().await;
                heard.extend(chunk.lines.into_iter().map(|line| line.text));
                if chunk.end {
                    wanted.from = Some(chunk.next);
                    break;
                }
            }
        }
    }
    assert_eq!(heard, (0..9).map(|line| line.to_string()).collect::<Vec<_>>());
    assert_eq!(wanted.from, Some(9));
}

#[tokio::test(start_paused = true)]
async fn logs_of_an_unknown_replica_end_with_the_reason() {
    let mut engine = Engine::start(HOUR_MS);
    let request = LogRequest {
        id: 9,
        replica: "web-7".into(),
        follow: true,
        ..LogRequest::default()
    };
    engine.say(engine_message::Kind::Log(request)).await;
    let chunk = engine.hear_log().await;
    assert!(chunk.end);
    assert_eq!(chunk.error, "no replica web-7 on this node");
}

#[tokio::test(start_paused = true)]
async fn following_ends_when_the_replica_has_ended_and_all_was_sent() {
    let mut engine = Engine::start(HOUR_MS);
    engine.run_web().await;
    engine.runtime.write_lines("web-1", ["last".to_owned()]);
    let request = LogRequest {
        id: 9,
        replica: "web-1".into(),
        tail_lines: 1,
        follow: true,
        ..LogRequest::default()
    };
    engine.say(engine_message::Kind::Log(request)).await;
    let stopping = Replica {
        id: "web-1".into(),
        stopping: true,
        ..Replica::default()
    };
    engine
        .say(engine_message::Kind::Desired(Desired {
            revision: 5,
            replicas: vec![stopping],
        }))
        .await;
    let mut lines = 0;
    loop {
        let chunk = engine.hear_log().await;
        lines += chunk.lines.len();
        if chunk.end {
            break;
        }
    }
    assert_eq!(lines, 1);
}
