//! A stand-in for Lambda's Runtime and Extensions APIs, of one environment.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::stage::soon;

/// What an invoke was answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request_id: String,
    pub(crate) failed: bool,
    pub(crate) json: serde_json::Value,
}

impl Answer {
    pub(crate) fn reason(&self) -> &str {
        self.json["ExitReason"].as_str().unwrap_or("none")
    }
}

pub(crate) struct Lambda {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    answers: mpsc::Receiver<Answer>,
    invokes: mpsc::Sender<(Bytes, u64)>,
    polled: mpsc::Receiver<()>,
    count: u64,
}

struct Desk {
    waiting: Mutex<mpsc::Receiver<(Bytes, u64)>>,
    polled: mpsc::Sender<()>,
    answered: mpsc::Sender<Answer>,
    shutdown: Notify,
    handed_out: Mutex<u64>,
}

impl Lambda {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (invokes, waiting) = mpsc::channel(8);
        let (answered, answers) = mpsc::channel(8);
        let (poll, polled) = mpsc::channel(64);
        let desk = Arc::new(Desk {
            waiting: Mutex::new(waiting),
            polled: poll,
            answered,
            shutdown: Notify::new(),
            handed_out: Mutex::new(0),
        });
        let serving = Arc::clone(&desk);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let desk = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&desk).handle(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { address, desk, answers, invokes, polled, count: 0 }
    }

    /// Waits until the environment asks for an invoke, and so may be frozen.
    pub(crate) async fn until_polled(&mut self) {
        soon("the extension asks for an invoke", self.polled.recv()).await.unwrap();
    }

    /// Hands out an invoke.
    pub(crate) async fn invoke(&mut self, event: Vec<u8>, left: Duration) {
        self.count += 1;
        let deadline = (Clock::start().wall() + left).duration_since(UNIX_EPOCH).unwrap();
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap();
        self.invokes.send((Bytes::from(event), deadline_ms)).await.unwrap();
    }

    /// The answer to the last invoke.
    pub(crate) async fn answer(&mut self) -> Answer {
        let answer = soon("the invoke is answered", self.answers.recv()).await.unwrap();
        assert_eq!(answer.request_id, format!("request-{}", self.count));
        answer
    }

    pub(crate) fn shut_down(&self) {
        self.desk.shutdown.notify_one();
    }
}

impl Desk {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let response = Response::builder();
        let response = match path.as_str() {
            "/2020-01-01/extension/register" => {
                let name = request.headers()["lambda-extension-name"].to_str().unwrap();
                assert!(name.starts_with("lambda-dispatch"), "{name}");
                response.header("lambda-extension-identifier", "x-1").body(Full::default())
            }
            "/2020-01-01/extension/event/next" => {
                assert_eq!(request.headers()["lambda-extension-identifier"], "x-1");
                self.shutdown.notified().await;
                let event =
                    r#"{"eventType":"SHUTDOWN","shutdownReason":"SPINDOWN","deadlineMs":0}"#;
                response.body(Full::from(event))
            }
            "/2018-06-01/runtime/invocation/next" => {
                self.polled.send(()).await.unwrap();
                let mut waiting = self.waiting.lock().await;
                match waiting.recv().await {
                    Some((event, deadline_ms)) => {
                        let mut count = self.handed_out.lock().await;
                        *count += 1;
                        response
                            .header("lambda-runtime-aws-request-id", format!("request-{count}"))
                            .header("lambda-runtime-deadline-ms", deadline_ms)
                            .body(Full::from(event))
                    }
                    None => std::future::pending().await,
                }
            }
            _ => {
                let words: Vec<_> = path.split('/').collect();
                let json = request.into_body().collect().await.unwrap().to_bytes();
                if let ["", "2018-06-01", "runtime", "invocation", id, what] = words.as_slice() {
                    let answer = Answer {
                        request_id: (*id).to_owned(),
                        failed: *what == "error",
                        json: serde_json::from_slice(&json).unwrap(),
                    };
                    self.answered.send(answer).await.unwrap();
                }
                response.status(StatusCode::ACCEPTED).body(Full::default())
            }
        };
        Ok(response.unwrap())
    }
}
