//! The one task that owns the model: it tells the model what happened and does what it orders.
//!
//! A turn: wait for a call or for the model's timer; read the clock once; let due timers fire; tell
//! the model what the call means; do its orders until it has none.

mod api_calls;
mod bodies;
mod invokes;
mod orders;
mod sandbox;
mod variables;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dispatch_model::Time;
use io_tokio::clock::Clock;
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot};

use crate::call::{Call, Calls, answer};
use crate::config::{Config, Function};
use crate::emulator::{EnvironmentInfo, PrewarmError};
use crate::event::{Event, ProcessEnd};
use crate::model::{Bill, EnvironmentId, Input, Model, Stage};
use crate::processes::{Ports, Processes};

use self::invokes::Invokes;
use self::sandbox::Sandbox;

pub(crate) use self::invokes::function_arn;

/// The model and everything that its orders act upon.
#[derive(Debug)]
pub(crate) struct Owner {
    calls: mpsc::Receiver<Call>,
    clock: Clock,
    config: Arc<Config>,
    function: Arc<Function>,
    model: Model,
    /// The moment of this turn.
    now: Time,
    bills: VecDeque<Bill>,
    /// What doing an order brought about; the model is told in the same turn.
    happened: VecDeque<Input>,
    invokes: Invokes,
    ports: Ports,
    prewarms: Vec<Prewarm>,
    processes: Processes,
    sandboxes: BTreeMap<EnvironmentId, Sandbox>,
    sender: Calls,
    shutdown: Option<oneshot::Sender<()>>,
}

/// Somebody who waits for environments to be ready.
#[derive(Debug)]
struct Prewarm {
    waiting: BTreeSet<EnvironmentId>,
    reply: oneshot::Sender<Result<(), PrewarmError>>,
}

impl Owner {
    /// An owner for the calls that come through `calls`; `sender` is the other end, for the tasks
    /// that it starts.
    pub(crate) fn new(
        config: Arc<Config>,
        function: Arc<Function>,
        processes: Processes,
        (sender, calls): (Calls, mpsc::Receiver<Call>),
    ) -> Self {
        let clock = Clock::start();
        let now = clock.now();
        Self {
            model: Model::new(config.service.clone(), config.seed, now),
            invokes: Invokes::new(&config, &function),
            calls,
            clock,
            config,
            function,
            now,
            bills: VecDeque::new(),
            happened: VecDeque::new(),
            ports: Ports::new(),
            prewarms: Vec::new(),
            processes,
            sandboxes: BTreeMap::new(),
            sender,
            shutdown: None,
        }
    }

    /// Runs until the shutdown that somebody asked for is complete.
    pub(crate) async fn run(mut self) {
        while self.shutdown.is_none() || self.model.environments().next().is_some() {
            let call = tokio::select! {
                biased;
                call = self.calls.recv() => call,
                () = wait(&self.clock, self.model.poll_timeout()) => None,
            };
            self.now = self.clock.now();
            self.model.handle_timeout(self.now);
            self.settle().await;
            if let Some(call) = call {
                self.take(call);
                self.settle().await;
            }
        }
        if let Some(reply) = self.shutdown.take() {
            answer(reply, ());
        }
    }

    /// Does everything that the model orders, and tells it what comes of that.
    async fn settle(&mut self) {
        loop {
            while let Some(output) = self.model.poll_output() {
                self.perform(output).await;
            }
            let Some(input) = self.happened.pop_front() else { return };
            self.tell(input);
            if let Input::EnvironmentEmptied { environment } = input {
                self.forget(environment);
            }
        }
    }

    fn tell(&mut self, input: Input) {
        self.model.handle_input(self.now, input);
    }

    fn take(&mut self, call: Call) {
        match call {
            Call::Bills { reply } => answer(reply, self.bills.iter().copied().collect()),
            Call::Environments { reply } => answer(reply, self.environments()),
            Call::ExtensionNext { environment, identifier, reply } => {
                self.extension_next(environment, &identifier, reply);
            }
            Call::ExtensionRegister { environment, registration, reply } => {
                answer(reply, self.extension_register(environment, registration));
            }
            Call::InitError { environment, body, reply } => {
                answer(reply, self.init_error(environment, body));
            }
            Call::Invoke { request, reply } => {
                let invoke = self.invokes.add(request, reply);
                self.tell(Input::InvokeRequested { invoke });
            }
            Call::KillEnvironment { environment, reply } => {
                self.processes.signal(environment, Signal::KILL);
                answer(reply, self.sandboxes.contains_key(&environment));
            }
            Call::Prewarm { count, reply } => self.prewarm(count, reply),
            Call::ProcessEnded { environment, program, end } => {
                self.process_ended(environment, program, end);
            }
            Call::RestoreNext { environment, reply } => self.restore_next(environment, reply),
            Call::RuntimeNext { environment, reply } => self.runtime_next(environment, reply),
            Call::RuntimePosted { environment, request_id, posted, reply } => {
                answer(reply, self.runtime_posted(environment, &request_id, posted));
            }
            Call::Shutdown { reply } => {
                self.shutdown = Some(reply);
                self.prewarms.clear();
                self.tell(Input::ShutdownRequested);
            }
            Call::Throttle { on } => self.tell(Input::ThrottleChanged { on }),
        }
    }

    fn prewarm(&mut self, count: u32, reply: oneshot::Sender<Result<(), PrewarmError>>) {
        let before: BTreeSet<_> = self.model.environments().map(|(id, _)| id).collect();
        for _ in 0..count {
            self.tell(Input::PrewarmRequested);
        }
        let waiting: BTreeSet<_> =
            self.model.environments().map(|(id, _)| id).filter(|id| !before.contains(id)).collect();
        if waiting.is_empty() {
            answer(reply, if count == 0 { Ok(()) } else { Err(PrewarmError::ShutDown) });
        } else {
            self.prewarms.push(Prewarm { waiting, reply });
        }
    }

    fn process_ended(&mut self, environment: EnvironmentId, program: String, end: ProcessEnd) {
        let Some(sandbox) = self.sandboxes.get_mut(&environment) else { return };
        let emptied = sandbox.process_ended(end);
        match self.model.stage(environment) {
            // It was told to.
            Some(Stage::Killed | Stage::Stopping) | None => {}
            Some(
                Stage::Creating
                | Stage::Idle
                | Stage::Initialising
                | Stage::Invoking
                | Stage::Restoring
                | Stage::Stored,
            ) => {
                self.observe(&Event::Exited { environment, program, end });
            }
        }
        self.tell(Input::ProcessExited { environment });
        if emptied {
            self.happened.push_back(Input::EnvironmentEmptied { environment });
        }
    }

    fn environments(&self) -> Vec<EnvironmentInfo> {
        let info = |(id, stage)| EnvironmentInfo {
            id,
            stage,
            pids: self.processes.pids(id),
            port: self.sandboxes.get(&id).map(|sandbox| sandbox.port),
        };
        self.model.environments().map(info).collect()
    }

    fn observe(&self, event: &Event) {
        (self.config.observer)(event);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.processes.end();
    }
}

async fn wait(clock: &Clock, until: Option<Time>) {
    match until {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
