//! The function's side: Lambda's orders, the extension's doing, and the faults of the scenario.

use std::time::Duration;

use dispatch_model::{Ending, Input, InstanceId, InvokeOutcome, RequestId};
use emulator::model::{self, Answer, EnvironmentId, InvokeId};

use crate::scenario::Behaviour;

use super::{Instance, World, events};

/// Something that will happen to the function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The Invoke API answers without an environment.
    Answered(InstanceId, InvokeOutcome),
    /// The instance dials back.
    Attaches(InstanceId),
    /// The processes of an environment are gone.
    Emptied(EnvironmentId),
    /// The process ends by itself.
    Exits(EnvironmentId),
    /// The processes of an environment have initialised.
    Initialised(EnvironmentId),
    /// The instance's handler returns.
    Leaves(InstanceId),
    /// The instance answers a ping.
    Pong(InstanceId),
}

impl World<'_> {
    pub(super) fn function(&mut self, event: Event) {
        match event {
            Event::Answered(instance, outcome) => self.invoke_over(instance, outcome),
            Event::Attaches(instance) => self.attach(instance),
            Event::Emptied(environment) => {
                self.tell_lambda(model::Input::EnvironmentEmptied { environment });
            }
            Event::Exits(environment) => {
                self.environment_gone(environment);
                self.tell_lambda(model::Input::ProcessExited { environment });
            }
            Event::Initialised(environment) => {
                self.tell_lambda(model::Input::RuntimeNext { environment });
            }
            Event::Leaves(instance) => {
                self.tell(Input::InstanceLost { instance });
                self.close(instance);
            }
            Event::Pong(instance) => self.tell(Input::PongReceived { instance }),
        }
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.events.push(self.now + after, events::Event::Function(event));
    }

    pub(super) fn invoke(&mut self, instance: InstanceId) {
        self.instances.insert(instance, Instance { environment: None, running: Vec::new() });
        if let Behaviour::Answers(outcome) = self.scenario.behaviour(self.now) {
            return self.later(ROUND_TRIP, Event::Answered(instance, outcome));
        }
        self.invokes += 1;
        let invoke = InvokeId::new(self.invokes);
        self.invoked.insert(invoke, instance);
        self.tell_lambda(model::Input::InvokeRequested { invoke });
    }

    pub(super) fn tell_lambda(&mut self, input: model::Input) {
        self.lambda.handle_input(self.now, input);
        self.orders_of_lambda();
    }

    /// Carries out what Lambda orders.
    pub(super) fn orders_of_lambda(&mut self) {
        while let Some(output) = self.lambda.poll_output() {
            match output {
                model::Output::Answer { invoke, answer } => {
                    if let Some(instance) = self.invoked.remove(&invoke) {
                        self.events.push(
                            self.now,
                            events::Event::Function(Event::Answered(instance, outcome(answer))),
                        );
                    }
                }
                model::Output::Bill(bill) => {
                    self.report.billed_ms += bill.billed_ms();
                    self.holding.remove(&bill.environment);
                }
                model::Output::Deliver { environment, invoke, .. } => {
                    let instance = self.invoked[&invoke];
                    self.holding.insert(environment, (invoke, instance));
                    if let Some(there) = self.instances.get_mut(&instance) {
                        there.environment = Some(environment);
                    }
                    self.later(Duration::ZERO, Event::Attaches(instance));
                }
                model::Output::Kill { environment } | model::Output::Stop { environment, .. } => {
                    self.environment_gone(environment);
                    self.fresh.remove(&environment);
                    self.later(Duration::ZERO, Event::Emptied(environment));
                }
                model::Output::Start { environment } => self.start(environment),
                model::Output::Freeze { .. }
                | model::Output::InitFailed { .. }
                | model::Output::Initialised { .. }
                | model::Output::Thaw { .. } => {}
            }
        }
    }

    fn start(&mut self, environment: EnvironmentId) {
        self.report.environments += 1;
        self.fresh.insert(environment);
        match self.scenario.behaviour(self.now) {
            Behaviour::CrashesAtInit => {
                self.later(self.scenario.init, Event::Exits(environment));
            }
            Behaviour::HangsAtInit => {}
            Behaviour::Answers(_)
            | Behaviour::CrashesAtFirstRequest
            | Behaviour::LeavesAtOnce
            | Behaviour::Refuses
            | Behaviour::Throttled
            | Behaviour::Works => {
                self.later(self.scenario.init, Event::Initialised(environment));
            }
        }
    }

    fn attach(&mut self, instance: InstanceId) {
        let Some(environment) = self.instances.get(&instance).and_then(|there| there.environment)
        else {
            return;
        };
        let cold = self.fresh.remove(&environment);
        // As the extension does: the invoke's time, less what it takes to leave.
        let lease = self.scenario.lambda.function_timeout * 9 / 10;
        let slots = self.scenario.limits.slots;
        self.tell(Input::InstanceAttached { instance, slots, lease, cold });
        if self.scenario.behaviour(self.now) == Behaviour::LeavesAtOnce {
            self.later(ROUND_TRIP, Event::Leaves(instance));
        }
    }

    pub(super) fn dispatch(&mut self, request: RequestId, instance: InstanceId) {
        let running = self.requests.get_mut(&request).expect("a live request is dispatched");
        running.instance = Some(instance);
        running.attempt += 1;
        let attempt = running.attempt;
        let there = self.instances.get_mut(&instance).expect("a live instance is given work");
        there.running.push(request);
        assert!(
            there.running.len() <= self.scenario.limits.slots as usize,
            "{instance} is given more than it takes"
        );
        let environment = there.environment;
        let (after, ending) = match self.scenario.behaviour(self.now) {
            Behaviour::CrashesAtFirstRequest => {
                if let Some(environment) = environment {
                    self.later(ROUND_TRIP, Event::Exits(environment));
                }
                return;
            }
            Behaviour::Refuses => (ROUND_TRIP, Ending::Undelivered),
            Behaviour::Answers(_)
            | Behaviour::CrashesAtInit
            | Behaviour::HangsAtInit
            | Behaviour::LeavesAtOnce
            | Behaviour::Throttled
            | Behaviour::Works => (self.scenario.service, Ending::Served),
        };
        self.events.push(self.now + after, events::Event::Ended { request, attempt, ending });
    }

    /// The connection is closed: what runs on it is lost, and the handler returns.
    pub(super) fn close(&mut self, instance: InstanceId) {
        self.fail_running(instance);
        let there = self.instances.get(&instance);
        let Some(environment) = there.and_then(|there| there.environment) else { return };
        if let Some((invoke, _)) = self.holding.get(&environment).copied() {
            self.tell_lambda(model::Input::ResponsePosted { environment, invoke });
            self.tell_lambda(model::Input::RuntimeNext { environment });
        }
    }

    fn environment_gone(&mut self, environment: EnvironmentId) {
        if let Some((_, instance)) = self.holding.get(&environment) {
            self.fail_running(*instance);
        }
    }

    /// Ends what runs on `instance`, whose connection is no more.
    fn fail_running(&mut self, instance: InstanceId) {
        let Some(there) = self.instances.get_mut(&instance) else { return };
        for request in std::mem::take(&mut there.running) {
            let attempt = self.requests[&request].attempt;
            let ending = Ending::Unknown { repeatable: false };
            self.events.push(self.now, events::Event::Ended { request, attempt, ending });
        }
    }

    fn invoke_over(&mut self, instance: InstanceId, outcome: InvokeOutcome) {
        self.fail_running(instance);
        self.instances.remove(&instance);
        self.tell(Input::InvokeEnded { instance, outcome });
    }
}

/// What an answer of the Invoke API means.
const fn outcome(answer: Answer) -> InvokeOutcome {
    match answer {
        Answer::Exited { .. } | Answer::FunctionError | Answer::InitError { .. } => {
            InvokeOutcome::Crashed
        }
        Answer::Response => InvokeOutcome::Returned,
        Answer::Throttled(_) => InvokeOutcome::Throttled { retry_after: None },
        Answer::TimedOut { .. } => InvokeOutcome::TimedOut,
        Answer::Unavailable => InvokeOutcome::Unavailable,
    }
}

/// What it takes to ask and be answered.
const ROUND_TRIP: Duration = Duration::from_millis(10);
