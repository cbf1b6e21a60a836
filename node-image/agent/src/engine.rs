//! A machine that was bought for an engine: the agent prepares its disk, runs the engine on it for as long as the machine
//! lives, and ends it cleanly. No containers run here, and nobody is called.
//!
//! [`disk`] finds, and at first makes, the file system that holds what the engine keeps; [`process`] keeps the engine
//! running.

pub mod disk;
pub mod process;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tokio::process::Command;

use self::disk::{DiskError, Use};
use crate::identity::EngineBirth;

/// Where its disk is mounted.
const DATA: &str = "/data";
/// The engine's data folder.
const FOLDER: &str = "/data/isobar";
/// What the machine was born with, for the engine.
const IDENTITY: &str = "/run/isobar/engine.json";
/// The programs of the engine image.
const ENGINE: &str = "/usr/bin/isobar";
const MAKE_FILE_SYSTEM: &str = "/usr/sbin/mke2fs";
const CHECK_FILE_SYSTEM: &str = "/usr/sbin/e2fsck";
/// What is wrong with a file system beyond this, `e2fsck -p` has not put right. See its manual's exit codes.
const CHECK_CORRECTED: i32 = 1;

/// Why an engine's machine cannot run its engine. There is nothing to do but to power off.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no disk to keep anything on.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A program of the image does not do its work.
    #[error("{program} {how}")]
    Program {
        /// Which one.
        program: &'static str,
        /// How it ended.
        how: String,
    },
    /// The file system cannot be mounted.
    #[error("mount {DATA}")]
    Mount(#[source] nix::Error),
    /// A file or folder cannot be written.
    #[error("write {place}")]
    Write {
        /// Which one.
        place: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be heard.
    #[error("listen for signals")]
    Signals(#[source] io::Error),
}

/// Runs the engine until somebody stops the machine.
pub async fn live(birth: &EngineBirth) -> Result<(), EngineError> {
    tracing::info!(machine = birth.machine, "runs an engine");
    let disk = disk::found().await?;
    ready(&disk).await?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    folder(DATA)?;
    mount(Some(disk.device()), DATA, Some("ext4"), flags, None::<&str>).map_err(EngineError::Mount)?;
    folder(FOLDER)?;
    write_identity(&birth.json)?;
    let ended = process::keep(command).await.map_err(EngineError::Signals);
    nix::unistd::sync();
    if let Err(error) = umount2(DATA, MntFlags::empty()) {
        tracing::warn!(%error, "the data disk is not unmounted: its journal makes up for it at the next start");
    }
    ended
}

/// A file system on the disk that is whole.
async fn ready(disk: &Use) -> Result<(), EngineError> {
    match disk {
        Use::Ours(device) => {
            let code = run(CHECK_FILE_SYSTEM, &["-p", &device.display().to_string()]).await?;
            match code <= CHECK_CORRECTED {
                true => Ok(()),
                false => Err(EngineError::Program {
                    program: CHECK_FILE_SYSTEM,
                    how: format!("cannot put the file system on {} right: code {code}", device.display()),
                }),
            }
        }
        Use::Blank(device) => {
            tracing::info!(device = %device.display(), "makes a file system on a blank disk");
            let device = device.display().to_string();
            let arguments = ["-q", "-t", "ext4", "-m", "0", "-L", disk::LABEL, &device];
            match run(MAKE_FILE_SYSTEM, &arguments).await? {
                0 => Ok(()),
                code => Err(EngineError::Program {
                    program: MAKE_FILE_SYSTEM,
                    how: format!("makes none on {device}: code {code}"),
                }),
            }
        }
    }
}

/// Runs a program to its end; its exit code.
async fn run(program: &'static str, arguments: &[&str]) -> Result<i32, EngineError> {
    // Nobody is there to be asked anything.
    let status = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .status()
        .await;
    let failed = |how: String| EngineError::Program { program, how };
    let status = status.map_err(|error| failed(format!("cannot be run: {error}")))?;
    status.code().ok_or_else(|| failed(format!("was ended: {status}")))
}

fn folder(place: &'static str) -> Result<(), EngineError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(place);
    made.map_err(|source| EngineError::Write { place, source })
}

/// For the engine alone; in memory, so that it is on no disk.
fn write_identity(json: &[u8]) -> Result<(), EngineError> {
    let written = || {
        std::fs::create_dir_all(Path::new(IDENTITY).parent().unwrap_or(Path::new("/")))?;
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(IDENTITY)?;
        file.write_all(json)
    };
    written().map_err(|source| EngineError::Write {
        place: IDENTITY,
        source,
    })
}

/// The engine, with nothing in its environment that it does not need.
fn command() -> Command {
    let mut command = Command::new(ENGINE);
    command
        .args(["born", "--identity", IDENTITY, "--data", FOLDER])
        .env_clear()
        .env("HOME", DATA)
        .env("NO_COLOR", "1")
        // Google's library would ask for it by a name, and so trust whoever answers that.
        .env("GCE_METADATA_HOST", "169.254.169.254")
        .env("PATH", "/usr/sbin:/usr/bin")
        .env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        .current_dir("/");
    command
}
