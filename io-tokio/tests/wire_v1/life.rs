//! How instances on the original's wire come, stay and go.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::Gauges;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use io_tokio::attach::{self, Hello};
use io_tokio::clock::Clock;
use io_tokio::networks::Networks;
use io_tokio::payload::{InvokePayload, Plaintext};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::original::Behaviour;
use crate::stage::{Plan, Stage, read_until, soon};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n";

/// Somebody on the control port.
struct Peer {
    requests: SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Peer {
    async fn dial(stage: &Stage) -> Self {
        let stream = TcpStream::connect(stage.control).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Opens a stream and leaves its body open, as the original does.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        ids: &[&str],
    ) -> Result<(http::Response<h2::RecvStream>, h2::SendStream<Bytes>), h2::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://router:1{path}"))
            .header("host", "router");
        for id in ids {
            request = request.header("x-lambda-id", *id);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, body) = requests.send_request(request.body(()).unwrap(), false)?;
        Ok((soon("an answer comes", response).await?, body))
    }

    /// Opens a channel of the instance `id`.
    async fn channel(&self, id: &str, number: u32) -> (h2::RecvStream, h2::SendStream<Bytes>) {
        let path = format!("/api/chunked/request/{id}/c{number}");
        let (response, open) = self.ask("POST", &path, &[id]).await.unwrap();
        (response.into_body(), open)
    }

    async fn status(&self, method: &str, path: &str, ids: &[&str]) -> StatusCode {
        self.ask(method, path, ids).await.unwrap().0.status()
    }
}

/// A stage whose one instance the test plays, once a client has asked for something.
async fn by_hand(plan: Plan) -> (Stage, TcpStream, String) {
    let mut stage = Stage::set(Plan { by_hand: true, ..plan }).await;
    let client = stage.client(GET).await;
    let invoke = soon("the router invokes", stage.by_hand.recv()).await.unwrap();
    let id = invoke.id().to_owned();
    (stage, client, id)
}

/// Lets so much time pass at once.
async fn pass(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}

#[tokio::test]
async fn only_an_instance_that_was_invoked_may_attach() {
    let (stage, _client, id) = by_hand(Plan::default()).await;
    let peer = Peer::dial(&stage).await;
    let post = |id: &str| format!("/api/chunked/request/{id}/c");
    assert_eq!(peer.status("POST", &post("f00"), &["f00"]).await, 409, "never invoked");
    assert_eq!(peer.status("POST", &post(&id), &[]).await, 400);
    assert_eq!(peer.status("POST", &post(&id), &[&id, &id]).await, 400);
    assert_eq!(peer.status("POST", &post(&id), &["f00"]).await, 400);
    assert_eq!(peer.status("GET", &format!("/api/chunked/ping/{id}"), &[]).await, 409);
    assert_eq!(peer.status("GET", &post(&id), &[&id]).await, 404);
    assert_eq!(peer.status("POST", "/reset", &[&id]).await, 404);
    let (response, _open) = peer.ask("POST", &post(&id), &[&id]).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(peer.status("GET", &format!("/api/chunked/ping/{id}"), &[]).await, 200);
    let long = format!("/api/chunked/ping/poolId/default/lambdaId/{id}");
    assert_eq!(peer.status("GET", &long, &[]).await, 200);
}

#[tokio::test]
async fn whoever_asks_for_unknown_instances_only_is_sent_away() {
    let (stage, _client, _) = by_hand(Plan::default()).await;
    let peer = Peer::dial(&stage).await;
    let asking =
        async { while peer.ask("POST", "/api/chunked/request/f00/c", &["f00"]).await.is_ok() {} };
    soon("the connection is closed", asking).await;
    // A stranger who says nothing is closed as well, and so is one who speaks no HTTP/2 at all.
    let silent = Peer::dial(&stage).await;
    drop(soon("the silent one is closed", silent.connection).await);
    let mut raw = TcpStream::connect(stage.control).await.unwrap();
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nnonsense").await.unwrap();
    let mut seen = Vec::new();
    drop(soon("nonsense is closed", raw.read_to_end(&mut seen)).await);
}

