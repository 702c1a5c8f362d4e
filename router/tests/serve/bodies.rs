//! Bodies of any size in little memory, and chunks as soon as there are any.

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::Client;
use crate::raw_app::{Body, RawApp};
use crate::semantics::over_http2;
use crate::stage::{PATIENCE, Stage, peak_mib, until};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_in_little_memory() {
    let stage = Stage::demo(&["pool.linger=10m"]).await;
    let mut client = Client::connect(stage.router.http).await;

    let length = 1024 * MIB;
    client.send(format!("GET /bytes?n={length} HTTP/1.1\r\nHost: test\r\n\r\n")).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    let mut received = 0;
    // Each chunk brings its size along, and there is one without data at the end.
    let mut end = Vec::new();
    while !end.ends_with(b"\r\n0\r\n\r\n") {
        let some = client.some().await.unwrap();
        assert!(!some.is_empty(), "it was cut after {received} bytes");
        received += some.len();
        end.extend_from_slice(&some[some.len().saturating_sub(16)..]);
        end.drain(..end.len().saturating_sub(16));
    }
    assert!(received >= length);

    let length = 64 * MIB;
    let head = "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length";
    client.send(format!("{head}: {length}\r\n\r\n")).await.unwrap();
    let chunk = vec![b'x'; MIB];
    for _ in 0..length / MIB {
        client.send(&chunk).await.unwrap();
    }
    let answer = client.answer("POST").await.unwrap();
    assert_eq!(answer.text(), format!("{length} bytes\n"));

    let router = peak_mib(stage.router.pid());
    assert!(router <= 64, "the router needed {router} MiB");
    let extension = peak_mib(stage.extension().await);
    assert!(extension <= 64, "the extension needed {extension} MiB");
}

#[tokio::test]
async fn stalled_reader_stops_the_app_and_fills_no_memory() {
    let stage = Stage::demo(&["pool.linger=10m"]).await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("GET /bytes?n=1073741824 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    // It reads no more. Others are served meanwhile.
    for _ in 0..20 {
        assert_eq!(stage.router.get("/sleep?ms=20").await.status, 200);
    }
    let (router, extension) = (peak_mib(stage.router.pid()), peak_mib(stage.extension().await));
    assert!(router <= 64 && extension <= 64, "{router} and {extension} MiB");
}

#[tokio::test]
async fn first_event_arrives_before_the_second_is_made() {
    let stage = Stage::demo(&["pool.linger=10m"]).await;
    let mut client = Client::connect(stage.router.http).await;
    // An hour between the two.
    client.send("GET /events?n=2&ms=3600000 HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut seen = String::new();
    while !seen.contains("data: 1 to go") {
        let some = client.some().await.unwrap();
        assert!(!some.is_empty(), "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&some));
    }
    drop(client);
    // The app's side of it ends with the client, else the slot would be lost for an hour.
    until("the slot is free", async || stage.router.metric("dispatch_slots_busy").await == 0.0)
        .await;
    assert_eq!(stage.router.metric("dispatch_cancelled_total").await, 1.0);
}

/// A stage whose only slot is taken, and who has it until it is dropped.
async fn busy() -> (Stage, RawApp, Client<TcpStream>) {
    let settings = ["pool.linger=10m", "pool.instances_max=1", "pool.slots=1"];
    let (stage, app) = RawApp::stage(&settings).await;
    let mut first = Client::connect(stage.router.http).await;
    first.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until("the only slot is taken", async || app.seen("/hang").is_some()).await;
    (stage, app, first)
}

/// Waits until so many requests wait.
async fn until_waiting(stage: &Stage, count: f64) {
    until("they wait, or have left", async || {
        stage.router.metric("dispatch_queue_requests").await == count
    })
    .await;
}

#[tokio::test]
async fn client_that_leaves_in_the_middle_of_its_body_leaves_the_queue() {
    let (stage, app, first) = busy().await;
    for (begun, count) in [(10, 1.0), (30_000, 2.0)] {
        let mut client = Client::connect(stage.router.http).await;
        let head = "POST /gone HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n";
        client.send(format!("{head}{}", "x".repeat(begun))).await.unwrap();
        until_waiting(&stage, 1.0).await;
        drop(client);
        until_waiting(&stage, 0.0).await;
        assert_eq!(stage.router.metric("dispatch_cancelled_total").await, count);
    }
    drop(first);
    assert_eq!(stage.router.get("/next").await.status, 200);
    assert!(app.seen("/gone").is_none(), "nobody was there to be answered");
}

#[tokio::test]
async fn body_that_came_while_it_waited_reaches_the_app_whole() {
    let (stage, app, first) = busy().await;
    let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).take(3_000_000).collect();
    let sending = async {
        let mut client = Client::connect(stage.router.http).await;
        let head = "POST /big HTTP/1.1\r\nHost: test\r\nContent-Length: 3000000\r\n\r\n";
        client.send([head.as_bytes(), &body].concat()).await.unwrap();
        client.answer("POST").await.unwrap()
    };
    let giving = async {
        until_waiting(&stage, 1.0).await;
        drop(first);
    };
    let (answer, ()) = tokio::join!(sending, giving);
    assert_eq!(answer.status, 200);
    assert!(app.seen("/big").unwrap().body == Body::Whole(body));
}

#[tokio::test]
async fn bodies_that_wait_do_not_stop_those_that_run_on_the_same_http2_connection() {
    let (stage, app, first) = busy().await;
    let body = "x".repeat(1_000_000);
    let io = TcpStream::connect(stage.router.http).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut responses = Vec::new();
    for id in 0..10 {
        let request = http::Request::post(format!("http://test/waits-{id}")).body(()).unwrap();
        requests = requests.ready().await.unwrap();
        let (response, mut sending) = requests.send_request(request, false).unwrap();
        sending.send_data(body.clone().into(), true).unwrap();
        responses.push(response);
    }
    until_waiting(&stage, 10.0).await;
    drop(first);
    for (id, response) in responses.into_iter().enumerate() {
        let response = timeout(PATIENCE, response).await.expect("all of it is taken").unwrap();
        assert_eq!(response.status(), 200);
        let seen = app.seen(&format!("/waits-{id}")).unwrap();
        assert!(seen.body == Body::Whole(body.clone().into_bytes()));
    }
    connection.abort();
}

#[tokio::test]
async fn body_that_is_all_there_counts_for_no_more_than_it_has() {
    let (stage, app, first) = busy().await;
    let mut chunked = Client::connect(stage.router.http).await;
    let head = "POST /chunks HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    chunked.send(format!("{head}5\r\nhello\r\n0\r\n\r\n")).await.unwrap();
    let request = http::Request::post("http://test/http2").body(()).unwrap();
    let http2 = over_http2(stage.router.http, request, &["he", "llo"]);
    let giving = async {
        until_waiting(&stage, 2.0).await;
        let bytes = stage.router.metric("dispatch_queue_bytes").await;
        assert!(bytes < 10_000.0, "{bytes}");
        drop(first);
    };
    let ((head, _), ()) = tokio::join!(http2, giving);
    assert_eq!(head.status.as_u16(), 200);
    assert_eq!(chunked.answer("POST").await.unwrap().status, 200);
    for path in ["/chunks", "/http2"] {
        assert_eq!(app.seen(path).unwrap().body, Body::Whole(b"hello".to_vec()), "{path}");
    }
}
