//! Writes and reads the lines of a backup. Blocks on its file, so it runs on a thread of its own beside the database's
//! reader or writer; called by [`crate::sql`].

use std::io::{self, BufRead, BufReader, Read, Write};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{BackupError, FORMAT, FORMATS, Header, Line, PAGE_LINES, Page, Pages, SCHEMA_MIN, Trailer};

/// How zstd files begin.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// zstd's own default: fast, and JSON shrinks to a tenth.
const LEVEL: i32 = 3;
/// Longer lines are in no backup: a body is far below.
const LINE_BYTES_MAX: u64 = 256 << 20;
/// A page that is read ends when it holds so much, however few lines that are.
const PAGE_BYTES: usize = 8 << 20;
/// What zstd may keep in memory to read: 128 MiB, more than our level ever needs.
const WINDOW_LOG_MAX: u32 = 27;

/// Writes a backup; gives the writer back, with everything handed to it, and how many lines there are between header and
/// trailer. None: the pages were given up, and what was written is no backup.
pub(crate) fn write<W: Write>(writer: W, mut pages: Pages) -> Result<Option<(W, u64)>, BackupError> {
    let failed = BackupError::Write;
    let mut out = zstd::Encoder::new(writer, LEVEL).map_err(failed)?;
    out.include_checksum(true).map_err(failed)?;
    let (mut hash, mut rows) = (Sha256::new(), 0u64);
    while let Some(page) = pages.blocking_recv() {
        match page {
            Page::Header(header) => put(&mut out, &mut hash, &Line::Header(header))?,
            Page::Lines(lines) => {
                for line in &lines {
                    put(&mut out, &mut hash, line)?;
                    rows += 1;
                }
            }
            Page::End => {
                let sha256 = hex::encode(hash.clone().finalize());
                put(&mut out, &mut hash, &Line::Trailer(Trailer { rows, sha256 }))?;
                let mut writer = out.finish().map_err(failed)?;
                writer.flush().map_err(failed)?;
                return Ok(Some((writer, rows)));
            }
        }
    }
    Ok(None)
}

fn put(out: &mut impl Write, hash: &mut Sha256, line: &Line) -> Result<(), BackupError> {
    let mut text = serde_json::to_string(line).expect("numbers and text");
    text.push('\n');
    hash.update(&text);
    out.write_all(text.as_bytes()).map_err(BackupError::Write)
}

/// Reads a backup of at most this schema. Hands over what it reads as it goes, and [`Page::End`] only once the file has
/// proved whole. Ok as well if nobody wants the pages any more.
pub(crate) fn read<R: Read>(reader: R, schema_max: i64, pages: &mpsc::Sender<Page>) -> Result<(), BackupError> {
    let mut file = BufReader::new(reader);
    let head = file.fill_buf().map_err(BackupError::Read)?;
    if head.is_empty() {
        return Err(BackupError::Truncated);
    }
    if !head.starts_with(&MAGIC) && !MAGIC.starts_with(head) {
        return Err(foreign("it is not compressed by zstd"));
    }
    let mut decoder = zstd::Decoder::with_buffer(file).map_err(BackupError::Read)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(BackupError::Read)?;
    let mut lines = Lines {
        input: BufReader::new(decoder),
        hash: Sha256::new(),
        text: Vec::new(),
    };
    // A header that damage has changed must not pass for another program's or another version's.
    let header = header(&mut lines, schema_max).map_err(|refusal| lines.rest().err().unwrap_or(refusal))?;
    if pages.blocking_send(Page::Header(header)).is_err() {
        return Ok(());
    }
    let (mut rows, mut page, mut bytes) = (0u64, Vec::new(), 0);
    loop {
        let before = hex::encode(lines.hash.clone().finalize());
        match lines.next()? {
            Line::Header(_) => return Err(altered("it has a second header")),
            Line::Trailer(trailer) => {
                lines.end()?;
                if trailer.rows != rows || trailer.sha256 != before {
                    return Err(altered("its lines are not those that its trailer counted"));
                }
                let whole = [Page::Lines(page), Page::End];
                // Whoever does not want them has a reason of its own to tell.
                whole.into_iter().try_for_each(|page| pages.blocking_send(page)).ok();
                return Ok(());
            }
            line @ (Line::Shard { .. } | Line::Setting { .. } | Line::Row { .. }) => {
                rows += 1;
                bytes += lines.text.len();
                page.push(line);
            }
        }
        if page.len() == PAGE_LINES || bytes > PAGE_BYTES {
            bytes = 0;
            if pages.blocking_send(Page::Lines(std::mem::take(&mut page))).is_err() {
                return Ok(());
            }
        }
    }
}

fn header<R: BufRead>(lines: &mut Lines<R>, schema_max: i64) -> Result<Header, BackupError> {
    lines.fill()?;
    let no_header = || foreign("its first line is no header");
    // Not as a line: a later version's header may hold more.
    let line: serde_json::Value = serde_json::from_slice(&lines.text).map_err(|_| no_header())?;
    let format = line.pointer("/header/format").and_then(|format| format.as_str());
    match format.ok_or_else(no_header)? {
        FORMAT => {}
        later if later.starts_with(FORMATS) => return Err(BackupError::Newer),
        _ => return Err(no_header()),
    }
    let Ok(Line::Header(header)) = serde_json::from_slice(&lines.text) else {
        return Err(altered("its header cannot be read"));
    };
    if header.schema > schema_max {
        return Err(BackupError::Newer);
    }
    if header.schema < SCHEMA_MIN {
        return Err(altered("no version wrote backups of its schema"));
    }
    Ok(header)
}

/// The lines of a file, hashed as they are read.
struct Lines<R> {
    input: R,
    hash: Sha256,
    /// The last one that was read, with its end.
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Line, BackupError> {
        self.fill()?;
        serde_json::from_slice(&self.text).map_err(|error| altered(&format!("a line cannot be read: {error}")))
    }

    fn fill(&mut self) -> Result<(), BackupError> {
        self.text.clear();
        let mut line = (&mut self.input).take(LINE_BYTES_MAX);
        line.read_until(b'\n', &mut self.text).map_err(of_input)?;
        if self.text.last() != Some(&b'\n') {
            return match u64::try_from(self.text.len()) {
                Ok(LINE_BYTES_MAX) => Err(altered("a line has no end")),
                Ok(_) | Err(_) => Err(BackupError::Truncated),
            };
        }
        self.hash.update(&self.text);
        Ok(())
    }

    /// Reads on to the end, where zstd compares its checksum.
    fn rest(&mut self) -> Result<(), BackupError> {
        io::copy(&mut self.input, &mut io::sink()).map(drop).map_err(of_input)
    }

    /// Refuses more after the last line.
    fn end(&mut self) -> Result<(), BackupError> {
        match self.input.fill_buf().map_err(of_input)? {
            [] => Ok(()),
            _ => Err(altered("it goes on after its trailer")),
        }
    }
}

/// An error of the system is the disk's; zstd's own are about the bytes.
fn of_input(error: io::Error) -> BackupError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        BackupError::Truncated
    } else if error.raw_os_error().is_some() {
        BackupError::Read(error)
    } else {
        altered(&error.to_string())
    }
}

fn altered(detail: &str) -> BackupError {
    BackupError::Altered {
        detail: detail.to_owned(),
    }
}

fn foreign(detail: &str) -> BackupError {
    BackupError::Foreign {
        detail: detail.to_owned(),
    }
}
