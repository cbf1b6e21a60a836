//! Engines that are started, used, and end.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use crate::{command, isobar, text};

/// An engine has so long to come up or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// An image that only looks like one: enough to plan with.
const EMPTY_IMAGE: &str = r#"{"format": 1, "id": "node-empty", "command_line": "quiet",
    "kernel": {"file": "vmlinux", "bytes": 0}, "initramfs": {"file": "initramfs", "bytes": 0}}"#;

const IDLE_SPEC: &str = "\
cluster: shop
sites:
  north: { provider: local, region: north }
pools:
  general: { machines: { min: 0, max: 1 } }
";

#[test]
fn an_engine_serves_until_a_signal_and_leaves_no_endpoint_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(dir.path());
    let output = isobar(dir.path(), &["status"]);
    assert_eq!(
        text(&output.stdout),
        "there is no cluster: make one with `isobar apply SPEC`\n"
    );
    let output = isobar(dir.path(), &["destroy", "--yes"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let output = isobar(dir.path(), &["operation", "get", "op-0", "-o", "json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (error["error"]["code"].as_str(), output.status.code()),
        (Some("not_found"), Some(3))
    );

    let output = isobar(
        dir.path(),
        &["serve", "--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"],
    );
    let told = text(&output.stderr);
    assert!(told.contains("is in use by another engine"), "{told}");
    assert_eq!(output.status.code(), Some(3));

    assert_eq!(engine.stop(), Some(0));
    assert!(!dir.path().join("endpoint").exists());
    assert_eq!(isobar(dir.path(), &["status"]).status.code(), Some(4));
}

#[test]
fn an_engine_whose_store_another_one_took_over_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    fs::create_dir(&image).unwrap();
    fs::write(image.join("manifest.json"), EMPTY_IMAGE).unwrap();
    for part in ["vmlinux", "initramfs"] {
        fs::write(image.join(part), "").unwrap();
    }
    let mut first = Engine::telling(dir.path(), Stdio::piped());
    // How to reach it once its folder says where the other one is.
    let reach = tempfile::tempdir().unwrap();
    for file in ["token", "endpoint"] {
        fs::copy(dir.path().join(file), reach.path().join(file)).unwrap();
    }
    // Only who removes the lock's file gets a second engine.
    fs::remove_file(dir.path().join("isobar.lock")).unwrap();
    fs::remove_file(dir.path().join("endpoint")).unwrap();
    let mut second = Engine::start(dir.path());

    fs::write(reach.path().join("idle.yaml"), IDLE_SPEC).unwrap();
    let refused = isobar(reach.path(), &["plan", "idle.yaml"]);
    assert!(
        text(&refused.stderr).contains("another engine has taken the store over"),
        "{}",
        text(&refused.stderr)
    );
    let (code, told) = first.ended();
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains("error: another engine has taken the store over"),
        "{told}"
    );
    assert!(told.contains("hint: ask that engine"), "{told}");

    assert_eq!(
        isobar(dir.path(), &["status"]).status.code(),
        Some(0),
        "the second one can be found"
    );
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_its_option() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--node-listen"] {
        let other = if option == "--listen" {
            "--node-listen"
        } else {
            "--listen"
        };
        let output = isobar(dir.path(), &["serve", option, &address, other, "127.0.0.1:0"]);
        let told = text(&output.stderr);
        assert!(
            told.contains(&format!("error: listen on {address} ({option})\n")),
            "{told}"
        );
        assert!(told.contains(&format!(
            "hint: another program has that port: stop it, or give another one with {option}"
        )));
        assert_eq!(output.status.code(), Some(3));
    }
}

#[test]
fn a_token_that_others_can_read_is_refused_by_both_sides() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(dir.path());
    fs::set_permissions(dir.path().join("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = isobar(dir.path(), &["status"]);
    assert!(
        text(&output.stderr).contains("token is open to others (mode 644)"),
        "{}",
        text(&output.stderr)
    );
    engine.stop();
    let output = isobar(
        dir.path(),
        &["serve", "--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"],
    );
    assert!(
        text(&output.stderr).contains("token is open to others (mode 644)"),
        "{}",
        text(&output.stderr)
    );
}

/// A running engine; killed if the test fails.
struct Engine(Child);

impl Engine {
    fn start(data: &Path) -> Self {
        Self::telling(data, Stdio::null())
    }

    fn telling(data: &Path, stderr: Stdio) -> Self {
        let child = command(
            data,
            &["serve", "--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"],
        )
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
        let mut engine = Self(child);
        let begun = Instant::now();
        while !data.join("endpoint").exists() {
            assert!(engine.0.try_wait().unwrap().is_none(), "the engine ended early");
            assert!(begun.elapsed() < PATIENCE, "the engine does not come up");
            thread::sleep(Duration::from_millis(20));
        }
        engine
    }

    /// How it ended by itself, and what it said.
    fn ended(&mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the engine does not end");
            thread::sleep(Duration::from_millis(20));
        }
        let mut told = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (self.0.wait().unwrap().code(), told)
    }

    fn stop(&mut self) -> Option<i32> {
        let killed = Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Already gone where the test went well.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
