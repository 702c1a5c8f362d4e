//! The life of an instance: it starts, attaches, serves until its lease has no room left, drains,
//! and is gone when its connection, its requests and its invoke have all ended, in any order.

use core::time::Duration;

use crate::ids::InstanceId;
use crate::time::Time;

use super::config::SLOTS_MAX;
use super::input::InvokeOutcome;
use super::instances::State;
use super::output::{GoAwayReason, Output};
use super::{Dispatcher, Shutdown, Timer};

impl Dispatcher {
    pub(super) fn attached(
        &mut self,
        instance: InstanceId,
        slots: u32,
        lease: Duration,
        cold: bool,
    ) {
        let entry = match self.instances.get(instance).copied() {
            Some(entry) if entry.attached.is_none() => entry,
            known => {
                self.stats.stale_inputs += 1;
                // Its invoke has ended meanwhile: nobody would ever close that connection.
                if known.is_none() {
                    self.outputs.push_back(Output::Close { instance });
                }
                return;
            }
        };
        self.stats.attached += 1;
        if cold {
            self.stats.attached_cold += 1;
            self.estimate.started_cold(self.now.saturating_since(entry.invoked));
            if entry.expected_warm {
                self.warm.forget();
            }
        }
        self.guard.attached();
        // An instance that has just come is given the linger time to be of use.
        self.last_busy = self.now;
        let now = self.now;
        let lease_end = now + lease;
        let usable_until = lease_end.saturating_sub(self.margin(lease));
        self.instances.update(instance, |entry| {
            entry.state = State::Ready;
            entry.attached = Some(now);
            entry.slots = slots.min(SLOTS_MAX);
            entry.lease_end = lease_end;
            entry.usable_until = usable_until;
        });
        self.set_aging_timer(instance);
        self.set_ping_timer(instance, self.now + self.config.ping_interval);
        if self.shutdown == Shutdown::Done {
            self.cut(instance);
            return;
        }
        self.arm_scale();
        self.pump();
    }

    /// The next stage of an instance's life is due.
    pub(super) fn lease_due(&mut self, instance: InstanceId) {
        let entry = self.instances.update(instance, |entry| entry.lease_timer = Time::MAX);
        let Some(entry) = entry else { return };
        match entry.state {
            State::Starting => {
                // It may still come, and Lambda may well be running it: it stays counted.
                self.count_failure(instance, InvokeOutcome::Unavailable);
                self.instances.update(instance, |entry| entry.state = State::Detached);
                self.refuse_if_hopeless();
                if !entry.invoke_open {
                    self.set_lease_timer(instance, self.now + LONGEST_INVOKE);
                }
            }
            State::Ready if entry.usable_until > self.now => {
                self.instances.update(instance, |entry| entry.aging = true);
                self.set_lease_timer(instance, entry.usable_until);
                self.scale();
            }
            State::Ready => {
                let last = entry.lease_end.saturating_sub(self.needed(entry.lease()));
                if self.guard.starts_fail() && last > self.now {
                    // Nobody would come in its place.
                    self.instances.update(instance, |entry| entry.usable_until = last);
                    self.set_lease_timer(instance, last);
                } else {
                    self.retire(instance, GoAwayReason::LeaseEnding);
                }
            }
            State::Draining => self.cut(instance),
            State::Detached => self.tidy(instance),
        }
    }

    /// What is left of a lease for requests to finish in: what nearly all of them are known to
    /// need, and not less than the margin that the operator wants, of which short leases have a
    /// part.
    fn margin(&self, lease: Duration) -> Duration {
        self.config.placement_margin.min(lease / 4).max(self.needed(lease))
    }

    /// What requests are known to need of the end of a lease. Where they need nearly all of it, or
    /// more, a quarter is still used: they could be placed nowhere else.
    fn needed(&self, lease: Duration) -> Duration {
        self.estimate.need().min(lease / 4 * 3)
    }

    /// Lets the replacement start a cold start before the instance is of no more use. Not in the
    /// first half of that time: where a start takes longer than a lease lasts, each would ask for
    /// the next at once, without end. The environment that it leaves behind is there by then.
    fn set_aging_timer(&mut self, instance: InstanceId) {
        let Some(entry) = self.instances.get(instance) else { return };
        let until = entry.usable_until;
        let half = until.saturating_since(entry.attached.unwrap_or(self.now)) / 2;
        let at = until.saturating_sub(self.estimate.cold_start().min(half));
        self.set_lease_timer(instance, at.max(self.now + Duration::from_nanos(1)));
    }

