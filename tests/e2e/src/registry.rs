//! A real registry on a free port of loopback, with the demo's image in it: `tools/registry.sh`, in a folder of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// How a machine of QEMU's user-mode network sees the host's loopback address.
const HOST_SEEN_BY_MACHINES: &str = "10.0.2.2";

/// A registry, running or not; stopped with the value.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    home: tempfile::TempDir,
}

impl Registry {
    /// Starts one and pushes the demo's image, `shop/web:1`: busybox, whose web server answers on 8080 unless the spec
    /// gives another command.
    ///
    /// # Panics
    ///
    /// When it does not start, or a program that the image is built with is missing.
    pub fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let registry = Self {
            port: free.expect("a free port").port(),
            home: tempfile::Builder::new()
                .prefix("isobar-e2e-registry.")
                .tempdir()
                .expect("a temporary folder"),
        };
        registry.action("push");
        registry
    }

    /// Stops it; what it holds stays.
    ///
    /// # Panics
    ///
    /// When it cannot be stopped.
    pub fn stop(&self) {
        self.action("stop");
    }

    /// Starts it again with what it held.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_again(&self) {
        self.action("start");
    }

    /// Its `host:port` inside machines.
    pub fn seen_by_machines(&self) -> String {
        format!("{HOST_SEEN_BY_MACHINES}:{}", self.port)
    }

    /// The name of the demo's image inside machines.
    pub fn image(&self) -> String {
        format!("{}/shop/web:1", self.seen_by_machines())
    }

    fn action(&self, action: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/registry.sh");
        let mut command = Command::new(&script);
        command
            .arg(action)
            .env("ISOBAR_REGISTRY_PORT", self.port.to_string())
            .env("ISOBAR_REGISTRY_HOME", self.home.path());
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("run {}: {error}", script.display()));
        assert!(
            output.status.success(),
            "the registry does not {action}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // While a test fails, a second panic would hide why.
        if !std::thread::panicking() {
            self.stop();
            return;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/registry.sh");
        let _stopped = Command::new(script)
            .arg("stop")
            .env("ISOBAR_REGISTRY_HOME", self.home.path())
            .output();
    }
}
