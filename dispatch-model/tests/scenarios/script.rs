//! Reads a script, plays it to a [`Dispatcher`], and writes down all that happens.
//!
//! ```text
//! # The story, in words.
//! config slots=10 cold_start=3s scaling=simple
//! at 1ms request r1 bytes 500
//! at 3s attached i0 slots 10 lease 60s cold
//! at 3s ended r1 served
//! until 60s
//! ```
//!
//! `until` lets timers fire, each at its moment; `late` all at once, as a driver that stood still.
//! `r1..r9` stands for the requests r1 to r9, one input each. In the trace, a line starts with the
//! time when an input or a timer comes, and is indented for an order; looks at the number of
//! instances that change nothing are left out, and orders for neighbouring requests that are
//! otherwise the same are one line.

use std::time::Duration;

use dispatch_model::{
    Budget, Config, Dispatcher, Ending, Input, InstanceId, InvokeOutcome, Limits, Matching, Output,
    RequestId, Scaling, Time, Timer,
};

/// Plays `script`; gives the trace, or which line cannot be read and why.
pub(crate) fn run(script: &str) -> Result<String, String> {
    let mut limits = Limits::default();
    let mut play = None;
    for (index, line) in script.lines().enumerate() {
        let words: Vec<_> = line.split_whitespace().collect();
        let result = match words[..] {
            [] | ["#", ..] => Ok(()),
            ["config", ref settings @ ..] if play.is_none() => {
                settings.iter().try_for_each(|setting| configure(&mut limits, setting))
            }
            _ => {
                let play = play.get_or_insert_with(|| Play::new(limits));
                play.line(&words)
            }
        };
        result.map_err(|error| format!("line {}, `{line}`: {error}", index + 1))?;
    }
    Ok(play.map_or_else(String::new, |play| play.trace))
}

struct Play {
    model: Dispatcher,
    trace: String,
}

impl Play {
    fn new(limits: Limits) -> Self {
        let config = Config::new(limits).expect("a story's limits are in range");
        let mut play = Self { model: Dispatcher::new(config, 7, Time::ZERO), trace: String::new() };
        play.turn("0ns start", false);
        play
    }

    fn line(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["until", at] => self.advance(moment(at)?),
            ["late", at] => {
                let at = moment(at)?;
                self.model.handle_timeout(at);
                self.turn(&format!("{at} late"), false);
            }
            ["at", at, rest @ ..] => {
                let at = moment(at)?;
                let inputs = inputs(rest)?;
                // A driver comes at every timer, or only with the next input: contract 2.
                self.advance(at);
                for input in &inputs {
                    let text = input.to_string();
                    let words: Vec<_> = text.split_whitespace().collect();
                    assert_eq!(self::inputs(&words)?, [*input], "`{text}` reads as it was told");
                    self.model.handle_input(at, *input);
                    if inputs.len() == 1 {
                        self.turn(&format!("{at} {}", rest.join(" ")), false);
                    } else {
                        self.model.check();
                    }
                }
                if inputs.len() > 1 {
                    self.turn(&format!("{at} {}", rest.join(" ")), false);
                }
            }
            _ => return Err("neither `config` (first), `at`, `until` nor `late`".to_owned()),
        }
        Ok(())
    }

    /// Fires the timers up to and at `until`.
    fn advance(&mut self, until: Time) {
        while let Some(timeout) = self.model.poll_timeout().filter(|timeout| timeout.at <= until) {
            self.model.handle_timeout(timeout.at);
            let quiet = timeout.timer == Timer::Scale;
            self.turn(&format!("{} timer {:?}", timeout.at, timeout.timer), quiet);
        }
        self.model.handle_timeout(until);
    }

    /// Writes down `title` and the orders that came of it; nothing if it is `quiet` without orders.
    fn turn(&mut self, title: &str, quiet: bool) {
        let orders: Vec<_> = std::iter::from_fn(|| self.model.poll_output()).collect();
        self.model.check();
        if quiet && orders.is_empty() {
            return;
        }
        self.trace += title;
        self.trace.push('\n');
        let mut orders = &orders[..];
        while let Some(first) = orders.first() {
            let same = orders.windows(2).take_while(|pair| follows(&pair[0], &pair[1])).count();
            self.trace += "    ";
            self.trace += &written(first, &orders[same]);
            self.trace.push('\n');
            orders = &orders[same + 1..];
        }
    }
}

