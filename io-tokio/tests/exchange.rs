//! The router's data path over real sockets: raw clients in front, stand-in instances behind.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::{Config, Dispatcher, Gauges, InvokeOutcome, Limits, Time};
use http::{Request, Response};
use io_tokio::attach::{self, Hello};
use io_tokio::chance::Chance;
use io_tokio::client_listener;
use io_tokio::clock::Clock;
use io_tokio::driver::{self, PoolSettings};
use io_tokio::edge::{Edge, EdgeSettings, Patience};
use io_tokio::instance_listener;
use io_tokio::invited::Invited;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::observe::{Access, AccessLog, Blind, Observer, Proof};
use io_tokio::payload::{InvokePayload, Plaintext};
use io_tokio::pool::Pool;
use io_tokio::tls::{self, RouterIdentity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

type Respond = h2::server::SendResponse<Bytes>;
type Received = (Request<h2::RecvStream>, Respond);

/// Every invoke becomes an instance in this process; what it is sent goes to the test.
struct Instances {
    received: mpsc::UnboundedSender<Received>,
    slots: u16,
    started: AtomicUsize,
    /// How many of them, first ones first, are to say goaway.
    leave: watch::Receiver<usize>,
}

impl Invoker for Instances {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let (received, slots, leave) = (self.received.clone(), self.slots, self.leave.clone());
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let payload = InvokePayload::from_json(&payload).unwrap();
            let mut leave = leave;
            let told = async move { leave.wait_for(|count| *count > number).await.is_ok() };
            serve(payload, slots, received, told).await;
            Invoked::new(InvokeOutcome::Returned, &"")
        })
    }
}

async fn serve(
    payload: InvokePayload,
    slots: u16,
    received: mpsc::UnboundedSender<Received>,
    told_to_leave: impl Future<Output = bool>,
) {
    let offer = payload.offer(Clock::start().wall(), Plaintext::Allowed).unwrap();
    let stream = TcpStream::connect((offer.host.as_str(), offer.port)).await.unwrap();
    let hello = Hello {
        host: "router".into(),
        instance: payload.id,
        slots,
        lease: Duration::from_secs(600),
        cold: true,
    };
    match offer.pins {
        None => {
            let mut stream = stream;
            attach::request(&mut stream, &hello, &offer.token, &[]).await.unwrap();
            streams(stream, received, told_to_leave).await;
        }
        Some(pins) => {
            let (mut stream, exporter) = tls::dial(stream, &pins).await.unwrap();
            attach::request(&mut stream, &hello, &offer.token, &exporter).await.unwrap();
            streams(stream, received, told_to_leave).await;
        }
    }
}

async fn streams<S: io_tokio::net::Io>(
    io: S,
    received: mpsc::UnboundedSender<Received>,
    told_to_leave: impl Future<Output = bool>,
) {
    let mut connection = h2::server::handshake(io).await.unwrap();
    let mut told_to_leave = std::pin::pin!(told_to_leave);
    let mut leaves = false;
    loop {
        tokio::select! {
            biased;
            told = &mut told_to_leave, if !leaves => {
                leaves = true;
                if told {
                    connection.graceful_shutdown();
                }
            }
            accepted = connection.accept() => {
                let Some(Ok(request)) = accepted else { return };
                if received.send(request).is_err() {
                    return;
                }
            }
        }
    }
}

struct Log(mpsc::UnboundedSender<Access>);

impl AccessLog for Log {
    fn record(&self, access: &Access) {
        self.0.send(access.clone()).ok();
    }
}

/// Lets the test wait for a state of the model.
struct Watch(watch::Sender<Gauges>);

impl Observer for Watch {
    fn turn(&mut self, _: Time, model: &Dispatcher) {
        self.0.send_replace(model.gauges());
    }
}

struct Router {
    gauges: watch::Receiver<Gauges>,
    address: std::net::SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
    logged: mpsc::UnboundedReceiver<Access>,
    pool: Pool,
    stop: watch::Sender<Option<Duration>>,
    leave: watch::Sender<usize>,
}

