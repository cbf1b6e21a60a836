//! Measures, beside peers and in the same run: `plan`, `containers`, `node`, `terraform` and `clouds`. Prints lines for people,
//! then one JSON line a figure.
//!
//! Every number is measured then and there; a peer that is absent is null with a word. Asserts nothing: a slow computer
//! fails no build. Called by `./dev bench NAME`; docs/benchmarks.md says what each figure means.

mod clouds;
mod containers;
mod figure;
mod node;
mod output;
mod plan;
mod state;
mod terraform;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure Isobar beside its peers.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Planner, engine and journal with 1,000 and 10,000 simulated machines, beside `terraform`.
    Plan(plan::Options),
    /// Create, start, wait and delete of a container, beside crun and runc. Needs root.
    Containers(containers::Options),
    /// Booted machines: kernel start to joined, and the agent's memory. Needs QEMU, and a registry for the containers.
    Node(node::Options),
    /// A state is read, understood and reported, beside `terraform show -json`.
    Terraform(state::Options),
    /// Many machines in one apply on each throttled cloud: calls, the engine's processor time, and time beside the throttle's.
    Clouds(clouds::Options),
    /// What `terraform` measures, once, in this process.
    #[command(hide = true)]
    Account(state::One),
}

fn main() -> ExitCode {
    let measured = match Arguments::parse().what {
        What::Plan(options) => plan::measure(&options),
        What::Containers(options) => containers::measure(&options),
        What::Node(options) => node::measure(&options),
        What::Terraform(options) => state::measure(&options),
        What::Clouds(options) => clouds::measure(&options),
        What::Account(one) => return exit(state::one(&one)),
    };
    exit(measured.and_then(|figures| output::figures(&figures)))
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
