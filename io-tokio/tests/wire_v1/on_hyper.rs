//! An extension on hyper's HTTP/2 client, which is what the original's is made of: what that
//! library makes of our answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::stage::{Plan, Stage, read_until, soon};

/// A body that is open as long as its sender lives.
struct Open(mpsc::Receiver<Bytes>);

impl Body for Open {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Asks with an open body; gives the answer and what keeps the body open.
async fn ask(
    hyper: &mut SendRequest<Open>,
    method: &str,
    path: &str,
    id: &str,
) -> (http::Response<hyper::body::Incoming>, mpsc::Sender<Bytes>) {
    let (sender, body) = mpsc::channel(1);
    let request = Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:5003{path}"))
        .header("host", "127.0.0.1")
        .header("x-lambda-id", id)
        .body(Open(body))
        .unwrap();
    (soon("an answer comes", hyper.send_request(request)).await.unwrap(), sender)
}

/// Asks for something whose answer has no body, and ends the request after it.
async fn status(hyper: &mut SendRequest<Open>, method: &str, path: &str, id: &str) -> StatusCode {
    let (response, open) = ask(hyper, method, path, id).await;
    let (parts, body) = response.into_parts();
    drop(open);
    let rest = soon("the answer ends", body.collect()).await.unwrap();
    assert!(rest.to_bytes().is_empty());
    parts.status
}

#[tokio::test]
async fn an_invoke_runs_from_its_first_channel_to_its_release() {
    let mut stage = Stage::set(Plan { by_hand: true, slots: 2, ..Plan::default() }).await;
    let mut client =
        stage.client(b"POST /a HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello").await;
    let invoke = soon("the router invokes", stage.by_hand.recv()).await.unwrap();
    let id = invoke.id();
    let stream = TcpStream::connect(stage.control).await.unwrap();
    let (mut hyper, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let [first, second] = [1, 2].map(|number| format!("/api/chunked/request/{id}/c{number}"));

    let (response, up) = ask(&mut hyper, "POST", &first, id).await;
    assert_eq!(response.status(), 200);
    let request = soon("the request comes", response.into_body().collect()).await.unwrap();
    let request = String::from_utf8(request.to_bytes().to_vec()).unwrap();
    assert!(request.starts_with("POST /a HTTP/1.1\r\nhost: app\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nhello"), "{request}");
    let (waiting, waiting_up) = ask(&mut hyper, "POST", &second, id).await;
    let ping = format!("/api/chunked/ping/{id}");
    assert_eq!(status(&mut hyper, "GET", &ping, id).await, 200);

    for piece in ["HTTP/1.1 200 OK\r\ncontent-", "length: 7\r\n\r\nwel", "come"] {
        up.send(piece.into()).await.unwrap();
    }
    drop(up);
    read_until(&mut client, "welcome").await;
    let (again, again_up) = ask(&mut hyper, "POST", &first, id).await;
    assert_eq!(status(&mut hyper, "GET", &format!("/api/chunked/close/{id}"), id).await, 200);
    for (response, up) in [(waiting, waiting_up), (again, again_up)] {
        let order = soon("it is released", response.into_body().collect()).await.unwrap();
        assert!(order.to_bytes().starts_with(b"GET /_lambda_dispatch/goaway HTTP/1.1\r\n"));
        drop(up);
    }
    assert_eq!(status(&mut hyper, "POST", &first, id).await, 409);
    assert_eq!(status(&mut hyper, "GET", &ping, id).await, 409);
    assert!(hyper.is_ready(), "nothing of that has harmed the connection");
}
