//! How the router ends, and that nobody pays for it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use h2::Reason;
use http::Request;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::{NamedTempFile, TempDir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::frames::{Came, GOAWAY, Http2, get, request};
use crate::stage::{PATIENCE, Router, Stage, readiness, serve, until};

/// Asks again and again on one connection until the router says that it is the last time; the
/// number of answers. Every request that was sent must be answered with 200.
async fn keep_asking(address: SocketAddr) -> io::Result<u32> {
    let mut client = Client::connect(address).await;
    let mut count = 0;
    loop {
        let answer = client.get("/sleep?ms=3").await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        count += 1;
        if answer.closes() {
            return Ok(count);
        }
    }
}

/// The status of one request on a connection of its own.
async fn ask_once(address: SocketAddr) -> io::Result<u16> {
    Ok(Client::try_connect(address).await?.get("/sleep?ms=100").await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_nobody_in_the_queue() {
    let settings = ["pool.slots=2", "pool.instances_max=1", "timeouts.drain_delay=1s"];
    let mut stage = Stage::demo(&settings).await;
    let (http, admin) = (stage.router.http, stage.router.admin);
    assert_eq!(ask_once(http).await.unwrap(), 200);
    // Five seconds' work, so that most of it is left when the router stops accepting.
    let mut queued = JoinSet::new();
    for _ in 0..100 {
        queued.spawn(ask_once(http));
    }
    until("the queue is full", async || stage.router.metric("dispatch_queue_requests").await > 80.)
        .await;

    stage.router.signal(Signal::TERM);
    until("it is not ready", async || readiness(admin).await == Some(503)).await;
    let health = Client::connect(admin).await.get("/health").await.unwrap();
    assert_eq!(health.status, 200, "it is alive until it has ended");
    assert_eq!(ask_once(http).await.unwrap(), 200, "it takes requests for a while");
    for status in queued.join_all().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert!(stage.router.end().await.success());
    stage.until_instances_have_ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_closes_no_connection_under_a_request() {
    let mut stage = Stage::demo(&["timeouts.drain_delay=100ms"]).await;
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        clients.spawn(keep_asking(stage.router.http));
    }
    let asked = async || stage.router.metric("dispatch_arrived_total").await;
    until("all are at it", async || asked().await > 200.).await;
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());
    for answers in clients.join_all().await {
        assert!(answers.unwrap() > 1);
    }
    stage.until_instances_have_ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_http2_streams_finish() {
    let mut stage = Stage::demo(&["pool.slots=4", "timeouts.drain_delay=100ms"]).await;
    let stream = TcpStream::connect(stage.router.http).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut responses = JoinSet::new();
    // Until the router says that it takes no more.
    while let Ok(mut ready) = requests.ready().await {
        let request = Request::builder().uri("http://test/sleep?ms=20").body(()).unwrap();
        let Ok((response, _)) = ready.send_request(request, true) else { break };
        responses.spawn(async move { response.await.map(|response| response.status()) });
        requests = ready;
        if responses.len() == 40 {
            stage.router.signal(Signal::TERM);
        }
    }
    assert!(responses.len() > 40, "it took requests after SIGTERM");
    for status in responses.join_all().await {
        match status {
            Ok(status) => assert_eq!(status, 200),
            // Sent across the goaway: never begun, so that a client may send it elsewhere.
            Err(error) => {
                let never_begun = [Reason::NO_ERROR, Reason::REFUSED_STREAM].map(Some);
                assert!(never_begun.contains(&error.reason()), "{error}");
            }
        }
    }
    ended.await.unwrap().unwrap();
    assert!(stage.router.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_crosses_the_goaway_of_http2_is_served() {
    let settings = ["timeouts.drain_delay=0s", "timeouts.drain=5s"];
    let mut stage = Stage::demo(&settings).await;
    let mut client = Http2::connect(stage.router.http).await;
    assert!(client.send(&request(1, &get("/sleep?ms=1"), true)).await);
    assert_eq!(client.outcome(1).await, Came::Status(200));
    stage.router.signal(Signal::TERM);
    while client.next().await.expect("it says goaway").kind != GOAWAY {}
    // From a client that has yet to hear of that: it has not answered the ping behind it.
    assert!(client.send(&request(3, &get("/sleep?ms=1"), true)).await);
    assert_eq!(client.outcome(3).await, Came::Status(200));
    drop(client);
    assert!(stage.router.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_end_of_a_drain_cuts_before_its_response_is_no_fault_of_its_instance() {
    let settings = ["timeouts.drain_delay=0s", "timeouts.drain=1s"];
    let mut stage = Stage::demo(&settings).await;
    let mut slow = Client::connect(stage.router.http).await;
    slow.send("GET /sleep?ms=3600000 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("it is in flight", async || stage.router.metric("dispatch_slots_busy").await > 0.).await;
    stage.router.signal(Signal::TERM);
    let answer = slow.answer("GET").await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    // An app may have seen it: nobody is told to send it again.
    assert_eq!(answer.header("retry-after"), None);
    assert!(stage.router.end().await.success());
    let log = stage.router.log();
    assert!(log.contains("status=503 reason=\"shutting_down\""), "{log}");
}

#[tokio::test]
async fn second_sigterm_ends_it_at_once() {
    let (log, emf) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
    let access = format!("log.access={}", log.path().display());
    let to = format!("emf.to={}", emf.path().display());
    let drain = ["timeouts.drain_delay=1h", "timeouts.drain=1h"];
    let settings = [&drain[..], &[&access, "emf.enabled=true", "emf.period=1h", &to]].concat();
    let mut stage = Stage::demo(&settings).await;
    assert_eq!(ask_once(stage.router.http).await.unwrap(), 200);
    let mut slow = Client::connect(stage.router.http).await;
    slow.send("GET /sleep?ms=3600000 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("it is in flight", async || stage.router.metric("dispatch_slots_busy").await > 0.).await;
    stage.router.signal(Signal::TERM);
    let admin = stage.router.admin;
    until("it is not ready", async || readiness(admin).await == Some(503)).await;
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());
    stage.until_instances_have_ended().await;
    let said = "told twice to stop: ended before the drain was over";
    assert!(stage.router.log().contains(said), "{}", stage.router.log());
    let period = std::fs::read_to_string(emf.path()).unwrap();
    let period: serde_json::Value = serde_json::from_str(&period).unwrap();
    assert_eq!((&period["Requests"], &period["Requests5xx"]), (&2.0.into(), &1.0.into()));
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let last = lines.lines().last().unwrap_or_default();
    assert!(last.contains("\" 503 ") && last.contains(" reason=shutting_down "), "{lines}");
}

#[tokio::test]
async fn instances_end_by_themselves_when_their_router_is_killed() {
    let mut stage = Stage::demo(&["pool.instances_min=2", "pool.slots=2"]).await;
    until("two instances serve", async || stage.router.metric("dispatch_slots").await >= 4.).await;
    let mut slow = Client::connect(stage.router.http).await;
    slow.send("GET /sleep?ms=3600000 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("it is in flight", async || stage.router.metric("dispatch_slots_busy").await > 0.).await;
    let began = io_tokio::clock::Clock::start().wall();
    stage.router.signal(Signal::KILL);
    stage.router.end().await;
    stage.until_instances_have_ended().await;
    let took = began.elapsed().unwrap();
    // Far from the function's time-out of five minutes, which would end them as well.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// A stand-in for STS, which has a pod's credentials, and the folder with the pod's token.
struct Sts(TcpListener, TempDir);

impl Sts {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "token").unwrap();
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap(), folder)
    }

    /// A router that has credentials from here alone.
    fn serve(&self) -> Command {
        let mut command = serve();
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/router")
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", self.1.path().join("token"))
            .env("AWS_ENDPOINT_URL_STS", format!("http://{}", self.0.local_addr().unwrap()));
        command
    }

    /// Waits until it is asked.
    async fn asked(&self) -> TcpStream {
        let asked = tokio::time::timeout(PATIENCE, self.0.accept()).await;
        asked.expect("it is asked for credentials").unwrap().0
    }

    /// Gives credentials to the first who asks.
    async fn give(&self) {
        let mut stream = self.asked().await;
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains("WebIdentityToken=") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "it asks with its token");
        }
        let body = "<AssumeRoleWithWebIdentityResponse \
                    xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                    <AssumeRoleWithWebIdentityResult><Credentials>\
                    <AccessKeyId>test</AccessKeyId><SecretAccessKey>test</SecretAccessKey>\
                    <SessionToken>test</SessionToken>\
                    <Expiration>2099-01-01T00:00:00Z</Expiration>\
                    </Credentials></AssumeRoleWithWebIdentityResult>\
                    </AssumeRoleWithWebIdentityResponse>";
        let head = format!("Content-Type: text/xml\r\nContent-Length: {}\r\n", body.len());
        let answer = format!("HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        // A close now could take the answer with it, if there is more to read.
        stream.read_to_end(&mut request).await.ok();
    }
}

#[tokio::test]
async fn sigterm_ends_a_router_that_waits_for_credentials() {
    let sts = Sts::start().await;
    let mut command = sts.serve();
    command.args(["--function", "web"]);
    for setting in ["listen.http=127.0.0.1:0", "listen.control=127.0.0.1:0", "listen.admin=off"] {
        command.args(["--set", setting]);
    }
    let mut router = command.spawn().unwrap();
    let _silent = sts.asked().await;
    let pid = i32::try_from(router.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, router.wait()).await;
    assert!(ended.expect("it ends").unwrap().success(), "nothing has failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_is_heard_while_a_reload_waits_for_credentials() {
    let sts = Sts::start().await;
    let file = sts.1.path().join("router.toml");
    std::fs::write(&file, "").unwrap();
    let settings = [&*format!("--config={}", file.display()), "timeouts.drain=1h"];
    let (mut router, ()) =
        tokio::join!(Router::start_by(|| sts.serve(), "http://127.0.0.1:9", &settings), sts.give());
    std::fs::write(&file, ELSEWHERE).unwrap();
    router.signal(Signal::HUP);
    let _silent = sts.asked().await;
    router.signal(Signal::TERM);
    let admin = router.admin;
    until("it is not ready", async || readiness(admin).await == Some(503)).await;
    router.signal(Signal::TERM);
    assert!(router.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_begins_nothing_before_it_has_all_that_it_needs() {
    let sts = Sts::start().await;
    let (file, recording) = (sts.1.path().join("router.toml"), sts.1.path().join("recording"));
    std::fs::write(&file, "").unwrap();
    let config = format!("--config={}", file.display());
    let recorder = format!("recorder.file={}", recording.display());
    let settings = [&*config, &*recorder];
    let (router, ()) =
        tokio::join!(Router::start_by(|| sts.serve(), "http://127.0.0.1:9", &settings), sts.give());
    std::fs::write(&file, format!("pool.slots = 3\n{ELSEWHERE}")).unwrap();
    router.signal(Signal::HUP);
    let _silent = sts.asked().await;
    // It may yet fail, and then the settings stay as they were.
    assert!(!recording.with_extension("old").exists(), "the recording in use was moved");
    assert!(!router.log().contains("takes the place"), "{}", router.log());
}

/// A pool for which credentials are fetched anew.
const ELSEWHERE: &str =
    "[pools.b]\nfunction = \"arn:aws:lambda:eu-west-1:123456789012:function:b\"\n";
