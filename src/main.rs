//! The `isobar` command: parses, wires, prints. Every command but `serve` and the ones that need no engine is a client
//! of the running engine's MCP server and nothing else.

mod born;
mod cli;
mod commands;
mod copies;
mod crash;
mod exit;
mod follow;
mod key;
mod output;
mod serve;
mod session;
mod show;
mod spread;
mod system;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let output = Output::new(cli.global.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&output, &anyhow::Error::new(error).context("start the runtime")),
    };
    let result = runtime.block_on(commands::run(cli, &output));
    // A read of standard input that is still pending must not keep the process alive.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&output, &error),
    }
}
