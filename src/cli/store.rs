//! Keeping a store: backups, restoring them, and what follows.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isobar_engine_model::id::MachineId;

use super::ClusterArg;

/// Which store, where no engine is asked.
#[derive(Debug, Args)]
pub(crate) struct StoreArg {
    /// A PostgreSQL database [default: SQLite in the data folder]
    #[arg(long, value_name = "URL", env = "ISOBAR_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to; `-` writes standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) of: StoreArg,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) into: StoreArg,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Recover {
    #[command(subcommand)]
    pub(crate) decide: Option<RecoverDecision>,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
    /// A spec of the cluster that is newer than the backup: its sites are looked at too
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecoverDecision {
    /// Keep machines that the backup does not know
    Adopt(RecoverChoice),
    /// Delete machines that the backup does not know
    Release(RecoverRelease),
    /// Go on: refused while something is undecided
    End,
}

/// Which machines.
#[derive(Debug, Args)]
pub(crate) struct RecoverChoice {
    /// As `isobar recover` names them
    #[arg(value_name = "MACHINE", required_unless_present = "all", conflicts_with = "all",
        value_parser = |text: &str| Ok::<_, String>(MachineId::new(text)))]
    pub(crate) machines: Vec<MachineId>,
    /// Every machine that can be
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverRelease {
    #[command(flatten)]
    pub(crate) choice: RecoverChoice,
    /// Delete without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}
