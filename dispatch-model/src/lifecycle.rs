//! The extension's machine: when an instance starts, serves, drains and may be frozen.
//!
//! ```text
//!  Booting ──▶ Frozen ──▶ Waiting ──▶ Linked: connecting ⇄ backing off
//!   │   ▲        ▲       (for app)            │
//!   ▼   │        │                         serving ──▶ draining ──▶ cutting
//!  Stored        │                            │            │           │
//!                └───────── Holding ◀─────────┴────────────┴───────────┘
//!                                Exited, from anywhere
//! ```
//!
//! **Booting.** The app is probed until it is ready; only then is Lambda asked for an invoke. With
//! `async_init`, Lambda is asked after 9.5 s in any case (its init limit is 10 s) and the first
//! invoke does the rest of the waiting.
//!
//! **Stored.** With `snap_start`, the environment is stored as a snapshot once the app is ready,
//! and each environment begins as a copy of it. There is no timer and no link in `Stored`,
//! `Restored` is the only way out, and the app is probed once more after it: what it had open is
//! gone.
//!
//! **Linked.** The extension dials the router, a few times if it must, and promises a *lease*: how
//! long requests on it may run, which is half a second less than Lambda's deadline. A router that
//! knows that sends it away in time. One that does not is told: from a lead before the deadline, or
//! when it has been idle for the linger, the extension says goaway and drains; when the lease is
//! over, it cuts what is left. Before its first request the linger is a tenth of a second at least,
//! for the router has yet to learn of the instance. If the router closes the link, loses it, or is
//! silent for ten seconds and does not answer when it is asked, the invoke returns promptly.
//!
//! **Deadlines** are moments of a wall clock, and that may be wrong. What cannot be one (it has
//! passed, it is missing, it is further away than any invoke lasts) is taken to be as far away as
//! the last one that could, for a function's time-out is the same each time.
//!
//! **Holding.** An app that has more to do after a response asks for a hold. Until it is over, an
//! idle instance does not leave by itself, and one whose link is gone, whoever ended it, does not
//! return its invoke, for that would freeze the app. A hold ends with the lease, with the app, and
//! with the environment; it is bounded by `hold_max`.
//!
//! **Frozen.** Between an invoke's return and the next one the process does not run, and clocks may
//! jump by hours or not at all. *In `Frozen` there is no timer and no link, and `Invoked` is the
//! only thaw.* That is why a return waits for `Disconnected`.
//!
//! A payload that was seen before, or has expired, returns at once without dialling anybody. An
//! event that is no router's fails, for whoever sent it must not take it for done; the environment
//! lives on.
//!
//! What it does not do: bytes, sockets, Lambda's HTTP API, the probe itself, the relay. It sees
//! requests only as a count.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Time;

mod input;
mod link;
mod output;
#[cfg(test)]
mod tests;

use link::PONG_PATIENCE;

pub use input::{Ask, Input, InvokeId, LinkEnd};
pub use output::{ExitReason, Output, Report};

/// How an extension behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Ask for the first invoke shortly before Lambda's init limit of 10 s even if the app is not
    /// ready. Not for environments that have no such limit.
    pub async_init: bool,
    /// How long an invoke waits for an app that is not ready.
    pub app_patience: Duration,
    /// How long before Lambda's deadline the instance says goaway by itself; at most a quarter of
    /// the invoke's time, and never later than what runs is cut. Default 15 s.
    pub lead: Duration,
    /// How long after a response an app may go on, at most. Default 60 s.
    pub hold_max: Duration,
    /// How long an invoke takes whose deadline is unknown, if none was known before.
    pub invoke_fallback: Duration,
    /// How long an invoke can take at most. Default 15 min, which is Lambda's most.
    pub invoke_max: Duration,
    /// How long an idle instance stays before it says goaway; `None` is until the router closes, or
    /// 250 ms where that does not send idle ones away. Before its first request it is 100 ms at
    /// least.
    pub linger: Option<Duration>,
    /// Whether the environment is stored as a snapshot when the app is ready. It then waits for the
    /// app whatever `async_init` says: nobody wants copies of half an app.
    pub snap_start: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            async_init: false,
            app_patience: Duration::from_secs(10),
            lead: Duration::from_secs(15),
            hold_max: Duration::from_secs(60),
            invoke_fallback: Duration::from_secs(60),
            invoke_max: Duration::from_secs(900),
            linger: None,
            snap_start: false,
        }
    }
}

