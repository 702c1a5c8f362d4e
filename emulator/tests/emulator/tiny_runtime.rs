//! What the emulator's tests run as a function: a runtime of a few lines that does what the payload
//! says, an extension, and the two halves of the test that kills an emulator.
//!
//! The payload is JSON; each field is an order, obeyed from top to bottom:
//! `print` a line, `sleep_ms`, `exit` with a code, post an `error`, post to a `wrong_id` first,
//! answer with `large` bytes. The answer tells what the runtime saw.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use emulator::{Config, Emulator, Event, Function, Program};

fn main() -> io::Result<()> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|first| first.to_str()) {
        Some("exec") => Err(emulator::exec_with_parent(&args[1..])),
        Some("emulate") => emulate(),
        Some("exit-at-init") => exit(3),
        Some("fail-at-init") => {
            let body = r#"{"errorType":"Init.Broken","errorMessage":"no such luck"}"#;
            call("POST", "/2018-06-01/runtime/init/error", &[], body)?;
            exit(1)
        }
        Some("never-ready") => loop {
            thread::park();
        },
        Some("extension") => extension("ext"),
        Some("extension-by-file") => extension("emulator-tiny-runtime"),
        Some("runtime") | None => runtime(),
        Some(other) => Err(io::Error::other(format!("`{other}` is nothing this program can do"))),
    }
}

fn runtime() -> io::Result<()> {
    loop {
        let invoke = call("GET", "/2018-06-01/runtime/invocation/next", &[], "")?;
        let id = invoke.header("lambda-runtime-aws-request-id");
        let payload: Value = serde_json::from_str(&invoke.body)?;
        if let Some(line) = payload["print"].as_str() {
            say(line)?;
        }
        if let Some(ms) = payload["sleep_ms"].as_u64() {
            thread::sleep(Duration::from_millis(ms));
        }
        if let Some(code) = payload["exit"].as_i64() {
            exit(i32::try_from(code).unwrap_or(1));
        }
        if let Some(message) = payload["error"].as_str() {
            let body = json!({ "errorType": "Told", "errorMessage": message }).to_string();
            call("POST", &format!("/2018-06-01/runtime/invocation/{id}/error"), &[], &body)?;
            continue;
        }
        let mut answer = json!({
            "payload": payload,
            "pid": std::process::id(),
            "headers": invoke.headers,
            "variables": variables(),
        });
        if payload["wrong_id"].as_bool() == Some(true) {
            let path = "/2018-06-01/runtime/invocation/00000000/response";
            answer["wrong_id_status"] = call("POST", path, &[], "{}")?.status.into();
        }
        let mut body = answer.to_string();
        if let Some(size) = payload["large"].as_u64() {
            body = format!("\"{}\"", "x".repeat(usize::try_from(size).unwrap_or(0)));
        }
        call("POST", &format!("/2018-06-01/runtime/invocation/{id}/response"), &[], &body)?;
    }
}

/// Registers for everything and prints what it is told.
fn extension(name: &str) -> io::Result<()> {
    let name = [("Lambda-Extension-Name", name)];
    let events = r#"{"events":["INVOKE","SHUTDOWN"]}"#;
    let registered = call("POST", "/2020-01-01/extension/register", &name, events)?;
    let identifier = registered.header("lambda-extension-identifier");
    // The runtime runs in this program too, so that it cannot be ready before the registration.
    thread::spawn(runtime);
    loop {
        let by = [("Lambda-Extension-Identifier", identifier.as_str())];
        let event = call("GET", "/2020-01-01/extension/event/next", &by, "")?;
        let event: Value = serde_json::from_str(&event.body)?;
        say(&format!("event {}", event["eventType"].as_str().unwrap_or("?")))?;
        if event["eventType"] == "SHUTDOWN" {
            say(event["shutdownReason"].as_str().unwrap_or("?"))?;
            return Ok(());
        }
    }
}

/// Runs an emulator with one environment, prints its process's id, and waits to be killed.
fn emulate() -> io::Result<()> {
    let this = std::env::current_exe()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = Config {
            observer: Arc::new(|_: &Event| {}),
            wrapper: Some(vec![this.clone().into(), "exec".into()]),
            ..Config::default()
        };
        let program = Program::new("app", [this.into_os_string(), "runtime".into()]);
        let emulator = Emulator::start(config, Function::new("demo", vec![program])).await?;
        emulator.prewarm(1).await.map_err(io::Error::other)?;
        for environment in emulator.environments().await {
            for pid in environment.pids {
                say(&pid.to_string())?;
            }
        }
        std::future::pending().await
    })
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> String {
        self.headers.get(name).cloned().unwrap_or_default()
    }
}

/// One call to this environment's API, on a connection of its own.
fn call(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(&api)?;
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    Ok(Answer { status, headers, body })
}

fn variables() -> BTreeMap<String, String> {
    std::env::vars()
        .filter(|(name, _)| {
            name.starts_with("AWS_") || name == "LAMBDA_DISPATCH_PORT" || name == "PORT"
        })
        .collect()
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
