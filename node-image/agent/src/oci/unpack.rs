//! Unpacks one layer into an empty folder, in the helper and inside a chroot of that folder: whatever a layer's names
//! and links say, nothing outside can be reached. Deletions become overlayfs's own marks. Device nodes are refused,
//! and only harmless extended attributes kept. It knows nothing of images.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::stat::{Mode, SFlag, mknod};
use sha2::{Digest as _, Sha256};
use tar::{Entry, EntryType};

use super::decompress;
use crate::container::helper::Refused;
use crate::container::sys;
use crate::container::wire::{Failure, Reply, UnpackRequest};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Marks that the layer's own format reserves and nobody uses.
const RESERVED: &[u8] = b".wh..wh.";
const OVERLAY_OPAQUE: &str = "trusted.overlay.opaque";
const READ_BYTES: usize = 64 * 1024;

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("`{}` leads out of the layer", .0.display())]
    Outside(PathBuf),
    #[error("`{}` is a device, which images may not have", .0.display())]
    Device(PathBuf),
    #[error("`{}` has an unknown kind {kind:?}", path.display())]
    Kind { path: PathBuf, kind: EntryType },
    #[error("more than {0} entries")]
    Entries(u64),
    #[error("more than {0} bytes when uncompressed")]
    Bytes(u64),
    #[error("archive is damaged")]
    Archive(#[source] io::Error),
    #[error("write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("enter the layer's folder")]
    Enter(#[source] io::Error),
}

/// Unpacks the blob that came with the request. Ends with the helper inside the chroot.
pub(crate) fn in_helper(request: &UnpackRequest, blobs: Vec<OwnedFd>) -> Result<Reply, Refused> {
    let Some(blob) = blobs.into_iter().next() else {
        return Err(Refused {
            kind: Failure::Other,
            message: "no blob came with the request".into(),
        });
    };
    let done = enter(&request.target).and_then(|()| unpack(File::from(blob), request.bytes_max, request.entries_max));
    match done {
        Ok(diff_id) => Ok(Reply::Unpacked { diff_id }),
        Err(error) => Err(Refused {
            kind: kind_of(&error),
            message: crate::chain(&error),
        }),
    }
}

fn enter(target: &Path) -> Result<(), UnpackError> {
    nix::unistd::chroot(target)
        .and_then(|()| nix::unistd::chdir("/"))
        .map_err(|error| UnpackError::Enter(error.into()))
}

fn kind_of(error: &UnpackError) -> Failure {
    match error {
        UnpackError::Write { source, .. } if is_full(source) => Failure::Full,
        UnpackError::Enter(_) => Failure::Other,
        UnpackError::Outside(_)
        | UnpackError::Device(_)
        | UnpackError::Kind { .. }
        | UnpackError::Entries(_)
        | UnpackError::Bytes(_)
        | UnpackError::Archive(_)
        | UnpackError::Write { .. } => Failure::BadImage,
    }
}

/// Whether there was no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Unpacks into the root folder, which is the chroot's, and gives the digest of the uncompressed layer.
fn unpack(blob: File, bytes_max: u64, entries_max: u64) -> Result<String, UnpackError> {
    let plain = decompress::reader(BufReader::with_capacity(READ_BYTES, blob)).map_err(UnpackError::Archive)?;
    let mut hashed = Hashed {
        inner: plain.take(bytes_max.saturating_add(1)),
        hash: Sha256::new(),
        bytes: 0,
    };
    let done = unpack_entries(&mut hashed, entries_max);
    if hashed.bytes > bytes_max {
        return Err(UnpackError::Bytes(bytes_max));
    }
    done?;
    // What comes after the archive's end counts for the digest too.
    io::copy(&mut hashed, &mut io::sink()).map_err(UnpackError::Archive)?;
    if hashed.bytes > bytes_max {
        return Err(UnpackError::Bytes(bytes_max));
    }
    Ok(format!("sha256:{}", hex::encode(hashed.hash.finalize())))
}

fn unpack_entries(layer: &mut impl Read, entries_max: u64) -> Result<(), UnpackError> {
    let mut archive = tar::Archive::new(layer);
    let mut count = 0;
    for entry in archive.entries().map_err(UnpackError::Archive)? {
        count += 1;
        if count > entries_max {
            return Err(UnpackError::Entries(entries_max));
        }
        let mut entry = entry.map_err(UnpackError::Archive)?;
        let named = entry.path().map_err(UnpackError::Archive)?.into_owned();
        let path = inside(&named)?;
        if let Some(name) = path.file_name().filter(|name| name.as_bytes().starts_with(WHITEOUT)) {
            white_out(&path, name).map_err(|source| UnpackError::Write { path: named, source })?;
        } else {
            unpack_entry(&mut entry, &path)?;
        }
    }
    Ok(())
}

/// The absolute path inside of the chroot. Climbing up is refused, though the chroot would hold it.
fn inside(named: &Path) -> Result<PathBuf, UnpackError> {
    let mut path = PathBuf::from("/");
    for part in named.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(UnpackError::Outside(named.to_owned())),
        }
    }
    Ok(path)
}

