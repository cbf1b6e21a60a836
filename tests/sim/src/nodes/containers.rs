//! The containers of a simulated node: the agent's simulated runtime, told how long things take, and seen by the witness.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::id::{MachineId, ResourceHandle};
use isobar_node_image_agent::runtime::{ContainerSpec, Exit, OutputLine, PulledImage, Runtime, RuntimeError, Usage};
use isobar_node_image_agent::supervisor::simulated::{Run, SimulatedRuntime};
use isobar_node_image_protocol::watch;

use super::{Flaw, NodeRates, Pace};
use crate::dice::Dice;
use crate::witness::Witness;

/// A container that falls by itself does so within so long.
const FALLS_WITHIN_MS: u64 = 60_000;
/// What [`Flaw::EarlyWord`] makes of a start.
const LATE_START: Duration = Duration::from_secs(60);

/// See the module. A clone is the same node's.
#[derive(Clone)]
pub(super) struct Containers {
    inner: Arc<SimulatedRuntime>,
    shared: Arc<Shared>,
}

struct Shared {
    handle: ResourceHandle,
    machine: MachineId,
    witness: Witness,
    pace: Pace,
    rates: NodeRates,
    dice: Dice,
    on: watch::Sender<bool>,
}

impl Containers {
    pub(super) fn new(
        (handle, machine): (ResourceHandle, MachineId),
        witness: Witness,
        (pace, rates): (Pace, NodeRates),
        dice: Dice,
    ) -> Self {
        Self {
            inner: Arc::default(),
            shared: Arc::new(Shared {
                handle,
                machine,
                witness,
                pace,
                rates,
                dice,
                on: watch::Sender::new(true),
            }),
        }
    }

    /// Its machine is off: nothing runs, and nothing answers any more.
    pub(super) fn power_off(&self) {
        self.shared.on.send_replace(false);
        self.shared.witness.machine_off(&self.shared.handle);
    }

    async fn while_on<T>(&self, call: impl Future<Output = T>) -> T {
        let answer = call.await;
        if !*self.shared.on.borrow() {
            std::future::pending::<()>().await;
        }
        answer
    }

    /// What a container's start leads to.
    fn run_of(&self, spec: &ContainerSpec) -> Run {
        let (pace, rates, dice) = (self.shared.pace, self.shared.rates, &self.shared.dice);
        let falls_after = Duration::from_millis(dice.within(1, FALLS_WITHIN_MS));
        if dice.happens(rates.falls) {
            return Run::Ends(falls_after, Exit::Code(1));
        }
        if spec.command.iter().any(|word| word == JOB) {
            return Run::Ends(pace.job, Exit::Code(0));
        }
        Run::Serves(pace.stop)
    }
}

/// Containers with this command are jobs.
const JOB: &str = "migrate";

#[async_trait]
impl Runtime for Containers {
    async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError> {
        self.while_on(self.inner.pull(image)).await
    }

    async fn start(&self, spec: &ContainerSpec, image: &PulledImage) -> Result<Ipv4Addr, RuntimeError> {
        let early = self.shared.rates.flaw == Some(Flaw::EarlyWord);
        if !early {
            self.while_on(tokio::time::sleep(self.shared.pace.start)).await;
        }
        self.inner.script(&spec.id, [self.run_of(spec)]);
        let address = self.while_on(self.inner.start(spec, image)).await?;
        let (shared, inner, id) = (self.shared.clone(), self.inner.clone(), spec.id.clone());
        if !early {
            shared.witness.started((&shared.handle, &shared.machine), &id);
        }
        let mut on = shared.on.subscribe();
        tokio::spawn(async move {
            if early {
                tokio::time::sleep(LATE_START).await;
                shared.witness.started((&shared.handle, &shared.machine), &id);
            }
            tokio::select! {
                biased;
                _ = on.wait_for(|on| !on) => {}
                _ = inner.wait(&id) => shared.witness.ended(&shared.handle, &id),
            }
        });
        Ok(address)
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        self.while_on(self.inner.wait(id)).await
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.while_on(self.inner.signal(id, signal)).await
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, RuntimeError> {
        self.while_on(self.inner.exec(id, command, timeout)).await
    }

    async fn usage(&self, id: &str) -> Result<Usage, RuntimeError> {
        self.while_on(self.inner.usage(id)).await
    }

    async fn output(&self, id: &str, from: Option<u64>, max: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError> {
        self.while_on(self.inner.output(id, from, max)).await
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        self.while_on(self.inner.remove(id)).await
    }

    async fn forget(&self, id: &str) {
        self.while_on(self.inner.forget(id)).await;
    }
}
