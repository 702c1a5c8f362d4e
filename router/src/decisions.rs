//! The last scaling decisions of a pool, for `/explain`: when, from how many instances to how many,
//! and why, in the words of the log.
//!
//! Each pool keeps its own, so that one that changes its mind often does not push out what another
//! decided an hour ago. They leave with the pool.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dispatch_model::{Decision, Why};
use io_tokio::rfc3339;
use serde::Serialize;

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

/// One line for each.
pub(crate) fn as_text(decided: &[Decided]) -> String {
    if decided.is_empty() {
        return "no scaling decision yet\n".to_owned();
    }
    let mut page = String::new();
    for Decided { at, pool, decision } in decided {
        writeln!(page, "{} {pool}: {decision}", rfc3339::format(*at)).ok();
    }
    page
}

/// An object with the list `decisions`.
///
/// # Errors
///
/// None that is known: writing to memory does not fail.
pub(crate) fn as_json(decided: &[Decided]) -> serde_json::Result<String> {
    let decisions = decided.iter().map(|Decided { at, pool, decision }| Line {
        at: rfc3339::format(*at),
        pool,
        from: decision.from,
        to: decision.to,
        why: why_name(decision.why),
        text: decision.to_string(),
    });
    let mut page = serde_json::to_string_pretty(&Page { decisions: decisions.collect() })?;
    page.push('\n');
    Ok(page)
}

#[derive(Serialize)]
struct Page<'a> {
    decisions: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    pool: &'a str,
    from: u32,
    to: u32,
    why: &'static str,
    text: String,
}

const fn why_name(why: Why) -> &'static str {
    match why {
        Why::Backlog { .. } => "backlog",
        Why::Budget => "budget",
        Why::Formula(_) => "formula",
        Why::Idle => "idle",
        Why::Limits => "limits",
        Why::Rate { .. } => "rate",
    }
}

/// Enough to see how a burst was met and left again.
pub(crate) const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

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

    #[test]
    fn text_and_json_say_when_who_what_and_why() {
        let decisions = Decisions::default();
        let pool = "shop".into();
        assert_eq!(as_text(&decisions.of(&pool)), "no scaling decision yet\n");
        let (service, cold_start) = (Duration::from_millis(20), Duration::from_secs(3));
        let why = Why::Backlog { queued: 7, slots: 0, service, cold_start };
        decisions.add(at(90), Decision { from: 0, to: 2, why });
        decisions.add(at(91), idle(2));
        let text = as_text(&decisions.of(&pool));
        let started = "0 -> 2 instances (start 2): 7 queued and no slot; a start takes 3s";
        let lines = [
            format!("1970-01-01T00:01:30.000Z shop: {started}"),
            "1970-01-01T00:01:31.000Z shop: 2 -> 0 instances (retire 2): idle for the linger time"
                .to_owned(),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        let json: serde_json::Value =
            serde_json::from_str(&as_json(&decisions.of(&pool)).unwrap()).unwrap();
        let expected = serde_json::json!({
            "at": "1970-01-01T00:01:30.000Z",
            "pool": "shop",
            "from": 0,
            "to": 2,
            "why": "backlog",
            "text": started,
        });
        assert_eq!(json["decisions"][0], expected);
        assert_eq!(json["decisions"][1]["why"], "idle");
    }
}
