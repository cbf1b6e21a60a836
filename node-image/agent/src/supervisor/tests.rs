//! The supervisor over a simulated runtime, in paused time.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use isobar_node_image_protocol::v1::{Desired, ExecProbe, HealthCheck, Replica, ReplicaState, Restart, health_check};
use isobar_node_image_protocol::watch;
use tokio::time::{Instant, sleep};

use super::Supervisor;
use super::simulated::{Run, SimulatedRuntime};
use crate::lease::Standing;
use crate::runtime::{Exit, RuntimeError};

struct Bench {
    runtime: Arc<SimulatedRuntime>,
    supervisor: Supervisor,
    standing: watch::Sender<Standing>,
    revision: u64,
}

impl Bench {
    fn new() -> Self {
        let runtime = Arc::new(SimulatedRuntime::default());
        let standing = watch::Sender::new(Standing::Leased);
        let supervisor = Supervisor::new(runtime.clone(), standing.subscribe());
        Self {
            runtime,
            supervisor,
            standing,
            revision: 0,
        }
    }

    fn desire(&mut self, replicas: impl IntoIterator<Item = Replica>) {
        self.revision += 1;
        self.supervisor.apply(Desired {
            revision: self.revision,
            replicas: replicas.into_iter().collect(),
        });
    }

    /// Waits until one replica is in this state.
    async fn until(&self, id: &str, state: ReplicaState) {
        let mut changes = self.supervisor.changes();
        while self
            .supervisor
            .board
            .get(id)
            .is_none_or(|status| status.state() != state)
        {
            changes.changed().await.unwrap();
        }
    }

    fn said(&self) -> String {
        let lines = self.supervisor.statuses().into_iter().map(|status| {
            let healthy = if status.healthy { "healthy" } else { "-" };
            let (id, state) = (&status.id, status.state().as_str_name());
            format!(
                "{id} {state} {healthy} restarts={} exit={} `{}`\n",
                status.restarts, status.exit_code, status.detail
            )
        });
        lines.collect()
    }

    fn check_said(&self, expected: Expect) {
        expected.assert_eq(&self.said());
    }

    fn check_asked(&self, expected: Expect) {
        expected.assert_eq(&(self.runtime.asked().join("\n") + "\n"));
    }
}

fn replica(id: &str) -> Replica {
    Replica {
        id: id.into(),
        image: "r/web:1".into(),
        memory_mib: 64,
        stop_grace_seconds: 10,
        ..Replica::default()
    }
}

fn crash() -> Run {
    Run::Ends(Duration::from_secs(1), Exit::Code(3))
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_a_check_is_healthy_while_it_runs() {
    let mut bench = Bench::new();
    bench.desire([replica("web-1")]);
    bench.until("web-1", ReplicaState::ReplicaRunning).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_RUNNING healthy restarts=0 exit=0 ``
    "#]]);
    assert_eq!(bench.supervisor.revision(), 1);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.supervisor.statuses()[0].memory_bytes, 4096);
}

