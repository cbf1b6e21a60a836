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
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        StoreError::Full(named.into())
    } else {
        StoreError::Unavailable(named.into())
    }
}

/// A damaged file.
pub(super) fn corrupt(file: &Path, detail: &str) -> StoreError {
    StoreError::Corrupt {
        path: file.display().to_string(),
        detail: detail.split_whitespace().collect::<Vec<_>>().join(" "),
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;

    use sea_orm::sqlx;
    use sea_orm::sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What SQLite answers with an extended result code.
    #[derive(Debug)]
    struct Answer(u32);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }

    impl Error for Answer {}

    impl DatabaseError for Answer {
        fn message(&self) -> &str {
            "a message"
        }
        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.to_string().into())
        }
        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }
        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn answer(code: u32) -> DbErr {
        DbErr::Exec(RuntimeErr::SqlxError(
            sqlx::Error::Database(Box::new(Answer(code))).into(),
        ))
    }

    fn kind(error: &StoreError) -> &'static str {
        match error {
            StoreError::Full(_) => "full",
            StoreError::Corrupt { .. } => "corrupt",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::OutcomeUnknown(_) => "unknown",
            StoreError::Fenced { .. }
            | StoreError::Stale { .. }
            | StoreError::InUse { .. }
            | StoreError::Newer { .. } => "no failure of the database",
        }
    }

    #[test]
    fn a_result_code_means_what_the_caller_can_do() {
        for (name, code, before, of) in [
            ("SQLITE_BUSY", 5, "unavailable", "unavailable"),
            ("SQLITE_BUSY_SNAPSHOT", 517, "unavailable", "unavailable"),
            ("SQLITE_IOERR_WRITE", 778, "unavailable", "unknown"),
            ("SQLITE_IOERR_FSYNC", 1034, "unavailable", "unknown"),
            ("SQLITE_IOERR_SHMSIZE", 4874, "full", "unknown"),
            ("SQLITE_IOERR_DATA", 8202, "corrupt", "unknown"),
            ("SQLITE_IOERR_CORRUPTFS", 8458, "corrupt", "unknown"),
            ("SQLITE_CORRUPT", 11, "corrupt", "unknown"),
            ("SQLITE_CORRUPT_INDEX", 779, "corrupt", "unknown"),
            ("SQLITE_FULL", 13, "full", "full"),
            ("SQLITE_CANTOPEN", 14, "unavailable", "unknown"),
            ("SQLITE_NOTADB", 26, "corrupt", "unknown"),
        ] {
            assert_eq!(
                kind(&before_commit(Path::new("file"), answer(code))),
                before,
                "{name} before a commit"
            );
            assert_eq!(kind(&of_commit(answer(code))), of, "{name} of a commit");
        }
        assert_eq!(kind(&of_commit(DbErr::Custom("no answer".into()))), "unknown");
    }
}
