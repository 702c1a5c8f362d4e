//! How a pool stood in the last ten minutes, a sample a second, and what it costs at that rate.
//!
//! Levels that matter between samples are integrated where the model's turns are seen: a level
//! holds from one look at the model to the next, which comes when anything has changed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dispatch_model::{Gauges, Time, time::nanos};
use io_tokio::pool::{View, Window};
use serde::{Serialize, Serializer};

use super::PoolMetrics;
use crate::cost::{self, Hourly, Used};

/// What is kept of a pool for those who look at it.
#[derive(Debug)]
pub(super) struct History {
    /// Time of instances and time of requests on them so far, in nanoseconds. They wrap; only
    /// differences mean anything.
    instance_nanos: AtomicU64,
    running_nanos: AtomicU64,
    /// The most that waited at a time since the last sample.
    most_queued: AtomicU64,
    /// The longest wait of those dispatched since the last sample, and of those that wait.
    worst_wait_nanos: AtomicU64,
    oldest_wait_nanos: AtomicU64,
    /// Picodollars for a second of an instance.
    price: AtomicU64,
    samples: Mutex<VecDeque<Sample>>,
    /// Of the models that there are: more than one while one takes the place of another.
    windows: Mutex<Vec<Window>>,
}

/// One moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Time,
    arrived: u64,
    /// Of instances' time, invokes, requests' time, requests.
    used: [u64; 4],
    point: Point,
}

/// One moment, as it is drawn. Written as a list: the order of the fields is what the page knows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Requests that arrived, per second, since the sample before.
    pub(crate) arrivals: f64,
    /// The most requests that waited at a time, until now.
    pub(crate) queued: u64,
    /// The longest wait in milliseconds, of those who wait and of those who did until now.
    pub(crate) wait_ms: u64,
    /// Slots that serve a request.
    pub(crate) busy: u64,
    /// Slots that there are.
    pub(crate) slots: u64,
    /// What it costs.
    pub(crate) hourly: Hourly,
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Hourly { ours, plain } = self.hourly;
        let short = |number: f64| (number * 1e6).round() / 1e6;
        let arrivals = (self.arrivals * 10.0).round() / 10.0;
        let (ours, plain) = (short(ours), short(plain));
        (self.at_ms, arrivals, self.queued, self.wait_ms, self.busy, self.slots, ours, plain)
            .serialize(serializer)
    }
}

impl Default for History {
    fn default() -> Self {
        Self {
            instance_nanos: AtomicU64::new(0),
            running_nanos: AtomicU64::new(0),
            most_queued: AtomicU64::new(0),
            worst_wait_nanos: AtomicU64::new(0),
            oldest_wait_nanos: AtomicU64::new(0),
            price: AtomicU64::new(cost::per_second(MEMORY_MB)),
            samples: Mutex::default(),
            windows: Mutex::default(),
        }
    }
}

impl History {
    /// Someone was dispatched who had waited.
    pub(super) fn waited(&self, wait: Duration) {
        let wait = nanos(wait);
        if wait > self.worst_wait_nanos.load(Relaxed) {
            self.worst_wait_nanos.fetch_max(wait, Relaxed);
        }
    }

    /// Instances of one more model can be seen.
    pub(super) fn open(&self, window: &Window) {
        self.windows().push(window.clone());
    }

    fn windows(&self) -> MutexGuard<'_, Vec<Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolMetrics {
    /// A second of one of its instances costs so many picodollars.
    pub(crate) fn set_price(&self, picodollars: u64) {
        self.history.price.store(picodollars, Relaxed);
    }

    /// Takes a sample; the oldest makes room for it. To be called once a second.
    pub(crate) fn sample(&self) {
        let history = &self.history;
        let (at, wall) = (self.clock.now(), self.clock.wall());
        let (totals, levels) = (&self.totals, &self.levels);
        let arrived = totals.arrived.load(Relaxed);
        let used = [
            history.instance_nanos.load(Relaxed),
            totals.invokes.load(Relaxed),
            history.running_nanos.load(Relaxed),
            totals.dispatched.load(Relaxed),
        ];
        let worst = history.worst_wait_nanos.swap(0, Relaxed);
        let wait = worst.max(history.oldest_wait_nanos.load(Relaxed));
        let mut samples = history.samples();
        let before = samples.len().saturating_sub(COST_SAMPLES);
        let hourly = samples.get(before).map_or_else(Hourly::default, |before| {
            cost::hourly(&between(before, at, used), history.price.load(Relaxed))
        });
        let arrivals = samples.back().map_or(0.0, |last| {
            let span = at.saturating_since(last.at).as_secs_f64();
            let count = arrived.saturating_sub(last.arrived);
            if span > 0.0 { precise(count) / span } else { 0.0 }
        });
        let point = Point {
            at_ms: since_1970(wall),
            arrivals,
            queued: history.most_queued.swap(0, Relaxed).max(levels.queued.load(Relaxed)),
            wait_ms: wait / 1_000_000,
            busy: levels.slots_busy.load(Relaxed),
            slots: levels.slots.load(Relaxed),
            hourly,
        };
        if samples.len() == SAMPLES_KEPT {
            samples.pop_front();
        }
        samples.push_back(Sample { at, arrived, used, point });
    }

