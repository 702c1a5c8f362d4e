//! Connections that go on in another protocol: WebSocket with a real client and a real server, from
//! HTTP/1.1 and from HTTP/2, and what breaks and ends them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response};
use rustix::process::Signal;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, duplex,
};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, handshake};

use crate::client::Client;
use crate::raw_app::{contains, head};
use crate::stage::{PATIENCE, Stage, until};

const SETTINGS: &[&str] = &["pool.linger=10m", "pool.instances_max=1", "pool.placement_margin=1s"];

/// An app that speaks HTTP/1.1 and WebSocket, and no HTTP/2.
#[derive(Clone)]
struct App {
    /// Every byte that was sent to it.
    seen: Arc<Mutex<Vec<u8>>>,
    /// What an answer to `/gate` needs one of.
    gate: Arc<Semaphore>,
}

impl App {
    async fn stage(settings: &[&str]) -> (Stage, Self) {
        let app = Self { seen: Arc::default(), gate: Arc::new(Semaphore::new(0)) };
        let serving = app.clone();
        let settings = [SETTINGS, settings].concat();
        (Stage::served(&[], &settings, move |stream| serving.clone().connection(stream)).await, app)
    }

    fn sees(&self, part: &[u8]) -> bool {
        contains(&self.seen.lock().unwrap(), part)
    }

