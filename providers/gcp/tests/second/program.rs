//! A program that others wrote, on a free port of loopback, for as long as the value lives.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A program has so long to answer connections.
const START_MAX: Duration = Duration::from_secs(60);
/// Between two tries to connect.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// A running program.
pub(crate) struct Program {
    pub(crate) url: String,
    child: Child,
}

impl Program {
    pub(crate) async fn gcplocal() -> Self {
        let program = installed("venv/bin/gcplocal");
        Self::start(|port| {
            let mut command = Command::new(program);
            command.args(["start", "--host", "127.0.0.1", "--port", port]);
            command
        })
        .await
    }

    pub(crate) async fn prism() -> Self {
        let (program, document) = (installed("node_modules/.bin/prism"), installed("compute.swagger.json"));
        Self::start(|port| {
            let mut command = Command::new(program);
            command
                .args(["mock", "--errors", "--host", "127.0.0.1", "--port", port])
                .arg(document);
            command
        })
        .await
    }

    /// The first line of the answer to a request of our own making, with some token.
    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer t\r\ncontent-type: application/json\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = String::new();
        BufReader::new(stream).read_line(&mut first).await.unwrap();
        first
    }

    async fn start(command: impl FnOnce(&str) -> Command) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = command(&port.to_string());
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

/// A file of what `./dev test second-gcp` installs.
fn installed(file: &str) -> PathBuf {
    let cache = std::env::var_os("ISOBAR_CACHE").map(PathBuf::from);
    let cache = cache
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/isobar")))
        .unwrap();
    let path = cache.join("second-gcp").join(file);
    assert!(
        path.exists(),
        "{} is missing: `./dev test second-gcp` installs it",
        path.display()
    );
    path
}
