//! Stories of an extension as text: `tests/lifecycle/*.txt`, each a script, a line of dashes and
//! the whole trace. `UPDATE=1 cargo test -p dispatch-model --test lifecycle` rewrites the traces.
//!
//! A script line is `config WORDS…`, `at MOMENT INPUT…` or `until MOMENT`; moments and spans are
//! numbers with a unit (`1500ms`, `2h`). In the trace `<` is what happened, `*` a timer that
//! fired, `>` what was ordered.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use dispatch_model::lifecycle::{Ask, Config, Input, InvokeId, Lifecycle, LinkEnd};
use dispatch_model::time::Time;

#[test]
fn every_story_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lifecycle");
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the stories are gone from {}", folder.display());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (script, expected) = text.split_once("----\n").expect("a story has a line of dashes");
        let trace = run(script);
        if trace == expected {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, format!("{script}----\n{trace}")).unwrap();
        } else {
            wrong.push(format!("{}:\n{trace}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "other than written (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}

struct Story {
    machine: Lifecycle,
    trace: String,
}

fn run(script: &str) -> String {
    let lines = || script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let config =
        lines().find_map(|line| line.strip_prefix("config ")).map_or_else(Config::default, config);
    let mut story = Story { machine: Lifecycle::new(config, Time::ZERO), trace: String::new() };
    story.take_outputs(Time::ZERO);
    for line in lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["config", ..] => {}
            ["at", moment, input @ ..] => {
                let now = Time::ZERO + span(moment);
                story.run_timers(now);
                let input = parse(input);
                writeln!(story.trace, "{now} < {input}").unwrap();
                story.machine.handle_input(now, input);
                story.take_outputs(now);
            }
            ["until", moment] => story.run_timers(Time::ZERO + span(moment)),
            _ => panic!("cannot read `{line}`"),
        }
    }
    story.trace
}

impl Story {
    fn run_timers(&mut self, until: Time) {
        while let Some(timeout) = self.machine.poll_timeout().filter(|due| due.at <= until) {
            writeln!(self.trace, "{} * {:?}", timeout.at, timeout.timer).unwrap();
            self.machine.handle_timeout(timeout.at);
            self.take_outputs(timeout.at);
        }
    }

    fn take_outputs(&mut self, now: Time) {
        while let Some(output) = self.machine.poll_output() {
            writeln!(self.trace, "{now} > {output}").unwrap();
        }
    }
}

fn config(words: &str) -> Config {
    let mut config = Config::default();
    for word in words.split_whitespace() {
        match word.split_once('=') {
            None if word == "async-init" => config.async_init = true,
            None if word == "snap-start" => config.snap_start = true,
            Some(("hold-max", value)) => config.hold_max = span(value),
            Some(("invoke-max", value)) => config.invoke_max = span(value),
            Some(("linger", value)) => config.linger = Some(span(value)),
            Some(("lead", value)) => config.lead = span(value),
            Some(("app-patience", value)) => config.app_patience = span(value),
            _ => panic!("cannot read config `{word}`"),
        }
    }
    config
}

fn parse(words: &[&str]) -> Input {
    match words {
        ["app-exited"] => Input::AppExited,
        ["app-ready"] => Input::AppReady,
        ["attached"] => Input::Attached,
        ["disconnected", end] => Input::Disconnected { end: link_end(end) },
        ["hold-asked", time] => Input::HoldAsked { span: span(time) },
        ["invoked", invoke, ask @ ..] => {
            let invoke = InvokeId(invoke.trim_start_matches('v').parse().unwrap());
            let (ask, left) = match ask {
                [ask @ .., "left", left] => (ask, Some(span(left))),
                ask => (ask, None),
            };
            Input::Invoked { invoke, ask: parse_ask(ask), left }
        }
        ["heard"] => Input::Heard,
        ["request-ended"] => Input::RequestEnded,
        ["request-started"] => Input::RequestStarted,
        ["restored"] => Input::Restored,
        ["shutdown", "left", left] => Input::Shutdown { left: span(left) },
        _ => panic!("cannot read input `{}`", words.join(" ")),
    }
}

fn parse_ask(words: &[&str]) -> Ask {
    match words {
        ["foreign"] => Ask::Foreign,
        ["init-only"] => Ask::InitOnly,
        ["invalid"] => Ask::Invalid,
        ["serve", fingerprint, by_itself @ ..] => {
            assert!(matches!(by_itself, [] | ["leaves-by-itself"]), "cannot read {by_itself:?}");
            let fingerprint = fingerprint.parse().unwrap();
            Ask::Serve { fingerprint, sends_away: by_itself.is_empty() }
        }
        ["stale"] => Ask::Stale,
        _ => panic!("cannot read ask `{}`", words.join(" ")),
    }
}

fn link_end(word: &str) -> LinkEnd {
    match word {
        "closed" => LinkEnd::Closed,
        "lost" => LinkEnd::Lost,
        "refused" => LinkEnd::Refused,
        "unavailable" => LinkEnd::Unavailable,
        "unreachable" => LinkEnd::Unreachable,
        _ => panic!("cannot read link end `{word}`"),
    }
}

fn span(text: &str) -> Duration {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("`{text}` is not a span"));
    match text.get(digits.len()..).unwrap() {
        "ns" => Duration::from_nanos(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "h" => Duration::from_secs(number * 3600),
        unit => panic!("`{text}` has the unknown unit `{unit}`"),
    }
}