impl Router {
    async fn start(limits: Limits, settings: EdgeSettings, is_tls: bool) -> Self {
        let instances = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = instances.local_addr().unwrap().port();
        let identity = is_tls.then(|| RouterIdentity::generate().unwrap());
        let (sender, received) = mpsc::unbounded_channel();
        let (leave, left) = watch::channel(0);
        let slots = u16::try_from(limits.slots).unwrap();
        let invoker =
            Instances { received: sender, slots, started: AtomicUsize::new(0), leave: left };
        let pool_settings = PoolSettings {
            name: "default".into(),
            function: "f".into(),
            callback_url: format!("{}://127.0.0.1:{port}", if is_tls { "https" } else { "http" }),
            identity: identity.clone(),
            seed: 1,
            chance: Chance::System,
        };
        let (config, clock) = (Config::new(limits).unwrap(), Clock::start());
        let (watching, gauges) = watch::channel(Gauges::default());
        let invited = Invited::default();
        let pool = driver::start(
            config,
            pool_settings,
            clock.clone(),
            invited.clone(),
            Arc::new(invoker),
            Watch(watching),
        );
        tokio::spawn(instance_listener::serve(instances, identity, invited, None));
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = clients.local_addr().unwrap();
        let (log, logged) = mpsc::unbounded_channel();
        let edge = Arc::new(Edge::new(pool.clone(), Arc::new(Log(log)), clock, settings));
        let (stop, stopped) = watch::channel(None);
        tokio::spawn(client_listener::serve(clients, None, edge, stopped));
        Self { gauges, address, received, logged, pool, stop, leave }
    }

    async fn plain(limits: Limits) -> Self {
        Self::start(limits, EdgeSettings::default(), false).await
    }

    /// A client that has sent `bytes`.
    async fn client(&self, bytes: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client
    }

    async fn next(&mut self) -> Received {
        soon(self.received.recv()).await.expect("an instance receives a request")
    }

    /// Waits until the model is in a state.
    async fn until(&mut self, state: impl Fn(&Gauges) -> bool) {
        soon(self.gauges.wait_for(state)).await.expect("the driver runs");
    }

    /// Waits for the log's next entry.
    async fn logged(&mut self) -> Access {
        soon(self.logged.recv()).await.expect("the edge is there")
    }
}

/// Waits, but not for ever: a failure should be a failure and not a hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("happens within 30 s")
}

async fn read_until(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    soon(async {
        let mut seen = Vec::new();
        while !seen.windows(end.len()).any(|window| window == end) {
            assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0, "closed after {seen:?}");
        }
        seen
    })
    .await
}

async fn read_all(client: &mut TcpStream) -> (String, std::io::Result<usize>) {
    let mut seen = Vec::new();
    let ended = soon(client.read_to_end(&mut seen)).await;
    (String::from_utf8_lossy(&seen).into_owned(), ended)
}

fn patient(patience: Patience) -> EdgeSettings {
    EdgeSettings { patience, ..EdgeSettings::default() }
}

fn one_slot() -> Limits {
    Limits { slots: 1, instances_max: 1, ..Limits::default() }
}

const GET: &[u8] = b"GET /a%2Fb?c=%7B HTTP/1.1\r\nHost: app\r\nX-A: 1\r\nX-A: 2\r\n\r\n";

