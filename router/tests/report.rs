//! `lambda-dispatch report` as a user runs it: what it prints, what it writes, and what it says if
//! it cannot.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn report(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lambda-dispatch"))
        .arg("report")
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

fn written(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, content).expect("a temporary file");
    path.display().to_string()
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

const PLAN: &str = r#"
title = "Small"
seeds = 1
sweep = false
[traffic]
kind = "poisson"
rate = 20
for = "1m"
[service]
time = "50ms"
[[alternative]]
kind = "dispatch"
[[alternative]]
kind = "lambda"
"#;

#[test]
fn same_plan_prints_the_same_bytes() {
    let folder = folder("report-same");
    let plan = written(&folder, "plan.toml", PLAN);
    let (one, other) = (report(&[&plan, "--json"]), report(&[&plan, "--json"]));
    assert!(one.status.success(), "{}", text(&one.stderr));
    assert!(text(&one.stdout).contains("\"schema\": \"lambda-dispatch-report/1\""));
    assert_eq!(one.stdout, other.stdout);
}

#[test]
fn files_are_written_where_they_are_asked_for() {
    let folder = folder("report-files");
    let plan = written(&folder, "plan.toml", PLAN);
    let out = folder.join("out");
    let out_text = out.display().to_string();
    let done =
        report(&[&plan, "--out", &out_text, "--json", "--csv", "--per-request", "Lambda alone"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let mut names: Vec<_> = fs::read_dir(&out)
        .expect("a folder")
        .map(|file| file.expect("a file").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "alternatives.csv",
            "per-request.csv",
            "report.html",
            "report.json",
            "timeline.csv",
            "tried.csv"
        ]
    );
    let requests = fs::read_to_string(out.join("per-request.csv")).expect("a file");
    assert!(requests.starts_with("arrival_s,start_s,end_s,instance,cold,end\n"));
    assert!(requests.lines().count() > 1_000);
    assert!(text(&done.stdout).contains("Lambda alone"));
}

#[test]
fn recordings_are_read_without_a_plan_and_bad_lines_are_named() {
    let folder = folder("report-from");
    let lines: String = (0..200).map(|at| format!("{}.5,0.05\n", at / 10)).collect();
    let log = written(&folder, "log.csv", &format!("arrival,service\n{lines}yesterday,0.05\n"));
    let done = report(&["--from", "csv", &log, "--quick", "--seeds", "1"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("log.csv:202"), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("200 requests"), "{}", text(&done.stdout));
    let solved = report(&["solve", "--slo", "p99<1s", "--from", "csv", &log]);
    assert!(solved.status.success(), "{}", text(&solved.stderr));
    assert!(text(&solved.stderr).contains("log.csv:202"), "{}", text(&solved.stderr));
    let said = text(&solved.stdout);
    assert!(said.contains("What was assumed") && said.contains("730 hours"), "{said}");
}

#[test]
fn recording_comes_on_standard_input_as_well() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-dispatch"))
        .args(["report", "--from", "csv", "-", "--quick", "--seeds", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"arrival\n1\n2\n3\n").expect("somebody reads it");
    drop(input);
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success());
    assert!(text(&done.stdout).starts_with("What came on standard input\n"));
    assert!(text(&done.stdout).contains("3 requests"), "{}", text(&done.stdout));
}

#[test]
fn flags_beside_a_recording_say_what_a_plan_can() {
    let folder = folder("report-flags");
    let lines: String = (0..600).map(|at| format!("{}\n", f64::from(at) / 10.0)).collect();
    let log = written(&folder, "log.csv", &format!("arrival\n{lines}"));
    let plan = r#"
        title = "The same"
        traffic = { kind = "csv", files = ["log.csv"] }
        service = { time = "0.25s", cpu = 1 }
        cold_start = { time = "1.5s" }
    "#;
    let plan = written(&folder, "plan.toml", plan);
    let short = ["--json", "--quick", "--seeds", "1"];
    let flags = ["--from", "csv", &log, "--service", "0.25s", "--cpu", "1", "--cold-start", "1.5s"];
    let alternatives = |arguments: &[&str]| {
        let done = report(&[arguments, &short].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
        assert!(report["alternatives"].is_array(), "{report}");
        report["alternatives"].clone()
    };
    assert_eq!(alternatives(&flags), alternatives(&[&plan]));
    let idle = ["--from", "csv", &log, "--service", "0.25s", "--cold-start", "1.5s"];
    assert_ne!(alternatives(&flags), alternatives(&idle));
}

#[test]
fn what_cannot_be_used_is_named_with_what_can() {
    let folder = folder("report-wrong");
    let unknown = written(&folder, "unknown.toml", &PLAN.replace("rate = 20", "rat = 20"));
    let nobody = written(&folder, "nobody.toml", &PLAN.replace("\"lambda\"", "\"lambada\""));
    let plan = written(&folder, "plan.toml", PLAN);
    let endless = written(&folder, "endless.toml", &PLAN.replace("1m", "100000h"));
    let out = folder.join("out").display().to_string();
    let prices = written(&folder, "prices.toml", "region = \"moon\"\n");
    for (arguments, said) in [
        (&["none.toml"][..], "none.toml"),
        (&[&unknown], "rat"),
        (&[&nobody], "lambada"),
        (&["--from", "fish", &plan], "choose alb"),
        (&["--from", "alb", &plan], "plan.toml"),
        (&[&plan, "--prices", &prices], "prices.toml"),
        // Long before it would be done.
        (
            &[&endless, "--out", &out, "--per-request", "Lambda"],
            "there are `lambda-dispatch, 10 slots`, `Lambda alone`",
        ),
        (&["--from", "csv", "--memory", "64", &plan], "64 MB, must be from 128 to 10240"),
        (&["--from", "csv", "--cpu", "1.5", &plan], "`1.5` is no share; write a number from 0"),
        (&["--from", "csv", "--cold-start", "1", &plan], "`1` is no span of time"),
        (&["--cpu", "0.5", &plan], "--from"),
        (&["--seeds", "0", &plan], "0 is not in 1..=1000"),
        (&["solve", "--slo", "p98<1s", &plan], "p99.9"),
        (&[], "Usage"),
    ] {
        let done = report(arguments);
        assert!(!done.status.success(), "{arguments:?}");
        assert!(text(&done.stderr).contains(said), "{arguments:?}: {}", text(&done.stderr));
        assert!(!text(&done.stderr).contains("panicked"), "{arguments:?}");
    }
}

#[test]
fn interrupted_report_leaves_nothing_behind() {
    let folder = folder("report-interrupted");
    let endless = PLAN.replace("rate = 20", "rate = 1000").replace("1m", "1000h");
    let plan = written(&folder, "plan.toml", &endless);
    let out = folder.join("out");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-dispatch"))
        .args(["report", &plan, "--out", &out.display().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    // Until it listens for the signal, which is number 2: bit 1 of what it catches.
    let catches = || {
        let status = fs::read_to_string(&status).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line");
        u64::from_str_radix(caught.trim(), 16).expect("a number") & 0b10 != 0
    };
    while !catches() {
        std::thread::yield_now();
    }
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("it is there");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(1));
    assert!(!out.exists(), "something was written");
}

#[test]
fn report_that_is_written_all_the_same_is_not_said_to_be_interrupted() {
    let folder = folder("report-too-late");
    let plan = written(&folder, "plan.toml", PLAN);
    // Where the page is written first nobody reads, so that the program is held up there.
    let page = folder.join(".report.html.new");
    assert!(Command::new("mkfifo").arg(&page).status().expect("it runs").success());
    let child = Command::new(env!("CARGO_BIN_EXE_lambda-dispatch"))
        .args(["report", &plan, "--out", &folder.display().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // Opened once the program opens it too.
    let mut reader = fs::File::open(&page).expect("it is there");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    std::io::copy(&mut reader, &mut std::io::sink()).expect("a page");
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("wrote "), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("Lambda alone"), "{}", text(&done.stdout));
}
