//! Provisioned concurrency, and how environments end before they are reaped: what is not kept any
//! more, or runs code that was replaced, serves what it holds and then stops.

use super::{EnvironmentId, Model, Stage};

impl Model {
    /// Keeps `count` environments initialised from now on. Of those that are too many, idle ones
    /// go first.
    pub(super) fn provision(&mut self, count: u32) {
        self.provisioned = count;
        let surplus = self.provisioned_there.saturating_sub(count) as usize;
        if surplus > 0 {
            let kept = self.environments.iter();
            let kept = kept.filter(|(_, there)| there.provisioned && !there.retired);
            let mut kept: Vec<_> =
                kept.map(|(id, there)| (there.stage != Stage::Idle, id)).collect();
            kept.sort_unstable();
            kept.truncate(surplus);
            kept.into_iter().for_each(|(_, id)| self.give_up(id));
        }
        self.allocate();
    }

    /// Creates the provisioned environments that are missing, one after the other.
    pub(super) fn allocate(&mut self) {
        while self.provisioned_there < self.provisioned && !self.shutting_down {
            self.provisioned_there += 1;
            let at = self.allocates_at.max(self.now);
            self.allocates_at = at + self.config.provisioned_pace;
            let id = self.create(None);
            if let Some(there) = self.environments.get_mut(id) {
                there.provisioned = true;
                there.init_is_billed = true;
            }
            let starts_at = at + self.config.cold_start;
            if starts_at > self.now {
                self.set_timer(id, Some(starts_at));
            } else {
                self.start(id);
            }
        }
    }

    /// Ends `id` once it holds no invoke.
    pub(super) fn give_up(&mut self, id: EnvironmentId) {
        match self.stage(id) {
            Some(Stage::Idle) => self.stop(id),
            Some(Stage::Stored) => self.kill(id),
            Some(Stage::Creating | Stage::Initialising | Stage::Invoking | Stage::Restoring) => {
                self.retire(id);
            }
            Some(Stage::Killed | Stage::Stopping) | None => {}
        }
    }

    /// Counts on `id` no more, and replaces it if it was to be kept.
    pub(super) fn retire(&mut self, id: EnvironmentId) {
        self.idle.trim(&self.environments);
        let Some(there) = self.environments.get_mut(id) else { return };
        let first = !std::mem::replace(&mut there.retired, true);
        if first && there.provisioned {
            self.provisioned_there -= 1;
            self.allocate();
        }
    }
}
