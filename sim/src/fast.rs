//! Discrete events: the next thing to happen is taken from a heap, time jumps to it, and what the
//! machines order puts new things on the heap.
//!
//! ```text
//!   traffic ──▶ Dispatcher ──Invoke──▶ emulator::model::Model ──Start, Deliver──▶ environments
//!      ▲            ▲ │                                                             │  Lifecycle
//!      └── endings ─┘ └────────── links: Open, Cancel, Ping, Hello, End … ──────────┘  an app
//! ```
//!
//! All three machines are those that production and the emulator run. What is simulated is what is
//! between them: links with delays, processes that die, clients that leave.

mod events;
mod faults;
mod instance;
mod router;
mod wire;

use std::hash::Hash;
use std::time::Duration;

use dispatch_model::{Config, ConfigError, Input, InstanceId, Prng, Time, lifecycle};
use emulator::model::{EnvironmentId, Model};
use io_tokio::recording::{Step, Writer};

use crate::outside::{Source, Watch};
use crate::plan::Plan;
use crate::report::{Outcome, Report};
use crate::traffic;

use events::{Event, Events};
use faults::Faults;
use instance::Environment;
#[cfg(feature = "tools")]
pub(crate) use instance::outcome;
use router::{Invoke, Router, Stage};
use wire::Links;

/// What is done beside running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Books are kept and compared after every step of the dispatcher.
    pub oracle: bool,
    /// The dispatcher checks itself after every step.
    pub model: bool,
    /// Inputs and outputs are hashed.
    pub digest: bool,
    /// Everything is written down as text.
    pub trace: bool,
    /// What the dispatchers are told and do is recorded, as production records it.
    pub record: bool,
}

impl Checks {
    /// Every check, and no text.
    pub const ALL: Self =
        Self { oracle: true, model: true, digest: true, trace: false, record: false };
    /// None: for speed.
    pub const NONE: Self =
        Self { oracle: false, model: false, digest: false, trace: false, record: false };
}

/// Runs `plan` to its end: all requests have ended, the router has stopped, every invocation is
/// over and billed. Gives the outcome, and the trace if it was asked for.
///
/// # Errors
///
/// The plan's limits are out of range.
///
/// # Panics
///
/// A machine breaks an invariant of its own.
pub fn run(plan: &Plan, checks: Checks) -> Result<(Outcome, String), ConfigError> {
    let mut source = traffic::arrivals(&plan.traffic, plan.seed).peekable();
    play(plan, &mut source, &mut (), checks)
}

/// The same with requests from elsewhere than the plan, while somebody looks on.
///
/// # Errors
///
/// The plan's limits are out of range.
///
/// # Panics
///
/// A machine breaks an invariant of its own.
pub fn play(
    plan: &Plan,
    source: &mut dyn Source,
    watch: &mut dyn Watch,
    checks: Checks,
) -> Result<(Outcome, String), ConfigError> {
    let mut world = World::new(plan, source, watch, checks)?;
    while world.broken.is_none() && world.step() {}
    Ok(world.finish())
}

/// One router, its function and its clients.
struct World<'a> {
    plan: &'a Plan,
    checks: Checks,
    config: Config,
    now: Time,
    chance: Prng,
    events: Events,
    source: &'a mut dyn Source,
    /// When its next request comes, as it said last.
    arrival: Option<Time>,
    watch: &'a mut dyn Watch,
    router: Router,
    links: Links,
    lambda: Model,
    environments: Vec<Option<Box<Environment>>>,
    /// Environments that have just died.
    dead: Vec<EnvironmentId>,
    /// Every invoke that was ordered, in order.
    invokes: Vec<Invoke>,
    /// How many instances were asked for, over all lives of the router.
    instances: u32,
    /// Instances whose invoke is over.
    ended: Vec<(EnvironmentId, InstanceId)>,
    faults: Faults,
    /// When the last fault is over.
    healed: Time,
    /// The longest that an app was asked to take.
    service_max: Duration,
    /// Requests that came after all was calm or still waited then, and the longest that an app was
    /// to take for one.
    calm: (u32, Duration),
    /// Where nobody may wait: whether any request was served of those that came after all was calm
    /// and could have been.
    any_served: Option<bool>,
    /// When nothing can be left of any request that has come.
    horizon: Time,
    /// Steps of dispatchers.
    steps: u64,
    /// The router is being stopped because all is done.
    closing: bool,
    broken: Option<String>,
    trace: String,
    record: Option<Writer>,
    report: Report,
}

