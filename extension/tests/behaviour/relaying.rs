//! Requests through a link to the app and back.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};

use crate::app::{App, full, read_head, write};
use crate::h2_body::{self, Received};
use crate::router::text;
use crate::stage::{Stage, eventually, soon};

#[tokio::test]
async fn heads_pass_unchanged_except_for_what_is_hop_by_hop() {
    let (seen, mut heads) = mpsc::channel(1);
    let app = App::with_sockets(move |mut stream, number| {
        let seen = seen.clone();
        async move {
            if number == 0 {
                return;
            }
            seen.send(read_head(&mut stream).await).await.unwrap();
            let answer =
                b"HTTP/1.1 201 Made\r\nX-A: 1\r\nSet-Cookie: a=1\r\nKeep-Alive: timeout=5\r\n\
                X-Latin: caf\xe9\r\nConnection: X-Hop\r\nX-Hop: 1\r\nSet-Cookie: b=2\r\n\
                TE: Trailers\r\n\
                Lambda-Dispatch-Error: forged\r\nContent-Length: 2\r\n\r\nok";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let request = Request::get("https://example.com/a%2Fb//../c?x=1&x=2")
        .header("x-b", "1")
        .header("x-a", HeaderValue::from_bytes(b"caf\xe9").unwrap())
        .header("x-b", "2")
        .header("te", "trailers")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body("")
        .unwrap();
    let response = soon("an answer comes", link.send(request).await).await.unwrap();
    assert_eq!(
        soon("the app sees it", heads.recv()).await.unwrap(),
        "GET /a%2Fb//../c?x=1&x=2 HTTP/1.1\r\nhost: example.com\r\nx-b: 1\r\nx-b: 2\r\n\
         x-a: caf\u{fffd}\r\nte: trailers\r\ncookie: a=1; b=2\r\n\r\n"
    );
    assert_eq!(response.status(), 201);
    let lines: Vec<_> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let expected: [(&str, &[u8]); 6] = [
        ("x-a", b"1"),
        ("set-cookie", b"a=1"),
        ("set-cookie", b"b=2"),
        ("x-latin", b"caf\xe9"),
        ("te", b"trailers"),
        ("content-length", b"2"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(text(response.into_body()).await.unwrap(), "ok");
}

#[tokio::test]
async fn an_app_is_told_that_no_body_follows_where_one_is_usual() {
    let app = App::serving(|request| async move {
        let length = request.headers().get("content-length").cloned();
        let coding = request.headers().get("transfer-encoding").cloned();
        Response::new(full(format!("{length:?} {coding:?}")))
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    for (method, told) in [("POST", "Some(\"0\") None"), ("GET", "None None")] {
        let request = Request::builder().method(method).uri("https://a/").body("").unwrap();
        let response = soon("an answer comes", link.send(request).await).await.unwrap();
        assert_eq!(text(response.into_body()).await.unwrap(), told, "{method}");
    }
}

#[tokio::test]
async fn a_megabyte_goes_both_ways_at_once_and_trailers_follow() {
    let app = App::serving(|request| async {
        let body = request.into_body().map_err(std::io::Error::other).boxed();
        Response::new(body)
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let request = Request::post("https://a/").header("trailer", "x-sum").body(()).unwrap();
    let (response, stream) = link.open(request).await;
    let sent: Bytes = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let body = http_body_util::Full::new(sent.clone())
        .with_trailers(std::future::ready(Some(Ok(trailers))));
    tokio::spawn(h2_body::send(body, stream));
    let response = soon("an answer comes", response).await.unwrap();
    // A slow reader: one frame at a time, with a pause after each.
    let mut body = Received(response.into_body());
    let mut received = Vec::new();
    while let Some(frame) = soon("the body goes on", body.frame()).await {
        if let Ok(data) = frame.unwrap().into_data() {
            received.extend_from_slice(&data);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    assert!(received == sent, "{} bytes came back", received.len());
}

#[tokio::test]
async fn a_body_for_an_app_that_speaks_http2_is_asked_for_at_once() {
    let app = App::with_sockets(|stream, _| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let mut unanswered = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            if request.method() == "GET" {
                respond.send_response(Response::new(()), true).unwrap();
            } else {
                unanswered.push((request, respond));
            }
        }
    })
    .await;
    let h2c = [("LAMBDA_DISPATCH_APP_PROTOCOL", "h2c")];
    let mut stage = Stage::with_settings(&app, &h2c).await;
    let mut link = stage.attach().await;
    // With a connection that is there nothing else happens that could have the word looked for.
    assert_eq!(link.get("/").await.unwrap().status(), 200);
    let request = Request::post("https://a/").header("expect", "100-continue").body(()).unwrap();
    let (mut response, _body) = link.open(request).await;
    // The word has come when the app has answered a later request, and not a second after that.
    assert_eq!(link.get("/").await.unwrap().status(), 200);
    let interim = poll_fn(|cx| Poll::Ready(response.poll_informational(cx))).await;
    let Poll::Ready(Some(Ok(interim))) = interim else { panic!("{interim:?}") };
    assert_eq!(interim.status(), 100);
}

#[tokio::test]
async fn an_answer_with_too_many_header_lines_is_a_502_that_says_so() {
    let app = App::serving(|request| async move {
        let lines = if request.uri() == "/too-many" { 110 } else { 90 };
        let cookies = (0..lines).map(|number| format!("c{number}=1"));
        let response = cookies
            .fold(Response::builder(), |response, cookie| response.header("set-cookie", cookie));
        response.body(full("done")).unwrap()
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let response = link.get("/").await.unwrap();
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 90);
    let (status, said) = link.text("/too-many").await;
    assert_eq!((status, said.as_str()), (502, "The head of the app's answer is too long.\n"));
}

#[tokio::test]
async fn an_answer_whose_head_is_longer_than_the_router_takes_is_a_502_that_says_so() {
    let app = App::serving(|request| async move {
        let bytes = if request.uri() == "/long" { 131_000 } else { 130_000 };
        Response::builder().header("x", "y".repeat(bytes)).body(full("done")).unwrap()
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    assert_eq!(link.text("/").await, (200, "done".to_owned()));
    let too_long = "The head of the app's answer is too long.\n";
    assert_eq!(link.text("/long").await, (502, too_long.to_owned()));
}

#[tokio::test]
async fn a_length_is_passed_on_once_and_lengths_that_differ_are_a_502() {
    let app = App::with_sockets(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        if head.is_empty() {
            return;
        }
        let (method, target) = head.split_once(' ').unwrap_or_default();
        let lengths = match target.split(' ').next().unwrap_or_default() {
            "/twice" => "Content-Length: 2\r\nContent-Length: 2",
            "/list" => "Content-Length: 2, 2",
            "/differ" => "Content-Length: 2\r\nContent-Length: 3",
            "/plus" => "Content-Length: +2",
            "/none" => "Content-Length:",
            _ => "Content-Length: 2",
        };
        let body = if method == "HEAD" { "" } else { "ok" };
        let start = "HTTP/1.1 200 OK\r\nConnection: close";
        write(&mut stream, &format!("{start}\r\n{lengths}\r\n\r\n{body}")).await;
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    for (path, status) in [
        ("/", 200),
        ("/twice", 200),
        ("/list", 200),
        ("/differ", 502),
        ("/plus", 502),
        ("/none", 502),
    ] {
        for method in ["GET", "HEAD"] {
            let uri = format!("https://a{path}");
            let request = Request::builder().method(method).uri(uri).body("").unwrap();
            let response = soon("an answer comes", link.send(request).await).await.unwrap();
            assert_eq!(response.status(), status, "{method} {path}");
            let lengths: Vec<_> = response.headers().get_all("content-length").iter().collect();
            assert!(lengths.len() == 1 && (status == 502 || lengths[0] == "2"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn trailers_of_an_answer_arrive() {
    let app = App::with_sockets(|mut stream, _| async move {
        if read_head(&mut stream).await.is_empty() {
            return;
        }
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
                      2\r\nhi\r\n0\r\ngrpc-status: 0\r\n\r\n";
        write(&mut stream, answer).await;
        read_head(&mut stream).await;
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let response = link.get("/").await.unwrap();
    let body = soon("it ends", Received(response.into_body()).collect()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "hi");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length_and_the_connection_in_step() {
    let app = App::with_sockets(|mut stream, _| async move {
        loop {
            let head = read_head(&mut stream).await;
            let answer = match head.split(' ').next().unwrap_or_default() {
                "" => return,
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
                "GET" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\nETag: \"a\"\r\n\r\n",
                _ => "HTTP/1.1 204 No Content\r\n\r\n",
            };
            write(&mut stream, answer).await;
        }
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    for (method, status, length) in
        [("HEAD", 200, Some("5000")), ("GET", 304, Some("5000")), ("DELETE", 204, None)]
    {
        let request = Request::builder().method(method).uri("https://a/").body("").unwrap();
        let response = soon("an answer comes", link.send(request).await).await.unwrap();
        assert_eq!(response.status(), status);
        let sent = response.headers().get("content-length");
        assert_eq!(sent.map(|length| length.to_str().unwrap()), length, "{method}");
        assert_eq!(text(response.into_body()).await.unwrap(), "");
    }
    assert_eq!(app.accepted(), 2, "one connection served all of them");
}

#[tokio::test]
async fn one_warm_connection_is_used_again_and_again() {
    let app = App::hello().await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    for _ in 0..50 {
        assert_eq!(link.text("/").await.0, 200);
    }
    assert_eq!(app.accepted(), 2, "one for readiness, one for all requests");
}

/// An app that answers the first request of a connection and closes instead of answering the
/// second, as servers do whose keep-alive has run out.
async fn closing_app() -> App {
    App::with_sockets(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        if head.is_empty() {
            return;
        }
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        read_head(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn a_request_that_meets_a_closing_connection_is_not_sent_again() {
    let app = closing_app().await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    for (method, body) in [("GET", ""), ("DELETE", ""), ("POST", "an order")] {
        assert_eq!(link.text("/").await.0, 200);
        let request = Request::builder().method(method).uri("https://a/").body(body).unwrap();
        let response = soon("an answer comes", link.send(request).await).await.unwrap();
        assert_eq!(response.status(), 502, "{method}");
        assert_eq!(response.headers()["lambda-dispatch-error"], "app-connection");
    }
    assert_eq!(link.text("/").await.0, 200, "the instance goes on");
}

#[tokio::test]
async fn an_answer_that_is_cut_arrives_as_cut_and_nothing_else_suffers() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let (release, released) = watch::channel(false);
        let app = App::with_sockets(move |mut stream, _| {
            let mut released = released.clone();
            async move {
                let request = read_head(&mut stream).await;
                if request.starts_with("GET /cut") {
                    let begun = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n");
                    write(&mut stream, &begun).await;
                } else if !request.is_empty() {
                    write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
                    released.wait_for(|released| *released).await.unwrap();
                    write(&mut stream, "whole").await;
                    read_head(&mut stream).await;
                }
            }
        })
        .await;
        let mut stage = Stage::with(&app).await;
        let mut link = stage.attach().await;
        let other = link.get("/whole").await.unwrap();
        let cut = link.get("/cut").await.unwrap();
        let error = text(cut.into_body()).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{head}");
        release.send(true).unwrap();
        assert_eq!(text(other.into_body()).await.unwrap(), "whole");
    }
}

#[tokio::test]
async fn what_is_no_answer_becomes_a_502_that_says_what_it_is() {
    let closed = ("app-connection", "The app closed the connection before it answered.\n");
    let not_http = ("app-answer", "The app's answer is not HTTP; the extension's log says more.\n");
    let unasked = ("app-answer", "The app switched protocols otherwise than it was asked.\n");
    for (answer, (name, says)) in [
        ("", closed),
        ("HTTP/1.1 200 OK\r\nContent-Le", closed),
        ("garbage\r\n\r\n", not_http),
        ("HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", not_http),
        ("HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 0\r\n\r\n", not_http),
        ("HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n", not_http),
        ("HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nyes", not_http),
        ("HTTP/1.1 101 S\r\n\r\n", unasked),
    ] {
        let app = App::with_sockets(move |mut stream, _| async move {
            if !read_head(&mut stream).await.is_empty() {
                write(&mut stream, answer).await;
            }
        })
        .await;
        let mut stage = Stage::with(&app).await;
        let mut link = stage.attach().await;
        let response = link.get("/").await.unwrap();
        assert_eq!(response.status(), 502, "{answer:?}");
        assert_eq!(response.headers()["lambda-dispatch-error"], name, "{answer:?}");
        assert_eq!(text(response.into_body()).await.unwrap(), says, "{answer:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_apps_work_at_once() {
    let (seen, mut ends) = mpsc::channel(1);
    let app = App::with_sockets(move |mut stream, number| {
        let seen = seen.clone();
        async move {
            if number == 0 {
                return;
            }
            read_head(&mut stream).await;
            if number == 2 {
                write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nso far").await;
            }
            let mut rest = Vec::new();
            seen.send(stream.read_to_end(&mut rest).await.map(|_| number)).await.unwrap();
        }
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    // Before the answer, and within it.
    let (response, mut stream) = link.open(Request::get("https://a/").body(()).unwrap()).await;
    eventually("the app is asked", || app.accepted() == 2).await;
    stream.send_reset(Reason::CANCEL);
    drop(response);
    soon("the app's connection ends", ends.recv()).await.unwrap().ok();
    let response = link.get("/").await.unwrap();
    drop(response);
    soon("the app's connection ends", ends.recv()).await.unwrap().ok();
    app.until_alone().await;
}

#[tokio::test]
async fn an_upload_that_is_cut_is_cut_for_the_app_too() {
    let (seen, mut uploads) = mpsc::channel(1);
    let app = App::serving(move |request| {
        let seen = seen.clone();
        async move {
            let upload = request.into_body().collect().await.map(|body| body.to_bytes());
            seen.send(upload.is_err()).await.unwrap();
            Response::new(full("never seen"))
        }
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let (response, mut stream) = link.open(Request::post("https://a/").body(()).unwrap()).await;
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    eventually("the app is asked", || app.accepted() == 2).await;
    stream.send_reset(Reason::CANCEL);
    assert!(soon("the upload ends", uploads.recv()).await.unwrap(), "it looked whole");
    drop(response);
}

#[tokio::test]
async fn an_early_answer_passes_though_the_upload_goes_on() {
    let app = App::serving(|_| async {
        Response::builder().status(413).body(full("too large")).unwrap()
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let (response, mut stream) = link.open(Request::post("https://a/").body(()).unwrap()).await;
    stream.send_data(Bytes::from(vec![0; 60_000]), false).unwrap();
    let response = soon("an answer comes", response).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(text(response.into_body()).await.unwrap(), "too large");
    assert_eq!(link.text("/").await.0, 413, "the instance goes on");
}

#[tokio::test]
async fn a_compressed_stream_is_still_a_stream() {
    let (chunks, receiver) = mpsc::channel(1);
    let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(Some(receiver)));
    let app = App::serving(move |_| {
        let receiver = std::sync::Arc::clone(&receiver);
        async move {
            let body = Fed(receiver.lock().await.take().unwrap());
            let response = Response::builder().header("content-type", "text/plain");
            response.body(body.boxed()).unwrap()
        }
    })
    .await;
    let mut stage = Stage::with(&app).await;
    let mut link = stage.attach().await;
    let request = Request::get("https://a/").header("accept-encoding", "gzip").body("").unwrap();
    let response = link.send(request).await;
    chunks.send(Bytes::from_static(b"first")).await.unwrap();
    let response = soon("an answer comes", response).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "Accept-Encoding");
    let mut body = Received(response.into_body());
    let first = soon("the first chunk comes", body.frame()).await.unwrap().unwrap();
    assert!(first.into_data().unwrap().len() > 10, "before the second is made");
    chunks.send(Bytes::from_static(b"second")).await.unwrap();
    soon("the second chunk comes", body.frame()).await.unwrap().unwrap();
}

/// A body that is fed by hand.
struct Fed(mpsc::Receiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
