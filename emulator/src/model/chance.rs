//! The model's only randomness: SplitMix64, the same numbers from the same seed on every platform.

use std::time::Duration;

/// A stream of numbers that its seed decides.
#[derive(Debug)]
pub(super) struct Chance {
    state: u64,
}

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A span from zero up to `limit`, `limit` excluded unless it is zero.
    pub(super) fn below(&mut self, limit: Duration) -> Duration {
        // The high half of the product spreads over the range without a division's bias to notice.
        let product = u128::from(self.next()) * u128::from(dispatch_model::time::nanos(limit));
        Duration::from_nanos(u64::try_from(product >> 64).unwrap_or(u64::MAX))
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
