//! The node image on disk: the part of its manifest that booting needs. Never builds one.

use std::fs;
use std::path::{Path, PathBuf};

use isobar_engine_model::id::ImageId;
use serde::Deserialize;

/// The manifest format that is understood.
const FORMAT: u32 = 1;

/// A node image that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) id: ImageId,
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) command_line: String,
}

/// There is no image to boot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no node image in {folder}: {why}\nhint: build it with `./dev image`, or with `isobar-image build --agent FILE --out FOLDER`"
)]
pub(crate) struct NoImage {
    folder: String,
    why: String,
}

#[derive(Deserialize)]
struct Manifest {
    format: u32,
    id: ImageId,
    command_line: String,
    kernel: File,
    initramfs: File,
}

#[derive(Deserialize)]
struct File {
    file: String,
    bytes: u64,
}

impl Image {
    /// Reads the image of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, NoImage> {
        let none = |why: String| NoImage {
            folder: folder.display().to_string(),
            why,
        };
        let text = fs::read(folder.join("manifest.json")).map_err(|e| none(format!("manifest.json: {e}")))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| none(format!("manifest.json: {e}")))?;
        if manifest.format != FORMAT {
            return Err(none(format!(
                "its format is {}, and {FORMAT} is understood here",
                manifest.format
            )));
        }
        let whole = |file: &File| {
            let path = folder.join(&file.file);
            match fs::metadata(&path) {
                Ok(found) if found.len() == file.bytes => Ok(path),
                Ok(found) => Err(none(format!(
                    "{} has {} bytes instead of {}",
                    file.file,
                    found.len(),
                    file.bytes
                ))),
                Err(error) => Err(none(format!("{}: {error}", file.file))),
            }
        };
        Ok(Self {
            kernel: whole(&manifest.kernel)?,
            initramfs: whole(&manifest.initramfs)?,
            id: manifest.id,
            command_line: manifest.command_line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"format":1,"id":"node-1","command_line":"quiet",
        "kernel":{"file":"vmlinux","bytes":3},"initramfs":{"file":"initramfs","bytes":2}}"#;

    fn folder(initramfs: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("manifest.json", MANIFEST),
            ("vmlinux", "elf"),
            ("initramfs", initramfs),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_whole_image_is_read() {
        let folder = folder("cp");
        let image = Image::read(folder.path()).unwrap();
        assert_eq!((image.id.as_str(), image.command_line.as_str()), ("node-1", "quiet"));
    }

    #[test]
    fn a_missing_or_cut_image_says_how_to_build_it() {
        for folder in [folder("c"), tempfile::tempdir().unwrap()] {
            let message = Image::read(folder.path()).unwrap_err().to_string();
            assert!(message.contains("hint: build it"), "{message}");
        }
    }
}
