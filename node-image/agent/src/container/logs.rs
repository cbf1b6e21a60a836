//! What containers write: two pipes a container, read line by line into two files that replace one another, so that a
//! chatty container costs a bounded amount of room. Lines keep their number for life; old ones are forgotten. Never
//! parses what a line says.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::runtime::OutputLine;

/// Room for one file of lines, in bytes; a container has two.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest line kept, in bytes; the rest of it is dropped.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// How much is read at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// A container's lines.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    current: File,
    current_bytes: u64,
    /// Number of the first line in the older file, in the current one, and of the next line.
    older_from: u64,
    current_from: u64,
    next: u64,
}

impl Log {
    /// An empty log in `folder`, which is emptied.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => fs::create_dir_all(folder)?,
        }
        let files = Files {
            current: File::create(folder.join("current"))?,
            folder: folder.to_owned(),
            current_bytes: 0,
            older_from: 0,
            current_from: 0,
            next: 0,
        };
        Ok(Self(Arc::new(Mutex::new(files))))
    }

    /// Reads a pipe to its end. A line that cannot be written, for want of room, is dropped: the container goes on.
    pub(crate) async fn drain(self, pipe: OwnedFd, stderr: bool) {
        let Ok(mut pipe) = pipe::Receiver::from_owned_fd(pipe) else {
            return;
        };
        let mut splitter = Splitter::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    for line in splitter.push(&buffer[..length]) {
                        self.append(stderr, &line);
                    }
                }
            }
        }
        if let Some(line) = splitter.rest() {
            self.append(stderr, &line);
        }
    }

    /// Lines from `from` on, or the last ones; at most `max`; and the number of the line after them.
    pub(crate) fn read(&self, from: Option<u64>, max: u32) -> io::Result<(Vec<OutputLine>, u64)> {
        let files = self.files();
        let first = match from {
            Some(from) => from.max(files.older_from),
            None => files.next.saturating_sub(u64::from(max)).max(files.older_from),
        };
        let mut lines = Vec::new();
        for (name, number) in [("older", files.older_from), ("current", files.current_from)] {
            let Ok(file) = File::open(files.folder.join(name)) else {
                continue;
            };
            for (number, line) in (number..).zip(BufReader::new(file).lines()) {
                if number >= first && u32::try_from(lines.len()).is_ok_and(|count| count < max) {
                    lines.extend(parse(&line?));
                }
            }
        }
        let after = first
            .min(files.next)
            .saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        Ok((lines, after))
    }

    fn append(&self, stderr: bool, text: &str) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let mut files = self.files();
        if let Err(error) = files.append(&format!("{now} {} {text}\n", if stderr { 'e' } else { 'o' })) {
            tracing::debug!(error = &error as &dyn std::error::Error, "line of output dropped");
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn append(&mut self, line: &str) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.current_bytes + length > FILE_BYTES_MAX {
            fs::rename(self.folder.join("current"), self.folder.join("older"))?;
            self.current = File::create(self.folder.join("current"))?;
            (self.older_from, self.current_from, self.current_bytes) = (self.current_from, self.next, 0);
        }
        self.current.write_all(line.as_bytes())?;
        self.current_bytes += length;
        self.next += 1;
        Ok(())
    }
}

/// `TIME_MS o|e TEXT`.
fn parse(line: &str) -> Option<OutputLine> {
    let (time, rest) = line.split_once(' ')?;
    let (stream, text) = rest.split_once(' ')?;
    Some(OutputLine {
        time_ms: time.parse().ok()?,
        stderr: stream == "e",
        text: text.to_owned(),
    })
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
struct Splitter {
    line: Vec<u8>,
}

impl Splitter {
    fn push(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end]);
            lines.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
        lines
    }

    fn rest(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend(&bytes[..room.min(bytes.len())]);
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        // A lone carriage return or NUL would make one line into two for some readers.
        String::from_utf8_lossy(&line)
            .trim_end_matches('\r')
            .replace(['\r', '\0'], "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(log: &Log, from: Option<u64>, max: u32) -> (Vec<String>, u64) {
        let (lines, next) = log.read(from, max).unwrap();
        (lines.into_iter().map(|line| line.text).collect(), next)
    }

    #[test]
    fn lines_are_read_by_number_or_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path()).unwrap();
        for text in ["a", "b", "", "d"] {
            log.append(false, text);
        }
        assert_eq!(texts(&log, None, 2), (vec![String::new(), "d".into()], 4));
        assert_eq!(texts(&log, Some(1), 2), (vec!["b".into(), String::new()], 3));
        assert_eq!(texts(&log, Some(4), 9), (vec![], 4));
        assert_eq!(texts(&log, Some(40), 9), (vec![], 4));
    }

    #[test]
    fn a_full_log_forgets_its_oldest_lines_and_keeps_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path()).unwrap();
        let text = "x".repeat(LINE_BYTES_MAX);
        for _ in 0..400 {
            log.append(true, &text);
        }
        let (lines, next) = log.read(Some(0), 1000).unwrap();
        assert_eq!(next, 400);
        assert!(lines.len() > 120 && lines.len() < 260, "{} lines", lines.len());
        assert!(lines.iter().all(|line| line.stderr && line.text == text));
        let room: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(room <= 2 * FILE_BYTES_MAX, "{room} bytes");
    }

    #[test]
    fn long_lines_are_cut_and_broken_pieces_joined() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"one\ntw"), ["one"]);
        assert_eq!(splitter.push(b"o\r\n"), ["two"]);
        let mut long = vec![b'y'; 3 * LINE_BYTES_MAX];
        long.push(b'\n');
        assert_eq!(splitter.push(&long), ["y".repeat(LINE_BYTES_MAX)]);
        assert_eq!(splitter.push(b"end"), Vec::<String>::new());
        assert_eq!(splitter.rest(), Some("end".into()));
        assert_eq!(splitter.rest(), None);
    }
}
