//! Traffic that was recorded: read once, then played as often as there are alternatives and seeds.
//!
//! Importers write what they find into a [`Book`], in any order: either single requests, or how
//! many came in each period. Both are pairs of numbers, which [`super::sorted_runs`] brings into
//! order without holding them in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{Prng, Time};
use sim::span;

use super::curve::{Comes, Piece, Within};
use super::lines::{Bad, Wrong};
use super::service::{Need, Service};
use super::sorted_runs::{Merge, Pair, Pile, SortedRuns};
use crate::spread::{Spread, float, share};

/// What importers write.
#[derive(Debug)]
pub(super) struct Book<'a> {
    pub(super) service: &'a Service,
    pile: Pile,
    /// How many requests.
    requests: u64,
    /// Those of which nobody knows how long they took.
    untimed: u64,
    /// Requests that no app was sent, which are left out.
    answered_before: u64,
    /// The period that a file says its counts are of, and which file.
    period: Option<(u64, String)>,
    /// Names of the series that are counted.
    series: BTreeSet<String>,
}

impl<'a> Book<'a> {
    pub(super) fn new(service: &'a Service) -> Self {
        Self {
            service,
            pile: Pile::new(),
            requests: 0,
            untimed: 0,
            answered_before: 0,
            period: None,
            series: BTreeSet::new(),
        }
    }

    /// The series of this name is counted.
    pub(super) fn counts_series(&mut self, name: &str) {
        self.series.insert(name.to_owned());
    }

    /// A request was answered before it came to an app.
    pub(super) const fn answered_before(&mut self) {
        self.answered_before += 1;
    }

    /// `file` says that its counts are of periods of this length, which all have to say that do.
    pub(super) fn has_period(&mut self, period: u64, file: &str) -> Result<(), Wrong> {
        let (known, first) = self.period.get_or_insert_with(|| (period, file.to_owned()));
        if *known == period {
            return Ok(());
        }
        let [is, was] = [period, *known].map(|ns| span::write(Duration::from_nanos(ns)));
        Err(Wrong::File(format!(
            "its counts are of {is} each and those of {first} of {was}; export both with the same \
             period, of which AWS keeps those of a minute for 15 days and those of five for 63"
        )))
    }

    /// A request came `at` so many nanoseconds and took so many, if that is known.
    pub(super) fn request(&mut self, at: u64, time: Option<u64>, route: u16) -> Result<(), Wrong> {
        self.requests += 1;
        self.untimed += u64::from(time.is_none());
        let time = time.map_or(UNTIMED, |time| time.min(UNTIMED - 1));
        Ok(self.pile.push((at, (time << 16) | u64::from(route)))?)
    }

    /// So many requests came in the period that began `at` so many nanoseconds. Periods without any
    /// are worth writing: the traffic is as long as what was written of it.
    pub(super) fn count(&mut self, at: u64, count: u64, function: u32) -> Result<(), Wrong> {
        let Ok(number) = u32::try_from(count) else {
            return Err(Wrong::Line(format!("{count} requests, must be below 2^32")));
        };
        self.requests += count;
        Ok(self.pile.push((at, (u64::from(number) << 32) | u64::from(function)))?)
    }

    /// What was written, as single requests.
    pub(super) fn requests(self, bad: Bad) -> Recording {
        self.close(bad, Of::Requests)
    }

    /// What was written, as counts of periods of this length: that which the plan says, or a file,
    /// or the longest that fits between all periods. `functions` are the times of those that have
    /// some.
    pub(super) fn counts(self, bad: Bad, period: Option<u64>, functions: Vec<Spread>) -> Recording {
        let told = period.or_else(|| self.period.as_ref().map(|(period, _)| *period));
        let mut recording = self.close(bad, Of::Requests);
        let period = told.unwrap_or_else(|| {
            let mut last = None;
            let gaps = recording.runs.merge().filter_map(|(at, _)| {
                let before = last.replace(at)?;
                Some(at - before)
            });
            match gaps.fold(0, gcd) {
                0 => MINUTE,
                gap => gap.min(DAY),
            }
        });
        let is_guess = told.is_none();
        recording.of = Of::Counts { period, is_guess, functions: functions.into() };
        recording
    }

