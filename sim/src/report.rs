//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dispatch_model::{Output, Stats};

/// Everything that is counted in a run, and its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every order of the dispatcher with its moment, hashed. Equal digests: equal runs.
    pub digest: Digest,
    /// What the dispatcher counted.
    pub stats: Stats,
    /// The wait before each dispatch, ascending.
    pub waits: Vec<Duration>,
    /// Requests answered with an error, by the reason's name.
    pub refused: BTreeMap<&'static str, u64>,
    /// The longest time from an arrival to its end, whatever that was.
    pub longest: Duration,
    /// Billed time over all invokes, in milliseconds.
    pub billed_ms: u64,
    /// New environments that invokes caused.
    pub environments: u64,
    /// Whether the horizon ended the run.
    pub cut: bool,
}

impl Report {
    /// The wait that this many per mille of dispatches did not exceed; zero if there were none.
    #[must_use]
    pub fn wait(&self, per_mille: usize) -> Duration {
        let rank = (self.waits.len() * per_mille).div_ceil(1_000).saturating_sub(1);
        self.waits.get(rank).copied().unwrap_or_default()
    }

    /// Dispatches that had waited at least `cold_start`, counted naively.
    #[must_use]
    pub fn waited_at_least(&self, cold_start: Duration) -> u64 {
        self.waits.iter().filter(|wait| **wait >= cold_start).count() as u64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { arrived, served, cold_exposed, invokes, .. } = self.stats;
        writeln!(f, "requests      {arrived} arrived, {served} served")?;
        for (reason, count) in &self.refused {
            writeln!(f, "refused       {count} {reason}")?;
        }
        let (half, most, max) = (self.wait(500), self.wait(990), self.wait(1_000));
        writeln!(f, "wait          p50 {half:?}, p99 {most:?}, max {max:?}")?;
        writeln!(f, "cold-exposed  {cold_exposed}")?;
        writeln!(f, "invokes       {invokes}, {} new environments", self.environments)?;
        writeln!(f, "billed        {} ms", self.billed_ms)?;
        if self.cut {
            writeln!(f, "the horizon ended it")?;
        }
        write!(f, "digest        {}", self.digest)
    }
}

/// FNV-1a over words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Takes in one word.
    pub fn word(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Takes in one order.
    pub fn output(&mut self, output: &Output) {
        let id = |index: u32, generation: u32| u64::from(generation) << 32 | u64::from(index);
        let (kind, words) = match *output {
            Output::Close { instance } => (0, [id(instance.index(), instance.generation()), 0]),
            Output::Decided(decision) => (1, [id(decision.to, decision.from), 0]),
            Output::Dispatch { request, instance, .. } => {
                let request = id(request.index(), request.generation());
                (2, [request, id(instance.index(), instance.generation())])
            }
            Output::GoAway { instance, .. } => {
                (3, [id(instance.index(), instance.generation()), 0])
            }
            Output::Invoke { instance } => (4, [id(instance.index(), instance.generation()), 0]),
            Output::Ping { instance } => (5, [id(instance.index(), instance.generation()), 0]),
            Output::Refuse { request, reason, retry_after_s } => {
                let words = u64::from(reason.status()) << 16 | u64::from(retry_after_s);
                (6, [id(request.index(), request.generation()), words])
            }
            Output::Stopped => (7, [0, 0]),
        };
        self.word(kind);
        words.into_iter().for_each(|word| self.word(word));
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
