//! The same conversations with h2 on either side, which says what HTTP/2 is.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use io_tokio::http2::{
    self, Arrival, Config, Error, Head, Opener, Protocol, Reason, Receiving, Responder, Sending,
};
use tokio::io::{DuplexStream, duplex};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::PATIENCE;
use crate::bodies::{pattern, read, send_all};
use crate::stage::{CONFIG, Server};

/// Either client.
#[derive(Clone)]
enum Client {
    H2(SendRequest<Bytes>),
    Ours(Opener),
}

/// All that came.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    interims: Vec<StatusCode>,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// A client, and what ends with its connection on both sides.
struct Pair {
    name: &'static str,
    client: Client,
    ends: [JoinHandle<()>; 2],
}

impl Pair {
    /// Our client with h2's server, and the reverse.
    async fn both(config: Config) -> [Self; 2] {
        [Self::with_our_client(config).await, Self::with_our_server(config).await]
    }

    async fn with_our_client(config: Config) -> Self {
        let (near, far) = duplex(64 << 10);
        let server = tokio::spawn(h2_server(far, config));
        let (opener, mut connection) = http2::client(near, config);
        let client = tokio::spawn(async move { connection.run().await.unwrap() });
        // Until the server's settings have come, among them that CONNECT is more than that.
        let pair =
            Self { name: "our client", client: Client::Ours(opener), ends: [client, server] };
        assert_eq!(pair.get("/none").await.unwrap().status, 204);
        pair
    }

    async fn with_our_server(config: Config) -> Self {
        let (near, far) = duplex(64 << 10);
        let mut server = Server::new(far, config);
        let server = tokio::spawn(async move {
            while let Some(arrival) = server.arrivals.recv().await {
                tokio::spawn(async move { drop(answer_ours(arrival).await) });
            }
            server.end().await.unwrap();
        });
        let mut builder = h2::client::Builder::new();
        let (client, connection) = builder
            .initial_window_size(config.stream_window)
            .initial_connection_window_size(config.connection_window)
            .max_frame_size(config.frame_bytes)
            .max_header_list_size(config.head_bytes)
            .max_send_buffer_size(64 << 10)
            .handshake(near)
            .await
            .unwrap();
        let connection = tokio::spawn(async move { connection.await.unwrap() });
        let pair =
            Self { name: "our server", client: Client::H2(client), ends: [connection, server] };
        assert_eq!(pair.get("/none").await.unwrap().status, 204);
        pair
    }

    async fn exchange(
        &self,
        request: Request<()>,
        body: Option<Bytes>,
        trailers: Option<HeaderMap>,
    ) -> Result<Answer, Reason> {
        self.client.clone().exchange(request, body, trailers).await
    }

    async fn get(&self, path: &str) -> Result<Answer, Reason> {
        self.exchange(request(Method::GET, path), None, None).await
    }

    /// Without the client both sides end well.
    async fn end(self) {
        drop(self.client);
        for end in self.ends {
            timeout(PATIENCE, end).await.expect(self.name).expect(self.name);
        }
    }
}

impl Client {
    async fn exchange(
        self,
        request: Request<()>,
        body: Option<Bytes>,
        trailers: Option<HeaderMap>,
    ) -> Result<Answer, Reason> {
        let exchange = async {
            match self {
                Self::H2(client) => exchange_h2(client, request, body, trailers).await,
                Self::Ours(opener) => exchange_ours(opener, request, body, trailers).await,
            }
        };
        timeout(PATIENCE, exchange).await.expect("the exchange ends")
    }
}

fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("http://lambda.test{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

fn reason_of(error: &Error) -> Reason {
    let (Error::Reset { reason, .. } | Error::GoAway { reason, .. }) = error else {
        panic!("{error:?}");
    };
    *reason
}

async fn exchange_ours(
    opener: Opener,
    request: Request<()>,
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<Answer, Reason> {
    let is_whole = body.is_none() && trailers.is_none();
    let (mut awaited, mut sending) = opener.open(&request, is_whole).unwrap();
    let send = async {
        if !is_whole {
            send_all(&mut sending, body.unwrap_or_default(), trailers.is_none()).await?;
        }
        trailers.map_or(Ok(()), |trailers| sending.send_trailers(trailers))
    };
    let receive = async {
        let mut interims = Vec::new();
        let response = loop {
            match poll_fn(|cx| awaited.poll_head(cx)).await? {
                Head::Interim(interim) => interims.push(interim.status()),
                Head::Final(response) => break response,
            }
        };
        let (parts, body) = response.into_parts();
        let (body, trailers) = read(body).await?;
        let (status, headers) = (parts.status, parts.headers);
        Ok::<_, Error>(Answer { interims, status, headers, body, trailers })
    };
    let (sent, received) = tokio::join!(send, receive);
    let received = received.map_err(|error| reason_of(&error))?;
    sent.map_err(|error| reason_of(&error))?;
    Ok(received)
}

async fn exchange_h2(
    client: SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<Answer, Reason> {
    let is_whole = body.is_none() && trailers.is_none();
    let mut client = client.ready().await.unwrap();
    let (mut response, mut sending) = client.send_request(request, is_whole).unwrap();
    drop(client);
    let send = async {
        if !is_whole {
            send_h2(&mut sending, body.unwrap_or_default(), trailers.is_none()).await?;
        }
        trailers.map_or(Ok(()), |trailers| sending.send_trailers(trailers))
    };
    let receive = async {
        let mut interims = Vec::new();
        while let Some(interim) = poll_fn(|cx| response.poll_informational(cx)).await {
            interims.push(interim?.status());
        }
        let (parts, body) = response.await?.into_parts();
        let (body, trailers) = read_h2(body).await?;
        let (status, headers) = (parts.status, parts.headers);
        Ok::<_, h2::Error>(Answer { interims, status, headers, body, trailers })
    };
    let (sent, received) = tokio::join!(send, receive);
    let received = received.map_err(|error| error.reason().unwrap())?;
    sent.map_err(|error| error.reason().unwrap())?;
    Ok(received)
}

async fn send_h2(
    sending: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    ends: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        sending.reserve_capacity(bytes.len().min(16 << 10));
        let Some(room) = poll_fn(|cx| sending.poll_capacity(cx)).await else {
            return Err(Reason::CANCEL.into());
        };
        let piece = bytes.split_to(room?.min(bytes.len()));
        sending.send_data(piece, ends && bytes.is_empty())?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
    if ends { sending.send_data(Bytes::new(), true) } else { Ok(()) }
}

async fn read_h2(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        bytes.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok((bytes, body.trailers().await?))
}

// What both servers do.

/// The head that `request` is answered with.
fn head_of(request: &Request<()>) -> Response<()> {
    let mut response = Response::new(());
    if request.uri().path() == "/none" {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    if request.method() == Method::HEAD {
        response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
    }
    let secrets = request.headers().values().filter(|value| value.is_sensitive()).count();
    response.headers_mut().insert("x-secrets", secrets.into());
    let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str());
    let said = format!("{} {} {}", request.method(), request.uri(), protocol.unwrap_or("-"));
    response.headers_mut().insert("x-asked", said.parse().unwrap());
    response.headers_mut().extend(request.headers().clone());
    response
}

fn has_no_body(request: &Request<()>) -> bool {
    request.method() == Method::HEAD || request.uri().path() == "/none"
}

const INTERIMS: [u16; 2] = [103, 102];

fn interim(status: u16) -> Response<()> {
    Response::builder().status(status).header("link", "<a>").body(()).unwrap()
}

async fn answer_ours((request, mut respond): Arrival) -> Result<(), Error> {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    match request.uri().path() {
        "/interim" => interim_ours(&mut respond)?,
        "/refuse" => {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        _ => {}
    }
    let sending = respond.send_response(&head_of(&request), has_no_body(&request))?;
    match request.uri().path() {
        _ if has_no_body(&request) => Ok(()),
        "/cut" => cut_ours(sending),
        _ => echo_ours(body, sending).await,
    }
}

fn interim_ours(respond: &mut Responder) -> Result<(), Error> {
    for status in INTERIMS {
        respond.send_interim(&interim(status))?;
    }
    Ok(())
}

fn cut_ours(mut sending: Sending) -> Result<(), Error> {
    sending.send_data(Bytes::from_static(b"half"), false)?;
    sending.send_reset(Reason::INTERNAL_ERROR);
    Ok(())
}

async fn echo_ours(mut body: Receiving, mut sending: Sending) -> Result<(), Error> {
    while let Some(piece) = body.data().await {
        send_all(&mut sending, piece?, false).await?;
    }
    match poll_fn(|cx| body.poll_trailers(cx)).await? {
        None => sending.send_data(Bytes::new(), true),
        Some(trailers) => sending.send_trailers(trailers),
    }
}

async fn h2_server(io: DuplexStream, config: Config) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_frame_size(config.frame_bytes)
        .max_header_list_size(config.head_bytes)
        .max_concurrent_streams(config.streams_max)
        .max_send_buffer_size(64 << 10)
        .enable_connect_protocol()
        .handshake(io)
        .await
        .unwrap();
    while let Some(arrival) = connection.accept().await {
        let (request, respond) = arrival.unwrap();
        tokio::spawn(async move { drop(answer_h2(request, respond).await) });
    }
}

async fn answer_h2(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (parts, mut body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    match request.uri().path() {
        "/interim" => {
            for status in INTERIMS {
                respond.send_informational(interim(status))?;
            }
        }
        "/refuse" => {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        _ => {}
    }
    let mut sending = respond.send_response(head_of(&request), has_no_body(&request))?;
    if has_no_body(&request) {
        return Ok(());
    }
    if request.uri().path() == "/cut" {
        sending.send_data(Bytes::from_static(b"half"), false)?;
        sending.send_reset(Reason::INTERNAL_ERROR);
        return Ok(());
    }
    while let Some(piece) = body.data().await {
        let piece = piece?;
        let len = piece.len();
        send_h2(&mut sending, piece, false).await?;
        body.flow_control().release_capacity(len)?;
    }
    match body.trailers().await? {
        None => sending.send_data(Bytes::new(), true),
        Some(trailers) => sending.send_trailers(trailers),
    }
}

#[tokio::test]
async fn bodies_of_all_sizes_go_both_ways_at_once() {
    for pair in Pair::both(CONFIG).await {
        for len in [0, 1, 16 << 10, 65_535, 1 << 20, 5 << 20] {
            let body = pattern(len, len);
            let post = request(Method::POST, "/echo");
            let answer = pair.exchange(post, Some(body.clone()), None).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.trailers, None);
            assert!(answer.body == body, "{}: {len} bytes differ", pair.name);
        }
        pair.end().await;
    }
}

#[tokio::test]
async fn bodies_come_through_the_smallest_windows_and_the_largest_frames() {
    let small = Config { stream_window: 65_535, connection_window: 65_535, ..CONFIG };
    let large = Config {
        stream_window: 8 << 20,
        connection_window: 16 << 20,
        frame_bytes: (1 << 24) - 1,
        ..CONFIG
    };
    for config in [small, large] {
        for pair in Pair::both(config).await {
            let body = pattern(9, 3 << 20);
            let post = request(Method::POST, "/echo");
            let answer = pair.exchange(post, Some(body.clone()), None).await.unwrap();
            assert!(answer.body == body, "{}: bytes differ", pair.name);
            pair.end().await;
        }
    }
}

#[tokio::test]
async fn trailers_come_after_bodies_and_instead_of_them() {
    for pair in Pair::both(CONFIG).await {
        for len in [0, 3, 100_000] {
            let trailers = HeaderMap::from_iter([
                ("x-sum".parse().unwrap(), "42".parse().unwrap()),
                ("x-more".parse().unwrap(), HeaderValue::from_static("")),
            ]);
            let (post, body) = (request(Method::POST, "/echo"), pattern(7, len));
            let sent = (Some(body.clone()), Some(trailers.clone()));
            let answer = pair.exchange(post, sent.0, sent.1).await.unwrap();
            assert!(answer.body == body, "{}: {len} bytes differ", pair.name);
            assert_eq!(answer.trailers, Some(trailers), "{}", pair.name);
        }
        pair.end().await;
    }
}

#[tokio::test]
async fn interim_heads_come_first() {
    for pair in Pair::both(CONFIG).await {
        let answer = pair.get("/interim").await.unwrap();
        assert_eq!(answer.interims, INTERIMS, "{}", pair.name);
        assert_eq!(answer.status, 200);
        pair.end().await;
    }
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_heads() {
    for pair in Pair::both(CONFIG).await {
        let answer = pair.exchange(request(Method::HEAD, "/"), None, None).await.unwrap();
        assert_eq!(answer.headers["content-length"], "5", "{}", pair.name);
        assert!(answer.body.is_empty());
        let answer = pair.get("/none").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0));
        pair.end().await;
    }
}

#[tokio::test]
async fn targets_arrive_as_they_were_written() {
    for pair in Pair::both(CONFIG).await {
        for (method, path) in [
            (Method::GET, "/"),
            (Method::GET, "/a/b%20c?d=e&f"),
            (Method::DELETE, "/?"),
            (Method::PATCH, "//a"),
            (Method::OPTIONS, "/a"),
            (Method::from_bytes(b"BREW").unwrap(), "/pot"),
        ] {
            let answer = pair.exchange(request(method.clone(), path), None, None).await.unwrap();
            let asked = format!("{method} http://lambda.test{path} -");
            assert_eq!(answer.headers["x-asked"], asked, "{}", pair.name);
        }
        let mut connect = Request::new(());
        *connect.method_mut() = Method::CONNECT;
        *connect.uri_mut() = "lambda.test:443".parse().unwrap();
        let answer = pair.exchange(connect, Some(pattern(1, 9)), None).await.unwrap();
        assert_eq!(answer.headers["x-asked"], "CONNECT lambda.test:443 -", "{}", pair.name);
        assert_eq!(answer.body, pattern(1, 9));
        pair.end().await;
    }
}

#[tokio::test]
async fn a_connect_may_ask_for_a_protocol() {
    for pair in Pair::both(CONFIG).await {
        let mut connect = request(Method::CONNECT, "/chat?a");
        connect.extensions_mut().insert(Protocol::from("websocket"));
        let answer = pair.exchange(connect, Some(pattern(1, 99)), None).await.unwrap();
        let asked = &answer.headers["x-asked"];
        assert_eq!(asked, "CONNECT http://lambda.test/chat?a websocket", "{}", pair.name);
        assert_eq!(answer.body, pattern(1, 99));
        pair.end().await;
    }
}

#[tokio::test]
async fn a_server_may_refuse_or_cut_an_answer() {
    for pair in Pair::both(CONFIG).await {
        for _ in 0..3 {
            assert_eq!(pair.get("/refuse").await, Err(Reason::REFUSED_STREAM), "{}", pair.name);
            assert_eq!(pair.get("/cut").await, Err(Reason::INTERNAL_ERROR), "{}", pair.name);
        }
        assert!(pair.get("/").await.is_ok(), "{}", pair.name);
        pair.end().await;
    }
}

#[tokio::test]
async fn h2_sees_our_client_give_up() {
    let (near, far) = duplex(64 << 10);
    let (opener, mut connection) = http2::client(near, CONFIG);
    tokio::spawn(async move { connection.run().await });
    let (awaited, mut sending) = opener.open(&request(Method::POST, "/"), false).unwrap();
    sending.send_data(Bytes::from_static(b"half"), false).unwrap();
    let mut server = h2::server::handshake(far).await.unwrap();
    let (arrived, _respond) = server.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    let mut body = arrived.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "half");
    drop((awaited, sending));
    let cut = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(cut.reason(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn our_server_sees_h2_give_up() {
    let (near, far) = duplex(64 << 10);
    let mut server = Server::new(far, CONFIG);
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (response, mut sending) = client.send_request(request(Method::POST, "/"), false).unwrap();
    sending.send_data(Bytes::from_static(b"half"), false).unwrap();
    let (arrived, mut respond) = server.next().await;
    let mut body = arrived.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "half");
    drop((response, sending));
    let cut = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(reason_of(&cut), Reason::CANCEL);
    let broken = timeout(PATIENCE, poll_fn(|cx| respond.poll_broken(cx))).await.unwrap();
    assert_eq!(reason_of(&broken), Reason::CANCEL);
}

#[tokio::test]
async fn a_hundred_streams_at_once_and_a_hundred_more_that_wait() {
    for pair in Pair::both(CONFIG).await {
        let mut running = JoinSet::new();
        for n in 0..200 {
            let client = pair.client.clone();
            running.spawn(async move {
                let (post, body) = (request(Method::POST, "/echo"), pattern(n, n * 500));
                let answer = client.exchange(post, Some(body.clone()), None).await.unwrap();
                assert!(answer.body == body, "the bytes of {n} differ");
            });
        }
        while let Some(done) = running.join_next().await {
            done.unwrap_or_else(|error| panic!("{}: {error}", pair.name));
        }
        pair.end().await;
    }
}

#[tokio::test]
async fn fields_arrive_as_they_were_sent_however_often_and_in_whatever_mixture() {
    for pair in Pair::both(CONFIG).await {
        for n in 0..300_usize {
            let mut asked = request(Method::GET, &format!("/{}", n % 7));
            let headers = asked.headers_mut();
            headers.insert("accept", HeaderValue::from_static("text/html,*/*;q=0.8"));
            headers.insert("user-agent", HeaderValue::from_static("the same each time"));
            headers.insert("x-request-id", n.to_string().parse().unwrap());
            headers.insert("x-some", (n % 13).to_string().repeat(1 + n % 50).parse().unwrap());
            // Enough of them to push others out of the table.
            for more in 0..n % 5 {
                let value = format!("{}", (n + more) % 17).repeat(60);
                headers.append("x-more", value.parse().unwrap());
            }
            headers.insert("x-latin", HeaderValue::from_bytes(b"caf\xe9").unwrap());
            let sent = asked.headers().clone();
            let answer = pair.exchange(asked, None, None).await.unwrap();
            for name in sent.keys() {
                let came: Vec<_> = answer.headers.get_all(name).iter().collect();
                let expected: Vec<_> = sent.get_all(name).iter().collect();
                assert_eq!(came, expected, "{}, request {n}", pair.name);
            }
        }
        pair.end().await;
    }
}

#[tokio::test]
async fn secrets_arrive_and_our_server_knows_them() {
    for pair in Pair::both(CONFIG).await {
        for _ in 0..3 {
            let mut asked = request(Method::GET, "/");
            for (name, value) in [("authorization", "Bearer a"), ("cookie", "a=b"), ("x-key", "c")]
            {
                let mut value = HeaderValue::from_static(value);
                value.set_sensitive(true);
                asked.headers_mut().insert(name, value);
            }
            asked.headers_mut().append("cookie", HeaderValue::from_static("not=marked"));
            let answer = pair.exchange(asked, None, None).await.unwrap();
            let cookies: Vec<_> = answer.headers.get_all("cookie").iter().collect();
            assert_eq!(cookies, ["a=b", "not=marked"], "{}", pair.name);
            assert_eq!(answer.headers["x-key"], "c");
            // h2 forgets the mark of what it reads.
            if matches!(pair.client, Client::H2(_)) {
                assert_eq!(answer.headers["x-secrets"], "3");
            }
        }
        pair.end().await;
    }
}

#[tokio::test]
async fn large_heads_arrive_whole() {
    let config = Config { head_bytes: 256 << 10, ..CONFIG };
    for pair in Pair::both(config).await {
        for len in [16_300, 16_384, 30 << 10, 100_000] {
            let mut asked = request(Method::GET, "/");
            let long: HeaderValue = "a".repeat(len).parse().unwrap();
            asked.headers_mut().insert("x-long", long.clone());
            let answer = pair.exchange(asked, None, None).await.unwrap();
            assert!(answer.headers["x-long"] == long, "{}: {len}", pair.name);
        }
        pair.end().await;
    }
}

#[tokio::test]
async fn a_head_too_long_for_our_server_is_answered_and_the_next_is_served() {
    let pair = Pair::with_our_server(CONFIG).await;
    let mut asked = request(Method::GET, "/");
    asked.headers_mut().insert("x-long", "a".repeat(17_000).parse().unwrap());
    let answer = pair.exchange(asked, None, None).await.unwrap();
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(pair.get("/").await.unwrap().status, 200);
    pair.end().await;
}

#[tokio::test]
async fn a_server_that_leaves_lets_h2_finish_and_h2_that_leaves_lets_us() {
    let (near, far) = duplex(64 << 10);
    let mut server = Server::new(far, CONFIG);
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = exchange_h2(client.clone(), request(Method::POST, "/"), Some(pattern(1, 9)), None);
    let asked = tokio::spawn(asked);
    let arrival = server.next().await;
    server.leave();
    drop(tokio::spawn(answer_ours(arrival)));
    assert_eq!(asked.await.unwrap().unwrap().body, pattern(1, 9));
    server.end().await.unwrap();
    timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
    assert!(client.ready().await.is_err());

    let (near, far) = duplex(64 << 10);
    let (opener, mut connection) = http2::client(near, CONFIG);
    let connection = tokio::spawn(async move { connection.run().await });
    let asked =
        exchange_ours(opener.clone(), request(Method::POST, "/"), Some(pattern(1, 9)), None);
    let asked = tokio::spawn(asked);
    let mut server = h2::server::handshake(far).await.unwrap();
    let (arrived, respond) = server.accept().await.unwrap().unwrap();
    server.graceful_shutdown();
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    tokio::spawn(answer_h2(arrived, respond));
    assert_eq!(asked.await.unwrap().unwrap().body, pattern(1, 9));
    timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
    assert!(opener.open(&Request::new(()), true).is_err());
}
