use std::future::poll_fn;
use std::io;
use std::pin::pin;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

/// Hands the app's end of each connection to the test.
#[derive(Clone)]
struct Dialler(UnboundedSender<DuplexStream>);

impl Connector for Dialler {
    type Io = DuplexStream;

    async fn connect(&self, _: &str, _: u16) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(4096);
        self.0.send(far).map_err(io::Error::other)?;
        Ok(near)
    }
}

fn dialler() -> (Http1<Dialler>, UnboundedReceiver<DuplexStream>) {
    let (dialler, dialled) = unbounded_channel();
    (Http1::new(Dialler(dialler), 80, Clock::start(), mpsc::channel(1).0), dialled)
}

/// Sends a request: the head of the answer, and the line that its body comes on.
async fn ask(
    http1: &Http1<Dialler>,
    headers: &[(&str, &str)],
) -> (Response<Incoming>, Line<DuplexStream>) {
    let line = Line::default();
    let mut request = Request::get("/").header(header::HOST, "app");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let interims = Interims::default();
    let response = {
        let mut sent = pin!(http1.send(&line, head, RequestBody::EMPTY, &interims));
        poll_fn(|cx| line.poll_beside(sent.as_mut(), cx)).await.unwrap()
    };
    (response, line)
}

/// Sends a request that the app answers with "ok", and gives the connection back.
async fn exchange(http1: &Http1<Dialler>) {
    let (response, line) = ask(http1, &[]).await;
    let body = {
        let mut body = pin!(response.collect());
        poll_fn(|cx| line.poll_beside(body.as_mut(), cx)).await.unwrap().to_bytes()
    };
    assert_eq!(body, "ok");
    http1.give_back(line);
}

/// Reads a request of the connection and answers it.
async fn answer(app: &mut DuplexStream, answer: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(app.read_buf(&mut request).await.unwrap(), 0, "no request came");
    }
    app.write_all(answer.as_bytes()).await.unwrap();
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One exchange on a new connection, whose other end is returned.
async fn begin(
    http1: &Http1<Dialler>,
    dialled: &mut UnboundedReceiver<DuplexStream>,
) -> DuplexStream {
    let app = async {
        let mut app = dialled.recv().await.unwrap();
        answer(&mut app, OK).await;
        app
    };
    tokio::join!(exchange(http1), app).1
}

#[tokio::test]
async fn a_connection_that_has_rested_carries_requests_as_before() {
    let (http1, mut dialled) = dialler();
    assert!(!http1.rest(), "there is no connection yet");
    let mut app = begin(&http1, &mut dialled).await;
    for _ in 0..3 {
        assert!(http1.rest());
        assert!(!http1.rest(), "it rests already");
        tokio::join!(exchange(&http1), answer(&mut app, OK));
        tokio::join!(exchange(&http1), answer(&mut app, OK));
    }
    assert!(dialled.is_empty(), "one connection carried all");
}

#[tokio::test]
async fn what_an_app_closes_while_it_rests_carries_nothing_more_and_no_request_is_lost() {
    let (http1, mut dialled) = dialler();
    let first = begin(&http1, &mut dialled).await;
    assert!(http1.rest());
    drop(first);
    begin(&http1, &mut dialled).await;
}

#[tokio::test]
async fn a_connection_that_was_used_or_has_rested_can_switch_protocols() {
    for has_rested in [false, true] {
        let (http1, mut dialled) = dialler();
        let mut app = begin(&http1, &mut dialled).await;
        assert_eq!(has_rested && http1.rest(), has_rested);
        let switched = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello";
        let wish = [("connection", "upgrade"), ("upgrade", "echo")];
        let ((mut response, line), ()) =
            tokio::join!(ask(&http1, &wish), answer(&mut app, switched));
        assert_eq!(response.status(), 101);
        let mut taken = pin!(hyper::upgrade::on(&mut response));
        let taken = poll_fn(|cx| line.poll_beside(taken.as_mut(), cx)).await.unwrap();
        http1.give_back(line);
        let mut io = TokioIo::new(taken);
        let mut word = [0; 5];
        io.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"hello");
        io.write_all(b"there").await.unwrap();
        app.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"there");
        assert!(!http1.rest(), "it carries no requests any more");
    }
}
