//! Layers come plain, gzipped or as zstd; which one is told by their first bytes, since media types lie. Turns a stream
//! into a stream, for the unpacking helper.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Last three bytes that announce a frame to skip; its first is 0x50 to 0x5f.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The uncompressed bytes of a layer.
pub(super) fn reader<'a>(mut blob: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let head = blob.fill_buf()?;
    if head.starts_with(&GZIP) {
        Ok(Box::new(MultiGzDecoder::new(blob)))
    } else if head.starts_with(&ZSTD) || head.get(1..4) == Some(&ZSTD_SKIPPED) {
        Ok(Box::new(Frames {
            source: blob,
            decoder: FrameDecoder::new(),
            within: false,
        }))
    } else {
        Ok(Box::new(blob))
    }
}

/// A sequence of zstd frames; the decoder knows one at a time.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.within && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(damaged)?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

impl<R: BufRead> Frames<R> {
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(error)),
            }
        }
    }
}

fn damaged(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn plain(blob: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader(blob)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn every_packing_is_told_by_its_first_bytes_and_may_come_in_parts() {
        let skipped = [0x5f, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        assert_eq!(plain(b"plain").unwrap(), b"plain");
        assert_eq!(plain(b"").unwrap(), b"");
        assert_eq!(plain(&[gzip(b"one"), gzip(b"two")].concat()).unwrap(), b"onetwo");
        assert_eq!(
            plain(&[zstd(b"one"), skipped.to_vec(), zstd(b"two")].concat()).unwrap(),
            b"onetwo"
        );
        assert_eq!(plain(&[skipped.to_vec(), zstd(b"one")].concat()).unwrap(), b"one");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for whole in [gzip(b"some bytes that matter"), zstd(b"some bytes that matter")] {
            assert!(plain(&whole[..whole.len() - 5]).is_err());
        }
        assert!(plain(&[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]).is_err());
    }
}
