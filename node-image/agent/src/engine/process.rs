//! Keeps the engine's process running: started again with growing pauses whenever it ends, ended when somebody stops the
//! machine.

use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;

/// Before it is started again, at first and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// One that has run for so long was well: the pauses begin anew.
const WELL: Duration = Duration::from_secs(60);
/// Once it is told to end, it has so long.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Ends once the machine is stopped and the process has ended.
pub async fn keep(command: impl Fn() -> Command) -> io::Result<()> {
    let mut power = signal(SignalKind::from_raw(libc::SIGPWR))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopped = async move {
        tokio::select! {
            biased;
            _ = power.recv() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    until(stopped, command).await;
    Ok(())
}

/// The same, until something else.
async fn until(stopped: impl Future<Output = ()>, command: impl Fn() -> Command) {
    let mut stopped = std::pin::pin!(stopped);
    let mut pauses = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
    loop {
        let begun = Instant::now();
        match command().spawn() {
            Err(error) => tracing::error!(%error, "the engine cannot be started"),
            Ok(mut engine) => tokio::select! {
                biased;
                () = &mut stopped => return end(engine).await,
                ended = engine.wait() => match ended {
                    Ok(status) => tracing::warn!(%status, "the engine has ended"),
                    Err(error) => tracing::error!(%error, "the engine is not waited for"),
                },
            },
        }
        if begun.elapsed() >= WELL {
            pauses.reset();
        }
        tokio::select! {
            biased;
            () = &mut stopped => return,
            () = sleep(pauses.pause()) => {}
        }
    }
}

/// Ends it as it wants to be ended, and otherwise all the same.
async fn end(mut engine: Child) {
    let pid = engine.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill(pid, Signal::SIGTERM)
    {
        tracing::warn!(%error, "the engine is not told to end");
    }
    if timeout(STOP_MAX, engine.wait()).await.is_ok() {
        return;
    }
    tracing::warn!("the engine does not end by itself");
    if let Err(error) = engine.kill().await {
        tracing::warn!(%error, "the engine is not ended");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Says each start in a file, then does this.
    fn shell(starts: &Path, script: &str) -> impl Fn() -> Command {
        let script = format!("echo started >>{}; {script}", starts.display());
        move || {
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            command
        }
    }

    async fn started(starts: &Path, times: usize) {
        while std::fs::read_to_string(starts).unwrap_or_default().lines().count() < times {
            tokio::task::yield_now().await;
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_ends_is_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let starts = folder.path().join("starts");
        let command = shell(&starts, "exit 3");
        until(started(&starts, 2), command).await;
    }

    #[tokio::test]
    async fn what_runs_is_told_to_end_and_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (starts, ends) = (folder.path().join("starts"), folder.path().join("ends"));
        let script = format!(
            "trap 'echo ended >{}; exit 0' TERM; while :; do sleep 0.05; done",
            ends.display()
        );
        until(started(&starts, 1), shell(&starts, &script)).await;
        assert_eq!(std::fs::read_to_string(&ends).unwrap().trim(), "ended");
    }
}
