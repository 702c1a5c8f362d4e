//! The decision how many instances there should be, and its consequences.

use alloc::vec::Vec;
use core::time::Duration;

use super::config::{Limits, Scaling};
use super::output::{Decision, GoAwayReason, Output, RefuseReason, Why};
use super::scaling::{Load, rule};
use super::{Dispatcher, Shutdown, Timer};
use crate::Time;

impl Dispatcher {
    /// Lets [`Timer::Scale`] run.
    pub(super) fn arm_scale(&mut self) {
        if self.scale_at.is_none() {
            let at = self.now + TICK;
            self.scale_at = Some(at);
            self.timers.set(at, Timer::Scale);
        }
    }

    /// Lets [`Timer::Scale`] run at `at`, if it would not before: somebody waits.
    pub(super) fn scale_by(&mut self, at: Time) {
        if let Some(armed) = self.scale_at.filter(|armed| *armed > at) {
            self.timers.clear(armed, Timer::Scale);
            self.scale_at = None;
        }
        if self.scale_at.is_none() {
            self.scale_at = Some(at);
            self.timers.set(at, Timer::Scale);
        }
    }

    /// Pays for an instance that is about to be forgotten: the next look will not see it.
    pub(super) fn pay_last(&mut self) {
        let since = self.scaled.unwrap_or(self.now);
        self.guard.pay(1, self.now.saturating_since(since));
    }

    /// Decides, and acts on it.
    pub(super) fn scale(&mut self) {
        let since = self.scaled.replace(self.now);
        if let Some(since) = since {
            self.guard.pay(self.instances.all(), self.now.saturating_since(since));
        }
        let need = self.estimate.need();
        self.estimate.tick(self.now);
        if self.estimate.need() > need {
            self.heed_need();
        }
        self.formula.tick(self.now);
        let stuck_since = self.now.saturating_sub(self.estimate.stuck_after());
        self.requests.mark_stuck(stuck_since);
        if self.unserved() > 0 || self.requests.running() > 0 {
            self.last_busy = self.now;
        }

        let (desired, why) = self.desired();
        self.desired = desired;
        let counts = self.instances.counts();
        let current = counts.starting + counts.ready - counts.aging;
        if desired >= current {
            self.surplus = None;
        }
        let useful = current - counts.slotless;
        if desired > useful {
            self.start(desired, useful, why);
        } else if desired < current {
            self.shrink(desired, current, why);
        }
        self.turned_away = 0;
        if self.nothing_serves_and_nothing_will() {
            self.refuse_queue(RefuseReason::OverBudget);
        }
        let idle = self.requests.queued() == 0 && self.instances.all() == 0;
        if !(idle && desired == 0 && self.estimate.is_silent()) {
            self.arm_scale();
        }
    }

    /// Requests that need a slot and have none: who waits, and who found no room to wait since the
    /// last look and may well come again.
    pub(super) fn unserved(&self) -> u32 {
        self.requests.queued().saturating_add(self.turned_away)
    }

    /// Refuses what waits if the function is known to fail and nothing serves.
    pub(super) fn refuse_if_hopeless(&mut self) {
        let counts = self.instances.counts();
        let hopeless = self.guard.is_open() && counts.ready + counts.starting == 0;
        if hopeless {
            self.refuse_queue(RefuseReason::Unavailable);
        }
    }

    fn nothing_serves_and_nothing_will(&mut self) -> bool {
        self.instances.all() == 0 && self.guard.affordable(self.now) == 0
    }

    /// The number of instances that should serve, within every bound, and why.
    fn desired(&mut self) -> (u32, Why) {
        let (wanted, why) = match self.config.scaling {
            Scaling::Rule => self.by_rule(),
            Scaling::Simple | Scaling::Ewma => {
                (self.by_formula(), Why::Formula(self.config.scaling))
            }
        };
        let counts = self.instances.counts();
        let bounded = match self.shutdown {
            // The queue is still served, by as few as that takes beside those who have their hands
            // full.
            Shutdown::Draining => {
                let serving = counts.ready - counts.aging;
                wanted.min(serving + self.requests.queued()).min(self.instances_max)
            }
            Shutdown::Done => 0,
            Shutdown::No => wanted.clamp(self.instances_min, self.instances_max),
        };
        let why = if bounded == wanted { why } else { Why::Limits };
        let affordable = self.guard.affordable(self.now);
        if affordable < bounded { (affordable, Why::Budget) } else { (bounded, why) }
    }

    fn by_formula(&mut self) -> u32 {
        let (queued, running) = (self.unserved(), self.requests.running());
        // A reload moves the bounds; the formulas remember a count within them.
        let (instances_min, instances_max) = (self.instances_min, self.instances_max);
        let limits = Limits { instances_min, instances_max, ..*self.config };
        self.formula.desired(self.now, &limits, queued, running)
    }

    /// Lets the original's formulas see every request that waits or runs: most do so between two
    /// ticks.
    pub(super) fn tell_formula(&mut self) {
        if self.config.scaling != Scaling::Rule {
            self.by_formula();
        }
    }

