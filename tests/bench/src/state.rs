//! `bench terraform`: a state is read, understood and reported, beside `terraform show -json` of the same file. Each
//! measurement is a process of its own, from its start to its end, so that its peak of memory is its own.
//!
//! Terraform shows a state only with its providers' programs at hand, so it stands beside us for `terraform_data`, which
//! is built in; states of AWS, whose resources we understand, are held to targets of their own.

mod generator;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use isobar_terraform_compat::account::{Told, account, settle_owners};
use isobar_terraform_compat::read::Keys;

use crate::figure::{Figure, Peer, Target, median};
use crate::output::say;
use crate::terraform::Terraform;
use generator::Kind;

/// The issue's: states of so many instances are accounted for within so many seconds.
const TARGETS_S: [(u32, f64); 2] = [(10_000, 0.3), (100_000, 3.0)];
/// The issue's: peak memory, in sizes of the file.
const TARGET_FILES: f64 = 3.0;
/// A call of the peer that takes longer is cut off, and its figure is null.
const PEER_MAX: Duration = Duration::from_secs(300);

/// What `bench terraform` is told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Numbers of instances, each a state by itself.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    instances: Vec<u32>,
    /// Rounds; figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// A state, accounted for in this very process.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The file.
    state: PathBuf,
}

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) seconds: f64,
    /// The most that was resident, in bytes.
    pub(crate) peak_bytes: f64,
}

/// Accounts for one state, drops the report, and prints how much memory was resident at most, in KiB.
pub(crate) fn one(one: &One) -> anyhow::Result<()> {
    let bytes = std::fs::read(&one.state).context("read the state")?;
    let mut accounts = [account("measured", &bytes, &Keys::default(), &Told::default())?];
    settle_owners(&mut accounts);
    serde_json::to_writer(std::io::sink(), &accounts)?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    say(&peak_kib(&status)
        .context("the kernel says nothing of memory")?
        .to_string());
    Ok(())
}

/// The most that was resident of a process, from its status.
pub(crate) fn peak_kib(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Measures, and says so round by round.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let terraform = Terraform::find();
    let folder = tempfile::tempdir()?;
    let mut figures = Vec::new();
    for &instances in &options.instances {
        for kind in [Kind::Aws, Kind::BuiltIn] {
            let path = folder.path().join("measured.tfstate");
            let file_bytes = write(&path, kind, instances)?;
            let mut ours = Vec::new();
            let mut theirs = match kind {
                Kind::Aws => Err("it needs the provider's program".to_owned()),
                Kind::BuiltIn => Ok(Vec::new()),
            };
            for round in 1..=options.rounds {
                let took = ours_once(&path)?;
                ours.push(took);
                say(&format!(
                    "{instances} of {kind}, round {round}: {:.3} s, {:.1} MB",
                    took.seconds,
                    took.peak_bytes / 1e6
                ));
                theirs = theirs.and_then(|before| theirs_once(&terraform, &path, before));
            }
            let name = terraform.as_ref().map_or("terraform show -json".to_owned(), |it| {
                format!("{} show -json", it.name)
            });
            let measured = Measured {
                kind,
                instances,
                file_bytes,
                ours,
                theirs,
            };
            figures.extend(measured.figures(&name));
            std::fs::remove_file(&path)?;
        }
    }
    Ok(figures)
}

fn write(path: &Path, kind: Kind, instances: u32) -> anyhow::Result<f64> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    generator::write(&mut file, kind, instances)?;
    file.flush()?;
    let length = std::fs::metadata(path)?.len();
    say(&format!(
        "a state of {instances} instances of {kind}: {:.1} MB",
        bytes(length)? / 1e6
    ));
    bytes(length)
}

fn bytes(length: u64) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(length).context("a state beyond 4 GB")?))
}

fn ours_once(path: &Path) -> anyhow::Result<Took> {
    let started = Instant::now();
    let output = Command::new(std::env::current_exe()?)
        .arg("account")
        .arg(path)
        .output()?;
    let seconds = started.elapsed().as_secs_f64();
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "the state is not accounted for: {said}");
    let kib: u32 = said.trim().parse().context("the account says no number")?;
    Ok(Took {
        seconds,
        peak_bytes: f64::from(kib) * 1024.0,
    })
}

fn theirs_once(terraform: &Result<Terraform, String>, path: &Path, mut before: Vec<Took>) -> Result<Vec<Took>, String> {
    let took = match terraform {
        Ok(terraform) => terraform.show(path, PEER_MAX).map_err(|error| format!("{error:#}")),
        Err(why) => Err(why.clone()),
    };
    before.push(took?);
    Ok(before)
}

/// Every round of one state.
struct Measured {
    kind: Kind,
    instances: u32,
    file_bytes: f64,
    ours: Vec<Took>,
    /// Or why there is none.
    theirs: Result<Vec<Took>, String>,
}

impl Measured {
    fn figures(&self, peer_name: &str) -> [Figure; 2] {
        let held = TARGETS_S.iter().find(|(of, _)| *of == self.instances);
        let seconds = held.map(|(_, seconds)| Target::AtMost(*seconds));
        // Of a small file, the memory of the program itself is the most.
        let sizes = held.map(|_| Target::AtMost(TARGET_FILES));
        let in_files = self.figure("account_memory", |took, file_bytes| took.peak_bytes / file_bytes);
        [
            Figure {
                unit: "s",
                peer_name: peer_name.to_owned(),
                target: seconds,
                ..self.figure("account", |took, _| took.seconds)
            },
            Figure {
                unit: "sizes of the file",
                peer_name: peer_name.to_owned(),
                target: sizes,
                ..in_files
            },
        ]
    }

    fn figure(&self, name: &str, what: fn(&Took, f64) -> f64) -> Figure {
        let of = |took: &[Took]| median(&took.iter().map(|took| what(took, self.file_bytes)).collect::<Vec<_>>());
        Figure {
            name: format!("{name}_{}_{}", self.instances, self.kind),
            unit: "",
            ours: of(&self.ours).unwrap_or_default(),
            peer_name: String::new(),
            peer: match &self.theirs {
                Ok(took) => of(took).map_or(Peer::Absent("not measured".into()), Peer::Measured),
                Err(why) => Peer::Absent(why.clone()),
            },
            target: None,
        }
    }
}
