//! Stand-ins for the app: one that answers as told, one that is a bare socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::eventually;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// An app and who is connected to it.
pub(crate) struct App {
    pub(crate) port: u16,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    listening: tokio::task::JoinHandle<()>,
}

impl App {
    /// An app on hyper.
    pub(crate) async fn serving<F>(
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::with_sockets(move |stream, _| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let response = answer(request);
                    async { Ok::<_, Infallible>(response.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .half_close(false)
                    .serve_connection(TokioIo::new(stream), service);
                drop(connection.await);
            }
        })
        .await
    }

    /// An app that says hello.
    pub(crate) async fn hello() -> Self {
        Self::serving(
            |request| async move { Response::new(full(format!("hello {}", request.uri()))) },
        )
        .await
    }

    /// An app of bare sockets, which are numbered from 0.
    pub(crate) async fn with_sockets<F>(
        serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (now_open, all) = (Arc::clone(&open), Arc::clone(&accepted));
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                now_open.fetch_add(1, Ordering::SeqCst);
                let serving = serve(stream, all.fetch_add(1, Ordering::SeqCst));
                let open = Arc::clone(&now_open);
                tokio::spawn(async move {
                    serving.await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, open, accepted, listening }
    }

    /// Ends the app, and says which port it had.
    pub(crate) async fn stop_listening(self) -> u16 {
        self.listening.abort();
        assert!(self.listening.await.is_err());
        self.port
    }

    /// How many connections it has seen.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Waits until nobody is connected to it.
    pub(crate) async fn until_alone(&self) {
        eventually("the app has no connection", || self.open.load(Ordering::SeqCst) == 0).await;
    }
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// Reads a request's head, and gives it as text; empty if the peer closed.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(crate) async fn write(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}
