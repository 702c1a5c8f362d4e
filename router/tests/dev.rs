//! `lambda-dispatch dev` as a user runs it: the real program, real processes, real sockets.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use io_tokio::recording::{Recording, replay};
use rustix::process::{Pid, Signal, kill_process};

/// A running `dev`. Dropping it kills it, and with it everything that it started.
struct Dev {
    child: Child,
    address: String,
    admin: String,
}

impl Dev {
    /// Starts `dev` and waits until it says that it is ready.
    fn start(arguments: &[&str]) -> Self {
        Self::start_after("true", arguments)
    }

    /// The same from a shell that does `first` before.
    fn start_after(first: &str, arguments: &[&str]) -> Self {
        let (dev, output) = Self::start_unread(first, arguments);
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(drop));
        dev
    }

    /// The same, and leaves the rest of its output where it is.
    fn start_unread(first: &str, arguments: &[&str]) -> (Self, BufReader<ChildStdout>) {
        // Whoever tests in the background may have signals ignored, which processes inherit.
        let mut shell = Command::new("env");
        shell.args(["--default-signal=HUP,INT,QUIT", "sh", "-c"]);
        shell.args([&format!("{first} && exec \"$0\" \"$@\""), BINARY, "dev"]);
        shell.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(arguments);
        let mut child = piped(&mut shell).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line_with = |start: &str| {
            let mut line = String::new();
            while !line.starts_with(start) {
                line.clear();
                assert_ne!(output.read_line(&mut line).unwrap(), 0, "dev ended before `{start}`");
            }
            line.trim_start_matches(start).trim().trim_end_matches("/metrics").to_owned()
        };
        let dashboard = line_with("dashboard: http://");
        let admin = line_with("admin: http://");
        assert_eq!(dashboard, format!("{admin}/dashboard"));
        let address = line_with("ready: http://");
        (Self { child, address, admin }, output)
    }

    fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// One request on a connection of its own; the status and all that followed the status line.
    fn get(&self, target: &str) -> (u16, String) {
        let mut stream = self.connect(&get(target));
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        (text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0), text)
    }

    /// What the admin port says.
    fn admin(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        stream.write_all(get(target).as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// The value of a metric that has no other label than its pool.
    fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics");
        let line = text.lines().find(|line| line.split('{').next() == Some(name));
        line.and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("no metric {name} in {text}"))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Processes started by this one, directly or through others.
    fn descendants(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            let tasks = format!("/proc/{parent}/task");
            for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
                let children = std::fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            next += 1;
        }
        found.split_off(1)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn dev(flags: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    piped(command.arg("dev").args(flags).args(arguments));
    command
}

fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit())
}

/// Runs `dev` where it cannot work, and gives what it said.
fn failing(flags: &[&str], arguments: &[&str]) -> Output {
    let output = dev(flags, arguments).stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    let said = said(&output);
    assert!(!said.contains('\u{1b}'), "there is no terminal for colours: {said:?}");
    assert!(!said.contains("ERROR"), "the fault is the user's, not ours: {said}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended; only its parent has not looked yet.
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Waits for a state, but not for ever.
fn until(what: &str, state: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if state() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 30 s: {what}");
}

/// Sends `count` requests at once; gives each one's status and how long it took.
fn burst(dev: &Dev, count: usize, target: &str) -> Vec<(u16, Duration)> {
    thread::scope(|scope| {
        let requests: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let began = io_tokio::clock::Clock::start().wall();
                    let (status, _) = dev.get(target);
                    (status, began.elapsed().unwrap_or_default())
                })
            })
            .collect();
        requests.into_iter().map(|request| request.join().unwrap()).collect()
    })
}

/// The soft and the hard limit of open files of a process.
fn open_files(pid: u32) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files ")).unwrap();
    let mut words = files.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

const BINARY: &str = env!("CARGO_BIN_EXE_lambda-dispatch");
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn pages_uploads_and_events_pass_through() {
    let dev = Dev::start(&[]);
    let (status, page) = dev.get("/");
    assert!(status == 200 && page.contains("It works"), "{page}");
    assert!(page.contains("curl http://test/sleep"), "where it came to is in its page: {page}");
    assert_eq!(dev.get("/nothing").0, 404);

    let body = "x".repeat(1_000_000);
    let head = "POST /upload HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";
    let mut stream = dev.connect(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("1000000 bytes\n") || answer.contains("1000000 bytes"), "{answer}");

    // An hour between events: the first must not wait for the second.
    let mut events = dev.connect(&get("/events?n=2&ms=3600000"));
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("data: 1 to go") {
        let mut bytes = [0; 1024];
        let count = events.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "the stream ended");
        seen.extend_from_slice(&bytes[..count]);
    }
}