    /// The samples, the oldest first.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.history.samples().iter().map(|sample| sample.point).collect()
    }

    /// The last sample.
    pub(crate) fn point(&self) -> Point {
        self.history.samples().back().map(|sample| sample.point).unwrap_or_default()
    }

    /// How its instances stand, `most` of them at most.
    pub(crate) fn look(&self, most: usize) -> View {
        let mut all = View::default();
        self.history.windows().retain(|window| {
            let Some(view) = window.look(most - all.instances.len()) else { return false };
            all.now = view.now;
            all.instances.extend(view.instances);
            all.more += view.more;
            true
        });
        all
    }
}

/// What was used from `before` to `at`.
fn between(before: &Sample, at: Time, used: [u64; 4]) -> Used {
    let [instances, invokes, running, requests] = used;
    let [instances_before, invokes_before, running_before, requests_before] = before.used;
    let time = |is: u64, was: u64| Duration::from_nanos(is.wrapping_sub(was));
    Used {
        span: at.saturating_since(before.at),
        instances: time(instances, instances_before),
        invokes: invokes.saturating_sub(invokes_before),
        running: time(running, running_before),
        requests: requests.saturating_sub(requests_before),
    }
}

/// How one model stood at its last turn, of what is integrated.
#[derive(Debug, Default)]
pub(super) struct Meter {
    at: Time,
    instances: u64,
    running: u64,
}

impl Meter {
    /// A turn of the model is over.
    pub(super) fn turn(&mut self, now: Time, gauges: &Gauges, history: &History) {
        let span = nanos(now.saturating_since(self.at));
        for (level, sum) in
            [(self.instances, &history.instance_nanos), (self.running, &history.running_nanos)]
        {
            if level > 0 {
                sum.fetch_add(span.wrapping_mul(level), Relaxed);
            }
        }
        let Gauges { starting, ready, draining, detached, .. } = *gauges;
        self.at = now;
        self.instances = [starting, ready, draining, detached].map(u64::from).iter().sum();
        self.running = gauges.running.into();
        history.oldest_wait_nanos.store(nanos(gauges.oldest_wait), Relaxed);
        if gauges.queued > 0 {
            history.most_queued.fetch_max(gauges.queued.into(), Relaxed);
        }
    }
}

/// Milliseconds.
pub(crate) fn since_1970(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
const fn precise(count: u64) -> f64 {
    count as f64
}

/// Ten minutes.
pub(crate) const SAMPLES_KEPT: usize = 600;
/// What something costs is told for a minute, so that one start more makes no jump.
const COST_SAMPLES: usize = 60;
/// Memory of a function of which nothing is known, in MB: the default of `pool.memory_mb`.
const MEMORY_MB: u32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn what_runs_from_one_turn_to_the_next_costs_all_the_time() {
        tokio::time::pause();
        let pool = PoolMetrics::new("web");
        let mut meter = Meter::default();
        pool.sample();
        // One that starts is billed, and so is one whose connection is lost.
        let gauges =
            Gauges { starting: 1, ready: 7, draining: 1, detached: 1, running: 20, ..idle() };
        meter.turn(Time::ZERO, &gauges, &pool.history);
        tokio::time::advance(SECOND * 40).await;
        meter.turn(Time::ZERO + SECOND * 40, &gauges, &pool.history);
        pool.sample();
        let Hourly { ours, plain } = pool.point().hourly;
        // Of instances with 1 GB.
        let hour = 3_600.0 * 0.000_016_666_7;
        assert!((ours - 10.0 * hour).abs() < 1e-6, "{ours}");
        assert!((plain - 20.0 * hour).abs() < 1e-6, "{plain}");

        // Twice the price, and nothing runs any more: after a minute it costs nothing.
        pool.set_price(2 * cost::per_second(1_024));
        meter.turn(Time::ZERO + SECOND * 40, &idle(), &pool.history);
        for _ in 0..COST_SAMPLES {
            tokio::time::advance(SECOND).await;
            pool.sample();
        }
        meter.turn(Time::ZERO + SECOND * 200, &idle(), &pool.history);
        assert_eq!(pool.points().first().unwrap().hourly, Hourly::default());
        assert!(pool.points()[2].hourly.ours > 15.0 * hour);
        assert_eq!(pool.point().hourly, Hourly::default());
    }

    #[tokio::test]
    async fn the_longest_wait_and_queue_of_each_second_are_kept_for_ten_minutes() {
        tokio::time::pause();
        let pool = PoolMetrics::new("web");
        let mut meter = Meter::default();
        for wait in [30, 80, 10] {
            pool.history.waited(Duration::from_millis(wait));
        }
        pool.sample();
        let queue = Gauges { queued: 40, oldest_wait: SECOND, ..idle() };
        meter.turn(Time::ZERO, &queue, &pool.history);
        meter.turn(Time::ZERO, &Gauges { queued: 3, ..queue }, &pool.history);
        pool.history.waited(Duration::from_millis(7));
        pool.sample();
        meter.turn(Time::ZERO, &idle(), &pool.history);
        pool.sample();
        let waits = |pool: &PoolMetrics| pool.points().iter().map(|it| it.wait_ms).collect();
        let all: Vec<u64> = waits(&pool);
        assert_eq!(all, [80, 1_000, 0]);
        let queued: Vec<_> = pool.points().iter().map(|it| it.queued).collect();
        assert_eq!(queued, [0, 40, 0]);
        for _ in 0..SAMPLES_KEPT - 2 {
            tokio::time::advance(SECOND).await;
            pool.sample();
        }
        let all: Vec<u64> = waits(&pool);
        assert_eq!((all.len(), all[0], all[1]), (SAMPLES_KEPT, 1_000, 0));
    }

    fn idle() -> Gauges {
        Gauges::default()
    }
}