    fn by_rule(&self) -> (u32, Why) {
        let busy = self.unserved() > 0 || self.requests.running() > 0;
        if !busy && self.now.saturating_since(self.last_busy) >= self.config.linger {
            return (0, Why::Idle);
        }
        let counts = self.instances.counts();
        let (service, cold_start) = (self.estimate.service(), self.estimate.cold_start());
        let (desired, why) = rule(&Load {
            queued: self.unserved(),
            slots: counts.slots - counts.slots_aging,
            stuck: self.requests.stuck().min(counts.busy),
            busy: counts.busy,
            due: self.due(service, cold_start),
            slots_soon: if self.warm.is_expected(self.now) {
                counts.starting_warm * self.config.slots
            } else {
                0
            },
            slots_per_instance: self.config.slots,
            warm: self.warm.count(self.now),
            arrivals_per_1000s: self.estimate.arrivals_per_1000s(cold_start),
            service,
            cold_start,
        });
        // Sparse short requests come to no instance at all, and still somebody comes: whoever is
        // there stays until nobody has for the linger time.
        let there = counts.starting + counts.ready - counts.aging - counts.slotless;
        (desired.max(there.min(1)), why)
    }

    /// How many of the requests that run will be over when an instance that starts now would be
    /// up, if these are fewer than those who wait. Where requests are shorter than starts all are.
    /// Before any has ended t is a guess: once one has outlived that, and a quarter of a start,
    /// nothing is known to be over soon.
    fn due(&self, service: Duration, cold_start: Duration) -> Option<u32> {
        if !self.estimate.has_served() {
            let most = service.max(cold_start / 4);
            let outlived = |since| self.now.saturating_since(since) > most;
            return self.requests.oldest_fresh().is_some_and(outlived).then_some(0);
        }
        let longer = service.checked_sub(cold_start)?;
        let since = self.now.saturating_sub(longer);
        self.requests.dispatched_before(since, self.unserved().min(DUE_MOST))
    }

    fn start(&mut self, desired: u32, current: u32, why: Why) {
        // Only a response proves that a function works again which was known to fail, and only
        // somebody who waits, or comes again, can have one.
        let wanted = self.unserved() > 0;
        if self.guard.is_open() && !wanted {
            return;
        }
        // The hard bound counts everything that Lambda may still run.
        let room = self.instances_max.saturating_sub(self.instances.all());
        let allowance = self.guard.allowance(self.now, &self.instances.counts(), wanted);
        let count = (desired - current).min(room).min(allowance);
        if count == 0 {
            return;
        }
        self.outputs.push_back(Output::Decided(Decision {
            from: current,
            to: current + count,
            why,
        }));
        for _ in 0..count {
            let expected_warm = self.warm.take(self.now, self.estimate.cold_start());
            let instance = self.instances.insert(self.now, expected_warm);
            self.guard.invoked(self.now, wanted);
            self.stats.invokes += 1;
            self.set_lease_timer(instance, self.now + self.config.start_timeout);
            self.outputs.push_back(Output::Invoke { instance });
        }
    }

    fn shrink(&mut self, desired: u32, current: u32, why: Why) {
        let (keep, why) = match self.config.scaling {
            // The formulas bring their own patience.
            Scaling::Simple | Scaling::Ewma => (desired, why),
            Scaling::Rule => {
                let (since, most) = self.surplus.unwrap_or((self.now, desired));
                let most = most.max(desired);
                let at_once = matches!(why, Why::Idle | Why::Budget);
                if at_once || self.now.saturating_since(since) >= self.config.linger {
                    self.surplus = None;
                    (if at_once { desired } else { most }, why)
                } else {
                    // Those that there may not be have nobody to wait for.
                    self.surplus = Some((since, most));
                    (self.instances_max, Why::Limits)
                }
            }
        };
        let keep = keep.min(self.instances_max);
        // Nobody is one too many while somebody waits, or was told to come again, but for those
        // that there may not be.
        let wanted = self.requests.queued() > 0 || self.now < self.awaited_until;
        let (keep, why) = if wanted && why != Why::Budget {
            (self.instances_max, Why::Limits)
        } else {
            (keep, why)
        };
        let counts = self.instances.counts();
        // Who starts cannot be called back, and does not serve yet: nobody leaves for it. If it is
        // one too many, that shows when it is there.
        let surplus = (counts.ready - counts.aging).saturating_sub(keep);
        if surplus == 0 {
            return;
        }
        self.outputs.push_back(Output::Decided(Decision {
            from: current,
            to: current - surplus,
            why,
        }));
        // Looked for together: one by one they would be as many walks through the table.
        let leave: Vec<_> = self.instances.least_busy().take(surplus as usize).collect();
        for instance in leave {
            self.retire(instance, GoAwayReason::Surplus);
        }
    }
}

/// How many of the requests that run are looked at for when they are over: enough to see that slots
/// were taken together.
const DUE_MOST: u32 = 64;
/// How often the number of instances is looked at while there is anything to decide.
const TICK: Duration = Duration::from_millis(100);
