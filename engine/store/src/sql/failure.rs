//! What an error of the database means to the caller of a store. Retries nothing and logs nothing; called by every other
//! module of [`super`].

use std::io;
use std::path::Path;

use sea_orm::{DbErr, RuntimeErr};

use super::place::{Kind, Place};
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

/// PostgreSQL's SQLSTATEs.
mod state {
    pub(super) const UNDEFINED_COLUMN: &str = "42703";
    pub(super) const UNDEFINED_TABLE: &str = "42P01";
    pub(super) const DISK_FULL: &str = "53100";
    /// The class of what rolls a transaction back: a serialization failure, a deadlock.
    pub(super) const ROLLBACK_CLASS: &str = "40";
    /// The class of damage: of data, of an index.
    pub(super) const CORRUPTED_CLASS: &str = "XX";
    /// In that class, but no damage: a bug, or a limit.
    pub(super) const INTERNAL: &str = "XX000";
}

/// What the database itself answered.
enum Answer {
    /// SQLite's extended result code.
    Sqlite(u32),
    /// PostgreSQL's SQLSTATE.
    Postgres(String),
    /// Nothing: the connection was lost, or none was free.
    None,
}

/// What a failure before COMMIT means: nothing was written.
pub(super) fn before_commit(place: &Place, error: DbErr) -> StoreError {
    match answer(place, &error) {
        Answer::Sqlite(code::IO_SHARED_MEMORY_SIZE) => StoreError::Full(error.into()),
        Answer::Sqlite(code::IO_DATA | code::IO_CORRUPT_FILE_SYSTEM) => corrupt(place, &error.to_string()),
        Answer::Sqlite(extended) => match extended & 0xff {
            code::FULL => StoreError::Full(error.into()),
            code::CORRUPT | code::NOT_A_DATABASE => corrupt(place, &error.to_string()),
            _ => StoreError::Unavailable(error.into()),
        },
        Answer::Postgres(state) => match state.as_str() {
            state::DISK_FULL => StoreError::Full(error.into()),
            // Tables and columns were all there when the store was opened: a later version has changed them since.
            state::UNDEFINED_TABLE | state::UNDEFINED_COLUMN => newer(place),
            state if state.starts_with(state::CORRUPTED_CLASS) && state != state::INTERNAL => {
                corrupt(place, &error.to_string())
            }
            _ => StoreError::Unavailable(error.into()),
        },
        Answer::None => StoreError::Unavailable(error.into()),
    }
}

