//! A runtime that starts nothing: what happens to each container is scripted, what was asked is kept. For the agent's own
//! tests and for simulated nodes; no real node has one.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use isobar_node_image_protocol::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::runtime::{ContainerSpec, Exit, OutputLine, PulledImage, Runtime, RuntimeError, Usage};

/// What one start of a container leads to.
#[derive(Debug, Clone)]
pub enum Run {
    /// It ends by itself after so long.
    Ends(Duration, Exit),
    /// It runs until it is told to end, which takes so long.
    Serves(Duration),
    /// It runs until it is killed.
    Stubborn,
    /// It cannot be started.
    Refused(RuntimeError),
}

/// Runs what it is told.
#[derive(Default)]
pub struct SimulatedRuntime {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pulls: VecDeque<RuntimeError>,
    runs: BTreeMap<String, VecDeque<Run>>,
    execs: VecDeque<i32>,
    stuck_removals: u32,
    containers: BTreeMap<String, Container>,
    lines: BTreeMap<String, Vec<OutputLine>>,
    asked: Vec<(u64, String)>,
    began: Option<Instant>,
}

struct Container {
    end: watch::Sender<Option<Exit>>,
    run: Run,
}

impl SimulatedRuntime {
    /// The next pull fails so.
    pub fn fail_pull(&self, error: RuntimeError) {
        self.lock().pulls.push_back(error);
    }

    /// What the next starts of a container lead to; after them it serves for good.
    pub fn script(&self, id: &str, runs: impl IntoIterator<Item = Run>) {
        self.lock().runs.entry(id.into()).or_default().extend(runs);
    }

    /// Exit codes of the next commands; after them 0.
    pub fn script_execs(&self, codes: impl IntoIterator<Item = i32>) {
        self.lock().execs.extend(codes);
    }

    /// So many removals fail before one does not.
    pub fn stick_removals(&self, times: u32) {
        self.lock().stuck_removals = times;
    }

    /// A container writes these lines.
    pub fn write_lines(&self, id: &str, texts: impl IntoIterator<Item = String>) {
        let lines = texts.into_iter().map(|text| OutputLine {
            time_ms: 0,
            stderr: false,
            text,
        });
        self.lock().lines.entry(id.into()).or_default().extend(lines);
    }

    /// What was asked since the last call, each with the ms since the first.
    pub fn asked(&self) -> Vec<String> {
        self.lock()
            .asked
            .drain(..)
            .map(|(ms, what)| format!("{ms}: {what}"))
            .collect()
    }

    /// What runs now, in id order.
    pub fn running(&self) -> Vec<String> {
        let state = self.lock();
        let running = state
            .containers
            .iter()
            .filter(|(_, container)| container.end.borrow().is_none());
        running.map(|(id, _)| id.clone()).collect()
    }

    fn note(&self, what: String) {
        let mut state = self.lock();
        let began = *state.began.get_or_insert_with(Instant::now);
        state.asked.push((crate::clock::millis(began.elapsed()), what));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock")
    }

    fn end_after(&self, id: &str, after: Duration, exit: Exit) {
        let end = self.lock().containers[id].end.clone();
        tokio::spawn(async move {
            sleep_until(Instant::now() + after).await;
            end.send_if_modified(|ended| {
                let lives = ended.is_none();
                ended.get_or_insert(exit);
                lives
            });
        });
    }
}

#[async_trait]
impl Runtime for SimulatedRuntime {
    async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError> {
        self.note(format!("pull {image}"));
        sleep(Duration::from_millis(1)).await;
        match self.lock().pulls.pop_front() {
            Some(error) => Err(error),
            None => Ok(PulledImage {
                digest: "sha256:00".into(),
            }),
        }
    }

    async fn start(&self, spec: &ContainerSpec, _: &PulledImage) -> Result<Ipv4Addr, RuntimeError> {
        self.note(format!("start {}", spec.id));
        let run = self.lock().runs.get_mut(&spec.id).and_then(VecDeque::pop_front);
        let run = run.unwrap_or(Run::Serves(Duration::ZERO));
        let container = Container {
            end: watch::Sender::new(None),
            run: run.clone(),
        };
        assert!(
            !self.lock().containers.contains_key(&spec.id),
            "{} was not removed before its next start",
            spec.id
        );
        match run {
            Run::Refused(error) => return Err(error),
            Run::Ends(after, exit) => {
                self.lock().containers.insert(spec.id.clone(), container);
                self.end_after(&spec.id, after, exit);
            }
            Run::Serves(_) | Run::Stubborn => {
                self.lock().containers.insert(spec.id.clone(), container);
            }
        }
        Ok(Ipv4Addr::LOCALHOST)
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        let mut end = self
            .lock()
            .containers
            .get(id)
            .ok_or(RuntimeError::NotFound)?
            .end
            .subscribe();
        let exit = end
            .wait_for(Option::is_some)
            .await
            .map_err(|_| RuntimeError::NotFound)?;
        Ok(exit.expect("waited for"))
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.note(format!("signal {id} {signal}"));
        let run = self.lock().containers.get(id).map(|container| container.run.clone());
        match (run.ok_or(RuntimeError::NotFound)?, signal) {
            (_, libc::SIGKILL) => self.end_after(id, Duration::ZERO, Exit::Signal(libc::SIGKILL)),
            (Run::Serves(takes), _) => self.end_after(id, takes, Exit::Code(0)),
            (Run::Ends(..) | Run::Stubborn | Run::Refused(_), _) => {}
        }
        Ok(())
    }

    async fn exec(&self, id: &str, _: &[String], _: Duration) -> Result<i32, RuntimeError> {
        let mut state = self.lock();
        if !state.containers.contains_key(id) {
            return Err(RuntimeError::NotFound);
        }
        Ok(state.execs.pop_front().unwrap_or(0))
    }

    async fn usage(&self, id: &str) -> Result<Usage, RuntimeError> {
        self.lock().containers.get(id).ok_or(RuntimeError::NotFound)?;
        Ok(Usage {
            memory_bytes: 4096,
            cpu_ms: 7,
        })
    }

    async fn output(&self, id: &str, from: Option<u64>, max: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError> {
        let state = self.lock();
        let lines = state.lines.get(id).ok_or(RuntimeError::NotFound)?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let first = match from {
            Some(from) => usize::try_from(from).unwrap_or(usize::MAX).min(lines.len()),
            None => lines.len().saturating_sub(max),
        };
        let part: Vec<_> = lines[first..].iter().take(max).cloned().collect();
        let next = first.saturating_add(part.len()).try_into().unwrap_or(u64::MAX);
        Ok((part, next))
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let mut state = self.lock();
        if state.stuck_removals > 0 {
            state.stuck_removals -= 1;
            return Err(RuntimeError::Failed("device is busy".into()));
        }
        let removed = state.containers.remove(id);
        drop(state);
        if removed.is_some() {
            self.note(format!("remove {id}"));
        }
        Ok(())
    }

    async fn forget(&self, id: &str) {
        self.lock().lines.remove(id);
    }
}
