//! What AWS Lambda decides, and nothing else: a deterministic model of the service for one
//! function.
//!
//! It is driven as our own dispatcher is: tell it what happened ([`Input`]), do what it orders
//! ([`Output`]), wake it when it says. It holds no clock, no bytes, no process and no randomness
//! but its seed, so the emulator (real processes) and the simulator (virtual time) share it.
//!
//! # The life of an environment
//!
//! ```text
//!            cold start          Start           all asked for next
//! (invoke) ─▶ Creating ─────▶ Initialising ──────────────▶ Invoking ◀──── Thaw, Deliver ────┐
//!                               │   │ limit, crash, error     │  │ answered, all asked for next
//!                               │   └▶ Kill; init once more   │  └───────▶ Idle (Freeze) ───┘
//!                               │      inside the invoke      │ time-out,    │ idle too long
//!                               ▼                             ▼ exit         ▼
//!                              Killed ◀──────────────────── Killed ◀──── Stopping ──▶ (emptied)
//!
//! with a snapshot:   Initialising ──▶ Stored ──▶ Restoring ──▶ Invoking
//! ```
//!
//! # What it holds to
//!
//! - One invoke per environment. The most recently used idle environment takes it, else a new one
//!   is created for it and no other: this binding at arrival is what `lambda-dispatch` exists to
//!   avoid. With [`Config::late_binding`] an invoke that waits takes what falls idle first, as AWS
//!   says that it may.
//! - Provisioned environments are allocated one after the other, taken before others, not reaped,
//!   and replaced when they end. What they cannot take goes to the others.
//! - New code is served by new environments: the old ones end as soon as they hold no invoke.
//! - An invoke is refused when the concurrency or the ramp of new environments does not allow it,
//!   or when more than ten a second come for each place in the concurrency.
//! - An environment runs only while it initialises, serves an invoke or shuts down; otherwise it is
//!   frozen. It is frozen once the runtime and every extension have asked for what comes next.
//! - An invoke is answered as soon as the runtime has answered; it is over, and billed, when the
//!   extensions have also asked for what comes next.
//! - Initialisation that fails is run once more inside the invoke that waits for it, under the
//!   function's time-out. The fresh processes get a new environment number, so that nothing late
//!   from the old ones can be taken for theirs; they are not a second start to the ramp.
//!
//! - With [`Config::restore`], initialisation is kept as a snapshot, of which each environment is a
//!   copy that takes so long to make. Processes cannot be copied, so here each copy initialises for
//!   itself, unbilled and ahead of its need: one is always kept stored, and whoever expects a burst
//!   asks for more with [`Input::PrewarmRequested`]. An invoke that finds none waits for one, which
//!   is this model's shortcoming and not Lambda's.
//!
//! # The contract with its driver
//!
//! 1. `now` never goes back (else it panics: only a broken driver can do that).
//! 2. Timers due at or before `now` fire before the input that came with it.
//! 3. Outputs come in the order in which they must be done; doing them late is slow, never wrong.
//! 4. Once drained, `poll_timeout()` is `None` or later than `now`.
//! 5. Same config, seed and inputs: same outputs, everywhere.

mod config;
mod environment;
mod idle;
mod input;
mod invariants;
mod life;
mod output;
mod provisioned;
mod ramp;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use dispatch_model::{Prng, Time};

use self::environment::Held;
use self::idle::Idle;
use self::ramp::Ramp;
use self::table::Table;

pub use self::config::Config;
pub use self::environment::Stage;
pub use self::input::{EnvironmentId, ExtensionId, Input, InvokeId};
pub use self::output::{Answer, Bill, InitFailure, Output, ThrottleReason};

