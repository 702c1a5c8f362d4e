//! What must hold between any two calls, recounted the slow way.

use std::collections::BTreeSet;

use super::{Model, Stage};

impl Model {
    /// Checks every property that spans two fields. For tests and simulations: it looks at
    /// everything.
    ///
    /// # Panics
    /// If one does not hold, with the values.
    pub fn check(&self) {
        let holding = self.environments.values().filter(|there| there.held.is_some()).count();
        assert_eq!(holding, self.concurrency as usize, "concurrency differs from a recount");

        let invokes: BTreeSet<_> = self
            .environments
            .values()
            .filter_map(|there| Some(there.held.as_ref()?.invoke))
            .collect();
        assert_eq!(invokes.len(), holding, "an invoke is held by two environments");

        let idle = self.environments.values().filter(|there| there.stage == Stage::Idle).count();
        assert_eq!(idle, self.idle.len(), "the list of idle environments differs from a recount");
        for (place, id) in &self.idle {
            let there = &self.environments[id];
            assert_eq!(there.stage, Stage::Idle, "{id} is listed as idle");
            assert_eq!(there.idle_place, *place, "{id} is listed in another place");
        }

        let timers = self.environments.values().filter(|there| there.timer.is_some()).count();
        assert_eq!(timers, self.timers.len(), "a timer is left over or lost");
        for (id, there) in &self.environments {
            assert_eq!(there.timer.is_some(), there.stage != Stage::Killed, "timer of {id}");
            assert_eq!(there.frozen, there.stage == Stage::Idle, "{id} must be frozen when idle");
            match there.stage {
                Stage::Invoking => assert!(there.held.is_some(), "{id} invokes nothing"),
                Stage::Idle | Stage::Killed | Stage::Stopping => {
                    assert!(there.held.is_none(), "{id} holds an invoke at rest");
                }
                Stage::Creating | Stage::Initialising => {}
            }
        }
        if let Some(at) = self.poll_timeout() {
            assert!(at > self.now, "a timer of {at} is still due at {}", self.now);
        }
    }
}
