//! The peer of plans and of reading states: `terraform`, or `tofu` where that is all there is, with as many `terraform_data` resources as we
//! have machines, state in a local file. Never reaches a network: that resource is built in.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::state::{Took, peak_kib};

/// What may stand for Terraform, best first.
const PROGRAMS: [&str; 2] = ["terraform", "tofu"];
/// Between two looks at a program that runs: what a measurement may be too long by.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// A program that works.
#[derive(Debug, Clone)]
pub(crate) struct Terraform {
    program: &'static str,
    /// Its name and version.
    pub(crate) name: String,
}

/// A folder with a configuration.
pub(crate) struct Configuration<'a> {
    terraform: &'a Terraform,
    folder: tempfile::TempDir,
}

impl Terraform {
    /// The first program that answers, or why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let mut whys = Vec::new();
        for program in PROGRAMS {
            match version(program) {
                Ok(name) => return Ok(Self { program, name }),
                Err(why) => whys.push(format!("`{program}`: {why:#}")),
            }
        }
        Err(whys.join(", "))
    }

    /// `show -json` of a state, from start to end; how much memory it took is looked up while it runs.
    pub(crate) fn show(&self, state: &Path, at_most: Duration) -> anyhow::Result<Took> {
        let folder = tempfile::tempdir()?;
        let started = Instant::now();
        let child = command(self.program, folder.path())
            .args(["show", "-json"])
            .arg(state)
            .spawn()
            .with_context(|| format!("start `{}`", self.program))?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        wait_and_look(child, at_most, || {
            let now = std::fs::read_to_string(&status)
                .ok()
                .and_then(|status| peak_kib(&status));
            peak = now.unwrap_or(0).max(peak);
        })
        .with_context(|| format!("`{} show -json`", self.program))?;
        Ok(Took {
            seconds: started.elapsed().as_secs_f64(),
            peak_bytes: f64::from(peak) * 1024.0,
        })
    }

    /// A configuration of so many resources, ready to plan.
    pub(crate) fn configure(&self, resources: u32) -> anyhow::Result<Configuration<'_>> {
        let folder = tempfile::tempdir()?;
        let text = format!(
            "resource \"terraform_data\" \"machine\" {{\n  count = {resources}\n  input = {{ name = \"general-${{count.index}}\" }}\n}}\n"
        );
        std::fs::write(folder.path().join("main.tf"), text)?;
        let configuration = Configuration {
            terraform: self,
            folder,
        };
        configuration.run(&["init"], Duration::from_secs(60))?;
        Ok(configuration)
    }
}

impl Configuration<'_> {
    /// Plans, and keeps the plan in a file.
    pub(crate) fn plan(&self, at_most: Duration) -> anyhow::Result<Duration> {
        self.run(&["plan", "-out=kept.plan"], at_most)
    }

    /// Carries the kept plan out, so many resources at a time.
    pub(crate) fn apply(&self, at_a_time: usize, at_most: Duration) -> anyhow::Result<Duration> {
        let parallelism = format!("-parallelism={at_a_time}");
        self.run(&["apply", &parallelism, "kept.plan"], at_most)
    }

    fn run(&self, arguments: &[&str], at_most: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let child = command(self.terraform.program, self.folder.path())
            .args(arguments)
            .arg("-no-color")
            .spawn()
            .with_context(|| format!("start `{}`", self.terraform.program))?;
        wait(child, at_most).with_context(|| format!("`{} {}`", self.terraform.program, arguments[0]))?;
        Ok(started.elapsed())
    }
}

fn version(program: &str) -> anyhow::Result<String> {
    let output = command(program, Path::new("/"))
        .arg("version")
        .stdout(Stdio::piped())
        .output()
        .context("not found")?;
    if !output.status.success() {
        bail!("`version` fails");
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().context("`version` prints nothing")?.to_owned())
}

/// Without the user's own settings, and without asking anybody for a newer version.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .env("CHECKPOINT_DISABLE", "1")
        .env("TF_IN_AUTOMATION", "1");
    command
}

/// Waits for a child's success; kills it when it takes too long.
fn wait(child: Child, at_most: Duration) -> anyhow::Result<()> {
    wait_and_look(child, at_most, || {})
}

fn wait_and_look(mut child: Child, at_most: Duration, mut look: impl FnMut()) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        look();
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{status}"),
            None if started.elapsed() > at_most => {
                child.kill()?;
                child.wait()?;
                bail!("not done within {} s", at_most.as_secs());
            }
            None => std::thread::sleep(LOOK_PAUSE),
        }
    }
}
