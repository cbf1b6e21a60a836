//! Decodes LZ4 in its legacy frame format, the one that kernels are packed in. Never reads or writes files; every
//! length that the data names is checked before use. Called by `kernel`.

/// Magic number of the legacy frame format.
pub const LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// A block of the legacy format holds at most so many bytes once decoded.
const BLOCK_MAX_BYTES: usize = 8 << 20;
/// Every match is at least so long: lengths are stored less this.
const MATCH_MIN_BYTES: usize = 4;

/// The data ends early or points outside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lz4 data is damaged")]
pub struct Damaged;

/// Decodes a whole legacy frame of at most `max_bytes` decoded.
pub fn decode_legacy(frame: &[u8], max_bytes: usize) -> Result<Vec<u8>, Damaged> {
    let mut rest = frame.strip_prefix(LEGACY_MAGIC.as_slice()).ok_or(Damaged)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (size, after) = rest.split_first_chunk::<4>().ok_or(Damaged)?;
        let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| Damaged)?;
        let (block, after) = after.split_at_checked(size).ok_or(Damaged)?;
        decode_block(block, &mut out)?;
        if out.len() > max_bytes {
            return Err(Damaged);
        }
        rest = after;
    }
    Ok(out)
}

/// Appends one block to `out`. Matches reach back to this block's start only.
fn decode_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), Damaged> {
    let start = out.len();
    let mut input = Input(block);
    loop {
        let token = input.byte()?;
        let literals = input.length(token >> 4)?;
        out.extend_from_slice(input.take(literals)?);
        if input.0.is_empty() {
            return Ok(());
        }
        let distance = usize::from(u16::from_le_bytes([input.byte()?, input.byte()?]));
        let length = input.length(token & 0xf)? + MATCH_MIN_BYTES;
        let written = out.len() - start;
        if distance == 0 || distance > written || written + length > BLOCK_MAX_BYTES {
            return Err(Damaged);
        }
        // A match may overlap what it produces: then it repeats the last `distance` bytes.
        let from = out.len() - distance;
        if distance >= length {
            out.extend_from_within(from..from + length);
        } else {
            for at in from..from + length {
                out.push(out[at]);
            }
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A length whose first four bits stand in the token.
    fn length(&mut self, nibble: u8) -> Result<usize, Damaged> {
        let mut length = usize::from(nibble);
        if nibble == 0xf {
            loop {
                let more = self.byte()?;
                length += usize::from(more);
                if more != u8::MAX {
                    break;
                }
            }
        }
        if length > BLOCK_MAX_BYTES {
            Err(Damaged)
        } else {
            Ok(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(block: &[u8]) -> Vec<u8> {
        let size = u32::try_from(block.len()).unwrap().to_le_bytes();
        [LEGACY_MAGIC.as_slice(), &size, block].concat()
    }

    #[test]
    fn literals_and_overlapping_matches_are_decoded() {
        // "ab", then 8 bytes from 2 back, then "c".
        let block = [0x24, b'a', b'b', 2, 0, 0x10, b'c'];
        assert_eq!(
            decode_legacy(&frame(&block), 100).unwrap(),
            b"ababababab".iter().chain(b"c").copied().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_match_before_the_start_is_damage() {
        let block = [0x14, b'a', 2, 0, 0x10, b'c'];
        assert_eq!(decode_legacy(&frame(&block), 100), Err(Damaged));
    }

    #[test]
    fn more_than_the_bound_is_damage() {
        let block = [0x30, b'a', b'b', b'c'];
        assert_eq!(decode_legacy(&frame(&block), 2), Err(Damaged));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_legacy(&frame(&bytes), 1 << 20);
        }
    }
}
