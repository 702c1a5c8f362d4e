//! The demo's app by itself, as its image runs it: in a function, and behind a load balancer.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const HOST: &str = "LAMBDA_DISPATCH_DEMO_APP_HOST";
/// Of this machine, as all of 127.0.0.0/8, but not where who listens on loopback can be found.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

struct App(Child, u16);

impl App {
    fn start(variables: &[(&str, &str)]) -> Self {
        // Free at every address, and so at each.
        let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        Self(command(port, variables).spawn().unwrap(), port)
    }

    /// What a load balancer's probe is answered, as soon as there is somebody to answer.
    fn health(&self, host: Ipv4Addr) -> String {
        let mut tries = (0..3_000).map(|_| {
            thread::sleep(Duration::from_millis(10));
            TcpStream::connect((host, self.1))
        });
        let mut stream = tries.find_map(Result::ok).expect("it listens at this address");
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn command(port: u16, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-dispatch"));
    command.arg("__demo-app").env_remove(HOST).env("LAMBDA_DISPATCH_PORT", port.to_string());
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

#[test]
fn nobody_but_its_own_machine_reaches_it() {
    let app = App::start(&[]);
    assert!(app.health(Ipv4Addr::LOCALHOST).starts_with("HTTP/1.1 200"));
    TcpStream::connect((ELSEWHERE, app.1)).unwrap_err();
}

#[test]
fn load_balancer_reaches_it_when_it_is_told_to_listen_everywhere() {
    let app = App::start(&[(HOST, "0.0.0.0")]);
    assert!(app.health(ELSEWHERE).starts_with("HTTP/1.1 200"));
    assert!(app.health(Ipv4Addr::LOCALHOST).starts_with("HTTP/1.1 200"));
}

#[test]
fn address_that_is_none_is_one_clear_line() {
    // Whoever took no notice would find the port taken, and end as well.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = command(port, &[(HOST, "everywhere")]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("LAMBDA_DISPATCH_DEMO_APP_HOST is `everywhere`"), "{said}");
    assert!(said.contains("such as 0.0.0.0"), "{said}");
}
