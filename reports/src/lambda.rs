//! Lambda by itself: a request is an invoke, and an environment serves one at a time.
//!
//! What AWS does is the emulator's model; here are the clients, the function, and time. Whether a
//! waiting request may take an environment that falls free first, and how many environments are
//! kept provisioned, are settings of the model.
//!
//! Provisioned environments are there before the traffic begins, and what that cost is not part of
//! the run. Everything else begins empty.

use std::time::Duration;

use dispatch_model::{Gauges, Prng, Time};
use emulator::model::{Answer, Config, EnvironmentId, Input, InvokeId, Model, Output, Stage};
use sim::outside::{End, Source, Watch};
use sim::traffic::{Arrival, stretched, vcpus};

use crate::events::Events;
use crate::money::Bill;
use crate::requests::{Name, Requests};
use crate::tracking::{Alarms, MINUTE, Meter, Tracking};
use crate::usage::Usage;

/// How Lambda is to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct LambdaPlan {
    /// What the service allows and the function asks for.
    pub service: Config,
    /// How long a new environment initialises, where the traffic does not say; billed.
    pub init: Duration,
    /// How often a client sends a request again that was throttled, waiting a random time of up to
    /// 1, 2, 4.. 20 seconds, as AWS's SDKs do. Default 0: it sees the 429.
    pub retries: u32,
    /// Provisioned concurrency follows its use, from `service.provisioned` on; none: it stays.
    pub tracking: Option<Tracking>,
    /// When the function's code is replaced.
    pub deploys: Vec<Time>,
    /// Environments start from a snapshot, and the runtime is one that pays for it.
    pub snapshots_are_billed: bool,
    /// Decides the jitter of the idle reap and of retries.
    pub seed: u64,
}

impl Default for LambdaPlan {
    fn default() -> Self {
        Self {
            service: Config::default(),
            init: Duration::from_secs(1),
            retries: 0,
            tracking: None,
            deploys: Vec::new(),
            snapshots_are_billed: false,
            seed: 0,
        }
    }
}

/// Serves all requests of `source` and says what that used.
pub fn run(plan: &LambdaPlan, source: &mut dyn Source, watch: &mut dyn Watch) -> Usage {
    let mut world = World::new(plan, source, watch);
    world.provision();
    while world.step() {}
    world.finish()
}

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    Deploy,
    /// The function has answered.
    Done(Name),
    GivesUp(Name),
    /// A minute of metrics is over.
    Minute,
    /// The processes of an environment are ready.
    Ready(EnvironmentId),
    Retry(Name),
}

struct World<'a> {
    plan: &'a LambdaPlan,
    source: &'a mut dyn Source,
    watch: &'a mut dyn Watch,
    model: Model,
    chance: Prng,
    events: Events<Event>,
    requests: Requests,
    /// When the traffic begins, on the model's clock; the end of all times until that is known.
    zero: Time,
    now: Time,
    created: u64,
    /// The environment whose initialisation has just failed.
    failed: Option<EnvironmentId>,
    gauges: Gauges,
    /// Provisioned environments that serve.
    provisioned: Meter,
    alarms: Alarms,
    /// When each of those that are kept was allocated.
    held: Vec<Time>,
    usage: Usage,
}

impl<'a> World<'a> {
    fn new(plan: &'a LambdaPlan, source: &'a mut dyn Source, watch: &'a mut dyn Watch) -> Self {
        Self {
            plan,
            source,
            watch,
            model: Model::new(plan.service.clone(), plan.seed, Time::ZERO),
            chance: Prng::new(plan.seed ^ RETRIES),
            events: Events::new(),
            requests: Requests::default(),
            zero: Time::MAX,
            now: Time::ZERO,
            created: 0,
            failed: None,
            gauges: Gauges::default(),
            provisioned: Meter::default(),
            alarms: Alarms::default(),
            held: Vec::new(),
            usage: Usage { on_demand: Bill::new(plan.service.memory_mb), ..Usage::default() },
        }
    }

