//! The counts as documents for CloudWatch, in its embedded metric format: one for each pool and
//! period, of which CloudWatch Logs makes metrics, and one for requests that reached no pool.
//!
//! Names that the original's router has mean what they mean there. What a document says of times
//! are a hundred of them at most, spread as those of the period were over the buckets of our
//! histograms: the average is right, a percentile is in the right bucket, the number of samples is
//! not right; `Requests` has that. Levels are [sampled](Period::sample) within a period, so that
//! its maximum is not lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::distribution::Distribution;
use super::history::since_1970;
use super::{Metrics, PoolMetrics};

/// One metric for CloudWatch.
#[derive(Debug)]
pub struct CloudWatchMetric {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    of: Of,
}

/// What its values are made of.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// How much something that only grows has grown within the period, and its unit.
    Amount(&'static str, fn(&PoolMetrics) -> f64),
    /// The same, of what is counted.
    Count(fn(&PoolMetrics) -> u64),
    /// Samples of something that goes up and down.
    Level(fn(&PoolMetrics) -> u64),
    /// Times; of the [waits](Of::Waits), those that were none are left out.
    Times(fn(&PoolMetrics) -> &Distribution),
    Waits(fn(&PoolMetrics) -> &Distribution),
}

impl CloudWatchMetric {
    /// Its unit, as CloudWatch calls it.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        self.of.unit()
    }
}

impl Of {
    const fn unit(self) -> &'static str {
        match self {
            Self::Amount(unit, _) => unit,
            Self::Count(_) | Self::Level(_) => "Count",
            Self::Times(_) | Self::Waits(_) => "Milliseconds",
        }
    }
}

/// Every metric for CloudWatch, the original's first.
pub const CLOUDWATCH_METRICS: &[CloudWatchMetric] = &[
    times("IncomingRequestDuration", "from a request's head to its end", |it| &it.request_time),
    times("IncomingRequestDurationAfterDispatch", "the same from its dispatch on", |it| &it.slot),
    CloudWatchMetric {
        name: "DispatchDelay",
        about: "wait for a slot, of requests that waited for 0.1 ms or more",
        of: Of::Waits(|it| &it.queue_wait),
    },
    level("PendingRequestCount", "requests that wait", |it| load(&it.levels.queued)),
    level("RunningRequestCount", "requests on instances", |it| load(&it.levels.running)),
    level("LambdaDesiredCount", "instances that should serve", |it| load(&it.levels.desired)),
    level("LambdaInstanceRunningCount", "instances that serve, leaving ones included", |it| {
        load(&it.levels.ready) + load(&it.levels.draining)
    }),
    level("LambdaInstanceStartingCount", "instances that start", |it| load(&it.levels.starting)),
    level("LambdaInstanceStoppingCount", "instances that leave", |it| load(&it.levels.draining)),
    count("LambdaScaleOutCount", "invokes ordered", |it| load(&it.totals.invokes)),
    count("LambdaScaleInCount", "instances told to leave since they are too many", |it| {
        it.goaways.of("surplus")
    }),
    count("LambdaInitiatedClose", "instances told to leave since their lease ends", |it| {
        it.goaways.of("lease_ending")
    }),
    count("Requests", "exchanges with clients that are over", |it| it.requests.between(100, 599)),
    count("Requests4xx", "of those, with a status from 400 on", |it| it.requests.between(400, 499)),
    count("Requests5xx", "of those, with a status from 500 on", |it| it.requests.between(500, 599)),
    count("Refused", "requests that their pool refused or gave up", |it| it.refused.sum()),
    count("ColdExposed", "dispatches of requests that waited as long as a cold start", |it| {
        load(&it.totals.cold_exposed)
    }),
    count("Redispatched", "requests given to another instance", |it| it.redispatched.sum()),
    count(
        "UnknownOutcome",
        "requests whose instance failed when an app may have seen them",
        |it| load(&it.unknown_outcome),
    ),
    count("InvokesThrottled", "invokes that Lambda refused for want of concurrency", |it| {
        it.invokes_ended.of("throttled")
    }),
    count("InvokesFailed", "invokes that ended in another way than by returning", |it| {
        it.invokes_ended.sum_but(&["returned", "throttled"])
    }),
    amount(
        "InstanceSeconds",
        "Seconds",
        "time from invoke to its end, of those that are over",
        |it| Duration::from_nanos(load(&it.totals.instance_nanos)).as_secs_f64(),
    ),
    amount("RequestBytes", "Bytes", "request bodies taken from clients", |it| {
        load(&it.bytes_in) as f64
    }),
    amount("ResponseBytes", "Bytes", "response bodies handed to clients", |it| {
        load(&it.bytes_out) as f64
    }),
    level("Slots", "slots of instances that serve", |it| load(&it.levels.slots)),
    level("SlotsBusy", "slots that serve a request", |it| load(&it.levels.slots_busy)),
    level("BreakerOpen", "1 while requests are refused since the function does not start", |it| {
        load(&it.latest.breaker_open)
    }),
    times("HandoverTime", "from a request's dispatch until its instance had its head", |it| {
        &it.handover
    }),
    times("AppTime", "from there to the head of the instance's response", |it| &it.app),
    times("FirstByteTime", "from a request's head to the response's", |it| &it.first_byte),
];