impl<'a> World<'a> {
    fn new(
        plan: &'a Plan,
        source: &'a mut dyn Source,
        watch: &'a mut dyn Watch,
        checks: Checks,
    ) -> Result<Self, ConfigError> {
        let config = Config::new(plan.pool.limits())?;
        let mut events = Events::default();
        for (number, fault) in plan.fault.iter().enumerate() {
            if !fault.at.is_zero() {
                events.push(Time::ZERO, Time::ZERO + fault.at, Event::Fault(number));
            }
        }
        let router = Router::new(config, plan.seed, 0, Time::ZERO);
        let origin = router.origin(config, plan.seed, Time::ZERO);
        let mut world = Self {
            plan,
            checks,
            config,
            now: Time::ZERO,
            chance: Prng::new(plan.seed ^ WORLD),
            events,
            arrival: source.next_at(),
            source,
            watch,
            router,
            links: Links::default(),
            lambda: Model::new(plan.lambda.config(), plan.seed, Time::ZERO),
            environments: Vec::new(),
            dead: Vec::new(),
            invokes: Vec::new(),
            instances: 0,
            ended: Vec::new(),
            faults: Faults::default(),
            healed: Time::ZERO + plan.healed(),
            service_max: Duration::ZERO,
            calm: (0, Duration::ZERO),
            any_served: None,
            horizon: Time::ZERO,
            steps: 0,
            closing: false,
            broken: None,
            trace: String::new(),
            record: checks.record.then(|| Writer::new(&origin)),
            report: Report::default(),
        };
        world.move_horizon(world.healed.max(world.source.lasts()));
        // What is wrong from the start is so before anything is ordered.
        for (number, _) in plan.fault.iter().enumerate().filter(|(_, fault)| fault.at.is_zero()) {
            world.fault(number);
        }
        world.orders();
        Ok(world)
    }

    /// Lets the next thing happen; false when nothing is left.
    fn step(&mut self) -> bool {
        let due = if self.router.stage == Stage::Gone {
            None
        } else {
            let timeout = self.router.dispatcher.poll_timeout();
            timeout.map(|timeout| timeout.at.max(self.faults.stall))
        };
        let arrival = self.arrival.map(|at| at.max(self.faults.stall));
        let (event, lambda) = (self.events.next_at(), self.lambda.poll_timeout());
        // Written out: as a chain of iterators this was a tenth of a simulation's time.
        let first = |one: Option<Time>, other: Option<Time>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let next = first(first(event, lambda), first(due, arrival));
        if arrival.is_none() && self.is_idle() && !self.closing {
            let lasts = self.source.lasts();
            if next.is_none_or(|at| at >= lasts) {
                self.now = self.now.max(lasts);
                return self.stop();
            }
        }
        let Some(at) = next else {
            return self.stop();
        };
        if self.is_over() {
            return false;
        }
        self.now = self.now.max(at);
        if event == Some(at) {
            if let Some(event) = self.events.pop() {
                self.happen(event);
            }
        } else if lambda == Some(at) {
            self.lambda.handle_timeout(self.now);
            self.orders_of_lambda();
        } else if due == Some(at) {
            self.router_timeout();
        } else if let Some(arrival) = self.source.next() {
            self.arrival = self.source.next_at();
            self.arrive(arrival);
        }
        if !self.dead.is_empty() {
            self.bury();
        }
        if self.faults.is_armed() {
            if self.plan.calm.is_some() && self.now >= self.healed {
                self.faults.disarm();
            }
            self.strike();
        }
        if self.now > self.horizon && (self.router.live > 0 || self.arrival.is_none()) {
            let live = self.router.live;
            self.breaks(|| format!("(14) {live} requests live long after all that went wrong"));
        }
        true
    }

    /// Puts off the moment at which nothing can be left of what has come by `last`.
    pub(super) fn move_horizon(&mut self, last: Time) {
        let horizon = last + self.plan.pool.queue_timeout + HANG + DRAIN;
        self.horizon = self.horizon.max(horizon + self.plan.lambda.function_timeout);
    }

    /// Whether no request is there, and nothing will go wrong any more.
    fn is_idle(&self) -> bool {
        self.router.stage == Stage::Serving && self.now >= self.healed && self.router.live == 0
    }

    /// Whether, after the router was stopped, Lambda has come to rest too.
    fn is_over(&self) -> bool {
        self.closing && self.router.stage == Stage::Gone && self.lambda.concurrency() == 0
    }

    /// Stops the router, once; false if that has been done.
    fn stop(&mut self) -> bool {
        if std::mem::replace(&mut self.closing, true) || self.router.stage != Stage::Serving {
            return false;
        }
        self.router.stage = Stage::Stopping;
        self.tell(Input::ShutdownRequested { drain: DRAIN });
        true
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.postponed(&event) {
            return self.events.push(self.now, until, event);
        }
        let life = self.router.life;
        match event {
            Event::AppReady(id) => self.app_ready(id),
            Event::ConnectionOver { life: of, instance } if of == life => {
                if self.router.stage != Stage::Gone {
                    self.tell(Input::InstanceLost { instance });
                }
            }
            Event::Dialled(id) => self.dialled(id),
            Event::Done { environment, link, request } => self.done(environment, link, request),
            Event::Emptied(environment) => {
                self.tell_lambda(emulator::model::Input::EnvironmentEmptied { environment });
            }
            Event::Ended { life: of, request, attempt } if of == life => {
                self.connection_ended(request, attempt);
            }
            Event::Fault(number) => self.fault(number),
            Event::FaultOver(number) => self.fault_over(number),
            Event::GivesUp { life: of, request } if of == life => self.give_up(request),
            Event::InvokeAnswered { life: of, instance, outcome } if of == life => {
                if self.router.stage != Stage::Gone {
                    self.ended.push((EnvironmentId::new(1), instance));
                    self.invoke_over(instance, outcome);
                }
            }
            Event::ResponseLate { life: of, request, attempt } if of == life => {
                self.response_late(request, attempt);
            }
            Event::RouterBack => {
                if self.router.stage == Stage::Gone {
                    self.router_back();
                }
            }
            Event::ToInstance(link, message) => self.at_instance(link, message),
            Event::ToRouter(link, message) => self.at_router(link, message),
            Event::Wake(id) => self.wake(id),
            // Of a router that is no more.
            Event::ConnectionOver { .. }
            | Event::Ended { .. }
            | Event::GivesUp { .. }
            | Event::InvokeAnswered { .. }
            | Event::ResponseLate { .. } => {}
        }
    }