/// When the machine wants to run next, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout {
    /// When to call [`Lifecycle::handle_timeout`].
    pub at: Time,
    /// What is due then, for traces.
    pub timer: Timer,
}

/// What can become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The app was not ready in time.
    AppPatience,
    /// An attempt to attach has taken too long.
    AttachPatience,
    /// The next attempt to attach.
    AttachRetry,
    /// What is running must be cut: Lambda's deadline is near.
    Cut,
    /// The app has had the time that it asked for.
    Hold,
    /// Nothing to do for as long as an idle instance stays.
    Idle,
    /// The lease ends.
    LeaseEnd,
    /// The next ping.
    Ping,
    /// A ping was not answered.
    Pong,
}

/// The extension's machine.
///
/// 1. `now` never goes back; a jump forward is legal at any time.
/// 2. Timers due at or before `now` fire before the input that came with it.
/// 3. Outputs come in the order in which they must be done.
/// 4. Once drained, [`poll_timeout`](Self::poll_timeout) is `None` or later than `now`.
/// 5. Same config, same inputs: same outputs.
///
/// And: in `Frozen` there is no timer, and `Invoked` is the only thaw; so it is in `Stored` with
/// `Restored`.
///
/// An invoke, from the app's start to the freeze:
///
/// ```
/// use core::time::Duration;
/// use dispatch_model::Time;
/// use dispatch_model::lifecycle::{Ask, Config, Input, InvokeId, Lifecycle, LinkEnd, Output};
///
/// let mut model = Lifecycle::new(Config::default(), Time::ZERO);
/// assert_eq!(model.poll_output(), Some(Output::ProbeApp));
/// model.handle_input(Time::from_millis(40), Input::AppReady);
/// assert_eq!(model.poll_output(), Some(Output::StopProbing));
/// assert_eq!(model.poll_output(), Some(Output::AwaitInvoke));
///
/// let now = Time::from_millis(2_000);
/// let (invoke, ask) = (InvokeId(1), Ask::Serve { fingerprint: 7, sends_away: true });
/// let left = Some(Duration::from_secs(60));
/// model.handle_input(now, Input::Invoked { invoke, ask, left });
/// let lease = Duration::from_millis(59_500);
/// assert_eq!(model.poll_output(), Some(Output::Connect { lease, cold: true }));
/// model.handle_input(now, Input::Attached);
///
/// // The router has no more work. Between invokes there is no timer: nothing runs then.
/// model.handle_input(Time::from_millis(3_000), Input::Disconnected { end: LinkEnd::Closed });
/// assert!(matches!(model.poll_output(), Some(Output::Return(report)) if !report.failed));
/// assert_eq!(model.poll_output(), Some(Output::AwaitInvoke));
/// assert_eq!(model.poll_timeout(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Lifecycle {
    config: Config,
    now: Time,
    app_ready: bool,
    served_before: bool,
    /// How long the last invoke had whose deadline could be believed.
    usual: Option<Duration>,
    /// Whether it is a copy made of a snapshot.
    is_restored: bool,
    /// The fingerprints of the last payloads.
    seen: VecDeque<u64>,
    state: State,
    /// The next timer, as `state` has it: found once an input, asked for several times.
    next: Option<Timeout>,
    outputs: VecDeque<Output>,
    stale_inputs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The app is starting, within Lambda's init phase.
    Booting { give_up_at: Option<Time> },
    /// The process ends.
    Exited,
    /// Between invokes.
    Frozen,
    /// An invoke whose link is gone and whose app has more to do.
    Holding(Invoke, ExitReason),
    /// An invoke that has, wants or had a link.
    Linked(Invoke, Link),
    /// Being stored, or stored, as a snapshot; or a copy that is being restored.
    Stored,
    /// An invoke that waits for the app.
    Waiting { invoke: Invoke, serve: bool, give_up_at: Time },
}

