//! Engines that are started, used, and end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use crate::{command, isobar, text};

/// An engine has so long to come up or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

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
fn an_address_that_no_node_can_call_is_not_advertised() {
    let dir = tempfile::tempdir().unwrap();
    for address in ["engine.example", "http://engine.example:7421", "a:7421,b:7421", "a:0"] {
        let output = isobar(dir.path(), &["serve", "--advertise", address]);
        let told = text(&output.stderr);
        assert!(told.contains("'--advertise <HOST:PORT>'"), "{told}");
        assert!(told.contains("give each address an option of its own"), "{told}");
        assert_eq!(output.status.code(), Some(2));
    }
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

#[test]
fn a_ring_is_joined_only_by_a_binary_that_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let output = isobar(dir.path(), &["serve", "--spread", "no url"]);
    let told = text(&output.stderr);
    let expected = if cfg!(feature = "distributed-scheduler") {
        "error: --spread is no URL of a Redis server"
    } else {
        "error: --spread needs an `isobar` that was built with the feature `distributed-scheduler`"
    };
    assert!(told.contains(expected), "{told}");
    assert_eq!(output.status.code(), Some(2));
    assert!(!dir.path().join("endpoint").exists());
}

/// A running engine; killed if the test fails.
pub(crate) struct Engine(Child);

impl Engine {
    pub(crate) fn start(data: &Path) -> Self {
        let child = command(
            data,
            &["serve", "--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"],
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
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

    pub(crate) fn stop(&mut self) -> Option<i32> {
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