    fn close(self, bad: Bad, of: Of) -> Recording {
        let Self { pile, requests, untimed, answered_before, series, .. } = self;
        Recording { runs: pile.sorted(), of, bad, requests, untimed, answered_before, series }
    }
}

const fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// Traffic that was recorded, in order.
#[derive(Debug)]
pub struct Recording {
    runs: Arc<SortedRuns>,
    of: Of,
    bad: Bad,
    requests: u64,
    untimed: u64,
    answered_before: u64,
    series: BTreeSet<String>,
}

/// What a pair means, after the time.
#[derive(Clone, Debug)]
enum Of {
    /// A request: 48 bits of nanoseconds, 16 bits of route.
    Requests,
    /// Requests of a period: 32 bits of how many, 32 bits of which function.
    Counts {
        /// In nanoseconds.
        period: u64,
        /// Nobody says that it is so long.
        is_guess: bool,
        functions: Arc<[Spread]>,
    },
}

impl Recording {
    /// How many requests are in it.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Those of them of which it does not say how long they took.
    #[must_use]
    pub const fn untimed(&self) -> u64 {
        match self.of {
            Of::Counts { .. } => self.requests,
            Of::Requests => self.untimed,
        }
    }

    /// Requests that a load balancer answered by itself; they are left out.
    #[must_use]
    pub const fn answered_before(&self) -> u64 {
        self.answered_before
    }

    /// Names of the series whose counts it is of, if they have some.
    pub(super) const fn series(&self) -> &BTreeSet<String> {
        &self.series
    }

    /// How long its periods are, in nanoseconds, where nobody says it.
    pub(super) const fn guessed_period(&self) -> Option<u64> {
        match self.of {
            Of::Counts { period, is_guess: true, .. } => Some(period),
            Of::Counts { .. } | Of::Requests => None,
        }
    }

    /// What could not be used.
    #[must_use]
    pub const fn bad(&self) -> &Bad {
        &self.bad
    }

    /// When its requests arrive, after the first; as seed 0 has it where that is left to chance.
    pub fn arrivals(&self) -> impl Iterator<Item = Time> + use<> {
        self.play(1.0, Prng::new(0)).map(|sent| Time::from_nanos(sent.at))
    }

    /// Nanoseconds from its first to after its last request.
    pub(super) fn span(&self) -> u64 {
        let after = match self.of {
            Of::Counts { period, .. } => period,
            Of::Requests => 1,
        };
        self.runs.bounds().map_or(0, |(first, last)| (last - first).saturating_add(after))
    }

    /// Its requests, `scale` times as many.
    pub(super) fn play(&self, scale: f64, chance: Prng) -> Box<dyn Iterator<Item = Sent> + Send> {
        let first = self.runs.bounds().map_or(0, |(first, _)| first);
        let mut merge = self.runs.merge();
        match &self.of {
            Of::Counts { period, functions, .. } => Box::new(Counts {
                merge: merge.peekable(),
                first,
                period: *period,
                functions: Arc::clone(functions),
                scale,
                chance,
                within: Within::new(Piece { span: 0, comes: Comes::Anywhere(0) }, 0),
                shares: Vec::new(),
            }),
            Of::Requests => {
                let next = merge.next();
                let this = (first, 0);
                Box::new(Requests { merge, first, this, next, copies: 0, copy: 0, scale, chance })
            }
        }
    }
}

/// A request that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// In nanoseconds.
    pub(super) at: u64,
    pub(super) need: Need,
}

/// Single requests. Of more than one in place of one, the others come evenly until the next.
struct Requests {
    merge: Merge,
    first: u64,
    this: Pair,
    next: Option<Pair>,
    copies: u64,
    copy: u64,
    scale: f64,
    chance: Prng,
}

