//! The last problems of a pool, for `/explain`: invokes and starts that failed, requests that were
//! refused or took too long.
//!
//! Problems come in bulk: a throttled function fails every invoke, a full queue refuses whatever
//! comes. So one kind of problem is one entry, with its count, for as long as it comes again within
//! [`QUIET`]; two kinds that alternate are two entries, not thousands.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use io_tokio::observe::Trouble;

/// What went wrong in one pool of late, by when it began, the oldest first. At most [`KEPT`].
#[derive(Debug, Default)]
pub(crate) struct Problems(Mutex<VecDeque<Episode>>);

/// What a problem was met by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// An invoke ended so, one word.
    Invoke(&'static str),
    /// A request that had no response yet has had all of its time, `timeouts.total`.
    OutOfTime,
    /// A request was refused for this reason, one word.
    Refused(&'static str),
    /// The driver met it.
    Trouble(Trouble),
}

impl Problem {
    /// What it was met by, and how that ended: one word each.
    pub(crate) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Invoke(outcome) => ("invoke", outcome),
            Self::OutOfTime => ("request", "total_timeout"),
            Self::Refused(reason) => ("request", reason),
            Self::Trouble(Trouble::BreakerOpened) => ("breaker", "opened"),
            Self::Trouble(Trouble::NeverAttached) => ("invoke", "never_attached"),
            Self::Trouble(Trouble::StartTimedOut) => ("invoke", "start_timeout"),
        }
    }
}

/// One kind of problem that came again and again.
#[derive(Clone, Copy, Debug)]
struct Episode {
    problem: Problem,
    first: SystemTime,
    last: SystemTime,
    count: u64,
}

/// An episode of a pool's.
#[derive(Clone, Debug)]
pub(crate) struct Suffered {
    /// Whose.
    pub(crate) pool: Arc<str>,
    /// What.
    pub(crate) problem: Problem,
    /// When it began.
    pub(crate) first: SystemTime,
    /// When it was met last.
    pub(crate) last: SystemTime,
    /// How often it was met, the first time included.
    pub(crate) count: u64,
}

impl Problems {
    /// Takes note of a problem; the episode that began first makes room for a new one.
    pub(crate) fn add(&self, at: SystemTime, problem: Problem) {
        let mut kept = self.lock();
        let same = kept.iter_mut().rev().find(|one| one.problem == problem);
        // A clock that was set back makes no new episode.
        let is_near = |last| at.duration_since(last).map_or(true, |gap| gap <= QUIET);
        if let Some(episode) = same.filter(|one| is_near(one.last)) {
            episode.last = episode.last.max(at);
            episode.count = episode.count.saturating_add(1);
            return;
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Episode { problem, first: at, last: at, count: 1 });
    }

    /// Those of `pool`, which these are, with its name.
    pub(crate) fn of(&self, pool: &Arc<str>) -> Vec<Suffered> {
        let kept = self.lock();
        kept.iter()
            .map(|&Episode { problem, first, last, count }| Suffered {
                pool: Arc::clone(pool),
                problem,
                first,
                last,
                count,
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Episode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More than there are kinds of problem, so that one of each is seen even when all is wrong.
pub(crate) const KEPT: usize = 32;
/// How long a kind of problem must not be met for its next one to be told apart.
const QUIET: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    const THROTTLED: Problem = Problem::Invoke("throttled");
    const FULL: Problem = Problem::Refused("queue_length");

    #[test]
    fn what_alternates_within_a_minute_is_one_episode_of_each_kind() {
        let problems = Problems::default();
        for second in 100..150 {
            problems.add(at(second), if second % 2 == 0 { THROTTLED } else { FULL });
        }
        // A clock that is set back, and a kind that comes again after a while.
        problems.add(at(10), THROTTLED);
        problems.add(at(210), FULL);
        let seen: Vec<_> = problems
            .of(&"shop".into())
            .iter()
            .map(|one| (one.problem, one.first, one.last, one.count))
            .collect();
        let expected = [
            (THROTTLED, at(100), at(148), 26),
            (FULL, at(101), at(149), 25),
            (FULL, at(210), at(210), 1),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_oldest_episode_makes_room_for_a_new_one() {
        let problems = Problems::default();
        for hour in 0..=KEPT as u64 {
            problems.add(at(hour * 3600), FULL);
        }
        let seen: Vec<_> = problems.of(&"shop".into()).iter().map(|one| one.first).collect();
        assert_eq!(seen, (1..=KEPT as u64).map(|hour| at(hour * 3600)).collect::<Vec<_>>());
    }
}
