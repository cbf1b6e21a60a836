//! Containers through libcontainer: the [`Runtime`] of real nodes. It pulls, creates, starts, watches, signals, removes,
//! and gives each container its address and log. It decides nothing and retries nothing; the supervisor does. What
//! forks is in `helper`, a process of its own; what runs inside of a container before its program is in `init`.

mod bench;
mod bundle;
mod cgroup;
mod config;
pub mod helper;
mod init;
mod layers;
mod logs;
mod machine;
pub(crate) mod net;
pub mod owned;
mod process;
mod refusal;
mod running;
mod spec;
pub(crate) mod sys;
pub(crate) mod wire;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::config::{Isolation, RuntimeConfig};
use self::machine::Machine;
pub use self::net::Subnet;
use crate::runtime::{ContainerSpec, Exit, OutputLine, PulledImage, Runtime, RuntimeError, Usage};

/// Runs containers on this machine.
pub struct ContainerRuntime {
    machine: Arc<Machine>,
}

impl ContainerRuntime {
    /// Prepares this machine: what a runtime before this one left is killed and removed, the bridge and the packet
    /// rules are made, the image folder emptied. Wants root, control groups of version 2 and one call a process.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let machine = Arc::new(Machine::prepare(config)?);
        Ok(Self { machine })
    }
}

#[async_trait]
impl Runtime for ContainerRuntime {
    async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError> {
        let (machine, image) = (self.machine.clone(), image.to_owned());
        unstoppable(async move { machine.pull(&image).await }).await
    }

    async fn start(&self, spec: &ContainerSpec, image: &PulledImage) -> Result<Ipv4Addr, RuntimeError> {
        let (machine, spec, digest) = (self.machine.clone(), spec.clone(), image.digest.clone());
        unstoppable(async move { machine.start(&spec, &digest).await }).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        self.machine.running(id)?.ended().await
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.machine.running(id)?.signal(signal)
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, RuntimeError> {
        let (machine, id, command) = (self.machine.clone(), id.to_owned(), command.to_vec());
        unstoppable(async move { machine.exec(&id, &command, timeout).await }).await
    }

    async fn usage(&self, id: &str) -> Result<Usage, RuntimeError> {
        self.machine.usage(id)
    }

    async fn output(&self, id: &str, from: Option<u64>, max: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError> {
        self.machine.output(id, from, max)
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let (machine, id) = (self.machine.clone(), id.to_owned());
        unstoppable(async move { machine.remove(&id).await }).await
    }

    async fn forget(&self, id: &str) {
        self.machine.forget(id).await;
    }
}

/// Runs to its end even if the caller loses interest: a half-made container is the caller's to remove, not to lose.
async fn unstoppable<T: Send + 'static>(
    work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
) -> Result<T, RuntimeError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(RuntimeError::Failed(error.to_string())),
    }
}
