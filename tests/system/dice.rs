//! Random moments of kills, the same for one seed.

use std::env;

/// Numbers that look random and are the same for one seed (xorshift64, Marsaglia 2003).
pub(crate) struct Dice(u64);

impl Dice {
    /// With the seed in `HOTSHOE_SEED`, or else this one. Returns the seed, for messages.
    pub(crate) fn seeded(default: u64) -> (Self, u64) {
        let given = env::var("HOTSHOE_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or(default);
        (Self(seed), seed)
    }

    /// A number from 0 up to this one, which is left out.
    pub(crate) fn throw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}
