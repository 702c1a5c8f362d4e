//! `cargo sim` says so when it is asked for what would test nothing.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::path::{Path, PathBuf};
use std::process::Command;

use io_tokio::recording::{Origin, Writer};
use sim::{Plan, scenario, shrink};

/// What the program prints when it is called like this, and whether it says that all is well.
fn sim(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn assert_refused(arguments: &[&str], says: &str) {
    let (well, text) = sim(arguments);
    assert!(!well && text.contains(says), "{arguments:?}: {text}");
}

/// A file of this test's own.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn recording_without_a_whole_segment_is_not_identical() {
    let config = dispatch_model::Config::new(Plan::default().pool.limits()).unwrap();
    let origin = Origin::Fresh { config, seed: 7, start: dispatch_model::Time::ZERO };
    let whole = Writer::new(&origin).take();
    for length in [0, 5, whole.len() - 1] {
        let path = file("headless.recording", &whole[..length]);
        let says = format!("no segment begins in its {length} bytes");
        assert_refused(&["replay", path.to_str().unwrap()], &says);
    }
}

#[test]
fn seeds_that_are_none_are_refused_and_the_last_one_is_run() {
    let last = u64::MAX.to_string();
    for driver in ["fast", "real", "meta"] {
        assert_refused(&[driver, "--seeds", "0"], "invalid value '0' for '--seeds");
        assert_refused(&[driver, "--seed", &last, "--seeds", "2"], "there are no 2 seeds from");
    }
    let (well, text) = sim(&["fast", "--seed", &last]);
    assert!(well && text.contains("requests "), "{text}");
    let (well, text) = sim(&["fast", "--seed", &(u64::MAX - 1).to_string(), "--seeds", "2"]);
    assert!(well && text.contains(": 2 seeds, "), "{text}");
}

#[test]
fn what_is_shown_of_one_run_is_not_asked_of_many() {
    let says = "--trace and --record show one run";
    assert_refused(&["fast", "--seeds", "2", "--trace"], says);
    assert_refused(&["fast", "--seeds", "2", "--record", "no-such-folder/it"], says);
}

#[test]
fn soak_goes_on_from_no_state_that_it_cannot_read() {
    let last = (u64::MAX - 10).to_string();
    for damaged in ["", "12x", "-5", &last] {
        let path = file("soak-seed", damaged.as_bytes());
        let path = path.to_str().unwrap();
        assert_refused(&["soak", "--for", "0s", "--state", path], "is not the next seed");
        assert_eq!(std::fs::read_to_string(path).unwrap(), damaged);
    }
    assert_refused(&["soak", "--for", "0s", "--state", "no-such-folder/seed"], "no-such-folder");
}

#[test]
fn place_for_what_is_left_is_looked_at_before_the_search() {
    let path = file("shrunk.toml", b"of an earlier search");
    assert_refused(&["shrink", "--out", path.to_str().unwrap()], "is there already");
    assert_eq!(std::fs::read(&path).unwrap(), b"of an earlier search");
    assert_refused(&["shrink", "--out", "no-such-folder/it.toml"], "no folder no-such-folder");
    assert!(shrink::check_place(&path.with_file_name("not-there.toml")).is_ok());
    assert!(shrink::check_place(Path::new("not-there.toml")).is_ok());
}

#[test]
fn plan_whose_fault_never_fires_does_not_hold() {
    let text = "[[traffic]]\nat = \"0s\"\nrequests = 1\nservice = \"50ms\"\n\
                [[fault]]\nkind = \"crash-busy\"\nat = \"1h\"\n";
    assert!(scenario::parse(text).unwrap().hold.is_none());
    let path = file("never-fires.toml", text.as_bytes());
    let path = path.to_str().unwrap();
    assert_refused(&["fast", "--scenario", path], "planned and never fired: crash-busy");
}

#[test]
fn bounds_that_cannot_hold_or_cannot_be_broken_are_refused() {
    for (hold, says) in [
        ("reasons = [\"queue-timeout\"]", "nobody is refused for `queue-timeout`; reasons: "),
        ("reasons = [\"200\"]", "nobody is refused for `200`"),
        ("refused_min = 5", "refused_min is 5, must be at most refused_max, 0"),
        ("settled_wait_max = \"0s\"", "settled and settled_wait_max say something together"),
        ("settled = \"1s\"", "settled and settled_wait_max say something together"),
    ] {
        let text =
            format!("[hold]\n{hold}\n[[traffic]]\nat = \"0s\"\nrequests = 1\nservice = \"1s\"\n");
        let error = scenario::parse(&text).unwrap_err();
        assert!(error.contains("[hold]: ") && error.contains(says), "{hold}: {error}");
    }
}

#[test]
fn what_cannot_be_made_smaller_is_named_with_the_reason() {
    let text = "[[traffic]]\nat = \"0s\"\nrequests = 1\nservice = \"50ms\"\n\
                [[fault]]\nkind = \"crash-busy\"\nat = \"1h\"\n";
    let path = file("never-fires-shrunk.toml", text.as_bytes());
    let path = path.to_str().unwrap();
    let out = path.replace(".toml", "-out.toml");
    let says = format!(
        "--scenario {path} fails for a part that does nothing, planned and never fired: crash-busy"
    );
    assert_refused(&["shrink", "--scenario", path, "--out", &out], &says);
    let says = "fast --scenario burst does not fail";
    assert_refused(&["shrink", "--scenario", "burst", "--out", &out], says);
    assert_refused(&["shrink", "--seed", "7", "--out", &out], "fast --seed 7 does not fail");
}