    /// Lets the provisioned environments get ready, which for as long as they do stands at the
    /// traffic's beginning.
    fn provision(&mut self) {
        self.orders();
        while self.gauges.ready < self.plan.service.provisioned && self.now < PATIENCE {
            let next = [self.events.next_at(), self.model.poll_timeout()];
            let Some(at) = next.into_iter().flatten().min() else { break };
            self.advance(at);
        }
        self.zero = self.now;
        self.held = vec![self.now; self.plan.service.provisioned as usize];
        self.provisioned.set(self.now, 0);
        self.usage =
            Usage { on_demand: Bill::new(self.plan.service.memory_mb), ..Usage::default() };
        for deploy in &self.plan.deploys {
            self.events.push(self.inside(*deploy), Event::Deploy);
        }
        if self.plan.tracking.is_some() {
            self.events.push(self.now + MINUTE, Event::Minute);
        }
        self.report();
    }

    /// Lets the next thing happen; false when the traffic and every request are over.
    fn step(&mut self) -> bool {
        let arrival = self.source.next_at().map(|at| self.inside(at));
        let next = [self.events.next_at(), self.model.poll_timeout()].into_iter().flatten().min();
        if self.requests.live == 0 && arrival.is_none() {
            let lasts = self.inside(self.source.lasts());
            if next.is_none_or(|at| at >= lasts) {
                self.now = self.now.max(lasts);
                return false;
            }
        }
        match (next, arrival) {
            (Some(at), None) => self.advance(at),
            (Some(at), Some(arrival)) if at <= arrival => self.advance(at),
            (_, Some(arrival)) => {
                self.now = arrival;
                self.arrive();
            }
            (None, None) => unreachable!("a request that lives waits for something"),
        }
        self.report();
        true
    }

    /// Lets what is due at `at` happen, that is not an arrival.
    fn advance(&mut self, at: Time) {
        self.now = at;
        if self.events.next_at() != Some(at) {
            self.model.handle_timeout(at);
            return self.orders();
        }
        match self.events.pop() {
            Some(Event::Deploy) => self.tell(Input::CodeUpdated),
            Some(Event::Done(name)) => {
                let Some(request) = self.requests.get(name) else { return };
                let environment = EnvironmentId::new(request.instance.into());
                let invoke = InvokeId::new(name.0);
                self.model.handle_input(at, Input::ResponsePosted { environment, invoke });
                self.tell(Input::RuntimeNext { environment });
            }
            Some(Event::GivesUp(name)) => self.give_up(name),
            Some(Event::Minute) => self.minute(),
            Some(Event::Ready(environment)) => self.tell(Input::RuntimeNext { environment }),
            Some(Event::Retry(name)) => {
                if let Some(request) = self.requests.get(name) {
                    request.pauses = false;
                    self.invoke(name);
                }
            }
            None => {}
        }
    }

    fn arrive(&mut self) {
        let Some(mut arrival) = self.source.next() else { return };
        arrival.at = self.now;
        arrival.gives_up = arrival.gives_up.map(|at| self.inside(at));
        self.watch.arrived(self.outside());
        let name = self.requests.add(arrival);
        if let Some(at) = arrival.gives_up {
            self.events.push(at, Event::GivesUp(name));
        }
        self.invoke(name);
    }

    fn invoke(&mut self, name: Name) {
        self.gauges.queued += 1;
        self.tell(Input::InvokeRequested { invoke: InvokeId::new(name.0) });
        // Who is not served at once waits for the environment that was created for it.
        let Some(request) = self.requests.get(name) else { return };
        if request.started.is_none() && !request.pauses {
            request.bound = true;
            request.instance = number(EnvironmentId::new(self.created));
        }
    }

    fn tell(&mut self, input: Input) {
        self.model.handle_input(self.now, input);
        self.orders();
    }