impl Iterator for Requests {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        while self.copy == self.copies {
            self.this = self.next?;
            self.next = self.merge.next();
            self.copy = 0;
            self.copies = times(self.scale, &mut self.chance);
        }
        let (at, what) = self.this;
        let gap = u128::from(self.next.map_or(0, |(next, _)| next - at));
        let later = gap * u128::from(self.copy) / u128::from(self.copies);
        self.copy += 1;
        let at = at - self.first + u64::try_from(later).unwrap_or_default();
        let (time, route) = (what >> 16, u16::try_from(what & 0xffff).unwrap_or_default());
        let need = if time == UNTIMED { Need::Route(route) } else { Need::Time(time, route) };
        Some(Sent { at, need })
    }
}

/// Requests of whole periods. Which of a period's functions each is for is drawn by their counts.
struct Counts {
    merge: Peekable<Merge>,
    first: u64,
    period: u64,
    functions: Arc<[Spread]>,
    scale: f64,
    chance: Prng,
    within: Within,
    /// Each function of the period, after the requests of those before it and its own.
    shares: Vec<(u64, u32)>,
}

impl Iterator for Counts {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        let at = loop {
            if let Some(at) = self.within.next(&mut self.chance) {
                break at;
            }
            self.next_period()?;
        };
        if self.functions.is_empty() {
            return Some(Sent { at, need: Need::Any });
        }
        let all = self.shares.last().map_or(0, |(count, _)| *count);
        let drawn = self.chance.below(all);
        let index = self.shares.partition_point(|(count, _)| *count <= drawn);
        let function =
            self.shares.get(index).and_then(|(_, function)| usize::try_from(*function).ok());
        let need = match function.and_then(|function| self.functions.get(function)) {
            Some(times) => Need::Time(nanos(times.draw(&mut self.chance)), 0),
            None => Need::Any,
        };
        Some(Sent { at, need })
    }
}

impl Counts {
    fn next_period(&mut self) -> Option<()> {
        let start = self.merge.peek()?.0;
        let mut all = 0;
        self.shares.clear();
        while let Some((_, what)) = self.merge.next_if(|(at, _)| *at == start) {
            let (count, function) = (what >> 32, u32::try_from(what & 0xffff_ffff));
            all += times(float(count) * self.scale, &mut self.chance);
            self.shares.push((all, function.unwrap_or(UNKNOWN)));
        }
        let next = self.merge.peek().map_or(u64::MAX, |(at, _)| *at);
        let span = self.period.min(next - start);
        self.within = Within::new(Piece { span, comes: Comes::Anywhere(all) }, start - self.first);
        Some(())
    }
}

/// A whole number that is `mean` in the mean.
fn times(mean: f64, chance: &mut Prng) -> u64 {
    let below = crate::spread::whole(mean - 0.5);
    let part = mean - float(below);
    below + u64::from(part > 0.0 && share(chance) < part)
}

/// Which function a counted request is for.
#[derive(Debug, Default)]
pub(super) struct Functions {
    numbers: BTreeMap<Box<[u8]>, u32>,
    pub(super) times: Vec<Spread>,
}

impl Functions {
    /// Says how long `function` takes, unless that has been said.
    pub(super) fn add(&mut self, function: &[u8], times: Spread) {
        let next = u32::try_from(self.times.len()).unwrap_or(UNKNOWN);
        if !self.numbers.contains_key(function) {
            self.numbers.insert(function.into(), next);
            self.times.push(times);
        }
    }

    pub(super) fn number(&self, function: &[u8]) -> u32 {
        self.numbers.get(function).copied().unwrap_or(UNKNOWN)
    }
}

/// A time, in 48 bits of nanoseconds, that nobody knows.
const UNTIMED: u64 = (1 << 48) - 1;
/// A function whose times nobody knows.
pub(super) const UNKNOWN: u32 = u32::MAX;
/// In nanoseconds.
pub(super) const MINUTE: u64 = 60_000_000_000;
pub(super) const DAY: u64 = 1_440 * MINUTE;

#[cfg(test)]
mod tests;