#[tokio::test(start_paused = true)]
async fn a_crashing_service_is_started_again_with_growing_pauses() {
    let mut bench = Bench::new();
    bench.runtime.script("web-1", [crash(), crash(), crash()]);
    bench.desire([replica("web-1")]);
    bench.until("web-1", ReplicaState::ReplicaBackOff).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_BACK_OFF - restarts=0 exit=3 `exit code 3`
    "#]]);
    sleep(Duration::from_secs(10)).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_RUNNING healthy restarts=3 exit=3 ``
    "#]]);
    bench.check_asked(expect![[r#"
        0: pull r/web:1
        1: start web-1
        1001: remove web-1
        1101: pull r/web:1
        1102: start web-1
        2102: remove web-1
        2302: pull r/web:1
        2303: start web-1
        3303: remove web-1
        3703: pull r/web:1
        3704: start web-1
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn pauses_have_a_bound_and_a_good_minute_makes_them_short_again() {
    let mut bench = Bench::new();
    bench.runtime.script(
        "web-1",
        std::iter::repeat_n(Run::Ends(Duration::ZERO, Exit::Code(1)), 20),
    );
    bench
        .runtime
        .script("web-1", [Run::Ends(Duration::from_secs(61), Exit::Code(1))]);
    bench.desire([replica("web-1")]);
    sleep(Duration::from_secs(600)).await;
    let asked = bench.runtime.asked();
    let starts = asked
        .iter()
        .filter_map(|line| line.strip_suffix(": start web-1")?.parse().ok());
    let starts: Vec<u64> = starts.collect();
    let pauses: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 21);
    assert!(pauses[..20].iter().all(|ms| *ms <= 30_010), "{pauses:?}");
    assert!(pauses[19] >= 30_000, "{pauses:?}");
    // The last try ran for 61 s.
    assert!((61_100..61_200).contains(&pauses[20]), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_tried_as_often_as_it_may_be() {
    let mut bench = Bench::new();
    let job = || Replica {
        restart: Restart::OnFailure.into(),
        attempts: 2,
        ..replica("job-1")
    };
    bench
        .runtime
        .script("job-1", [crash(), Run::Ends(Duration::from_secs(1), Exit::Code(0))]);
    bench.desire([job()]);
    bench.until("job-1", ReplicaState::ReplicaSucceeded).await;
    bench.check_said(expect![[r#"
        job-1 REPLICA_SUCCEEDED - restarts=1 exit=0 ``
    "#]]);

    bench.runtime.script("job-2", [crash(), crash(), crash()]);
    bench.desire([
        job(),
        Replica {
            id: "job-2".into(),
            ..job()
        },
    ]);
    bench.until("job-2", ReplicaState::ReplicaFailed).await;
    sleep(Duration::from_secs(100)).await;
    bench.check_said(expect![[r#"
        job-1 REPLICA_SUCCEEDED - restarts=1 exit=0 ``
        job-2 REPLICA_FAILED - restarts=1 exit=3 `exit code 3`
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_over_its_memory_limit_is_reported_as_such() {
    let mut bench = Bench::new();
    bench
        .runtime
        .script("web-1", [Run::Ends(Duration::from_secs(1), Exit::OutOfMemory)]);
    bench.desire([replica("web-1")]);
    bench.until("web-1", ReplicaState::ReplicaBackOff).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_BACK_OFF - restarts=0 exit=137 `out of memory (limit 64MiB)`
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_asked_until_it_is_back_and_no_try_is_counted() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench
            .runtime
            .fail_pull(RuntimeError::RegistryAway("10.0.2.2:5000: connection refused".into()));
    }
    bench.desire([Replica {
        restart: Restart::OnFailure.into(),
        attempts: 1,
        ..replica("job-1")
    }]);
    sleep(Duration::from_millis(400)).await;
    bench.check_said(expect![[r#"
        job-1 REPLICA_BACK_OFF - restarts=0 exit=0 `registry does not answer: 10.0.2.2:5000: connection refused`
    "#]]);
    bench.until("job-1", ReplicaState::ReplicaRunning).await;
    bench.check_said(expect![[r#"
        job-1 REPLICA_RUNNING healthy restarts=0 exit=0 ``
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_does_not_exist_fails_at_once() {
    let mut bench = Bench::new();
    bench.runtime.fail_pull(RuntimeError::NoSuchImage("r/web:1".into()));
    bench.desire([replica("web-1")]);
    bench.until("web-1", ReplicaState::ReplicaFailed).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_FAILED - restarts=0 exit=0 `no such image: r/web:1`
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_is_said_and_tried_again() {
    let mut bench = Bench::new();
    bench.runtime.script(
        "web-1",
        [Run::Refused(RuntimeError::CannotStart("port 30000 is in use".into()))],
    );
    bench.desire([replica("web-1")]);
    bench.until("web-1", ReplicaState::ReplicaBackOff).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_BACK_OFF - restarts=0 exit=0 `cannot start: port 30000 is in use`
    "#]]);
    bench.until("web-1", ReplicaState::ReplicaRunning).await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_check_makes_it_unhealthy_and_restarts_it() {
    let mut bench = Bench::new();
    let probe = health_check::Probe::Exec(ExecProbe {
        command: vec!["true".into()],
    });
    let health = HealthCheck {
        probe: Some(probe),
        interval_seconds: 5,
        timeout_seconds: 5,
        failures: 2,
    };
    bench.runtime.script_execs([1, 0, 1, 0, 1, 1]);
    bench.desire([Replica {
        health: Some(health),
        ..replica("web-1")
    }]);
    bench.until("web-1", ReplicaState::ReplicaRunning).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_RUNNING - restarts=0 exit=0 ``
    "#]]);
    bench.until("web-1", ReplicaState::ReplicaBackOff).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_BACK_OFF - restarts=0 exit=0 `health check failed: exit code 1`
    "#]]);
    bench.check_asked(expect![[r#"
        0: pull r/web:1
        1: start web-1
        21001: signal web-1 15
        21001: remove web-1
    "#]]);
    sleep(Duration::from_secs(2)).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_RUNNING healthy restarts=1 exit=0 ``
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_replica_has_its_grace_and_stays_reported_until_it_leaves() {
    let mut bench = Bench::new();
    bench.runtime.script("web-1", [Run::Serves(Duration::from_secs(4))]);
    bench.runtime.script("web-2", [Run::Stubborn]);
    bench.desire([replica("web-1"), replica("web-2")]);
    sleep(Duration::from_secs(1)).await;
    bench.runtime.asked();
    let stopping = |id| Replica {
        stopping: true,
        ..replica(id)
    };
    bench.desire([stopping("web-1"), stopping("web-2")]);
    bench.until("web-2", ReplicaState::ReplicaStopped).await;
    bench.check_asked(expect![[r#"
        1000: signal web-1 15
        1000: signal web-2 15
        5000: remove web-1
        11000: signal web-2 9
        11000: remove web-2
    "#]]);
    bench.check_said(expect![[r#"
        web-1 REPLICA_STOPPED - restarts=0 exit=0 ``
        web-2 REPLICA_STOPPED - restarts=0 exit=0 ``
    "#]]);
    bench.desire([]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.said(), "");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_no_longer_desired_is_stopped_and_forgotten() {
    let mut bench = Bench::new();
    bench.desire([replica("web-1"), replica("web-2")]);
    sleep(Duration::from_secs(1)).await;
    bench.desire([replica("web-2")]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.runtime.running(), ["web-2"]);
    bench.check_said(expect![[r#"
        web-2 REPLICA_RUNNING healthy restarts=0 exit=0 ``
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn an_older_desire_and_the_same_one_change_nothing() {
    let mut bench = Bench::new();
    bench.desire([replica("web-1")]);
    bench.desire([replica("web-1"), replica("web-2")]);
    sleep(Duration::from_secs(1)).await;
    bench.runtime.asked();
    bench.supervisor.apply(Desired {
        revision: 1,
        replicas: Vec::new(),
    });
    bench.supervisor.apply(Desired {
        revision: 2,
        replicas: vec![replica("web-1"), replica("web-2")],
    });
    sleep(Duration::from_secs(1)).await;
    assert!(bench.runtime.asked().is_empty());
    assert_eq!(bench.runtime.running(), ["web-1", "web-2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_fenced_is_killed_when_the_lease_runs_out_and_never_starts_again() {
    let mut bench = Bench::new();
    bench.runtime.script("one-1", [Run::Stubborn]);
    bench.desire([
        Replica {
            fenced: true,
            ..replica("one-1")
        },
        replica("web-1"),
    ]);
    sleep(Duration::from_secs(1)).await;
    bench.runtime.asked();
    bench.standing.send_replace(Standing::Lapsed);
    bench.until("one-1", ReplicaState::ReplicaStopped).await;
    bench.check_asked(expect![[r#"
        1000: signal one-1 9
        1000: remove one-1
    "#]]);
    bench.standing.send_replace(Standing::Leased);
    bench.desire([
        Replica {
            fenced: true,
            ..replica("one-1")
        },
        replica("web-1"),
    ]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.runtime.running(), ["web-1"]);
    bench.check_said(expect![[r#"
        one-1 REPLICA_STOPPED - restarts=0 exit=0 `stopped because the node's lease ran out`
        web-1 REPLICA_RUNNING healthy restarts=0 exit=0 ``
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_fenced_waits_for_the_first_lease() {
    let mut bench = Bench::new();
    bench.standing.send_replace(Standing::Unleased);
    bench.desire([Replica {
        fenced: true,
        ..replica("one-1")
    }]);
    sleep(Duration::from_secs(60)).await;
    bench.check_said(expect![[r#"
        one-1 REPLICA_STARTING - restarts=0 exit=0 `waiting for the node's lease`
    "#]]);
    bench.standing.send_replace(Standing::Leased);
    bench.until("one-1", ReplicaState::ReplicaRunning).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_runs_out_cuts_the_grace_of_what_is_fenced() {
    let mut bench = Bench::new();
    bench.runtime.script("one-1", [Run::Stubborn]);
    bench.desire([Replica {
        fenced: true,
        ..replica("one-1")
    }]);
    sleep(Duration::from_secs(1)).await;
    bench.runtime.asked();
    bench.desire([Replica {
        fenced: true,
        stopping: true,
        ..replica("one-1")
    }]);
    sleep(Duration::from_secs(1)).await;
    bench.standing.send_replace(Standing::Lapsed);
    bench.until("one-1", ReplicaState::ReplicaStopped).await;
    bench.check_asked(expect![[r#"
        1000: signal one-1 15
        2000: signal one-1 9
        2000: remove one-1
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_cannot_be_removed_is_not_said_to_be_stopped() {
    let mut bench = Bench::new();
    bench.desire([replica("web-1")]);
    sleep(Duration::from_secs(1)).await;
    bench.runtime.stick_removals(3);
    bench.desire([Replica {
        stopping: true,
        ..replica("web-1")
    }]);
    sleep(Duration::from_millis(500)).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_RUNNING - restarts=0 exit=0 `stopping`
    "#]]);
    bench.until("web-1", ReplicaState::ReplicaStopped).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_followed_fails_with_its_reason() {
    let mut bench = Bench::new();
    bench.desire([Replica {
        health: Some(HealthCheck::default()),
        ..replica("web-1")
    }]);
    bench.until("web-1", ReplicaState::ReplicaFailed).await;
    bench.check_said(expect![[r#"
        web-1 REPLICA_FAILED - restarts=0 exit=0 `a health check of a kind that this agent does not know`
    "#]]);
    assert!(bench.runtime.asked().is_empty());
    bench.desire([]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.said(), "");
}

#[tokio::test(start_paused = true)]
async fn draining_stops_everything_and_takes_up_nothing_more() {
    let mut bench = Bench::new();
    bench.runtime.script("web-1", [Run::Serves(Duration::from_secs(4))]);
    bench.desire([replica("web-1"), replica("web-2")]);
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    bench.supervisor.drain().await;
    assert_eq!(began.elapsed().as_secs(), 4);
    bench.desire([replica("web-3")]);
    sleep(Duration::from_secs(1)).await;
    assert!(bench.runtime.running().is_empty());
}
