//! `isobar-cloudbox` as other programs run it: a line of JSON for each line that it is told. No machine boots in these.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The program, with both ends of what is said.
struct Program {
    process: Child,
    asks: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Program {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let manifest = r#"{"command_line":"","kernel":{"file":"vmlinux"},"initramfs":{"file":"initramfs"}}"#;
        fs::write(folder.path().join("manifest.json"), manifest).expect("the folder can be written");
        let mut process = Command::new(env!("CARGO_BIN_EXE_isobar-cloudbox"))
            .arg(folder.path())
            .env("ISOBAR_IMAGE", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let answers = BufReader::new(process.stdout.take().expect("it is a pipe")).lines();
        Self {
            asks: process.stdin.take(),
            answers,
            process,
            _folder: folder,
        }
    }

    fn hear(&mut self) -> Value {
        let line = self.answers.next().expect("it runs").expect("it is text");
        serde_json::from_str(&line).expect("a line is a document")
    }

    fn ask(&mut self, line: &str) -> Value {
        let asks = self.asks.as_mut().expect("nobody has closed it");
        writeln!(asks, "{line}").expect("it runs");
        self.hear()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[test]
fn it_says_how_its_clouds_are_found_and_ends_with_its_input() {
    let mut program = Program::start();
    let told = program.hear();
    assert_eq!(told["host"], "10.0.2.2");
    assert!(told["environment"]["AWS_ACCESS_KEY_ID"].is_string(), "{told}");
    for cloud in ["aws", "azure", "gcp"] {
        let site = &told["sites"][cloud];
        assert_eq!(site["provider"], cloud);
        let endpoint = site["settings"]["endpoint"].as_str().expect("an address");
        assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    }
    program.asks = None;
    let ended = program.process.wait().expect("it is our child");
    assert!(ended.success(), "{ended}");
}

#[test]
fn it_answers_each_command_and_says_which_there_are() {
    let mut program = Program::start();
    program.hear();
    assert_eq!(program.ask("machines"), json!({ "machines": [] }));
    assert_eq!(program.ask("dry gcp"), json!({ "dry": "gcp" }));
    assert_eq!(program.ask("room gcp"), json!({ "room": "gcp" }));
    for wrong in ["", "dry", "dry mars", "machines aws", "stop"] {
        let answer = program.ask(wrong);
        assert!(
            answer["error"].as_str().is_some_and(|error| error.contains("`dry`")),
            "{wrong}: {answer}"
        );
    }
}
