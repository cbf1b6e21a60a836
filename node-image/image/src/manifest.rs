//! What a built image is: its files with their hashes, and one id for all of it. Written beside the files as
//! `manifest.json`, which is all that a provider needs to read. Pure; called by `assemble`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of the manifest's file.
pub const FILE: &str = "manifest.json";
/// The format that this crate writes.
pub const FORMAT: u32 = 1;
/// So many bytes of the content's hash name an image.
const ID_BYTES: usize = 8;

/// A built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// `node-`, or `engine-`, and the first 16 hex digits of the hash of all that boots: kernel, initramfs and command line.
    pub id: String,
    /// The processor that it runs on, in Rust's spelling.
    pub architecture: String,
    /// Kernel release.
    pub kernel_release: String,
    /// File name of the package that the kernel comes from.
    pub kernel_package: String,
    /// Command line of the kernel.
    pub command_line: String,
    /// The kernel, an ELF file with a PVH entry.
    pub kernel: ImageFile,
    /// The initramfs.
    pub initramfs: ImageFile,
    /// The agent inside the initramfs.
    pub agent: ImageFile,
}

/// One file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFile {
    /// Its name in the image's folder; the agent's, inside the initramfs.
    pub file: String,
    /// Its size.
    pub bytes: usize,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

impl ImageFile {
    /// Measures a file.
    pub fn of(file: &str, content: &[u8]) -> Self {
        Self {
            file: file.to_owned(),
            bytes: content.len(),
            sha256: hex::encode(Sha256::digest(content)),
        }
    }
}

/// The id of what boots.
pub fn image_id(prefix: &str, kernel: &ImageFile, initramfs: &ImageFile, command_line: &str) -> String {
    let boots = [&kernel.sha256, &initramfs.sha256, command_line].join("\n");
    format!("{prefix}-{}", hex::encode(&Sha256::digest(boots)[..ID_BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_boots_differently_has_another_id() {
        let (a, b) = (ImageFile::of("a", b"a"), ImageFile::of("b", b"b"));
        let ids = [
            image_id("node", &a, &b, "quiet"),
            image_id("node", &b, &a, "quiet"),
            image_id("node", &a, &b, ""),
        ];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_eq!(ids[0].len(), 21);
    }
}
