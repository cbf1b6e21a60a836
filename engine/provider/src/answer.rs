//! An answer of a cloud's as it comes in, up to a bound. Whoever sends more is cut off there. Used by the providers of clouds
//! that read answers themselves.

use crate::{ProviderError, Result};

/// What came until now.
#[derive(Debug)]
pub struct Answer {
    max_bytes: usize,
    bytes: Vec<u8>,
}

impl Answer {
    /// Nothing yet, and never more than `max_bytes`.
    pub fn of_at_most(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: Vec::new(),
        }
    }

    /// Takes more in, or says that this is too much.
    pub fn take(&mut self, chunk: &[u8]) -> Result<()> {
        if chunk.len() > self.max_bytes - self.bytes.len() {
            return Err(ProviderError::Unexpected {
                message: format!("an answer of more than {} bytes", self.max_bytes),
            });
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// All that came.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_end_is_cut_off() {
        let mut answer = Answer::of_at_most(250);
        let taken = [100, 100, 50].map(|length| answer.take(&vec![1; length]));
        assert_eq!(taken, [Ok(()), Ok(()), Ok(())]);
        assert!(matches!(answer.take(&[1]), Err(ProviderError::Unexpected { .. })));
        assert_eq!(answer.into_bytes().len(), 250);
    }
}
