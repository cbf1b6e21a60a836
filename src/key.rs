//! The key that seals secrets in the store: from the environment, from a file that engines share, or from the data folder.
//!
//! Never printed, never stored beside what it seals in clear. A store that holds something gets no new key: that would
//! lock its secrets up for good.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use isobar_engine_control::vault::KEY_BYTES;
use isobar_engine_provider::Entropy;
use isobar_engine_store::{Store, Table};
use isobar_mcp::folder::DataFolder;

use crate::exit::{Complaint, Exit};

/// Holds the key, in hex; goes before every file.
const ENVIRONMENT: &str = "ISOBAR_KEY";

/// The key; made where there is none and the store is empty.
pub(crate) async fn key(
    folder: &DataFolder,
    shared: Option<&Path>,
    store: &dyn Store,
    entropy: &dyn Entropy,
) -> Result<[u8; KEY_BYTES]> {
    if let Some(text) = std::env::var_os(ENVIRONMENT) {
        return parse(&text.to_string_lossy(), ENVIRONMENT);
    }
    let own = folder.path().join("key");
    let path = shared.unwrap_or(&own);
    if let Some(key) = kept(path)? {
        return Ok(key);
    }
    if !store.scan(None, Table::Cluster, None, 1).await?.is_empty() {
        return Err(Complaint::new(Exit::Internal, format!("{} is missing", path.display()))
            .hint("restore it from a backup: without it the store's secrets cannot be read")
            .into());
    }
    made(path, entropy)
}

/// The key in a file.
pub(crate) fn kept(path: &Path) -> Result<Option<[u8; KEY_BYTES]>> {
    let place = path.display().to_string();
    read(path)?.map(|text| parse(&text, &place)).transpose()
}

/// The key in a file; made where there is none.
pub(crate) fn made(path: &Path, entropy: &dyn Entropy) -> Result<[u8; KEY_BYTES]> {
    if let Some(key) = kept(path)? {
        return Ok(key);
    }
    let place = path.display().to_string();
    let mut key = [0; KEY_BYTES];
    entropy.fill(&mut key);
    // Another one may have been faster: then its key holds.
    make(path, &hex::encode(key)).with_context(|| format!("write {place}"))?;
    kept(path)?.with_context(|| format!("{place} vanished"))
}

fn parse(text: &str, place: &str) -> Result<[u8; KEY_BYTES]> {
    let bytes = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        Complaint::new(Exit::Internal, format!("{place} holds no key"))
            .hint(format!("a key is {KEY_BYTES} bytes in hex; restore it from a backup"))
            .into()
    })
}

fn read(path: &Path) -> Result<Option<String>> {
    let place = path.display();
    let mode = match fs::metadata(path) {
        Ok(found) => found.mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {place}")),
    };
    if mode & 0o077 != 0 {
        return Err(Complaint::new(
            Exit::Refused,
            format!("{place} is open to others (mode {:03o})", mode & 0o777),
        )
        .hint(format!(
            "chmod 600 {place}; whoever read it can read the store's secrets"
        ))
        .into());
    }
    fs::read_to_string(path)
        .map(Some)
        .with_context(|| format!("read {place}"))
}

/// Writes a new file whole, unless there is one.
fn make(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    let written = writeln!(file, "{text}").and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&part, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&part)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        make(&path, "a").unwrap();
        make(&path, "b").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().trim(), "a");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(parse(&"00".repeat(KEY_BYTES), "key").is_ok());
        for wrong in ["", "00", "xyz", &"00".repeat(KEY_BYTES + 1)] {
            assert!(parse(wrong, "key").is_err(), "{wrong}");
        }
    }
}
