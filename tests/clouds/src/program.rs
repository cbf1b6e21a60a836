//! Programs that others wrote, each on a free port of loopback for as long as the value lives. `./dev test second` installs
//! them into `$ISOBAR_CACHE/second`; where they are not, the tests that want them fail and say so.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

pub mod moto;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Interpreters take their time to start on a machine that is busy.
const START_MAX: Duration = Duration::from_secs(120);
/// Between two tries to connect.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// A running program.
pub struct Program {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    child: Child,
}

impl Program {
    /// Google's Compute Engine as gcplocal has it.
    pub async fn gcplocal() -> Self {
        Self::start("venv/bin/gcplocal", |command, port| {
            command.args(["start", "--host", "127.0.0.1", "--port", port]);
        })
        .await
    }

    /// AWS as moto has it. The first `unsigned` calls are taken as they come; of all others signature and permission are
    /// checked.
    pub async fn moto(unsigned: u32) -> Self {
        Self::start("venv/bin/moto_server", |command, port| {
            command
                .args(["-H", "127.0.0.1", "-p", port])
                .env("INITIAL_NO_AUTH_ACTION_COUNT", unsigned.to_string());
        })
        .await
    }

    /// Prism: answers with examples to what a description of an interface allows, and refuses everything else.
    pub async fn prism(description: impl AsRef<OsStr>) -> Self {
        Self::start("node_modules/.bin/prism", |command, port| {
            command
                .args(["mock", "--errors", "--host", "127.0.0.1", "--port", port])
                .arg(description);
        })
        .await
    }

    /// Prism before a cloud: passes on what a description of its interface allows, and refuses everything else; an answer
    /// that is not as described becomes an error.
    pub async fn prism_before(upstream: &str, description: impl AsRef<OsStr>) -> Self {
        Self::start("node_modules/.bin/prism", |command, port| {
            command
                .args(["proxy", "--errors", "--host", "127.0.0.1", "--port", port])
                .arg(description)
                .arg(upstream);
        })
        .await
    }

    /// The whole answer, head and body, to a request of our own making: `head` is what follows `Host`, lines ended by
    /// `\r\n`.
    pub async fn ask(&self, what: &str, head: &str, body: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{what} HTTP/1.1\r\nhost: {address}\r\n{head}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The status of the answer to a request with some token and a body of JSON.
    pub async fn status(&self, what: &str, body: &str) -> u16 {
        let head = "authorization: Bearer t\r\ncontent-type: application/json\r\n";
        let answer = self.ask(what, head, body).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn start(file: &str, arguments: impl FnOnce(&mut Command, &str)) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(installed(file));
        arguments(&mut command, &port.to_string());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut program = Self {
            url: format!("http://127.0.0.1:{port}"),
            child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")),
        };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert_eq!(program.child.try_wait().unwrap(), None, "{command:?} ended");
            assert!(started.elapsed() < START_MAX, "{command:?} does not answer");
            tokio::time::sleep(TRY_EVERY).await;
        }
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A file of what `./dev test second` installs.
pub fn installed(file: &str) -> PathBuf {
    let cache = std::env::var_os("ISOBAR_CACHE").map(PathBuf::from);
    let cache = cache
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/isobar")))
        .unwrap();
    let path = cache.join("second").join(file);
    assert!(
        path.exists(),
        "{} is missing: `./dev test second` installs it",
        path.display()
    );
    path
}