    /// Until when whoever an event concerns stands still.
    fn postponed(&mut self, event: &Event) -> Option<Time> {
        match *event {
            Event::AppReady(id) | Event::Dialled(id) | Event::Wake(id) => self.standstill(id),
            Event::Done { environment, .. } => self.standstill(environment),
            Event::ToInstance(link, _) => {
                let id = self.links.get(link)?.environment;
                self.standstill(id)
            }
            Event::ConnectionOver { .. }
            | Event::Ended { .. }
            | Event::InvokeAnswered { .. }
            | Event::ResponseLate { .. }
            | Event::GivesUp { .. }
            | Event::ToRouter(..) => Some(self.faults.stall).filter(|until| *until > self.now),
            Event::Emptied(_) | Event::Fault(_) | Event::FaultOver(_) | Event::RouterBack => None,
        }
    }

    /// Notes the first thing that does not hold; it ends the run.
    fn breaks(&mut self, message: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(format!("at {}: {}", self.now, message()));
        }
    }

    /// Keeps what the books of a router's life say is broken.
    fn keep_broken(&mut self) {
        if let Some(broken) = self.router.oracle.broken()
            && self.broken.is_none()
        {
            self.broken = Some(broken.to_owned());
        }
    }

    fn finish(mut self) -> (Outcome, String) {
        self.keep_broken();
        self.report.add_stats(self.router.dispatcher.stats());
        let live = self.router.live;
        if live > 0 {
            self.breaks(|| format!("(1) {live} requests have not ended"));
        }
        if self.any_served == Some(false) {
            self.breaks(|| "(14) all was calm, and nobody was served who came again".to_owned());
        }
        let open = self.links.open_ones().count();
        let at_work = self.lambda.concurrency();
        if self.closing && at_work > 0 {
            self.breaks(|| format!("(14) {at_work} invokes have not ended, on {open} links"));
        }
        let Report { requests, served, cancelled, lost, .. } = self.report;
        let refused = self.report.refusals();
        if requests != served + cancelled + lost + refused {
            self.breaks(|| {
                format!("(1) {requests} came: {served} + {cancelled} + {lost} + {refused} ended")
            });
        }
        let recording = self.record.map(|mut record| record.take());
        (Outcome { report: self.report, broken: self.broken, recording }, self.trace)
    }

    /// Writes a line into the trace, if there is one.
    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.checks.trace {
            self.trace += &line();
            self.trace.push('\n');
        }
    }

    /// Notes what goes into the dispatcher or comes out of it.
    fn note_step(&mut self, step: Step) {
        if self.checks.digest {
            let digest = match step {
                Step::Input(_) | Step::Timeout => &mut self.report.digest_in,
                Step::Output(_) => &mut self.report.digest_out,
            };
            digest.add(self.now, &step);
        }
        if let Some(record) = &mut self.record {
            record.step(self.now, step);
        }
        if self.checks.trace {
            let now = self.now;
            self.note(|| match step {
                Step::Input(_) | Step::Timeout => format!("{now} {step}"),
                Step::Output(_) => step.to_string(),
            });
        }
    }

    fn note_told(&mut self, id: EnvironmentId, input: &lifecycle::Input) {
        if self.checks.digest {
            (id.number(), input).hash(&mut self.report.digest_machines);
        }
        let now = self.now;
        self.note(|| format!("{now} {id} {input}"));
    }

    fn note_order(&mut self, id: EnvironmentId, output: &lifecycle::Output) {
        if self.checks.digest {
            (id.number(), output).hash(&mut self.report.digest_machines);
        }
        self.note(|| format!("    {id} {output}"));
    }
}

/// Longer than anything that was dispatched can take: the longest wait for a response, and for a
/// sign of life besides.
const HANG: Duration = Duration::from_secs(600);
/// How long the router has to stop when all is done.
const DRAIN: Duration = Duration::from_secs(60);
/// Keeps the world's chance apart from the models'.
const WORLD: u64 = 0x776f_726c_645f_5f5f;
