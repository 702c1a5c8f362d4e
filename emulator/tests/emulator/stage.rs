//! An emulator with a function on it, and everything that it reported.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator::{Config, Emulator, EnvironmentInfo, Event, Function, Program, model};
use serde_json::Value;

use crate::client::{self, Answer};

pub(crate) struct Stage {
    pub(crate) emulator: Emulator,
    events: Arc<Mutex<Vec<Event>>>,
}

/// A function whose one program is the tiny runtime in this mode.
pub(crate) fn function(mode: &str) -> Function {
    let mut function = Function::new("demo", vec![program("app", mode)]);
    function.port_env = Some("PORT".to_owned());
    function
}

pub(crate) fn program(name: &str, mode: &str) -> Program {
    Program::new(name, [env!("CARGO_BIN_EXE_emulator-tiny-runtime"), mode])
}

/// A service whose time-out is out of the way of a slow machine.
pub(crate) fn service() -> model::Config {
    model::Config { function_timeout: Duration::from_secs(60), ..model::Config::default() }
}

impl Stage {
    pub(crate) async fn set(service: model::Config, function: Function) -> Self {
        Self::with(Config { service, ..Config::default() }, function).await
    }

    /// With all of `config` but its observer.
    pub(crate) async fn with(config: Config, function: Function) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let observer = Arc::new(move |event: &Event| seen.lock().unwrap().push(event.clone()));
        let config = Config { observer, ..config };
        Self { emulator: Emulator::start(config, function).await.unwrap(), events }
    }

    /// With the tiny runtime and nothing special.
    pub(crate) async fn plain() -> Self {
        Self::set(service(), function("runtime")).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.emulator.endpoint().strip_prefix("http://").unwrap().parse().unwrap()
    }

    pub(crate) async fn invoke(&self, payload: Value) -> Answer {
        client::send(self.address(), client::invoke_request(&payload)).await
    }

    /// Invokes and lets the answer come when it comes.
    pub(crate) fn invoke_aside(&self, payload: Value) -> tokio::task::JoinHandle<Answer> {
        let address = self.address();
        tokio::spawn(async move { client::send(address, client::invoke_request(&payload)).await })
    }

    /// Every event so far, as the line to print for it.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().map(ToString::to_string).collect()
    }

    pub(crate) async fn until_line(&self, line: &str) {
        until(line, async || self.lines().iter().any(|it| it == line)).await;
    }

    /// Waits until environment `number` is in `stage`.
    pub(crate) async fn until_stage(&self, number: u64, stage: model::Stage) -> EnvironmentInfo {
        until(&format!("env-{number} {stage}"), async || {
            self.environment(number).await.is_some_and(|it| it.stage == stage)
        })
        .await;
        self.environment(number).await.unwrap()
    }

    pub(crate) async fn environment(&self, number: u64) -> Option<EnvironmentInfo> {
        let id = model::EnvironmentId::new(number);
        self.emulator.environments().await.into_iter().find(|it| it.id == id)
    }
}

/// Waits until `condition` holds, as long as a slow machine may need.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "waited in vain for: {what}");
}

/// The state letter of a process in `/proc`: `S` sleeps, `T` is stopped; `None` once it is gone.
pub(crate) fn process_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in brackets, may hold anything.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether a process is gone; one that nobody has waited for yet counts as gone.
pub(crate) fn is_gone(pid: u32) -> bool {
    matches!(process_state(pid), None | Some('Z' | 'X'))
}
