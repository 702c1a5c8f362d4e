//! What is counted while an alternative serves: the one [`Watch`] that every way to serve is looked
//! at with, so that their numbers mean the same.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{Gauges, Time};
use hdrhistogram::Histogram;
use sim::outside::{End, Ended, Watch};

use crate::report::{Bar, Nine, Timeline};

/// The books of one alternative over one seed.
pub struct Tally {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests whose client saw a response.
    pub served: u64,
    /// Requests whose client saw an error.
    pub refused: u64,
    /// Requests that paid a cold start.
    pub cold: u64,
    /// From arrival to a slot, of all that got one; microseconds, to three digits.
    waits: Histogram<u32>,
    /// The longest of those, exactly.
    pub wait_max: Duration,
    /// Their sum.
    wait_sum: u128,
    /// From arrival to the response, of those served; microseconds, to three digits.
    totals: Histogram<u32>,
    /// The longest of those, exactly.
    pub total_max: Duration,
    /// Time that slots were busy, in nanoseconds.
    busy: u128,
    /// Most instances at once, on their way or leaving ones included.
    pub instances_peak: u32,
    /// Most requests that ran at once.
    pub running_peak: u32,
    /// Time of instances within the traffic's span, in nanoseconds.
    instances: u128,
    /// Every end of a request, mixed.
    digest: u64,
    span: Duration,
    timeline: Timeline,
    /// The span of the timeline that is being filled, and what it has come to.
    bucket: usize,
    open: Open,
    /// The span of the timeline that it is now, and its end.
    place: usize,
    place_until: Time,
    /// The counts that hold now, since when.
    counts: Counts,
    since: Time,
    /// T as it was told last; zero for who serves without a dispatcher.
    cold_start: Duration,
    bars: Vec<Bar>,
    requests_file: Option<Box<dyn Write + Send>>,
    written: io::Result<()>,
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, served, refused, cold, .. } = self;
        f.debug_struct("Tally")
            .field("requests", requests)
            .field("served", served)
            .field("refused", refused)
            .field("cold", cold)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    starting: u32,
    ready: u32,
    draining: u32,
}

impl Counts {
    const fn all(self) -> u32 {
        self.starting + self.ready + self.draining
    }
}

/// Counts times nanoseconds of the span that is being filled.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    starting: u128,
    ready: u128,
    draining: u128,
}

impl Tally {
    /// Nothing seen yet, of traffic that takes `span`.
    #[must_use]
    pub fn new(span: Duration) -> Self {
        let span = span.max(Duration::from_nanos(BUCKETS));
        let bucket = Duration::from_nanos(nanos(span).div_ceil(BUCKETS));
        let count = usize::try_from(BUCKETS).expect("small");
        let timeline = Timeline {
            bucket,
            arrivals: vec![0; count],
            queued: vec![0; count],
            starting: vec![0.0; count],
            ready: vec![0.0; count],
            draining: vec![0.0; count],
            desired: vec![0; count],
            danger: vec![0.0; count],
        };
        Self {
            requests: 0,
            served: 0,
            refused: 0,
            cold: 0,
            waits: Histogram::new(3).expect("three digits are possible"),
            wait_max: Duration::ZERO,
            wait_sum: 0,
            totals: Histogram::new(3).expect("three digits are possible"),
            total_max: Duration::ZERO,
            busy: 0,
            instances_peak: 0,
            running_peak: 0,
            instances: 0,
            digest: 0,
            span,
            timeline,
            bucket: 0,
            open: Open::default(),
            place: 0,
            place_until: Time::ZERO + bucket,
            counts: Counts::default(),
            since: Time::ZERO,
            cold_start: Duration::ZERO,
            bars: Vec::new(),
            requests_file: None,
            written: Ok(()),
        }
    }

    /// The same, which writes a line for each request into `file`, as it ends: times in seconds
    /// from the start, to the nanosecond.
    pub fn with_requests(span: Duration, mut file: Box<dyn Write + Send>) -> Self {
        let written = writeln!(file, "arrival_s,start_s,end_s,instance,cold,end");
        Self { requests_file: Some(file), written, ..Self::new(span) }
    }

