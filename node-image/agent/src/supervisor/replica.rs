//! One replica's life: pull, start, watch, start again, stop. The only place that calls the runtime to change
//! something. Each life is one task, owned by the supervisor.

use std::convert::Infallible;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use isobar_node_image_protocol::v1::{ReplicaState, ReplicaStatus};
use isobar_node_image_protocol::watch;
use tokio::time::{Instant, interval, sleep, timeout};

use super::board::Board;
use super::health::{self, Gate, Verdict};
use super::order::{Check, Order};
use super::policy::{self, Next, TryEnd};
use crate::backoff::Backoff;
use crate::lease::Standing;
use crate::runtime::{Runtime, RuntimeError};

/// The pauses before a failed replica is started again.
pub(super) const RESTART_FIRST: Duration = Duration::from_millis(100);
pub(super) const RESTART_MAX: Duration = Duration::from_secs(30);

/// A replica that was healthy for so long starts over with the first pause.
pub(super) const GOOD_AFTER: Duration = Duration::from_secs(60);

/// How often it is asked what a replica uses.
const USAGE_EVERY: Duration = Duration::from_secs(5);

/// How long a killed process may take to be gone before the runtime is asked to remove it regardless.
const KILLED_MAX: Duration = Duration::from_secs(10);

const SIGTERM: i32 = libc::SIGTERM;
const SIGKILL: i32 = libc::SIGKILL;

/// What the engine wants of a replica that was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    /// Stop it and say so.
    Stop,
    /// Stop it and forget it.
    Leave,
}

/// What a replica's task sees of the node.
pub(super) struct World {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) board: Arc<Board>,
    pub(super) wishes: watch::Receiver<Wish>,
    pub(super) standing: watch::Receiver<Standing>,
}

/// Runs a replica until it has left. One whose order cannot be followed only says so.
pub(super) async fn supervise(id: String, order: Result<Order, String>, mut world: World) {
    match order {
        Ok(order) => Supervised::new(order, &mut world).run().await,
        Err(detail) => {
            let state = ReplicaState::ReplicaFailed.into();
            world.board.post(ReplicaStatus {
                id: id.clone(),
                state,
                detail,
                ..ReplicaStatus::default()
            });
            wait_for(&mut world.wishes, |wish| wish != Wish::Run).await;
            let state = ReplicaState::ReplicaStopped.into();
            world.board.post(ReplicaStatus {
                id: id.clone(),
                state,
                ..ReplicaStatus::default()
            });
        }
    }
    wait_for(&mut world.wishes, |wish| wish == Wish::Leave).await;
    world.runtime.forget(&id).await;
    world.board.remove(&id);
}

/// Why a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    /// The engine wants it stopped: it has its grace.
    Asked,
    /// It must not run on without a lease: it has none.
    Fenced,
}

/// A replica as far as it can change while it lives.
struct Supervised<'a> {
    order: Order,
    world: &'a mut World,
    /// There may be a container of its name.
    created: bool,
    tries: u32,
    restarts: u32,
    exit_code: i32,
    backoff: Backoff,
}

impl<'a> Supervised<'a> {
    fn new(order: Order, world: &'a mut World) -> Self {
        let backoff = Backoff::new(RESTART_FIRST, RESTART_MAX);
        // An agent that was restarted may find what its predecessor left.
        Self {
            order,
            world,
            created: true,
            tries: 0,
            restarts: 0,
            exit_code: 0,
            backoff,
        }
    }

    /// Until it is stopped for good.
    async fn run(mut self) {
        let (mut wishes, mut standing, fenced) = (
            self.world.wishes.clone(),
            self.world.standing.clone(),
            self.order.fenced,
        );
        self.say(ReplicaState::ReplicaStarting, "");
        let interrupt = tokio::select! {
            biased;
            interrupt = interrupted(&mut wishes, &mut standing, fenced) => interrupt,
            never = self.live() => match never {},
        };
        let why = match interrupt {
            Interrupt::Asked => "",
            Interrupt::Fenced => "stopped because the node's lease ran out",
        };
        tracing::info!(replica = self.order.container.id, ?interrupt, "stopping");
        self.stop(interrupt).await;
        self.say(ReplicaState::ReplicaStopped, why);
    }

