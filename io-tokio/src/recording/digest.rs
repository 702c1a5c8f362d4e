//! A number that stands for all that was put into it.

use std::fmt;
use std::hash::{Hash, Hasher};

use dispatch_model::Time;

use super::Step;

/// A fast 64-bit digest that is the same on every platform and in every version. Printed as 16
/// hexadecimal digits.
///
/// Every number is widened to 64 bits, bytes are taken eight at a time, and each such word w moves
/// the state s to mix(s ⊕ w), where mix is the finaliser of SplitMix64. Each step is one to one, so
/// that two histories that differ in a single word never share a digest, whatever follows. It finds
/// accidents; nobody is kept from forging it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds a step and its time.
    pub fn add(&mut self, at: Time, step: &Step) {
        (at, step).hash(self);
    }

    /// The digest of `bytes`.
    pub(super) fn of(kind: u8, bytes: &[u8]) -> u64 {
        let mut digest = Self::default();
        digest.write_u8(kind);
        digest.write(bytes);
        digest.0
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last));
        // So that zeros at the end count.
        self.write_usize(bytes.len());
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        // The constant keeps a state of zero from staying there when zeros come.
        let mut z = (self.0 ^ number).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_i64(number as i64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(value: impl Hash) -> String {
        let mut digest = Digest::default();
        value.hash(&mut digest);
        digest.to_string()
    }

    #[test]
    fn digest_never_changes() {
        assert_eq!(digest(0_u64), "e220a8397b1dcdaf", "the first number of SplitMix64 with seed 0");
        assert_eq!(digest((1_u8, 2_u16, 3_u32)), digest((1_u64, 2_u64, 3_u64)));
        assert_eq!(digest(Step::Timeout), digest(2_isize), "a variant is its number");
    }

    #[test]
    fn everything_counts_its_place_too() {
        let all = ["", "\0", "\0\0", "a", "a\0", "12345678", "123456789", "123456780"];
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert_ne!(digest(one.as_bytes()), digest(other.as_bytes()), "{one:?} {other:?}");
            }
        }
        assert_ne!(digest((1, 2)), digest((2, 1)));
        assert_ne!(digest(()), digest(0));
    }
}