#[tokio::test]
async fn request_and_response_pass_over_tls_with_everything_they_carry() {
    let mut router = Router::start(one_slot(), EdgeSettings::default(), true).await;
    let mut client = router.client(GET).await;
    let (request, mut respond) = router.next().await;
    assert_eq!(request.uri().path_and_query().unwrap(), "/a%2Fb?c=%7B");
    assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(request.headers()["x-forwarded-for"], "127.0.0.1");
    let response = Response::builder()
        .status(201)
        .header("set-cookie", "a=1")
        .header("x-first", "1")
        .header("set-cookie", "b=2")
        .header("content-length", "5")
        .body(())
        .unwrap();
    let mut stream = respond.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
    let seen = String::from_utf8(read_until(&mut client, b"hello").await).unwrap();
    assert!(
        seen.starts_with(
            "HTTP/1.1 201 Created\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-first: 1\r\n"
        ),
        "{seen}"
    );
    let access = router.logged().await;
    assert_eq!((access.status, access.reason, access.bytes_out), (201, "served", 5));
    assert_eq!(access.target, "/a%2Fb");
}

#[tokio::test]
async fn trailers_are_asked_for_in_the_only_way_that_http2_knows() {
    let mut router = Router::plain(one_slot()).await;
    let head = b"GET / HTTP/1.1\r\nHost: app\r\nConnection: TE\r\nTE: Trailers\r\n\r\n";
    let _client = router.client(head).await;
    let (request, _respond) = router.next().await;
    assert_eq!(request.headers()["te"], "trailers");
}

/// A request whose response has begun: its client, who has read as much, and the rest's way there.
async fn begun(router: &mut Router) -> (TcpStream, h2::SendStream<Bytes>) {
    let mut client = router.client(GET).await;
    let (_, mut respond) = router.next().await;
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(b"first"), false).unwrap();
    read_until(&mut client, b"first").await;
    (client, stream)
}

#[tokio::test]
async fn stages_of_a_request_follow_one_another_and_add_up_to_less_than_its_total() {
    let mut router = Router::plain(one_slot()).await;
    let (_client, mut stream) = begun(&mut router).await;
    stream.send_data(Bytes::new(), true).unwrap();
    let access = router.logged().await;
    let stages = [access.handover, access.app, access.slot, access.first_byte];
    let [handover, app, slot, first_byte] = stages.map(|stage| stage.expect("it was served"));
    assert!(handover + app <= slot, "{access:?}");
    assert!(access.queue + handover + app <= first_byte, "{access:?}");
    assert!(access.queue + slot <= access.total, "{access:?}");
}

#[tokio::test]
async fn first_byte_reaches_the_client_before_the_second_is_made() {
    let mut router = Router::plain(one_slot()).await;
    let (mut client, mut stream) = begun(&mut router).await;
    stream.send_data(Bytes::from_static(b"second"), true).unwrap();
    read_until(&mut client, b"second\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn response_that_was_cut_reaches_the_client_as_cut() {
    let mut router = Router::plain(one_slot()).await;
    let mut client = router.client(GET).await;
    let (_, mut respond) = router.next().await;
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    read_until(&mut client, b"half").await;
    stream.send_reset(h2::Reason::INTERNAL_ERROR);
    let (rest, _) = read_all(&mut client).await;
    assert!(!rest.contains("0\r\n\r\n"), "the last chunk was sent: {rest:?}");
    assert_eq!(router.logged().await.reason, "truncated");
}

#[tokio::test]
async fn upload_streams_and_one_that_is_cut_arrives_as_cut() {
    let mut router = Router::plain(one_slot()).await;
    let head = b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let client = router.client(head).await;
    let (request, _respond) = router.next().await;
    let mut body = request.into_body();
    let first = soon(body.data()).await.unwrap().unwrap();
    assert_eq!(first, "hello");
    drop(client);
    let end = soon(body.data()).await;
    assert!(matches!(end, Some(Err(_))), "the upload ended cleanly: {end:?}");
}

#[tokio::test]
async fn upload_that_nobody_reads_is_given_up_with_its_request() {
    let settings = patient(Patience { idle: Duration::from_millis(500), ..Patience::default() });
    let mut router = Router::start(one_slot(), settings, false).await;
    let begun = b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 100000000\r\n\r\nx";
    let mut client = router.client(begun).await;
    let (_unread, mut respond) = router.next().await;
    let (mut answers, mut bytes) = client.split();
    // More than the windows between client and instance hold: it gets stuck.
    let stuck = async {
        while bytes.write_all(&[0; 64 << 10]).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let mut seen = Vec::new();
    soon(async {
        tokio::select! {
            biased;
            () = stuck => {}
            _ = answers.read_buf(&mut seen) => {}
        }
    })
    .await;
    assert!(seen.starts_with(b"HTTP/1.1 504"), "{}", String::from_utf8_lossy(&seen));
    soon(std::future::poll_fn(|cx| respond.poll_reset(cx))).await.unwrap();
}

#[tokio::test]
async fn upload_may_take_longer_than_the_response_if_it_gets_on() {
    let (first_byte, idle) = (Duration::from_millis(300), Duration::from_millis(600));
    let patience = Patience { first_byte, idle, await_body: false, ..Patience::default() };
    let settings = patient(patience);
    let mut router = Router::start(one_slot(), settings, false).await;
    let head = b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 15\r\n\r\n";
    let mut client = router.client(head).await;
    let (request, mut respond) = router.next().await;
    let mut body = request.into_body();
    // 1.5 s in all, which is longer than either limit.
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), "x");
    }
    respond.send_response(Response::new(()), true).unwrap();
    read_until(&mut client, b"HTTP/1.1 200 OK").await;
}

