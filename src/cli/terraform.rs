//! `terraform`: the states that the engine keeps.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isobar_engine_model::id::StateName;

#[derive(Debug, Subcommand)]
pub(crate) enum Terraform {
    /// List the states: serial, lineage, versions, who has locked them
    States,
    /// List the versions of a state that are kept
    History(StateArg),
    /// Write a version of a state as it was stored; it holds whatever secrets the state holds
    Get(Get),
    /// Take away the lock of a client that died
    Unlock(Unlock),
}

/// Which state.
#[derive(Debug, Args)]
pub(crate) struct StateArg {
    /// Which state
    #[arg(value_name = "STATE", value_parser = |text: &str| StateName::new(text))]
    pub(crate) state: StateName,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) of: StateArg,
    /// Which version [default: the newest]
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u64>,
    /// Into this file, which must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    pub(crate) of: StateArg,
    /// The lock's id, as `isobar terraform states` shows it: no other lock is taken away
    #[arg(long, value_name = "ID")]
    pub(crate) lock: String,
}