    /// Requests have been seen to take longer than was known: the leases that were taken by then
    /// have less room.
    pub(super) fn heed_need(&mut self) {
        let ready = self.instances.iter().filter(|entry| entry.state == State::Ready);
        let tight =
            ready.filter(|entry| entry.usable_until + self.margin(entry.lease()) > entry.lease_end);
        let tight: alloc::vec::Vec<_> = tight.map(|entry| entry.id).collect();
        for instance in tight {
            let Some(entry) = self.instances.get(instance).copied() else { continue };
            let until = entry.lease_end.saturating_sub(self.margin(entry.lease())).max(self.now);
            self.instances.update(instance, |entry| entry.usable_until = until);
            if entry.aging {
                self.set_lease_timer(instance, until.max(self.now + Duration::from_nanos(1)));
            } else {
                self.set_aging_timer(instance);
            }
        }
    }

    /// Whether what runs on an instance that breaks off at `now` is cut because its lease is over.
    #[must_use]
    pub fn is_cut_at_its_end(&self, instance: InstanceId, now: Time) -> bool {
        let entry = self.instances.get(instance);
        // It promised a span; when it began to count was a moment before it was heard.
        entry.is_some_and(|entry| now + LEASE_GRACE >= entry.lease_end)
    }

    pub(super) fn ping_due(&mut self, instance: InstanceId) {
        let entry = self.instances.update(instance, |entry| entry.ping_timer = Time::MAX);
        let Some(entry) = entry.filter(super::instances::Instance::is_attached) else { return };
        if entry.pinged {
            if entry.served.is_none() {
                // It could attach and no more, and its invoke will return as if all were well.
                self.count_failure(instance, InvokeOutcome::Unknown);
            }
            self.stats.goaways += 1;
            self.outputs.push_back(Output::GoAway { instance, reason: GoAwayReason::Silent });
            self.cut(instance);
            self.refuse_if_hopeless();
        } else {
            self.instances.update(instance, |entry| entry.pinged = true);
            self.set_ping_timer(instance, self.now + self.config.ping_timeout);
            self.outputs.push_back(Output::Ping { instance });
        }
    }

    pub(super) fn pong(&mut self, instance: InstanceId) {
        let known = self.instances.get(instance).is_some_and(|entry| entry.pinged);
        if !known {
            self.stats.stale_inputs += 1;
            return;
        }
        self.instances.update(instance, |entry| entry.pinged = false);
        self.set_ping_timer(instance, self.now + self.config.ping_interval);
    }

    pub(super) fn go_away_received(&mut self, instance: InstanceId) {
        match self.instances.get(instance).map(|entry| entry.state) {
            Some(State::Ready) => {
                self.start_draining(instance);
                self.tidy(instance);
                self.scale();
            }
            // Both said it at once, or it left before it came.
            Some(State::Draining | State::Starting | State::Detached) | None => {
                self.stats.stale_inputs += 1;
            }
        }
    }

    /// An instance wants to go. It is used for as long as it can wait if somebody is on the way who
    /// could come in its place.
    pub(super) fn leave_asked(&mut self, instance: InstanceId, patience: Duration) {
        let ready = |model: &Self| {
            let entry = model.instances.get(instance).copied();
            entry.filter(|entry| entry.state == State::Ready)
        };
        if ready(self).is_none() {
            self.stats.stale_inputs += 1;
            return;
        }
        let until = self.now + patience;
        self.instances.update(instance, |entry| {
            entry.aging = true;
            entry.usable_until = entry.usable_until.min(until);
        });
        self.scale();
        // Which may have sent it away.
        let Some(entry) = ready(self) else { return };
        if self.instances.counts().starting > 0 && entry.usable_until > self.now {
            self.set_lease_timer(instance, entry.usable_until);
        } else {
            self.retire(instance, GoAwayReason::LeaseEnding);
        }
    }

    pub(super) fn slots_offered(&mut self, instance: InstanceId, slots: u32) {
        let attached =
            self.instances.get(instance).is_some_and(super::instances::Instance::is_attached);
        if !attached {
            self.stats.stale_inputs += 1;
            return;
        }
        self.instances.update(instance, |entry| entry.slots = slots.min(SLOTS_MAX));
        self.pump();
    }

    pub(super) fn lost(&mut self, instance: InstanceId) {
        let attached =
            self.instances.get(instance).is_some_and(super::instances::Instance::is_attached);
        if !attached {
            self.stats.stale_inputs += 1;
            return;
        }
        self.detach(instance);
        self.scale();
    }