#[tokio::test]
async fn connection_that_has_served_ends_when_it_is_idle_for_too_long() {
    let keep_alive = Duration::from_millis(300);
    let settings = EdgeSettings { keep_alive, ..EdgeSettings::default() };
    let mut router = Router::start(one_slot(), settings, false).await;
    for (is_early, app_takes) in [(true, 0), (false, 0), (true, 3), (false, 3)] {
        // Without a turn for the listener, which then finds the request there.
        let mut early = std::net::TcpStream::connect(router.address).unwrap();
        if is_early {
            std::io::Write::write_all(&mut early, GET).unwrap();
        }
        early.set_nonblocking(true).unwrap();
        let mut client = TcpStream::from_std(early).unwrap();
        if !is_early {
            tokio::time::sleep(keep_alive / 3).await;
            client.write_all(GET).await.unwrap();
        }
        let (_, mut respond) = router.next().await;
        tokio::time::sleep(keep_alive * app_takes).await;
        respond.send_response(Response::new(()), true).unwrap();
        let (seen, end) = read_all(&mut client).await;
        assert!(seen.starts_with("HTTP/1.1 200") && end.is_ok(), "{seen} {end:?}");
    }
}

#[tokio::test]
async fn client_that_reads_slowly_is_served_and_one_that_stops_is_not() {
    let settings = patient(Patience { idle: Duration::from_secs(1), ..Patience::default() });
    let mut router = Router::start(one_slot(), settings, false).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(20_000).unwrap();
    let mut client = socket.connect(router.address).await.unwrap();
    client.write_all(GET).await.unwrap();
    let (_, mut respond) = router.next().await;
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    // More than there are buffers for.
    stream.send_data(Bytes::from(vec![0; 32 << 20]), true).unwrap();
    // 1 MB in 2 s, which is less than a third of what the kernel holds for it.
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(32)).await;
        soon(client.read_exact(&mut [0; 16 << 10])).await.unwrap();
    }
    assert!(router.logged.is_empty(), "a client that reads was cut");
    let access = router.logged().await;
    assert_eq!((access.reason, access.status), ("client_gone", 200));
}

#[tokio::test]
async fn password_in_a_host_is_refused_and_not_logged() {
    let mut router = Router::plain(one_slot()).await;
    for head in [
        "GET / HTTP/1.1\r\nHost: u:pw@app\r\n\r\n",
        "GET http://u:pw@app/ HTTP/1.1\r\nHost: app\r\n\r\n",
    ] {
        let mut client = router.client(head.as_bytes()).await;
        let (seen, _) = read_all(&mut client).await;
        assert!(seen.starts_with("HTTP/1.1 400"), "{seen}");
        assert_eq!(router.logged().await.host, "app");
    }
}

