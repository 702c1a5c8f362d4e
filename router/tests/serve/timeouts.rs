//! Each time-out for itself: what the client is told, what is counted, and that the slot is free.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::client::{Answer, Client};
use crate::raw_app::{body, head};
use crate::stage::{Stage, until};

const SETTINGS: &[&str] = &["pool.linger=10m", "pool.instances_max=1", "pool.placement_margin=1s"];

/// An app that does not get on.
async fn stalling(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = head(&mut stream).await {
        let text = String::from_utf8_lossy(&head).into_owned();
        let begun = match text.split(' ').nth(1).unwrap() {
            "/hang" => "",
            "/early" => {
                let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhel";
                stream.write_all(begun).await.unwrap();
                if body(&mut stream, &head).await.is_some() {
                    stream.write_all(b"lo\n").await.unwrap();
                }
                return;
            }
            "/half" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf\n",
            "/events" => {
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                 Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
            }
            "/drip" => {
                let drop = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(drop).await.unwrap();
                while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                return;
            }
            _ => {
                if body(&mut stream, &head).await.is_none() {
                    return;
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
                stream.write_all(answer).await.unwrap();
                continue;
            }
        };
        stream.write_all(begun.as_bytes()).await.unwrap();
        // Until the extension closes the connection.
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.ok();
        return;
    }
}

async fn stage(settings: &[&str]) -> Stage {
    let stage = Stage::served(&[], &[SETTINGS, settings].concat(), stalling).await;
    assert_eq!(stage.router.get("/").await.status, 200);
    stage
}

/// Exactly one request has ended so, and nothing of it is left.
async fn is_over(stage: &Stage, status: u16, reason: &str) {
    until("it is counted", async || stage.router.ended(status, reason).await == 1).await;
    until("the slot is free", async || stage.router.metric("dispatch_slots_busy").await == 0.0)
        .await;
    assert_eq!(stage.router.get("/").await.status, 200);
}

/// The head of an answer whose body is then cut.
async fn cut(stage: &Stage, path: &str) -> Answer {
    let mut client = Client::connect(stage.router.http).await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await.unwrap();
    let answer = client.head().await.unwrap();
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{path} ends as if it were whole");
    assert_ne!(rest.len(), 10, "{path} ends as if it were whole");
    answer
}

#[tokio::test]
async fn client_that_sends_no_body_is_408_and_costs_no_slot() {
    let stage = stage(&["timeouts.idle=500ms"]).await;
    let before = stage.router.metric("dispatch_dispatched_total").await;
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = Client::connect(stage.router.http).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")).await.unwrap();
        let answer = client.answer("POST").await.unwrap();
        assert_eq!(answer.status, 408);
        assert!(answer.closes());
    }
    assert_eq!(stage.router.metric("dispatch_dispatched_total").await, before);
    assert_eq!(stage.router.metric("dispatch_arrived_total").await, before);
    assert_eq!(stage.router.ended(408, "request_timeout").await, 2);
}

#[tokio::test]
async fn no_media_type_gets_a_client_of_http1_a_slot_without_a_body() {
    let stage = stage(&["timeouts.idle=500ms", "timeouts.stream_idle=3s"]).await;
    let before = stage.router.metric("dispatch_dispatched_total").await;
    for media_type in ["text/event-stream", "application/grpc", "application/grpc-web"] {
        let mut client = Client::connect(stage.router.http).await;
        let lines = format!("Content-Type: {media_type}\r\nContent-Length: 10\r\n");
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).await.unwrap();
        assert_eq!(client.answer("POST").await.unwrap().status, 408, "{media_type}");
    }
    assert_eq!(stage.router.metric("dispatch_dispatched_total").await, before);
}

#[tokio::test]
async fn bodies_that_are_empty_or_begun_are_not_waited_for() {
    let stage = stage(&["timeouts.idle=10m"]).await;
    let mut client = Client::connect(stage.router.http).await;
    for (framing, body) in [
        ("Content-Length: 0", ""),
        ("Transfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "1\r\nx\r\n0\r\n\r\n"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n");
        client.send(head + body).await.unwrap();
        assert_eq!(client.answer("POST").await.unwrap().status, 200);
    }
    let begun = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nx";
    client.send(begun).await.unwrap();
    until("it has a slot", async || stage.router.metric("dispatch_slots_busy").await == 1.0).await;
    client.send("x").await.unwrap();
    assert_eq!(client.answer("POST").await.unwrap().status, 200);
}

