//! An engine that commands of other computers ask: over TLS, known by its own authority, behind its token. It runs in a
//! network of its own, whose address is not loopback.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use isobar_tests_e2e::command::{Ended, isobar};
use isobar_tests_e2e::wait::{SOON, within};
use serde_json::Value;

/// Documentation's own: <https://www.rfc-editor.org/rfc/rfc5737>.
const ADDRESS: &str = "192.0.2.7";
const PORT: u16 = 7420;

/// An engine in a network that only it and its callers see.
struct Apart {
    folder: tempfile::TempDir,
    engine: Child,
}

impl Apart {
    /// Starts one that is advertised under these hosts.
    fn start(advertised: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let advertised: Vec<String> = advertised
            .iter()
            .map(|host| format!("--advertise {host}:7421"))
            .collect();
        let script = format!(
            "ip link set lo up && ip address add {ADDRESS}/32 dev lo && exec \"$0\" serve --data \"$1\" \
             --listen {ADDRESS}:{PORT} --node-listen 127.0.0.1:7421 {}",
            advertised.join(" ")
        );
        let engine = Command::new("unshare")
            .args(["--net", "sh", "-c", &script])
            .arg(isobar())
            .arg(folder.path().join("engine"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).expect("a file"))
            .spawn()
            .expect("unshare is there");
        let apart = Self { folder, engine };
        within(SOON, "the engine listens", || match apart.file("endpoint").exists() {
            true => Ok(()),
            false => Err("no endpoint".to_owned()),
        });
        apart
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("engine")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    /// Runs a command in its network, with a file as standard input.
    fn run(&self, data: &Path, args: &[&str], input: Option<&Path>) -> Ended {
        let input = input.map_or_else(Stdio::null, |file| fs::File::open(file).expect("it is there").into());
        let output = Command::new("nsenter")
            .arg(format!("--target={}", self.engine.id()))
            .arg("--net")
            .arg(isobar())
            .args(args)
            .env_clear()
            .env("ISOBAR_DATA", data)
            .stdin(input)
            .output();
        Ended::of(&output.expect("nsenter is there"))
    }

    fn connect(&self, data: &Path, authority: &Path, token: &Path) -> Ended {
        let authority = authority.display().to_string();
        let engine = format!("{ADDRESS}:{PORT}");
        self.run(
            data,
            &["connect", &engine, "--authority", &authority, "--output", "json"],
            Some(token),
        )
    }
}

impl Drop for Apart {
    #[expect(clippy::print_stderr, reason = "a failed test shows what happened")]
    fn drop(&mut self) {
        let _ended = self.engine.kill().and_then(|()| self.engine.wait());
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            eprintln!("{}", log.unwrap_or_default());
        }
    }
}

#[test]
fn commands_of_another_computer_ask_an_engine_that_they_know() {
    let engine = Apart::start(&["engine.example.org"]);
    let here = tempfile::tempdir().unwrap();
    let data = here.path().join("client");
    let connected = engine
        .connect(&data, &engine.file("authority.pem"), &engine.file("token"))
        .done();
    let connected: Value = serde_json::from_str(&connected.stdout).unwrap();
    assert_eq!(connected["mcp"], format!("https://{ADDRESS}:{PORT}/mcp"));
    for file in ["token", "endpoint", "authority.pem"] {
        let mode = fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    engine.run(&data, &["status"], None).done();
    // Its own computer asks it in the same way.
    engine.run(&engine.data(), &["status"], None).done();
}

#[test]
fn whoever_cannot_show_that_he_is_the_engine_hears_no_token_and_no_stranger_is_let_in() {
    let (engine, another) = (Apart::start(&[]), Apart::start(&[]));
    let here = tempfile::tempdir().unwrap();
    let data = here.path().join("client");
    engine
        .connect(&data, &another.file("authority.pem"), &engine.file("token"))
        .ended_with(4)
        .says(&["is not the engine that this folder knows", "authority.pem"]);
    engine
        .connect(&data, &engine.file("authority.pem"), &another.file("token"))
        .ended_with(4)
        .says(&["refuses the token"]);
    assert!(!data.exists(), "nothing is written before the engine has answered");
    engine
        .connect(&engine.data(), &engine.file("authority.pem"), &engine.file("token"))
        .ended_with(2)
        .says(&["is the data folder of an engine", "--data"]);

    // A folder that knew the engine before it was made anew.
    engine
        .connect(&data, &engine.file("authority.pem"), &engine.file("token"))
        .done();
    another
        .run(&data, &["status"], None)
        .ended_with(4)
        .says(&["is not the engine that this folder knows"]);
}

#[test]
fn nothing_is_said_in_clear_beyond_loopback() {
    let engine = Apart::start(&[]);
    let ask = format!(
        "exec 3<>/dev/tcp/{ADDRESS}/{PORT}; printf 'GET /mcp HTTP/1.1\\r\\nHost: {ADDRESS}\\r\\n\\r\\n' >&3; cat <&3"
    );
    let answer = Command::new("nsenter")
        .arg(format!("--target={}", engine.engine.id()))
        .args(["--net", "bash", "-c", &ask])
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
}
