//! What HTTP means: trailers, methods and statuses that are special, and old clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::response::Parts;
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::raw_app::{Body, RawApp, contains, head};
use crate::stage::Stage;

const SETTINGS: &[&str] = &["pool.linger=10m", "pool.instances_max=1", "pool.placement_margin=1s"];

/// An app that answers with bytes of our choice, and keeps what it is sent.
#[derive(Clone, Default)]
struct App(Arc<Mutex<Vec<u8>>>);

impl App {
    async fn stage() -> (Stage, Self) {
        let app = Self::default();
        let serving = app.clone();
        let serve = move |stream| serving.clone().connection(stream);
        (Stage::served(&[], SETTINGS, serve).await, app)
    }

    fn sees(&self, part: &str) -> bool {
        contains(&self.0.lock().unwrap(), part.as_bytes())
    }

    async fn connection(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(head) = head(&mut stream).await {
            self.0.lock().unwrap().extend_from_slice(&head);
            let text = String::from_utf8_lossy(&head).to_lowercase();
            if text.contains("transfer-encoding: chunked") {
                // Up to the empty line after the last chunk and its trailers.
                let mut line = Vec::new();
                let mut last = false;
                while !(last && line == b"\r\n") {
                    last |= line == b"0\r\n";
                    line.clear();
                    if stream.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    self.0.lock().unwrap().extend_from_slice(&line);
                }
            }
            let answer: &[u8] = match text.split(' ').nth(1).unwrap() {
                "/trailers" => {
                    b"HTTP/1.1 200 OK\r\nTrailer: X-Sum, Host, Content-Length\r\n\
                      Transfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\nX-Sum: caf\xe9\r\n\
                      Host: evil\r\nContent-Length: 7\r\n\r\n"
                }
                "/range" => {
                    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\n\
                      Content-Type: text/plain\r\nContent-Length: 3\r\n\r\ncde"
                }
                "/chunked" => {
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\n\r\n"
                }
                "/299" => b"HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n",
                "/499" => b"HTTP/1.1 499 Odd\r\nContent-Length: 0\r\n\r\n",
                "/520" => b"HTTP/1.1 520 Odd\r\nContent-Length: 0\r\n\r\n",
                "/204" => b"HTTP/1.1 204 No Content\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
            };
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_but_for_those_that_frame_or_route() {
    let (stage, app) = App::stage().await;
    let mut client = Client::connect(stage.router.http).await;
    client
        .send(
            "POST /trailers HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTrailer: X-Mark, Host\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Mark: 1\r\nHost: evil\r\n\
             X-Forwarded-For: 1.2.3.4\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = client.head().await.unwrap();
    assert_eq!(answer.status, 200);
    let body = client.exactly(b"3\r\nok\n\r\n0\r\nx-sum: caf\xe9\r\n\r\n".len()).await;
    assert_eq!(body, b"3\r\nok\n\r\n0\r\nx-sum: caf\xe9\r\n\r\n");
    assert!(app.sees("0\r\nx-mark: 1\r\n\r\n"), "the app gets the client's, and no more");

    // One that has not said that it takes them gets the body alone, and stays in step.
    for _ in 0..2 {
        let plain = client.get("/trailers").await.unwrap();
        assert_eq!((plain.status, plain.text().as_str()), (200, "ok\n"));
    }

    let stream = TcpStream::connect(stage.router.http).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("http://test/trailers")
        .header("te", "trailers")
        .header("trailer", "x-two")
        .body(())
        .unwrap();
    let (response, mut stream) =
        requests.ready().await.unwrap().send_request(request, false).unwrap();
    stream.send_data("hi".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-two", "2".parse().unwrap());
    trailers.insert("authorization", "evil".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "ok\n");
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-sum"].as_bytes(), b"caf\xe9");
    assert!(app.sees("x-two: 2\r\n\r\n"));
    assert!(!app.sees("evil"));
}

#[tokio::test]
async fn a_body_of_unknown_length_reaches_the_app_whatever_the_method() {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PURGE"];
    let (stage, app) = RawApp::stage(SETTINGS).await;
    let mut client = Client::connect(stage.router.http).await;
    for method in methods {
        let head = format!("{method} /{method}-1 HTTP/1.1\r\nHost: test\r\n");
        let body = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        client.send(head + body).await.unwrap();
        assert_eq!(client.answer(method).await.unwrap().status, 200, "{method}");
    }
    let stream = TcpStream::connect(stage.router.http).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for method in methods {
        let request = Request::builder().method(method).uri(format!("http://test/{method}-2"));
        requests = requests.ready().await.unwrap();
        let (response, mut stream) =
            requests.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data("hello".into(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200, "{method}");
    }
    for method in methods {
        for version in [1, 2] {
            let seen = app.seen(&format!("{method} /{method}-{version} ")).unwrap();
            let whole = Body::Whole(b"hello".to_vec());
            assert_eq!(seen.body, whole, "{method} from HTTP/{version}");
        }
    }
}

#[tokio::test]
async fn a_head_that_the_app_does_not_answer_is_a_bad_gateway_without_its_text() {
    let (stage, _) = RawApp::stage(SETTINGS).await;
    let mut client = Client::connect(stage.router.http).await;
    // The app goes without a word.
    let got = client.get("/answer/").await.unwrap();
    let length = got.header("content-length");
    client.send("HEAD /answer/ HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let answer = client.answer("HEAD").await.unwrap();
    assert_eq!((got.status, answer.status), (502, 502));
    assert_eq!(answer.header("content-length"), length);
    assert_eq!(client.get("/").await.unwrap().status, 200, "the connection is in step");

    let stream = TcpStream::connect(stage.router.http).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::head("http://test/answer/").body(()).unwrap();
    let (response, _) = requests.ready().await.unwrap().send_request(request, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 502);
    let said = response.headers().get("content-length");
    assert_eq!(said.map(|length| length.as_bytes()), length);
    assert!(response.into_body().data().await.is_none(), "it ends, and is not cut");
}

#[tokio::test]
async fn options_for_the_server_as_a_whole_reaches_the_app_as_it_is() {
    let (stage, app) = App::stage().await;
    let mut client = Client::connect(stage.router.http).await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_eq!(client.answer("OPTIONS").await.unwrap().status, 200);
    assert!(app.sees("OPTIONS * HTTP/1.1\r\n"));
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn ranges_pass_untouched() {
    let (stage, app) = App::stage().await;
    let mut client = Client::connect(stage.router.http).await;
    client
        .send(
            "GET /range HTTP/1.1\r\nHost: test\r\nRange: bytes=2-4\r\n\
             Accept-Encoding: gzip, br\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = client.answer("GET").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (206, "cde"));
    assert_eq!(answer.header("content-range"), Some(&b"bytes 2-4/10"[..]));
    assert_eq!(answer.header("content-encoding"), None);
    assert!(app.sees("range: bytes=2-4\r\n"));
}

#[tokio::test]
async fn http_1_0_clients_get_no_chunks_and_keep_alive_only_when_they_ask() {
    let (stage, _) = App::stage().await;
    let mut old = Client::connect(stage.router.http).await;
    old.send("GET /chunked HTTP/1.0\r\n\r\n").await.unwrap();
    let answer = old.head().await.unwrap();
    assert!(answer.head.starts_with(b"HTTP/1.0 200"), "{answer:?}");
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    // Its length is its end.
    assert_eq!(old.rest().await, b"ok\n");

    let mut old = Client::connect(stage.router.http).await;
    old.send("GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(old.head().await.unwrap().status, 200);
    assert_eq!(old.rest().await, b"ok\n");

    let mut keeping = Client::connect(stage.router.http).await;
    for _ in 0..2 {
        keeping.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        let answer = keeping.answer("GET").await.unwrap();
        assert_eq!(answer.text(), "ok\n");
        assert_eq!(answer.header("connection"), Some(&b"keep-alive"[..]));
    }
    // Whatever has an end of its own leaves the connection open.
    for (method, target) in [("HEAD", "/chunked"), ("GET", "/204"), ("GET", "/range")] {
        let head = format!("{method} {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        keeping.send(head).await.unwrap();
        let answer = keeping.answer(method).await.unwrap();
        assert_eq!(answer.header("connection"), Some(&b"keep-alive"[..]), "{method} {target}");
    }
    keeping.send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    let answer = keeping.head().await.unwrap();
    assert_eq!(answer.headers("connection"), [b"close"], "{answer:?}");
    assert_eq!(keeping.rest().await, b"ok\n");
}

#[tokio::test]
async fn status_without_a_phrase_of_its_own_has_none() {
    let (stage, _) = App::stage().await;
    let mut client = Client::connect(stage.router.http).await;
    for status in [299, 499, 520] {
        let answer = client.get(&format!("/{status}")).await.unwrap();
        let line = format!("HTTP/1.1 {status} \r\n");
        assert!(answer.head.starts_with(line.as_bytes()), "{answer:?}");
    }
}

/// An HTTP/2 client's request, and the head and the body of what it is answered. The end comes with
/// the last of `pieces`.
pub(crate) async fn over_http2(
    router: SocketAddr,
    request: Request<()>,
    pieces: &[&'static str],
) -> (Parts, Vec<u8>) {
    let stream = TcpStream::connect(router).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (response, mut stream) =
        requests.ready().await.unwrap().send_request(request, pieces.is_empty()).unwrap();
    for (number, piece) in pieces.iter().enumerate() {
        stream.send_data((*piece).into(), number + 1 == pieces.len()).unwrap();
    }
    let (head, mut body) = response.await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data.unwrap());
    }
    (head, bytes)
}

#[tokio::test]
async fn refusal_of_a_head_request_is_a_head_alone() {
    let (stage, _) = App::stage().await;
    let request = |method| {
        let request = Request::builder().method(method).uri("http://test/").header("host", "other");
        request.body(()).unwrap()
    };
    let (_, text) = over_http2(stage.router.http, request("GET"), &[]).await;
    let (head, body) = over_http2(stage.router.http, request("HEAD"), &[]).await;
    assert_eq!((head.status.as_u16(), body.len()), (400, 0));
    assert_eq!(head.headers["content-length"], text.len().to_string().as_str());

    let mut client = Client::connect(stage.router.http).await;
    client.send("HEAD / HTTP/1.1\r\nHost: a/b\r\n\r\n").await.unwrap();
    let answer = client.answer("HEAD").await.unwrap();
    let length = answer.header("content-length").map(<[u8]>::to_vec);
    assert_eq!(answer.status, 400);
    assert!(client.rest().await.is_empty());
    let mut client = Client::connect(stage.router.http).await;
    client.send("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n").await.unwrap();
    let text = client.answer("GET").await.unwrap().text();
    assert_eq!(length, Some(text.len().to_string().into_bytes()));
}

#[tokio::test]
async fn body_that_nobody_can_be_told_to_send_is_not_waited_for() {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    // What `Connection` names is not passed on, so that the app does not know of it.
    let mut client = Client::connect(stage.router.http).await;
    client
        .send(
            "POST /named HTTP/1.1\r\nHost: test\r\nConnection: Expect\r\n\
             Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await
        .unwrap();
    let mut answer = client.head().await.unwrap();
    if answer.status == 100 {
        answer = client.head().await.unwrap();
    }
    assert_eq!(answer.status, 200);
    assert_eq!(app.seen("/named").unwrap().body, Body::Whole(b"hello".to_vec()));

    let request = Request::post("http://test/http2").header("expect", "100-continue");
    let (head, _) = over_http2(stage.router.http, request.body(()).unwrap(), &["hello"]).await;
    assert_eq!(head.status, 200);
    let seen = app.seen("/http2").unwrap();
    assert!(seen.body == Body::Whole(b"hello".to_vec()) && !contains(&seen.head, b"100-continue"));
}

#[tokio::test]
async fn body_without_a_byte_is_none() {
    let (stage, app) = RawApp::stage(SETTINGS).await;
    let request = Request::get("http://test/nothing").body(()).unwrap();
    let (head, _) = over_http2(stage.router.http, request, &["", ""]).await;
    assert_eq!(head.status, 200);
    let seen = app.seen("/nothing").unwrap();
    assert!(!contains(&seen.head, b"transfer-encoding"), "{seen:?}");
}
