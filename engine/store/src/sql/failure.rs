//! What an error of the database means to the caller of a store. Retries nothing and logs nothing; called by every other
//! module of [`super`].

use std::io;
use std::path::Path;

use sea_orm::{DbErr, RuntimeErr};

use crate::StoreError;

/// SQLite's primary result codes: the low byte of an extended one.
mod code {
    pub(super) const BUSY: u32 = 5;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const NOT_A_DATABASE: u32 = 26;

    /// Extended: the memory-mapped index of the log could not grow, which is a full disk.
    pub(super) const IO_SHARED_MEMORY_SIZE: u32 = 10 | 19 << 8;
    /// Extended: a page's checksum is wrong.
    pub(super) const IO_DATA: u32 = 10 | 32 << 8;
    /// Extended: the file system reports itself damaged.
    pub(super) const IO_CORRUPT_FILE_SYSTEM: u32 = 10 | 33 << 8;
}

/// What a failure before COMMIT means: nothing was written.
pub(super) fn before_commit(file: &Path, error: DbErr) -> StoreError {
    match sqlite_code(&error) {
        Some(code::IO_SHARED_MEMORY_SIZE) => StoreError::Full(error.into()),
        Some(code::IO_DATA | code::IO_CORRUPT_FILE_SYSTEM) => corrupt(file, &error.to_string()),
        Some(extended) => match extended & 0xff {
            code::FULL => StoreError::Full(error.into()),
            code::CORRUPT | code::NOT_A_DATABASE => corrupt(file, &error.to_string()),
            _ => StoreError::Unavailable(error.into()),
        },
        None => StoreError::Unavailable(error.into()),
    }
}

/// What a failure of COMMIT itself means. SQLite writes a commit's last frame last, so a full disk means that it is not
/// there, and a busy file that it was not begun; after anything else only reading tells.
pub(super) fn of_commit(error: DbErr) -> StoreError {
    match sqlite_code(&error).map(|extended| extended & 0xff) {
        Some(code::FULL) => StoreError::Full(error.into()),
        Some(code::BUSY) => StoreError::Unavailable(error.into()),
        Some(_) | None => StoreError::OutcomeUnknown(error.into()),
    }
}

/// What a failure of the file system means, around the database.
pub(super) fn of_file(path: &Path, error: &io::Error) -> StoreError {
    let named = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(named.into()),
        _ => StoreError::Unavailable(named.into()),
    }
}

/// A damaged file, with what to do about it.
pub(super) fn corrupt(file: &Path, detail: &str) -> StoreError {
    StoreError::Corrupt {
        path: file.display().to_string(),
        detail: format!("{detail}; stop every engine, keep a copy of the folder, and restore a backup"),
    }
}

fn sqlite_code(error: &DbErr) -> Option<u32> {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return None;
    };
    cause.as_database_error()?.code()?.parse().ok()
}