/// What is known of an invoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Invoke {
    id: InvokeId,
    started_at: Time,
    lease_until: Time,
    cut_at: Time,
    /// How long it stays idle, if it leaves by itself.
    linger: Option<Duration>,
    /// Until when the app asked for time after a response; never beyond `cut_at`.
    held_until: Time,
    requests: u64,
    /// Whether the process ends with this invoke, and if so whether as a failure.
    exit: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    BackingOff {
        attempt: u32,
        again_at: Time,
    },
    Connecting {
        attempt: u32,
        give_up_at: Time,
    },
    /// Dropped by us; the driver has yet to say that nothing is left.
    Cutting {
        reason: ExitReason,
        retry: Option<u32>,
    },
    Draining {
        pulse: Pulse,
        reason: ExitReason,
    },
    Serving {
        in_flight: u32,
        idle_since: Time,
        pulse: Pulse,
    },
}

/// Whether the router is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulse {
    Asked { give_up_at: Time },
    Felt { ask_at: Time },
}

impl Lifecycle {
    /// A machine whose process has just started.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Self {
        let give_up_at = (config.async_init && !config.snap_start).then_some(now + INIT_PATIENCE);
        let mut new = Self {
            config,
            now,
            app_ready: false,
            served_before: false,
            usual: None,
            is_restored: false,
            seen: VecDeque::with_capacity(SEEN_MAX),
            state: State::Booting { give_up_at },
            next: None,
            outputs: VecDeque::from([Output::ProbeApp]),
            stale_inputs: 0,
        };
        new.next = new.first_timer();
        new
    }

    /// Takes in what happened.
    ///
    /// # Panics
    ///
    /// If `now` goes back: only a broken driver can do that.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        assert!(now >= self.now, "time went back from {} to {now}", self.now);
        self.now = now;
        if self.next.is_some_and(|due| due.at <= now) {
            self.fire_due();
        }
        match input {
            Input::AppExited => self.app_exited(),
            Input::AppReady => self.app_became_ready(),
            Input::Attached => self.attached(),
            Input::Disconnected { end } => self.disconnected(end),
            Input::HoldAsked { span } => self.hold_asked(span),
            Input::Invoked { invoke, ask, left } => self.invoked(invoke, ask, left),
            Input::Heard => self.heard(),
            Input::RequestEnded => self.request_ended(),
            Input::RequestStarted => self.request_started(),
            Input::Restored => self.restored(),
            Input::Shutdown { left } => self.shut_down(left),
        }
        self.fire_due();
        self.check();
    }

    /// Does what is due at `now`.
    ///
    /// # Panics
    ///
    /// If `now` goes back: only a broken driver can do that.
    pub fn handle_timeout(&mut self, now: Time) {
        assert!(now >= self.now, "time went back from {} to {now}", self.now);
        self.now = now;
        self.fire_due();
        self.check();
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) if nothing happens before.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Timeout> {
        self.next
    }

    fn first_timer(&self) -> Option<Timeout> {
        let timers = match self.state {
            State::Booting { give_up_at } => [give_up_at.map(|at| (at, Timer::AppPatience)), None],
            State::Exited | State::Frozen | State::Stored => [None, None],
            State::Holding(invoke, _) => [Some((invoke.held_until, Timer::Hold)), None],
            State::Waiting { give_up_at, .. } => [Some((give_up_at, Timer::AppPatience)), None],
            State::Linked(invoke, link) => self.link_timers(&invoke, link),
        };
        // Written out: as a chain of iterators this was a quarter of a simulation's time.
        let first = match timers {
            [Some(one), Some(other)] => Some(one.min(other)),
            [one, other] => one.or(other),
        };
        first.map(|(at, timer)| Timeout { at, timer })
    }

    fn link_timers(&self, invoke: &Invoke, link: Link) -> [Option<(Time, Timer)>; 2] {
        let of_pulse = |pulse| match pulse {
            Pulse::Asked { give_up_at } => (give_up_at, Timer::Pong),
            Pulse::Felt { ask_at } => (ask_at, Timer::Ping),
        };
        let lease_end = (invoke.lease_until, Timer::LeaseEnd);
        match link {
            Link::BackingOff { again_at, .. } => {
                [Some((again_at, Timer::AttachRetry)), Some(lease_end)]
            }
            Link::Connecting { give_up_at, .. } => {
                [Some((give_up_at, Timer::AttachPatience)), Some(lease_end)]
            }
            Link::Cutting { .. } => [None, None],
            Link::Draining { pulse, .. } => {
                [Some((invoke.cut_at, Timer::Cut)), Some(of_pulse(pulse))]
            }
            Link::Serving { in_flight, idle_since, pulse } => {
                let least = if invoke.requests == 0 { LINGER_UNUSED_MIN } else { Duration::ZERO };
                let idle = invoke.linger.filter(|_| in_flight == 0);
                let idle = idle.map(|linger| idle_since + linger.max(least));
                let idle = idle.map(|at| at.max(invoke.held_until));
                let idle = idle.map(|at| (at, Timer::Idle));
                let first = idle.map_or(lease_end, |idle| idle.min(lease_end));
                [Some(first), Some(of_pulse(pulse))]
            }
        }
    }

    fn fire_due(&mut self) {
        loop {
            self.next = self.first_timer();
            match self.next {
                Some(Timeout { at, timer }) if at <= self.now => self.fire(timer),
                Some(_) | None => return,
            }
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::AppPatience => self.app_patience_ended(),
            Timer::AttachPatience => {
                if let State::Linked(invoke, Link::Connecting { attempt, .. }) = self.state {
                    let reason = ExitReason::RouterUnreachable;
                    self.cut(invoke, reason, Some(attempt));
                }
            }
            Timer::AttachRetry => {
                if let State::Linked(invoke, Link::BackingOff { attempt, .. }) = self.state {
                    self.connect(invoke, attempt);
                }
            }
            Timer::Cut => {
                if let State::Linked(invoke, Link::Draining { reason, .. }) = self.state {
                    self.cut(invoke, reason, None);
                }
            }
            Timer::Hold => {
                if let State::Holding(invoke, reason) = self.state {
                    self.end(invoke, reason);
                }
            }
            Timer::Idle => self.drain(ExitReason::SelfLastActive),
            Timer::LeaseEnd => self.wind_down(ExitReason::SelfDeadline),
            Timer::Ping => {
                let give_up_at = self.now + PONG_PATIENCE;
                if let Some(pulse) = self.pulse() {
                    *pulse = Pulse::Asked { give_up_at };
                    self.outputs.push_back(Output::Ping);
                }
            }
            Timer::Pong => {
                if let State::Linked(invoke, _) = self.state {
                    self.cut(invoke, ExitReason::RouterConnectionError, None);
                }
            }
        }
    }
}

