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
    invokes: mpsc::Sender<(Bytes, Option<String>)>,
    polled: mpsc::Receiver<()>,
    stored: mpsc::Receiver<()>,
    failures: mpsc::Receiver<(String, serde_json::Value)>,
    count: u64,
}

struct Desk {
    waiting: Mutex<mpsc::Receiver<(Bytes, Option<String>)>>,
    polled: mpsc::Sender<()>,
    stored: mpsc::Sender<()>,
    failed: mpsc::Sender<(String, serde_json::Value)>,
    restore: Notify,
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
        let (store, stored) = mpsc::channel(8);
        let (failed, failures) = mpsc::channel(8);
        let desk = Arc::new(Desk {
            waiting: Mutex::new(waiting),
            polled: poll,
            stored: store,
            failed,
            restore: Notify::new(),
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
        Self { address, desk, answers, invokes, polled, stored, failures, count: 0 }
    }

    /// Waits until the environment asks for an invoke, and so may be frozen.
    pub(crate) async fn until_polled(&mut self) {
        soon("the extension asks for an invoke", self.polled.recv()).await.unwrap();
    }

    /// Hands out an invoke.
    pub(crate) async fn invoke(&mut self, event: Vec<u8>, left: Duration) {
        let deadline = (Clock::start().wall() + left).duration_since(UNIX_EPOCH).unwrap();
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap();
        self.invoke_until(event, Some(&deadline_ms.to_string())).await;
    }

    /// Hands out an invoke with this for a deadline, whatever it means.
    pub(crate) async fn invoke_until(&mut self, event: Vec<u8>, deadline_ms: Option<&str>) {
        self.count += 1;
        let deadline_ms = deadline_ms.map(str::to_owned);
        self.invokes.send((Bytes::from(event), deadline_ms)).await.unwrap();
    }

    /// Waits until the environment may be stored as a snapshot.
    pub(crate) async fn until_stored(&mut self) {
        soon("the extension waits for a restore", self.stored.recv()).await.unwrap();
    }

    /// Goes on in a copy of the environment.
    pub(crate) fn restore(&self) {
        self.desk.restore.notify_one();
    }

    /// The next failure that is no invoke's: the path that it was posted to, and what it says.
    pub(crate) async fn failure(&mut self) -> (String, serde_json::Value) {
        soon("a failure is reported", self.failures.recv()).await.unwrap()
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
                        let mut response = response
                            .header("lambda-runtime-aws-request-id", format!("request-{count}"));
                        if let Some(deadline_ms) = deadline_ms {
                            response = response.header("lambda-runtime-deadline-ms", deadline_ms);
                        }
                        response.body(Full::from(event))
                    }
                    None => std::future::pending().await,
                }
            }
            "/2018-06-01/runtime/restore/next" => {
                self.stored.send(()).await.unwrap();
                self.restore.notified().await;
                response.body(Full::default())
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
                } else {
                    let json = serde_json::from_slice(&json).unwrap();
                    self.failed.send((path, json)).await.unwrap();
                }
                response.status(StatusCode::ACCEPTED).body(Full::default())
            }
        };
        Ok(response.unwrap())
    }
}
