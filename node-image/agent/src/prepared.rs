//! A runtime that is being prepared: it can be handed out at once, and its calls wait until it is ready. So a node
//! joins before its container modules are loaded.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::runtime::{ContainerSpec, Exit, OutputLine, PulledImage, Runtime, RuntimeError, Usage};

/// What the preparation comes to. One that failed fails every call with its reason.
pub type Prepared = Result<Arc<dyn Runtime>, RuntimeError>;

/// The runtime that `Preparation` will tell of.
pub struct PreparedRuntime(watch::Receiver<Option<Prepared>>);

/// Where the preparation's end is told, once.
pub struct Preparation(watch::Sender<Option<Prepared>>);

/// A runtime to hand out, and what makes it ready.
pub fn preparing() -> (PreparedRuntime, Preparation) {
    let (sender, receiver) = watch::channel(None);
    (PreparedRuntime(receiver), Preparation(sender))
}

impl Preparation {
    /// Ends the wait of every call.
    pub fn done(self, prepared: Prepared) {
        self.0.send_replace(Some(prepared));
    }
}

impl PreparedRuntime {
    async fn ready(&self) -> Prepared {
        match self.0.clone().wait_for(Option::is_some).await {
            Ok(prepared) => prepared.clone().expect("waited for"),
            Err(_) => Err(RuntimeError::Failed(
                "this node cannot run containers: their preparation was lost".into(),
            )),
        }
    }
}

#[async_trait]
impl Runtime for PreparedRuntime {
    async fn pull(&self, image: &str) -> Result<PulledImage, RuntimeError> {
        self.ready().await?.pull(image).await
    }

    async fn start(&self, spec: &ContainerSpec, image: &PulledImage) -> Result<Ipv4Addr, RuntimeError> {
        self.ready().await?.start(spec, image).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        self.ready().await?.wait(id).await
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.ready().await?.signal(id, signal).await
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, RuntimeError> {
        self.ready().await?.exec(id, command, timeout).await
    }

    async fn usage(&self, id: &str) -> Result<Usage, RuntimeError> {
        self.ready().await?.usage(id).await
    }

    async fn output(&self, id: &str, from: Option<u64>, max: u32) -> Result<(Vec<OutputLine>, u64), RuntimeError> {
        self.ready().await?.output(id, from, max).await
    }

    /// Where nothing can be started there is nothing to remove.
    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        match self.ready().await {
            Ok(runtime) => runtime.remove(id).await,
            Err(_) => Ok(()),
        }
    }

    async fn forget(&self, id: &str) {
        if let Ok(runtime) = self.ready().await {
            runtime.forget(id).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::simulated::SimulatedRuntime;

    #[tokio::test(start_paused = true)]
    async fn calls_wait_until_the_runtime_is_ready() {
        let (runtime, preparation) = preparing();
        let simulated: Arc<dyn Runtime> = Arc::new(SimulatedRuntime::default());
        let tell = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            preparation.done(Ok(simulated));
            tokio::time::Instant::now()
        };
        let pull = async {
            let pulled = runtime.pull("r/web:1").await;
            (pulled.is_ok(), tokio::time::Instant::now())
        };
        let (ready_at, (pulled, pulled_at)) = tokio::join!(tell, pull);
        assert!(pulled && pulled_at >= ready_at);
    }

    #[tokio::test]
    async fn a_failed_preparation_fails_every_call_with_its_reason() {
        let (runtime, preparation) = preparing();
        preparation.done(Err(RuntimeError::Failed("no bridge".into())));
        assert_eq!(
            runtime.pull("r/web:1").await,
            Err(RuntimeError::Failed("no bridge".into()))
        );
        assert_eq!(runtime.remove("web-1").await, Ok(()));
    }
}
