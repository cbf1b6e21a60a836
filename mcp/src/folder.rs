//! The small files in an engine's data folder, for their owner's eyes only: `endpoint`, the URL that the engine listens
//! on, `token`, which shows that a client may speak to it, and `authority.pem`, by which a client knows an engine beyond
//! loopback; and those that the engine keeps beside them.
//!
//! Never writes the store. The engine's process writes these files, clients read them; for an engine on another computer
//! `isobar connect` writes them.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

/// Random bytes in a token; its file holds them in hex.
pub const TOKEN_BYTES: usize = 32;
/// No such file is longer than this.
const FILE_MAX_BYTES: u64 = 16 * 1024;
/// By what an engine beyond loopback is known: no secret.
const AUTHORITY: &str = "authority.pem";
/// No one but the owner may read or write.
const OWNER_ONLY: u32 = 0o600;
const OTHERS: u32 = 0o077;

/// An engine's data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder(PathBuf);

/// What a client shows to the engine.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a file of the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// No engine has ever run with this folder, or none does now: start one.
    #[error("no engine runs with the data folder {}", folder.display())]
    NoEngine {
        /// Which folder.
        folder: PathBuf,
    },
    /// Others could have read or changed the file: delete it and start the engine anew.
    #[error("{} is open to others (mode {mode:03o})", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Its content is not what an engine writes: delete it and start the engine anew.
    #[error("{} is not what an engine writes", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl FolderError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoEngine { .. } => Some("start one with `isobar serve`, or name its folder with --data".to_owned()),
            Self::Open { path, .. } => Some(format!(
                "whoever read it can speak to the engine: delete {} and start the engine again for a new one",
                path.display()
            )),
            Self::Malformed { path } => Some(format!("delete {} and start the engine again", path.display())),
            Self::Io { .. } => None,
        }
    }
}

impl Token {
    /// As text, to be put into a request.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A new one.
    pub fn random() -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the kernel always gives random bytes");
        Self(hex::encode(bytes))
    }

    /// As an engine wrote it.
    pub fn parse(text: &str) -> Option<Self> {
        (hex::decode(text).ok()?.len() == TOKEN_BYTES).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl DataFolder {
    /// A folder, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder, for the owner only, if it is not there.
    pub fn make(&self) -> Result<(), FolderError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|source| FolderError::Io {
                doing: "make the data folder",
                path: self.0.clone(),
                source,
            })
    }

    /// The token; made when there is none.
    pub fn token_or_new(&self) -> Result<Token, FolderError> {
        match self.token() {
            Err(FolderError::NoEngine { .. }) => {
                let token = Token::random();
                self.write("token", token.as_str())?;
                Ok(token)
            }
            read => read,
        }
    }

    /// The token of the engine that runs, or last ran, with this folder.
    pub fn token(&self) -> Result<Token, FolderError> {
        let text = self.read_or_no_engine("token")?;
        Token::parse(&text).ok_or_else(|| FolderError::Malformed {
            path: self.0.join("token"),
        })
    }

    /// Where the engine listens.
    pub fn endpoint(&self) -> Result<String, FolderError> {
        let url = self.read_or_no_engine("endpoint")?;
        if url.starts_with("http://") || url.starts_with("https://") {
            Ok(url)
        } else {
            Err(FolderError::Malformed {
                path: self.0.join("endpoint"),
            })
        }
    }

    /// Says where the engine listens.
    pub fn publish_endpoint(&self, url: &str) -> Result<(), FolderError> {
        self.write("endpoint", url)
    }

    /// The certificate, PEM, of the authority that an engine beyond loopback is known by.
    pub fn authority(&self) -> Result<String, FolderError> {
        self.read_or_no_engine(AUTHORITY)
    }

    /// Says by which authority the engine is known.
    pub fn publish_authority(&self, pem: &str) -> Result<(), FolderError> {
        self.write(AUTHORITY, pem.trim_end())
    }

    /// Makes this the folder of a client of an engine elsewhere.
    pub fn point_to(&self, url: &str, authority_pem: &str, token: &Token) -> Result<(), FolderError> {
        self.make()?;
        self.publish_authority(authority_pem)?;
        self.write("token", token.as_str())?;
        self.publish_endpoint(url)
    }

    /// Takes the endpoint back; done when the engine stops. Leaves another engine's where it is.
    pub fn withdraw_endpoint(&self, url: &str) -> Result<(), FolderError> {
        if self.read("endpoint")?.is_some_and(|published| published != url) {
            return Ok(());
        }
        let path = self.0.join("endpoint");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FolderError::Io {
                doing: "remove",
                path,
                source: error,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The text of a file of the folder, refused when others may read or write it. None: there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<String>, FolderError> {
        let path = self.0.join(name);
        let failed = |source| FolderError::Io {
            doing: "read",
            path: path.clone(),
            source,
        };
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Asked of the open file, so that it cannot be swapped in between.
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(FolderError::Open { path, mode });
        }
        let mut text = String::new();
        file.take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
        Ok(Some(text.trim_end().to_owned()))
    }

    /// Replaces a file of the folder at once, for the owner only: a reader sees the old or the new text, never half.
    pub fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.0.join(name);
        let part = path.with_extension("part");
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(OWNER_ONLY)
                .open(&part)?;
            file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::rename(&part, &path)
        };
        write().map_err(|source| FolderError::Io {
            doing: "write",
            path: path.clone(),
            source,
        })
    }

    fn read_or_no_engine(&self, name: &str) -> Result<String, FolderError> {
        self.read(name)?
            .ok_or_else(|| FolderError::NoEngine { folder: self.0.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::new(dir.path().join("data"));
        folder.make().unwrap();
        (dir, folder)
    }

    #[test]
    fn a_token_is_made_once_and_is_for_its_owner_only() {
        let (_dir, folder) = folder();
        let token = folder.token_or_new().unwrap();
        assert_eq!(folder.token_or_new().unwrap(), token);
        assert_eq!(folder.token().unwrap(), token);
        assert_eq!(fs::metadata(folder.path().join("token")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(format!("{token:?}"), "***");
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let (_dir, folder) = folder();
        folder.token_or_new().unwrap();
        fs::set_permissions(folder.path().join("token"), Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(folder.token(), Err(FolderError::Open { mode: 0o640, .. })));
        assert!(matches!(folder.token_or_new(), Err(FolderError::Open { .. })));
    }

    #[test]
    fn a_damaged_token_is_refused_and_not_replaced() {
        let (_dir, folder) = folder();
        folder.write("token", "abc").unwrap();
        assert!(matches!(folder.token_or_new(), Err(FolderError::Malformed { .. })));
    }

    #[test]
    fn an_endpoint_can_be_found_until_it_is_withdrawn() {
        let (_dir, folder) = folder();
        assert!(matches!(folder.endpoint(), Err(FolderError::NoEngine { .. })));
        folder.publish_endpoint("http://127.0.0.1:7420/mcp").unwrap();
        assert_eq!(folder.endpoint().unwrap(), "http://127.0.0.1:7420/mcp");
        folder.withdraw_endpoint("http://127.0.0.1:7421/mcp").unwrap();
        assert!(folder.endpoint().is_ok(), "that is another engine's");
        folder.withdraw_endpoint("http://127.0.0.1:7420/mcp").unwrap();
        folder.withdraw_endpoint("http://127.0.0.1:7420/mcp").unwrap();
        assert!(matches!(folder.endpoint(), Err(FolderError::NoEngine { .. })));
    }
}