/// What is known of a period that is not over.
#[derive(Debug, Default)]
pub(crate) struct Period {
    /// Each pool is kept, so that what it counts until its end is told.
    pools: BTreeMap<Arc<str>, (Arc<PoolMetrics>, OfPool)>,
    /// What the period was like for those that have gone within it.
    gone: Vec<(Arc<str>, Map<String, Value>)>,
    /// What no pool was for.
    unrouted: OfPool,
}

/// What is known of one pool.
#[derive(Debug, Default)]
struct OfPool {
    /// How things stood when the period began, by the name of the metric.
    was: BTreeMap<&'static str, f64>,
    buckets: BTreeMap<&'static str, Vec<(f64, u64)>>,
    samples: BTreeMap<&'static str, Vec<u64>>,
}

impl Period {
    /// Notes what goes up and down.
    pub(crate) fn sample(&mut self, metrics: &Metrics) {
        for pool in metrics.live() {
            let new = || (Arc::clone(&pool), OfPool::default());
            self.pools.entry(Arc::clone(&pool.name)).or_insert_with(new);
        }
        self.let_go(metrics);
        for (pool, known) in self.pools.values_mut() {
            known.sample(pool);
        }
    }

    /// Parts with pools that nobody else has any more.
    fn let_go(&mut self, metrics: &Metrics) {
        // Nobody can come by one of them meanwhile.
        let _found = metrics.pools();
        self.pools.retain(|name, (pool, known)| {
            let is_counting = Arc::strong_count(pool) > 1;
            if !is_counting {
                self.gone.push((Arc::clone(name), known.end(pool)));
            }
            is_counting
        });
    }

    /// The documents of this period, each a line; the next one begins. One for each pool, and, if
    /// there were any, one for requests that reached none.
    pub(crate) fn end(
        &mut self,
        metrics: &Metrics,
        namespace: &str,
        now: SystemTime,
    ) -> Vec<String> {
        let mut pools = std::mem::take(&mut self.gone);
        for (name, (pool, known)) in &mut self.pools {
            pools.push((Arc::clone(name), known.end(pool)));
        }
        // Without a second pool there is nothing to tell apart, and each set of dimensions is paid.
        let are_many =
            pools.windows(2).any(|pair| matches!(pair, [one, other] if one.0 != other.0));
        let dimensions = if are_many { json!([[], [POOL]]) } else { json!([[]]) };
        let document = |dimensions: &Value, pool: Option<&str>, values: Map<String, Value>| {
            let unit =
                |metric: &CloudWatchMetric| json!({"Name": metric.name, "Unit": metric.unit()});
            let told = CLOUDWATCH_METRICS.iter().filter(|metric| values.contains_key(metric.name));
            let directive = json!({
                "Namespace": namespace,
                "Dimensions": dimensions,
                "Metrics": told.map(unit).collect::<Vec<_>>(),
            });
            let mut document = Map::new();
            let metadata = json!({"Timestamp": since_1970(now), "CloudWatchMetrics": [directive]});
            document.insert("_aws".to_owned(), metadata);
            document.extend(pool.map(|pool| (POOL.to_owned(), Value::from(pool))));
            document.extend(values);
            format!("{}\n", Value::Object(document))
        };
        let mut unrouted = self.unrouted.end(&metrics.unrouted);
        unrouted.retain(|name, value| UNROUTED.contains(&&**name) && value.as_f64() > Some(0.0));
        let unrouted = (!unrouted.is_empty()).then(|| document(&json!([[]]), None, unrouted));
        let pools = pools.into_iter();
        pools
            .map(|(name, values)| document(&dimensions, Some(&name), values))
            .chain(unrouted)
            .collect()
    }
}

impl OfPool {
    fn sample(&mut self, pool: &PoolMetrics) {
        for metric in CLOUDWATCH_METRICS {
            if let Of::Level(level) = metric.of {
                let samples = self.samples.entry(metric.name).or_default();
                if samples.len() < VALUES_MAX {
                    samples.push(level(pool));
                }
            }
        }
    }

