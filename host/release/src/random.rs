//! Incompressible bytes, the same in each run.

/// Knuth's multiplier for 64 bits.
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
const INCREMENT: u64 = 1_442_695_040_888_963_407;

/// A linear congruential generator with mixed high bits: random enough to be incompressible.
pub struct Random(u64);

impl Random {
    /// Each seed starts another sequence.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Overwrites all bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(4) {
            self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
            let mixed = (self.0 ^ (self.0 >> 29)) >> 32;
            for (byte, value) in part.iter_mut().zip(mixed.to_le_bytes()) {
                *byte = value;
            }
        }
    }
}
