//! A stand-in for the original's extension, as the description of its wire has it: what it sends,
//! what it bears, and what makes it give its invoke up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dispatch_model::Time;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use io_tokio::clock::Clock;
use io_tokio::net::Io;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// A request that came on a channel. The channel is opened again when this is dropped.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: String,
    /// As the app sees them: of repeated lines the last.
    pub(crate) headers: HeaderMap,
    /// As it came, up to the empty line.
    pub(crate) head: String,
    first: Bytes,
    up: Option<RecvStream>,
    pub(crate) down: SendStream<Bytes>,
    _done: oneshot::Sender<()>,
}

impl Call {
    /// The rest of the request's body: as the original reads it, for which an empty frame is the
    /// end.
    pub(crate) async fn body(&mut self) -> Result<Vec<u8>, h2::Error> {
        let mut body = std::mem::take(&mut self.first).to_vec();
        let Some(up) = &mut self.up else { return Ok(body) };
        while let Some(piece) = up.data().await {
            let piece = piece?;
            if piece.is_empty() {
                assert!(up.is_end_stream(), "an empty frame within a body, which cuts it");
                break;
            }
            up.flow_control().release_capacity(piece.len()).unwrap();
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Writes bytes of the response as they are.
    pub(crate) async fn write(&mut self, bytes: impl Into<Bytes>, end: bool) {
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            self.down.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|cx| self.down.poll_capacity(cx)).await;
            let Some(Ok(room)) = room else { return };
            let piece = bytes.split_to(room.min(bytes.len()));
            if self.down.send_data(piece, false).is_err() {
                return;
            }
        }
        if end {
            self.down.send_data(Bytes::new(), true).ok();
        }
    }

    /// A whole response, as the original writes it.
    pub(crate) async fn respond(&mut self, body: &str) {
        let head =
            "HTTP/1.1 200 OK\r\nX-Lambda-Id: i\r\nX-Channel-Id: c\r\ncontent-type: text/plain";
        let length = body.len();
        self.write(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}"), true).await;
    }
}

/// How it is to behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Without a request for so long it asks to leave; the original's is 250 ms.
    pub(crate) idle: Duration,
    /// When it asks to leave in any case: 15 s before this.
    pub(crate) deadline: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { idle: Duration::from_secs(600), deadline: Duration::from_secs(900) }
    }
}

/// One invoke, on a connection of its own.
pub(crate) struct Original {
    pub(crate) instance: String,
    pub(crate) authority: String,
    pub(crate) channels: usize,
    pub(crate) behaviour: Behaviour,
    pub(crate) calls: mpsc::UnboundedSender<Call>,
}

/// What an invoke's channels share.
struct Invoke {
    original: Original,
    requests: SendRequest<Bytes>,
    leaves: AtomicBool,
    in_flight: AtomicUsize,
    served: AtomicUsize,
    active: std::sync::Mutex<Option<Time>>,
    clock: Clock,
}

impl Original {
    /// Serves until every channel has ended, as the original does; returns how many requests it
    /// has taken.
    pub(crate) async fn run<S: Io>(self, io: S) -> usize {
        let (requests, connection) =
            h2::client::Builder::new().handshake::<_, Bytes>(io).await.unwrap();
        let connection = tokio::spawn(connection);
        let channels = self.channels;
        let invoke = Arc::new(Invoke {
            original: self,
            requests,
            leaves: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            active: std::sync::Mutex::new(None),
            clock: Clock::start(),
        });
        let pings = tokio::spawn(Arc::clone(&invoke).ping());
        let tasks: Vec<_> = (0..channels)
            .map(|number| tokio::spawn(Arc::clone(&invoke).channel(format!("channel-{number}"))))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        pings.abort();
        connection.abort();
        invoke.served.load(Ordering::SeqCst)
    }

    pub(crate) async fn over_tcp(self) -> usize {
        let stream = TcpStream::connect(&self.authority).await.unwrap();
        stream.set_nodelay(true).unwrap();
        self.run(stream).await
    }
}

