//! Arrivals that nobody recorded: a curve, which is a row of pieces, and chance within each.
//!
//! Each kind of synthetic traffic is nothing but its pieces. Where requests are independent of each
//! other, what is left of a gap at the border of a piece does not matter, so each begins anew.

use std::time::Duration;

use dispatch_model::Prng;
use dispatch_model::time::nanos;

use crate::spread::{float, memoryless, share, whole};

/// A part of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    /// Its length, in nanoseconds.
    pub(super) span: u64,
    /// What comes in it.
    pub(super) comes: Comes,
}

/// What comes in a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Comes {
    /// So many, each anywhere in the piece.
    Anywhere(u64),
    /// So many, evenly spaced, the first at once.
    Evenly(u64),
    /// So many a second, independent of each other.
    Random(f64),
}

/// A row of pieces.
pub(super) type Pieces = Box<dyn Iterator<Item = Piece> + Send>;

/// When the requests of a curve arrive, in nanoseconds.
pub(super) struct Curve {
    pieces: Pieces,
    piece: Within,
    /// From when on nothing comes.
    end: u64,
    chance: Prng,
}

impl Curve {
    /// What comes before `end`.
    pub(super) fn new(pieces: Pieces, end: u64, chance: Prng) -> Self {
        let nothing = Piece { span: 0, comes: Comes::Evenly(0) };
        Self { pieces, piece: Within::new(nothing, 0), end, chance }
    }
}

impl Iterator for Curve {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(at) = self.piece.next(&mut self.chance) {
                return (at < self.end).then_some(at);
            }
            if self.piece.end >= self.end {
                return None;
            }
            self.piece = Within::new(self.pieces.next()?, self.piece.end);
        }
    }
}

/// What is left of one piece.
pub(super) struct Within {
    start: u64,
    end: u64,
    comes: Comes,
    /// When the last came.
    at: u64,
    /// How many have come.
    count: u64,
    /// The share of the piece that is left, for those that come anywhere.
    left: f64,
}

impl Within {
    pub(super) const fn new(piece: Piece, start: u64) -> Self {
        let end = start.saturating_add(piece.span);
        Self { start, end, comes: piece.comes, at: start, count: 0, left: 1.0 }
    }

    pub(super) fn next(&mut self, chance: &mut Prng) -> Option<u64> {
        let span = self.end - self.start;
        match self.comes {
            // Of n numbers between 0 and 1, the largest is distributed as the n-th root of one.
            Comes::Anywhere(all) => {
                let rest = all.checked_sub(self.count).filter(|rest| *rest > 0)?;
                self.left *= libm::exp(libm::log(share(chance)) / float(rest));
                let at = self.end.saturating_sub(whole(self.left * float(span)));
                self.at = at.max(self.at);
            }
            Comes::Evenly(all) => {
                (self.count < all).then_some(())?;
                let into = u128::from(span) * u128::from(self.count) / u128::from(all);
                self.at = self.start + u64::try_from(into).unwrap_or(span);
            }
            Comes::Random(rate) => {
                let gap = memoryless(chance) * SECOND / rate;
                self.at = self.at.saturating_add(whole(gap));
                (self.at < self.end).then_some(())?;
            }
        }
        self.count += 1;
        Some(self.at)
    }
}

/// A rate that stays.
pub(super) fn flat(rate: f64, span: u64) -> Pieces {
    Box::new(std::iter::once(Piece { span, comes: Comes::Random(rate) }))
}

/// The rate that `rate` gives for each of so many equal pieces of `span`, by the share of the span
/// that is over at its middle.
fn cut(span: u64, pieces: u64, rate: impl Fn(f64) -> f64 + Send + 'static) -> Pieces {
    let border = move |index: u64| u128::from(span) * u128::from(index) / u128::from(pieces);
    Box::new((0..pieces).map(move |index| {
        let span = u64::try_from(border(index + 1) - border(index)).unwrap_or(u64::MAX);
        let middle = (float(index) + 0.5) / float(pieces);
        Piece { span, comes: Comes::Random(rate(middle)) }
    }))
}

/// A wave around `mean`, with the largest rate at `peak_at` and this ratio between the largest and
/// the smallest; without end.
pub(super) fn wave(mean: f64, ratio: f64, period: Duration, peak_at: Duration) -> Pieces {
    let height = (ratio - 1.0) / (ratio + 1.0);
    let peak = peak_at.as_secs_f64() / period.as_secs_f64();
    let period = nanos(period);
    Box::new(std::iter::repeat_with(move || period).flat_map(move |period| {
        cut(period, WAVE, move |over| {
            mean * (1.0 + height * libm::cos(2.0 * std::f64::consts::PI * (over - peak)))
        })
    }))
}

/// `base`, but from `at` on a rise to `peak` and a fall back, both in straight lines; without end.
pub(super) fn flash(base: f64, peak: f64, [at, rise, fall]: [u64; 3]) -> Pieces {
    let before = flat(base, at);
    let up = cut(rise, SLOPE, move |over| base + (peak - base) * over);
    let down = cut(fall, SLOPE, move |over| peak + (base - peak) * over);
    Box::new(before.chain(up).chain(down).chain(flat(base, u64::MAX)))
}

