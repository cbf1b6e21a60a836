//! Writes the `newc` archives that Linux unpacks as its initramfs. Every entry belongs to root and is dated 1970, and
//! entries come in path order, so the same files give the same bytes. Reads nothing; called by `assemble`.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Longest path inside an archive, in bytes: the kernel's own bound.
pub const PATH_MAX_BYTES: usize = 4096;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LAST_ENTRY: &str = "TRAILER!!!";

/// An archive being filled: paths without a leading `/`.
#[derive(Debug, Default)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Directory { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
}

impl Archive {
    /// Adds a directory and those above it.
    pub fn directory(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::Directory { mode });
    }

    /// Adds a file and the directories above it.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.parents(path);
        self.entries.insert(
            path.to_owned(),
            Entry::File {
                mode,
                bytes: bytes.into(),
            },
        );
    }

    /// The archive as bytes.
    pub fn finish(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (number, (path, entry)) in (1_u32..).zip(&self.entries) {
            let (mode, links, bytes): (u32, u32, &[u8]) = match entry {
                Entry::Directory { mode } => (DIRECTORY | mode, 2, &[]),
                Entry::File { mode, bytes } => (REGULAR | mode, 1, bytes),
            };
            write_entry(
                &mut out,
                &Header {
                    number,
                    mode,
                    links,
                    path,
                },
                bytes,
            )?;
        }
        write_entry(
            &mut out,
            &Header {
                number: 0,
                mode: 0,
                links: 1,
                path: LAST_ENTRY,
            },
            &[],
        )?;
        Ok(out)
    }

    fn parents(&mut self, path: &str) {
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            self.entries
                .entry(parent.to_owned())
                .or_insert(Entry::Directory { mode: 0o755 });
            above = parent;
        }
    }
}

struct Header<'a> {
    number: u32,
    mode: u32,
    links: u32,
    path: &'a str,
}

fn write_entry(out: &mut Vec<u8>, header: &Header<'_>, bytes: &[u8]) -> Result<()> {
    let refuse = |message| Error::Archive {
        path: header.path.to_owned(),
        message,
    };
    if header.path.len() >= PATH_MAX_BYTES {
        return Err(refuse("the path is too long"));
    }
    let size = u32::try_from(bytes.len()).map_err(|_| refuse("it has 4 GiB or more"))?;
    let name_size = u32::try_from(header.path.len() + 1).map_err(|_| refuse("the path is too long"))?;
    // Inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name, checksum.
    let fields = [
        header.number,
        header.mode,
        0,
        0,
        header.links,
        0,
        size,
        0,
        0,
        0,
        0,
        name_size,
        0,
    ]
    .map(|f| format!("{f:08X}"));
    out.extend_from_slice(b"070701");
    out.extend_from_slice(fields.concat().as_bytes());
    out.extend_from_slice(header.path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(bytes);
    pad(out);
    Ok(())
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn sample() -> Archive {
        let mut archive = Archive::default();
        archive.file("modules/net.list", 0o644, "virtio\n");
        archive.file("init", 0o755, vec![0x7f; 4097]);
        archive.directory("proc", 0o555);
        archive
    }

    #[test]
    fn gnu_cpio_reads_the_archive_back() {
        let mut cpio = Command::new("cpio")
            .args(["-t", "-v", "-n", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .spawn()
            .expect("cpio is installed: apt-get install cpio");
        cpio.stdin
            .take()
            .unwrap()
            .write_all(&sample().finish().unwrap())
            .unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success());
        let listing = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<Vec<&str>> = listing.lines().map(|l| l.split_whitespace().collect()).collect();
        let seen: Vec<String> = rows
            .iter()
            .map(|r| format!("{} {} {} {}", r[0], r[2], r[4], r[8]))
            .collect();
        assert_eq!(
            seen,
            [
                "-rwxr-xr-x 0 4097 init",
                "drwxr-xr-x 0 0 modules",
                "-rw-r--r-- 0 7 modules/net.list",
                "dr-xr-xr-x 0 0 proc"
            ]
        );
    }

    #[test]
    fn the_order_of_adding_does_not_change_the_bytes() {
        let mut other = Archive::default();
        other.directory("proc", 0o555);
        other.file("init", 0o755, vec![0x7f; 4097]);
        other.file("modules/net.list", 0o644, "virtio\n");
        assert_eq!(sample().finish().unwrap(), other.finish().unwrap());
    }

    #[test]
    fn a_path_beyond_the_kernels_bound_is_refused() {
        let mut archive = Archive::default();
        archive.file(&"a".repeat(PATH_MAX_BYTES), 0o644, "");
        assert!(archive.finish().is_err());
    }
}
