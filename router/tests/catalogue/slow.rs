//! B4 of the catalogue, 72 to 76, 84 and 85: clients that take their time. B5: clients that go.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::frames::{Came, DATA, Http2, frame, get, request};
use crate::raw_app::{Body, RawApp};
use crate::stage::{PATIENCE, Stage, peak_mib, until};
use crate::{SETTINGS as STAGE, is_unharmed};

async fn stage(settings: &[&str]) -> (Stage, RawApp) {
    let (stage, app) = RawApp::stage(&[STAGE, settings].concat()).await;
    assert_eq!(stage.router.get("/first").await.status, 200);
    (stage, app)
}

async fn until_no_slot_is_busy(stage: &Stage) {
    until("every slot is free", async || stage.router.metric("dispatch_slots_busy").await == 0.0)
        .await;
}

/// The app's side of a request has been cut.
async fn until_cut(app: &RawApp, mark: &str) {
    until("the app hears of it", async || app.seen(mark).is_some_and(|it| it.body == Body::Cut))
        .await;
}

#[tokio::test]
async fn head_that_trickles_in_is_408() {
    let (stage, _) = stage(&["timeouts.head=1s"]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("GET /slow HTTP/1.1\r\nHost: te").await.unwrap();
    let answer = client.answer("GET").await.unwrap();
    assert!(answer.status == 408 && answer.closes(), "72: {answer:?}");
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn body_that_stops_is_408_and_its_slot_is_free() {
    let (stage, app) = stage(&["timeouts.idle=1s"]).await;
    let mut client = Client::connect(stage.router.http).await;
    let head = "POST /stops HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n";
    client.send(format!("{head}some")).await.unwrap();
    let answer = client.answer("POST").await.unwrap();
    assert!(answer.status == 408 && answer.closes(), "73: {answer:?}");
    until_no_slot_is_busy(&stage).await;
    until_cut(&app, "/stops").await;

    let mut http2 = Http2::connect(stage.router.http).await;
    let mut fields = get("/stops-too");
    fields[0].1 = b"POST";
    http2.send(&request(1, &fields, false)).await;
    http2.send(&frame(DATA, 0, 1, b"some")).await;
    assert_eq!(http2.outcome(1).await, Came::Status(408), "85");
    until_no_slot_is_busy(&stage).await;
    until_cut(&app, "/stops-too").await;
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn client_that_stops_reading_is_cut_and_its_slot_is_free() {
    let (stage, app) = stage(&["timeouts.idle=2s"]).await;
    let mut client = TcpStream::connect(stage.router.http).await.unwrap();
    client.write_all(b"GET /endless-1 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    client.read_exact(&mut [0; 1_000]).await.unwrap();
    assert!(stage.router.metric("dispatch_slots_busy").await > 0.0);
    until_no_slot_is_busy(&stage).await;
    until_cut(&app, "/endless-1").await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.ok();
    let mib = peak_mib(stage.router.pid());
    println!("74 a reader that stops: {} bytes were on the way, peak {mib} MiB", rest.len());
    assert!(mib <= 64 && rest.len() < 64 << 20);

    // The window of a stream, which nobody opens.
    let mut http2 = Http2::with_settings(stage.router.http, &[(4, 0)]).await;
    http2.send(&request(1, &get("/endless-2"), true)).await;
    assert_eq!(http2.outcome(1).await, Came::Status(200));
    assert!(stage.router.metric("dispatch_slots_busy").await > 0.0);
    assert_eq!(http2.outcome(1).await, Came::Reset(CANCEL), "84");
    until_no_slot_is_busy(&stage).await;
    until_cut(&app, "/endless-2").await;
    // The connection lives, and so do its other streams.
    http2.send(&request(3, &get("/204"), true)).await;
    while http2.next().await.unwrap().stream != 3 {}
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn reader_that_is_slow_but_reads_is_not_cut() {
    let (stage, app) = stage(&["timeouts.idle=1s"]).await;
    let mut client = TcpStream::connect(stage.router.http).await.unwrap();
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut megabyte = vec![0; 1 << 20];
    for _ in 0..12 {
        client.read_exact(&mut megabyte).await.unwrap();
        // What is tested is time itself.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(app.seen("/endless").unwrap().body, Body::Arriving);
}

#[tokio::test]
async fn client_that_leaves_is_gone_from_queue_slot_and_app() {
    let (stage, app) = stage(&["pool.slots=1"]).await;
    let mut one = Client::connect(stage.router.http).await;
    one.send("GET /hang-1 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("it reaches the app", async || app.seen("/hang-1").is_some()).await;
    let mut waiting = Client::connect(stage.router.http).await;
    waiting.send("GET /waits HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let queued = async || stage.router.metric("dispatch_queue_requests").await;
    until("it waits", async || queued().await == 1.0).await;
    drop(waiting);
    until("89: it waits no more", async || queued().await == 0.0).await;
    drop(one);
    until_no_slot_is_busy(&stage).await;
    until_cut(&app, "/hang-1").await;

    let mut reading = Client::connect(stage.router.http).await;
    reading.send("GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_eq!(reading.head().await.unwrap().status, 200);
    drop(reading);
    until_no_slot_is_busy(&stage).await;
    until_cut(&app, "/endless").await;
    assert!(app.seen("/waits").is_none(), "89: nobody waits for it");
    assert!(is_unharmed(&stage).await, "90 and 91: the instance is kept");
}

#[tokio::test]
async fn client_that_leaves_is_noticed_though_it_had_sent_more_than_its_request() {
    let (stage, app) = stage(&[]).await;
    let next = "GET /next HTTP/1.1\r\nHost: test\r\n\r\n";
    let early = "x".repeat(9_000);
    for (target, lines, more) in [
        ("/hang-next", "", next),
        ("/hang-switch", "Connection: upgrade\r\nUpgrade: websocket\r\n", &early),
    ] {
        let mut client = Client::connect(stage.router.http).await;
        let head = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n");
        client.send(head + more).await.unwrap();
        until("it reaches the app", async || app.seen(target).is_some()).await;
        drop(client);
        until_cut(&app, target).await;
        until_no_slot_is_busy(&stage).await;
    }
    assert!(app.seen("/next").is_none(), "nobody waits for it");
    assert!(is_unharmed(&stage).await);
}

/// Nothing tells it from a client that has left, for whom nobody should work.
#[tokio::test]
async fn client_that_ends_its_side_has_left() {
    let (stage, app) = stage(&[]).await;
    let mut client = TcpStream::connect(stage.router.http).await.unwrap();
    client.write_all(b"GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("it reaches the app", async || app.seen("/hang").is_some()).await;
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty(), "92");
    until_no_slot_is_busy(&stage).await;
    until_cut(&app, "/hang").await;
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn thundering_reconnects_leave_nothing_behind() {
    let (stage, _) = stage(&[]).await;
    for _ in 0..20 {
        let mut clients = Vec::new();
        for _ in 0..100 {
            let mut client = Client::connect(stage.router.http).await;
            client.send("GET /herd HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
            clients.push(client);
        }
    }
    until("93: none of them waits", async || {
        stage.router.metric("dispatch_queue_requests").await == 0.0
    })
    .await;
    until_no_slot_is_busy(&stage).await;
    let mib = peak_mib(stage.router.pid());
    println!("93 2,000 clients that reconnect: peak {mib} MiB");
    assert!(mib <= 64);
    assert!(is_unharmed(&stage).await);
}

/// Takes the five seconds that a handshake may take.
#[tokio::test]
async fn handshake_that_stops_is_cut() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [certificate, key] = ["hello.pem", "hello.key"].map(|name| folder.join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (stage, _) = stage(&[
        &format!("listen.certificate={}", certificate.display()),
        &format!("listen.key={}", key.display()),
    ])
    .await;
    for hello in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = TcpStream::connect(stage.router.https).await.unwrap();
        client.write_all(hello).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "76: {hello:?}");
    }
    assert!(is_unharmed(&stage).await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (stage, app) = stage(&[]).await;
    let mut client = Client::connect(stage.router.http).await;
    let requests: String =
        (0..10).map(|i| format!("GET /pipe-{i}- HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(requests).await.unwrap();
    for number in 0..10 {
        let answer = client.answer("GET").await.unwrap();
        assert!(answer.text().contains(&format!("/pipe-{number}-")), "36: {}", answer.text());
    }
    // A refusal comes after what was asked for before it.
    let good = "GET /before HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(format!("{good}GET /bad HTTP/1.1\r\nHost : test\r\n\r\n{good}")).await.unwrap();
    assert_eq!(client.answer("GET").await.unwrap().status, 200);
    let refusal = client.answer("GET").await.unwrap();
    assert!(refusal.status == 400 && refusal.closes());
    assert!(client.some().await.unwrap().is_empty());
    assert_eq!(app.all_seen("/before").len(), 1);
}

#[tokio::test]
async fn body_of_an_answer_that_is_ours_is_not_read_as_a_request() {
    let (stage, app) = stage(&["pool.slots=1", "pool.queue_length=1"]).await;
    let mut one = Client::connect(stage.router.http).await;
    one.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("the slot is taken", async || app.seen("/hang").is_some()).await;
    let mut waiting = Client::connect(stage.router.http).await;
    waiting.send("GET /waits HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("the queue is full", async || {
        stage.router.metric("dispatch_queue_requests").await == 1.0
    })
    .await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    let head = "POST /full HTTP/1.1\r\nHost: test\r\nContent-Length";
    let mut client = Client::connect(stage.router.http).await;
    client.send(format!("{head}: {}\r\n\r\n{smuggled}", smuggled.len())).await.unwrap();
    let answer = client.answer("POST").await.unwrap();
    assert_eq!(answer.status, 503, "30: {answer:?}");
    // Either it is read and forgotten, or the connection ends.
    if !answer.closes() {
        client.send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        assert_eq!(client.answer("GET").await.unwrap().status, 503);
    }
    assert!(app.seen("/smuggled").is_none());
}

const CANCEL: u32 = 8;
