//! Random choices that can be repeated.

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
    time::Duration,
};

/// A random number generator (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64, player: u64) -> Self {
        Self(seed ^ player.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// A random seed.
    pub fn seed() -> u64 {
        RandomState::new().hash_one(std::process::id()) % 1_000_000
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    pub fn millis(&mut self, range: Range<usize>) -> Duration {
        let millis = range.start + self.below(range.end - range.start);
        Duration::from_millis(millis as u64)
    }
}