fn white_out(path: &Path, name: &OsStr) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let name = name.as_bytes();
    if name == OPAQUE {
        sys::set_attribute(parent, OVERLAY_OPAQUE, b"y")
    } else if name.starts_with(RESERVED) {
        Ok(())
    } else {
        let hidden = parent.join(OsStr::from_bytes(&name[WHITEOUT.len()..]));
        remove(&hidden)?;
        // A character device 0/0 is how overlayfs writes "gone".
        Ok(mknod(&hidden, SFlag::S_IFCHR, Mode::empty(), 0)?)
    }
}

fn unpack_entry<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    let failed = |source| UnpackError::Write {
        path: path.to_owned(),
        source,
    };
    if kind.is_hard_link() {
        // It shares everything with its target: nothing else is to be set.
        let target = inside(&link_target(entry).map_err(UnpackError::Archive)?)?;
        return prepare(path).and_then(|()| fs::hard_link(target, path)).map_err(failed);
    }
    let written = if kind.is_dir() {
        make_folder(path)
    } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
        write_file(entry, path)
    } else if kind.is_symlink() {
        let target = link_target(entry).map_err(UnpackError::Archive)?;
        prepare(path).and_then(|()| symlink(target, path))
    } else if kind.is_fifo() {
        prepare(path).and_then(|()| Ok(mknod(path, SFlag::S_IFIFO, Mode::empty(), 0)?))
    } else if kind.is_character_special() || kind.is_block_special() {
        return Err(UnpackError::Device(path.to_owned()));
    } else if kind.is_pax_global_extensions() {
        // It says nothing about a file of its own.
        return Ok(());
    } else {
        return Err(UnpackError::Kind {
            path: path.to_owned(),
            kind,
        });
    };
    written.and_then(|()| dress(entry, path, kind)).map_err(failed)
}

fn write_file<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> io::Result<()> {
    prepare(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    io::copy(entry, &mut file)?;
    Ok(())
}

fn make_folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(present) if present.is_dir() => Ok(()),
        Ok(_) | Err(_) => {
            prepare(path)?;
            fs::create_dir(path)
        }
    }
}

fn link_target<R: Read>(entry: &Entry<'_, R>) -> io::Result<PathBuf> {
    let target = entry
        .link_name()?
        .ok_or_else(|| io::Error::other("link without target"))?;
    Ok(target.into_owned())
}

/// Makes way for a path: its parents exist, itself does not.
fn prepare(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    remove(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(present) if present.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Owner, attributes, mode, time; in this order, since a change of owner clears setuid bits and attributes. Setuid bits
/// are kept as the image has them: `no_new_privileges` takes their effect.
fn dress<R: Read>(entry: &mut Entry<'_, R>, path: &Path, kind: EntryType) -> io::Result<()> {
    let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("user or group id beyond 32 bits"));
    let (uid, gid) = (id(entry.header().uid()?)?, id(entry.header().gid()?)?);
    lchown(path, Some(uid), Some(gid))?;
    if kind == EntryType::Symlink {
        return Ok(());
    }
    for (name, value) in attributes(entry)? {
        sys::set_attribute(path, &name, &value)?;
    }
    fs::set_permissions(path, Permissions::from_mode(entry.header().mode()? & 0o7777))?;
    if kind.is_file() {
        let modified = UNIX_EPOCH + Duration::from_secs(entry.header().mtime()?.min(i32::MAX.unsigned_abs().into()));
        File::open(path)?.set_modified(modified)?;
    }
    Ok(())
}

/// Capabilities of files and what users set. Never `trusted.*`: overlayfs would take those as its own.
fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(Vec::new());
    };
    let mut kept = Vec::new();
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) else {
            continue;
        };
        if name == "security.capability" {
            kept.push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(kept)
}

/// Counts and hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.bytes = self.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(length)
    }
}
