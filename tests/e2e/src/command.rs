//! The `isobar` command as a shell runs it: what it printed and how it ended.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Where the command is: `$ISOBAR`, else where cargo puts it beside these tests.
///
/// # Panics
///
/// When it is not there.
pub fn isobar() -> PathBuf {
    let program = std::env::var_os("ISOBAR").map_or_else(beside_the_tests, PathBuf::from);
    assert!(
        program.is_file(),
        "{} is not there: run `cargo build` first",
        program.display()
    );
    program
}

/// Tests run from `target/PROFILE/deps/`.
fn beside_the_tests() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test.parent().and_then(Path::parent).expect("cargo's target folder");
    profile.join("isobar")
}

/// The command with a data folder, an otherwise clean environment, and no standard input.
pub fn command<A: AsRef<OsStr>>(data: &Path, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(isobar());
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ISOBAR_DATA", data)
        .current_dir(data)
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end.
///
/// # Panics
///
/// When it cannot be run.
pub fn run<A: AsRef<OsStr>>(data: &Path, args: impl IntoIterator<Item = A>) -> Ended {
    Ended::of(&command(data, args).output().expect("the command can be run"))
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; absent: a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
}

impl Ended {
    /// From what the system says.
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// That it did what it was asked.
    ///
    /// # Panics
    ///
    /// When it ended otherwise.
    #[track_caller]
    pub fn done(self) -> Self {
        self.ended_with(0)
    }

    /// That it ended with this exit code; `isobar --help` lists them.
    ///
    /// # Panics
    ///
    /// When it ended otherwise.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// That what it said on standard error holds each of these.
    ///
    /// # Panics
    ///
    /// When one is missing.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in:\n{}", self.stderr);
        }
        self
    }

    /// Its result, of `--output json`.
    ///
    /// # Panics
    ///
    /// When it is not one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}