    async fn connection(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(head) = head(&mut stream).await {
            self.seen.lock().unwrap().extend_from_slice(&head);
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let refusal = match path {
                "/gate" => {
                    self.gate.acquire().await.unwrap().forget();
                    "101"
                }
                "/echo" | "/hold" | "/crash" | "/foo" | "/bad-proof" => "101",
                "/426" => "426 Upgrade Required\r\nUpgrade: websocket",
                "/403" => "403 Forbidden",
                _ => "200 OK",
            };
            if refusal == "101" {
                return self.switched(stream, &head, path).await;
            }
            let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 4\r\n\r\nno\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn switched(self, mut stream: BufReader<TcpStream>, head: &str, path: &str) {
        let key = header(head, "sec-websocket-key").unwrap_or_default();
        let proof = derive_accept_key(if path == "/bad-proof" { b"wrong" } else { key.as_bytes() });
        let protocol = header(head, "upgrade").unwrap();
        let switched = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
             Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        );
        stream.write_all(switched.as_bytes()).await.unwrap();
        if protocol.starts_with("foo") || path == "/gate" {
            // Repeats what it was sent once that has ended.
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.ok();
            self.seen.lock().unwrap().extend_from_slice(&bytes);
            stream.write_all(&bytes).await.ok();
            return;
        }
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if path == "/crash" {
                return;
            }
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
        self.seen.lock().unwrap().extend_from_slice(b"[end of a WebSocket]");
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (it, value) = line.split_once(": ")?;
        it.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// What asks for a WebSocket at `path`.
fn asking(path: &str) -> String {
    let key = handshake::client::generate_key();
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

/// A WebSocket from an HTTP/1.1 client.
async fn http1(stage: &Stage, path: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(stage.router.http).await.unwrap();
    let request = Request::builder()
        .uri(format!("ws://test{path}"))
        .header("host", "test")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .header("sec-websocket-key", handshake::client::generate_key())
        .body(())
        .unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(response.status(), 101);
    assert!(response.headers().keys().all(|name| !name.as_str().starts_with("lambda-dispatch")));
    socket
}

/// What an HTTP/2 client is answered that asks for a WebSocket.
async fn extended_connect(
    stage: &Stage,
    path: &str,
) -> (Response<h2::RecvStream>, h2::SendStream<Bytes>) {
    connect(stage, path, Some("websocket")).await
}

async fn connect(
    stage: &Stage,
    path: &str,
    protocol: Option<&'static str>,
) -> (Response<h2::RecvStream>, h2::SendStream<Bytes>) {
    let stream = TcpStream::connect(stage.router.http).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let requests = requests.ready().await.unwrap();
    let mut requests = Some(requests);
    until("it may ask", async || {
        let settled = requests.take().unwrap().ready().await.unwrap();
        let may = settled.is_extended_connect_protocol_enabled();
        requests = Some(settled);
        may
    })
    .await;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://test{path}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    }
    let (response, stream) = requests.unwrap().send_request(request, false).unwrap();
    (timeout(PATIENCE, response).await.unwrap().unwrap(), stream)
}

/// A WebSocket from an HTTP/2 client.
async fn http2(stage: &Stage, path: &str) -> WebSocketStream<DuplexStream> {
    let (response, to) = extended_connect(stage, path).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let (near, far) = duplex(64 << 10);
    let (reader, writer) = tokio::io::split(far);
    tokio::spawn(into_stream(reader, to));
    tokio::spawn(out_of_stream(response.into_body(), writer));
    WebSocketStream::from_raw_socket(near, Role::Client, None).await
}

/// Passes on what is read until that ends.
async fn into_stream(mut reader: impl AsyncRead + Unpin, mut to: h2::SendStream<Bytes>) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        let mut bytes = Bytes::copy_from_slice(&buffer[..read]);
        while !bytes.is_empty() {
            to.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|cx| to.poll_capacity(cx)).await;
            let Some(Ok(room)) = room else { return };
            if to.send_data(bytes.split_to(room.min(bytes.len())), false).is_err() {
                return;
            }
        }
    }
    to.send_data(Bytes::new(), true).ok();
}

/// The same in the other direction.
async fn out_of_stream(mut from: h2::RecvStream, mut writer: impl AsyncWrite + Unpin) {
    while let Some(Ok(bytes)) = from.data().await {
        from.flow_control().release_capacity(bytes.len()).ok();
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    writer.shutdown().await.ok();
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap()
}

/// Everything that a WebSocket can do.
async fn talks<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::text("hello"));
    socket.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Pong("p".into()));
    let large: Bytes = (0..3 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let (mut sender, mut receiver) = socket.split();
    let (sent, received) = tokio::join!(sender.send(Message::Binary(large.clone())), async {
        timeout(PATIENCE, receiver.next()).await.unwrap().unwrap().unwrap()
    });
    sent.unwrap();
    assert!(received == Message::Binary(large), "it came back changed");
    let close = CloseFrame { code: 4001.into(), reason: "enough".into() };
    sender.send(Message::Close(Some(close.clone()))).await.unwrap();
    let last = timeout(PATIENCE, receiver.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(last, Message::Close(Some(close)));
    assert!(timeout(PATIENCE, receiver.next()).await.unwrap().is_none(), "it ends");
}

async fn slot_is_free(stage: &Stage) {
    until("the slot is free", async || stage.router.metric("dispatch_slots_busy").await == 0.0)
        .await;
}

#[tokio::test]
async fn websockets_from_http1_and_http2_reach_an_app_that_knows_only_http1() {
    let (stage, app) = App::stage(&[]).await;
    talks(http1(&stage, "/echo").await).await;
    slot_is_free(&stage).await;
    talks(http2(&stage, "/echo").await).await;
    slot_is_free(&stage).await;
    until("both are counted", async || {
        stage.router.ended(101, "served").await == 1 && stage.router.ended(200, "served").await == 1
    })
    .await;
    assert!(app.sees(b"connection: upgrade\r\n"));
}

#[tokio::test]
async fn websocket_holds_its_slot_and_frees_it_when_its_client_vanishes() {
    let (stage, app) = App::stage(&[]).await;
    let mut first = http1(&stage, "/echo").await;
    first.send(Message::text("x")).await.unwrap();
    next(&mut first).await;
    assert_eq!(stage.router.metric("dispatch_slots_busy").await, 1.0);
    drop(first);
    slot_is_free(&stage).await;
    until("the app hears of it", async || app.sees(b"[end of a WebSocket]")).await;
    let second = http2(&stage, "/echo").await;
    assert_eq!(stage.router.metric("dispatch_slots_busy").await, 1.0);
    drop(second);
    slot_is_free(&stage).await;
    assert_eq!(stage.router.metric("dispatch_invokes_total").await, 1.0);
}

#[tokio::test]
async fn websocket_whose_app_breaks_off_ends_without_a_close() {
    let (stage, _) = App::stage(&[]).await;
    let mut one = http1(&stage, "/crash").await;
    one.send(Message::text("x")).await.unwrap();
    let end = timeout(PATIENCE, one.next()).await.unwrap();
    assert!(end.is_none_or(|it| it.is_err()), "it looks as if the app had said goodbye");
    let mut two = http2(&stage, "/crash").await;
    two.send(Message::text("x")).await.unwrap();
    let end = timeout(PATIENCE, two.next()).await.unwrap();
    assert!(end.is_none_or(|it| it.is_err()), "it looks as if the app had said goodbye");
    drop((one, two));
    slot_is_free(&stage).await;
}

#[tokio::test]
async fn apps_refusal_is_passed_on_and_the_connection_goes_on() {
    let (stage, _) = App::stage(&[]).await;
    let mut client = Client::connect(stage.router.http).await;
    for (path, status) in [("/426", 426), ("/403", 403), ("/200", 200)] {
        client.send(asking(path)).await.unwrap();
        let answer = client.answer("GET").await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (status, &b"no\r\n"[..]));
        assert_eq!(client.get("/plain").await.unwrap().status, 200);
    }
    assert_eq!(extended_connect(&stage, "/403").await.0.status(), 403);
    // Success would mean that there is a tunnel.
    assert_eq!(extended_connect(&stage, "/200").await.0.status(), 502);
    assert_eq!(extended_connect(&stage, "/bad-proof").await.0.status(), 502);
    slot_is_free(&stage).await;
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_served_as_if_nobody_had_asked() {
    let (stage, app) = App::stage(&[]).await;
    let mut client = Client::connect(stage.router.http).await;
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: foo, bar\r\n",
    ] {
        client.send(format!("GET /plain HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).await.unwrap();
        assert_eq!(client.answer("GET").await.unwrap().status, 200, "{lines}");
    }
    for protocol in [None, Some("h2c"), Some("a b")] {
        assert_eq!(connect(&stage, "/echo", protocol).await.0.status(), 405, "{protocol:?}");
    }
    assert!(!app.sees(b"upgrade:") && !app.sees(b"settings:"), "nobody asks the app");
}

#[tokio::test]
async fn nothing_that_a_client_sends_early_reaches_the_app_before_its_101() {
    let (stage, app) = App::stage(&[]).await;
    let early = b"\x00\x01 not HTTP: EARLY\r\n\r\n";
    let mut refused = Client::connect(stage.router.http).await;
    refused.send([asking("/403").as_bytes(), early].concat()).await.unwrap();
    assert_eq!(refused.answer("GET").await.unwrap().status, 403);
    // It is what follows a request that has been answered.
    assert_eq!(refused.answer("GET").await.unwrap().status, 400);

    let mut client = Client::connect(stage.router.http).await;
    client.send([asking("/gate").as_bytes(), early].concat()).await.unwrap();
    until("the app is asked", async || app.sees(b"GET /gate ")).await;
    // Had it been sent along, it would be with the app before this.
    assert_eq!(stage.router.get("/plain").await.status, 200);
    assert!(!app.sees(b"EARLY"));
    app.gate.add_permits(1);
    assert_eq!(client.head().await.unwrap().status, 101);
    client.shutdown().await.unwrap();
    assert_eq!(client.rest().await, early);
}

#[tokio::test]
async fn other_protocols_pass_too_and_each_direction_ends_for_itself() {
    let (stage, _) = App::stage(&[]).await;
    let mut client = Client::connect(stage.router.http).await;
    client
        .send("GET /foo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: foo/2\r\n\r\n")
        .await
        .unwrap();
    let answer = client.head().await.unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some(&b"foo/2"[..])));
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    client.send(&bytes).await.unwrap();
    client.shutdown().await.unwrap();
    // The app answers only when it has seen the end.
    assert!(client.rest().await == bytes);
    slot_is_free(&stage).await;
}