#[tokio::test]
async fn body_is_not_waited_for_where_the_operator_says_so() {
    let stage = stage(&["timeouts.await_body=false"]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n").await.unwrap();
    until("it has a slot", async || stage.router.metric("dispatch_slots_busy").await == 1.0).await;
    client.send("x").await.unwrap();
    assert_eq!(client.answer("POST").await.unwrap().status, 200);
}

#[tokio::test]
async fn client_that_stops_in_its_body_is_408() {
    let stage = stage(&["timeouts.idle=500ms"]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
    let answer = client.answer("POST").await.unwrap();
    assert_eq!(answer.status, 408);
    assert!(answer.closes());
    is_over(&stage, 408, "request_timeout").await;
}

#[tokio::test]
async fn app_that_does_not_answer_is_504() {
    let stage = stage(&["timeouts.first_byte=500ms"]).await;
    assert_eq!(stage.router.get("/hang").await.status, 504);
    is_over(&stage, 504, "response_timeout").await;
}

#[tokio::test]
async fn answer_that_stalls_is_cut() {
    let stage = stage(&["timeouts.idle=500ms"]).await;
    assert_eq!(cut(&stage, "/half").await.status, 200);
    is_over(&stage, 200, "idle_timeout").await;
}

#[tokio::test]
async fn answer_is_not_cut_while_its_client_still_sends() {
    let stage = stage(&["timeouts.idle=1s"]).await;
    let mut client = Client::connect(stage.router.http).await;
    let head = "POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 30\r\n\r\n";
    client.send(head).await.unwrap();
    // 3 s in all.
    for _ in 0..30 {
        client.send("x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.answer("POST").await.unwrap().text(), "hello\n");
}

#[tokio::test]
async fn events_may_be_silent_for_longer_than_other_answers() {
    let stage = stage(&["timeouts.idle=500ms", "timeouts.stream_idle=3s"]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    // Another that is cut at the shorter limit, after this began.
    assert_eq!(cut(&stage, "/half").await.status, 200);
    until("the other is counted", async || stage.router.ended(200, "idle_timeout").await == 1)
        .await;
    assert_eq!(stage.router.metric("dispatch_slots_busy").await, 1.0, "the events go on");
    assert_eq!(client.rest().await, b"9\r\ndata: 1\n\n\r\n");
    until("it is counted", async || stage.router.ended(200, "idle_timeout").await == 2).await;
}

#[tokio::test]
async fn request_is_over_when_its_total_time_is() {
    let stage = stage(&["timeouts.total=1s"]).await;
    assert_eq!(stage.router.get("/hang").await.status, 504);
    is_over(&stage, 504, "total_timeout").await;
    // It is never silent.
    assert_eq!(cut(&stage, "/drip").await.status, 200);
    is_over(&stage, 200, "total_timeout").await;
    // Nor is this client, whose body has begun.
    let mut client = Client::connect(stage.router.http).await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999\r\n\r\nx").await.unwrap();
    until("it is over", async || {
        client.send("x").await.ok();
        stage.router.ended(504, "total_timeout").await == 2
    })
    .await;

    stage.emulator.throttle(true).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    assert_eq!(client.answer("POST").await.unwrap().status, 408);
}

#[tokio::test]
async fn clients_are_told_how_long_the_stages_took_only_if_the_operator_says_so() {
    let told = stage(&["listen.server_timing=true", "timeouts.first_byte=700ms"]).await;
    for (path, status, app_min) in [("/", 200, 0), ("/hang", 504, 700)] {
        let answer = told.router.get(path).await;
        assert_eq!(answer.status, status);
        let timing = String::from_utf8_lossy(answer.header("server-timing").unwrap()).into_owned();
        let stages: Vec<_> = timing.split(", ").collect();
        let [queue, dispatch, app] = stages[..] else { panic!("{timing}") };
        let millis = |stage: &str, name| -> u64 {
            stage.strip_prefix(name).unwrap_or_else(|| panic!("{timing}")).parse().unwrap()
        };
        millis(queue, "queue;dur=");
        millis(dispatch, "dispatch;dur=");
        assert!(millis(app, "app;dur=") >= app_min, "{path}: {timing}");
    }
    let untold = stage(&[]).await;
    assert_eq!(untold.router.get("/").await.header("server-timing"), None);
}

#[tokio::test]
async fn cut_answer_is_no_whole_one_to_a_client_of_http_1_0() {
    let stage = stage(&["timeouts.stream_idle=500ms"]).await;
    let mut old = Client::connect(stage.router.http).await;
    old.send("GET /events HTTP/1.0\r\n\r\n").await.unwrap();
    let answer = old.head().await.unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, None));
    let end = loop {
        match old.some().await {
            Ok(some) if some.is_empty() => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset), "nothing else tells it from the end");
}
