//! The counts as a page for Prometheus: names, help, units.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::distribution::Distribution;
use super::{Metrics, STATUS_MIN};

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
        let mut page = Page(encoder);
        self.encode_requests(&mut page)?;
        self.encode_queue(&mut page)?;
        self.encode_instances(&mut page)?;
        self.encode_invokes(&mut page)
    }
}

impl Metrics {
    fn encode_requests(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let statuses: Vec<String> =
            (STATUS_MIN..).take(self.requests.len()).map(|status| status.to_string()).collect();
        let ended = statuses.iter().zip(&self.requests).flat_map(|(status, reasons)| {
            reasons
                .iter()
                .map(|(reason, count)| ([("status", status.as_str()), ("reason", reason)], count))
        });
        page.counters(
            "requests",
            "Exchanges with clients that are over",
            ended.filter(|(_, n)| *n > 0),
        )?;
        page.counter(
            "request_body_bytes",
            "Bytes of request bodies taken from clients",
            &self.bytes_in,
        )?;
        page.counter(
            "response_body_bytes",
            "Bytes of response bodies handed to clients",
            &self.bytes_out,
        )?;
        page.times(
            "first_byte_seconds",
            "From a request's head to the response's",
            &self.first_byte,
        )?;
        page.times(
            "request_seconds",
            "From a request's head to the end of the response",
            &self.request_time,
        )?;
        page.counter("cancelled", "Requests whose client went away", &self.totals.cancelled)?;
        let refused = self.refused.iter().map(|(reason, count)| ([("reason", reason)], count));
        page.counters("refused", "Requests that the router answered with an error", refused)
    }

    fn encode_queue(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let (totals, levels) = (&self.totals, &self.levels);
        page.counter("arrived", "Requests that entered the pool", &totals.arrived)?;
        page.counter(
            "dispatched",
            "Requests given to an instance, repeats included",
            &totals.dispatched,
        )?;
        let redispatched = self.redispatched.iter().map(|(proof, n)| ([("proof", proof)], n));
        page.counters(
            "redispatch",
            "Requests given to another instance, by what shows that no app had seen them",
            redispatched,
        )?;
        page.counter(
            "unknown_outcome",
            "Requests whose instance failed when an app may have seen them",
            &self.unknown_outcome,
        )?;
        page.counter(
            "cold_exposed",
            "Dispatches of requests that had waited as long as a cold start",
            &totals.cold_exposed,
        )?;
        page.gauge("queue_requests", "Requests that wait", &levels.queued)?;
        page.gauge("queue_bytes", "Memory that waiting requests hold", &levels.queued_bytes)?;
        page.gauge("running_requests", "Requests on instances", &levels.running)?;
        page.times(
            "queue_wait_seconds",
            "Wait of a request before it was dispatched",
            &self.queue_wait,
        )
    }

    fn encode_instances(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let (totals, levels) = (&self.totals, &self.levels);
        page.gauge("slots", "Slots of instances that serve", &levels.slots)?;
        page.gauge("slots_busy", "Slots that serve a request", &levels.slots_busy)?;
        let states = [
            ("starting", &levels.starting),
            ("ready", &levels.ready),
            ("draining", &levels.draining),
            ("detached", &levels.detached),
        ];
        page.gauges(
            "instances",
            "Instances by state",
            states.map(|(state, count)| ([("state", state)], count.load(Relaxed))),
        )?;
        page.gauge("instances_desired", "Instances that should serve", &levels.desired)?;
        page.seconds(
            "service_seconds",
            "Mean service time that scaling reckons with",
            &levels.service_nanos,
        )?;
        page.seconds(
            "cold_start_seconds",
            "Time from an invoke to its first slot that scaling reckons with",
            &levels.cold_start_nanos,
        )?;
        let attached = [("cold", &totals.attached_cold), ("warm", &totals.attached_warm)];
        page.counters(
            "attached",
            "Instances that dialled back",
            attached.map(|(start, count)| ([("start", start)], count.load(Relaxed))).into_iter(),
        )?;
        let goaways = self.goaways.iter().map(|(reason, count)| ([("reason", reason)], count));
        page.counters("goaways", "Instances told to leave", goaways)
    }

    fn encode_invokes(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let (totals, levels) = (&self.totals, &self.levels);
        page.counter("invokes", "Invokes ordered", &totals.invokes)?;
        let ended =
            self.invokes_ended.iter().map(|(outcome, count)| ([("outcome", outcome)], count));
        page.counters("invokes_ended", "Invokes that are over", ended)?;
        page.seconds_total(
            "instance_seconds",
            "Time from invoke to its end, summed over invokes that are over",
            &totals.instance_nanos,
        )?;
        page.gauge(
            "breaker_open",
            "1 while requests are refused since the function does not start",
            &levels.breaker_open,
        )?;
        page.counter("stale_inputs", "Facts about things that had ended", &totals.stale_inputs)
    }
}

/// The page as it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, count: &AtomicU64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count.load(Relaxed)).encode(encoder)
    }

    fn counters<'s, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        counts: impl Iterator<Item = ([(&'s str, &'s str); N], u64)>,
    ) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in counts {
            ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, level: &AtomicU64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(level.load(Relaxed)).encode(encoder)
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        levels: [([(&str, &str); 1], u64); N],
    ) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, level) in levels {
            ConstGauge::new(level).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn seconds(&mut self, name: &str, help: &str, nanos: &AtomicU64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(Duration::from_nanos(nanos.load(Relaxed)).as_secs_f64()).encode(encoder)
    }

    fn seconds_total(&mut self, name: &str, help: &str, nanos: &AtomicU64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(Duration::from_nanos(nanos.load(Relaxed)).as_secs_f64()).encode(encoder)
    }

    fn times(&mut self, name: &str, help: &str, times: &Distribution) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let buckets = times.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<[(&str, &str); 0]>(
            times.sum().as_secs_f64(),
            count,
            &buckets,
            None,
        )
    }
}
