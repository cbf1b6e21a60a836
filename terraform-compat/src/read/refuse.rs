//! Why something is not read, by its name, with what to do about it. Holds no value of what was read.

use std::io;

use serde::Serialize;
use thiserror::Error;

use super::STATE_MAX_BYTES;

/// Where in a file, all counted from 1 but the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
    /// The byte, from 0.
    pub byte: usize,
}

/// Why a state is not read. [`ReadError::hint`] says what the caller does next.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The reader failed.
    #[error("read the state")]
    Source(#[source] io::Error),
    /// Beyond [`STATE_MAX_BYTES`].
    #[error("the state is longer than {STATE_MAX_BYTES} bytes")]
    TooLong,
    /// No bytes, or only white space.
    #[error("the file is empty: there is no state")]
    Empty,
    /// Not text.
    #[error("byte {} is not UTF-8 text", place.byte)]
    NotText {
        /// Where.
        place: Place,
    },
    /// An archive: zip is a saved plan.
    #[error("an archive, not a state")]
    Archive,
    /// Git LFS keeps the content elsewhere.
    #[error("a pointer of Git LFS, not the state itself")]
    LfsPointer,
    /// Two states in one file.
    #[error("line {}: an unresolved merge conflict", place.line)]
    MergeConflict {
        /// Where it begins.
        place: Place,
    },
    /// A page, probably of a login.
    #[error("a web page, not a state")]
    Html,
    /// `.terraform/terraform.tfstate`.
    #[error("the cache of a backend's settings, not a state")]
    BackendCache,
    /// `terraform show -json` of a plan.
    #[error("a plan, not a state")]
    Plan,
    /// JSON of something else.
    #[error("not a Terraform state")]
    NotAState,
    /// Versions 1 and 2.
    #[error("a state of version {version}, which Terraform before 0.7 wrote")]
    TooOld {
        /// Which.
        version: u64,
    },
    /// A version that does not exist yet.
    #[error("a state of version {version}, which is not known")]
    TooNew {
        /// Which.
        version: u64,
    },
    /// It ends too early.
    #[error("line {}, column {}, byte {}: the state ends in the middle", place.line, place.column, place.byte)]
    Truncated {
        /// Where it ends.
        place: Place,
    },
    /// Not JSON.
    #[error("line {}, column {}, byte {}: not JSON", place.line, place.column, place.byte)]
    Syntax {
        /// Where.
        place: Place,
    },
    /// JSON, but not as a state has it.
    #[error("line {}, column {}, byte {}: not what a state has here", place.line, place.column, place.byte)]
    Shape {
        /// Before which byte.
        place: Place,
    },
    /// Modules within modules without end.
    #[error("modules stand in each other more than {most} deep")]
    TooDeep {
        /// How deep they may.
        most: usize,
    },
    /// No key was given.
    #[error("the state is encrypted, and no key was given")]
    NoKey,
    /// Keys that are only elsewhere.
    #[error("the state is encrypted in a way that is not read")]
    UnknownEncryption,
    /// No given key opens it.
    #[error("no given key opens the encrypted state")]
    WrongKey,
    /// Something else was sealed in.
    #[error("serial or lineage inside the encrypted state differ from those outside")]
    OtherInside,
}

impl ReadError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Source(_) => "check that the file can be read",
            Self::TooLong => "split the state with `terraform state mv -state-out`",
            Self::Empty => {
                "run `terraform state pull` where the configuration is: it prints the state of every backend"
            }
            Self::NotText { .. } => "states are UTF-8; write it again with `terraform state pull`",
            Self::Archive => {
                "a saved plan holds no state of its own: run `terraform state pull`, or unpack the archive"
            }
            Self::LfsPointer => "run `git lfs pull` first",
            Self::MergeConflict { .. } => "take neither side: `terraform state pull` prints what the backend has",
            Self::Html => "the address answered with a page: log in, or run `terraform state pull`",
            Self::BackendCache => "run `terraform state pull` in the folder above `.terraform`",
            Self::Plan => "run `terraform state pull`",
            Self::NotAState => "run `terraform state pull` where the configuration is",
            Self::TooOld { .. } => {
                "put it alone into a folder as `terraform.tfstate` and run `terraform state pull` there: it prints version 4"
            }
            Self::TooNew { .. } => "ask for a newer Isobar",
            Self::Truncated { .. } => "copy it again, or take `terraform.tfstate.backup` or `terraform state pull`",
            Self::Syntax { .. } | Self::Shape { .. } => {
                "write it again with `terraform state pull`; never edit a state by hand"
            }
            Self::TooDeep { .. } => "give the state itself, from `terraform state pull`",
            Self::NoKey => {
                "give the passphrase or key of the `encryption` block, or run `tofu state pull`, which decrypts"
            }
            Self::UnknownEncryption => "run `tofu state pull`, which decrypts by any key provider",
            Self::WrongKey => "check the passphrase or key of the `encryption` block, or run `tofu state pull`",
            Self::OtherInside => "the file was put together from two: run `tofu state pull`",
        }
    }
}

impl Place {
    /// Of a byte of a text.
    pub fn at(text: &str, byte: usize) -> Self {
        let before = &text.as_bytes()[..byte.min(text.len())];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        Self {
            line: before.iter().filter(|&&b| b == b'\n').count() + 1,
            column: before.len() - line_start + 1,
            byte: before.len(),
        }
    }
}

/// The text without a byte order mark.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, ReadError> {
    if bytes.len() > STATE_MAX_BYTES {
        return Err(ReadError::TooLong);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(ReadError::Archive);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        ReadError::NotText {
            place: Place::at(&valid, valid.len()),
        }
    })?;
    if text.trim().is_empty() {
        return Err(ReadError::Empty);
    }
    Ok(text)
}

/// A better name for what is not JSON.
pub(super) fn by_name(text: &str, error: ReadError) -> ReadError {
    let start = text.trim_start();
    if start.starts_with("version https://git-lfs.github.com/") {
        return ReadError::LfsPointer;
    }
    let marker = text
        .match_indices("<<<<<<< ")
        .find(|&(at, _)| at == 0 || text.as_bytes()[at - 1] == b'\n');
    if let Some((byte, _)) = marker {
        return ReadError::MergeConflict {
            place: Place::at(text, byte),
        };
    }
    if start.starts_with('<') {
        return ReadError::Html;
    }
    if start.starts_with('{') {
        error
    } else {
        ReadError::NotAState
    }
}
