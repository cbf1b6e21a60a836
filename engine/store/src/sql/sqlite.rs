//! SQLite: from a data folder to connections on a whole, known and locked file. Writes no rows but the first of a new
//! store, and forgets the engines that held an older one; called by [`super::SqlStore`] only.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use isobar_engine_model::id::Incarnation;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement, TransactionTrait};
use sea_orm_migration::{MigratorTrait, SchemaManager};

use super::place::Place;
use super::schema::{self, Migrator};
use super::{Opened, failure, read, statement};
use crate::StoreError;

/// The store's file in the data folder.
const FILE: &str = "isobar.db";
/// A store being made: renamed to [`FILE`] once it is whole.
const FILE_BEING_MADE: &str = "isobar.db.new";
/// Held for as long as an engine runs; holds its pid.
const LOCK_FILE: &str = "isobar.lock";

/// How large a page of the file is.
const PAGE_BYTES: u32 = 4 << 10;
/// How large the file may grow, in pages of 4 KiB: 64 GiB.
pub(super) const FILE_PAGES_MAX: u32 = 16 << 20;
/// Up to which size every page of the file is checked when it is opened (about a second). Larger ones are checked as they
/// are read.
const CHECKED_BYTES_MAX: u64 = 1 << 30;
/// To which size the log is cut back after a large batch.
const LOG_BYTES_KEPT: u32 = 64 << 20;
/// How long a connection waits for a lock that another program (a backup, a shell) holds on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call waits for its turn behind others.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);
/// How many reads run beside each other.
const READERS_MAX: u32 = 4;
/// A pid and a line's end are shorter.
const LOCK_BYTES_MAX: u64 = 32;

/// Keeps other engines out of a data folder until it is dropped or its process ends, however that ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder where there is none.
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let of_folder = |error: io::Error| failure::of_file(folder, &error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(of_folder)?;
        let path = folder.join(LOCK_FILE);
        let of_lock = |error: io::Error| failure::of_file(&path, &error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(of_lock)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    path: folder.display().to_string(),
                    holder: read_pid(file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(of_lock(error)),
        }
        // Only for the other engine's message: a full disk must not keep this one from reading its store.
        if let Err(error) = write_pid(&mut file) {
            tracing::warn!(%error, path = %path.display(), "the lock file does not name this process");
        }
        Ok(Self { _file: file })
    }
}

/// Opens or makes the store in a folder that this process has locked.
pub(super) async fn open(folder: &Path, id_if_new: &str, pages_max: u32) -> Result<Opened, StoreError> {
    let file = folder.join(FILE);
    if !is_there(&file)? {
        make(folder, &file, id_if_new).await?;
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).map_err(|error| failure::of_file(&file, &error))?;
    let place = Place::file(&file);
    let failed = |error| failure::before_commit(&place, error);
    let writer = connect(&file, Role::Writer { pages_max }).await.map_err(failed)?;
    match settle(&file, &place, &writer).await {
        Ok((id, incarnation, readers)) => Ok(Opened {
            id,
            incarnation,
            place,
            writer,
            readers,
        }),
        Err(refusal) => {
            // Before the folder's lock is let go: a connection that closes later would still touch the log.
            if let Err(error) = writer.close().await {
                tracing::warn!(%error, file = %file.display(), "a refused file was not closed at once");
            }
            Err(refusal)
        }
    }
}

/// Connections that only read the store in a folder, which an engine may hold.
pub(super) async fn look(folder: &Path) -> Result<(Place, DatabaseConnection), StoreError> {
    let file = folder.join(FILE);
    let place = Place::file(&file);
    if !is_there(&file)? {
        return Err(failure::unsuitable(&place, "there is no store"));
    }
    let readers = connect(&file, Role::Reader).await;
    let readers = readers.map_err(|error| failure::before_commit(&place, error))?;
    is_ours(&place, &readers).await?;
    Ok((place, readers))
}

/// Checks the file, brings it up to date, and reads who it is.
async fn settle(
    file: &Path,
    place: &Place,
    writer: &DatabaseConnection,
) -> Result<(String, Incarnation, DatabaseConnection), StoreError> {
    let failed = |error| failure::before_commit(place, error);
    check(file, place, writer).await?;
    migrate(place, writer).await?;
    // The folder's lock says that no engine lives: none waits for the lease of one that was killed.
    let forgotten = writer.execute(&statement::engine::leave_all()).await;
    forgotten.map_err(failed)?;
    let (id, _) = read::meta(place, writer).await?;
    let (incarnation, _) = read::life(place, writer).await?;
    let readers = connect(file, Role::Reader).await.map_err(failed)?;
    Ok((id, incarnation, readers))
}

