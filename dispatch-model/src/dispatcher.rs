//! The router's machine: which request goes to which instance, and how many instances there are.
//!
//! One [`Dispatcher`] serves one pool. Its driver tells it what happened ([`Input`]) and does what
//! it asks for ([`Output`]). It knows requests and instances by name only: no bytes, no sockets, no
//! clock. So the same value runs in production, in the simulators, in the fuzzer and in the
//! capacity reports.
//!
//! A request that arrives takes the best free slot; without one it waits in line. A slot that
//! becomes free, on whichever instance, takes the first in line. Every 100 ms while there is
//! anything to decide, and when a request has to wait, the machine decides how many instances there
//! should be; [`guard`](self) bounds what that may cost when the function fails.

mod config;
mod estimate;
mod formula;
mod guard;
mod input;
mod instances;
mod invariants;
mod lease;
mod output;
mod requests;
mod scale;
pub mod scaling;
mod stats;
mod tail;
mod warm;

use alloc::collections::VecDeque;
use core::time::Duration;

pub use config::{Budget, Config, ConfigError, Limits, Matching, SLOTS_MAX, Scaling};
pub use input::{Ending, Input, InvokeOutcome};
pub use instances::State as InstanceState;
pub use output::{Decision, GoAwayReason, Output, RefuseReason, Why};
pub use stats::{Gauges, InstanceView, Stats};

use crate::ids::{InstanceId, RequestId};
use crate::prng::Prng;
use crate::time::{Time, nanos};
use crate::timers::Timers;

use estimate::Estimate;
use formula::Formula;
use guard::{Bucket, Guard};
use instances::{Instances, State};
use requests::{Request, Requests, Stage};
use warm::Warm;

/// What a [`Dispatcher`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// When [`Dispatcher::handle_timeout`] is due.
    pub at: Time,
    /// Why; for traces.
    pub timer: Timer,
}

/// Why a [`Dispatcher`] wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Timer {
    /// The time given for shutdown is over.
    DrainEnd,
    /// The next stage of an instance's life: it should have attached, its lease nears its end, or
    /// is over.
    Lease(InstanceId),
    /// An instance owes or is due a sign of life.
    Ping(InstanceId),
    /// The first in line has waited as long as it may.
    QueueTimeout,
    /// An instance that gave a request back may be tried again.
    Resume(InstanceId),
    /// The number of instances is looked at.
    Scale,
}

/// The machine of one pool.
///
/// With the feature `serde` it can be written down at any moment and goes on, when it is read
/// again, exactly as it would have. Whoever reads one trusts who wrote it: only the limits in it
/// are checked.
///
/// The contract with whoever drives it:
/// 1. `now` never goes back; a driver that does it has a bug, and this panics.
/// 2. Timers due at or before `now` fire before the input that came with it.
/// 3. Outputs come in the order in which they must be done; doing them late is slow, never wrong.
/// 4. Once the outputs are drained, `poll_timeout()` is `None` or later than `now`.
/// 5. Same config, same seed, same inputs: same outputs, on every platform.
///
/// ```
/// use core::time::Duration;
/// use dispatch_model::{Config, Dispatcher, Input, InstanceId, Limits, Output, RequestId, Time};
///
/// let config = Config::new(Limits::default()).unwrap();
/// let mut model = Dispatcher::new(config, 7, Time::ZERO);
/// let request = RequestId::new(0, 0);
/// model.handle_input(Time::ZERO, Input::RequestArrived { request, bytes: 500 });
/// assert!(matches!(model.poll_output(), Some(Output::Decided(_))));
/// let Some(Output::Invoke { instance }) = model.poll_output() else { panic!() };
///
/// let now = Time::from_millis(900);
/// let lease = Duration::from_secs(60);
/// model.handle_input(now, Input::InstanceAttached { instance, slots: 10, lease, cold: true });
/// assert!(matches!(model.poll_output(), Some(Output::Dispatch { .. })));
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dispatcher {
    config: Config,
    instances_min: u32,
    instances_max: u32,
    now: Time,
    prng: Prng,
    requests: Requests,
    instances: Instances,
    timers: Timers<Timer>,
    /// When [`Timer::Scale`] is due, if it runs.
    scale_at: Option<Time>,
    /// When the number of instances was last looked at.
    scaled: Option<Time>,
    estimate: Estimate,
    formula: Formula,
    guard: Guard,
    /// What may be spent on re-dispatches.
    redispatches: Bucket,
    /// No instance that hangs is sent away before then.
    hung_not_before: Time,
    /// Frozen environments that should be there.
    warm: Warm,
    /// Fewer instances are enough since then; the most that were enough in that time.
    surplus: Option<(Time, u32)>,
    /// When a slot was last taken or given back, or anything queued, turned away or running at a
    /// tick.
    last_busy: Time,
    /// Requests that found no room to wait since the number of instances was last looked at.
    turned_away: u32,
    /// Until when somebody may come again who found no room to wait and nobody there.
    awaited_until: Time,
    desired: u32,
    shutdown: Shutdown,
    outputs: VecDeque<Output>,
    stats: Stats,
}

