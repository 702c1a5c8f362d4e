//! Stories of a pool, as text: a script of what happens, `----`, and all that the model then does.
//!
//! `UPDATE=1 cargo test -p dispatch-model --test scenarios` writes the traces anew; read the diff.
//! `scenarios/script.rs` says how a script reads.

#[path = "scenarios/script.rs"]
mod script;

use std::fs;
use std::path::{Path, PathBuf};

fn stories() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path());
    let mut paths: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("readable")))
        .collect()
}

fn split(text: &str) -> (&str, &str) {
    text.split_once("----\n").unwrap_or((text, ""))
}

#[test]
fn every_story_goes_as_it_is_told() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for (path, text) in stories() {
        let (script, told) = split(&text);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let trace = script::run(script).unwrap_or_else(|error| panic!("{name}: {error}"));
        if update {
            fs::write(&path, format!("{script}----\n{trace}")).unwrap();
        } else if trace != told {
            let lines = trace.lines().zip(told.lines().chain(std::iter::repeat("")));
            let first = lines.enumerate().find(|(_, (new, old))| new != old);
            wrong.push(format!("{name}: {first:?}\n{trace}"));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE=1 writes the traces anew", wrong.join("\n"));
}

#[test]
fn every_reason_is_reached_by_a_story() {
    let stories = stories();
    let reasons = [
        "refuse .* failed",
        "refuse .* lease_ended",
        "refuse .* over_budget",
        "refuse .* predicted_wait",
        "refuse .* queue_bytes",
        "refuse .* queue_length",
        "refuse .* queue_timeout",
        "refuse .* response_timeout",
        "refuse .* shutting_down",
        "refuse .* unavailable",
        "refuse .* undeliverable",
        "goaway .* Hung",
        "goaway .* LeaseEnding",
        "goaway .* Silent",
        "goaway .* Shutdown",
        "goaway .* Surplus",
        "decide .* queued",
        "decide .* budget",
        "decide .* formula simple",
        "decide .* formula ewma",
        "decide .* idle",
        "decide .* bounds",
        "decide .* requests/s",
    ];
    for reason in reasons {
        let (order, word) = reason.split_once(" .* ").unwrap();
        let reached = stories.iter().flat_map(|(_, text)| split(text).1.lines()).any(|line| {
            let line = line.trim_start();
            line.starts_with(order)
                && line.split_once(' ').is_some_and(|(_, rest)| rest.contains(word))
        });
        assert!(reached, "no story reaches {order} … {word}");
    }
}

#[test]
fn script_that_cannot_be_read_says_which_line_and_why() {
    let error = script::run("at 1ms request r1 bytes 5\nat 2ms vanished i0\n").unwrap_err();
    assert_eq!(error, "line 2, `at 2ms vanished i0`: nothing is called `vanished`");
    let error = script::run("config slots=many\n").unwrap_err();
    assert_eq!(error, "line 1, `config slots=many`: `many` is not a number");
}
