//! Seeded decisions. Each part of a run has dice of its own, so that one that draws more often changes nothing elsewhere.

use isobar_engine_provider::Entropy;
use isobar_providers_sim::SeededEntropy;

/// A source of decisions; see the module.
#[derive(Debug)]
pub struct Dice(SeededEntropy);

impl Dice {
    /// The dice of one part of a run. The mixing keeps the parts of neighbouring seeds apart.
    pub fn new(seed: u64, part: &str) -> Self {
        let mixed = part.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(SeededEntropy::new(mixed))
    }

    /// Any number.
    pub fn any(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&self, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low).saturating_add(1);
        low + self.any() % width
    }

    /// Whether something of so many in a thousand happens. Always one draw.
    pub fn happens(&self, permille: u64) -> bool {
        self.within(0, 999) < permille
    }

    /// One of these.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        let last = u64::try_from(of.len())
            .expect("fits")
            .checked_sub(1)
            .expect("there is one");
        &of[usize::try_from(self.within(0, last)).expect("less than the length")]
    }
}