    /// The books of another part of the same traffic, to be merged into these: whoever is looked at
    /// next writes into the same file.
    pub(crate) fn another(&mut self) -> Self {
        let written = std::mem::replace(&mut self.written, Ok(()));
        Self { requests_file: self.requests_file.take(), written, ..Self::new(self.span) }
    }

    /// Adds the books of another part.
    pub(crate) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.served += other.served;
        self.refused += other.refused;
        self.cold += other.cold;
        self.waits.add(&other.waits).expect("both grow as they must");
        self.wait_max = self.wait_max.max(other.wait_max);
        self.wait_sum += other.wait_sum;
        self.totals.add(&other.totals).expect("both grow as they must");
        self.total_max = self.total_max.max(other.total_max);
        self.busy += other.busy;
        self.instances_peak += other.instances_peak;
        self.running_peak += other.running_peak;
        self.instances += other.instances;
        self.digest = self.digest.rotate_left(13) ^ other.digest;
        let (mine, theirs) = (&mut self.timeline, other.timeline);
        add(&mut mine.arrivals, theirs.arrivals, |one, other| one + other);
        add(&mut mine.queued, theirs.queued, |one, other| one + other);
        add(&mut mine.starting, theirs.starting, |one, other| one + other);
        add(&mut mine.ready, theirs.ready, |one, other| one + other);
        add(&mut mine.draining, theirs.draining, |one, other| one + other);
        add(&mut mine.desired, theirs.desired, |one, other| one + other);
        add(&mut mine.danger, theirs.danger, f32::max);
        let first = u32::try_from(self.bars.len()).expect("few");
        let bars = other.bars.into_iter();
        self.bars.extend(bars.map(|bar| Bar { instance: bar.instance + first, ..bar }));
        self.requests_file = other.requests_file;
    }

    /// All is over at `end`.
    ///
    /// # Errors
    ///
    /// A request's line could not be written.
    pub fn finish(&mut self, end: Time) -> io::Result<()> {
        self.count(end, Counts::default());
        for bar in self.bars.iter_mut().filter(|bar| bar.end.is_zero()) {
            bar.end = end.saturating_since(Time::ZERO);
        }
        if let Some(file) = &mut self.requests_file {
            file.flush()?;
        }
        std::mem::replace(&mut self.written, Ok(()))
    }

    /// What a share of requests waited at most, from arrival to a slot.
    #[must_use]
    pub fn wait(&self, share: f64) -> Duration {
        at(&self.waits, share, self.wait_max)
    }

    /// What a share of the served took at most, from arrival to response.
    #[must_use]
    pub fn total(&self, share: f64) -> Duration {
        at(&self.totals, share, self.total_max)
    }

    /// What a share of so many requests waited at most, from arrival to a slot, in seconds; endless
    /// where fewer got one.
    pub(crate) fn wait_among(&self, requests: u64, share: f64) -> f64 {
        among(requests, &self.waits, share, self.wait_max)
    }

    /// What a share of so many requests took at most, from arrival to response, in seconds; endless
    /// where fewer got one.
    pub(crate) fn total_among(&self, requests: u64, share: f64) -> f64 {
        among(requests, &self.totals, share, self.total_max)
    }

    /// Requests that got a slot.
    pub(crate) fn started(&self) -> u64 {
        self.waits.len()
    }

    /// The mean wait of those that got a slot, in seconds.
    #[must_use]
    pub fn wait_mean(&self) -> f64 {
        seconds(self.wait_sum) / (self.waits.len() as f64).max(1.0)
    }

    /// Slot time that was used, in seconds.
    #[must_use]
    pub fn busy_seconds(&self) -> f64 {
        seconds(self.busy)
    }

    /// Instances over the traffic's span.
    #[must_use]
    pub fn instances_mean(&self) -> f64 {
        seconds(self.instances) / self.span.as_secs_f64()
    }

    /// Of every end of a request: equal digests are equal runs.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// What happened over time.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.timeline.clone()
    }

    /// When instances lived; none if they were more than a picture can show.
    #[must_use]
    pub fn bars(&self) -> Vec<Bar> {
        let shows = self.bars.len() < BARS_MAX && self.span <= BARS_SPAN;
        if shows { self.bars.clone() } else { Vec::new() }
    }

    /// Latency over shares that get ever closer to all.
    #[must_use]
    pub fn nines(&self) -> Vec<Nine> {
        let mut nines = Vec::new();
        let mut left = 1.0_f64;
        // Six points for each further nine, as long as a request is behind them.
        while left * self.served as f64 >= 1.0 && nines.len() < NINES_MAX {
            let share = 1.0 - left;
            nines.push(Nine { share, total: self.total(share), wait: self.wait(share) });
            left *= STEP;
        }
        if self.served > 0 {
            nines.push(Nine { share: 1.0, total: self.total_max, wait: self.wait_max });
        }
        nines
    }

    /// The counts change now; what held until now is added up.
    fn count(&mut self, now: Time, counts: Counts) {
        let span_end = Time::ZERO + self.span;
        while self.since < now {
            let bucket_end = (nanos(self.timeline.bucket)).saturating_mul(self.bucket as u64 + 1);
            let until = now.min(Time::from_nanos(bucket_end));
            if self.bucket >= self.timeline.ready.len() {
                self.since = now;
                break;
            }
            let held = u128::from(until.as_nanos() - self.since.as_nanos());
            let Counts { starting, ready, draining } = self.counts;
            self.open.starting += held * u128::from(starting);
            self.open.ready += held * u128::from(ready);
            self.open.draining += held * u128::from(draining);
            let within = until.min(span_end).saturating_since(self.since).as_nanos();
            self.instances += within * u128::from(self.counts.all());
            self.since = until;
            if until.as_nanos() == bucket_end {
                let bucket = nanos(self.timeline.bucket) as f64;
                let mean = |sum: u128| narrow(sum as f64 / bucket);
                let open = std::mem::take(&mut self.open);
                self.timeline.starting[self.bucket] = mean(open.starting);
                self.timeline.ready[self.bucket] = mean(open.ready);
                self.timeline.draining[self.bucket] = mean(open.draining);
                self.bucket += 1;
            }
        }
        self.counts = counts;
        self.instances_peak = self.instances_peak.max(counts.all());
    }

    /// The place in the timeline of `now`, which never goes back.
    fn bucket_of(&mut self, now: Time) -> Option<usize> {
        while now >= self.place_until && self.place < self.timeline.arrivals.len() {
            self.place += 1;
            self.place_until = self.place_until + self.timeline.bucket;
        }
        (self.place < self.timeline.arrivals.len()).then_some(self.place)
    }

    /// Somebody waited so long: there may have been no slot of which that could be foretold.
    fn waited(&mut self, since: Time, until: Time, cold: bool) {
        if self.cold_start.is_zero() {
            return;
        }
        let wait = until.saturating_since(since).as_secs_f64() / self.cold_start.as_secs_f64();
        let wait = narrow(if cold { wait.max(1.0) } else { wait });
        let bucket = until.as_nanos() / nanos(self.timeline.bucket);
        let bucket = usize::try_from(bucket).unwrap_or(usize::MAX);
        if let Some(danger) = self.timeline.danger.get_mut(bucket) {
            *danger = danger.max(wait);
        }
    }

    fn bar(&mut self, instance: u32) -> Option<&mut Bar> {
        self.bars.get_mut((instance as usize).checked_sub(1)?)
    }
}

