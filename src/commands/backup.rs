//! Copies of a store: written while engines run, restored into an empty store. Needs no engine, but for the copy of a store
//! on another computer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use isobar_engine_store::backup::BackupError;
use isobar_mcp::copy::{self, CopyError};
use isobar_mcp::folder::DataFolder;
use serde_json::{Value, json};

use super::connect::points_elsewhere;
use crate::cli;
use crate::copies::{Place, document};
use crate::exit::{Complaint, Exit};
use crate::session::Context;

/// Written to instead of to a file.
const STANDARD: &str = "-";

pub(super) async fn backup(context: &Context<'_>, args: cli::Backup) -> Result<Exit> {
    let folder = context.folder()?;
    if args.file == Path::new(STANDARD) {
        taken(&folder, &args.of, io::stdout()).await?;
        return Ok(Exit::Done);
    }
    if !args.force && args.file.exists() {
        return Err(
            Complaint::new(Exit::Refused, format!("{} is there already", args.file.display()))
                .hint("give another name, or replace it with --force")
                .into(),
        );
    }
    let beside = Beside::of(&args.file)?;
    let written = tokio::select! {
        biased;
        pressed = tokio::signal::ctrl_c() => {
            pressed?;
            return Ok(Exit::Interrupted);
        }
        written = taken(&folder, &args.of, beside.file.try_clone()?) => with_file(written?, &args.file),
    };
    beside
        .keep(&args.file)
        .with_context(|| format!("write {}", args.file.display()))?;
    context.output.result(&written, || {
        let store = written["store"].as_str().unwrap_or_default();
        format!("{}: {} rows of store {store}\n", args.file.display(), written["rows"])
    })?;
    context
        .output
        .note("the key is not in it: keep a copy of it, apart from the backup")?;
    Ok(Exit::Done)
}

async fn taken<W: Write + Send + 'static>(folder: &DataFolder, of: &cli::StoreArg, mut writer: W) -> Result<Value> {
    if of.store.is_none() && points_elsewhere(folder) {
        return copy::fetch(folder, &mut writer).await.map_err(not_brought);
    }
    let place = Place {
        folder: folder.clone(),
        database: of.store.clone(),
    };
    let (_, summary) = place.taken(writer).await.map_err(complaint)?;
    Ok(document(&summary))
}

pub(super) async fn restore(context: &Context<'_>, args: cli::Restore) -> Result<Exit> {
    let folder = context.folder()?;
    let reader: Box<dyn Read + Send> = if args.file == Path::new(STANDARD) {
        Box::new(io::stdin())
    } else {
        let file = File::open(&args.file);
        Box::new(file.with_context(|| format!("read {}", args.file.display()))?)
    };
    folder.make()?;
    let mut store = crate::wire::sql_store(&folder, args.into.store.as_deref()).await?;
    let restored = store.restore(reader).await.map_err(complaint)?;
    context.output.result(&with_file(document(&restored), &args.file), || {
        format!("restored: {} rows of store {}\n", restored.rows, restored.store)
    })?;
    context.output.note(
        "put the key in place (the file `key` of the data folder, --key-file or ISOBAR_KEY), start the engine, then run \
         `isobar recover`: until that has ended nothing is bought or deleted unasked",
    )?;
    Ok(Exit::Done)
}

fn with_file(mut document: Value, file: &Path) -> Value {
    document["file"] = json!(file);
    document
}

fn not_brought(error: CopyError) -> anyhow::Error {
    match error {
        CopyError::Client(error) => error.into(),
        CopyError::Refused { .. } => Complaint::new(Exit::OperationFailed, error.to_string())
            .hint("see the log of the engine")
            .into(),
        CopyError::Write(source) => Complaint::new(Exit::Internal, "write the backup")
            .because(source)
            .into(),
    }
}

fn complaint(error: BackupError) -> anyhow::Error {
    let exit = match &error {
        BackupError::Foreign { .. } | BackupError::Truncated | BackupError::Altered { .. } => Exit::Usage,
        BackupError::Newer | BackupError::Older { .. } | BackupError::NotEmpty { .. } => Exit::Refused,
        BackupError::Read(_) | BackupError::Write(_) => Exit::Internal,
        // It says by itself what it is.
        BackupError::Store(_) => return error.into(),
    };
    let complaint = Complaint::new(exit, error.to_string());
    let complaint = match error.hint() {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    };
    match error {
        BackupError::Read(source) | BackupError::Write(source) => complaint.because(source).into(),
        BackupError::Foreign { .. }
        | BackupError::Truncated
        | BackupError::Altered { .. }
        | BackupError::Newer
        | BackupError::Older { .. }
        | BackupError::NotEmpty { .. }
        | BackupError::Store(_) => complaint.into(),
    }
}

/// A file beside the one that is wanted, which takes its place once it is whole. Removed if it never is.
struct Beside {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Beside {
    fn of(wanted: &Path) -> Result<Self> {
        let name = wanted.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| Complaint::new(Exit::Usage, format!("{} names no file", wanted.display())))?;
        let path = wanted.with_file_name(format!(".{name}.{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("write {}", path.display()))?;
        Ok(Self {
            path,
            file,
            kept: false,
        })
    }

    fn keep(mut self, wanted: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, wanted)?;
        self.kept = true;
        let folder = wanted.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.kept {
            // What is not whole must not be taken for a backup.
            let _gone = fs::remove_file(&self.path);
        }
    }
}
