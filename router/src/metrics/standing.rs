//! How a pool stands at one moment, as the dashboard shows it: the numbers of `/metrics`, from the
//! same counts, and each instance.

use std::sync::atomic::Ordering::Relaxed;

use dispatch_model::time::nanos;
use dispatch_model::{InstanceState, InstanceView, Time};
use io_tokio::pool::View;
use serde::{Serialize, Serializer};

use super::PoolMetrics;
use super::history::Point;

/// One pool.
#[derive(Debug, Serialize)]
pub(crate) struct Standing<'a> {
    name: &'a str,
    /// The last sample.
    point: Point,
    queued: u64,
    running: u64,
    slots: u64,
    slots_busy: u64,
    starting: u64,
    ready: u64,
    draining: u64,
    detached: u64,
    desired: u64,
    /// t and T of the promise.
    service_ms: f64,
    cold_start_ms: f64,
    breaker_open: bool,
    arrived: u64,
    dispatched: u64,
    cold_exposed: u64,
    invokes: u64,
    /// What was counted so far, by how it ended; only what has been seen.
    invokes_ended: Counts,
    requests: Counts,
    instances: Vec<Shown>,
    /// Instances beside those that are listed.
    instances_more: usize,
}

type Counts = Vec<(&'static str, u64)>;

/// One instance. Written as a list: the order of the fields is what the page knows.
#[derive(Debug)]
struct Shown(InstanceView, Time);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(it, now) = self;
        let state = match it.state {
            InstanceState::Starting => 's',
            InstanceState::Ready => 'r',
            InstanceState::Draining => 'd',
            InstanceState::Detached => 'x',
        };
        let ms = |to: Time, from: Time| nanos(to.saturating_since(from)) / 1_000_000;
        let lease = it.lease.map(|(start, end)| (ms(end, *now), ms(end, start)));
        (format_args!("{}", it.id), state, it.slots, it.busy, ms(*now, it.invoked), lease)
            .serialize(serializer)
    }
}

impl PoolMetrics {
    /// How it stands, with the instances of `view`.
    pub(crate) fn standing(&self, view: View) -> Standing<'_> {
        let (totals, levels, latest) = (&self.totals, &self.levels, &self.latest);
        let ms = |nanos: u64| std::time::Duration::from_nanos(nanos).as_secs_f64() * 1_000.0;
        let mut requests = Counts::new();
        for (_, reason, count) in self.requests.iter() {
            match requests.iter_mut().find(|(word, _)| *word == reason) {
                Some((_, sum)) => *sum += count,
                None => requests.push((reason, count)),
            }
        }
        Standing {
            name: &self.name,
            point: self.point(),
            queued: levels.queued.load(Relaxed),
            running: levels.running.load(Relaxed),
            slots: levels.slots.load(Relaxed),
            slots_busy: levels.slots_busy.load(Relaxed),
            starting: levels.starting.load(Relaxed),
            ready: levels.ready.load(Relaxed),
            draining: levels.draining.load(Relaxed),
            detached: levels.detached.load(Relaxed),
            desired: levels.desired.load(Relaxed),
            service_ms: ms(latest.service_nanos.load(Relaxed)),
            cold_start_ms: ms(latest.cold_start_nanos.load(Relaxed)),
            breaker_open: latest.breaker_open.load(Relaxed) > 0,
            arrived: totals.arrived.load(Relaxed),
            dispatched: totals.dispatched.load(Relaxed),
            cold_exposed: totals.cold_exposed.load(Relaxed),
            invokes: totals.invokes.load(Relaxed),
            invokes_ended: self.invokes_ended.iter().filter(|(_, count)| *count > 0).collect(),
            requests,
            instances: view.instances.into_iter().map(|it| Shown(it, view.now)).collect(),
            instances_more: view.more,
        }
    }
}