/// What a failure of COMMIT itself means. SQLite writes a commit's last frame last, so a full disk means that it is not
/// there, and a busy file that it was not begun. PostgreSQL says that it rolled back or had no room before it notes the
/// commit. After anything else, a lost connection above all, only reading tells.
pub(super) fn of_commit(place: &Place, error: DbErr) -> StoreError {
    match answer(place, &error) {
        Answer::Sqlite(extended) => match extended & 0xff {
            code::FULL => StoreError::Full(error.into()),
            code::BUSY => StoreError::Unavailable(error.into()),
            _ => StoreError::OutcomeUnknown(error.into()),
        },
        Answer::Postgres(state) if state == state::DISK_FULL => StoreError::Full(error.into()),
        Answer::Postgres(state) if state.starts_with(state::ROLLBACK_CLASS) => StoreError::Unavailable(error.into()),
        Answer::Postgres(_) | Answer::None => StoreError::OutcomeUnknown(error.into()),
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

/// A damaged file or database.
pub(super) fn corrupt(place: &Place, detail: &str) -> StoreError {
    StoreError::Corrupt {
        path: place.name.clone(),
        detail: detail.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// A database that cannot hold a store, or does not.
pub(super) fn unsuitable(place: &Place, detail: &str) -> StoreError {
    StoreError::Unsuitable {
        path: place.name.clone(),
        detail: detail.to_owned(),
    }
}

/// A store of a later version.
pub(super) fn newer(place: &Place) -> StoreError {
    StoreError::Newer {
        path: place.name.clone(),
    }
}

fn answer(place: &Place, error: &DbErr) -> Answer {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return Answer::None;
    };
    let Some(code) = cause.as_database_error().and_then(|answer| answer.code()) else {
        return Answer::None;
    };
    match place.kind {
        Kind::Sqlite => code.parse().map_or(Answer::None, Answer::Sqlite),
        Kind::Postgres => Answer::Postgres(code.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;

    use sea_orm::sqlx;
    use sea_orm::sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What a database answers with a code of its own.
    #[derive(Debug)]
    struct Said(&'static str);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }

    impl Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            "a message"
        }
        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
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

    fn said(code: &'static str) -> DbErr {
        DbErr::Exec(RuntimeErr::SqlxError(
            sqlx::Error::Database(Box::new(Said(code))).into(),
        ))
    }

    fn kind_of(error: &StoreError) -> &'static str {
        match error {
            StoreError::Full(_) => "full",
            StoreError::Corrupt { .. } => "corrupt",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::OutcomeUnknown(_) => "unknown",
            StoreError::Newer { .. } => "newer",
            StoreError::Fenced { .. }
            | StoreError::Stale { .. }
            | StoreError::InUse { .. }
            | StoreError::Unsuitable { .. } => "no failure of the database",
        }
    }

    fn check(kind: Kind, rows: &[(&str, &'static str, &str, &str)]) {
        let place = Place {
            name: "place".to_owned(),
            kind,
        };
        for (name, code, before, of) in rows {
            assert_eq!(
                &kind_of(&before_commit(&place, said(code))),
                before,
                "{name} before a commit"
            );
            assert_eq!(&kind_of(&of_commit(&place, said(code))), of, "{name} of a commit");
        }
        let lost = || DbErr::Conn(RuntimeErr::Internal("no answer".to_owned()));
        assert_eq!(kind_of(&before_commit(&place, lost())), "unavailable");
        assert_eq!(kind_of(&of_commit(&place, lost())), "unknown");
    }

    #[test]
    fn a_result_code_of_sqlite_means_what_the_caller_can_do() {
        check(
            Kind::Sqlite,
            &[
                ("SQLITE_BUSY", "5", "unavailable", "unavailable"),
                ("SQLITE_BUSY_SNAPSHOT", "517", "unavailable", "unavailable"),
                ("SQLITE_IOERR_WRITE", "778", "unavailable", "unknown"),
                ("SQLITE_IOERR_FSYNC", "1034", "unavailable", "unknown"),
                ("SQLITE_IOERR_SHMSIZE", "4874", "full", "unknown"),
                ("SQLITE_IOERR_DATA", "8202", "corrupt", "unknown"),
                ("SQLITE_IOERR_CORRUPTFS", "8458", "corrupt", "unknown"),
                ("SQLITE_CORRUPT", "11", "corrupt", "unknown"),
                ("SQLITE_CORRUPT_INDEX", "779", "corrupt", "unknown"),
                ("SQLITE_FULL", "13", "full", "full"),
                ("SQLITE_CANTOPEN", "14", "unavailable", "unknown"),
                ("SQLITE_NOTADB", "26", "corrupt", "unknown"),
            ],
        );
    }

    #[test]
    fn a_state_of_postgresql_means_what_the_caller_can_do() {
        check(
            Kind::Postgres,
            &[
                ("serialization_failure", "40001", "unavailable", "unavailable"),
                ("deadlock_detected", "40P01", "unavailable", "unavailable"),
                ("query_canceled", "57014", "unavailable", "unknown"),
                ("admin_shutdown", "57P01", "unavailable", "unknown"),
                ("too_many_connections", "53300", "unavailable", "unknown"),
                ("disk_full", "53100", "full", "full"),
                ("undefined_table", "42P01", "newer", "unknown"),
                ("undefined_column", "42703", "newer", "unknown"),
                ("internal_error", "XX000", "unavailable", "unknown"),
                ("data_corrupted", "XX001", "corrupt", "unknown"),
                ("index_corrupted", "XX002", "corrupt", "unknown"),
            ],
        );
    }
}
