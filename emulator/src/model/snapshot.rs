//! Functions whose initialisation is kept as a snapshot: copies of it, and their restore.

use std::time::Duration;

use super::environment::Held;
use super::{Answer, EnvironmentId, InvokeId, Model, Output, Stage};

impl Model {
    /// Begins to make a copy if the function has a snapshot and none is there or on its way.
    pub(super) fn keep_copy(&mut self) {
        let there = self.environments.iter().any(|(_, there)| {
            let unused = matches!(there.stage, Stage::Initialising | Stage::Stored);
            unused && there.held.is_none() && !there.retired && !there.provisioned
        });
        if self.config.restore.is_some() && !there && !self.shutting_down {
            let id = self.create(None);
            self.start(id);
        }
    }

    /// Lets a copy take `invoke`, made for it if there is none.
    pub(super) fn invoke_copy(&mut self, invoke: InvokeId) {
        while let Some(id) = self.stored.pop_front() {
            if self.stage(id) == Some(Stage::Stored) {
                self.hold(id, Held::cold(invoke));
                self.restore(id);
                return self.keep_copy();
            }
        }
        let id = self.create(Some(Held::cold(invoke)));
        self.start(id);
    }

    /// The runtime of `id` has done all that may be kept.
    pub(super) fn restore_awaited(&mut self, id: EnvironmentId) {
        if self.config.restore.is_none() || self.stage(id) != Some(Stage::Initialising) {
            return;
        }
        if let Some(there) = self.environments.get_mut(id) {
            there.awaits_restore = true;
            there.runtime_waits();
        }
        self.settle(id);
    }

    /// Everything in `id` waits to be restored: it is a copy now.
    pub(super) fn store(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get_mut(id) else { return };
        let init = self.now.saturating_since(there.init_since);
        there.frozen = true;
        let (needed, retired) = (there.held.is_some(), there.retired);
        self.order(Output::Initialised { environment: id, init });
        if retired && !needed {
            return self.kill(id);
        }
        self.order(Output::Freeze { environment: id });
        if needed {
            return self.restore(id);
        }
        self.stage_is(id, Stage::Stored);
        self.set_timer(id, None);
        self.stored.push_back(id);
    }

    fn restore(&mut self, id: EnvironmentId) {
        self.stage_is(id, Stage::Restoring);
        let takes = self.config.restore.unwrap_or_default();
        // A timer that is due already would break the contract.
        self.set_timer(id, Some(self.now + takes.max(Duration::from_nanos(1))));
    }

    /// The copy is made, or has taken too long to get ready.
    pub(super) fn restore_due(&mut self, id: EnvironmentId) {
        let Some(there) = self.environments.get_mut(id) else { return };
        if !std::mem::take(&mut there.awaits_restore) {
            let after = RESTORE_MAX;
            return self.restore_failed(id, Answer::TimedOut { after });
        }
        there.frozen = false;
        there.runtime_asks_again();
        self.set_timer(id, Some(self.now + RESTORE_MAX));
        self.order(Output::Thaw { environment: id });
        self.order(Output::Restore { environment: id });
    }

    pub(super) fn restore_failed(&mut self, id: EnvironmentId, answer: Answer) {
        self.end_invoke(id, answer);
        self.kill(id);
    }

    fn stage_is(&mut self, id: EnvironmentId, stage: Stage) {
        if let Some(there) = self.environments.get_mut(id) {
            there.stage = stage;
        }
    }
}

/// What AWS gives a runtime to get ready after a restore.
const RESTORE_MAX: Duration = Duration::from_secs(10);