    /// Tries, and tries again. Dropped when it is interrupted; a container may run then.
    async fn live(&mut self) -> Infallible {
        self.remove().await;
        if self.order.fenced {
            self.say(ReplicaState::ReplicaStarting, "waiting for the node's lease");
            wait_for(&mut self.world.standing, |standing| standing == Standing::Leased).await;
        }
        loop {
            let end = self.try_once().await;
            self.tries += u32::from(policy::counts(&end));
            self.exit_code = policy::exit_code(&end);
            self.remove().await;
            match policy::next(self.order.restart, self.tries, &end, self.order.container.memory_mib) {
                Next::Succeeded => {
                    self.say(ReplicaState::ReplicaSucceeded, "");
                    return pending().await;
                }
                Next::Failed(detail) => {
                    tracing::warn!(replica = self.order.container.id, detail, "failed");
                    self.say(ReplicaState::ReplicaFailed, &detail);
                    return pending().await;
                }
                Next::Again(detail) => {
                    let pause = self.backoff.pause();
                    tracing::warn!(replica = self.order.container.id, detail, ?pause, "starting it again");
                    self.say(ReplicaState::ReplicaBackOff, &detail);
                    sleep(pause).await;
                    self.restarts += u32::from(policy::counts(&end));
                }
            }
        }
    }

    async fn try_once(&mut self) -> TryEnd {
        let (runtime, spec) = (self.world.runtime.clone(), self.order.container.clone());
        // While the registry is away the reason stays to be read.
        if self
            .world
            .board
            .get(&spec.id)
            .is_none_or(|status| status.state() != ReplicaState::ReplicaBackOff)
        {
            self.say(ReplicaState::ReplicaStarting, "pulling image");
        }
        let image = match runtime.pull(&spec.image).await {
            Ok(image) => image,
            Err(error) => return TryEnd::NotStarted(error),
        };
        self.say(ReplicaState::ReplicaStarting, "starting");
        self.created = true;
        let address = match runtime.start(&spec, &image).await {
            Ok(address) => address,
            Err(error) => return TryEnd::NotStarted(error),
        };
        self.watch(address).await
    }

    /// A running container, until it ends or fails its check.
    async fn watch(&mut self, address: Ipv4Addr) -> TryEnd {
        let (runtime, id) = (self.world.runtime.clone(), self.order.container.id.clone());
        let started = Instant::now();
        let mut healthy_since = None;
        self.say(ReplicaState::ReplicaRunning, "");
        let mut asked = self.order.check.clone().map(|check| (Gate::new(&check), check));
        if asked.is_none() {
            healthy_since = Some(started);
            self.say_healthy(true, "");
        }
        let board = self.world.board.clone();
        let used = post_usage(&*runtime, &board, &id);
        let exited = runtime.wait(&id);
        tokio::pin!(exited, used);
        let end = loop {
            tokio::select! {
                biased;
                exit = &mut exited => break match exit {
                    Ok(exit) => TryEnd::Exited(exit),
                    Err(error) => TryEnd::NotStarted(error),
                },
                (verdict, why) = next_verdict(&*runtime, &id, address, asked.as_mut(), started) => match verdict {
                    Verdict::Unchanged => {}
                    Verdict::Healthy => {
                        healthy_since = Some(Instant::now());
                        self.say_healthy(true, "");
                    }
                    Verdict::Unhealthy => {
                        self.say_healthy(false, &why);
                        terminate(&*runtime, &id, self.order.grace).await;
                        break TryEnd::Unhealthy(why);
                    }
                },
                never = &mut used => match never {},
            }
        };
        if healthy_since.is_some_and(|since| since.elapsed() >= GOOD_AFTER) {
            self.backoff.reset();
        }
        end
    }

    async fn stop(&mut self, interrupt: Interrupt) {
        if self.created {
            if let Some(mut status) = self.world.board.get(&self.order.container.id) {
                status.healthy = false;
                status.detail = "stopping".into();
                self.world.board.post(status);
            }
            let runtime = self.world.runtime.clone();
            let id = self.order.container.id.clone();
            let mut standing = self.world.standing.clone();
            let fenced = self.order.fenced;
            let grace = match interrupt {
                Interrupt::Asked => self.order.grace,
                Interrupt::Fenced => Duration::ZERO,
            };
            tokio::select! {
                biased;
                () = lapsed(&mut standing, fenced) => terminate(&*runtime, &id, Duration::ZERO).await,
                () = terminate(&*runtime, &id, grace) => {}
            }
            self.remove().await;
        }
    }

