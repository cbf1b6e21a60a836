//! A machine's console file: read in parts, and kept from filling the disk. What is old is cut out of the file's
//! front as a hole, so that offsets stay what they were.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use isobar_engine_provider::ConsoleChunk;
use isobar_engine_provider::resource::CONSOLE_CHUNK_MAX_BYTES;
use rustix::fs::{FallocateFlags, fallocate};

/// At least so many of the last bytes are kept, and at most twice as many.
pub(crate) const KEPT_MIN_BYTES: u64 = 4 << 20;
/// So much of the end is read for the reason of a stop.
const ENDING_BYTES: u64 = 4096;
/// A panic's line is shown up to so many characters.
const PANIC_MAX_CHARS: usize = 200;

/// What was printed from `offset` on. What was cut out is skipped.
pub(crate) fn read(path: &Path, offset: u64) -> io::Result<ConsoleChunk> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if size.saturating_sub(KEPT_MIN_BYTES) >= KEPT_MIN_BYTES {
        cut(path, size - KEPT_MIN_BYTES)?;
    }
    // Cutting is only ever done down to here, so this never reads a hole.
    let from = offset.max(size.saturating_sub(KEPT_MIN_BYTES)).min(size);
    if offset > size {
        return Ok(ConsoleChunk {
            bytes: Vec::new(),
            next_offset: offset,
        });
    }
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    let most = u64::try_from(CONSOLE_CHUNK_MAX_BYTES).unwrap_or(u64::MAX);
    file.take(most.min(size - from)).read_to_end(&mut bytes)?;
    let next_offset = from + u64::try_from(bytes.len()).unwrap_or_default();
    Ok(ConsoleChunk { bytes, next_offset })
}

/// Gives the file's old front back to the disk, once it is worth it.
pub(crate) fn bound(path: &Path) -> io::Result<()> {
    let size = path.metadata()?.len();
    if size >= 2 * KEPT_MIN_BYTES {
        cut(path, size - KEPT_MIN_BYTES)
    } else {
        Ok(())
    }
}

/// Why a machine stopped, as its console tells it.
pub(crate) fn ending(path: &Path) -> String {
    let text = tail(path).unwrap_or_default();
    if let Some(line) = text
        .lines()
        .find_map(|line| line.split_once("Kernel panic").map(|(_, why)| why))
    {
        let why: String = line.chars().take(PANIC_MAX_CHARS).collect();
        return format!("its kernel panicked{why}");
    }
    if text.contains("reboot: Power down") || text.contains("reboot: System halted") {
        return "it powered itself off".to_owned();
    }
    if text.contains("reboot: Restarting") || text.contains("reboot: machine restart") {
        return "it restarted, which loses its key: it has to be replaced".to_owned();
    }
    "its QEMU process ended or was killed".to_owned()
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(ENDING_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(ENDING_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn cut(path: &Path, front: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(&file, hole, 0, front) {
        // Not every file system can: then the file is only long.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn parts_follow_each_other_to_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let printed: Vec<u8> = (0..=u8::MAX).cycle().take(CONSOLE_CHUNK_MAX_BYTES + 100).collect();
        fs::write(file.path(), &printed).unwrap();
        let first = read(file.path(), 0).unwrap();
        let second = read(file.path(), first.next_offset).unwrap();
        let end = read(file.path(), second.next_offset).unwrap();
        assert_eq!([first.bytes, second.bytes].concat(), printed);
        assert!(end.bytes.is_empty());
        assert!(read(file.path(), u64::MAX).unwrap().bytes.is_empty());
    }

    #[test]
    fn an_endless_console_takes_bounded_room_and_keeps_its_offsets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let size = 4 * KEPT_MIN_BYTES;
        file.as_file()
            .write_all(&vec![b'x'; usize::try_from(size).unwrap()])
            .unwrap();
        file.as_file().sync_all().unwrap();
        bound(file.path()).unwrap();
        assert!(file.as_file().metadata().unwrap().blocks() * 512 <= 2 * KEPT_MIN_BYTES);
        let chunk = read(file.path(), 0).unwrap();
        assert!(chunk.bytes.iter().all(|b| *b == b'x'));
        assert_eq!(
            chunk.next_offset,
            size - KEPT_MIN_BYTES + CONSOLE_CHUNK_MAX_BYTES as u64
        );
    }

    #[test]
    fn the_reason_of_a_stop_is_read_from_the_console() {
        let reason = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), text).unwrap();
            ending(file.path())
        };
        assert_eq!(reason("[    1.5] reboot: Power down\n"), "it powered itself off");
        assert_eq!(
            reason("[    0.9] Kernel panic - not syncing: Attempted to kill init!\n[    1.0] reboot: Restarting\n"),
            "its kernel panicked - not syncing: Attempted to kill init!"
        );
        assert_eq!(reason("hello\n"), "its QEMU process ended or was killed");
    }
}
