//! Doing what the model orders.

use std::io;

use rustix::process::Signal;

use crate::call::answer;
use crate::emulator::PrewarmError;
use crate::event::Event;
use crate::model::{Answer, Bill, EnvironmentId, Input, Output};

use super::Owner;
use super::sandbox::Sandbox;

impl Owner {
    pub(super) async fn perform(&mut self, output: Output) {
        match output {
            Output::Answer { invoke, answer } => {
                let source = match answer {
                    Answer::Exited { environment } | Answer::InitError { environment } => {
                        self.sandboxes.get(&environment)
                    }
                    Answer::FunctionError
                    | Answer::Response
                    | Answer::Throttled(_)
                    | Answer::TimedOut { .. }
                    | Answer::Unavailable => None,
                };
                self.invokes.answer(invoke, answer, source);
            }
            Output::Bill(bill) => self.bill(bill),
            Output::Deliver { environment, invoke, deadline } => {
                let left = deadline.saturating_since(self.now);
                if let Some(sandbox) = self.sandboxes.get_mut(&environment) {
                    self.invokes.deliver(invoke, left, sandbox);
                }
            }
            Output::Freeze { environment } => {
                self.processes.signal(environment, Signal::STOP);
                self.observe(&Event::Frozen { environment });
            }
            Output::InitFailed { environment, cause } => {
                self.observe(&Event::InitFailed { environment, cause });
                self.prewarmed(environment, Some(PrewarmError::InitFailed { environment, cause }));
            }
            Output::Initialised { environment, init } => {
                self.observe(&Event::InitDone { environment, init });
                self.prewarmed(environment, None);
            }
            Output::Kill { environment } => {
                self.processes.signal(environment, Signal::KILL);
                self.observe(&Event::Killed { environment });
                if self.sandboxes.get(&environment).is_none_or(Sandbox::is_empty) {
                    self.happened.push_back(Input::EnvironmentEmptied { environment });
                }
            }
            Output::Restore { environment } => {
                if let Some(sandbox) = self.sandboxes.get_mut(&environment) {
                    sandbox.restore();
                }
                self.observe(&Event::Restored { environment });
            }
            Output::Start { environment } => self.start(environment).await,
            Output::Stop { environment, deadline } => {
                let left = deadline.saturating_since(self.now);
                if let Some(sandbox) = self.sandboxes.get_mut(&environment) {
                    sandbox.tell_of_shutdown(left);
                    self.processes.terminate(environment, &sandbox.extension_names());
                }
            }
            Output::Thaw { environment } => {
                self.processes.signal(environment, Signal::CONT);
                self.observe(&Event::Thawed { environment });
            }
        }
    }

    /// Runs the programs of `environment`. One that cannot be started counts as one that ended.
    async fn start(&mut self, environment: EnvironmentId) {
        let port = match self.ports.take() {
            Ok(port) => port,
            Err(error) => return self.spawn_failed(environment, "runtime API", &error),
        };
        let opened = Sandbox::new(environment, port, &self.config, &self.function, &self.sender);
        let sandbox = match opened {
            Ok(sandbox) => self.sandboxes.entry(environment).or_insert(sandbox),
            Err(error) => {
                self.ports.give_back(port);
                return self.spawn_failed(environment, "runtime API", &error);
            }
        };
        (self.config.observer)(&Event::EnvironmentStarted { environment, port });
        for program in &self.function.programs {
            let (variables, log) = (&sandbox.variables, &sandbox.log);
            let started = self.processes.run(environment, program, variables, log).await;
            match started {
                Ok(()) => sandbox.process_started(),
                Err(error) => {
                    let name = program.name.clone();
                    return self.spawn_failed(environment, &name, &error);
                }
            }
        }
    }

    fn spawn_failed(&mut self, environment: EnvironmentId, program: &str, error: &io::Error) {
        let (program, error) = (program.to_owned(), error.to_string());
        self.observe(&Event::SpawnFailed { environment, program, error });
        self.happened.push_back(Input::ProcessExited { environment });
    }

    fn bill(&mut self, bill: Bill) {
        self.invokes.billed(bill, self.sandboxes.get_mut(&bill.environment));
        if self.bills.len() == BILLS_MAX {
            self.bills.pop_front();
        }
        self.bills.push_back(bill);
        self.observe(&Event::Billed(bill));
    }

    /// An environment that somebody may wait for is ready, or never will be.
    fn prewarmed(&mut self, environment: EnvironmentId, failure: Option<PrewarmError>) {
        let Some(place) = self.prewarms.iter().position(|it| it.waiting.contains(&environment))
        else {
            return;
        };
        self.prewarms[place].waiting.remove(&environment);
        let result = match failure {
            Some(error) => Err(error),
            None if self.prewarms[place].waiting.is_empty() => Ok(()),
            None => return,
        };
        answer(self.prewarms.swap_remove(place).reply, result);
    }

    /// Nothing is left of an environment.
    pub(super) fn forget(&mut self, environment: EnvironmentId) {
        if let Some(sandbox) = self.sandboxes.remove(&environment) {
            self.ports.give_back(sandbox.port);
        }
    }
}

/// Bills kept for [`Emulator::bills`](crate::Emulator::bills): the last ones, so that an emulator
/// that runs for weeks does not grow.
const BILLS_MAX: usize = 100_000;