/// Whether `next` is the same order as `order` for the next request or instance.
fn follows(order: &Output, next: &Output) -> bool {
    let moved = match *order {
        Output::Dispatch { request, instance, waited, cold_exposed } => {
            Output::Dispatch { request: after(request), instance, waited, cold_exposed }
        }
        Output::Refuse { request, reason, retry_after_s } => {
            Output::Refuse { request: after(request), reason, retry_after_s }
        }
        Output::Invoke { instance } => Output::Invoke {
            instance: InstanceId::new(instance.index() + 1, instance.generation()),
        },
        Output::Close { .. }
        | Output::Decided(_)
        | Output::GoAway { .. }
        | Output::Ping { .. }
        | Output::Stopped => return false,
    };
    moved == *next
}

fn after(request: RequestId) -> RequestId {
    RequestId::new(request.index() + 1, request.generation())
}

/// The order `first`, or all from it to `last`.
fn written(first: &Output, last: &Output) -> String {
    let text = first.to_string();
    if first == last {
        return text;
    }
    let (from, to) = (subject(first), subject(last));
    text.replacen(&from, &format!("{from}..{to}"), 1)
}

/// Whom an order is about that may stand for several.
fn subject(order: &Output) -> String {
    match order {
        Output::Dispatch { request, .. } | Output::Refuse { request, .. } => request.to_string(),
        Output::Invoke { instance } => instance.to_string(),
        Output::Close { .. }
        | Output::Decided(_)
        | Output::GoAway { .. }
        | Output::Ping { .. }
        | Output::Stopped => unreachable!("it does not follow another: {order}"),
    }
}

fn inputs(words: &[&str]) -> Result<Vec<Input>, String> {
    let one = |input| Ok(vec![input]);
    match *words {
        ["request", ids, "bytes", bytes] => {
            let bytes = number(bytes)?;
            Ok(requests(ids)?.map(|request| Input::RequestArrived { request, bytes }).collect())
        }
        ["cancelled", ids] => {
            Ok(requests(ids)?.map(|request| Input::RequestCancelled { request }).collect())
        }
        ["ended", ids, how] => {
            let ending = match how {
                "served" => Ending::Served,
                "timed-out" => Ending::TimedOut,
                "undelivered" => Ending::Undelivered,
                "unknown" => Ending::Unknown { repeatable: false },
                "unknown-repeatable" => Ending::Unknown { repeatable: true },
                "unread" => Ending::Unread,
                _ => return Err(format!("no request ends `{how}`")),
            };
            Ok(requests(ids)?.map(|request| Input::RequestEnded { request, ending }).collect())
        }
        ["attached", id, "slots", slots, "lease", lease, ref cold @ ..] => {
            one(Input::InstanceAttached {
                instance: instance(id)?,
                slots: number(slots)?,
                lease: span(lease)?,
                cold: match *cold {
                    ["cold"] => true,
                    ["warm"] => false,
                    _ => return Err("`cold` or `warm` is missing".to_owned()),
                },
            })
        }
        ["lost", id] => one(Input::InstanceLost { instance: instance(id)? }),
        ["goaway-received", id] => one(Input::GoAwayReceived { instance: instance(id)? }),
        ["leave-asked", id, "patience", patience] => {
            one(Input::LeaveAsked { instance: instance(id)?, patience: span(patience)? })
        }
        ["pong", id] => one(Input::PongReceived { instance: instance(id)? }),
        ["slots", id, slots] => {
            one(Input::SlotsOffered { instance: instance(id)?, slots: number(slots)? })
        }
        ["invoke-ended", id, ref how @ ..] => {
            one(Input::InvokeEnded { instance: instance(id)?, outcome: outcome(how)? })
        }
        ["limits", min, max] => {
            one(Input::LimitsChanged { instances_min: number(min)?, instances_max: number(max)? })
        }
        ["shutdown", "drain", drain] => one(Input::ShutdownRequested { drain: span(drain)? }),
        [what, ..] => Err(format!("nothing is called `{what}`")),
        [] => Err("nothing happens".to_owned()),
    }
}