/// The app.
impl Lifecycle {
    fn app_became_ready(&mut self) {
        if self.app_ready {
            self.stale_inputs += 1;
            return;
        }
        self.app_ready = true;
        match self.state {
            State::Booting { .. } => {
                self.outputs.push_back(Output::StopProbing);
                if self.config.snap_start && !self.is_restored {
                    self.state = State::Stored;
                    self.outputs.push_back(Output::AwaitRestore);
                } else {
                    self.freeze();
                }
            }
            State::Waiting { invoke, serve, .. } => {
                self.outputs.push_back(Output::StopProbing);
                self.proceed(invoke, serve);
            }
            State::Exited
            | State::Frozen
            | State::Holding(..)
            | State::Linked(..)
            | State::Stored => {}
        }
    }

    /// A copy begins, and knows nothing of its app but that it was ready once.
    fn restored(&mut self) {
        if self.state != State::Stored {
            self.stale_inputs += 1;
            return;
        }
        self.is_restored = true;
        self.app_ready = false;
        self.state = State::Booting { give_up_at: None };
        self.outputs.push_back(Output::ProbeApp);
    }

    fn app_patience_ended(&mut self) {
        self.outputs.push_back(Output::StopProbing);
        match self.state {
            State::Booting { .. } => self.freeze(),
            State::Waiting { mut invoke, .. } => {
                invoke.exit = Some(true);
                self.end(invoke, ExitReason::AppConnectionError);
            }
            State::Exited
            | State::Frozen
            | State::Holding(..)
            | State::Linked(..)
            | State::Stored => {}
        }
    }

