//! A container that has been started: its first process, watched by a task until it has ended, and how it ended.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::cgroup::Cgroup;
use super::process::Process;
use super::sys;
use crate::oci::Image;
use crate::runtime::{Exit, RuntimeError};

/// How long the rest of the output may take after the end: whoever could still write has been killed.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A started container.
pub(super) struct Running {
    process: Arc<Process>,
    ended: watch::Receiver<Option<Result<Exit, RuntimeError>>>,
    drains: Mutex<Option<[JoinHandle<()>; 2]>>,
    /// Holds the image: it is not dropped while a container runs from it.
    _image: Arc<Image>,
}

impl Running {
    /// Watches a container. Its init writes to `status` how its program ended.
    pub(super) fn watch(
        process: Process,
        status: OwnedFd,
        cgroup: Cgroup,
        drains: [JoinHandle<()>; 2],
        image: Arc<Image>,
    ) -> Self {
        let process = Arc::new(process);
        let (tell, ended) = watch::channel(None);
        let watched = process.clone();
        // Ends with the process, which `remove` kills.
        tokio::spawn(async move {
            let exit = watched
                .wait()
                .await
                .map_err(|error| RuntimeError::Failed(format!("wait: {error}")));
            let exit = match program_status(status) {
                Some(exact) => Ok(exact),
                None => exit,
            };
            // Unless `remove` has taken the group already: who removes does not ask why it ended.
            tell.send_replace(Some(if cgroup.was_out_of_memory() {
                Ok(Exit::OutOfMemory)
            } else {
                exit
            }));
        });
        Self {
            process,
            ended,
            drains: Mutex::new(Some(drains)),
            _image: image,
        }
    }

    /// Returns when it has ended, with all of its output in the log.
    pub(super) async fn ended(&self) -> Result<Exit, RuntimeError> {
        let mut ended = self.ended.clone();
        let exit = match ended.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().expect("waited for it"),
            Err(error) => Err(RuntimeError::Failed(error.to_string())),
        };
        self.drained().await;
        exit
    }

    /// Waits for the rest of the output.
    pub(super) async fn drained(&self) {
        if let Some(drains) = self.drains.lock().await.take() {
            for drain in drains {
                // Too late is dropped: the container is gone and somebody waits.
                let _ = tokio::time::timeout(DRAIN_MAX, drain).await;
            }
        }
    }

    /// Sends a signal to the first process, which passes it on.
    pub(super) fn signal(&self, signal: i32) -> Result<(), RuntimeError> {
        match self.process.signal(signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(RuntimeError::NotFound),
            Err(error) => Err(RuntimeError::Failed(format!("signal: {error}"))),
            Ok(()) => Ok(()),
        }
    }
}

/// How the program ended, if its init lived to say so.
fn program_status(status: OwnedFd) -> Option<Exit> {
    let mut bytes = [0; 4];
    File::from(status).read_exact(&mut bytes).ok()?;
    sys::ending(WaitStatus::from_raw(Pid::from_raw(1), i32::from_ne_bytes(bytes)).ok()?)
}