#[tokio::test]
async fn client_that_stops_in_its_body_is_408_and_one_that_leaves_is_no_fault_of_ours() {
    let idle = Duration::from_millis(200);
    let settings = patient(Patience { idle, ..Patience::default() });
    let mut router = Router::start(one_slot(), settings, false).await;
    let half = b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhello";
    let mut silent = router.client(half).await;
    let (_request, mut respond) = router.next().await;
    let (seen, _) = read_all(&mut silent).await;
    assert!(seen.starts_with("HTTP/1.1 408 Request Timeout"), "{seen}");
    soon(std::future::poll_fn(|cx| respond.poll_reset(cx))).await.unwrap();
    assert_eq!(router.logged().await.reason, "request_timeout");

    let leaving = router.client(half).await;
    let _received = router.next().await;
    drop(leaving);
    let access = router.logged().await;
    assert_eq!((access.reason, access.status), ("client_gone", 499));
}

#[tokio::test]
async fn call_of_grpc_that_waits_counts_for_the_memory_that_it_holds() {
    let mut router = Router::plain(one_slot()).await;
    let _running = router.client(GET).await;
    let _received = router.next().await;
    let stream = TcpStream::connect(router.address).await.unwrap();
    let (calls, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let call = Request::post("http://app/echo").header("content-type", "application/grpc");
    let mut calls = calls.ready().await.unwrap();
    let (_response, mut body) = calls.send_request(call.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(&[0; 20]), true).unwrap();
    router.until(|gauges| gauges.queued == 1).await;
    let bytes = router.gauges.borrow().queued_bytes;
    assert!(bytes < 4 << 10, "{bytes} bytes for a call of 20");
}

#[tokio::test]
async fn client_that_leaves_ends_its_request_wherever_it_is() {
    let mut router = Router::plain(one_slot()).await;
    let running = router.client(GET).await;
    let (_, mut respond) = router.next().await;
    let waiting = router.client(b"GET /waiting HTTP/1.1\r\nHost: app\r\n\r\n").await;
    router.until(|gauges| gauges.queued == 1).await;
    drop(waiting);
    assert_eq!(router.logged().await.target, "/waiting");
    drop(running);
    // The instance sees the reset, and the slot is free for the next one.
    soon(std::future::poll_fn(|cx| respond.poll_reset(cx))).await.unwrap();
    let _next = router.client(b"GET /next HTTP/1.1\r\nHost: app\r\n\r\n").await;
    assert_eq!(router.next().await.0.uri().path(), "/next");
}

#[tokio::test]
async fn client_that_leaves_in_the_middle_of_a_response_has_seen_that_the_function_works() {
    let linger = Duration::from_secs(60);
    let mut router = Router::plain(Limits { linger, ..one_slot() }).await;
    let (client, mut stream) = begun(&mut router).await;
    drop(client);
    soon(std::future::poll_fn(|cx| stream.poll_reset(cx))).await.unwrap();
    drop(stream);
    let access = router.logged().await;
    assert_eq!((access.reason, access.status), ("client_gone", 200));
    // It leaves so soon that it would have failed without a response.
    router.leave.send_replace(1);
    router.until(|it| it.ready + it.draining + it.detached == 0).await;
    assert!(!router.gauges.borrow().starts_fail);
}

#[tokio::test]
async fn app_that_breaks_off_before_its_answer_has_not_served() {
    let linger = Duration::from_secs(60);
    let mut router = Router::plain(Limits { linger, ..one_slot() }).await;
    let mut client = router.client(GET).await;
    let (_, mut respond) = router.next().await;
    let marked = Response::builder().status(502).header("lambda-dispatch-error", "app-connection");
    let mut stream = respond.send_response(marked.body(()).unwrap(), false).unwrap();
    stream.send_data(Bytes::from_static(b"The app closed the connection.\n"), true).unwrap();
    let seen = String::from_utf8(read_until(&mut client, b"gateway\n").await).unwrap();
    assert!(seen.starts_with("HTTP/1.1 502 Bad Gateway"), "{seen}");
    assert!(!seen.contains("lambda-dispatch-error"), "{seen}");
    let access = router.logged().await;
    assert_eq!((access.reason, access.status, access.attempts), ("failed", 502, 1));
    router.leave.send_replace(1);
    router.until(|it| it.ready + it.draining + it.detached == 0).await;
    assert!(router.gauges.borrow().starts_fail, "it was counted as served");
}

#[tokio::test]
async fn request_that_an_instance_gives_back_is_served_by_another_with_its_body() {
    let limits = Limits { slots: 1, instances_max: 2, instances_min: 2, ..Limits::default() };
    let mut router = Router::plain(limits).await;
    router.until(|gauges| gauges.ready == 2).await;
    let post = b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello";
    let mut client = router.client(post).await;
    let (_, mut first) = router.next().await;
    first.send_reset(h2::Reason::REFUSED_STREAM);
    let (request, mut second) = router.next().await;
    let mut body = request.into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "hello");
    second.send_response(Response::new(()), true).unwrap();
    read_until(&mut client, b"HTTP/1.1 200 OK").await;
    let access = router.logged().await;
    assert_eq!((access.attempts, access.proofs), (2, vec![Proof::Refused]));
}

