//! The life of an environment, from its creation to its last process: the second half of [`Model`].

use std::time::Duration;

use dispatch_model::Time;
use dispatch_model::time::nanos;

use super::environment::{Environment, Held};
use super::{Answer, Bill, EnvironmentId, InitFailure, Model, Output, Stage, whole_ms};

impl Model {
    pub(super) fn create(&mut self, held: Option<Held>) -> EnvironmentId {
        let id = self.environments.add(Environment::new());
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
    pub(super) fn start(&mut self, id: EnvironmentId) {
        let now = self.now;
        let Some(there) = self.environments.get_mut(id) else { return };
        there.stage = Stage::Initialising;
        there.init_since = now;
        let limit = match there.held.as_ref().and_then(|held| held.since) {
            Some(since) => since + self.config.function_timeout,
            None if self.config.restore.is_some() => now + SNAPSHOT_INIT,
            None if there.provisioned => now + self.config.function_timeout.max(PROVISIONED_INIT),
            None => now + self.config.init_timeout,
        };
        self.set_timer(id, Some(limit));
        self.order(Output::Start { environment: id });
    }

    /// Moves on if the runtime and every extension of `id` wait for what comes next.
    pub(super) fn settle(&mut self, id: EnvironmentId) {
        let now = self.now;
        let Some(there) = self.environments.get_mut(id) else { return };
        if !there.all_wait() {
            return;
        }
        match there.stage {
            Stage::Initialising if there.awaits_restore => self.store(id),
            Stage::Restoring if !there.awaits_restore => self.deliver(id),
            Stage::Initialising => {
                let init = now.saturating_since(there.init_since);
                let invoked = there.held.as_mut().map(|held| held.initialised(init)).is_some();
                self.order(Output::Initialised { environment: id, init });
                if invoked {
                    return self.deliver(id);
                }
                self.bill_init(id, init);
                self.rest(id);
            }
            Stage::Invoking if there.held.as_ref().is_some_and(|held| held.answered) => {
                self.end_invoke(id, Answer::Exited { environment: id });
                self.rest(id);
            }
            Stage::Creating
            | Stage::Idle
            | Stage::Invoking
            | Stage::Killed
            | Stage::Restoring
            | Stage::Stopping
            | Stage::Stored => {}
        }
    }

    /// Bills an initialisation that nobody waited for, if AWS does.
    fn bill_init(&mut self, id: EnvironmentId, init: Duration) {
        let Some(there) = self.environments.get(id) else { return };
        if there.init_is_billed {
            self.order(Output::Bill(Bill {
                environment: id,
                invoke: None,
                cold: false,
                provisioned: there.provisioned,
                init_ms: whole_ms(init),
                duration_ms: 0,
                memory_mb: self.config.memory_mb,
            }));
        }
    }

    /// Lets `id` take the invoke that has waited longest, or freezes it until the next, or until it
    /// has been idle for too long.
    fn rest(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get(id) else { return };
        let (retired, provisioned) = (there.retired, there.provisioned);
        if retired {
            return self.stop(id);
        }
        if let Some(invoke) = self.take_waiting() {
            self.hold(id, Held::warm(invoke));
            return self.deliver(id);
        }
        let jitter = Duration::from_nanos(self.chance.below(nanos(self.config.idle_jitter)));
        let reap = self.now + self.config.idle_timeout + jitter;
        let Some(there) = self.environments.get_mut(id) else { return };
        there.stage = Stage::Idle;
        there.frozen = true;
        self.idle.push(id, provisioned);
        self.set_timer(id, (!provisioned).then_some(reap));
        self.order(Output::Freeze { environment: id });
    }

    pub(super) fn timer_fired(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get(id) else { return };
        let timed_out = Answer::TimedOut { after: self.config.function_timeout };
        match there.stage {
            Stage::Creating => self.start(id),
            Stage::Initialising => self.init_failed(id, InitFailure::TimedOut),
            Stage::Invoking => {
                self.end_invoke(id, timed_out);
                self.kill(id);
            }
            Stage::Idle => self.stop(id),
            Stage::Restoring => self.restore_due(id),
            Stage::Stopping => self.kill(id),
            Stage::Killed | Stage::Stored => {}
        }
    }

    /// Gives up on these processes; the invoke that waits for them gets one more try of its own.
    pub(super) fn init_failed(&mut self, id: EnvironmentId, cause: InitFailure) {
        let now = self.now;
        self.order(Output::InitFailed { environment: id, cause });
        let Some(there) = self.environments.get_mut(id) else { return };
        let spent = now.saturating_since(there.init_since);
        let retry = if there.is_waited_for() { there.held.take() } else { None };
        if let Some(mut held) = retry {
            self.concurrency -= 1;
            held.init = spent;
            held.since = Some(now);
            self.kill(id);
            let fresh = self.create(Some(held));
            return self.start(fresh);
        }
        self.bill_init(id, spent);
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
            Some(Stage::Idle | Stage::Stored) => self.kill(id),
            Some(Stage::Restoring) => self.restore_failed(id, Answer::Exited { environment: id }),
            Some(Stage::Creating | Stage::Killed | Stage::Stopping) | None => {}
        }
    }

    /// Ends `id` as AWS does: extensions are told and have a moment, without any it is killed.
    pub(super) fn stop(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get_mut(id) else { return };
        if !there.has_extensions() {
            return self.kill(id);
        }
        there.stage = Stage::Stopping;
        let thaw = std::mem::take(&mut there.frozen);
        let deadline = self.now + self.config.shutdown_budget;
        self.set_timer(id, Some(deadline));
        if thaw {
            self.order(Output::Thaw { environment: id });
        }
        self.order(Output::Stop { environment: id, deadline });
        self.retire(id);
    }

    pub(super) fn kill(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get_mut(id) else { return };
        let started = there.stage != Stage::Creating;
        there.stage = Stage::Killed;
        there.frozen = false;
        self.set_timer(id, None);
        self.retire(id);
        if started {
            self.order(Output::Kill { environment: id });
        } else {
            self.environments.remove(id);
        }
    }

    pub(super) fn emptied(&mut self, id: EnvironmentId) {
        if let Some(Stage::Killed | Stage::Stopping) = self.stage(id) {
            self.environments.remove(id);
        }
    }

    pub(super) fn shut_down(&mut self) {
        self.shutting_down = true;
        for id in self.all() {
            match self.stage(id) {
                Some(Stage::Idle) => self.stop(id),
                Some(
                    Stage::Creating
                    | Stage::Initialising
                    | Stage::Invoking
                    | Stage::Restoring
                    | Stage::Stored,
                ) => {
                    self.end_invoke(id, Answer::Unavailable);
                    self.kill(id);
                }
                Some(Stage::Killed | Stage::Stopping) | None => {}
            }
        }
    }

    pub(super) fn set_timer(&mut self, id: EnvironmentId, at: Option<Time>) {
        self.environments.set_timer(id, at);
    }

    /// Every environment that is not gone, to go through while they change.
    pub(super) fn all(&self) -> Vec<EnvironmentId> {
        self.environments.iter().map(|(id, _)| id).collect()
    }
}

/// What AWS lets an initialisation take that is kept as a snapshot.
const SNAPSHOT_INIT: Duration = Duration::from_secs(900);
/// What AWS lets a provisioned environment take to initialise where the function's time-out is
/// less.
const PROVISIONED_INIT: Duration = Duration::from_secs(130);
