//! Seeded randomness: the generator behind every decision of the simulated cloud, and an [`Entropy`] for tests.
//!
//! Never used where something must be unpredictable. Called by the simulated cloud and by tests.

use std::sync::{Mutex, PoisonError};

use isobar_engine_provider::Entropy;

/// SplitMix64 (Steele, Lea and Flood 2014): 64 bits of state, one addition and three mixing steps a number.
///
/// Chosen because its whole state is the seed plus the number of draws, so that a printed seed and the same order of
/// calls always give the same run, on every platform and after every update of a dependency.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `range`, both ends included; `range.0` if the range is empty. Always one draw.
    pub(crate) fn within(&mut self, range: (u64, u64)) -> u64 {
        let drawn = self.next_u64();
        let (low, high) = range;
        match high.saturating_sub(low).checked_add(1) {
            Some(width) => low + drawn % width,
            None => drawn,
        }
    }
}

/// Reproducible bytes from a seed, as [`Entropy`] for tests and simulations.
#[derive(Debug)]
pub struct SeededEntropy {
    random: Mutex<SplitMix64>,
}

impl SeededEntropy {
    /// The same seed and the same calls give the same bytes.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Mutex::new(SplitMix64::new(seed)),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            let drawn = random.next_u64().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // The first numbers for this seed in the reference implementation's test vector.
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let bytes = |seed| {
            let mut bytes = [0; 19];
            SeededEntropy::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    #[test]
    fn a_range_includes_both_ends() {
        let mut random = SplitMix64::new(1);
        let drawn: Vec<u64> = (0..100).map(|_| random.within((3, 5))).collect();
        assert!(drawn.iter().all(|n| (3..=5).contains(n)));
        assert!(drawn.contains(&3) && drawn.contains(&5));
        assert_eq!(random.within((4, 4)), 4);
    }
}
