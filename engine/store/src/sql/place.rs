//! Where a store's rows are, for messages and for what only one of the databases does. Called by everything in [`super`].

use std::path::Path;

/// A database that holds a store.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The file, or the URL without its password.
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Place {
    pub(super) fn file(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            kind: Kind::Sqlite,
        }
    }
}