/// The Lambda service, as far as one function can see it.
///
/// An invoke makes an environment of its own, is given to it once that has initialised, and leaves
/// it idle and frozen:
///
/// ```
/// use dispatch_model::Time;
/// use emulator::model::{Answer, Config, EnvironmentId, Input, InvokeId, Model, Output, Stage};
///
/// let mut lambda = Model::new(Config::default(), 7, Time::ZERO);
/// let (invoke, environment) = (InvokeId::new(1), EnvironmentId::new(1));
/// lambda.handle_input(Time::ZERO, Input::InvokeRequested { invoke });
/// assert_eq!(lambda.poll_output(), Some(Output::Start { environment }));
///
/// let ready = Time::from_millis(800);
/// lambda.handle_input(ready, Input::RuntimeNext { environment });
/// assert!(matches!(lambda.poll_output(), Some(Output::Initialised { .. })));
/// assert!(matches!(lambda.poll_output(), Some(Output::Deliver { .. })));
///
/// let done = Time::from_millis(850);
/// lambda.handle_input(done, Input::ResponsePosted { environment, invoke });
/// lambda.handle_input(done, Input::RuntimeNext { environment });
/// let answer = Answer::Response;
/// assert_eq!(lambda.poll_output(), Some(Output::Answer { invoke, answer }));
/// assert_eq!(lambda.stage(environment), Some(Stage::Idle));
/// ```
#[derive(Debug)]
pub struct Model {
    config: Config,
    chance: Prng,
    now: Time,
    environments: Table,
    idle: Idle,
    /// Environments that were created for an invoke, oldest first, with late binding only. One that
    /// is not waited for any more may still be among them.
    waiting: VecDeque<EnvironmentId>,
    /// Copies of the snapshot that nobody has needed yet, and some that are gone.
    stored: VecDeque<EnvironmentId>,
    /// How many provisioned environments there should be.
    provisioned: u32,
    /// How many there are or will be.
    provisioned_there: u32,
    /// When the next one may be allocated.
    allocates_at: Time,
    outputs: VecDeque<Output>,
    ramp: Ramp,
    /// How often it may be invoked.
    rate: Ramp,
    /// Environments that hold an invoke: what AWS calls concurrency.
    concurrency: u32,
    throttle_all: bool,
    shutting_down: bool,
}

