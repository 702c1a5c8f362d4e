//! Sorts more pairs of numbers than memory holds: what fills a chunk is sorted and written to a
//! temporary file as a run, and the runs are merged while they are read.
//!
//! ```text
//!   push ─▶ chunk, 64 MiB ─▶ sorted ─▶ run 1 │ run 2 │ … in one file ─▶ merge ─▶ pairs in order
//!                                      the last stays in memory ────────▲
//! ```
//!
//! The file has no name and is gone with its last reader. Any number of readers may be at it at
//! once, each where it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What is sorted: by the first, then by the second.
pub(super) type Pair = (u64, u64);

/// Pairs that come in any order.
#[derive(Debug)]
pub(super) struct Pile {
    chunk: Vec<Pair>,
    chunk_max: usize,
    file: Option<File>,
    /// Bytes of each run in the file, which stand one after the other.
    runs: Vec<u64>,
    bounds: Option<(u64, u64)>,
}

impl Pile {
    pub(super) const fn new() -> Self {
        Self::with_chunks(CHUNK)
    }

    const fn with_chunks(chunk_max: usize) -> Self {
        Self { chunk: Vec::new(), chunk_max, file: None, runs: Vec::new(), bounds: None }
    }

    /// Adds a pair.
    ///
    /// # Errors
    ///
    /// The temporary file cannot be written.
    pub(super) fn push(&mut self, pair: Pair) -> io::Result<()> {
        if self.chunk.len() == self.chunk_max {
            self.write_chunk()?;
        }
        let (first, last) = self.bounds.unwrap_or((pair.0, pair.0));
        self.bounds = Some((first.min(pair.0), last.max(pair.0)));
        self.chunk.push(pair);
        Ok(())
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        self.chunk.sort_unstable();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let mut out = io::BufWriter::with_capacity(BUFFER, &mut file);
        for (first, second) in &self.chunk {
            out.write_all(&first.to_le_bytes())?;
            out.write_all(&second.to_le_bytes())?;
        }
        out.flush()?;
        drop(out);
        self.runs.push((self.chunk.len() * PAIR) as u64);
        self.chunk.clear();
        self.file = Some(file);
        Ok(())
    }

    /// All of them, to be read in order.
    pub(super) fn sorted(mut self) -> Arc<SortedRuns> {
        self.chunk.sort_unstable();
        self.chunk.shrink_to_fit();
        let Self { chunk, file, runs, bounds, .. } = self;
        Arc::new(SortedRuns { memory: chunk, file, runs, bounds })
    }
}

/// Pairs that can be read in order, again and again.
#[derive(Debug)]
pub(super) struct SortedRuns {
    memory: Vec<Pair>,
    file: Option<File>,
    runs: Vec<u64>,
    bounds: Option<(u64, u64)>,
}

impl SortedRuns {
    /// The smallest and the largest first number.
    pub(super) const fn bounds(&self) -> Option<(u64, u64)> {
        self.bounds
    }

    /// All pairs, in order.
    ///
    /// # Panics
    ///
    /// The iterator panics if the temporary file can no longer be read.
    pub(super) fn merge(self: &Arc<Self>) -> Merge {
        let mut offset = 0;
        let mut runs: Vec<_> = self
            .runs
            .iter()
            .map(|bytes| {
                let run = Run { offset, end: offset + bytes, pairs: Vec::new(), at: 0 };
                offset += bytes;
                run
            })
            .collect();
        let memory = Run { offset: 0, end: 0, pairs: Vec::new(), at: 0 };
        runs.push(memory);
        let mut merge = Merge { all: Arc::clone(self), runs, heads: BinaryHeap::new() };
        for run in 0..merge.runs.len() {
            if let Some(pair) = merge.next_of(run) {
                merge.heads.push(Reverse((pair, run)));
            }
        }
        merge
    }
}

/// The pairs of all runs, in order.
#[derive(Debug)]
pub(super) struct Merge {
    all: Arc<SortedRuns>,
    /// Those of the file, and after them that in memory.
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<(Pair, usize)>>,
}

#[derive(Debug)]
struct Run {
    /// What has not been read of the file yet.
    offset: u64,
    end: u64,
    /// What has been read of it.
    pairs: Vec<Pair>,
    /// The next of these, or of those in memory.
    at: usize,
}

impl Merge {
    fn next_of(&mut self, run: usize) -> Option<Pair> {
        if run + 1 == self.runs.len() {
            let run = &mut self.runs[run];
            run.at += 1;
            return self.all.memory.get(run.at - 1).copied();
        }
        if self.runs[run].at == self.runs[run].pairs.len() {
            self.refill(run);
        }
        let run = &mut self.runs[run];
        run.at += 1;
        run.pairs.get(run.at - 1).copied()
    }

    /// Reads on in the file, if the run goes on there.
    fn refill(&mut self, run: usize) {
        let run = &mut self.runs[run];
        run.pairs.clear();
        run.at = 0;
        let left = usize::try_from(run.end - run.offset).unwrap_or(BUFFER).min(BUFFER);
        let mut bytes = [0; BUFFER];
        let bytes = &mut bytes[..left];
        let file = self.all.file.as_ref().expect("runs stand in a file");
        if let Err(error) = file.read_exact_at(bytes, run.offset) {
            panic!("the temporary file of a recording can no longer be read: {error}");
        }
        run.offset += bytes.len() as u64;
        run.pairs.extend(bytes.as_chunks::<PAIR>().0.iter().map(|pair| {
            let both = u128::from_le_bytes(*pair);
            (low(both), low(both >> 64))
        }));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
const fn low(both: u128) -> u64 {
    both as u64
}

impl Iterator for Merge {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        let &Reverse((pair, run)) = self.heads.peek()?;
        match self.next_of(run) {
            Some(next) => {
                if let Some(mut head) = self.heads.peek_mut() {
                    *head = Reverse((next, run));
                }
            }
            None => {
                self.heads.peek_mut().map(PeekMut::pop);
            }
        }
        Some(pair)
    }
}

const PAIR: usize = 16;
/// Pairs that are sorted at once.
const CHUNK: usize = 4 << 20;
/// Bytes that are read or written at once; a multiple of [`PAIR`].
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn merged_runs_are_all_that_was_pushed_and_in_order(
            pairs in vec((0_u64..1_000, any::<u64>()), 0..2_000),
            chunk in 1_usize..700,
        ) {
            let mut pile = Pile::with_chunks(chunk);
            for pair in &pairs {
                pile.push(*pair).unwrap();
            }
            let sorted = pile.sorted();
            let mut expected = pairs;
            expected.sort_unstable();
            let ends = expected.first().zip(expected.last());
            prop_assert_eq!(sorted.bounds(), ends.map(|(first, last)| (first.0, last.0)));
            let (mut one, mut other) = (sorted.merge(), sorted.merge());
            prop_assert_eq!(one.by_ref().take(3).collect::<Vec<_>>(),
                            expected.iter().copied().take(3).collect::<Vec<_>>());
            prop_assert_eq!(other.by_ref().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(one.count(), expected.len().saturating_sub(3));
        }
    }

    #[test]
    fn runs_longer_than_a_buffer_are_read_to_their_end() {
        let mut pile = Pile::with_chunks(10_000);
        for number in (0..30_000).rev() {
            pile.push((number, !number)).unwrap();
        }
        assert!(pile.sorted().merge().eq((0..30_000).map(|number| (number, !number))));
    }
}
