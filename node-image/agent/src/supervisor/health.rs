//! Health: what a row of answers means (pure), and how one answer is got.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::order::{Check, Probe};
use crate::runtime::Runtime;

/// A replica that was never healthy is asked so often at least.
pub(super) const STARTING_EVERY_MAX: Duration = Duration::from_millis(500);

/// Of an HTTP answer only the first line matters, which is shorter than this.
const STATUS_LINE_MAX_BYTES: usize = 256;

/// What a row of answers means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As before.
    Unchanged,
    /// It serves.
    Healthy,
    /// It failed too often, or never served.
    Unhealthy,
}

/// Counts answers. Until it serves for the first time a replica has as long as it takes to fail the check: it is
/// asked more often then, so that it counts as healthy soon after it is.
#[derive(Debug)]
pub(super) struct Gate {
    failures_max: u32,
    interval: Duration,
    was_healthy: bool,
    failures: u32,
}

impl Gate {
    pub(super) fn new(check: &Check) -> Self {
        Self {
            failures_max: check.failures_max,
            interval: check.interval,
            was_healthy: false,
            failures: 0,
        }
    }

    /// Takes an answer, got so long after the start.
    pub(super) fn take(&mut self, passed: bool, since_start: Duration) -> Verdict {
        if passed {
            self.failures = 0;
            let before = std::mem::replace(&mut self.was_healthy, true);
            return if before { Verdict::Unchanged } else { Verdict::Healthy };
        }
        self.failures += 1;
        let too_often = if self.was_healthy {
            self.failures >= self.failures_max
        } else {
            since_start >= self.interval.saturating_mul(self.failures_max)
        };
        if too_often {
            Verdict::Unhealthy
        } else {
            Verdict::Unchanged
        }
    }

    /// How long until the next question.
    pub(super) fn pause(&self) -> Duration {
        if self.was_healthy {
            self.interval
        } else {
            self.interval.min(STARTING_EVERY_MAX)
        }
    }
}

/// Asks once. The error says what was wrong with the answer.
pub(super) async fn ask(runtime: &dyn Runtime, id: &str, address: Ipv4Addr, check: &Check) -> Result<(), String> {
    let answered = async {
        match &check.probe {
            Probe::Tcp { port } => connect(address, *port).await.map(drop),
            Probe::Http { port, path } => get(address, *port, path).await,
            Probe::Exec { command } => match runtime.exec(id, command, check.timeout).await {
                Ok(0) => Ok(()),
                Ok(code) => Err(format!("exit code {code}")),
                Err(error) => Err(error.to_string()),
            },
        }
    };
    match timeout(check.timeout, answered).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", check.timeout.as_secs())),
    }
}

async fn connect(address: Ipv4Addr, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((address, port))
        .await
        .map_err(|error| format!("port {port}: {error}"))
}

async fn get(address: Ipv4Addr, port: u16, path: &str) -> Result<(), String> {
    let mut stream = connect(address, port).await?;
    let failed = |error: std::io::Error| format!("port {port}: {error}");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut line = Vec::with_capacity(STATUS_LINE_MAX_BYTES);
    while !line.contains(&b'\n') && line.len() < STATUS_LINE_MAX_BYTES {
        if stream.read_buf(&mut line).await.map_err(failed)? == 0 {
            break;
        }
    }
    match status_code(&line) {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("GET {path} answers {code}")),
        None => Err(format!("port {port} does not speak HTTP")),
    }
}

fn status_code(answer: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(answer.get(..12)?).ok()?;
    let (version, code) = text.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| code.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(failures_max: u32) -> Gate {
        let check = Check {
            probe: Probe::Tcp { port: 80 },
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            failures_max,
        };
        Gate::new(&check)
    }

    const LATER: Duration = Duration::from_secs(1000);

    #[test]
    fn a_starting_replica_has_as_long_as_the_failures_take() {
        let mut gate = gate(3);
        assert!(gate.pause() < Duration::from_secs(1));
        for second in 1..15 {
            assert_eq!(gate.take(false, Duration::from_secs(second)), Verdict::Unchanged);
        }
        assert_eq!(gate.take(false, Duration::from_secs(15)), Verdict::Unhealthy);
    }

    #[test]
    fn a_replica_that_served_fails_after_so_many_failures_in_a_row() {
        let mut gate = gate(3);
        assert_eq!(gate.take(true, LATER), Verdict::Healthy);
        assert_eq!(gate.pause(), Duration::from_secs(5));
        assert_eq!(
            [false, false, true, false, false].map(|passed| gate.take(passed, LATER)),
            [Verdict::Unchanged; 5]
        );
        assert_eq!(gate.take(false, LATER), Verdict::Unhealthy);
    }

    #[test]
    fn a_status_line_gives_its_code() {
        assert_eq!(status_code(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_code(b"HTTP/1.0 503\r\n"), Some(503));
        for bad in [&b"SSH-2.0-OpenSSH"[..], b"HTTP/1.1", b"", b"HTTP/2 200 OKxxxx"] {
            assert_eq!(status_code(bad), None);
        }
    }
}
