//! Consoles of clouds that hand out all that they keep: which part of it a caller gets.

use crate::ConsoleChunk;
use crate::resource::CONSOLE_CHUNK_MAX_BYTES;

impl ConsoleChunk {
    /// The part of what was printed from byte `offset` on.
    pub fn part(printed: &[u8], offset: u64) -> Self {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(printed.len());
        let to = from.saturating_add(CONSOLE_CHUNK_MAX_BYTES).min(printed.len());
        let length = u64::try_from(to - from).unwrap_or_default();
        Self {
            bytes: printed[from..to].to_vec(),
            next_offset: offset.saturating_add(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_starts_where_the_last_one_ended() {
        let first = ConsoleChunk::part(b"booted", 0);
        assert_eq!((first.bytes.as_slice(), first.next_offset), (&b"booted"[..], 6));
        let next = ConsoleChunk::part(b"booted, joined", first.next_offset);
        assert_eq!((next.bytes.as_slice(), next.next_offset), (&b", joined"[..], 14));
        assert_eq!(ConsoleChunk::part(b"short", 9).next_offset, 9);
        let long = vec![b'x'; CONSOLE_CHUNK_MAX_BYTES + 1];
        assert_eq!(ConsoleChunk::part(&long, 0).bytes.len(), CONSOLE_CHUNK_MAX_BYTES);
    }
}
