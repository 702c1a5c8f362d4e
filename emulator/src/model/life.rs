//! The life of an environment, from its creation to its last process: the second half of [`Model`].

use std::time::Duration;

use dispatch_model::Time;
use dispatch_model::time::nanos;

use super::environment::{Environment, Held};
use super::{Answer, EnvironmentId, InitFailure, Model, Output, Stage};

impl Model {
    pub(super) fn create(&mut self, held: Option<Held>) -> EnvironmentId {
        self.created += 1;
        let id = EnvironmentId::new(self.created);
        self.environments.insert(id, Environment::new());
        if let Some(held) = held {
            self.hold(id, held);
        }
        id
    }

    pub(super) fn begin_creation(&mut self, id: EnvironmentId) {
        if self.config.cold_start.is_zero() {
            self.start(id);
        } else {
            self.set_timer(id, Some(self.now + self.config.cold_start));
        }
    }

    /// Runs the processes. Their limit is the init limit, or inside an invoke its time-out.
    fn start(&mut self, id: EnvironmentId) {
        let now = self.now;
        let Some(there) = self.environments.get_mut(&id) else { return };
        there.stage = Stage::Initialising;
        there.init_since = now;
        let limit = match there.held.as_ref().and_then(|held| held.since) {
            Some(since) => since + self.config.function_timeout,
            None => now + self.config.init_timeout,
        };
        self.set_timer(id, Some(limit));
        self.order(Output::Start { environment: id });
    }

    /// Moves on if the runtime and every extension of `id` wait for what comes next.
    pub(super) fn settle(&mut self, id: EnvironmentId) {
        let now = self.now;
        let Some(there) = self.environments.get_mut(&id) else { return };
        if !there.all_wait() {
            return;
        }
        match there.stage {
            Stage::Initialising => {
                let init = now.saturating_since(there.init_since);
                let invoked = there.held.as_mut().map(|held| held.initialised(init)).is_some();
                self.order(Output::Initialised { environment: id, init });
                if invoked { self.deliver(id) } else { self.rest(id) }
            }
            Stage::Invoking if there.held.as_ref().is_some_and(|held| held.answered) => {
                self.end_invoke(id, Answer::Exited { environment: id });
                self.rest(id);
            }
            Stage::Creating | Stage::Idle | Stage::Invoking | Stage::Killed | Stage::Stopping => {}
        }
    }

    /// Freezes `id` until the next invoke, or until it has been idle for too long.
    pub(super) fn rest(&mut self, id: EnvironmentId) {
        let jitter = Duration::from_nanos(self.chance.below(nanos(self.config.idle_jitter)));
        let span = self.config.idle_timeout + jitter;
        self.idle_count += 1;
        let place = self.idle_count;
        let Some(there) = self.environments.get_mut(&id) else { return };
        there.stage = Stage::Idle;
        there.idle_place = place;
        there.frozen = true;
        self.idle.insert(place, id);
        self.set_timer(id, Some(self.now + span));
        self.order(Output::Freeze { environment: id });
    }

    pub(super) fn timer_fired(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get(&id) else { return };
        let timed_out = Answer::TimedOut { after: self.config.function_timeout };
        match there.stage {
            Stage::Creating => self.start(id),
            Stage::Initialising => self.init_failed(id, InitFailure::TimedOut),
            Stage::Invoking => {
                self.end_invoke(id, timed_out);
                self.kill(id);
            }
            Stage::Idle => self.stop(id),
            Stage::Stopping => self.kill(id),
            Stage::Killed => {}
        }
    }

    /// Gives up on these processes; the invoke that waits for them gets one more try of its own.
    pub(super) fn init_failed(&mut self, id: EnvironmentId, cause: InitFailure) {
        let now = self.now;
        self.order(Output::InitFailed { environment: id, cause });
        let Some(there) = self.environments.get_mut(&id) else { return };
        let spent = now.saturating_since(there.init_since);
        let retry = match &there.held {
            Some(held) if held.since.is_none() => there.held.take(),
            Some(_) | None => None,
        };
        if let Some(mut held) = retry {
            self.concurrency -= 1;
            held.init = spent;
            held.since = Some(now);
            self.kill(id);
            let fresh = self.create(Some(held));
            return self.start(fresh);
        }
        self.end_invoke(
            id,
            match cause {
                InitFailure::Exited => Answer::Exited { environment: id },
                InitFailure::Reported => Answer::InitError { environment: id },
                InitFailure::TimedOut => Answer::TimedOut { after: self.config.function_timeout },
            },
        );
        self.kill(id);
    }

    pub(super) fn process_exited(&mut self, id: EnvironmentId) {
        match self.stage(id) {
            Some(Stage::Initialising) => self.init_failed(id, InitFailure::Exited),
            Some(Stage::Invoking) => {
                self.end_invoke(id, Answer::Exited { environment: id });
                self.kill(id);
            }
            Some(Stage::Idle) => self.kill(id),
            Some(Stage::Creating | Stage::Killed | Stage::Stopping) | None => {}
        }
    }

    /// Ends `id` as AWS does: extensions are told and have a moment, without any it is killed.
    fn stop(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get_mut(&id) else { return };
        if !there.has_extensions() {
            return self.kill(id);
        }
        self.idle.remove(&there.idle_place);
        there.stage = Stage::Stopping;
        let thaw = std::mem::take(&mut there.frozen);
        let deadline = self.now + self.config.shutdown_budget;
        self.set_timer(id, Some(deadline));
        if thaw {
            self.order(Output::Thaw { environment: id });
        }
        self.order(Output::Stop { environment: id, deadline });
    }

    fn kill(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get_mut(&id) else { return };
        self.idle.remove(&there.idle_place);
        let started = there.stage != Stage::Creating;
        there.stage = Stage::Killed;
        there.frozen = false;
        self.set_timer(id, None);
        if started {
            self.order(Output::Kill { environment: id });
        } else {
            self.environments.remove(&id);
        }
    }

    pub(super) fn emptied(&mut self, id: EnvironmentId) {
        if let Some(Stage::Killed | Stage::Stopping) = self.stage(id) {
            self.set_timer(id, None);
            self.environments.remove(&id);
        }
    }

    pub(super) fn shut_down(&mut self) {
        self.shutting_down = true;
        for id in self.environments.keys().copied().collect::<Vec<_>>() {
            match self.stage(id) {
                Some(Stage::Idle) => self.stop(id),
                Some(Stage::Creating | Stage::Initialising | Stage::Invoking) => {
                    self.end_invoke(id, Answer::Unavailable);
                    self.kill(id);
                }
                Some(Stage::Killed | Stage::Stopping) | None => {}
            }
        }
    }

    pub(super) fn set_timer(&mut self, id: EnvironmentId, at: Option<Time>) {
        if let Some(there) = self.environments.get_mut(&id) {
            if let Some(old) = std::mem::replace(&mut there.timer, at) {
                self.timers.remove(&(old, id));
            }
            if let Some(at) = at {
                self.timers.insert((at, id));
            }
        }
    }
}
