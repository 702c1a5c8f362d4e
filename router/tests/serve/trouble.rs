//! Functions that cannot be had: nobody hangs, and nobody pays for a storm of invokes.

use std::time::Duration;

use emulator::Program;
use io_tokio::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::client::{Answer, Client};
use crate::stage::{Router, Stage, serve_after, until};

/// The answers to `count` requests that are sent at once, and how long each took.
async fn burst(stage: &Stage, count: usize) -> Vec<(Answer, Duration)> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let http = stage.router.http;
        requests.spawn(async move {
            let began = Clock::start().wall();
            let answer = Client::connect(http).await.get("/").await.unwrap();
            (answer, began.elapsed().unwrap_or_default())
        });
    }
    requests.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_function_makes_requests_wait_no_longer_than_the_queue_allows() {
    let stage = Stage::demo(&["timeouts.queue=2s"]).await;
    stage.emulator.throttle(true).await;
    for (answer, took) in burst(&stage, 20).await {
        assert_eq!(answer.status, 504, "{answer:?}");
        assert!(took >= Duration::from_secs(2), "it waited {took:?}");
        assert!(took < Duration::from_secs(10), "it waited {took:?}");
    }
    let invokes = stage.router.metric("dispatch_invokes_total").await;
    assert!((1.0..=20.0).contains(&invokes), "{invokes} invokes within 2 s");

    stage.emulator.throttle(false).await;
    until("it serves again", async || burst(&stage, 1).await[0].0.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn app_that_crashes_at_its_start_is_refused_at_once_and_costs_few_invokes() {
    let stage =
        Stage::with_app(Some(Program::new("app", ["false"])), &["timeouts.queue=50s"]).await;
    for (answer, _) in burst(&stage, 20).await {
        assert_eq!(answer.status, 503, "{answer:?}");
        let seconds = std::str::from_utf8(answer.header("retry-after").unwrap()).unwrap();
        assert!(seconds.parse::<u32>().unwrap() >= 1);
        assert!(!answer.text().contains("exit"), "it tells a stranger about the app: {answer:?}");
    }
    assert_eq!(stage.router.metric("dispatch_breaker_open").await, 1.0);
    for (answer, took) in burst(&stage, 20).await {
        assert_eq!(answer.status, 503);
        assert!(took < Duration::from_secs(1), "it waited {took:?} although the breaker is open");
    }
    let invokes = stage.router.metric("dispatch_invokes_total").await;
    assert!((3.0..=20.0).contains(&invokes), "{invokes} invokes");
    assert!(stage.router.log().contains("Runtime.ExitError"), "the operator is told why");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_files_may_be_open_as_the_system_allows_and_too_few_are_warned_of() {
    let stage = Stage::demo(&[]).await;
    let within = || serve_after("ulimit -S -n 128 && ulimit -H -n 256");
    let router = Router::start_by(within, &stage.emulator.endpoint(), &[]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", router.pid())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files ")).unwrap();
    let files: Vec<_> = files.split_whitespace().collect();
    assert_eq!(files, ["256", "256", "files"]);
    let warning = "limits.connections is 10000 and there may be 100 instances, which takes 10264 \
                   open files, but this process may have 256";
    assert!(router.log().contains(warning), "{}", router.log());
}

/// As Lambda answers for a function that has no extension: at once, as if all were well.
async fn return_at_once(mut stream: TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(answer.as_bytes()).await.ok();
}

async fn explained(router: &Router) -> String {
    Client::connect(router.admin).await.get("/explain").await.unwrap().text()
}

#[tokio::test(flavor = "multi_thread")]
async fn function_without_the_extension_is_told_in_the_log_and_explained() {
    let lambda = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", lambda.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = lambda.accept().await {
            tokio::spawn(return_at_once(stream));
        }
    });
    let router = Router::start(&endpoint, &[]).await;
    assert_eq!(router.get("/").await.status, 503);
    until("the log tells both", async || {
        let log = router.log();
        let warns = |says: &str| log.lines().any(|it| it.contains("WARN") && it.contains(says));
        warns("is the extension in /opt/extensions") && warns("the breaker opens")
    })
    .await;
    let page = explained(&router).await;
    for told in ["returned without having attached", "the breaker opened"] {
        assert!(page.contains(told), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn app_that_never_listens_is_told_in_the_log_and_explained() {
    let app = Program::new("app", ["sleep", "600"]);
    let stage = Stage::with_app(Some(app), &["pool.start_timeout=1s"]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("the log tells", async || {
        stage.router.log().contains("starts took longer than pool.start_timeout")
    })
    .await;
    let page = explained(&stage.router).await;
    assert!(page.contains("took longer than pool.start_timeout: see the function's log"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_do_not_take_the_open_files_that_instances_need() {
    let stage = Stage::demo(&[]).await;
    let within = || serve_after("ulimit -S -n 64 && ulimit -H -n 64");
    let router = Router::start_by(within, &stage.emulator.endpoint(), &[]).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::connect(router.http).await);
    }
    for client in &mut clients[..10] {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    let log = router.log();
    assert!(log.contains("this process may have 64: 32 clients may connect at once"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_told_the_port_that_the_system_chose() {
    let stage = Stage::demo(&["listen.control=127.0.0.1:0"]).await;
    assert_eq!(stage.router.get("/").await.status, 200, "{}", stage.router.log());
    let log = stage.router.log();
    let told = log.lines().find(|line| line.contains("listen.control is where")).unwrap();
    let address = told.rsplit("address=").next().unwrap();
    assert!(log.contains(&format!("url=\"https://{address}\"")), "{log}");
}
