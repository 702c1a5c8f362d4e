//! Who looks on in this crate's tests: adds up everything, the slow way.

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch_model::{Gauges, Time};
use sim::outside::{End, Ended, Watch};
use sim::traffic::Arrival;

/// All that could be seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) arrived: u64,
    pub(crate) ends: Vec<(Time, Ended)>,
    /// There is no room for all ends.
    keeps_sums_only: bool,
    pub(crate) served: u64,
    pub(crate) refused: u64,
    pub(crate) cold: u64,
    /// Nanoseconds.
    pub(crate) waited: u128,
    pub(crate) busy_ms: u64,
    /// When each instance was asked for, was ready and was over.
    pub(crate) lives: BTreeMap<u32, (Time, Option<Time>, Option<Time>)>,
    now: Time,
    gauges: Gauges,
    /// Requests in flight and ready instances, times nanoseconds.
    pub(crate) running: u128,
    pub(crate) ready: u128,
    pub(crate) queued_max: u32,
}

impl Tally {
    pub(crate) fn sums_only() -> Self {
        Self { keeps_sums_only: true, ..Self::default() }
    }

    /// Mean wait of served requests, in seconds.
    pub(crate) fn wait(&self) -> f64 {
        self.waited as f64 / self.served as f64 / 1e9
    }

    /// Sum of the lives of instances.
    pub(crate) fn lived(&self) -> Duration {
        let lives = self.lives.values();
        lives.map(|(start, _, end)| end.unwrap().saturating_since(*start)).sum()
    }

    /// How long each instance took to get ready, those that never were left out.
    pub(crate) fn starts(&self) -> impl Iterator<Item = Duration> {
        let lives = self.lives.values();
        lives.filter_map(|(start, ready, _)| Some((*ready)?.saturating_since(*start)))
    }

    /// Waits in milliseconds, in the order of ends.
    pub(crate) fn waits_ms(&self) -> Vec<u128> {
        let waited = |ended: &Ended| ended.started.unwrap().saturating_since(ended.arrived);
        self.ends.iter().map(|(_, ended)| waited(ended).as_millis()).collect()
    }
}

impl Watch for Tally {
    fn arrived(&mut self, now: Time) {
        assert!(now >= self.now, "time went back");
        self.arrived += 1;
    }

    fn ended(&mut self, now: Time, request: Ended) {
        match request.end {
            End::Served => {
                let started = request.started.expect("who was served was started");
                self.served += 1;
                self.waited += started.saturating_since(request.arrived).as_nanos();
                let busy = now.saturating_since(started).as_nanos().div_ceil(1_000_000);
                self.busy_ms += u64::try_from(busy).unwrap();
                assert!(self.lives[&request.instance].1.is_some_and(|ready| ready <= started));
            }
            End::Refused => self.refused += 1,
            End::Cancelled | End::Lost => {}
        }
        self.cold += u64::from(request.cold);
        if !self.keeps_sums_only {
            self.ends.push((now, request));
        }
    }

    fn pool(&mut self, now: Time, gauges: &Gauges) {
        let span = now.saturating_since(self.now).as_nanos();
        self.running += u128::from(self.gauges.running) * span;
        self.ready += u128::from(self.gauges.ready) * span;
        self.queued_max = self.queued_max.max(gauges.queued);
        self.now = now;
        self.gauges = *gauges;
        let alive = self.lives.values().filter(|life| life.2.is_none());
        if !self.keeps_sums_only {
            let alive = u32::try_from(alive.count()).unwrap();
            assert_eq!(alive, gauges.starting + gauges.ready + gauges.draining, "at {now}");
        }
    }

    fn instance_started(&mut self, now: Time, instance: u32) {
        assert_eq!(self.lives.insert(instance, (now, None, None)), None, "{instance} twice");
    }

    fn instance_ready(&mut self, now: Time, instance: u32) {
        self.lives.get_mut(&instance).unwrap().1 = Some(now);
    }

    fn instance_ended(&mut self, now: Time, instance: u32) {
        let end = &mut self.lives.get_mut(&instance).unwrap().2;
        assert_eq!(end.replace(now), None, "{instance} ended twice");
    }
}

/// A request.
pub(crate) fn request(at_ms: u64, service_ms: u64) -> Arrival {
    Arrival {
        at: Time::from_millis(at_ms),
        service: Duration::from_millis(service_ms),
        cpu: Duration::ZERO,
        gives_up: None,
        upload: 0,
        download: 0,
        hold: Duration::ZERO,
    }
}
