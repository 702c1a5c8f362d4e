//! How far a report has come, and whether it is still wanted: what the program that shows it and
//! the threads that compute it share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{Prng, Time};
use hdrhistogram::Histogram;
use sim::outside::Source;
use sim::traffic::Arrival;

use crate::spread::Spread;

/// Requests that were simulated, of how many, if that is known; and the wish to stop.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    of: AtomicU64,
    stopped: AtomicBool,
}

impl Progress {
    /// Requests that were simulated so far, over all alternatives and seeds.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many there will be, as far as is known; 0 before anything is.
    pub fn of(&self) -> u64 {
        self.of.load(Ordering::Relaxed)
    }

    /// Ends all that is being computed, soon; nothing of it is kept.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for the end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn expect(&self, requests: u64) {
        self.of.fetch_add(requests, Ordering::Relaxed);
    }
}

/// The traffic as one alternative meets it: with the function's starts, with what was changed for
/// the sake of sensitivity, counted, and over at once when nobody wants the report any more.
pub(crate) struct Outside<'a, S> {
    pub(crate) traffic: S,
    pub(crate) cold_start: &'a Spread,
    /// AWS's own part of a cold start, which the model of Lambda adds.
    pub(crate) placing: Duration,
    pub(crate) chance: Prng,
    /// Service times and cold starts are so many times as long.
    pub(crate) service_factor: f64,
    pub(crate) cold_factor: f64,
    pub(crate) progress: &'a Progress,
    pub(crate) count: u64,
    pub(crate) stopped: bool,
    /// What has come is looked at on its way, and added there at the end.
    pub(crate) survey: Option<(Survey, &'a Mutex<Survey>)>,
}

/// What can be said of traffic once it has come.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Streams that it was.
    streams: u64,
    requests: u64,
    service_sum: u128,
    /// Microseconds, to three digits.
    service: Histogram<u32>,
    /// The second that the last request came in, and how many came in it.
    second: (u64, u64),
    /// Of each stream.
    most_in_a_second: u64,
}

impl Survey {
    pub(crate) fn new() -> Self {
        Self {
            streams: 0,
            requests: 0,
            service_sum: 0,
            service: Histogram::new(3).expect("three digits are possible"),
            second: (0, 0),
            most_in_a_second: 0,
        }
    }

    fn see(&mut self, arrival: &Arrival) {
        self.requests += 1;
        self.service_sum += u128::from(nanos(arrival.service));
        self.service.record(nanos(arrival.service) / 1_000).ok();
        let second = arrival.at.as_nanos() / 1_000_000_000;
        let count = if self.second.0 == second { self.second.1 + 1 } else { 1 };
        self.second = (second, count);
        self.most_in_a_second = self.most_in_a_second.max(count);
    }

    /// Adds one stream, which is over. In any order, the sum is the same.
    fn add(&mut self, stream: &Self) {
        self.streams += 1;
        self.requests += stream.requests;
        self.service_sum += stream.service_sum;
        self.service.add(&stream.service).expect("both grow as they must");
        self.most_in_a_second += stream.most_in_a_second;
    }

    /// Requests of a stream, in the mean.
    pub(crate) fn requests(&self) -> u64 {
        let streams = self.streams.max(1);
        (self.requests + streams / 2) / streams
    }

    /// Requests a second of streams that take so many seconds.
    pub(crate) fn rate_mean(&self, seconds: f64) -> f64 {
        self.requests as f64 / self.streams.max(1) as f64 / seconds
    }

    /// Requests in the busiest second of a stream, in the mean.
    pub(crate) fn rate_peak(&self) -> f64 {
        self.most_in_a_second as f64 / self.streams.max(1) as f64
    }

    pub(crate) fn service_mean(&self) -> Duration {
        Duration::from_nanos_u128(self.service_sum / u128::from(self.requests.max(1)))
    }

    pub(crate) fn service_p99(&self) -> Duration {
        Duration::from_micros(self.service.value_at_quantile(0.99))
    }
}

impl<S: Source> Source for Outside<'_, S> {
    fn next_at(&mut self) -> Option<Time> {
        if self.stopped { None } else { self.traffic.next_at() }
    }

    fn next(&mut self) -> Option<Arrival> {
        let mut arrival = self.traffic.next()?;
        self.count += 1;
        if self.count.is_multiple_of(EACH) {
            self.progress.done.fetch_add(EACH, Ordering::Relaxed);
            self.stopped = self.progress.is_stopped();
        }
        if self.service_factor.to_bits() != 1.0_f64.to_bits() {
            arrival.service = arrival.service.mul_f64(self.service_factor);
            arrival.cpu = arrival.cpu.mul_f64(self.service_factor);
        }
        if let Some((survey, _)) = &mut self.survey {
            survey.see(&arrival);
        }
        Some(arrival)
    }

    fn ended(&mut self, now: Time, arrived: Time) {
        self.traffic.ended(now, arrived);
    }

    fn lasts(&self) -> Time {
        if self.progress.is_stopped() { Time::ZERO } else { self.traffic.lasts() }
    }

    fn init(&mut self) -> Option<Duration> {
        let all = self.cold_start.draw(&mut self.chance).mul_f64(self.cold_factor);
        Some(all.saturating_sub(self.placing))
    }
}

impl<S> Drop for Outside<'_, S> {
    fn drop(&mut self) {
        self.progress.done.fetch_add(self.count % EACH, Ordering::Relaxed);
        if let Some((survey, place)) = self.survey.take()
            && let Ok(mut place) = place.lock()
        {
            place.add(&survey);
        }
    }
}

/// Requests between two looks at what is shared.
const EACH: u64 = 4_096;