    /// Without its app the environment is of no use: what is in flight may finish, then the invoke
    /// fails and the process ends, so that Lambda starts afresh.
    fn app_exited(&mut self) {
        self.app_ready = false;
        match self.state {
            State::Booting { .. } => {
                self.outputs.push_back(Output::StopProbing);
                self.exit(true);
            }
            State::Waiting { mut invoke, .. } => {
                self.outputs.push_back(Output::StopProbing);
                invoke.exit = Some(true);
                self.end(invoke, ExitReason::AppConnectionError);
            }
            State::Frozen | State::Stored => self.exit(true),
            State::Holding(mut invoke, _) => {
                invoke.exit = Some(true);
                self.end(invoke, ExitReason::AppConnectionError);
            }
            State::Linked(mut invoke, link) => {
                invoke.exit = Some(true);
                self.state = State::Linked(invoke, link);
                self.wind_down(ExitReason::AppConnectionError);
            }
            State::Exited => {}
        }
    }
}

/// The invoke.
impl Lifecycle {
    fn invoked(&mut self, id: InvokeId, ask: Ask, left: Option<Duration>) {
        if self.state != State::Frozen {
            self.stale_inputs += 1;
            return;
        }
        let left = self.believed(left);
        let cut_at = self.now + (left - CUT_LEAD.min(left / 10));
        let mut invoke = Invoke {
            id,
            started_at: self.now,
            lease_until: (self.now + (left - self.config.lead.min(left / 4))).min(cut_at),
            cut_at,
            linger: self.config.linger,
            held_until: self.now,
            requests: 0,
            exit: None,
        };
        let serve = match ask {
            Ask::Foreign => {
                self.answer(&invoke, ExitReason::RouterLambdaInvokeInvalid, true);
                return self.freeze();
            }
            Ask::Invalid => return self.end(invoke, ExitReason::RouterLambdaInvokeInvalid),
            Ask::Stale => return self.end(invoke, ExitReason::SelfStaleRequest),
            Ask::InitOnly => false,
            Ask::Serve { fingerprint, sends_away } => {
                if !sends_away {
                    invoke.linger = invoke.linger.or(Some(LINGER_BY_ITSELF));
                }
                if self.seen.contains(&fingerprint) {
                    return self.end(invoke, ExitReason::SelfStaleRequest);
                }
                if self.seen.len() == SEEN_MAX {
                    self.seen.pop_front();
                }
                self.seen.push_back(fingerprint);
                true
            }
        };
        if self.app_ready {
            self.proceed(invoke, serve);
        } else {
            let give_up_at = (self.now + self.config.app_patience).min(invoke.cut_at);
            self.state = State::Waiting { invoke, serve, give_up_at };
            self.outputs.push_back(Output::ProbeApp);
        }
    }

    /// How long an invoke has of which this is said.
    fn believed(&mut self, left: Option<Duration>) -> Duration {
        let max = self.config.invoke_max;
        let credible = INVOKE_MIN..=max.saturating_add(CLOCK_ERROR);
        match left.filter(|left| credible.contains(left)) {
            Some(left) => *self.usual.insert(left.min(max)),
            None => self.usual.unwrap_or(self.config.invoke_fallback),
        }
    }

    fn proceed(&mut self, invoke: Invoke, serve: bool) {
        if serve {
            self.connect(invoke, 1);
        } else {
            self.end(invoke, ExitReason::SelfInitOnly);
        }
    }

