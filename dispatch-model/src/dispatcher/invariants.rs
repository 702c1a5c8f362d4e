//! Every property that spans two fields, recounted naively. Drivers in tests call
//! [`Dispatcher::check`] after each step; production never needs to.

use alloc::collections::BTreeMap;

use crate::time::Time;

use super::instances::{Counts, State};
use super::requests::Stage;
use super::{Dispatcher, Shutdown};

impl Dispatcher {
    /// Checks what must always hold between two inputs. Linear in the number of instances and
    /// requests.
    ///
    /// # Panics
    ///
    /// Something does not hold: a bug of this crate. The message says what, with the values.
    pub fn check(&self) {
        self.check_requests();
        self.check_instances();
        self.check_matching();
        self.check_timers();
    }

    fn check_requests(&self) {
        let queue: alloc::vec::Vec<_> = self.requests.queue().collect();
        assert_eq!(queue.len(), self.requests.queued() as usize, "queue length");
        let bytes: u64 = queue.iter().map(|request| u64::from(request.bytes)).sum();
        assert_eq!(bytes, self.requests.queued_bytes(), "bytes in the queue");
        // Requests given back come on top: they were accepted before.
        let waiting: alloc::vec::Vec<_> =
            queue.iter().filter(|request| request.stage == Stage::Waiting).collect();
        let bytes: u64 = waiting.iter().map(|request| u64::from(request.bytes)).sum();
        assert!(bytes <= self.config.queue_bytes_max, "{bytes} bytes wait");
        let arrivals: alloc::vec::Vec<Time> =
            waiting.iter().map(|request| request.arrived).collect();
        assert!(arrivals.len() <= self.config.queue_len_max as usize, "{} queued", arrivals.len());
        assert!(arrivals.is_sorted(), "the queue is not in the order of arrival: {arrivals:?}");
        let running: alloc::vec::Vec<_> =
            self.requests.iter().filter(|request| request.stage == Stage::Running).collect();
        assert_eq!(running.len(), self.requests.running() as usize, "running");
        let stuck = running.iter().filter(|request| request.stuck).count();
        assert_eq!(stuck, self.requests.stuck() as usize, "stuck");
    }

    fn check_instances(&self) {
        let mut busy = BTreeMap::new();
        for request in self.requests.iter().filter(|request| request.stage == Stage::Running) {
            *busy
                .entry(request.instance.expect("a running request has an instance"))
                .or_insert(0) += 1;
        }
        let mut counts = Counts::default();
        for entry in self.instances.iter() {
            let id = entry.id;
            let in_flight = busy.remove(&id).unwrap_or(0);
            assert_eq!(entry.busy, in_flight, "requests in flight on {id}");
            let may_serve = matches!(entry.state, State::Starting | State::Ready);
            counts.untried += u32::from(entry.served.is_none() && (may_serve || !entry.settled));
            match entry.state {
                State::Starting => {
                    counts.starting += 1;
                    counts.starting_warm += u32::from(entry.expected_warm);
                }
                State::Draining => counts.draining += 1,
                State::Detached => counts.detached += 1,
                State::Ready => {
                    counts.ready += 1;
                    counts.slots += entry.slots;
                    counts.busy += entry.busy;
                    counts.aging += u32::from(entry.aging);
                    counts.slotless += u32::from(!entry.aging && entry.slots == 0);
                    counts.answering += u32::from(entry.served.is_some() && entry.timed_out == 0);
                    counts.slots_aging += if entry.aging { entry.slots } else { 0 };
                    assert!(entry.usable_until >= self.now, "{id} is used beyond its lease");
                }
            }
            let gone = entry.state == State::Detached && entry.busy == 0 && !entry.invoke_open;
            assert!(!gone || entry.lease_timer != Time::MAX, "{id} is gone but kept");
        }
        assert!(busy.is_empty(), "requests run on unknown instances: {busy:?}");
        assert_eq!(counts, self.instances.counts(), "counts of instances");
    }

    fn check_matching(&self) {
        let usable: alloc::vec::Vec<_> =
            self.instances.iter().filter(|entry| entry.is_usable()).map(|entry| entry.id).collect();
        assert_eq!(!usable.is_empty(), self.instances.pick().is_some(), "free slots");
        if let (Some(request), Some(id)) = (self.requests.queue().next(), usable.first()) {
            panic!("{} waits though {id} has a free slot", request.id);
        }
    }

    fn check_timers(&self) {
        if let Some(timeout) = self.poll_timeout() {
            assert!(timeout.at > self.now, "{timeout:?} is due at {}", self.now);
        }
        let waits = self.unserved() > 0 && self.shutdown != Shutdown::Done;
        assert!(!waits || self.scale_at.is_some(), "requests want a slot and nobody will look");
        let over = self.shutdown == Shutdown::Done;
        assert!(!over || self.requests.queued() == 0, "requests wait though all is over");
    }
}
