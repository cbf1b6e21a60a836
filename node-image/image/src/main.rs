//! `isobar-image`: builds the node image. Parses arguments and prints; the library does the work.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use isobar_node_image_image::assemble::{self, Inputs, Packing, Purpose};
use isobar_node_image_image::package::PackageSource;
use isobar_node_image_image::programs::Program;

/// Where the agent finds each: see its module `engine`.
const ENGINE_PROGRAM: &str = "usr/bin/isobar";
const MAKE_FILE_SYSTEM: &str = "usr/sbin/mke2fs";
const CHECK_FILE_SYSTEM: &str = "usr/sbin/e2fsck";

/// Builds Isobar's node image: Debian's cloud kernel and an initramfs whose only program is the agent.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Builds the image and prints its id.
    Build {
        /// The agent: a static x86-64 binary.
        #[arg(long, value_name = "FILE")]
        agent: PathBuf,
        /// The folder that the image is written to.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// The kernel's Debian package; without it, the newest that the package index knows is downloaded.
        #[arg(long, value_name = "FILE")]
        kernel_package: Option<PathBuf>,
        /// The authorities that nodes trust for HTTPS registries.
        #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
        ca_bundle: PathBuf,
        /// Where packages are kept; without it, `isobar/kernel` in your cache folder.
        #[arg(long, value_name = "FOLDER")]
        cache: Option<PathBuf>,
        /// Build the engine image, with this `isobar` in it.
        #[arg(long, value_name = "FILE")]
        engine: Option<PathBuf>,
        /// Pack the initramfs: smaller to publish, slower to boot in QEMU.
        #[arg(long)]
        zstd: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("error: {error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Action::Build {
        agent,
        engine,
        out,
        kernel_package,
        ca_bundle,
        cache,
        zstd,
    } = arguments.action;
    let inputs = Inputs {
        agent,
        purpose: engine.map_or(Purpose::Node, |isobar| Purpose::Engine(programs(isobar))),
        kernel: kernel_package.map_or(PackageSource::Newest, PackageSource::File),
        ca_bundle,
        cache: cache.map_or_else(default_cache, Ok)?,
        packing: if zstd { Packing::Zstd } else { Packing::Raw },
    };
    let manifest = assemble::build(&inputs, &out)?;
    println!("image      {}", manifest.id);
    println!(
        "kernel     {} ({} KiB)",
        manifest.kernel_release,
        manifest.kernel.bytes / 1024
    );
    println!(
        "initramfs  {} KiB, of it the agent {} KiB",
        manifest.initramfs.bytes / 1024,
        manifest.agent.bytes / 1024
    );
    println!("folder     {}", out.display());
    Ok(())
}

/// The engine, and what its machine's agent prepares its disk with.
fn programs(isobar: PathBuf) -> Vec<Program> {
    let program = |file: PathBuf, path| Program { file, path };
    vec![
        program(isobar, ENGINE_PROGRAM),
        program("/sbin/mke2fs".into(), MAKE_FILE_SYSTEM),
        program("/sbin/e2fsck".into(), CHECK_FILE_SYSTEM),
    ]
}

fn default_cache() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither HOME nor XDG_CACHE_HOME is set: give --cache")?)
                .join(".cache")
        }
    };
    Ok(base.join("isobar/kernel"))
}