#[test]
fn burst_that_warm_slots_can_clear_pays_no_cold_start() {
    let dev = Dev::start(&["--cold-start", "3s"]);
    let invokes = dev.metric("dispatch_invokes_total");
    let answers = burst(&dev, 100, "/sleep?ms=50");
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    assert!(slowest < Duration::from_secs(3), "the slowest took {slowest:?}");
    assert_eq!(dev.metric("dispatch_cold_exposed_total"), 0.0);
    assert_eq!(dev.metric("dispatch_invokes_total"), invokes, "nothing was started for the burst");
}

#[test]
fn metric_counts_exactly_the_requests_that_waited_as_long_as_a_cold_start() {
    let dev = Dev::start(&["--cold-start", "1s", "--concurrency", "2", "--max-instances", "1"]);
    // Two at a time, 700 ms each: two wait 0 s, two 0.7 s, two 1.4 s, two 2.1 s.
    let answers = burst(&dev, 8, "/sleep?ms=700");
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let waited = answers.iter().filter(|(_, took)| *took >= Duration::from_millis(1_700)).count();
    assert_eq!(dev.metric("dispatch_cold_exposed_total"), waited as f64);
    assert_eq!(waited, 4, "{answers:?}");
}

#[test]
fn why_there_is_an_instance_is_explained_on_the_admin_port() {
    let dev = Dev::start(&[]);
    assert_eq!(dev.get("/").0, 200);
    let page = dev.admin("/explain");
    assert!(page.contains("Z default: 0 -> "), "{page}");
}

#[test]
fn killed_extension_costs_its_requests_and_no_others() {
    let dev = Dev::start(&["--concurrency", "2", "--max-instances", "4"]);
    thread::scope(|scope| {
        let load = scope.spawn(|| burst(&dev, 40, "/sleep?ms=200"));
        until("two extensions serve", || dev.metric("dispatch_slots_busy") >= 4.0);
        let extension = dev.descendants().into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("extension")
        });
        let pid = Pid::from_raw(i32::try_from(extension.unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let answers = load.join().unwrap();
        let failed = answers.iter().filter(|(status, _)| *status == 502).count();
        assert!(failed <= 2, "{failed} failed, of at most 2 in flight on one instance");
        assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 502)), "{answers:?}");
    });
}

#[test]
fn what_happened_is_recorded_and_replays_with_identical_outputs() {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("lambda-dispatch-dev-{}.recording", std::process::id()));
    let mut dev = Dev::start(&["--record", file.to_str().unwrap()]);
    let dump = folder.join(format!("lambda-dispatch-{}.recording", dev.child.id()));
    assert!(burst(&dev, 50, "/sleep?ms=20").iter().all(|(status, _)| *status == 200));
    dev.signal(Signal::USR1);
    until("the dump is written", || dump.exists());
    dev.signal(Signal::INT);
    assert!(dev.child.wait().unwrap().success());
    for path in [dump, file] {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let recording = Recording::read(&bytes).unwrap();
        let replayed = replay(&recording).unwrap_or_else(|divergence| panic!("{divergence}"));
        assert!(replayed.inputs > 100, "{replayed}");
    }
}

#[test]
fn ctrl_c_ends_everything_and_frees_the_port() {
    let mut dev = Dev::start(&[]);
    assert_eq!(dev.get("/").0, 200);
    let started = dev.descendants();
    assert!(started.len() >= 2, "an instance is two processes");
    dev.signal(Signal::INT);
    assert!(dev.child.wait().unwrap().success());
    until("all processes end", || !started.iter().any(|pid| alive(*pid)));
    TcpListener::bind(&dev.address).unwrap();
}