    pub(super) fn invoke_ended(&mut self, instance: InstanceId, outcome: InvokeOutcome) {
        let open = self.instances.get(instance).filter(|entry| entry.invoke_open);
        let Some(entry) = open.copied() else {
            self.stats.stale_inputs += 1;
            return;
        };
        if outcome != InvokeOutcome::Returned {
            self.stats.invokes_failed += 1;
        }
        if outcome == InvokeOutcome::Returned {
            self.warm.add(self.now);
            if entry.served.is_some() {
                self.guard.lasted(self.now);
            }
        }
        self.count_failure(instance, outcome);
        self.stats.instance_time += self.now.saturating_since(entry.invoked);
        self.instances.update(instance, |entry| entry.invoke_open = false);
        match (outcome, entry.state) {
            // It may be running: a connection that stands goes on, one that may come is waited
            // for, and what is left is counted until no invoke can last.
            (InvokeOutcome::Unknown, State::Detached) => {
                self.set_lease_timer(instance, self.now + LONGEST_INVOKE);
            }
            (InvokeOutcome::Unknown, State::Starting | State::Ready | State::Draining) => {}
            // Somebody between says that nothing runs, and here it is.
            (
                InvokeOutcome::Unavailable
                | InvokeOutcome::Throttled { .. }
                | InvokeOutcome::Forbidden,
                State::Ready | State::Draining,
            ) => {}
            // Its last answers may still be on the wire: AWS's word can be quicker than they are.
            (_, State::Ready | State::Draining) => {
                self.start_draining(instance);
                self.set_lease_timer(instance, self.now + LEASE_GRACE);
                self.tidy(instance);
            }
            (_, State::Starting | State::Detached) => self.detach(instance),
        }
        self.refuse_if_hopeless();
        self.scale();
    }

    /// Lets the guard know how an invoke ended, once.
    fn count_failure(&mut self, instance: InstanceId, outcome: InvokeOutcome) {
        let Some(entry) = self.instances.get(instance).filter(|entry| !entry.settled) else {
            return;
        };
        let wanted = self.requests.queued() > 0;
        self.guard.ended(self.now, outcome, entry, wanted, &mut self.prng);
        self.instances.update(instance, |entry| entry.settled = true);
    }

    /// Tells a ready instance to finish and leave.
    pub(super) fn retire(&mut self, instance: InstanceId, reason: GoAwayReason) {
        self.stats.goaways += 1;
        self.outputs.push_back(Output::GoAway { instance, reason });
        if matches!(reason, GoAwayReason::Shutdown | GoAwayReason::Surplus) {
            self.instances.update(instance, |entry| entry.settled = true);
        }
        self.start_draining(instance);
        self.tidy(instance);
    }

    /// Ends the connection of an attached instance.
    pub(super) fn cut(&mut self, instance: InstanceId) {
        self.outputs.push_back(Output::Close { instance });
        self.detach(instance);
    }

    /// Sees to what an instance is due after something of it has ended.
    pub(super) fn tidy(&mut self, instance: InstanceId) {
        let Some(entry) = self.instances.get(instance) else { return };
        let idle = entry.busy == 0;
        match entry.state {
            State::Draining if idle => self.cut(instance),
            State::Detached if idle && !entry.invoke_open && entry.lease_timer == Time::MAX => {
                self.pay_last();
                self.instances.remove(instance);
            }
            State::Starting | State::Ready | State::Draining | State::Detached => {}
        }
    }

    fn start_draining(&mut self, instance: InstanceId) {
        let entry = self.instances.update(instance, |entry| entry.state = State::Draining);
        if let Some(entry) = entry {
            self.set_lease_timer(instance, entry.lease_end.max(self.now) + LEASE_GRACE);
        }
    }

    fn detach(&mut self, instance: InstanceId) {
        self.clear_resume(instance);
        self.set_lease_timer(instance, Time::MAX);
        self.set_ping_timer(instance, Time::MAX);
        self.instances.update(instance, |entry| entry.state = State::Detached);
        self.tidy(instance);
    }

    pub(super) fn set_lease_timer(&mut self, instance: InstanceId, at: Time) {
        let Some(entry) = self.instances.get(instance) else { return };
        self.timers.clear(entry.lease_timer, Timer::Lease(instance));
        self.instances.update(instance, |entry| entry.lease_timer = at);
        if at != Time::MAX {
            self.timers.set(at, Timer::Lease(instance));
        }
    }

    fn set_ping_timer(&mut self, instance: InstanceId, at: Time) {
        let Some(entry) = self.instances.get(instance) else { return };
        self.timers.clear(entry.ping_timer, Timer::Ping(instance));
        self.instances.update(instance, |entry| entry.ping_timer = at);
        if at != Time::MAX {
            self.timers.set(at, Timer::Ping(instance));
        }
    }
}

/// What an instance whose lease or invoke is over is given to close by itself, and how exactly its
/// end is known.
const LEASE_GRACE: Duration = Duration::from_secs(1);
/// No Lambda invocation lasts longer.
const LONGEST_INVOKE: Duration = Duration::from_secs(900);
