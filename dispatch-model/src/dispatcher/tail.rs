//! How long the long ones among the requests take: what a lease must still cover for a request to
//! be placed on it.
//!
//! Counts by length, four classes to each doubling, so that what is read is at most a quarter too
//! long and never too short. Old counts fade: all are halved when there are many.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::time::nanos;

/// Counts of service times by length.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Tail {
    counts: Vec<u32>,
    all: u32,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; CLASSES], all: 0 }
    }

    pub(crate) fn add(&mut self, took: Duration) {
        if self.all == COUNTED_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.all = self.counts.iter().sum();
        }
        // Whoever reads one from a file trusts who wrote it, but not so far as to panic.
        if let Some(count) = self.counts.get_mut(class(took)) {
            *count += 1;
            self.all += 1;
        }
    }

    /// What 99 in 100 did not exceed, rounded up to the end of its class; the longest of fewer than
    /// a hundred, and nothing of none.
    pub(crate) fn most(&self) -> Duration {
        let mut longer = 0;
        for (class, count) in self.counts.iter().enumerate().rev() {
            longer += count;
            if longer * 100 > self.all {
                return end(class);
            }
        }
        Duration::ZERO
    }
}

/// The class of a length: by its highest three bits, in units of about a millisecond.
const fn class(took: Duration) -> usize {
    let units = nanos(took) >> UNIT_BITS;
    if units < 4 {
        return units as usize;
    }
    let doublings = units.ilog2() - 1;
    let class = doublings as usize * 4 + (units >> (doublings - 1)) as usize % 4;
    if class < CLASSES { class } else { CLASSES - 1 }
}

/// The end of a class: the next one's beginning.
const fn end(class: usize) -> Duration {
    let next = class as u64 + 1;
    let units = if next < 4 { next } else { (4 + next % 4) << (next / 4 - 1) };
    Duration::from_nanos(units << UNIT_BITS)
}

const UNIT_BITS: u32 = 20;
/// The last class ends after nine hours.
const CLASSES: usize = 96;
const COUNTED_MAX: u32 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_ends_after_what_is_in_it_and_at_most_a_quarter_later() {
        let mut span = Duration::from_millis(1);
        while span < Duration::from_secs(30_000) {
            let (class, end) = (class(span), end(class(span)));
            assert!(end > span, "{span:?} in {class} ends at {end:?}");
            assert!(end <= span + span / 4 + Duration::from_millis(2), "{span:?} {end:?}");
            span += span / 50;
        }
        assert_eq!(class(Duration::MAX), CLASSES - 1);
    }

    #[test]
    fn one_in_a_hundred_may_be_longer() {
        let mut tail = Tail::new();
        assert_eq!(tail.most(), Duration::ZERO);
        tail.add(Duration::from_secs(40));
        assert!(tail.most() >= Duration::from_secs(40), "the longest of a few counts");
        (0..99).for_each(|_| tail.add(Duration::from_millis(50)));
        assert!(tail.most() < Duration::from_millis(100), "{:?}", tail.most());
        tail.add(Duration::from_secs(40));
        assert!(tail.most() >= Duration::from_secs(40), "two in 101 are too many");
    }

    #[test]
    fn what_was_long_ago_fades() {
        let mut tail = Tail::new();
        (0..4_000).for_each(|_| tail.add(Duration::from_secs(60)));
        (0..40_000).for_each(|_| tail.add(Duration::from_millis(50)));
        assert!(tail.most() < Duration::from_millis(100), "{:?}", tail.most());
    }
}
