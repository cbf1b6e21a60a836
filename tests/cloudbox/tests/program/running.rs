//! The program, with both ends of what is said, and a QEMU that boots nothing.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Says how it was started, then runs until it is ended.
const QEMU: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$0.$$\"\nexec sleep 600\n";
const MANIFEST: &str = r#"{"command_line":"","kernel":{"file":"vmlinux"},"initramfs":{"file":"initramfs"}}"#;
/// What is waited for happens within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// It is ended with the value.
pub(crate) struct Program {
    process: Child,
    asks: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
}

impl Program {
    /// Without an engine image: nobody has built it.
    pub(crate) fn start() -> Self {
        Self::started("nowhere")
    }

    /// With one.
    pub(crate) fn start_for_engines() -> Self {
        Self::started("engine")
    }

    fn started(engine: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for image in ["node", "engine"] {
            let image = folder.path().join(image);
            fs::create_dir(&image).expect("the folder can be made");
            fs::write(image.join("manifest.json"), MANIFEST).expect("the folder can be written");
        }
        let qemu = folder.path().join("qemu-system-x86_64");
        fs::write(&qemu, QEMU).expect("the folder can be written");
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let others = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(env!("CARGO_BIN_EXE_isobar-cloudbox"));
        command
            .arg(folder.path())
            .current_dir(folder.path())
            .env("ISOBAR_IMAGE", folder.path().join("node"))
            .env("ISOBAR_ENGINE_IMAGE", folder.path().join(engine))
            .env("PATH", format!("{}:{others}", folder.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("it was built");
        let answers = BufReader::new(process.stdout.take().expect("it is a pipe")).lines();
        Self {
            asks: process.stdin.take(),
            answers,
            process,
            folder,
        }
    }

    /// The next line that it says.
    pub(crate) fn hear(&mut self) -> Value {
        let line = self.answers.next().expect("it runs").expect("it is text");
        serde_json::from_str(&line).expect("a line is a document")
    }

    /// What it answers to a line.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        let asks = self.asks.as_mut().expect("nobody has closed it");
        writeln!(asks, "{line}").expect("it runs");
        self.hear()
    }

    /// Its only machine, once that is as wanted; absent: it has none.
    pub(crate) fn machine(&mut self, is_wanted: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("machines");
            let machine = answer["machines"].get(0);
            if is_wanted(machine) {
                return machine.cloned();
            }
            assert!(Instant::now() < until, "{answer}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// With which arguments a guest was started.
    pub(crate) fn arguments(&self, pid: u64) -> Vec<String> {
        let file = self.folder.path().join(format!("qemu-system-x86_64.{pid}"));
        let until = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            // The last one.
            if text.ends_with(".console\n") {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(Instant::now() < until, "{}: {text}", file.display());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// A folder of an image, or of a cloud's consoles.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How it ends with its input.
    pub(crate) fn ends(mut self) -> ExitStatus {
        self.asks = None;
        self.process.wait().expect("it is our child")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Its guests end with it, which they would not if it were killed. Ended already is as good.
        drop(self.asks.take());
        let _reaped = self.process.wait();
    }
}