fn outcome(words: &[&str]) -> Result<InvokeOutcome, String> {
    Ok(match *words {
        ["crashed"] => InvokeOutcome::Crashed,
        ["forbidden"] => InvokeOutcome::Forbidden,
        ["returned"] => InvokeOutcome::Returned,
        ["throttled"] => InvokeOutcome::Throttled { retry_after: None },
        ["throttled", "retry-after", after] => {
            InvokeOutcome::Throttled { retry_after: Some(span(after)?) }
        }
        ["timed-out"] => InvokeOutcome::TimedOut,
        ["unavailable"] => InvokeOutcome::Unavailable,
        ["unknown"] => InvokeOutcome::Unknown,
        _ => return Err(format!("no invoke ends `{}`", words.join(" "))),
    })
}

fn configure(limits: &mut Limits, setting: &str) -> Result<(), String> {
    let (name, value) = setting.split_once('=').ok_or("a setting is NAME=VALUE")?;
    match name {
        "budget" => {
            let (per_hour, per_second) = value.split_once('/').ok_or("a budget is A/B")?;
            limits.budget = Some(Budget {
                microdollars_per_hour: number(per_hour)?.into(),
                picodollars_per_instance_second: number(per_second)?.into(),
            });
        }
        "cold_start" => limits.cold_start = Some(span(value)?),
        "instances_max" => limits.instances_max = number(value)?,
        "instances_min" => limits.instances_min = number(value)?,
        "linger" => limits.linger = span(value)?,
        "matching" => {
            limits.matching = match value {
                "least" => Matching::LeastOutstanding,
                "pack" => Matching::Pack,
                _ => return Err(format!("no matching is called `{value}`")),
            }
        }
        "ping_interval" => limits.ping_interval = span(value)?,
        "ping_timeout" => limits.ping_timeout = span(value)?,
        "placement_margin" => limits.placement_margin = span(value)?,
        "queue_bytes_max" => limits.queue_bytes_max = number(value)?.into(),
        "queue_len_max" => limits.queue_len_max = number(value)?,
        "queue_timeout" => limits.queue_timeout = span(value)?,
        "redispatch_max" => {
            limits.redispatch_max = u8::try_from(number(value)?).map_err(|_| "at most 255")?;
        }
        "retry_repeatable" => limits.retry_repeatable = value == "yes",
        "scaling" => {
            limits.scaling = match value {
                "ewma" => Scaling::Ewma,
                "rule" => Scaling::Rule,
                "simple" => Scaling::Simple,
                _ => return Err(format!("no scaling is called `{value}`")),
            }
        }
        "slots" => limits.slots = number(value)?,
        "start_timeout" => limits.start_timeout = span(value)?,
        _ => return Err(format!("no setting is called `{name}`")),
    }
    Ok(())
}

fn requests(text: &str) -> Result<impl Iterator<Item = RequestId>, String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, generation) = id(from, 'r')?;
    let (to, _) = id(to, 'r')?;
    Ok((from..=to).map(move |index| RequestId::new(index, generation)))
}

fn instance(text: &str) -> Result<InstanceId, String> {
    id(text, 'i').map(|(index, generation)| InstanceId::new(index, generation))
}

/// `r7` or `r7.2`: place and generation.
fn id(text: &str, letter: char) -> Result<(u32, u32), String> {
    let rest = text.strip_prefix(letter).ok_or_else(|| format!("`{text}` is not `{letter}N`"))?;
    let (index, generation) = rest.split_once('.').unwrap_or((rest, "0"));
    Ok((number(index)?, number(generation)?))
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn moment(text: &str) -> Result<Time, String> {
    Ok(Time::ZERO + span(text)?)
}

fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let nanos = match &text[digits.len()..] {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return Err(format!("`{text}` has no unit: ns, us, ms or s")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("`{text}` is not a span"))?;
    Ok(Duration::from_secs_f64(number * f64::from(nanos) / 1e9))
}