#[test]
fn ctrl_c_with_an_instance_up_warns_of_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let mut dev = Dev::start_after(&format!("exec 2>{}", log.display()), &[]);
    assert_eq!(dev.get("/").0, 200);
    dev.signal(Signal::INT);
    assert!(dev.child.wait().unwrap().success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn closed_terminal_ends_everything_that_the_app_has_started_in_turn() {
    for signal in [Signal::HUP, Signal::QUIT] {
        let app = ["--", "sh", "-c", "\"$0\" __demo-app; echo done", BINARY];
        let mut dev = Dev::start(&app);
        assert_eq!(dev.get("/").0, 200);
        let started = dev.descendants();
        assert!(started.len() >= 3, "the extension, a shell and the app");
        dev.signal(signal);
        assert!(dev.child.wait().unwrap().success(), "{signal:?}");
        until("all processes end", || !started.iter().any(|pid| alive(*pid)));
    }
}

#[test]
fn whoever_says_nohup_keeps_it() {
    let dev = Dev::start_after("trap '' HUP", &[]);
    dev.signal(Signal::HUP);
    assert_eq!(dev.get("/").0, 200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", dev.child.id())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    assert_eq!(u64::from_str_radix(ignored.trim(), 16).unwrap() & 1, 1, "SIGHUP is number 1");
}

#[test]
fn output_that_nobody_reads_holds_nothing_up() {
    let scratch = tempfile::tempdir().unwrap();
    let (told, has_said) = (scratch.path().join("told"), scratch.path().join("has-said"));
    assert!(Command::new("mkfifo").arg(&told).status().unwrap().success());
    // Far more than a pipe and a queue hold.
    let script = "(read go < \"$1\"; seq 100000; : > \"$2\") & exec \"$0\" __demo-app";
    let (from, to) = (told.to_str().unwrap(), has_said.to_str().unwrap());
    let app = ["--min-instances", "1", "--", "sh", "-c", script, BINARY, from, to];
    let (mut dev, _unread) = Dev::start_unread("true", &app);
    std::fs::write(&told, "go\n").unwrap();
    until("the app has said all", || has_said.exists());
    for _ in 0..20 {
        assert_eq!(dev.get("/").0, 200);
    }
    dev.signal(Signal::TERM);
    until("it ends", || !alive(dev.child.id()));
    assert!(dev.child.wait().unwrap().success());
}

#[test]
fn many_clients_fit_and_an_app_has_the_limit_of_open_files_that_it_would_have_had() {
    let dev = Dev::start_after("ulimit -S -n 128", &[]);
    let (soft, hard) = open_files(dev.child.id());
    assert_eq!(soft, hard);
    let programs = dev.descendants();
    assert!(programs.len() >= 2);
    for pid in programs {
        assert_eq!(open_files(pid), ("128".to_owned(), hard.clone()));
    }
    let answers = burst(&dev, 200, "/sleep?ms=50");
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
}

#[test]
fn demo_that_does_not_fit_says_how_much_would() {
    let script = "ulimit -n 1024 && exec \"$0\" demo --requests 1000";
    let output = Command::new("sh").args(["-c", script, BINARY]).output().unwrap();
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("--requests 1000 needs") && said.contains("may have 1024"), "{said}");
}

#[test]
fn children_end_even_when_the_program_is_killed() {
    let mut dev = Dev::start(&[]);
    let started = dev.descendants();
    assert!(started.len() >= 2);
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    until("all processes end", || !started.iter().any(|pid| alive(*pid)));
}

#[test]
fn busy_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = failing(&["--listen", &address, "--admin", "off"], &[]);
    let said = said(&output);
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(said.contains("--listen"), "{said}");
}

#[test]
fn unknown_command_is_one_clear_line() {
    let flags = ["--listen", "127.0.0.1:0", "--admin", "off"];
    let said = said(&failing(&flags, &["--", "no-such-command-at-all"]));
    assert!(said.contains("no-such-command-at-all"), "{said}");
}

#[test]
fn app_that_crashes_at_its_start_is_one_clear_line() {
    let flags = ["--listen", "127.0.0.1:0", "--admin", "off"];
    let said = said(&failing(&flags, &["--", "false"]));
    assert!(said.contains("the app ended before it was ready (exit status 1)"), "{said}");
    assert!(said.contains("$PORT"), "{said}");
}

#[test]
fn app_that_never_listens_is_one_clear_line() {
    let flags = ["--listen", "127.0.0.1:0", "--admin", "off"];
    let said = said(&failing(&flags, &["--", "sleep", "100"]));
    assert!(said.contains("the app did not get ready"), "{said}");
    assert!(said.contains("LAMBDA_DISPATCH_ASYNC_INIT"), "{said}");
    assert!(said.contains("$PORT"), "{said}");
}

#[test]
fn what_is_wrong_with_the_extension_is_not_blamed_on_the_app() {
    let flags = ["--listen", "127.0.0.1:0", "--admin", "off"];
    let mut command = dev(&flags, &[]);
    command.env("LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT", "30s").stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = said(&output);
    let last = said.lines().last().unwrap();
    assert!(last.contains("the extension ended before the app was ready"), "{said}");
    assert!(last.contains("LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT is `30s`"), "{said}");
    assert!(!said.contains("$PORT"), "{said}");
}

#[test]
fn command_needs_no_dashes_before_it() {
    let flags = ["--listen", "127.0.0.1:0", "--admin", "off"];
    let said = said(&failing(&flags, &["sh", "-c", "exit 3"]));
    assert!(said.contains("the app ended before it was ready (exit status 3)"), "{said}");
}

#[test]
fn wrong_flag_is_answered_with_what_is_allowed() {
    for (flag, value, allowed) in [
        ("--listen", "5001", "127.0.0.1:5001"),
        ("--admin", "no", "127.0.0.1:5001 or [::1]:5001, or off"),
        ("--concurrency", "0", "1..="),
        ("--max-instances", "many", "invalid digit"),
        ("--cold-start", "3", "250ms, 30s, 2m or 1h"),
        ("--cold-start", "6m", "more than 5m"),
        ("--function-timeout", "20m", "15m"),
        ("--function-timeout", "0s", "1s"),
        ("--app-port-env", "", "such as PORT"),
        ("--no-such-flag", "", "--help"),
    ] {
        let said = said(&failing(&[flag, value], &[]));
        assert!(said.contains(flag) && said.contains(allowed), "{flag} {value}: {said}");
    }
}
