//! What must always hold, written naively: books kept from nothing but the inputs and outputs of a
//! dispatcher, which share no code and no structure with it. Every driver feeds them.
//!
//! The numbers in the messages are those of the invariants in the design: 1 each request ends once;
//! 2 never on two instances, never repeated without leave; 3 slots are conserved; 4 no instance has
//! more than its slots; 5 nothing goes to an instance that is leaving, unknown or expired; 6 first
//! come, first served, what was returned before all others; 7 nobody waits beside a free slot; 8
//! counts are true; 9 scaling stays within its bounds; 10 so do invokes, whatever fails; 13 the
//! queue is bounded. 11 (the bill), 12 (bodies) and 14 (everything ends) need more than a
//! dispatcher to be seen and are checked by whoever runs the world around it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dispatch_model::time::nanos;
use dispatch_model::{
    Budget, Dispatcher, Ending, GoAwayReason, Input, InstanceId, InvokeOutcome, Limits, Output,
    RefuseReason, RequestId, Time, Why,
};

/// The books of one dispatcher.
#[derive(Clone, Debug)]
pub struct Oracle {
    limits: Limits,
    instances_min: u32,
    instances_max: u32,
    began: Time,
    now: Time,
    requests: BTreeMap<RequestId, Request>,
    line: BTreeMap<Place, RequestId>,
    /// How many have come into the line.
    lined: u64,
    running: u32,
    instances: BTreeMap<InstanceId, Instance>,
    /// The last name that was given at each place.
    names: BTreeMap<u32, InstanceId>,
    /// Whether the function was known to fail after the last step, and somebody was started for
    /// nobody since.
    was_failing: bool,
    started_for_nobody: Option<InstanceId>,
    /// When somebody last found no room to wait, until the next look that must have been since.
    turned_away: Option<Time>,
    /// Why the number of instances was last changed.
    decided: Option<Why>,
    /// A request that was placed in a part of a lease that is used only while starts fail.
    late: Option<(RequestId, InstanceId)>,
    /// Pings without an answer, oldest first.
    pings: VecDeque<(Time, InstanceId)>,
    /// Invokes that may be ordered now, in billionths.
    tokens: u128,
    tokens_at: Time,
    steps: u64,
    counts: Counts,
    /// From invokes to their ends, summed.
    instance_time: Duration,
    draining: bool,
    stopped: bool,
    broken: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    arrived: u64,
    cancelled: u64,
    served: u64,
    refused: u64,
    dispatched: u64,
    invokes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    arrived: Time,
    bytes: u32,
    attempts: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting(Place),
    Running(InstanceId),
    /// It failed in a way that leaves only a refusal.
    Lost,
}

/// Where somebody waits: first those that came back, then the others, both in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_new: bool,
    arrived: Time,
    lined: u64,
}

#[derive(Clone, Copy, Debug)]
struct Instance {
    invoke_ended: bool,
    may_come: bool,
    attached: bool,
    was_attached: bool,
    leaving: bool,
    slots: u32,
    busy: u32,
    /// The latest that work may be placed on it, in good times; and in bad ones.
    usable_until: Time,
    lease_end: Time,
    /// Nothing could be started in its place at some time since it attached.
    may_stay: bool,
    paused_until: Time,
    /// When it was asked for a sign of life that it still owes.
    pinged: Option<Time>,
    invoked: Time,
}

impl Instance {
    const fn is_ready(&self) -> bool {
        self.attached && !self.leaving
    }

    /// Whether it could be given a request at `now`.
    fn is_free(&self, now: Time) -> bool {
        let until = if self.may_stay { self.lease_end } else { self.usable_until };
        let usable = self.is_ready() && now < until && now >= self.paused_until;
        usable && self.busy < self.slots
    }

    /// Whether there is nothing of it left that the dispatcher could still be told about.
    const fn is_over(&self) -> bool {
        self.invoke_ended && !self.may_come && !self.attached && self.busy == 0
    }
}

/// Notes the first thing that does not hold.
macro_rules! ensure {
    ($self:ident, $holds:expr, $($message:tt)+) => {
        if !$holds && $self.broken.is_none() {
            let message = format!($($message)+);
            $self.broken = Some(format!("at {}: {message}", $self.now));
        }
    };
}