#[tokio::test]
async fn silent_websocket_is_cut_and_one_that_talks_is_not() {
    let (stage, _) = App::stage(&["timeouts.stream_idle=1s", "timeouts.idle=100ms"]).await;
    let mut talking = http1(&stage, "/echo").await;
    let mut silent = http1(&stage, "/echo").await;
    let cut = tokio::spawn(async move { timeout(PATIENCE, silent.next()).await });
    // No echo is left on its way.
    while !cut.is_finished() {
        talking.send(Message::text("x")).await.unwrap();
        assert_eq!(next(&mut talking).await, Message::text("x"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(cut.await.unwrap().unwrap().is_none_or(|it| it.is_err()));
    until("it is counted", async || stage.router.ended(101, "idle_timeout").await == 1).await;
    talks(talking).await;
    slot_is_free(&stage).await;
}

#[tokio::test]
async fn websocket_ends_when_its_total_time_is_over() {
    let (stage, _) = App::stage(&["timeouts.total=3s"]).await;
    let mut socket = http1(&stage, "/echo").await;
    let end = async {
        loop {
            if socket.send(Message::text("x")).await.is_err() {
                return;
            }
            if !matches!(socket.next().await, Some(Ok(_))) {
                return;
            }
        }
    };
    timeout(PATIENCE, end).await.unwrap();
    until("it is counted", async || stage.router.ended(101, "total_timeout").await == 1).await;
    slot_is_free(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_live_as_long_as_a_drain_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let access = format!("log.access={}", file.display());
    let drain = ["timeouts.drain=4s", "timeouts.drain_delay=0s"];
    let log = [&access, "log.access_format=$status $reason"];
    let (mut stage, _) = App::stage(&[drain, log].concat()).await;
    let mut ends = http1(&stage, "/echo").await;
    let mut stays = http1(&stage, "/echo").await;
    stage.router.signal(Signal::TERM);
    until("it takes no more", async || TcpStream::connect(stage.router.http).await.is_err()).await;
    for socket in [&mut ends, &mut stays] {
        socket.send(Message::text("still here")).await.unwrap();
        assert_eq!(next(socket).await, Message::text("still here"));
    }
    talks(ends).await;
    assert!(stage.router.end().await.success());
    let end = timeout(PATIENCE, stays.next()).await.unwrap();
    assert!(end.is_none_or(|it| it.is_err()));
    stage.until_instances_have_ended().await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "101 served\n101 shutting_down\n");
    assert!(!stage.router.log().contains("request failed"), "{}", stage.router.log());
}

#[tokio::test]
async fn websocket_that_outlasts_its_instance_ends_as_planned_and_nobody_is_warned() {
    let app = App { seen: Arc::default(), gate: Arc::new(Semaphore::new(0)) };
    let environment = [("LAMBDA_DISPATCH_FORCE_DEADLINE", "5")];
    let serve = move |stream| app.clone().connection(stream);
    let stage = Stage::served(&environment, SETTINGS, serve).await;
    let mut socket = http1(&stage, "/echo").await;
    let end = timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(end.is_none_or(|it| it.is_err()));
    until("it is counted", async || stage.router.ended(101, "lease_ended").await == 1).await;
    assert!(!stage.router.log().contains("request failed"), "{}", stage.router.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_from_before_a_drain_may_still_become_a_websocket() {
    let (mut stage, _) = App::stage(&["timeouts.drain_delay=0s"]).await;
    let mut client = Client::connect(stage.router.http).await;
    assert_eq!(client.get("/plain").await.unwrap().status, 200);
    stage.router.signal(Signal::TERM);
    until("it takes no more", async || TcpStream::connect(stage.router.http).await.is_err()).await;
    client.send(asking("/echo")).await.unwrap();
    let answer = client.head().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (101, Some(&b"upgrade"[..])));
    drop(client);
    assert!(stage.router.end().await.success());
}

#[tokio::test]
async fn switched_connection_keeps_its_place_among_the_connections() {
    let (stage, _) = App::stage(&["limits.connections=1"]).await;
    let mut switched = Client::connect(stage.router.http).await;
    let asks = "GET /foo HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    switched.send(asks).await.unwrap();
    assert_eq!(switched.head().await.unwrap().status, 101);
    let one_more = async || Client::connect(stage.router.http).await.get("/").await;
    assert!(one_more().await.is_err(), "there is room for one");
    drop(switched);
    until("its place is free", async || one_more().await.is_ok()).await;
}
