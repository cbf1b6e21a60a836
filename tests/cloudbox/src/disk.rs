//! The data disk of a guest: a sparse file beside its console, blank at first. It is there for as long as its machine,
//! whether that runs or not.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use isobar_engine_model::id::ResourceHandle;

use crate::guest::plain;

/// In bytes.
const GIB: u64 = 1 << 30;

/// Where it is.
fn of(folder: &Path, machine: &ResourceHandle) -> PathBuf {
    folder.join(format!("{}.data", plain(machine)))
}

/// The disk of a machine, as it was left if it has one already.
pub(crate) fn made(folder: &Path, machine: &ResourceHandle, gib: u32) -> io::Result<PathBuf> {
    let path = of(folder, machine);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    // What is never written takes no room.
    file.set_len(u64::from(gib) * GIB)?;
    Ok(path)
}

/// It goes with its machine; most machines have none.
pub(crate) fn remove(folder: &Path, machine: &ResourceHandle) -> io::Result<()> {
    match std::fs::remove_file(of(folder, machine)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// QEMU's options for it.
pub(crate) fn options(disk: &Path) -> [String; 4] {
    // A comma ends a value, two are one.
    let file = disk.display().to_string().replace(',', ",,");
    [
        "-drive".to_owned(),
        format!("if=none,id=data,format=raw,discard=unmap,file={file}"),
        "-device".to_owned(),
        "virtio-blk-pci,drive=data".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_disk_keeps_what_is_written_until_its_machine_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let machine = ResourceHandle::new("zone/instances/engine");
        let disk = made(folder.path(), &machine, 20).expect("a disk");
        let facts = std::fs::metadata(&disk).expect("it is there");
        assert_eq!((facts.len(), facts.blocks()), (20 * GIB, 0));

        let mut file = OpenOptions::new().write(true).open(&disk).expect("it is there");
        file.write_all(b"kept").expect("there is room");
        let again = made(folder.path(), &machine, 20).expect("the same disk");
        assert_eq!(again, disk);
        assert!(
            std::fs::metadata(&disk).expect("it is there").blocks() > 0,
            "it is blank"
        );

        for _ in 0..2 {
            remove(folder.path(), &machine).expect("gone is gone");
            assert!(!disk.exists());
        }
    }

    #[test]
    fn a_comma_in_a_path_is_no_end_of_it() {
        let [_, drive, ..] = options(Path::new("/tmp/a,b/engine.data"));
        assert!(drive.ends_with(",file=/tmp/a,,b/engine.data"), "{drive}");
    }
}