#[tokio::test]
async fn instance_that_said_goaway_finishes_what_it_has_and_gets_no_more() {
    let mut router =
        Router::plain(Limits { slots: 2, instances_max: 2, ..Limits::default() }).await;
    let mut first = router.client(GET).await;
    let (_, mut in_flight) = router.next().await;
    router.leave.send_replace(1);
    // Once the goaway has come, a request finds the door closed and goes to another instance.
    while router.gauges.borrow().draining == 0 {
        let mut next = router.client(GET).await;
        let (_, mut respond) = router.next().await;
        respond.send_response(Response::new(()), true).unwrap();
        read_until(&mut next, b"HTTP/1.1 200 OK").await;
    }
    router.until(|gauges| gauges.draining == 1 && gauges.ready == 1).await;
    in_flight.send_response(Response::new(()), true).unwrap();
    read_until(&mut first, b"HTTP/1.1 200 OK").await;
    router.until(|gauges| gauges.draining == 0).await;
}

#[tokio::test]
async fn request_that_an_app_may_have_seen_is_not_sent_again() {
    let mut router = Router::plain(one_slot()).await;
    let mut client = router.client(GET).await;
    let (_, mut respond) = router.next().await;
    respond.send_reset(h2::Reason::INTERNAL_ERROR);
    read_until(&mut client, b"HTTP/1.1 502 Bad Gateway").await;
    assert_eq!(router.logged().await.reason, "failed");
}

#[tokio::test]
async fn response_that_does_not_begin_is_504() {
    let first_byte = Duration::from_millis(100);
    let settings = patient(Patience { first_byte, ..Patience::default() });
    let mut router = Router::start(one_slot(), settings, false).await;
    let mut client = router.client(GET).await;
    let _received = router.next().await;
    read_until(&mut client, b"HTTP/1.1 504 Gateway Timeout").await;
    assert_eq!(router.logged().await.reason, "response_timeout");
}