    /// Answers the invoke and lets the environment freeze, or ends it.
    fn end(&mut self, invoke: Invoke, reason: ExitReason) {
        self.answer(&invoke, reason, invoke.exit == Some(true));
        match invoke.exit {
            Some(failed) => self.exit(failed),
            None => self.freeze(),
        }
    }

    fn answer(&mut self, invoke: &Invoke, reason: ExitReason, failed: bool) {
        self.outputs.push_back(Output::Return(Report {
            invoke: invoke.id,
            reason,
            requests: invoke.requests,
            took: self.now.saturating_since(invoke.started_at),
            failed,
        }));
    }

    fn freeze(&mut self) {
        self.state = State::Frozen;
        self.outputs.push_back(Output::AwaitInvoke);
    }

    fn exit(&mut self, failed: bool) {
        self.state = State::Exited;
        self.outputs.push_back(Output::Exit { failed });
    }

    fn shut_down(&mut self, left: Duration) {
        match self.state {
            State::Booting { .. } => {
                self.outputs.push_back(Output::StopProbing);
                self.exit(false);
            }
            State::Frozen | State::Stored => self.exit(false),
            State::Holding(mut invoke, reason) => {
                invoke.exit = Some(false);
                self.end(invoke, reason);
            }
            State::Waiting { mut invoke, .. } => {
                self.outputs.push_back(Output::StopProbing);
                invoke.exit = invoke.exit.or(Some(false));
                self.end(invoke, ExitReason::SelfDeadline);
            }
            State::Linked(mut invoke, link) => {
                invoke.exit = invoke.exit.or(Some(false));
                let cut_at = self.now + (left - CUT_LEAD.min(left / 10));
                invoke.cut_at = invoke.cut_at.min(cut_at);
                invoke.held_until = invoke.held_until.min(invoke.cut_at);
                self.state = State::Linked(invoke, link);
                self.wind_down(ExitReason::SelfDeadline);
            }
            State::Exited => {}
        }
    }
}

/// What is seen from outside.
impl Lifecycle {
    /// Whether the environment may be frozen: no link, no timer, nothing to do but wait.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        matches!(self.state, State::Frozen | State::Stored)
    }

    /// Inputs that came too late to mean anything: races, counted and ignored.
    #[must_use]
    pub const fn stale_inputs(&self) -> u64 {
        self.stale_inputs
    }

    /// Panics if something that must always hold does not.
    fn check(&self) {
        debug_assert_eq!(self.next, self.first_timer());
        if let Some(Timeout { at, timer }) = self.next {
            assert!(at > self.now, "{timer:?} at {at} is still due at {}", self.now);
        }
        assert!(self.seen.len() <= SEEN_MAX, "{} payloads remembered", self.seen.len());
        if let State::Linked(invoke, _) | State::Holding(invoke, _) = self.state {
            let Invoke { id, held_until, cut_at, .. } = invoke;
            assert!(held_until <= cut_at, "{id} is held until {held_until}, cut at {cut_at}");
            assert!(
                invoke.started_at <= self.now,
                "{} began at {}, after now",
                invoke.id,
                invoke.started_at
            );
        }
    }
}

/// Lambda ends an init that takes longer than 10 s.
const INIT_PATIENCE: Duration = Duration::from_millis(9500);
/// What is left of an invoke at least, or its deadline is not one.
const INVOKE_MIN: Duration = Duration::from_millis(1);
/// By how much a deadline may be too far away before nothing of it is believed.
const CLOCK_ERROR: Duration = Duration::from_secs(60);
/// How long before Lambda's deadline what is still running is cut; less for short invokes.
const CUT_LEAD: Duration = Duration::from_millis(500);
/// How long an instance stays at least before its first request, whatever the linger. The original
/// looks whether it is idle that often.
const LINGER_UNUSED_MIN: Duration = Duration::from_millis(100);
/// How long one stays idle whose router does not send it away: the original's time, for which its
/// router is made.
const LINGER_BY_ITSELF: Duration = Duration::from_millis(250);
/// How many payloads are remembered so that none is obeyed twice.
const SEEN_MAX: usize = 64;
