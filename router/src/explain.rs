//! What `/explain` shows: the last scaling decisions, from how many instances to how many and why,
//! in the words of the log; and the last problems, each kind with its count.

use std::fmt::Write as _;

use dispatch_model::Why;
use io_tokio::observe::Trouble;
use io_tokio::rfc3339;
use serde::Serialize;

use crate::decisions::Decided;
use crate::problems::{Problem, Suffered};

/// One line for each.
pub(crate) fn as_text(decided: &[Decided], suffered: &[Suffered]) -> String {
    let mut page = String::new();
    if decided.is_empty() {
        page.push_str("no scaling decision yet\n");
    }
    for Decided { at, pool, decision } in decided {
        writeln!(page, "{} {pool}: {decision}", rfc3339::format(*at)).ok();
    }
    page.push_str(if suffered.is_empty() { "no problem yet\n" } else { "problems:\n" });
    for one in suffered {
        page.push_str(&rfc3339::format(one.first));
        if one.last != one.first {
            write!(page, " to {}", rfc3339::format(one.last)).ok();
        }
        writeln!(page, " {}: {}", one.pool, sentence(one)).ok();
    }
    page
}

/// An object with the lists `decisions` and `problems`.
///
/// # Errors
///
/// None that is known: writing to memory does not fail.
pub(crate) fn as_json(decided: &[Decided], suffered: &[Suffered]) -> serde_json::Result<String> {
    let mut page = serde_json::to_string_pretty(&page(decided, suffered))?;
    page.push('\n');
    Ok(page)
}

/// What there is to be written as JSON.
pub(crate) fn page<'a>(decided: &'a [Decided], suffered: &'a [Suffered]) -> Page<'a> {
    let decisions = decided.iter().map(|Decided { at, pool, decision }| DecisionLine {
        at: rfc3339::format(*at),
        pool,
        from: decision.from,
        to: decision.to,
        why: why_name(decision.why),
        text: decision.to_string(),
    });
    let problems = suffered.iter().map(|one| {
        let (of, why) = one.problem.words();
        ProblemLine {
            first: rfc3339::format(one.first),
            last: rfc3339::format(one.last),
            pool: &one.pool,
            of,
            why,
            count: one.count,
            text: sentence(one),
        }
    });
    Page { decisions: decisions.collect(), problems: problems.collect() }
}

fn sentence(one: &Suffered) -> String {
    let (count, many) = (one.count, if one.count == 1 { "" } else { "s" });
    match one.problem {
        Problem::Invoke(outcome) => format!("{count} invoke{many} failed: {outcome}"),
        Problem::OutOfTime => format!("{count} request{many} ended by timeouts.total"),
        Problem::Refused(reason) => format!("{count} request{many} refused: {reason}"),
        Problem::Trouble(Trouble::BreakerOpened) => {
            format!("{count} time{many} the breaker opened: the function does not start")
        }
        Problem::Trouble(Trouble::NeverAttached) => format!(
            "{count} invoke{many} returned without having attached: is the extension in \
             /opt/extensions, and can it reach the router?"
        ),
        Problem::Trouble(Trouble::StartTimedOut) => format!(
            "{count} start{many} took longer than pool.start_timeout: see the function's log"
        ),
    }
}

/// The lists.
#[derive(Serialize)]
pub(crate) struct Page<'a> {
    decisions: Vec<DecisionLine<'a>>,
    problems: Vec<ProblemLine<'a>>,
}

#[derive(Serialize)]
struct DecisionLine<'a> {
    at: String,
    pool: &'a str,
    from: u32,
    to: u32,
    why: &'static str,
    text: String,
}

#[derive(Serialize)]
struct ProblemLine<'a> {
    first: String,
    last: String,
    pool: &'a str,
    of: &'static str,
    why: &'static str,
    count: u64,
    text: String,
}

const fn why_name(why: Why) -> &'static str {
    match why {
        Why::Backlog { .. } => "backlog",
        Why::Budget => "budget",
        Why::Busy { .. } => "busy",
        Why::Formula(_) => "formula",
        Why::Idle => "idle",
        Why::Limits => "limits",
        Why::Rate { .. } => "rate",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use dispatch_model::Decision;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn text_and_json_say_when_who_what_and_why() {
        assert_eq!(as_text(&[], &[]), "no scaling decision yet\nno problem yet\n");
        let (service, cold_start) = (Duration::from_millis(20), Duration::from_secs(3));
        let why = Why::Backlog { queued: 7, slots: 0, service, cold_start };
        let pool: std::sync::Arc<str> = "shop".into();
        let decided = [(90, Decision { from: 0, to: 2, why }), (91, idle(2))]
            .map(|(second, decision)| Decided { at: at(second), pool: pool.clone(), decision });
        let suffered = [(Problem::Invoke("throttled"), 95, 3), (Problem::Refused("failed"), 92, 1)]
            .map(|(problem, last, count)| Suffered {
                pool: pool.clone(),
                problem,
                first: at(92),
                last: at(last),
                count,
            });
        let started = "0 -> 2 instances (start 2): 7 queued and no slot; a start takes 3s";
        let failed = "3 invokes failed: throttled";
        let text = as_text(&decided, &suffered);
        let lines = [
            &format!("1970-01-01T00:01:30.000Z shop: {started}"),
            "1970-01-01T00:01:31.000Z shop: 2 -> 0 instances (retire 2): idle for the linger time",
            "problems:",
            &format!("1970-01-01T00:01:32.000Z to 1970-01-01T00:01:35.000Z shop: {failed}"),
            "1970-01-01T00:01:32.000Z shop: 1 request refused: failed",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        let json: serde_json::Value =
            serde_json::from_str(&as_json(&decided, &suffered).unwrap()).unwrap();
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
        let expected = serde_json::json!({
            "first": "1970-01-01T00:01:32.000Z",
            "last": "1970-01-01T00:01:35.000Z",
            "pool": "shop",
            "of": "invoke",
            "why": "throttled",
            "count": 3,
            "text": failed,
        });
        assert_eq!(json["problems"][0], expected);
        assert_eq!(json["problems"][1]["of"], "request");
    }

    fn idle(from: u32) -> Decision {
        Decision { from, to: 0, why: Why::Idle }
    }
}