    /// What the period was like, by the names of metrics; how things stand is where the next one
    /// begins.
    fn end(&mut self, pool: &PoolMetrics) -> Map<String, Value> {
        let mut samples = std::mem::take(&mut self.samples);
        let values = CLOUDWATCH_METRICS.iter().filter_map(|metric| {
            let value = match metric.of {
                Of::Amount(_, read) => json!(self.grown(metric.name, read(pool))),
                Of::Count(read) => json!(self.grown(metric.name, read(pool) as f64)),
                Of::Level(_) => json!(samples.remove(metric.name).filter(|it| !it.is_empty())?),
                Of::Times(read) => json!(self.times(metric.name, read(pool), 0)?),
                Of::Waits(read) => json!(self.times(metric.name, read(pool), 1)?),
            };
            Some((metric.name.to_owned(), value))
        });
        values.collect()
    }

    /// By how much more it is than at the last end.
    fn grown(&mut self, name: &'static str, is: f64) -> f64 {
        is - self.was.insert(name, is).unwrap_or_default()
    }

    /// Times that are spread as those of the period, but for the shortest ones in the first `skip`
    /// buckets; in milliseconds. `None` if there were none.
    fn times(&mut self, name: &'static str, times: &Distribution, skip: usize) -> Option<Vec<f64>> {
        let is = times.buckets();
        let was = self.buckets.insert(name, is.clone()).unwrap_or_default();
        let before = was.into_iter().map(|(_, count)| count).chain(std::iter::repeat(0));
        let grown = is.iter().zip(before).map(|((bound, count), was)| (*bound, count - was));
        // What is left out was next to nothing.
        let sum = self.grown(name, times.sum().as_secs_f64());
        let from = if skip == 0 { 0.0 } else { is.get(skip - 1)?.0 };
        let spread = spread(grown.skip(skip), from, sum);
        (!spread.is_empty()).then_some(spread)
    }
}

/// As many values as there are times in `buckets`, a hundred at most, in milliseconds: the middles
/// of as many equal parts of them. Within a bucket, of which the first begins at `from` seconds,
/// times are taken to lie evenly; then all are moved towards the same end of their buckets, until
/// their mean is that of times that are `sum` seconds together.
fn spread(buckets: impl Iterator<Item = (f64, u64)> + Clone, from: f64, sum: f64) -> Vec<f64> {
    let all: u64 = buckets.clone().map(|(_, count)| count).sum();
    let wanted = usize::try_from(all).unwrap_or(VALUES_MAX).min(VALUES_MAX);
    // Each between the bounds of its bucket.
    let mut values: Vec<[f64; 3]> = Vec::with_capacity(wanted);
    let (mut below, mut lower) = (0, from);
    for (bound, count) in buckets {
        // What is above all bounds is at most, in the mean, what there is for it.
        let upper = if bound.is_finite() { bound } else { (sum / count as f64).max(lower) };
        let ends = below + count;
        while values.len() < wanted {
            let rank = (values.len() as f64 + 0.5) * all as f64 / wanted as f64;
            if rank >= ends as f64 {
                break;
            }
            let part = (rank - below as f64) / count as f64;
            values.push([lower, lower + (upper - lower) * part, upper]);
        }
        (below, lower) = (ends, upper);
    }
    let missing = sum * wanted as f64 / all as f64 - values.iter().map(|it| it[1]).sum::<f64>();
    let end = if missing < 0.0 { 0 } else { 2 };
    let room: f64 = values.iter().map(|it| it[end] - it[1]).sum();
    let part = if room == 0.0 { 0.0 } else { (missing / room).min(1.0) };
    let moved = values.iter().map(|it| it[1] + (it[end] - it[1]) * part);
    moved.map(|seconds| (seconds * 1e6).round() / 1e3).collect()
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

const fn times(
    name: &'static str,
    about: &'static str,
    of: fn(&PoolMetrics) -> &Distribution,
) -> CloudWatchMetric {
    CloudWatchMetric { name, about, of: Of::Times(of) }
}

const fn count(
    name: &'static str,
    about: &'static str,
    of: fn(&PoolMetrics) -> u64,
) -> CloudWatchMetric {
    CloudWatchMetric { name, about, of: Of::Count(of) }
}

const fn level(
    name: &'static str,
    about: &'static str,
    of: fn(&PoolMetrics) -> u64,
) -> CloudWatchMetric {
    CloudWatchMetric { name, about, of: Of::Level(of) }
}

const fn amount(
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    of: fn(&PoolMetrics) -> f64,
) -> CloudWatchMetric {
    CloudWatchMetric { name, about, of: Of::Amount(unit, of) }
}

/// The dimension that tells pools apart.
const POOL: &str = "Pool";

/// What is told of requests that no pool was for.
const UNROUTED: [&str; 3] = ["Requests", "Requests4xx", "Requests5xx"];

/// Most values of one metric in a document, which is CloudWatch's limit.
const VALUES_MAX: usize = 100;

#[cfg(test)]
mod tests;