impl Watch for Tally {
    fn arrived(&mut self, now: Time) {
        self.requests += 1;
        if let Some(bucket) = self.bucket_of(now) {
            self.timeline.arrivals[bucket] += 1;
        }
    }

    fn ended(&mut self, now: Time, request: Ended) {
        let Ended { arrived, started, instance, cold, end } = request;
        self.cold += u64::from(cold);
        if let Some(started) = started {
            let wait = started.saturating_since(arrived);
            self.waits.record(micros(wait)).ok();
            self.wait_max = self.wait_max.max(wait);
            self.wait_sum += wait.as_nanos();
            self.busy += now.saturating_since(started).as_nanos();
        }
        self.waited(arrived, started.unwrap_or(now), cold);
        match end {
            End::Served => {
                self.served += 1;
                let total = now.saturating_since(arrived);
                self.totals.record(micros(total)).ok();
                self.total_max = self.total_max.max(total);
                if let Some(bar) = self.bar(instance) {
                    bar.served += 1;
                }
            }
            End::Refused | End::Lost => self.refused += 1,
            End::Cancelled => {}
        }
        let words = [arrived, started.unwrap_or(Time::MAX), now];
        let mixed = words.iter().fold(self.digest ^ u64::from(instance), |digest, word| {
            (digest ^ word.as_nanos()).wrapping_mul(MIX).rotate_left(29)
        });
        self.digest = mixed;
        if let Some(file) = &mut self.requests_file
            && self.written.is_ok()
        {
            let start = started.map(in_seconds).unwrap_or_default();
            let (arrival, over) = (in_seconds(arrived), in_seconds(now));
            let end = match end {
                End::Cancelled => "cancelled",
                End::Lost => "lost",
                End::Refused => "refused",
                End::Served => "served",
            };
            self.written = writeln!(file, "{arrival},{start},{over},{instance},{cold},{end}");
        }
    }

