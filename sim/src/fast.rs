//! Discrete events: the next thing to happen is taken from a heap, time jumps to it, and what the
//! models order puts new things on the heap.

mod events;
mod function;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatch_model::{
    Config, ConfigError, Dispatcher, Ending, Input, InstanceId, Output, RequestId, Time,
};
use emulator::model::{self, EnvironmentId, InvokeId, Model};

use crate::report::Report;
use crate::scenario::{Behaviour, Scenario};

use events::{Event, Events};

/// Runs `scenario` to its end: all requests have ended, the pool has been shut down, every
/// invocation is over and billed.
///
/// # Errors
///
/// The scenario's limits are out of range.
///
/// # Panics
///
/// The dispatcher breaks an invariant of its own, or orders what makes no sense.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Report, ConfigError> {
    let mut world = World::new(scenario, seed)?;
    while world.step() {}
    Ok(world.finish())
}

/// One pool, its function and its clients.
struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    dispatcher: Dispatcher,
    lambda: Model,
    events: Events,
    requests: BTreeMap<RequestId, Request>,
    instances: BTreeMap<InstanceId, Instance>,
    /// Which invoke an environment holds, and for whom.
    holding: BTreeMap<EnvironmentId, (InvokeId, InstanceId)>,
    /// Environments that have not been given an invoke yet.
    fresh: BTreeSet<EnvironmentId>,
    invoked: BTreeMap<InvokeId, InstanceId>,
    invokes: u64,
    /// When each request arrives, the last one first.
    arrivals: Vec<(Time, RequestId)>,
    stopping: bool,
    stopped: bool,
    report: Report,
}

struct Request {
    arrived: Time,
    instance: Option<InstanceId>,
    /// How often it was dispatched: an ending of an earlier time is of no account.
    attempt: u32,
}

struct Instance {
    environment: Option<EnvironmentId>,
    running: Vec<RequestId>,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Result<Self, ConfigError> {
        let config = Config::new(scenario.limits)?;
        let requests = (0..).map(|index| RequestId::new(index, 0));
        let mut arrivals: Vec<_> =
            scenario.workload.arrivals(seed).into_iter().zip(requests).collect();
        arrivals.reverse();
        let mut events = Events::default();
        for (from, behaviour) in &scenario.behaviours {
            events.push(*from, Event::Throttle(*behaviour == Behaviour::Throttled));
        }
        let mut world = Self {
            scenario,
            now: Time::ZERO,
            dispatcher: Dispatcher::new(config, seed, Time::ZERO),
            lambda: Model::new(scenario.lambda.clone(), seed, Time::ZERO),
            events,
            requests: BTreeMap::new(),
            instances: BTreeMap::new(),
            holding: BTreeMap::new(),
            fresh: BTreeSet::new(),
            invoked: BTreeMap::new(),
            invokes: 0,
            arrivals,
            stopping: false,
            stopped: false,
            report: Report::default(),
        };
        while world.events.next_at() == Some(Time::ZERO) {
            world.step();
        }
        world.orders();
        Ok(world)
    }

    /// Lets the next thing happen; false when nothing is left that matters.
    fn step(&mut self) -> bool {
        if !self.stopping && self.arrivals.is_empty() && self.requests.is_empty() {
            self.stopping = true;
            self.tell(Input::ShutdownRequested { drain: Duration::from_secs(60) });
            return true;
        }
        if self.stopped && self.lambda.concurrency() == 0 && self.instances.is_empty() {
            return false;
        }
        let timer = self.dispatcher.poll_timeout().map(|timeout| timeout.at);
        let arrival = self.arrivals.last().map(|(at, _)| *at);
        let next = [self.events.next_at(), self.lambda.poll_timeout(), timer, arrival];
        let Some(at) = next.into_iter().flatten().min() else { return false };
        if at > self.scenario.horizon {
            self.report.cut = true;
            return false;
        }
        self.now = at;
        if next[0] == Some(at) {
            if let Some(event) = self.events.pop() {
                self.happen(event);
            }
        } else if next[1] == Some(at) {
            self.lambda.handle_timeout(at);
            self.orders_of_lambda();
        } else if next[2] == Some(at) {
            self.dispatcher.handle_timeout(at);
            self.orders();
        } else if let Some((_, request)) = self.arrivals.pop() {
            self.requests.insert(request, Request { arrived: at, instance: None, attempt: 0 });
            self.tell(Input::RequestArrived { request, bytes: 500 });
        }
        true
    }

    fn finish(mut self) -> Report {
        self.dispatcher.check();
        self.report.stats = *self.dispatcher.stats();
        self.report.waits.sort_unstable();
        self.report
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ended { request, attempt, ending } => {
                let current = self.requests.get(&request);
                if current.is_some_and(|running| running.attempt == attempt) {
                    self.end(request, ending);
                }
            }
            Event::Throttle(on) => self.tell_lambda(model::Input::ThrottleChanged { on }),
            Event::Function(event) => self.function(event),
        }
    }

    /// A running request is over on its instance.
    fn end(&mut self, request: RequestId, ending: Ending) {
        let Some(running) = self.requests.get_mut(&request) else { return };
        let instance = running.instance.take();
        if let Some(instance) = instance.and_then(|id| self.instances.get_mut(&id)) {
            instance.running.retain(|other| *other != request);
        }
        if ending == Ending::Served {
            self.over(request);
        }
        self.tell(Input::RequestEnded { request, ending });
    }

    /// A request has ended for its client.
    fn over(&mut self, request: RequestId) {
        let request = self.requests.remove(&request).expect("a request ends once");
        let took = self.now.saturating_since(request.arrived);
        self.report.longest = self.report.longest.max(took);
    }

    fn tell(&mut self, input: Input) {
        self.dispatcher.handle_input(self.now, input);
        self.orders();
    }

    /// Carries out what the dispatcher orders.
    fn orders(&mut self) {
        while let Some(output) = self.dispatcher.poll_output() {
            self.report.digest.word(self.now.as_nanos());
            self.report.digest.output(&output);
            match output {
                Output::Close { instance } => self.close(instance),
                Output::Dispatch { request, instance, waited, .. } => {
                    self.report.waits.push(waited);
                    self.dispatch(request, instance);
                }
                Output::Invoke { instance } => self.invoke(instance),
                Output::Ping { instance } => {
                    self.events.push(self.now, Event::Function(function::Event::Pong(instance)));
                }
                Output::Refuse { request, reason, .. } => {
                    *self.report.refused.entry(reason.name()).or_default() += 1;
                    self.over(request);
                }
                Output::Stopped => self.stopped = true,
                Output::Decided(_) | Output::GoAway { .. } => {}
            }
        }
    }
}