impl Oracle {
    /// Books of a dispatcher that was made at `now` with these limits.
    #[must_use]
    pub fn new(limits: Limits, now: Time) -> Self {
        Self {
            limits,
            instances_min: limits.instances_min,
            instances_max: limits.instances_max,
            began: now,
            now,
            requests: BTreeMap::new(),
            line: BTreeMap::new(),
            lined: 0,
            running: 0,
            instances: BTreeMap::new(),
            names: BTreeMap::new(),
            was_failing: false,
            started_for_nobody: None,
            turned_away: None,
            decided: None,
            late: None,
            pings: VecDeque::new(),
            tokens: u128::from(limits.invokes_burst) * BILLION,
            tokens_at: now,
            steps: 0,
            counts: Counts::default(),
            instance_time: Duration::ZERO,
            draining: false,
            stopped: false,
            broken: None,
        }
    }

    /// The first thing that did not hold, if any.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Requests that have arrived and not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.requests.len()
    }

    /// The dispatcher is about to be told `input`.
    pub fn input(&mut self, now: Time, input: &Input) {
        ensure!(self, now >= self.now, "the driver's time went back to {now}");
        self.now = now;
        match *input {
            Input::GoAwayReceived { instance } => {
                if let Some(there) = self.instances.get_mut(&instance) {
                    there.leaving |= there.attached;
                }
            }
            Input::InstanceAttached { instance, slots, lease, .. } => {
                self.attached(instance, slots, lease);
            }
            Input::InstanceLost { instance } => self.detached(instance),
            Input::InvokeEnded { instance, outcome } => self.invoke_ended(instance, outcome),
            // Nothing holds for it that does not hold for others.
            Input::LeaveAsked { .. } => {}
            Input::LimitsChanged { instances_min, instances_max } => {
                self.instances_max = instances_max;
                self.instances_min = instances_min.min(instances_max);
            }
            Input::PongReceived { instance } => {
                if let Some(there) = self.instances.get_mut(&instance) {
                    there.pinged = None;
                }
            }
            Input::RequestArrived { request, bytes } => self.arrived(request, bytes),
            Input::RequestCancelled { request } => self.cancelled(request),
            Input::RequestEnded { request, ending } => self.ended(request, ending),
            Input::ShutdownRequested { .. } => self.draining = true,
            Input::SlotsOffered { instance, slots } => {
                if let Some(there) = self.instances.get_mut(&instance).filter(|it| it.attached) {
                    there.slots = slots.min(dispatch_model::SLOTS_MAX);
                }
            }
        }
    }

    fn arrived(&mut self, request: RequestId, bytes: u32) {
        self.counts.arrived += 1;
        self.lined += 1;
        let place = Place { is_new: true, arrived: self.now, lined: self.lined };
        let stage = Stage::Waiting(place);
        let new = Request { arrived: self.now, bytes, attempts: 0, stage };
        let old = self.requests.insert(request, new);
        ensure!(self, old.is_none(), "(1) {request} arrived twice");
        self.line.insert(place, request);
    }

    fn cancelled(&mut self, request: RequestId) {
        if let Some(gone) = self.requests.remove(&request) {
            self.counts.cancelled += 1;
            self.leave(gone.stage);
        }
    }

    /// Takes a request out of the line, or off its instance.
    fn leave(&mut self, stage: Stage) {
        match stage {
            Stage::Waiting(place) => {
                self.line.remove(&place);
            }
            Stage::Running(instance) => {
                self.running -= 1;
                if let Some(there) = self.instances.get_mut(&instance) {
                    there.busy -= 1;
                }
                self.forget_if_over(instance);
            }
            Stage::Lost => {}
        }
    }

    fn ended(&mut self, request: RequestId, ending: Ending) {
        let Some(entry) = self.requests.get(&request).copied() else { return };
        let Stage::Running(instance) = entry.stage else { return };
        let repeats = match ending {
            Ending::Served | Ending::Unread => {
                if let Some(there) = self.instances.get_mut(&instance) {
                    there.paused_until = Time::ZERO;
                }
                if ending == Ending::Served {
                    self.counts.served += 1;
                } else {
                    self.counts.cancelled += 1;
                }
                self.requests.remove(&request);
                return self.leave(entry.stage);
            }
            Ending::TimedOut => false,
            Ending::Undelivered => {
                if let Some(there) = self.instances.get_mut(&instance) {
                    there.paused_until = self.now + PAUSE;
                }
                entry.attempts <= u32::from(self.limits.redispatch_max)
            }
            Ending::Unknown { repeatable } => {
                repeatable && self.limits.retry_repeatable && entry.attempts == 1
            }
        };
        self.leave(entry.stage);
        let stage = if repeats {
            self.lined += 1;
            let place = Place { is_new: false, arrived: entry.arrived, lined: self.lined };
            self.line.insert(place, request);
            Stage::Waiting(place)
        } else {
            Stage::Lost
        };
        self.requests.insert(request, Request { stage, ..entry });
    }

    fn attached(&mut self, instance: InstanceId, slots: u32, lease: Duration) {
        let now = self.now;
        let margin = self.limits.placement_margin.min(lease / 4);
        if let Some(there) = self.instances.get_mut(&instance).filter(|it| !it.was_attached) {
            there.attached = true;
            there.may_come = false;
            there.was_attached = true;
            there.slots = slots.min(dispatch_model::SLOTS_MAX);
            there.usable_until = (now + lease).saturating_sub(margin);
            there.lease_end = now + lease;
        }
    }

    fn detached(&mut self, instance: InstanceId) {
        if let Some(there) = self.instances.get_mut(&instance) {
            there.attached = false;
            there.pinged = None;
        }
        self.forget_if_over(instance);
    }

    fn invoke_ended(&mut self, instance: InstanceId, outcome: InvokeOutcome) {
        let now = self.now;
        if let Some(there) = self.instances.get_mut(&instance).filter(|it| !it.invoke_ended) {
            self.instance_time += now.saturating_since(there.invoked);
            there.invoke_ended = true;
            // It may be running and still come, once.
            there.may_come = outcome == InvokeOutcome::Unknown && !there.was_attached;
            // Whoever says that nothing runs is wrong about one that is there.
            let has_run = matches!(
                outcome,
                InvokeOutcome::Returned | InvokeOutcome::Crashed | InvokeOutcome::TimedOut
            );
            there.leaving |= there.attached && has_run;
        }
        self.forget_if_over(instance);
    }

    fn forget_if_over(&mut self, instance: InstanceId) {
        if self.instances.get(&instance).is_some_and(Instance::is_over) {
            self.instances.remove(&instance);
        }
    }

    /// The dispatcher has asked for `output`.
    pub fn output(&mut self, now: Time, output: &Output) {
        ensure!(self, now >= self.now, "the driver's time went back to {now}");
        self.now = now;
        match *output {
            Output::Close { instance } => self.detached(instance),
            Output::Decided(decision) => {
                self.decided = Some(decision.why);
                let max = self.instances_max.max(decision.from);
                ensure!(self, decision.to <= max, "(9) {decision} with at most {max}");
                ensure!(self, decision.from != decision.to, "(9) nothing decided: {decision}");
            }
            Output::Dispatch { request, instance, waited, cold_exposed } => {
                self.dispatched(request, instance, waited, cold_exposed);
            }
            Output::GoAway { instance, reason } => self.sent_away(instance, reason),
            Output::Invoke { instance } => self.invoked(instance),
            Output::Ping { instance } => {
                let there = self.instances.get_mut(&instance).filter(|it| it.attached);
                let quiet = there.is_some_and(|it| it.pinged.replace(now).is_none());
                ensure!(self, quiet, "(8) {instance} is pinged, which is gone or was just asked");
                self.pings.push_back((now, instance));
            }
            Output::Refuse { request, reason, retry_after_s } => {
                self.refused(request, reason, retry_after_s);
            }
            Output::Stopped => {
                ensure!(self, !self.stopped, "(1) stopped twice");
                ensure!(self, self.draining, "(1) stopped without having been told to");
                self.stopped = true;
                let attached = self.instances.values().filter(|it| it.attached).count();
                ensure!(self, attached == 0, "(8) stopped with {attached} instances attached");
                ensure!(self, self.line.is_empty(), "(1) stopped with {} queued", self.line.len());
            }
        }
    }

    fn dispatched(
        &mut self,
        request: RequestId,
        instance: InstanceId,
        waited: Duration,
        cold: bool,
    ) {
        let now = self.now;
        self.counts.dispatched += 1;
        let front = self.line.first_key_value().map(|(_, first)| *first);
        ensure!(self, front == Some(request), "(6) {request} goes before {front:?}");
        let Some(entry) = self.requests.get_mut(&request) else {
            ensure!(self, false, "(1) {request} is dispatched and does not live");
            return;
        };
        entry.attempts += 1;
        let (stage, attempts, arrived) = (entry.stage, entry.attempts, entry.arrived);
        entry.stage = Stage::Running(instance);
        let Stage::Waiting(place) = stage else {
            ensure!(self, false, "(2) {request} is dispatched to {instance} and is {stage:?}");
            return;
        };
        self.line.remove(&place);
        self.running += 1;
        let most = u32::from(self.limits.redispatch_max) + 2;
        ensure!(self, attempts <= most, "(2) {request} is dispatched for the {attempts}th time");
        let true_wait = now.saturating_since(arrived);
        ensure!(self, waited == true_wait, "(8) {request} waited {true_wait:?}, not {waited:?}");
        if let Some(known) = self.limits.cold_start {
            ensure!(self, cold == (waited >= known), "(8) {request} waited {waited:?}: {cold}");
        }
        let Some(there) = self.instances.get_mut(&instance) else {
            ensure!(self, false, "(5) {request} goes to {instance}, of which nothing is known");
            return;
        };
        let seen = *there;
        there.busy += 1;
        ensure!(self, seen.busy < seen.slots, "(4) {request} is one too many for {seen:?}");
        if seen.is_free(now) {
            return;
        }
        let seen = Instance { may_stay: true, ..seen };
        ensure!(self, seen.is_free(now), "(5) {request} goes to {instance}: {seen:?}");
        // Whether starts fail, which would allow it, shows when the step is over.
        self.late = Some((request, instance));
    }

    fn sent_away(&mut self, instance: InstanceId, reason: GoAwayReason) {
        let there = self.instances.get_mut(&instance);
        let known = there.map(|it| (it.attached, std::mem::replace(&mut it.leaving, true)));
        let fits = match reason {
            GoAwayReason::Silent => known.is_some_and(|(attached, _)| attached),
            GoAwayReason::Hung
            | GoAwayReason::LeaseEnding
            | GoAwayReason::Shutdown
            | GoAwayReason::Surplus => known == Some((true, false)),
        };
        ensure!(self, fits, "(5) {instance} is sent away ({reason:?}): {known:?}");
        if reason == GoAwayReason::Surplus {
            let left = self.instances.values().filter(|it| it.is_ready()).count();
            // Whoever waits, there are no more than the operator's bound or a spent budget allows.
            let budget = self.limits.budget.filter(|_| self.decided == Some(Why::Budget));
            let max = budget.map_or(self.instances_max, Budget::instances).min(self.instances_max);
            let queued = self.line.len();
            ensure!(
                self,
                queued == 0 || left >= max as usize,
                "(9) {instance} is surplus while {queued} wait: {left} of at most {max} serve"
            );
            let min = self.instances_min as usize;
            // A budget may not pay for as many, and who stops needs none.
            if min > 0 && self.limits.budget.is_none() && !self.draining {
                ensure!(self, left >= min, "(9) {instance} is surplus: {left} of {min} serve");
            }
        }
    }

    fn invoked(&mut self, instance: InstanceId) {
        self.counts.invokes += 1;
        let new = Instance {
            invoke_ended: false,
            may_come: false,
            attached: false,
            was_attached: false,
            leaving: false,
            slots: 0,
            busy: 0,
            usable_until: Time::ZERO,
            lease_end: Time::ZERO,
            may_stay: false,
            paused_until: Time::ZERO,
            pinged: None,
            invoked: self.now,
        };
        self.instances.insert(instance, new);
        let last = self.names.insert(instance.index(), instance);
        let is_new = last.is_none_or(|last| last.generation() < instance.generation());
        ensure!(self, is_new, "(8) {instance} is invoked after {last:?} was");
        if self.line.is_empty() && self.turned_away.is_none() {
            self.started_for_nobody = Some(instance);
        }
        ensure!(self, !self.stopped, "(10) {instance} is invoked after the end");
        let (all, max) = (self.instances.len(), self.instances_max);
        ensure!(self, all <= max as usize, "(9) {all} instances of at most {max}");
        let span = u128::from(nanos(self.now.saturating_since(self.tokens_at)));
        self.tokens_at = self.now;
        let full = u128::from(self.limits.invokes_burst) * BILLION;
        self.tokens = full.min(self.tokens + span * u128::from(self.limits.invokes_per_second));
        let allowed = self.tokens >= BILLION;
        ensure!(self, allowed, "(10) {instance} is invoked beyond the rate allowed");
        self.tokens = self.tokens.saturating_sub(BILLION);
        if let Some(budget) = self.limits.budget {
            let (spent, allowed) = self.spent_of(budget);
            ensure!(
                self,
                spent <= allowed || all <= budget.instances() as usize,
                "(10) {instance} is invoked though {spent} of {allowed} picodollars are spent"
            );
        }
    }

    /// Picodollars that instances have cost, and that they may have: an hour's credit and what
    /// came in since, as if none of it had been lost for being more than an hour's.
    fn spent_of(&self, budget: Budget) -> (u128, u128) {
        let running = self.instances.values().filter(|it| !it.invoke_ended);
        let running = running.map(|it| self.now.saturating_since(it.invoked));
        let time = self.instance_time + running.sum::<Duration>();
        let price = u128::from(budget.picodollars_per_instance_second);
        let an_hour = Duration::from_secs(3_600);
        let paid = an_hour + self.now.saturating_since(self.began);
        let rate = u128::from(budget.picodollars_per_hour());
        (time.as_nanos() * price / BILLION, paid.as_nanos() * rate / an_hour.as_nanos())
    }

    fn refused(&mut self, request: RequestId, reason: RefuseReason, retry_after_s: u16) {
        let Some(gone) = self.requests.remove(&request) else {
            ensure!(self, false, "(1) {request} is refused ({reason:?}) and does not live");
            return;
        };
        self.counts.refused += 1;
        let running = matches!(gone.stage, Stage::Running(_));
        ensure!(self, !running, "(1) {request} is refused ({reason:?}) while it runs");
        let queued = self.line.len();
        let waited = self.now.saturating_since(gone.arrived);
        let fits = match reason {
            RefuseReason::Failed | RefuseReason::LeaseEnded | RefuseReason::ResponseTimeout => true,
            RefuseReason::Undeliverable => gone.attempts > 0,
            RefuseReason::QueueTimeout => waited >= self.limits.queue_timeout,
            RefuseReason::QueueLength => queued > self.limits.queue_len_max as usize,
            // Whoever finds a slot as soon as it is there waits for nobody.
            RefuseReason::PredictedWait => {
                let all = queued as u64 + u64::from(self.running);
                waited.is_zero() && queued > 1 && all > self.slots_most()
            }
            RefuseReason::QueueBytes => {
                let others = self.line.values().filter_map(|id| self.requests.get(id));
                let bytes: u64 = others.chain([&gone]).map(|it| u64::from(it.bytes)).sum();
                waited.is_zero() && bytes > self.limits.queue_bytes_max
            }
            RefuseReason::ShuttingDown => self.draining,
            // Somebody who is there has room, or will have, and is paid for until it leaves.
            RefuseReason::OverBudget => self.limits.budget.is_some() && self.instances.is_empty(),
            RefuseReason::Unavailable => !self.instances.values().any(Instance::is_ready),
        };
        ensure!(
            self,
            fits,
            "(13) {request} is refused ({reason:?}) after {waited:?}, {queued} queued"
        );
        ensure!(self, retry_after_s <= 60, "(13) {request} is told to wait {retry_after_s} s");
        let no_room = matches!(
            reason,
            RefuseReason::PredictedWait | RefuseReason::QueueBytes | RefuseReason::QueueLength
        );
        if no_room {
            self.turned_away = Some(self.now);
        }
        self.leave(gone.stage);
    }

    /// All the slots that there may be.
    fn slots_most(&self) -> u64 {
        let most = u64::from(self.instances_max) * u64::from(self.limits.slots);
        let ready = self.instances.values().filter(|it| it.is_ready());
        most.max(ready.map(|it| u64::from(it.slots)).sum())
    }

    /// All outputs that were due are out: compares the books with the dispatcher's.
    pub fn settled(&mut self, now: Time, model: &Dispatcher) {
        ensure!(self, now >= self.now, "the driver's time went back to {now}");
        self.now = now;
        self.steps += 1;
        let gauges = model.gauges();
        let (queued, running) = (self.line.len(), self.running);
        ensure!(self, gauges.queued as usize == queued, "(8) {queued} queued, not {gauges:?}");
        ensure!(self, gauges.running == running, "(8) {running} running, not {gauges:?}");
        let (desired, most) = (gauges.desired, self.instances_max);
        ensure!(self, desired <= most, "(9) {desired} instances are desired of at most {most}");
        let late = self.late.take().filter(|_| !gauges.starts_fail);
        ensure!(self, late.is_none(), "(5) {late:?} at the end of its lease though starts work");
        if gauges.starts_fail {
            self.instances.values_mut().for_each(|it| it.may_stay = true);
        }
        // What is due comes first in a step, and such a step is over now.
        self.turned_away = self.turned_away.filter(|at| now < *at + LOOKS_EVERY);
        let for_nobody = self.started_for_nobody.take();
        let fails = std::mem::replace(&mut self.was_failing, gauges.breaker_open);
        if let Some(instance) = for_nobody.filter(|_| fails && gauges.breaker_open) {
            ensure!(self, false, "(10) {instance} is invoked for nobody though the function fails");
        }
        let live = self.requests.len();
        let lost = live - queued - running as usize;
        ensure!(self, lost == 0, "(1) {lost} requests failed and were not answered");
        let max = self.limits.queue_len_max as usize;
        let waiting = self.line.keys().filter(|place| place.is_new).count();
        ensure!(self, waiting <= max, "(13) {waiting} wait of at most {max}");
        let books = self.counts;
        let theirs = model.stats();
        let equal = books.arrived == theirs.arrived
            && books.served == theirs.served
            && books.refused == theirs.refused
            && books.cancelled == theirs.cancelled
            && books.dispatched == theirs.dispatched
            && books.invokes == theirs.invokes;
        ensure!(self, equal, "(8) {books:?}, not {theirs:?}");
        let (time, same) = (self.instance_time, theirs.instance_time == self.instance_time);
        ensure!(self, same, "(11) instances ran for {time:?}, not {:?}", theirs.instance_time);
        let ended = books.served + books.refused + books.cancelled;
        ensure!(self, books.arrived == ended + live as u64, "(1) {books:?} and {live} live");
        self.check_pings();
        if let Some(timeout) = model.poll_timeout() {
            ensure!(self, timeout.at > now, "{timeout:?} is due and will not fire");
        }
        // A crowd of instances is looked through now and then, a few always.
        if self.instances.len() <= FEW || self.steps.is_multiple_of(FEW as u64) {
            self.check_instances(&gauges);
        }
    }

    fn check_instances(&mut self, gauges: &dispatch_model::Gauges) {
        let ready = self.instances.values().filter(|it| it.is_ready());
        let (mut count, mut slots, mut busy) = (0, 0, 0);
        for there in ready {
            count += 1;
            slots += there.slots;
            busy += there.busy;
        }
        let theirs = (gauges.ready, gauges.slots, gauges.slots_busy);
        ensure!(
            self,
            (count, slots, busy) == theirs,
            "(3) {count} with {busy} of {slots}: {gauges:?}"
        );
        let all: u32 = self.instances.values().map(|it| it.busy).sum();
        let running = self.running;
        ensure!(self, all == running, "(3) {running} run, on instances {all}");
        if let Some((_, first)) = self.line.first_key_value() {
            let now = self.now;
            let free = self.instances.iter().find(|(_, it)| it.is_free(now)).map(|(id, _)| id);
            ensure!(self, free.is_none(), "(7) {first} waits while {free:?} has a free slot");
            let oldest = self.line.values().take(FEW).filter_map(|id| self.requests.get(id));
            let oldest = oldest.map(|it| it.arrived).min().unwrap_or(now);
            let waited = now.saturating_since(oldest);
            let max = self.limits.queue_timeout;
            ensure!(self, waited < max, "(13) somebody has waited {waited:?} of at most {max:?}");
        }
    }

    /// Who does not answer for too long is not attached any more.
    fn check_pings(&mut self) {
        while let Some((at, instance)) = self.pings.front().copied() {
            let there = self.instances.get(&instance);
            let open = there.is_some_and(|it| it.attached && it.pinged == Some(at));
            if open && self.now < at + self.limits.ping_timeout {
                return;
            }
            ensure!(self, !open, "(5) {instance} is silent since {at} and still attached");
            self.pings.pop_front();
        }
    }
}

const BILLION: u128 = 1_000_000_000;
/// How long an instance that gave a request back is left alone.
const PAUSE: Duration = Duration::from_millis(500);
/// The number of instances is looked at as often at least while anybody comes.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
const FEW: usize = 64;