/// Two rates, each for as long as chance says; without end. It begins as if it had always been.
pub(super) fn on_off(rates: [f64; 2], means: [u64; 2], mut chance: Prng) -> Pieces {
    let [on, off] = means.map(float);
    let mut is_off = share(&mut chance) * (on + off) >= on;
    Box::new(std::iter::repeat_with(move || {
        let index = usize::from(is_off);
        is_off = !is_off;
        let span = whole(memoryless(&mut chance) * float(means[index]));
        Piece { span, comes: Comes::Random(rates[index]) }
    }))
}

/// Pieces of a period's wave: a minute of a day.
const WAVE: u64 = 1_440;
/// Pieces of a slope.
const SLOPE: u64 = 256;
/// In nanoseconds.
const SECOND: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn per_second(pieces: Pieces, seconds: usize) -> Vec<f64> {
        let mut counts = vec![0.0; seconds];
        let mut last = 0;
        for at in Curve::new(pieces, seconds as u64 * S, Prng::new(7)) {
            assert!(at >= last, "{at} comes after {last}");
            last = at;
            counts[usize::try_from(at / S).unwrap()] += 1.0;
        }
        counts
    }

    fn mean(counts: &[f64]) -> f64 {
        counts.iter().sum::<f64>() / float(counts.len() as u64)
    }

    fn variance(counts: &[f64]) -> f64 {
        let mean = mean(counts);
        counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / float(counts.len() as u64)
    }

    #[track_caller]
    fn near(value: f64, expected: f64, share: f64) {
        assert!((value / expected - 1.0).abs() < share, "{value} instead of {expected}");
    }

    #[test]
    fn independent_arrivals_have_equal_mean_and_variance() {
        let counts = per_second(flat(100.0, 2_000 * S), 2_000);
        near(mean(&counts), 100.0, 0.01);
        near(variance(&counts), 100.0, 0.1);
    }

    #[test]
    fn arrivals_anywhere_in_a_piece_are_exactly_as_many_and_spread_over_it() {
        let piece = Piece { span: 1_000 * S, comes: Comes::Anywhere(20_000) };
        let counts = per_second(Box::new(std::iter::once(piece)), 1_000);
        near(counts.iter().sum(), 20_000.0, 1e-12);
        near(variance(&counts), 20.0, 0.15);
        near(mean(&counts[..500]), 20.0, 0.03);
    }

    #[test]
    fn even_arrivals_have_equal_gaps_and_a_burst_none() {
        let row = [
            Piece { span: S, comes: Comes::Evenly(4) },
            Piece { span: 0, comes: Comes::Evenly(3) },
        ];
        let at: Vec<_> = Curve::new(Box::new(row.into_iter()), 2 * S, Prng::new(0)).collect();
        assert_eq!(at, [0, S / 4, S / 2, S / 4 * 3, S, S, S]);
    }

    #[test]
    fn wave_has_its_mean_and_its_ratio_and_peaks_when_it_is_told() {
        let hour = Duration::from_secs(3_600);
        let counts = per_second(wave(100.0, 3.0, hour, hour / 4), 7_200);
        near(mean(&counts), 100.0, 0.01);
        near(mean(&counts[850..950]), 150.0, 0.03);
        near(mean(&counts[2_650..2_750]), 50.0, 0.05);
        near(mean(&counts[4_450..4_550]), 150.0, 0.03);
    }

    #[test]
    fn flash_crowd_rises_and_falls_in_straight_lines() {
        let counts = per_second(flash(10.0, 410.0, [100 * S, 100 * S, 200 * S]), 600);
        near(mean(&counts[..100]), 10.0, 0.1);
        near(mean(&counts[100..200]), 210.0, 0.03);
        near(mean(&counts[195..205]), 402.0, 0.06);
        near(mean(&counts[200..400]), 210.0, 0.03);
        near(mean(&counts[400..]), 10.0, 0.1);
    }

    #[test]
    fn on_off_has_the_mean_of_both_and_far_more_variance_than_independent_arrivals() {
        let rates = || on_off([200.0, 0.0], [S, 3 * S], Prng::new(9));
        let counts = per_second(rates(), 40_000);
        near(mean(&counts), 50.0, 0.03);
        // Of the two-state fluid, integrated over a second (Fischer, Meier-Hellstern 1992).
        let (all, busy) = (1.0 + 1.0 / 3.0, 0.25 * 0.75 * 200.0 * 200.0);
        let expected = 50.0 + 2.0 * busy / all * (1.0 - (1.0 - libm::exp(-all)) / all);
        near(variance(&counts), expected, 0.05);
        let on = rates().take(2_000).filter(|piece| piece.comes == Comes::Random(200.0));
        near(on.map(|piece| float(piece.span)).sum::<f64>() / 1_000.0, float(S), 0.1);
    }
}
