//! What the provider remembers, as files: one folder a machine and one file a token. Whatever moment the process dies
//! at, the files say what was promised; whether a machine runs, only its process says. Starts and kills nothing.
//!
//! ```text
//! lock                              held while something is promised
//! tokens/<sha256 of the token>      which machine, which request; kept after the machine, as long as tokens count
//! machines/<region>/<name>/         locked while the machine is started or deleted
//!     request.json                  what was asked for (secret)
//!     identity                      what the guest reads (secret)
//!     qemu.pid, console.log         QEMU's
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{CreateResource, Token};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::place::Place;

/// Nobody holds a lock for longer than a start of QEMU takes at most.
const LOCK_TRIES_MAX: u32 = 4000;
const LOCK_RETRY: Duration = Duration::from_millis(10);
/// Folders that are being written start so.
const UNFINISHED: &str = ".new-";

/// The files of all machines.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    root: PathBuf,
}

/// A machine as it was promised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) request: CreateResource,
    pub(crate) created: Timestamp,
}

/// What a token was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) place: Place,
    pub(crate) request_sha256: String,
    pub(crate) state: PromiseState,
}

/// What became of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum PromiseState {
    /// The machine is to exist.
    Kept,
    /// The machine was deleted, and is never made again.
    Deleted { at: Timestamp },
}

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Ledger {
    /// Opens or makes the ledger in a folder. The path is made canonical: processes are recognised by it.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let ledger = Self {
            root: root.canonicalize()?,
        };
        fs::create_dir_all(ledger.tokens())?;
        fs::create_dir_all(ledger.root.join("machines"))?;
        Ok(ledger)
    }

    /// Waits for the right to promise something.
    pub(crate) fn lock(&self) -> io::Result<Lock> {
        lock(
            File::options()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(self.root.join("lock"))?,
        )
    }

    /// Waits for the right to start or delete a machine; `None`: there is no such machine.
    pub(crate) fn lock_machine(&self, place: &Place) -> io::Result<Option<Lock>> {
        let folder = self.folder(place);
        let Some(opened) = present(File::open(&folder))? else {
            return Ok(None);
        };
        let inode = opened.metadata()?.ino();
        let held = lock(opened)?;
        // The folder may have been removed, and made again, while this waited.
        let now = present(fs::metadata(&folder))?;
        Ok(now.is_some_and(|now| now.ino() == inode).then_some(held))
    }

    /// What a token was used for.
    pub(crate) fn promise(&self, token: &Token) -> io::Result<Option<Promise>> {
        read_json(&self.token_file(token))
    }

    /// Writes what a token is used for.
    pub(crate) fn write_promise(&self, token: &Token, promise: &Promise) -> io::Result<()> {
        write_whole(&self.token_file(token), &json(promise))
    }

    /// Forgets a token whose machine never was.
    pub(crate) fn forget_promise(&self, token: &Token) -> io::Result<()> {
        present(fs::remove_file(self.token_file(token))).map(|_| ())
    }

    /// Forgets the tokens of machines that were deleted before `before`.
    pub(crate) fn forget_deleted(&self, before: Timestamp) -> io::Result<()> {
        for name in names(&self.tokens())? {
            let path = self.tokens().join(name);
            let promise: Option<Promise> = read_json(&path)?;
            let old = |p: &Promise| matches!(p.state, PromiseState::Deleted { at } if at < before);
            if promise.as_ref().is_some_and(old) {
                present(fs::remove_file(&path))?;
            }
        }
        Ok(())
    }

    /// Makes a machine's folder, whole or not at all.
    pub(crate) fn write_machine(&self, place: &Place, record: &Record) -> io::Result<()> {
        let region = self.region(&place.region);
        let unfinished = region.join(format!("{UNFINISHED}{}", place.name));
        present(fs::remove_dir_all(&unfinished))?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&unfinished)?;
        let machine = record.request.spec.machine().map_err(io::Error::other)?;
        write_secret(&unfinished.join("identity"), &machine.identity.0)?;
        write_secret(&unfinished.join("request.json"), &json(record))?;
        fs::rename(&unfinished, self.folder(place))
    }

    /// A machine as it was promised.
    pub(crate) fn machine(&self, place: &Place) -> io::Result<Option<Record>> {
        read_json(&self.folder(place).join("request.json"))
    }

    /// The machines of a region in name order.
    pub(crate) fn machines(&self, region: &str) -> io::Result<Vec<Place>> {
        let names = names(&self.region(region))?;
        Ok(names.into_iter().filter_map(|name| Place::new(region, &name)).collect())
    }

    /// The machines of all regions.
    pub(crate) fn all_machines(&self) -> io::Result<Vec<Place>> {
        let regions = names(&self.root.join("machines"))?;
        let places = regions
            .iter()
            .map(|region| self.machines(region))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(places.concat())
    }

    /// Removes a machine's folder. It disappears at once, whatever interrupts the removal.
    pub(crate) fn remove_machine(&self, place: &Place) -> io::Result<()> {
        let leaving = self.region(&place.region).join(format!("{UNFINISHED}{}", place.name));
        present(fs::remove_dir_all(&leaving))?;
        if present(fs::rename(self.folder(place), &leaving))?.is_some() {
            fs::remove_dir_all(&leaving)?;
        }
        Ok(())
    }

    /// What the guest reads.
    pub(crate) fn identity_file(&self, place: &Place) -> PathBuf {
        self.folder(place).join("identity")
    }

    /// QEMU's pid file.
    pub(crate) fn pid_file(&self, place: &Place) -> PathBuf {
        self.folder(place).join("qemu.pid")
    }

    /// What the machine printed. Made by QEMU when it starts: a machine with one was started.
    pub(crate) fn console_file(&self, place: &Place) -> PathBuf {
        self.folder(place).join("console.log")
    }

    fn folder(&self, place: &Place) -> PathBuf {
        self.region(&place.region).join(&place.name)
    }

    fn region(&self, region: &str) -> PathBuf {
        self.root.join("machines").join(region)
    }

    fn tokens(&self) -> PathBuf {
        self.root.join("tokens")
    }

    fn token_file(&self, token: &Token) -> PathBuf {
        self.tokens().join(hex::encode(Sha256::digest(&token.0)))
    }
}

/// The hash by which two requests are the same.
pub(crate) fn request_hash(request: &CreateResource) -> String {
    hex::encode(Sha256::digest(json(request)))
}

fn lock(file: File) -> io::Result<Lock> {
    for _ in 0..LOCK_TRIES_MAX {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process holds the lock of the machines' folder",
    ))
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("requests and records are plain data")
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Some(bytes) = present(fs::read(path))? else {
        return Ok(None);
    };
    let damaged = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// The names in a folder in order, without those that are being written; none where there is no folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = present(fs::read_dir(folder))? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(
            entry?
                .file_name()
                .into_string()
                .ok()
                .filter(|name| !name.starts_with('.')),
        );
    }
    names.sort();
    Ok(names)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let beside = path.with_file_name(format!("{UNFINISHED}{name}"));
    write_secret(&beside, bytes)?;
    fs::rename(&beside, path)
}

/// Writes a file that only its owner reads, down to the disk.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// `None` where the file does not exist.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