impl Model {
    /// A service with no environment yet but the provisioned ones that it allocates from now on;
    /// `seed` decides the jitter of the idle reap.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let places = config.reserved_concurrency.unwrap_or(config.account_concurrency);
        let mut model = Self {
            chance: Prng::new(seed),
            now,
            environments: Table::new(),
            idle: Idle::default(),
            waiting: VecDeque::new(),
            stored: VecDeque::new(),
            provisioned: config.provisioned,
            provisioned_there: 0,
            allocates_at: now,
            outputs: VecDeque::new(),
            ramp: Ramp::new(config.ramp_environments, config.ramp_window, now),
            rate: Ramp::new(places.saturating_mul(PLACE_RATE), Duration::from_secs(1), now),
            concurrency: 0,
            throttle_all: false,
            shutting_down: false,
            config,
        };
        model.allocate();
        model.keep_copy();
        model
    }

    /// Takes in one thing that happened, after the timers that were due before it.
    ///
    /// Inputs that name an environment or invoke that is no longer there are ignored: a process may
    /// speak while it is being killed.
    ///
    /// # Panics
    /// If `now` is earlier than in an earlier call.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        self.handle_timeout(now);
        match input {
            Input::CodeUpdated => {
                self.all().into_iter().for_each(|id| self.give_up(id));
                self.keep_copy();
            }
            Input::EnvironmentEmptied { environment } => self.emptied(environment),
            Input::ErrorPosted { environment, invoke } => {
                self.answer_posted(environment, invoke, Answer::FunctionError);
            }
            Input::ExtensionNext { environment, extension } => {
                if let Some(there) = self.environments.get_mut(environment) {
                    there.extension_waits(extension);
                    self.settle(environment);
                }
            }
            Input::ExtensionRegistered { environment, extension, invoke } => {
                if let Some(there) = self.environments.get_mut(environment) {
                    there.register(extension, invoke);
                }
            }
            Input::InitErrorPosted { environment } => match self.stage(environment) {
                Some(Stage::Initialising) => {
                    self.init_failed(environment, InitFailure::Reported);
                }
                Some(Stage::Restoring) => {
                    self.restore_failed(environment, Answer::InitError { environment });
                }
                _ => {}
            },
            Input::InvokeRequested { invoke } => self.invoke(invoke),
            Input::PrewarmRequested => {
                if !self.shutting_down {
                    let id = self.create(None);
                    self.begin_creation(id);
                }
            }
            Input::ProcessExited { environment } => self.process_exited(environment),
            Input::ProvisionedChanged { count } => self.provision(count),
            Input::ResponsePosted { environment, invoke } => {
                self.answer_posted(environment, invoke, Answer::Response);
            }
            Input::RestoreNext { environment } => self.restore_awaited(environment),
            Input::RuntimeNext { environment } => {
                if let Some(there) = self.environments.get_mut(environment) {
                    there.runtime_waits();
                    self.settle(environment);
                }
            }
            Input::ShutdownRequested => self.shut_down(),
            Input::ThrottleChanged { on } => self.throttle_all = on,
        }
        self.fire(now);
    }

    /// Fires every timer due at or before `now`, in order.
    ///
    /// # Panics
    /// If `now` is earlier than in an earlier call.
    pub fn handle_timeout(&mut self, now: Time) {
        assert!(now >= self.now, "time went back from {} to {now}", self.now);
        self.fire(now);
    }

    /// Until none is due: one timer may set another that is due as well.
    fn fire(&mut self, now: Time) {
        while let Some((at, id)) = self.environments.next_timer()
            && at <= now
        {
            self.wake(at, id);
        }
        self.now = now;
    }

    /// Lets a timer fire. What follows from it is dated when it was due, however late the driver
    /// is: a late wake-up then delays nothing but itself.
    #[inline(never)]
    fn wake(&mut self, at: Time, id: EnvironmentId) {
        self.now = self.now.max(at);
        self.set_timer(id, None);
        self.timer_fired(id);
    }

    /// The next thing to do, if there is one.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Model::handle_timeout`] must be called next, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.environments.next_timer().map(|(at, _)| at)
    }

    /// Whether `environment` holds `invoke` and may still answer it.
    #[must_use]
    pub fn serves(&self, environment: EnvironmentId, invoke: InvokeId) -> bool {
        self.environments.get(environment).is_some_and(|there| {
            there.stage == Stage::Invoking
                && there.held.as_ref().is_some_and(|held| held.invoke == invoke && !held.answered)
        })
    }

    /// Where `environment` is in its life; `None` once it is gone.
    #[must_use]
    pub fn stage(&self, environment: EnvironmentId) -> Option<Stage> {
        self.environments.get(environment).map(|there| there.stage)
    }

    /// Whether `environment` is one of those that are provisioned.
    #[must_use]
    pub fn is_provisioned(&self, environment: EnvironmentId) -> bool {
        self.environments.get(environment).is_some_and(|there| there.provisioned)
    }

    /// Every environment that is not gone, by number, with its stage.
    pub fn environments(&self) -> impl Iterator<Item = (EnvironmentId, Stage)> + '_ {
        self.environments.iter().map(|(id, there)| (id, there.stage))
    }

    /// How many environments there have ever been, which is the number of the newest.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.environments.created()
    }

    /// Invokes in flight, those waiting for a cold start included.
    #[must_use]
    pub const fn concurrency(&self) -> u32 {
        self.concurrency
    }

    fn invoke(&mut self, invoke: InvokeId) {
        if self.shutting_down {
            return self.order(Output::Answer { invoke, answer: Answer::Unavailable });
        }
        if let Some(reason) = self.refusal() {
            return self.order(Output::Answer { invoke, answer: Answer::Throttled(reason) });
        }
        if let Some(id) = self.idle.pop(&self.environments) {
            self.hold(id, Held::warm(invoke));
            return self.deliver(id);
        }
        if !self.ramp.take(self.now) {
            let answer = Answer::Throttled(ThrottleReason::FunctionInvocationRateLimitExceeded);
            return self.order(Output::Answer { invoke, answer });
        }
        if self.config.restore.is_some() {
            return self.invoke_copy(invoke);
        }
        let id = self.create(Some(Held::cold(invoke)));
        if self.config.late_binding {
            self.waiting.push_back(id);
        }
        self.begin_creation(id);
    }

    /// Takes the invoke that has waited longest from the environment that was created for it, which
    /// goes on without.
    fn take_waiting(&mut self) -> Option<InvokeId> {
        while let Some(id) = self.waiting.pop_front() {
            let Some(there) = self.environments.get_mut(id) else { continue };
            if there.is_waited_for() {
                there.init_is_billed = true;
                let held = there.held.take()?;
                self.concurrency -= 1;
                return Some(held.invoke);
            }
        }
        None
    }

    /// Why an invoke cannot be had now; counts it if it can.
    fn refusal(&mut self) -> Option<ThrottleReason> {
        match self.config.reserved_concurrency {
            Some(limit) if self.concurrency >= limit => {
                Some(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded)
            }
            None if self.concurrency >= self.config.account_concurrency => {
                Some(ThrottleReason::ConcurrentInvocationLimitExceeded)
            }
            _ if self.throttle_all => Some(ThrottleReason::ConcurrentInvocationLimitExceeded),
            _ if self.rate.take(self.now) => None,
            Some(_) => Some(ThrottleReason::ReservedFunctionInvocationRateLimitExceeded),
            None => Some(ThrottleReason::FunctionInvocationRateLimitExceeded),
        }
    }

    /// Hands the held invoke to the runtime and to the extensions that asked to see invokes.
    fn deliver(&mut self, id: EnvironmentId) {
        let timeout = self.config.function_timeout;
        let now = self.now;
        let Some(there) = self.environments.get_mut(id) else { return };
        there.stage = Stage::Invoking;
        there.ask_again();
        let thaw = std::mem::take(&mut there.frozen);
        let Some(held) = there.held.as_mut() else { return };
        let since = *held.since.get_or_insert(now);
        let (invoke, deadline) = (held.invoke, since + timeout);
        self.set_timer(id, Some(deadline));
        if thaw {
            self.order(Output::Thaw { environment: id });
        }
        self.order(Output::Deliver { environment: id, invoke, deadline });
    }

    fn answer_posted(&mut self, id: EnvironmentId, invoke: InvokeId, answer: Answer) {
        if !self.serves(id, invoke) {
            return;
        }
        if let Some(held) = self.environments.get_mut(id).and_then(|there| there.held.as_mut()) {
            held.answered = true;
            self.order(Output::Answer { invoke, answer });
            self.settle(id);
        }
    }

    /// Ends the invoke that `id` holds: answers it if nobody has, and bills it.
    fn end_invoke(&mut self, id: EnvironmentId, unless_answered: Answer) {
        let Some(there) = self.environments.get_mut(id) else { return };
        let provisioned = there.provisioned;
        let Some(held) = there.held.take() else { return };
        self.concurrency -= 1;
        if !held.answered {
            self.order(Output::Answer { invoke: held.invoke, answer: unless_answered });
        }
        self.order(Output::Bill(Bill {
            environment: id,
            invoke: Some(held.invoke),
            cold: held.cold,
            provisioned,
            init_ms: whole_ms(held.init),
            duration_ms: held.since.map_or(0, |since| whole_ms(self.now.saturating_since(since))),
            memory_mb: self.config.memory_mb,
        }));
    }

    fn hold(&mut self, id: EnvironmentId, held: Held) {
        if let Some(there) = self.environments.get_mut(id) {
            there.held = Some(held);
            self.concurrency += 1;
        }
    }

    fn order(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

/// Synchronous invokes a second that AWS takes for each place in the concurrency, whoever serves
/// them. It does not say over what span it counts; here it is a second.
const PLACE_RATE: u32 = 10;

/// `span` in milliseconds, rounded up as on the bill.
fn whole_ms(span: Duration) -> u64 {
    dispatch_model::time::nanos(span).div_ceil(1_000_000)
}