    fn orders(&mut self) {
        while self.created < self.model.created() {
            self.created += 1;
            self.gauges.starting += 1;
            self.watch.instance_started(self.outside(), number(EnvironmentId::new(self.created)));
        }
        while let Some(output) = self.model.poll_output() {
            match output {
                Output::Answer { invoke, answer } => self.answered(Name(invoke.number()), answer),
                Output::Bill(bill) => self.billed(bill),
                Output::Deliver { environment, invoke, deadline } => {
                    self.deliver(environment, Name(invoke.number()), deadline);
                }
                Output::InitFailed { environment, .. } => {
                    self.gauges.starting -= 1;
                    self.failed = Some(environment);
                }
                Output::Initialised { environment, .. } => {
                    self.gauges.starting -= 1;
                    self.gauges.ready += 1;
                    self.watch.instance_ready(self.outside(), number(environment));
                }
                Output::Kill { environment } => self.killed(environment),
                Output::Start { environment } => {
                    let init = self.source.init().unwrap_or(self.plan.init);
                    self.events.push(self.now + init, Event::Ready(environment));
                    if self.plan.snapshots_are_billed {
                        let memory_mb = self.plan.service.memory_mb;
                        self.usage.snapstart.restored_mb += u64::from(memory_mb);
                    }
                }
                // There are no extensions that would have to be told of an end.
                Output::Freeze { .. }
                | Output::Restore { .. }
                | Output::Stop { .. }
                | Output::Thaw { .. } => {}
            }
        }
    }

    fn deliver(&mut self, environment: EnvironmentId, name: Name, deadline: Time) {
        let provisioned = self.model.is_provisioned(environment);
        let cold_start = self.plan.service.cold_start + self.plan.init;
        let Some(request) = self.requests.get(name) else { return };
        // One that took another's environment has paid for a start only if it waited as long.
        let waited = self.now.saturating_since(request.arrival.at);
        let own = request.instance == number(environment) || !self.plan.service.late_binding;
        request.bound &= own || waited >= cold_start;
        request.started = Some(self.now);
        request.instance = number(environment);
        let Arrival { service, cpu, .. } = request.arrival;
        let done = self.now + stretched(service, cpu, 0, vcpus(self.plan.service.memory_mb));
        // A deadline at the same moment comes first.
        if done < deadline {
            self.events.push(done, Event::Done(name));
        }
        self.gauges.queued -= 1;
        self.gauges.running += 1;
        if provisioned {
            self.provisioned.set(self.now, self.provisioned.value() + 1);
        }
    }

    fn answered(&mut self, name: Name, answer: Answer) {
        let Some(request) = self.requests.get(name) else { return };
        let end = match answer {
            Answer::Response => End::Served,
            Answer::Throttled(_) => {
                self.gauges.queued -= 1;
                return self.throttled(name);
            }
            Answer::Exited { .. }
            | Answer::FunctionError
            | Answer::InitError { .. }
            | Answer::TimedOut { .. }
            | Answer::Unavailable => End::Refused,
        };
        if request.started.is_none() {
            self.gauges.queued -= 1;
        }
        self.end(name, end);
    }

    fn throttled(&mut self, name: Name) {
        let Some(request) = self.requests.get(name) else { return };
        if !std::mem::replace(&mut request.throttled, true) {
            self.usage.throttled += 1;
        }
        if request.retries == self.plan.retries {
            self.end(name, End::Refused);
            return self.requests.remove(name);
        }
        let most = BACKOFF.saturating_mul(1 << request.retries.min(10)).min(BACKOFF_MAX);
        request.retries += 1;
        request.pauses = true;
        let pause = self.chance.below(dispatch_model::time::nanos(most));
        self.events.push(self.now + Duration::from_nanos(pause), Event::Retry(name));
    }

    /// The invoke is over, for its environment too.
    fn billed(&mut self, bill: emulator::model::Bill) {
        let ms = bill.billed_ms();
        if bill.provisioned {
            self.usage.provisioned.used_mb_ms += u128::from(bill.memory_mb) * u128::from(ms);
        } else if bill.invoke.is_some() {
            self.usage.on_demand.add_ms(ms);
        } else {
            self.usage.on_demand.add_init_ms(ms);
        }
        let Some(invoke) = bill.invoke else { return };
        let name = Name(invoke.number());
        if self.requests.get(name).is_some_and(|request| request.started.is_some()) {
            self.gauges.running -= 1;
            if bill.provisioned {
                self.usage.provisioned.requests += 1;
                self.provisioned.set(self.now, self.provisioned.value() - 1);
            }
        }
        self.requests.remove(name);
    }

