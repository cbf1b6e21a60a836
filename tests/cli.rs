//! The command as a shell sees it: output, errors, exit codes. Engines in it are real ones, on a store of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use expect_test::{Expect, expect};
use serde_json::Value;

/// An engine has so long to come up or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

fn isobar(data: &Path, args: &[&str]) -> Output {
    command(data, args).output().unwrap()
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isobar"));
    command
        .args(args)
        .env_clear()
        .env("ISOBAR_DATA", data)
        .current_dir(data)
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(args: &[&str], expect: Expect) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.yaml"), BAD_SPEC).unwrap();
    let output = isobar(dir.path(), args);
    let folder = dir.path().display().to_string();
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr)).replace(&folder, "DATA");
    expect.assert_eq(&format!("{told}[{}]\n", output.status.code().unwrap()));
}

const BAD_SPEC: &str = "\
cluster: shop
sites:
  north: { provider: local, regon: north }
pools:
  general: { machines: { min: 1, max: 0 } }
";

#[test]
fn help_names_every_command_and_every_exit_code() {
    check(&["--help"], expect![[""]]);
}

#[test]
fn help_of_a_command_has_examples() {
    check(&["move", "--help"], expect![[""]]);
}

#[test]
fn wrong_usage_ends_with_2() {
    check(&["plam"], expect![[""]]);
    check(&["apply"], expect![[""]]);
    check(&["move", "web"], expect![[""]]);
    check(&["scale", "Web", "3"], expect![[""]]);
    check(&["logs", "web-1", "--follow", "--output", "json"], expect![[""]]);
    check(&["serve", "--listen", "0.0.0.0:0"], expect![[""]]);
}

#[test]
fn a_spec_is_checked_without_an_engine() {
    check(&["check", "bad.yaml"], expect![[""]]);
    check(&["apply", "bad.yaml", "--yes"], expect![[""]]);
    check(&["check", "absent.yaml"], expect![[""]]);
    let dir = tempfile::tempdir().unwrap();
    let output = isobar(dir.path(), &["check", "-o", "json", "/dev/null"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (error["error"]["code"].as_str(), output.status.code()),
        (Some("invalid_spec"), Some(2))
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn without_an_engine_the_error_says_how_to_start_one() {
    check(&["status"], expect![[""]]);
    check(&["status", "--output", "json"], expect![[""]]);
    check(&["destroy", "shop", "--yes"], expect![[""]]);
}

#[test]
fn the_schema_is_one_json_document() {
    let dir = tempfile::tempdir().unwrap();
    let output = isobar(dir.path(), &["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], serde_json::json!(["cluster", "sites", "pools"]));
}

#[test]
fn completions_know_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&isobar(dir.path(), &["completions", shell]).stdout);
        assert!(script.contains("destroy"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

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
