//! The last scaling decisions of a pool, for `/explain`.
//!
//! Each pool keeps its own, so that one that changes its mind often does not push out what another
//! decided an hour ago. They leave with the pool.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dispatch_model::Decision;

/// What one pool decided last, the oldest first. At most [`KEPT`].
#[derive(Debug, Default)]
pub(crate) struct Decisions(Mutex<VecDeque<(SystemTime, Decision)>>);

impl Decisions {
    /// Takes note of a decision; the oldest makes room for it.
    pub(crate) fn add(&self, at: SystemTime, decision: Decision) {
        let mut kept = self.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((at, decision));
    }

    /// Those of `pool`, which these are, with its name.
    pub(crate) fn of(&self, pool: &Arc<str>) -> Vec<Decided> {
        let kept = self.lock();
        kept.iter()
            .map(|&(at, decision)| Decided { at, pool: Arc::clone(pool), decision })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(SystemTime, Decision)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A scaling decision of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    /// When.
    pub(crate) at: SystemTime,
    /// Whose.
    pub(crate) pool: Arc<str>,
    /// What, and why.
    pub(crate) decision: Decision,
}

/// Enough to see how a burst was met and left again.
pub(crate) const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use dispatch_model::Why;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn idle(from: u32) -> Decision {
        Decision { from, to: 0, why: Why::Idle }
    }

    #[test]
    fn the_oldest_decision_makes_room_for_a_new_one() {
        let decisions = Decisions::default();
        for second in 0..=KEPT as u64 {
            decisions.add(at(second), idle(1));
        }
        let seen: Vec<_> = decisions.of(&"default".into()).iter().map(|one| one.at).collect();
        assert_eq!(seen, (1..=KEPT as u64).map(at).collect::<Vec<_>>());
    }
}