    fn pool(&mut self, now: Time, gauges: &Gauges) {
        let Gauges { starting, ready, draining, detached, .. } = *gauges;
        let counts = Counts { starting, ready, draining: draining + detached };
        if counts != self.counts {
            self.count(now, counts);
        }
        self.running_peak = self.running_peak.max(gauges.running);
        self.cold_start = gauges.cold_start;
        let Some(bucket) = self.bucket_of(now) else { return };
        self.timeline.desired[bucket] = gauges.desired;
        let queued = &mut self.timeline.queued[bucket];
        *queued = gauges.queued.max(*queued);
        if gauges.queued > 0 {
            let danger = &mut self.timeline.danger[bucket];
            *danger = danger.max(danger_of(gauges));
        }
    }

    fn instance_started(&mut self, now: Time, _: u32) {
        if self.bars.len() < BARS_MAX {
            let instance = u32::try_from(self.bars.len() + 1).expect("few");
            let (start, zero) = (now.saturating_since(Time::ZERO), Duration::ZERO);
            self.bars.push(Bar { instance, start, ready: zero, end: zero, served: 0 });
        }
    }

    fn instance_ready(&mut self, now: Time, instance: u32) {
        if let Some(bar) = self.bar(instance) {
            bar.ready = now.saturating_since(Time::ZERO);
        }
    }

    fn instance_ended(&mut self, now: Time, instance: u32) {
        if let Some(bar) = self.bar(instance) {
            bar.end = now.saturating_since(Time::ZERO);
        }
    }
}

/// Q/C·t in units of T. Without a slot it says nothing: an environment that is still warm attaches
/// at once, a cold one does not.
fn danger_of(gauges: &Gauges) -> f32 {
    if gauges.slots == 0 || gauges.cold_start.is_zero() {
        return 0.0;
    }
    let wait = gauges.service.as_secs_f64() * f64::from(gauges.queued) / f64::from(gauges.slots);
    narrow(wait / gauges.cold_start.as_secs_f64())
}

fn add<T: Copy>(mine: &mut [T], theirs: Vec<T>, how: impl Fn(T, T) -> T) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = how(*mine, theirs);
    }
}

/// What a share of `requests` does not exceed, where the others than those in `histogram` have no
/// end.
fn among(requests: u64, histogram: &Histogram<u32>, share: f64, max: Duration) -> f64 {
    let share = share * (requests as f64 / histogram.len() as f64);
    if share <= 1.0 + 1e-9 { at(histogram, share, max).as_secs_f64() } else { f64::INFINITY }
}

fn at(histogram: &Histogram<u32>, share: f64, max: Duration) -> Duration {
    // A bucket of the histogram may reach beyond what was in it.
    Duration::from_micros(histogram.value_at_quantile(share)).min(max)
}

#[expect(clippy::cast_possible_truncation, reason = "as exact as a picture needs it")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

fn micros(span: Duration) -> u64 {
    nanos(span) / 1_000
}

fn seconds(nanos: u128) -> f64 {
    nanos as f64 / 1e9
}

fn in_seconds(at: Time) -> String {
    let nanos = at.as_nanos();
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// Spans of the timeline.
const BUCKETS: u64 = 240;
/// Instances that a picture can show, and the longest traffic that it can.
const BARS_MAX: usize = 400;
const BARS_SPAN: Duration = Duration::from_secs(1_800);
const NINES_MAX: usize = 60;
/// The sixth root of a tenth.
const STEP: f64 = 0.681_292_069_057_961_3;
/// An odd number without a pattern: the golden ratio's.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