/// How far a shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Shutdown {
    No,
    Draining,
    Done,
}

impl Dispatcher {
    /// A pool without instances or requests. `seed` decides every choice that is left to chance.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let mut new = Self {
            config,
            instances_min: config.instances_min,
            instances_max: config.instances_max,
            now,
            prng: Prng::new(seed),
            requests: Requests::new(),
            instances: Instances::new(config.matching),
            timers: Timers::new(),
            scale_at: None,
            scaled: None,
            estimate: Estimate::new(config.cold_start, now),
            formula: Formula::new(now),
            guard: Guard::new(&config, now),
            redispatches: Bucket::full(REDISPATCH_CREDIT, 3 * REDISPATCH, now),
            hung_not_before: now,
            warm: Warm::NONE,
            surplus: None,
            last_busy: now,
            turned_away: 0,
            awaited_until: now,
            desired: 0,
            shutdown: Shutdown::No,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        };
        if config.instances_min > 0 {
            new.scale();
        }
        new
    }

    /// Takes note of `input`, which happened at `now`.
    ///
    /// # Panics
    ///
    /// `now` is earlier than before, or a request arrives under the name of a live one: bugs of the
    /// driver.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        self.handle_timeout(now);
        match input {
            Input::GoAwayReceived { instance } => self.go_away_received(instance),
            Input::InstanceAttached { instance, slots, lease, cold } => {
                self.attached(instance, slots, lease, cold);
            }
            Input::InstanceLost { instance } => self.lost(instance),
            Input::InvokeEnded { instance, outcome } => self.invoke_ended(instance, outcome),
            Input::LeaveAsked { instance, patience } => self.leave_asked(instance, patience),
            Input::LimitsChanged { instances_min, instances_max } => {
                self.instances_max = instances_max;
                self.instances_min = instances_min.min(instances_max);
                self.scale();
            }
            Input::PongReceived { instance } => self.pong(instance),
            Input::RequestArrived { request, bytes } => self.arrived(request, bytes),
            Input::RequestCancelled { request } => self.cancelled(request),
            Input::RequestEnded { request, ending } => self.ended(request, ending),
            Input::ShutdownRequested { drain } => self.shut_down(drain),
            Input::SlotsOffered { instance, slots } => self.slots_offered(instance, slots),
        }
        if self.shutdown == Shutdown::Draining {
            self.go_on_draining();
        }
    }

    /// Lets `now` be and fires what is due.
    ///
    /// # Panics
    ///
    /// `now` is earlier than before: a bug of the driver.
    pub fn handle_timeout(&mut self, now: Time) {
        assert!(now >= self.now, "time went back from {} to {now}", self.now);
        self.now = now;
        let mut fired = false;
        while let Some(timeout) = self.poll_timeout().filter(|timeout| timeout.at <= now) {
            self.fire(timeout);
            fired = true;
        }
        if fired && self.shutdown == Shutdown::Draining {
            self.go_on_draining();
        }
    }

    /// The next thing to do, if there is any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`] if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timeout> {
        let timer = self.timers.next().map(|(at, timer)| Timeout { at, timer });
        let queue = self.requests.oldest_queued().map(|request| Timeout {
            at: request.arrived + self.config.queue_timeout,
            timer: Timer::QueueTimeout,
        });
        match (timer, queue) {
            (Some(timer), Some(queue)) if queue.at < timer.at => Some(queue),
            (None, queue) => queue,
            (timer, _) => timer,
        }
    }

    /// What it has done so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How it stands now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let counts = self.instances.counts();
        let oldest = self.requests.oldest_queued();
        Gauges {
            queued: self.requests.queued(),
            queued_bytes: self.requests.queued_bytes(),
            oldest_wait: oldest.map_or(Duration::ZERO, |it| self.now.saturating_since(it.arrived)),
            running: self.requests.running(),
            slots: counts.slots,
            slots_busy: counts.busy,
            starting: counts.starting,
            ready: counts.ready,
            draining: counts.draining,
            detached: counts.detached,
            desired: self.desired,
            service: self.estimate.service(),
            cold_start: self.estimate.cold_start(),
            breaker_open: self.guard.is_open(),
            starts_fail: self.guard.starts_fail(),
        }
    }

    /// Every instance of which something is left, in an order that means nothing. Linear: for
    /// whoever looks, not for whoever counts.
    pub fn instances(&self) -> impl Iterator<Item = InstanceView> + '_ {
        self.instances.iter().map(InstanceView::from)
    }

    /// Whether an instance should find a frozen environment: what is to be believed of one that
    /// does not say whether it did.
    #[must_use]
    pub fn expects_warm(&self, instance: InstanceId) -> bool {
        self.instances.get(instance).is_some_and(|entry| entry.expected_warm)
    }

    fn fire(&mut self, timeout: Timeout) {
        if timeout.timer == Timer::QueueTimeout {
            if let Some(request) = self.requests.oldest_queued() {
                self.refuse(request.id, RefuseReason::QueueTimeout);
            }
            return;
        }
        self.timers.clear(timeout.at, timeout.timer);
        match timeout.timer {
            Timer::DrainEnd => self.stop(),
            Timer::Lease(instance) => self.lease_due(instance),
            Timer::Ping(instance) => self.ping_due(instance),
            Timer::QueueTimeout => {}
            Timer::Resume(instance) => {
                self.instances.update(instance, |entry| {
                    entry.resume_timer = Time::MAX;
                    entry.paused = false;
                });
                self.pump();
            }
            Timer::Scale => {
                self.scale_at = None;
                self.scale();
            }
        }
    }

    fn arrived(&mut self, request: RequestId, bytes: u32) {
        self.stats.arrived += 1;
        self.estimate.arrived();
        self.formula.arrived();
        self.arm_scale();
        if self.requests.queued() == 0
            && let Some(instance) = self.pick()
        {
            self.requests.run_new(request, bytes, instance, self.now);
            self.dispatch(request, instance, self.now);
            return;
        }
        self.requests.enqueue(request, bytes, self.now);
        self.tell_formula();
        let refused = self.overflow();
        // Who finds no room in the queue is demand all the same: where nobody may wait, nobody else
        // would ever have an instance started.
        let is_demand = refused.is_none_or(|reason| {
            reason != RefuseReason::Unavailable && self.shutdown == Shutdown::No
        });
        if is_demand {
            let soonest = self.scaled.map(|at| at + SCALE_AT_MOST_EVERY);
            let counts = self.instances.counts();
            match soonest.filter(|soonest| *soonest > self.now) {
                None => self.scale(),
                Some(soonest) => {
                    // The next look does not find in the queue who is refused now.
                    self.turned_away += u32::from(refused.is_some());
                    // Whoever has nobody to wait for does not wait for the next tick.
                    if counts.ready + counts.starting == 0 {
                        self.scale_by(soonest);
                    }
                }
            }
        }
        // A budget that is spent may have had the last word by now.
        match refused.filter(|_| self.requests.get(request).is_some()) {
            Some(reason) => self.refuse(request, reason),
            None => self.pump(),
        }
    }

    /// Why the request that was queued last should not be.
    fn overflow(&self) -> Option<RefuseReason> {
        let capacity = self.instances.counts();
        if self.shutdown == Shutdown::Done {
            Some(RefuseReason::ShuttingDown)
        } else if capacity.ready == 0
            && self.guard.is_open()
            && (capacity.starting > 0 || self.guard.closed_until(self.now).is_some())
        {
            Some(RefuseReason::Unavailable)
        } else if self.requests.queued() > self.config.queue_len_max {
            Some(RefuseReason::QueueLength)
        } else if self.requests.queued_bytes() > self.config.queue_bytes_max {
            Some(RefuseReason::QueueBytes)
        } else if self.would_wait_too_long() {
            Some(RefuseReason::PredictedWait)
        } else {
            None
        }
    }

    /// Whether the last in line would wait for as long as it may, at best: until all the slots that
    /// there may be have served those before it. If none of these needs one of the slots, it does
    /// not wait for them, however long they take. A cold start is not counted, or nothing would
    /// ever start where it takes longer than the time-out.
    fn would_wait_too_long(&self) -> bool {
        let ahead = self.requests.queued() - 1;
        let free = self.slots_most().saturating_sub(self.requests.running().into());
        let may = u128::from(self.slots_most()) * u128::from(nanos(self.config.queue_timeout));
        u64::from(ahead) >= free && self.work(ahead) >= may
    }

    /// When it may help who finds no room to wait to come again: once all that waits has a slot,
    /// and where nobody serves not before a start is over. What is started for nobody else is then
    /// kept for as long again: clients are told whole seconds, and are no more exact than starts.
    fn room_after(&mut self) -> Duration {
        let wait = self.predicted_wait().max(A_SECOND);
        if self.instances.counts().ready > 0 {
            return wait;
        }
        let cold_start = self.estimate.cold_start();
        let wait = wait.max(self.paused_for().unwrap_or_default().saturating_add(cold_start));
        if self.requests.queued() == 0 {
            self.awaited_until = self.now + wait + cold_start + A_SECOND;
        }
        wait
    }

    /// How long nothing may be started yet.
    fn paused_for(&self) -> Option<Duration> {
        self.guard.closed_until(self.now).map(|until| until.saturating_since(self.now))
    }

    /// How long it takes at best until all that waits has a slot.
    fn predicted_wait(&self) -> Duration {
        let wait = self.work(self.requests.queued()) / u128::from(self.slots_most());
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    /// What so many requests are to do, in nanoseconds of one slot.
    fn work(&self, requests: u32) -> u128 {
        u128::from(requests) * u128::from(nanos(self.estimate.service()))
    }

    /// All the slots that there may be; 1 at least.
    fn slots_most(&self) -> u64 {
        let most = u64::from(self.instances_max) * u64::from(self.config.slots);
        most.max(self.instances.counts().slots.into()).max(1)
    }

    fn cancelled(&mut self, request: RequestId) {
        let Some(entry) = self.requests.remove(request) else {
            self.stats.stale_inputs += 1;
            return;
        };
        self.stats.cancelled += 1;
        match (entry.stage, entry.instance) {
            (Stage::Running, Some(instance)) => self.free_slot(instance),
            (Stage::Running | Stage::Returned | Stage::Waiting, _) => self.pump(),
        }
    }

    fn ended(&mut self, request: RequestId, ending: Ending) {
        let running = self.requests.get(request).filter(|entry| entry.stage == Stage::Running);
        let Some((entry, instance)) = running.and_then(|entry| Some((*entry, entry.instance?)))
        else {
            self.stats.stale_inputs += 1;
            return;
        };
        match ending {
            Ending::Served => {
                let took = self.now.saturating_since(entry.dispatched);
                self.requests.remove(request);
                self.stats.served += 1;
                self.estimate.served(took);
                self.formula.ended(took);
                self.note_served(instance);
            }
            // How long it would have taken is not known.
            Ending::Unread => {
                self.requests.remove(request);
                self.stats.cancelled += 1;
                self.note_served(instance);
            }
            Ending::TimedOut => {
                self.stats.failed += 1;
                self.refuse(request, RefuseReason::ResponseTimeout);
                self.note_timed_out(instance);
            }
            Ending::Undelivered => {
                self.pause(instance);
                let may = entry.attempts <= self.config.redispatch_max;
                if !(may && self.give_back(&entry)) {
                    self.refuse(request, self.unless_stopped(RefuseReason::Undeliverable));
                }
            }
            Ending::Unknown { repeatable } => {
                let may = repeatable && self.config.retry_repeatable && entry.attempts == 1;
                if !(may && self.give_back(&entry)) {
                    self.stats.failed += 1;
                    let over = self.is_cut_at_its_end(instance, self.now);
                    let reason = if over { RefuseReason::LeaseEnded } else { RefuseReason::Failed };
                    self.refuse(request, self.unless_stopped(reason));
                }
            }
        }
        self.free_slot(instance);
    }

    /// Puts a running request back to the front of the queue, if its time and the budget for
    /// repeats allow that.
    fn give_back(&mut self, request: &Request) -> bool {
        let in_time = self.now < request.arrived + self.config.queue_timeout;
        let may = in_time
            && self.shutdown != Shutdown::Done
            && self.redispatches.available(self.now) >= REDISPATCH;
        if may {
            self.redispatches.take(self.now, REDISPATCH);
            self.stats.returned += 1;
            self.requests.give_back(request.id);
        }
        may
    }

    /// An instance gave a response: the function works.
    fn note_served(&mut self, instance: InstanceId) {
        let now = self.now;
        let Some(entry) = self.instances.get(instance) else { return };
        let is_first = entry.served.is_none();
        let lasts = !entry.lasted && entry.served.is_some_and(|since| guard::is_long(since, now));
        if !(is_first || lasts || entry.paused || entry.timed_out > 0) {
            return;
        }
        self.clear_resume(instance);
        self.instances.update(instance, |entry| {
            entry.served.get_or_insert(now);
            entry.lasted |= lasts;
            entry.paused = false;
            entry.timed_out = 0;
        });
        if is_first {
            self.guard.served(now);
        } else if lasts {
            self.guard.lasted(now);
        }
    }

    /// An instance let a request time out. Its slots look idle then, and are the first to get more:
    /// so whoever does that again and again is sent away, as long as others answer. Not many at a
    /// time: they may have been asked for what takes long.
    fn note_timed_out(&mut self, instance: InstanceId) {
        let Some(entry) = self.instances.update(instance, |entry| entry.timed_out += 1) else {
            return;
        };
        let is_due = entry.timed_out >= HUNG_TIMEOUTS && self.now >= self.hung_not_before;
        if !is_due || entry.state != State::Ready {
            return;
        }
        if self.instances.counts().answering > 0 {
            self.hung_not_before = self.now + HUNG_EVERY;
            self.retire(instance, GoAwayReason::Hung);
        }
    }

    /// Gives an instance that returned a request nothing until something on it ends.
    fn pause(&mut self, instance: InstanceId) {
        self.clear_resume(instance);
        let at = self.now + PAUSE;
        let paused = self.instances.update(instance, |entry| {
            entry.paused = true;
            entry.resume_timer = at;
        });
        if paused.is_some() {
            self.timers.set(at, Timer::Resume(instance));
        }
    }

    fn clear_resume(&mut self, instance: InstanceId) {
        if let Some(entry) = self.instances.get(instance)
            && entry.resume_timer != Time::MAX
        {
            self.timers.clear(entry.resume_timer, Timer::Resume(instance));
            self.instances.update(instance, |entry| entry.resume_timer = Time::MAX);
        }
    }

    fn free_slot(&mut self, instance: InstanceId) {
        self.last_busy = self.now;
        self.instances.release(instance);
        self.tidy(instance);
        self.pump();
    }

    /// Lets waiting requests take free slots.
    fn pump(&mut self) {
        while let Some(request) = self.requests.first()
            && let Some(instance) = self.pick()
        {
            let queued = self.requests.run_queued(request.index(), instance, self.now);
            self.dispatch(request, instance, queued.arrived);
        }
    }

    /// Who gets the next request. Whose lease is over does not, also where the driver was late and
    /// the timer that says so is still to come.
    fn pick(&mut self) -> Option<InstanceId> {
        loop {
            let instance = self.instances.pick()?;
            if self.instances.get(instance).is_none_or(|entry| self.now < entry.usable_until) {
                return Some(instance);
            }
            self.retire(instance, GoAwayReason::LeaseEnding);
        }
    }

    fn dispatch(&mut self, request: RequestId, instance: InstanceId, arrived: Time) {
        self.last_busy = self.now;
        self.instances.occupy(instance);
        self.tell_formula();
        let waited = self.now.saturating_since(arrived);
        let cold_exposed = waited >= self.estimate.exposed_from();
        self.stats.dispatched += 1;
        self.stats.cold_exposed += u64::from(cold_exposed);
        self.redispatches.gain(1);
        self.outputs.push_back(Output::Dispatch { request, instance, waited, cold_exposed });
    }

    /// Why an exchange that came to nothing did: the end of a drain cuts all that there is.
    fn unless_stopped(&self, other: RefuseReason) -> RefuseReason {
        if self.shutdown == Shutdown::Done { RefuseReason::ShuttingDown } else { other }
    }

    fn refuse(&mut self, request: RequestId, reason: RefuseReason) {
        let ran = self.requests.remove(request).is_some_and(|it| it.stage == Stage::Running);
        self.stats.refused += 1;
        let after = match reason {
            // An app may have seen it.
            RefuseReason::ShuttingDown if ran => Duration::ZERO,
            RefuseReason::Failed | RefuseReason::LeaseEnded | RefuseReason::ResponseTimeout => {
                Duration::ZERO
            }
            RefuseReason::OverBudget => Duration::from_secs(60),
            RefuseReason::PredictedWait | RefuseReason::QueueBytes | RefuseReason::QueueLength => {
                self.room_after()
            }
            RefuseReason::QueueTimeout => self.estimate.cold_start(),
            RefuseReason::ShuttingDown | RefuseReason::Undeliverable => A_SECOND,
            RefuseReason::Unavailable => self.paused_for().unwrap_or(A_SECOND),
        };
        let seconds = nanos(after).div_ceil(1_000_000_000).min(RETRY_AFTER_MOST_S);
        let retry_after_s = u16::try_from(seconds).expect("bounded by RETRY_AFTER_MOST_S");
        self.outputs.push_back(Output::Refuse { request, reason, retry_after_s });
    }

    fn refuse_queue(&mut self, reason: RefuseReason) {
        while let Some(request) = self.requests.first() {
            self.refuse(request, reason);
        }
    }

    /// Whoever says it again can make the end come sooner: the first end that comes is it, and any
    /// later one finds nothing to do.
    fn shut_down(&mut self, drain: Duration) {
        if self.shutdown == Shutdown::Done {
            return;
        }
        self.shutdown = Shutdown::Draining;
        self.instances_min = 0;
        if drain.is_zero() {
            // A timer that is due already would break the contract.
            self.stop();
        } else {
            self.timers.set(self.now + drain, Timer::DrainEnd);
        }
    }

    /// Once nothing waits, instances finish what they have and leave; once they have, that is all.
    fn go_on_draining(&mut self) {
        if self.requests.queued() > 0 {
            return;
        }
        // Once they have been told, nothing is looked through for each request that ends.
        if self.instances.counts().ready > 0 {
            let ready = self.instances.iter().filter(|entry| entry.state == State::Ready);
            let ready: alloc::vec::Vec<_> = ready.map(|entry| entry.id).collect();
            for instance in ready {
                self.retire(instance, GoAwayReason::Shutdown);
            }
        }
        let counts = self.instances.counts();
        if self.requests.running() == 0 && counts.draining == 0 {
            self.stop();
        }
    }

    fn stop(&mut self) {
        if self.shutdown == Shutdown::Done {
            return;
        }
        self.shutdown = Shutdown::Done;
        self.refuse_queue(RefuseReason::ShuttingDown);
        let attached = self.instances.iter().filter(|entry| entry.state != State::Detached);
        let attached: alloc::vec::Vec<_> =
            attached.filter(|entry| entry.is_attached()).map(|entry| entry.id).collect();
        for instance in attached {
            self.cut(instance);
        }
        self.outputs.push_back(Output::Stopped);
    }
}

/// The number of instances is not looked at more often because of queueing than this.
const SCALE_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// Time-outs in a row by which an instance that hangs is known.
const HUNG_TIMEOUTS: u32 = 3;
/// One instance that hangs is sent away in so much time.
const HUNG_EVERY: Duration = Duration::from_secs(10);
/// How long an instance that gave a request back is left alone if nothing on it ends.
const PAUSE: Duration = Duration::from_millis(500);
/// What a re-dispatch costs: as much as ten dispatches earn. Three a second are free.
const REDISPATCH: u64 = 10;
/// Most that can be saved up: a hundred re-dispatches.
const REDISPATCH_CREDIT: u64 = 100 * REDISPATCH;
const RETRY_AFTER_MOST_S: u64 = 60;
const A_SECOND: Duration = Duration::from_secs(1);