#[tokio::test]
async fn an_instance_is_told_to_leave_on_every_channel_when_the_router_stops() {
    let (mut stage, mut client, id) = by_hand(Plan { slots: 3, ..Plan::default() }).await;
    let peer = Peer::dial(&stage).await;
    let mut channels = Vec::new();
    for number in 0..3 {
        let (body, open) = peer.channel(&id, number).await;
        channels.push((format!("c{number}"), body, open));
    }
    // The client's request goes to the first; a zero-byte answer would be a failure.
    let (_, mut body, mut open) = channels.remove(0);
    let head = soon("the request comes", body.data()).await.unwrap().unwrap();
    assert!(head.starts_with(b"GET / HTTP/1.1\r\n"), "{head:?}");
    open.send_data("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), true).unwrap();
    read_until(&mut client, "ok").await;
    drop(client);
    let (body, open) = peer.channel(&id, 0).await;
    channels.push(("c0".to_owned(), body, open));

    let running = stage.running.take().unwrap();
    let drain = tokio::spawn(running.drain(Duration::from_secs(20)));
    for (channel, mut body, mut open) in channels {
        let order = soon("the order to leave comes", body.data()).await.unwrap().unwrap();
        let expected = format!(
            "GET /_lambda_dispatch/goaway HTTP/1.1\r\nX-Lambda-Id: {id}\r\n\
             X-Channel-Id: {channel}\r\n\r\n"
        );
        assert_eq!(order, expected.as_bytes());
        assert!(soon("and the end", body.data()).await.is_none());
        open.send_data(Bytes::new(), true).unwrap();
    }
    let path = format!("/api/chunked/request/{id}/c0");
    assert_eq!(peer.status("POST", &path, &[&id]).await, 409);
    assert_eq!(peer.status("GET", &format!("/api/chunked/ping/{id}"), &[]).await, 409);
    drain.abort();
}

#[tokio::test]
async fn an_instance_that_asks_to_leave_finishes_and_is_released() {
    let (stage, mut client, id) = by_hand(Plan { slots: 2, ..Plan::default() }).await;
    let peer = Peer::dial(&stage).await;
    let mut channels = vec![peer.channel(&id, 0).await, peer.channel(&id, 1).await];
    let (mut busy, mut open) = channels.remove(0);
    soon("the request comes", busy.data()).await.unwrap().unwrap();
    let close = format!("/api/chunked/close/{id}");
    assert_eq!(peer.status("GET", &close, &[]).await, 200);
    stage.until("it drains", |gauges| gauges.draining == 1).await;
    assert_eq!(peer.status("GET", &close, &[]).await, 200, "a second time");
    open.send_data("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), true).unwrap();
    read_until(&mut client, "ok").await;
    let (mut waiting, _open) = channels.remove(0);
    let order = soon("the other channel is released", waiting.data()).await.unwrap().unwrap();
    assert!(order.starts_with(b"GET /_lambda_dispatch/goaway HTTP/1.1\r\n"), "{order:?}");
}

#[tokio::test]
async fn an_instance_that_asks_to_leave_serves_while_its_successor_starts() {
    let plan = Plan { slots: 2, instances: 2, ..Plan::default() };
    let (mut stage, _client, id) = by_hand(plan).await;
    let peer = Peer::dial(&stage).await;
    let mut channels = vec![peer.channel(&id, 0).await, peer.channel(&id, 1).await];
    // One request runs all the time.
    let (mut busy, _open) = channels.remove(0);
    soon("the request comes", busy.data()).await.unwrap().unwrap();
    pass(Duration::from_secs(45)).await;
    let close = format!("/api/chunked/close/{id}");
    let mut closing = pin!(peer.status("GET", &close, &[]));
    let (mut waiting, mut open) = channels.remove(0);
    let meanwhile = async {
        soon("its successor is invoked", stage.by_hand.recv()).await.unwrap();
        let mut client = stage.client(GET).await;
        let head = soon("another request comes", waiting.data()).await.unwrap().unwrap();
        assert!(head.starts_with(b"GET / HTTP/1.1\r\n"), "{head:?}");
        open.send_data("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), true).unwrap();
        read_until(&mut client, "ok").await;
    };
    tokio::select! {
        biased;
        status = &mut closing => panic!("it is let go at once: {status}"),
        () = meanwhile => {}
    }
    pass(Duration::from_secs(5)).await;
    assert_eq!(closing.await, 200);
    stage.until("it drains", |gauges| gauges.draining == 1).await;
}

#[tokio::test]
async fn how_long_a_start_takes_is_measured() {
    let (stage, _client, id) = by_hand(Plan::default()).await;
    pass(Duration::from_secs(2)).await;
    let peer = Peer::dial(&stage).await;
    let path = format!("/api/chunked/request/{id}/c");
    let _channel = peer.ask("POST", &path, &[&id]).await.unwrap();
    let seconds = |gauges: &Gauges| gauges.cold_start.as_secs();
    stage.until("it is known", |gauges| (2..60).contains(&seconds(gauges))).await;
}

#[tokio::test]
async fn instances_that_leave_when_idle_lose_no_request() {
    let behaviour = Behaviour { idle: Duration::from_millis(60), ..Behaviour::default() };
    let mut stage = Stage::set(Plan { slots: 2, behaviour, ..Plan::default() }).await;
    for number in 0..12_u64 {
        let mut client = stage.client(GET).await;
        stage.call().await.respond("hello").await;
        read_until(&mut client, "hello").await;
        // Around the moment in which it asks to leave, before and after.
        tokio::time::sleep(Duration::from_millis(number * 30)).await;
    }
    stage.invoke_ended().await;
}

#[tokio::test]
async fn a_deadline_ends_the_invoke_and_the_next_one_serves_on() {
    let behaviour = Behaviour { deadline: Duration::from_millis(15_400), ..Behaviour::default() };
    let mut stage = Stage::set(Plan { behaviour, ..Plan::default() }).await;
    let mut client = stage.client(GET).await;
    stage.call().await.respond("hello").await;
    read_until(&mut client, "hello").await;
    assert_eq!(stage.invoke_ended().await, 1);
    let mut client = stage.client(GET).await;
    stage.call().await.respond("again").await;
    read_until(&mut client, "again").await;
}

#[tokio::test]
async fn an_instance_that_vanishes_fails_its_requests_and_is_replaced() {
    let (mut stage, mut client, id) = by_hand(Plan { instances: 2, ..Plan::default() }).await;
    let peer = Peer::dial(&stage).await;
    let path = format!("/api/chunked/request/{id}/c");
    let (response, _open) = peer.ask("POST", &path, &[&id]).await.unwrap();
    let mut body = response.into_body();
    soon("the request comes", body.data()).await.unwrap().unwrap();
    peer.connection.abort();
    let seen = read_until(&mut client, "502 bad gateway\n").await;
    assert!(seen.starts_with("HTTP/1.1 502"), "it may have run: {seen}");
    stage.until("it is lost", |gauges| gauges.ready == 0 && gauges.draining == 0).await;
    let _other = stage.client(GET).await;
    soon("another is invoked", stage.by_hand.recv()).await.unwrap();
}

#[tokio::test]
async fn an_instance_that_is_silent_to_pings_is_given_up() {
    let (stage, mut client, id) = by_hand(Plan { pings: true, ..Plan::default() }).await;
    // Speaks just enough HTTP/2 by hand to attach, and answers no ping.
    let mut frozen = TcpStream::connect(stage.control).await.unwrap();
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let (requests, connection) = h2::client::handshake::<_>(near).await.unwrap();
    let peer = Peer { requests, connection: tokio::spawn(connection) };
    let path = format!("/api/chunked/request/{id}/c");
    let attached = async {
        let ids = [id.as_str()];
        let asked = peer.ask("POST", &path, &ids);
        tokio::select! {
            biased;
            answer = asked => answer.unwrap(),
            copied = tokio::io::copy_bidirectional(&mut frozen, &mut far) => {
                panic!("closed: {copied:?}")
            }
        }
    };
    let (response, _open) = soon("it attaches", attached).await;
    assert_eq!(response.status(), 200);
    // Nothing is copied any more: the environment is frozen.
    let seen = read_until(&mut client, "502 bad gateway\n").await;
    assert!(seen.starts_with("HTTP/1.1 502"), "{seen}");
}

#[tokio::test]
async fn an_instance_whose_channel_does_not_come_back_is_replaced() {
    let plan = Plan { slots: 2, instances: 2, ..Plan::default() };
    let (mut stage, mut client, id) = by_hand(plan).await;
    let peer = Peer::dial(&stage).await;
    let mut channels = vec![peer.channel(&id, 0).await, peer.channel(&id, 1).await];
    let (mut first, mut open) = channels.remove(0);
    soon("the request comes", first.data()).await.unwrap().unwrap();
    open.send_data("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), true).unwrap();
    read_until(&mut client, "ok").await;
    // It is not opened again: so the original ends, and never says so.
    let (mut other, _open) = channels.remove(0);
    let order = soon("the other channel is released", other.data()).await.unwrap().unwrap();
    assert!(order.starts_with(b"GET /_lambda_dispatch/goaway HTTP/1.1\r\n"), "{order:?}");
    let _another = stage.client(GET).await;
    soon("another is invoked", stage.by_hand.recv()).await.unwrap();
}

#[tokio::test]
async fn a_channel_that_ends_before_its_request_loses_none() {
    let (stage, mut client, id) = by_hand(Plan { slots: 2, ..Plan::default() }).await;
    let peer = Peer::dial(&stage).await;
    let path = |number: u8| format!("/api/chunked/request/{id}/c{number}");
    // The first request takes this one.
    let (response, mut busy) = peer.ask("POST", &path(0), &[&id]).await.unwrap();
    let mut body = response.into_body();
    soon("the request comes", body.data()).await.unwrap().unwrap();
    // Two channels wait; one of them ends.
    let (_gone, mut open) = peer.ask("POST", &path(1), &[&id]).await.unwrap();
    open.send_data(Bytes::new(), true).unwrap();
    let (response, mut good) = peer.ask("POST", &path(2), &[&id]).await.unwrap();
    let mut second = stage.client(GET).await;
    let mut body = response.into_body();
    soon("the request comes to the other", body.data()).await.unwrap().unwrap();
    for (open, client) in [(&mut good, &mut second), (&mut busy, &mut client)] {
        open.send_data("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), true).unwrap();
        read_until(client, "ok").await;
    }
}

#[tokio::test]
async fn our_own_extensions_still_attach_on_the_same_port() {
    let mut stage = Stage::set(Plan { by_hand: true, ..Plan::default() }).await;
    let mut client = stage.client(GET).await;
    let invoke = soon("the router invokes", stage.by_hand.recv()).await.unwrap();
    let json = serde_json::to_vec(&invoke.payload).unwrap();
    let payload = InvokePayload::from_json(&json).unwrap();
    let offer = payload.offer(Clock::start().wall(), Plaintext::Allowed).unwrap();
    let mut stream = TcpStream::connect(stage.control).await.unwrap();
    let hello = Hello {
        host: "router".into(),
        instance: payload.id,
        slots: 1,
        lease: Duration::from_secs(600),
        cold: true,
    };
    attach::request(&mut stream, &hello, &offer.token, &[]).await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let accepted = soon("the request comes", connection.accept()).await;
    let (_, mut respond) = accepted.unwrap().unwrap();
    respond.send_response(http::Response::new(()), true).unwrap();
    tokio::select! {
        biased;
        _ = connection.accept() => panic!("nothing else comes"),
        seen = read_until(&mut client, "\r\n\r\n") => assert!(seen.starts_with("HTTP/1.1 200")),
    }
}

#[tokio::test]
async fn whoever_comes_from_elsewhere_or_while_it_is_off_is_not_heard() {
    for allowed in [None, Some(Networks::private())] {
        let (stage, _client, id) = by_hand(Plan { allowed, ..Plan::default() }).await;
        let stream = TcpStream::connect(stage.control).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let peer = Peer { requests, connection: tokio::spawn(connection) };
        let path = format!("/api/chunked/request/{id}/c");
        assert!(peer.ask("POST", &path, &[&id]).await.is_err(), "loopback is not allowed");
    }
}
