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
        let all = || self.environments.iter();
        let holding = all().filter(|(_, there)| there.held.is_some()).count();
        assert_eq!(holding, self.concurrency as usize, "concurrency differs from a recount");

        let invokes: BTreeSet<_> =
            all().filter_map(|(_, there)| Some(there.held.as_ref()?.invoke)).collect();
        assert_eq!(invokes.len(), holding, "an invoke is held by two environments");

        let idle: BTreeSet<_> =
            all().filter(|(_, there)| there.stage == Stage::Idle).map(|(id, _)| id).collect();
        let listed: Vec<_> = self.idle.iter(&self.environments).collect();
        assert_eq!(idle.len(), listed.len(), "the list of idle environments differs");
        assert!(listed.iter().all(|id| idle.contains(id)), "one of {listed:?} is not idle");

        let kept = all().filter(|(_, there)| there.provisioned && !there.retired).count();
        assert_eq!(kept, self.provisioned_there as usize, "provisioned ones differ from a recount");
        if !self.shutting_down {
            assert_eq!(self.provisioned_there, self.provisioned, "provisioned ones are missing");
        }
        let waited_for = all().any(|(_, there)| there.is_waited_for());
        if self.config.late_binding && self.config.restore.is_none() && waited_for {
            assert_eq!(idle.len(), 0, "an invoke waits although one is idle");
        }

        for (id, there) in all() {
            let timer = self.environments.timer(id).is_some();
            let woken = match there.stage {
                Stage::Killed | Stage::Stored => false,
                Stage::Idle => !there.provisioned,
                Stage::Creating
                | Stage::Initialising
                | Stage::Invoking
                | Stage::Restoring
                | Stage::Stopping => true,
            };
            assert_eq!(timer, woken, "timer of {id}, {}", there.stage);
            let frozen = match there.stage {
                Stage::Idle | Stage::Stored => true,
                Stage::Restoring => there.awaits_restore,
                Stage::Creating
                | Stage::Initialising
                | Stage::Invoking
                | Stage::Killed
                | Stage::Stopping => false,
            };
            assert_eq!(there.frozen, frozen, "{id} must be frozen when idle");
            match there.stage {
                Stage::Invoking | Stage::Restoring => {
                    assert!(there.held.is_some(), "{id} invokes nothing");
                }
                Stage::Idle | Stage::Killed | Stage::Stopping | Stage::Stored => {
                    assert!(there.held.is_none(), "{id} holds an invoke at rest");
                }
                Stage::Creating | Stage::Initialising => {}
            }
            assert!(!(there.retired && there.stage == Stage::Idle), "{id} is retired and idle");
        }
        if let Some(at) = self.poll_timeout() {
            assert!(at > self.now, "a timer of {at} is still due at {}", self.now);
        }
    }
}