    /// Its client gives up, which Lambda does not notice.
    fn give_up(&mut self, name: Name) {
        let Some(request) = self.requests.get(name) else { return };
        let pauses = request.pauses;
        self.end(name, End::Cancelled);
        if pauses {
            self.requests.remove(name);
        }
    }

    /// Its client knows how it ended, now.
    fn end(&mut self, name: Name, end: End) {
        let (now, zero) = (self.outside(), self.zero);
        let Some(request) = self.requests.get(name) else { return };
        if std::mem::replace(&mut request.left, true) {
            return;
        }
        let ended = request.ended(end, request.bound, zero);
        self.watch.ended(now, ended);
        self.source.ended(now, ended.arrived);
    }

    fn killed(&mut self, environment: EnvironmentId) {
        if self.failed.take_if(|failed| *failed == environment).is_none() {
            self.gauges.ready -= 1;
        }
        self.watch.instance_ended(self.outside(), number(environment));
        self.model.handle_input(self.now, Input::EnvironmentEmptied { environment });
    }

    /// Decides how many are provisioned from now on.
    fn minute(&mut self) {
        self.events.push(self.now + MINUTE, Event::Minute);
        let Some(tracking) = &self.plan.tracking else { return };
        let busy = self.provisioned.take(self.now).as_secs_f64() / MINUTE.as_secs_f64();
        let there = u32::try_from(self.held.len()).expect("it was a u32");
        let count = self.alarms.minute(tracking, busy, there);
        while self.held.len() > count as usize {
            if let Some(since) = self.held.pop() {
                let span = self.now.saturating_since(since).as_nanos();
                self.hold(span.div_ceil(HOLD.as_nanos()) * HOLD.as_nanos());
            }
        }
        self.held.resize(count as usize, self.now);
        if count != there {
            self.tell(Input::ProvisionedChanged { count });
        }
    }

    /// Adds the nanoseconds for which one environment was kept.
    fn hold(&mut self, span_ns: u128) {
        let memory_mb = u128::from(self.plan.service.memory_mb);
        self.usage.provisioned.held_mb_ms += memory_mb * span_ns.div_ceil(1_000_000);
        self.usage.paid_slot_time += Duration::from_nanos_u128(span_ns);
    }

    fn report(&mut self) {
        self.gauges.slots = self.gauges.ready;
        self.gauges.slots_busy = self.gauges.running;
        self.gauges.desired = u32::try_from(self.held.len()).expect("it was a u32");
        self.watch.pool(self.outside(), &self.gauges);
    }

    fn finish(mut self) -> Usage {
        let now = self.outside();
        for since in std::mem::take(&mut self.held) {
            self.hold(self.now.saturating_since(since).as_nanos());
        }
        let usage = &mut self.usage;
        usage.span = now.saturating_since(Time::ZERO);
        usage.paid_slot_time += Duration::from_millis(usage.on_demand.billed_ms());
        if self.plan.snapshots_are_billed {
            usage.snapstart.cached_mb_ms =
                u128::from(self.plan.service.memory_mb) * usage.span.as_millis();
        }
        let gone = |stage| matches!(stage, Stage::Killed | Stage::Stopping);
        for (environment, _) in self.model.environments().filter(|(_, stage)| !gone(*stage)) {
            self.watch.instance_ended(now, number(environment));
        }
        self.usage
    }

    /// Now, on the clock of the traffic.
    const fn outside(&self) -> Time {
        Time::ZERO.saturating_add(self.now.saturating_since(self.zero))
    }

    /// A moment of the traffic, on the clock of the model.
    fn inside(&self, at: Time) -> Time {
        self.zero + at.saturating_since(Time::ZERO)
    }
}

fn number(environment: EnvironmentId) -> u32 {
    u32::try_from(environment.number()).unwrap_or(u32::MAX)
}

/// Keeps the retries' chance apart from the model's.
const RETRIES: u64 = 0x7265_7472_6965_7321;
/// The longest first pause before a retry.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(20);
/// Provisioned concurrency is charged in whole spans of this.
const HOLD: Duration = Duration::from_secs(5 * 60);
/// How long provisioned environments may take before the traffic comes without them.
const PATIENCE: Time = Time::from_millis(24 * 3_600 * 1_000);

#[cfg(test)]
mod tests;
