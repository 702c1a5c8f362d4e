//! Counters told apart by one word out of a fixed few.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One counter for each of `N` words.
#[derive(Debug)]
pub(super) struct Tally<const N: usize> {
    words: &'static [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Tally<N> {
    pub(super) fn new(words: &'static [&'static str; N]) -> Self {
        Self { words, counts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Counts one `word`; one that is not known counts as the last.
    pub(super) fn add(&self, word: &str) {
        self.add_many(word, 1);
    }

    /// Counts `many` times a `word`.
    pub(super) fn add_many(&self, word: &str, many: u64) {
        let place = self.words.iter().position(|known| *known == word).unwrap_or(N - 1);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(many, Relaxed);
        }
    }

    /// The count of one `word`.
    pub(super) fn of(&self, word: &str) -> u64 {
        self.iter().find(|(known, _)| *known == word).map_or(0, |(_, count)| count)
    }

    /// The count of all words.
    pub(super) fn sum(&self) -> u64 {
        self.sum_but(&[])
    }

    /// The count of all words but these. Others count meanwhile: what is taken from a sum may have
    /// grown since, while what is left out makes no difference, and the count only grows.
    pub(super) fn sum_but(&self, words: &[&str]) -> u64 {
        self.iter().filter(|(word, _)| !words.contains(word)).map(|(_, count)| count).sum()
    }

    /// Each word and its count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.words.iter().zip(&self.counts).map(|(word, count)| (*word, count.load(Relaxed)))
    }
}
