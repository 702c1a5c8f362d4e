//! AWS Lambda: the emulator's model of the service, whose orders are carried out on environments
//! that are tasks.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::InvokeOutcome;
use emulator::model::{self, Answer, EnvironmentId, ExtensionId, InvokeId};
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::payload::{CheckedOffer, InvokePayload, Plaintext};
use tokio::sync::oneshot;

use crate::fast::outcome;
use crate::fault::FaultKind;

use super::environment::{Delivery, Environment, Task};
use super::world::{State, World, zone_of};

/// An invoke that has not been answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) payload: Bytes,
    reply: Option<oneshot::Sender<Answer>>,
}

/// The Invoke API, as the router is given it.
#[derive(Debug)]
pub(super) struct Aws(pub(super) Arc<World>);

impl Invoker for Aws {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let payload = Bytes::from(payload);
        Box::pin(async move {
            tokio::time::sleep(API_CALL).await;
            if self.0.state().router.is_dying {
                // Whoever calls is no more.
                return std::future::pending().await;
            }
            let outcome = self.call(payload).await;
            Invoked::new(outcome, &"simulated")
        })
    }
}

impl Aws {
    async fn call(&self, payload: Bytes) -> InvokeOutcome {
        let awaited = {
            let mut state = self.0.state();
            let refused = [
                (FaultKind::Forbidden, InvokeOutcome::Forbidden),
                (FaultKind::Unavailable, InvokeOutcome::Unavailable),
            ];
            if let Some((kind, outcome)) =
                refused.into_iter().find(|(kind, _)| state.faults.is_on(*kind, 0))
            {
                state.fired(kind);
                return outcome;
            }
            let mut awaited = state.invoke(payload);
            if state.faults.is_on(FaultKind::UnknownOutcome, 0) {
                // A refusal comes at once; what breaks is the call of an invocation that goes on.
                return awaited.try_recv().map_or_else(
                    |_| {
                        state.fired(FaultKind::UnknownOutcome);
                        InvokeOutcome::Unknown
                    },
                    outcome,
                );
            }
            awaited
        };
        awaited.await.map_or(InvokeOutcome::Unavailable, outcome)
    }
}

impl State {
    fn invoke(&mut self, payload: Bytes) -> oneshot::Receiver<Answer> {
        let (reply, awaited) = oneshot::channel();
        self.invoked += 1;
        let invoke = InvokeId::new(self.invoked);
        self.invokes.insert(invoke, Pending { payload, reply: Some(reply) });
        self.tell_lambda(model::Input::InvokeRequested { invoke });
        awaited
    }

    /// Lets Lambda's timers fire.
    pub(super) fn lambda_timeout(&mut self) {
        if self.lambda.poll_timeout().is_some_and(|at| at <= self.now) {
            self.lambda.handle_timeout(self.now);
            self.orders_of_lambda(VecDeque::new());
        }
    }

    /// Tells Lambda what happened and does what it orders.
    pub(super) fn tell_lambda(&mut self, input: model::Input) {
        self.orders_of_lambda(VecDeque::from([input]));
    }

    fn orders_of_lambda(&mut self, mut happened: VecDeque<model::Input>) {
        loop {
            while let Some(output) = self.lambda.poll_output() {
                self.perform(output, &mut happened);
            }
            let Some(input) = happened.pop_front() else { break };
            self.lambda.handle_input(self.now, input);
        }
        let at_once = self.lambda.concurrency();
        self.report.concurrency_max = self.report.concurrency_max.max(at_once);
    }

    fn perform(&mut self, output: model::Output, happened: &mut VecDeque<model::Input>) {
        match output {
            model::Output::Answer { invoke, answer } => self.answer(invoke, answer),
            model::Output::Bill(bill) => {
                self.report.billed_ms += bill.billed_ms();
                let Some(invoke) = bill.invoke else { return };
                self.invokes.remove(&invoke);
                if let Some(there) = self.environments.get_mut(&bill.environment) {
                    there.holding = None;
                }
            }
            model::Output::Deliver { environment, invoke, deadline } => {
                self.deliver(environment, invoke, deadline.saturating_since(self.now));
            }
            model::Output::Freeze { environment } => self.freeze(environment),
            model::Output::Kill { environment } => {
                if let Some(there) = self.environments.remove(&environment) {
                    there.die();
                }
                happened.push_back(model::Input::EnvironmentEmptied { environment });
            }
            model::Output::Restore { environment } => {
                unreachable!("{environment} is no copy of a snapshot");
            }
            model::Output::Start { environment } => self.start(environment, happened),
            model::Output::Stop { environment, deadline } => {
                let left = deadline.saturating_since(self.now);
                if let Some(there) = self.environments.get_mut(&environment) {
                    there.tell_of_shutdown(left);
                }
            }
            model::Output::Thaw { environment } => {
                if let Some(there) = self.environments.get_mut(&environment) {
                    there.is_frozen = false;
                }
            }
            model::Output::InitFailed { .. } | model::Output::Initialised { .. } => {}
        }
    }