#[tokio::test]
async fn head_that_does_not_end_is_cut_but_an_idle_connection_is_kept() {
    let head = Duration::from_millis(100);
    let mut router =
        Router::start(one_slot(), EdgeSettings { head, ..EdgeSettings::default() }, false).await;
    let mut kept = router.client(GET).await;
    let (_, mut respond) = router.next().await;
    respond.send_response(Response::new(()), true).unwrap();
    read_until(&mut kept, b"HTTP/1.1 200 OK").await;
    assert_eq!(router.logged().await.status, 200);
    let mut slow = router.client(b"GET / HTTP/1.1\r\nHos").await;
    assert!(read_all(&mut slow).await.0.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(router.logged().await.status, 408);
    kept.write_all(GET).await.unwrap();
    router.next().await;
}

#[tokio::test]
async fn full_queue_is_503_with_retry_after() {
    let mut router = Router::plain(Limits { queue_len_max: 1, ..one_slot() }).await;
    let _running = router.client(GET).await;
    let _received = router.next().await;
    // Of two that have to wait, one may.
    let mut clients = [router.client(GET).await, router.client(GET).await];
    let [one, other] = &mut clients;
    let seen = soon(async {
        tokio::select! {
            biased;
            seen = read_until(one, b"\r\n\r\n") => seen,
            seen = read_until(other, b"\r\n\r\n") => seen,
        }
    })
    .await;
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("HTTP/1.1 503") && seen.contains("retry-after: "), "{seen}");
    let access = router.logged().await;
    assert_eq!(access.reason, "queue_length");
    assert_eq!((access.handover, access.app, access.slot), (None, None, None), "no instance's");
}

#[tokio::test]
async fn illegal_heads_are_the_clients_fault() {
    let router = Router::plain(one_slot()).await;
    for (bytes, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405"),
        (b"nonsense\r\n\r\n", "400"),
    ] {
        let mut client = router.client(bytes).await;
        let seen = read_until(&mut client, b"\r\n\r\n").await;
        let line = String::from_utf8_lossy(&seen);
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:?} -> {line}");
    }
}

#[tokio::test]
async fn shutdown_serves_what_was_accepted() {
    let mut router = Router::plain(one_slot()).await;
    let mut running = router.client(GET).await;
    let (_, mut first) = router.next().await;
    let mut waiting = router.client(b"GET /waiting HTTP/1.1\r\nHost: app\r\n\r\n").await;
    router.until(|gauges| gauges.queued == 1).await;
    router.stop.send_replace(Some(Duration::from_millis(500)));
    let pool = router.pool.clone();
    let stopping = tokio::spawn(async move { pool.shut_down(Duration::from_secs(20)).await });
    first.send_response(Response::new(()), true).unwrap();
    read_until(&mut running, b"HTTP/1.1 200 OK").await;
    let (request, mut second) = router.next().await;
    assert_eq!(request.uri().path(), "/waiting");
    second.send_response(Response::new(()), true).unwrap();
    let (seen, _) = read_all(&mut waiting).await;
    assert!(seen.starts_with("HTTP/1.1 200 OK"), "{seen}");
    soon(stopping).await.unwrap();
}

#[tokio::test]
async fn stranger_is_refused_and_learns_nothing() {
    let instances = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = instances.local_addr().unwrap();
    let (sender, _received) = mpsc::unbounded_channel();
    let settings = PoolSettings {
        name: "default".into(),
        function: "f".into(),
        callback_url: format!("http://{address}"),
        identity: None,
        seed: 1,
        chance: Chance::System,
    };
    let config = Config::new(Limits::default()).unwrap();
    let invoker = Arc::new(Instances {
        received: sender,
        slots: 1,
        started: AtomicUsize::new(0),
        leave: watch::channel(0).1,
    });
    let invited = Invited::default();
    let _pool = driver::start(config, settings, Clock::start(), invited.clone(), invoker, Blind);
    tokio::spawn(instance_listener::serve(instances, None, invited, None));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let hello = Hello {
        host: "router".into(),
        instance: "0123".into(),
        slots: 1,
        lease: Duration::from_secs(1),
        cold: false,
    };
    let token = io_tokio::payload::Secret::from_bytes([7; 32]);
    let refused = soon(attach::request(&mut stream, &hello, &token, &[])).await;
    assert!(matches!(refused, Err(attach::AttachError::Refused { status: 401 })), "{refused:?}");
    let mut noise = TcpStream::connect(address).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    read_until(&mut noise, b"HTTP/1.1 400 Bad Request").await;
}