    /// Removes what is left of the container. Until that is done nothing else may be said of it.
    async fn remove(&mut self) {
        let mut backoff = Backoff::new(RESTART_FIRST, RESTART_MAX);
        while self.created {
            match self.world.runtime.remove(&self.order.container.id).await {
                Ok(()) | Err(RuntimeError::NotFound) => self.created = false,
                Err(error) => {
                    tracing::warn!(replica = self.order.container.id, %error, "the container is not removed");
                    sleep(backoff.pause()).await;
                }
            }
        }
    }

    fn say(&self, state: ReplicaState, detail: &str) {
        self.post(state, false, detail);
    }

    fn say_healthy(&self, healthy: bool, detail: &str) {
        self.post(ReplicaState::ReplicaRunning, healthy, detail);
    }

    fn post(&self, state: ReplicaState, healthy: bool, detail: &str) {
        self.world.board.post(ReplicaStatus {
            id: self.order.container.id.clone(),
            state: state.into(),
            healthy,
            restarts: self.restarts,
            detail: detail.to_owned(),
            exit_code: self.exit_code,
            memory_bytes: 0,
            cpu_used_ms: 0,
        });
    }
}

/// The next answer of a health check and what it means; never, when there is no check.
async fn next_verdict(
    runtime: &dyn Runtime,
    id: &str,
    address: Ipv4Addr,
    asked: Option<&mut (Gate, Check)>,
    started: Instant,
) -> (Verdict, String) {
    let Some((gate, check)) = asked else {
        return pending().await;
    };
    sleep(gate.pause()).await;
    let answer = health::ask(runtime, id, address, check).await;
    let verdict = gate.take(answer.is_ok(), started.elapsed());
    (
        verdict,
        answer
            .err()
            .map(|why| format!("health check failed: {why}"))
            .unwrap_or_default(),
    )
}

async fn post_usage(runtime: &dyn Runtime, board: &Board, id: &str) -> Infallible {
    let mut due = interval(USAGE_EVERY);
    loop {
        due.tick().await;
        if let Ok(used) = runtime.usage(id).await {
            board.post_usage(id, used);
        }
    }
}

/// Asks a container to end, and after its grace makes it.
async fn terminate(runtime: &dyn Runtime, id: &str, grace: Duration) {
    let end = async |signal, wait| {
        if let Err(error) = runtime.signal(id, signal).await {
            // Gone already, or never started.
            tracing::debug!(replica = id, signal, %error, "the signal was not taken");
            return true;
        }
        timeout(wait, runtime.wait(id)).await.is_ok()
    };
    if grace.is_zero() || !end(SIGTERM, grace).await {
        end(SIGKILL, KILLED_MAX).await;
    }
}

async fn interrupted(
    wishes: &mut watch::Receiver<Wish>,
    standing: &mut watch::Receiver<Standing>,
    fenced: bool,
) -> Interrupt {
    tokio::select! {
        biased;
        () = wait_for(wishes, |wish| wish != Wish::Run) => Interrupt::Asked,
        () = lapsed(standing, fenced) => Interrupt::Fenced,
    }
}

/// Returns when a fenced replica must not run; never for others.
async fn lapsed(standing: &mut watch::Receiver<Standing>, fenced: bool) {
    if !fenced {
        return pending().await;
    }
    wait_for(standing, |standing| match standing {
        Standing::Lapsed | Standing::Abandoned => true,
        Standing::Unleased | Standing::Leased => false,
    })
    .await;
}

/// Waits for a value. If nobody can send one any more, for good: the supervisor is gone and ends this task.
async fn wait_for<T: Copy>(values: &mut watch::Receiver<T>, wanted: impl Fn(T) -> bool) {
    if values.wait_for(|value| wanted(*value)).await.is_err() {
        pending().await
    }
}
