//! A generator with a fixed seed, for statistical tests alone.

use hotshoe_differential_privacy::Noise;

/// Noise from SplitMix64 (Steele, Lea, Flood 2014) with this seed.
pub(crate) fn seeded(seed: u64) -> Noise {
    let mut state = seed;
    Noise::from_source(move |bytes| {
        for chunk in bytes.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes());
        }
        Ok(())
    })
}