    fn answer(&mut self, invoke: InvokeId, answer: Answer) {
        if matches!(answer, Answer::Throttled(_)) && self.faults.is_on(FaultKind::Throttle, 0) {
            self.fired(FaultKind::Throttle);
        }
        let over = matches!(answer, Answer::Throttled(_) | Answer::Unavailable);
        let Some(pending) = self.invokes.get_mut(&invoke) else { return };
        // The router may be gone, or may have been told that the end is unknown: then it takes
        // whoever comes with that name.
        let told = pending.reply.take().is_some_and(|reply| reply.send(answer).is_ok());
        if told
            && !over
            && let Some(offer) = offer(&pending.payload)
        {
            self.faults.over(offer);
        }
        if over {
            self.invokes.remove(&invoke);
        }
    }

    /// Hands an invoke to its environment, with a deadline in the time on Lambda's wall.
    fn deliver(&mut self, environment: EnvironmentId, invoke: InvokeId, left: Duration) {
        let Some(payload) = self.invokes.get(&invoke).map(|pending| pending.payload.clone()) else {
            return;
        };
        if self.faults.is_on(FaultKind::ClockStep, zone_of(environment)) {
            self.fired(FaultKind::ClockStep);
        }
        let delivery = Delivery { invoke, payload, left };
        let Some(there) = self.environments.get_mut(&environment) else { return };
        there.holding = Some(delivery.clone());
        there.deliver(delivery);
    }

    /// Nothing may be going on in an environment that is frozen.
    fn freeze(&mut self, environment: EnvironmentId) {
        let Some(there) = self.environments.get_mut(&environment) else { return };
        there.is_frozen = true;
        let (link, app) = (there.has_link(), there.app_connections());
        if link || app > 0 {
            self.breaks(|| format!("{environment} is frozen with {link} and {app} to its app"));
        }
    }

    fn start(&mut self, id: EnvironmentId, happened: &mut VecDeque<model::Input>) {
        self.report.environments += 1;
        let zone = zone_of(id);
        let dies = [FaultKind::InitCrash, FaultKind::ZoneLoss];
        if let Some(kind) = dies.into_iter().find(|kind| self.faults.is_on(*kind, zone)) {
            self.fired(kind);
            happened.push_back(model::Input::ProcessExited { environment: id });
            happened.push_back(model::Input::EnvironmentEmptied { environment: id });
            return;
        }
        let init = if self.faults.is_on(FaultKind::InitHang, zone) {
            self.fired(FaultKind::InitHang);
            None
        } else {
            let times = self.faults.size(FaultKind::ColdTail, zone);
            if times.is_some() {
                self.fired(FaultKind::ColdTail);
            }
            Some(times.unwrap_or(1).max(1))
        };
        let (there, start) = Environment::new(id, init);
        self.environments.insert(id, there);
        self.order(Task::Start(start));
    }

    /// Has something done where environments are.
    pub(super) fn order(&mut self, task: Task) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok())
    }

    /// The processes of an environment have ended by themselves.
    pub(super) fn exited(&mut self, environment: EnvironmentId) {
        if let Some(there) = self.environments.remove(&environment) {
            there.die();
        }
        self.tell_lambda(model::Input::ProcessExited { environment });
        self.tell_lambda(model::Input::EnvironmentEmptied { environment });
    }

    /// What an extension says to the API of its environment.
    pub(super) fn register(&mut self, environment: EnvironmentId) {
        let input =
            model::Input::ExtensionRegistered { environment, extension: ONLY, invoke: false };
        self.tell_lambda(input);
    }

    pub(super) fn await_event(&mut self, environment: EnvironmentId) {
        self.tell_lambda(model::Input::ExtensionNext { environment, extension: ONLY });
    }
}

/// How to attach with a payload, by whoever has got hold of it.
pub(super) fn offer(payload: &[u8]) -> Option<(String, CheckedOffer)> {
    let payload = InvokePayload::from_json(payload).ok()?;
    let sent = io_tokio::rfc3339::parse(&payload.sent_time)?;
    let offer = payload.offer(sent, Plaintext::Allowed).ok()?;
    Some((payload.id, offer))
}

/// How long a call to AWS takes.
const API_CALL: Duration = Duration::from_millis(5);
/// The one extension of an environment.
const ONLY: ExtensionId = ExtensionId::new(1);
