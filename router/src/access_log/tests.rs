use std::path::PathBuf;
use std::thread;
use std::time::Duration;

pub(crate) use super::line::tests::access;
use super::*;

fn log(access: AccessTarget) -> Log {
    Log { access, access_format: AccessFormat::Json, ..Log::default() }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

/// Waits for something that another thread does.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} did not come about");
}

#[test]
fn what_was_recorded_is_in_the_file_when_the_log_is_closed() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("access.log");
    std::fs::write(&path, "before\n").unwrap();
    let writer = AccessWriter::start(&log(AccessTarget::File(path.clone()))).unwrap().unwrap();
    for _ in 0..100 {
        writer.record(&access());
    }
    drop(writer);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("before\n{\"time\":\""), "{text}");
    assert_eq!(text.lines().count(), 101);
}

#[test]
fn a_line_is_written_without_waiting_for_more() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("access.log");
    let writer = AccessWriter::start(&log(AccessTarget::File(path.clone()))).unwrap().unwrap();
    writer.record(&access());
    eventually("the line", || lines(&path) == 1);
}

#[test]
fn after_a_rotation_lines_go_to_the_new_file() {
    let scratch = tempfile::tempdir().unwrap();
    let (path, old) = (scratch.path().join("access.log"), scratch.path().join("access.log.1"));
    let writer = AccessWriter::start(&log(AccessTarget::File(path.clone()))).unwrap().unwrap();
    writer.record(&access());
    eventually("the first line", || lines(&path) == 1);
    std::fs::rename(&path, &old).unwrap();
    writer.record(&access());
    writer.reopen();
    writer.record(&access());
    drop(writer);
    assert_eq!((lines(&old), lines(&path)), (2, 1));
}

#[test]
fn a_log_that_cannot_keep_up_drops_lines_and_counts_them() {
    // A pipe that nobody reads, opened for reading and writing so that opening does not block.
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let writer = AccessWriter::start(&log(AccessTarget::File(path))).unwrap().unwrap();
    while writer.dropped() == 0 {
        writer.record(&access());
    }
    assert!(writer.dropped() > 0);
    // The thread is let go: what it waits to write to is gone, or is read.
    thread::spawn(move || io::copy(&mut &reader, &mut io::sink()));
}

/// The list for people, made of the list for the program.
#[test]
fn documented_fields_are_those_that_there_are() {
    let mut list = "| field | what it says |\n|---|---|\n".to_owned();
    for field in FIELDS {
        list += &format!("| `${}` | {} |\n", field.name, field.about);
    }
    crate::documented::section("observe.md", "fields", &list);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let path = PathBuf::from("/nonexistent/access.log");
    let error = AccessWriter::start(&log(AccessTarget::File(path))).expect_err("no directory");
    assert!(error.to_string().contains("/nonexistent/access.log"), "{error}");
    assert!(AccessWriter::start(&log(AccessTarget::Off)).unwrap().is_none());
}