impl Invoke {
    /// One channel, opened again and again.
    async fn channel(self: Arc<Self>, id: String) {
        while !self.leaves() {
            let Some((mut up, mut down)) = self.post(&id).await else { break };
            *self.active.lock().unwrap() = Some(self.clock.now());
            let Some((head, first)) = read_head(&mut up).await else { break };
            let Some((method, target, headers)) = parse(&head) else {
                // Dropped without an answer.
                down.send_data(Bytes::new(), true).unwrap();
                continue;
            };
            if target == "/_lambda_dispatch/goaway" {
                down.send_data(Bytes::new(), true).unwrap();
                break;
            }
            // Where the original dies.
            let _: http::Uri = format!("http://127.0.0.1:3001{target}").parse().unwrap();
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            self.served.fetch_add(1, Ordering::SeqCst);
            *self.active.lock().unwrap() = Some(self.clock.now());
            let (done, is_done) = oneshot::channel();
            let up = (!up.is_end_stream()).then_some(up);
            let head = String::from_utf8_lossy(&head).into_owned();
            let call = Call { method, target, headers, head, first, up, down, _done: done };
            let sent = self.original.calls.send(call);
            drop(is_done.await);
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            if sent.is_err() {
                break;
            }
        }
        // One channel that ends, ends all; those that wait are left waiting.
        self.leaves.store(true, Ordering::SeqCst);
    }

    async fn post(&self, channel: &str) -> Option<(RecvStream, SendStream<Bytes>)> {
        let Original { instance, authority, .. } = &self.original;
        let uri = format!("http://{authority}/api/chunked/request/{instance}/{channel}");
        let host = authority.split(':').next().unwrap();
        let request = Request::post(uri)
            .header("host", host)
            .header("date", "Wed, 25 Nov 2026 10:00:00 GMT")
            .header("content-type", "application/octet-stream")
            .header("x-pool-id", "default")
            .header("x-lambda-id", instance)
            .header("x-channel-id", channel)
            .body(())
            .unwrap();
        let mut requests = self.requests.clone().ready().await.ok()?;
        let (response, down) = requests.send_request(request, false).ok()?;
        let response = response.await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        Some((response.into_body(), down))
    }

    /// A GET with an open body; gives the status when the whole answer is there.
    async fn get(&self, what: &str) -> Option<StatusCode> {
        let Original { instance, authority, .. } = &self.original;
        let request = Request::get(format!("http://{authority}/api/chunked/{what}/{instance}"))
            .header("host", authority)
            .header("x-pool-id", "default")
            .header("x-lambda-id", instance)
            .body(())
            .unwrap();
        let mut requests = self.requests.clone().ready().await.ok()?;
        let (response, mut open) = requests.send_request(request, false).ok()?;
        let response = response.await.ok()?;
        open.send_data(Bytes::new(), true).ok();
        let status = response.status();
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.data().await {}
        Some(status)
    }

    async fn ping(self: Arc<Self>) {
        let started = self.clock.now();
        let mut last_ping = started;
        while !self.leaves() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Behaviour { idle, deadline } = self.original.behaviour;
            let active = *self.active.lock().unwrap();
            let is_idle = active.is_some_and(|at| self.clock.now().saturating_since(at) > idle)
                && self.in_flight.load(Ordering::SeqCst) == 0;
            if is_idle
                || self.clock.now().saturating_since(started) + Duration::from_secs(15) > deadline
            {
                self.get("close").await;
                break;
            }
            if active.is_some()
                && self.clock.now().saturating_since(last_ping) > Duration::from_secs(5)
            {
                last_ping = self.clock.now();
                if self.get("ping").await != Some(StatusCode::OK) {
                    break;
                }
            }
        }
        self.leaves.store(true, Ordering::SeqCst);
    }

    fn leaves(&self) -> bool {
        self.leaves.load(Ordering::SeqCst)
    }
}

/// Reads frame by frame until an empty line; `None` if the stream ends before.
async fn read_head(up: &mut RecvStream) -> Option<(Bytes, Bytes)> {
    let mut bytes = BytesMut::new();
    loop {
        let piece = up.data().await?.ok()?;
        up.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = bytes.split_to(end + 4).freeze();
            return Some((head, bytes.freeze()));
        }
    }
}

/// As the original parses: room for 64 lines, the last of a name wins.
fn parse(head: &[u8]) -> Option<(Method, String, HeaderMap)> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut lines);
    request.parse(head).ok()?.is_complete().then_some(())?;
    let mut headers = HeaderMap::new();
    for line in &*request.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.insert(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some((request.method?.parse().ok()?, request.path?.to_owned(), headers))
}
