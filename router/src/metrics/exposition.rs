//! The counts as a page for Prometheus: names, help, units.

use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::cost::Hourly;

use super::distribution::Distribution;
use super::{Metrics, PoolMetrics};

/// The page. Names are what [`Page`] is given, with the prefix `dispatch_`.
pub(super) fn text(metrics: Arc<Metrics>) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("dispatch");
    registry.register_collector(Box::new(metrics));
    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let pools = self.pools().values().filter_map(Weak::upgrade).collect();
        let mut page = Page { encoder, pools };
        self.requests(&mut page)?;
        requests(&mut page)?;
        queue(&mut page)?;
        instances(&mut page)?;
        invokes(&mut page)?;
        cost(&mut page)?;
        self.spans(&mut page)
    }
}

impl Metrics {
    /// Those of all pools, and those of none.
    fn requests(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let help = "Exchanges with clients that are over";
        let mut encoder =
            page.encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for pool in std::iter::once(&self.unrouted).chain(page.pools.iter().map(|pool| &**pool)) {
            for (status, reason, count) in pool.requests.iter() {
                let labels =
                    [("pool", &*pool.name), ("status", &*status.to_string()), ("reason", reason)];
                ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// Those of the router as a whole.
    fn spans(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let help = "Spans of traces, by what became of them";
        let mut encoder =
            page.encoder.encode_descriptor("spans", help, None, MetricType::Counter)?;
        for (fate, count) in self.spans.iter() {
            let labels = [("pool", &*self.unrouted.name), ("fate", fate)];
            ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn requests(page: &mut Page<'_>) -> Result<(), Error> {
    page.counter("request_body_bytes", "Bytes of request bodies taken from clients", |pool| {
        &pool.bytes_in
    })?;
    page.counter("response_body_bytes", "Bytes of response bodies handed to clients", |pool| {
        &pool.bytes_out
    })?;
    page.times("first_byte_seconds", "From a request's head to the response's", |pool| {
        &pool.first_byte
    })?;
    page.times("request_seconds", "From a request's head to the end of the response", |pool| {
        &pool.request_time
    })?;
    page.counter(
        "cancelled",
        "Requests given up: their client left or erred, or their total time was over",
        |pool| &pool.totals.cancelled,
    )?;
    page.counters(
        "refused",
        "Requests that their pool refused or gave up; other errors of the router, such as \
         total_timeout, are in dispatch_requests_total alone",
        "reason",
        |pool| pool.refused.iter().collect(),
    )
}

fn queue(page: &mut Page<'_>) -> Result<(), Error> {
    page.counter("arrived", "Requests that entered the pool", |pool| &pool.totals.arrived)?;
    page.counter("dispatched", "Requests given to an instance, repeats included", |pool| {
        &pool.totals.dispatched
    })?;
    page.counters(
        "redispatch",
        "Requests given to another instance, by what shows that no app had seen them",
        "proof",
        |pool| pool.redispatched.iter().collect(),
    )?;
    page.counter(
        "unknown_outcome",
        "Requests whose instance failed when an app may have seen them",
        |pool| &pool.unknown_outcome,
    )?;
    page.counter(
        "cold_exposed",
        "Dispatches of requests that had waited as long as a cold start",
        |pool| &pool.totals.cold_exposed,
    )?;
    page.gauge("queue_requests", "Requests that wait", |pool| &pool.levels.queued)?;
    page.gauge("queue_bytes", "Memory that waiting requests hold", |pool| {
        &pool.levels.queued_bytes
    })?;
    page.gauge("running_requests", "Requests on instances", |pool| &pool.levels.running)?;
    page.times("queue_wait_seconds", "Wait of a request before it was dispatched", |pool| {
        &pool.queue_wait
    })?;
    page.times(
        "handover_seconds",
        "From a request's dispatch until its head was given to the instance's connection",
        |pool| &pool.handover,
    )?;
    page.times("app_seconds", "From there to the head of the instance's response", |pool| {
        &pool.app
    })?;
    page.times("slot_seconds", "From a request's dispatch until it left its slot", |pool| {
        &pool.slot
    })
}

fn instances(page: &mut Page<'_>) -> Result<(), Error> {
    page.gauge("slots", "Slots of instances that serve", |pool| &pool.levels.slots)?;
    page.gauge("slots_busy", "Slots that serve a request", |pool| &pool.levels.slots_busy)?;
    page.gauges("instances", "Instances by state", "state", |pool| {
        let levels = &pool.levels;
        [
            ("starting", &levels.starting),
            ("ready", &levels.ready),
            ("draining", &levels.draining),
            ("detached", &levels.detached),
        ]
    })?;
    page.gauge("instances_desired", "Instances that should serve", |pool| &pool.levels.desired)?;
    page.seconds("service_seconds", "Mean service time that scaling reckons with", |pool| {
        &pool.latest.service_nanos
    })?;
    page.seconds(
        "cold_start_seconds",
        "Time from an invoke to its first slot that scaling reckons with",
        |pool| &pool.latest.cold_start_nanos,
    )?;
    page.counters("attached", "Instances that dialled back", "start", |pool| {
        let attached = [("cold", &pool.totals.attached_cold), ("warm", &pool.totals.attached_warm)];
        attached.map(|(start, count)| (start, count.load(Relaxed))).to_vec()
    })?;
    page.counters("goaways", "Instances told to leave", "reason", |pool| {
        pool.goaways.iter().collect()
    })
}

fn invokes(page: &mut Page<'_>) -> Result<(), Error> {
    page.counter("invokes", "Invokes ordered", |pool| &pool.totals.invokes)?;
    page.counters("invokes_ended", "Invokes that are over", "outcome", |pool| {
        pool.invokes_ended.iter().collect()
    })?;
    page.seconds_total(
        "instance_seconds",
        "Time from invoke to its end, summed over invokes that are over",
        |pool| &pool.totals.instance_nanos,
    )?;
    page.gauge(
        "breaker_open",
        "1 while requests are refused since the function does not start",
        |pool| &pool.latest.breaker_open,
    )?;
    page.counter("stale_inputs", "Facts about things that had ended", |pool| {
        &pool.totals.stale_inputs
    })
}

fn cost(page: &mut Page<'_>) -> Result<(), Error> {
    page.dollars(
        "cost_dollars_per_hour",
        "Estimate: what instances and invokes cost, at the rate of the last minute",
        |hourly| hourly.ours,
    )?;
    page.dollars(
        "plain_lambda_cost_dollars_per_hour",
        "Estimate: what the same requests would cost with an invocation for each",
        |hourly| hourly.plain,
    )
}

/// The page as it is written. Each metric has a line for each pool.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    pools: Vec<Arc<PoolMetrics>>,
}

impl Page<'_> {
    /// One metric of each pool, with the labels and values that `encode` gives to it.
    fn each(
        &mut self,
        (name, help): (&str, &str),
        kind: MetricType,
        mut encode: impl FnMut(&PoolMetrics, &mut MetricEncoder<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut encoder = self.encoder.encode_descriptor(name, help, None, kind)?;
        for pool in &self.pools {
            encode(pool, &mut encoder)?;
        }
        Ok(())
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        count: impl Fn(&PoolMetrics) -> &AtomicU64,
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Counter, |pool, encoder| {
            let count = ConstCounter::new(count(pool).load(Relaxed));
            count.encode(encoder.encode_family(&of(pool))?)
        })
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl Fn(&PoolMetrics) -> Vec<(&'static str, u64)>,
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Counter, |pool, encoder| {
            for (word, count) in counts(pool) {
                let labels = [("pool", &*pool.name), (label, word)];
                ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
            }
            Ok(())
        })
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        level: impl Fn(&PoolMetrics) -> &AtomicU64,
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Gauge, |pool, encoder| {
            let level = ConstGauge::new(level(pool).load(Relaxed));
            level.encode(encoder.encode_family(&of(pool))?)
        })
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        levels: impl Fn(&PoolMetrics) -> [(&'static str, &AtomicU64); N],
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Gauge, |pool, encoder| {
            for (word, level) in levels(pool) {
                let labels = [("pool", &*pool.name), (label, word)];
                let level = ConstGauge::new(level.load(Relaxed));
                level.encode(encoder.encode_family(&labels)?)?;
            }
            Ok(())
        })
    }

    fn seconds(
        &mut self,
        name: &str,
        help: &str,
        nanos: impl Fn(&PoolMetrics) -> &AtomicU64,
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Gauge, |pool, encoder| {
            let seconds = Duration::from_nanos(nanos(pool).load(Relaxed)).as_secs_f64();
            ConstGauge::new(seconds).encode(encoder.encode_family(&of(pool))?)
        })
    }

    fn dollars(
        &mut self,
        name: &str,
        help: &str,
        dollars: impl Fn(&Hourly) -> f64,
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Gauge, |pool, encoder| {
            let dollars = dollars(&pool.point().hourly);
            ConstGauge::new(dollars).encode(encoder.encode_family(&of(pool))?)
        })
    }

    fn seconds_total(
        &mut self,
        name: &str,
        help: &str,
        nanos: impl Fn(&PoolMetrics) -> &AtomicU64,
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Counter, |pool, encoder| {
            let seconds = Duration::from_nanos(nanos(pool).load(Relaxed)).as_secs_f64();
            ConstCounter::new(seconds).encode(encoder.encode_family(&of(pool))?)
        })
    }

    fn times(
        &mut self,
        name: &str,
        help: &str,
        times: impl Fn(&PoolMetrics) -> &Distribution,
    ) -> Result<(), Error> {
        self.each((name, help), MetricType::Histogram, |pool, encoder| {
            let times = times(pool);
            let buckets = times.buckets();
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_family(&of(pool))?.encode_histogram::<[(&str, &str); 0]>(
                times.sum().as_secs_f64(),
                count,
                &buckets,
                None,
            )
        })
    }
}

/// The label of a metric that has no other.
fn of(pool: &PoolMetrics) -> [(&'static str, &str); 1] {
    [("pool", &*pool.name)]
}