/// Whether there is a store. Refuses what only damage leaves, and SQLite would pass over: a store gets its name once it is
/// whole, and whoever dies while its file is written leaves the log beside it.
fn is_there(file: &Path) -> Result<bool, StoreError> {
    let log_bytes = fs::metadata(beside(file, "-wal")).ok().map(|log| log.len());
    let page = u64::from(PAGE_BYTES);
    match fs::metadata(file) {
        Ok(found) if found.len() < page || (found.len() % page != 0 && log_bytes.unwrap_or(0) == 0) => {
            Err(failure::corrupt(&Place::file(file), "the file is cut short"))
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound && log_bytes.is_some() => Err(failure::corrupt(
            &Place::file(file),
            "the file is gone, but its log is there",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failure::of_file(file, &error)),
    }
}

/// Makes a store under another name, then gives it its own: who dies in between has made none.
async fn make(folder: &Path, file: &Path, id: &str) -> Result<(), StoreError> {
    let being_made = folder.join(FILE_BEING_MADE);
    let of_file = |error: io::Error| failure::of_file(&being_made, &error);
    for leftover in [being_made.clone(), beside(&being_made, "-journal")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_file(error)),
            Ok(()) | Err(_) => {}
        }
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&being_made)
        .map_err(of_file)?;
    fill(&being_made, id)
        .await
        .map_err(|error| failure::before_commit(&Place::file(&being_made), error))?;
    fs::rename(&being_made, file).map_err(of_file)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failure::of_file(folder, &error))
}

async fn fill(being_made: &Path, id: &str) -> Result<(), DbErr> {
    let connection = connect(being_made, Role::Maker).await?;
    let filled = first_rows(&connection, id).await;
    // Closed in either case: the next attempt removes the file and what belongs to it.
    connection.close().await?;
    filled
}

async fn first_rows(connection: &DatabaseConnection, id: &str) -> Result<(), DbErr> {
    Migrator::up(connection, None).await?;
    let transaction = connection.begin().await?;
    transaction.execute(&statement::new_meta(id, schema::known())).await?;
    transaction.commit().await
}

/// Refuses a file that is damaged or not ours.
async fn check(file: &Path, place: &Place, writer: &DatabaseConnection) -> Result<(), StoreError> {
    let failed = |error| failure::before_commit(place, error);
    let length = fs::metadata(file)
        .map_err(|error| failure::of_file(file, &error))?
        .len();
    if length <= CHECKED_BYTES_MAX {
        let pragma = Statement::from_string(writer.get_database_backend(), "PRAGMA quick_check(1)");
        let answer = writer.query_one_raw(pragma).await.map_err(failed)?;
        let answer = answer.map(|row| row.try_get_by_index::<String>(0)).transpose();
        match answer.map_err(failed)?.as_deref() {
            Some("ok") => {}
            found => return Err(failure::corrupt(place, found.unwrap_or("the check had no answer"))),
        }
    } else {
        tracing::warn!(file = %file.display(), bytes = length, "too large to be checked as a whole");
    }
    is_ours(place, writer).await
}

/// Refuses a database of something else.
async fn is_ours(place: &Place, connection: &DatabaseConnection) -> Result<(), StoreError> {
    for table in ["meta", "shard"] {
        let found = SchemaManager::new(connection).has_table(table).await;
        if !found.map_err(|error| failure::before_commit(place, error))? {
            return Err(failure::corrupt(
                place,
                &format!("it has no table `{table}`: no store of isobar"),
            ));
        }
    }
    Ok(())
}

/// Brings an older store up to date, after noting so: an earlier version that opens it half way refuses it.
async fn migrate(place: &Place, writer: &DatabaseConnection) -> Result<(), StoreError> {
    let failed = |error| failure::before_commit(place, error);
    let (_, schema) = read::meta(place, writer).await?;
    if schema > schema::known() {
        return Err(failure::newer(place));
    }
    if schema < schema::known() {
        let noted = writer.execute(&statement::set_schema(schema::known())).await;
        noted.map_err(failed)?;
    }
    Migrator::up(writer, None).await.map_err(failed)
}

/// What a connection is for.
#[derive(Clone, Copy)]
enum Role {
    /// Fills a new file, which needs no log.
    Maker,
    /// The one that writes.
    Writer {
        /// How large the file may grow.
        pages_max: u32,
    },
    /// Those that read.
    Reader,
}

async fn connect(file: &Path, role: Role) -> Result<DatabaseConnection, DbErr> {
    let connections = match role {
        Role::Maker | Role::Writer { .. } => 1,
        Role::Reader => READERS_MAX,
    };
    let file = file.to_owned();
    let mut options = ConnectOptions::new("sqlite:");
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(TURN_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |_| pragmas(&file, role));
    Database::connect(options).await
}

fn pragmas(file: &Path, role: Role) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full);
    match role {
        Role::Maker => options.page_size(PAGE_BYTES).journal_mode(SqliteJournalMode::Delete),
        Role::Writer { pages_max } => options
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("journal_size_limit", LOG_BYTES_KEPT.to_string())
            .pragma("max_page_count", pages_max.to_string()),
        Role::Reader => options.journal_mode(SqliteJournalMode::Wal).pragma("query_only", "ON"),
    }
}

fn read_pid(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
