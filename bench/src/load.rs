//! A load generator of our own, for what `wrk` cannot do: bodies both ways at once, and a fixed
//! rate.
//!
//! At a fixed rate, each request has a moment at which it is *due*, whatever became of those before
//! it, and its latency is counted from that moment, also when its connection was busy with an
//! earlier one. Without that, a server that stands still for a second would be asked nothing in
//! that second and look fast ("coordinated omission").

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use bytes::{Buf, BytesMut};
use dispatch_model::Time;
use dispatch_model::time::nanos;
use hdrhistogram::Histogram;
use io_tokio::clock::Clock;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http1::{Body, HEADERS_MAX};

/// What to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Whom to send it to
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The path that is asked for
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// How many bytes to POST; a GET if 0
    #[arg(long, default_value_t = 0)]
    pub(crate) body: u64,
    /// How many connections, with one request at a time each
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,
    /// How long to go on
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Requests per second over all connections; as many as go if not given
    #[arg(long)]
    pub(crate) rate: Option<f64>,
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Answered with 200.
    pub(crate) requests: u64,
    /// Answered otherwise or not at all.
    pub(crate) errors: u64,
    /// Bytes of bodies in both directions.
    pub(crate) bytes: u64,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Latencies in µs, where they are known.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
}

/// Sends `load` and returns when the last request has ended. Must run in a `LocalSet`.
pub(crate) async fn run(load: Load) -> anyhow::Result<Measured> {
    let load = Rc::new(load);
    let clock = Clock::start();
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        let connection = Connection::open(&load).await;
        let address = load.address;
        connections.push(connection.with_context(|| format!("cannot connect to {address}"))?);
    }
    let start = clock.now();
    let mut clients = JoinSet::new();
    match load.rate {
        None => {
            let end = start + Duration::from_secs_f64(load.seconds);
            for connection in connections {
                let client = Client { connection, load: Rc::clone(&load), clock: clock.clone() };
                clients.spawn_local(client.until(end));
            }
        }
        Some(rate) => {
            let mut queues = Vec::new();
            let (late, give_up) = watch::channel(());
            for connection in connections {
                let (sender, due) = mpsc::unbounded_channel();
                queues.push(sender);
                let client = Client { connection, load: Rc::clone(&load), clock: clock.clone() };
                clients.spawn_local(client.when_due(due, give_up.clone()));
            }
            let (clock, seconds) = (clock.clone(), load.seconds);
            tokio::task::spawn_blocking(move || schedule(&clock, start, rate, seconds, &queues))
                .await?;
            tokio::task::spawn_local(async move {
                tokio::time::sleep(GRACE).await;
                drop(late);
            });
        }
    }
    let mut tally = Tally::new();
    while let Some(client) = clients.join_next().await {
        tally.add(&client?);
    }
    Ok(tally.measured(clock.now().saturating_since(start)))
}

/// Hands each request's moment to a connection when it has come, in turn. For a thread of its own:
/// tokio's timers are a millisecond coarse, which is a multiple of what is measured here.
fn schedule(
    clock: &Clock,
    start: Time,
    rate: f64,
    seconds: f64,
    queues: &[mpsc::UnboundedSender<Time>],
) {
    let due = |number: u32| start + Duration::from_secs_f64(f64::from(number) / rate);
    let end = start + Duration::from_secs_f64(seconds);
    let moments = (0..).map(due).take_while(|due| *due < end);
    for (due, queue) in moments.zip(queues.iter().cycle()) {
        while clock.now() < due {
            std::thread::sleep(due.saturating_since(clock.now()));
        }
        if queue.send(due).is_err() {
            // Whoever took the load away does not want the rest of it.
            return;
        }
    }
}

/// One connection and what is sent over it.
struct Client {
    connection: Connection,
    load: Rc<Load>,
    clock: Clock,
}

impl Client {
    /// One request at least, however late it comes to its turn.
    async fn until(mut self, end: Time) -> Tally {
        let mut tally = Tally::new();
        loop {
            let start = self.clock.now();
            self.exchange(start, &mut tally).await;
            if self.clock.now() >= end {
                return tally;
            }
        }
    }

    async fn when_due(
        mut self,
        mut queue: mpsc::UnboundedReceiver<Time>,
        mut give_up: watch::Receiver<()>,
    ) -> Tally {
        let mut tally = Tally::new();
        while let Some(due) = queue.recv().await {
            let over = tokio::select! {
                biased;
                () = self.exchange(due, &mut tally) => false,
                _ = give_up.changed() => true,
            };
            if over {
                // What was never answered took at least this long.
                tally.failed(self.clock.now().saturating_since(due));
            }
        }
        tally
    }

    /// One request, which counts from `start`.
    async fn exchange(&mut self, start: Time, tally: &mut Tally) {
        let done = timeout(PATIENCE, self.connection.exchange(self.load.body)).await;
        let took = self.clock.now().saturating_since(start);
        match done {
            Ok(Ok(bytes)) => tally.answered(took, bytes + self.load.body),
            Ok(Err(_)) | Err(_) => {
                tally.failed(took);
                match Connection::open(&self.load).await {
                    Ok(connection) => self.connection = connection,
                    Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
                }
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    buffer: BytesMut,
}

impl Connection {
    async fn open(load: &Load) -> io::Result<Self> {
        let stream = TcpStream::connect(load.address).await?;
        stream.set_nodelay(true)?;
        let request = match load.body {
            0 => format!("GET {} HTTP/1.1\r\nHost: bench.test\r\n\r\n", load.path),
            length => format!(
                "POST {} HTTP/1.1\r\nHost: bench.test\r\nContent-Length: {length}\r\n\r\n",
                load.path
            ),
        };
        let buffer = BytesMut::with_capacity(BUFFER_BYTES);
        Ok(Self { stream, head: request.into_bytes(), buffer })
    }

    /// Sends one request and reads its answer at the same time. Says how long the answer's body is.
    async fn exchange(&mut self, body: u64) -> io::Result<u64> {
        let (mut reader, mut writer) = self.stream.split();
        let (head, buffer) = (&self.head, &mut self.buffer);
        let send = async {
            writer.write_all(head).await?;
            let mut left = body;
            while left > 0 {
                let part = CONTENT.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                writer.write_all(&CONTENT[..part]).await?;
                left -= part as u64;
            }
            Ok(())
        };
        let receive = async {
            let mut body = loop {
                if let Some((body, length)) = response(buffer)? {
                    buffer.advance(length);
                    break body;
                }
                more(&mut reader, buffer).await?;
            };
            let mut content = 0;
            loop {
                let taken = body.take(buffer)?;
                buffer.advance(taken.bytes);
                content += taken.content;
                if body.is_over() {
                    return Ok(content);
                }
                more(&mut reader, buffer).await?;
            }
        };
        tokio::try_join!(send, receive).map(|((), content)| content)
    }
}

async fn more(reader: &mut (impl AsyncReadExt + Unpin), buffer: &mut BytesMut) -> io::Result<()> {
    if buffer.is_empty() {
        buffer.clear();
    }
    buffer.reserve(BUFFER_BYTES);
    match reader.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// What follows a response's head, and the head's length, once it is complete.
fn response(bytes: &[u8]) -> io::Result<Option<(Body, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(io::Error::other)?
    else {
        return Ok(None);
    };
    match response.code {
        Some(200) => Ok(Some((Body::after(response.headers)?, length))),
        code => Err(io::Error::other(format!("the status is {code:?}"))),
    }
}

/// How it went so far.
pub(crate) struct Tally {
    latencies: Histogram<u64>,
    requests: u64,
    errors: u64,
    bytes: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1_000, 600_000_000_000, 3);
        Self {
            latencies: latencies.expect("the bounds are in order"),
            requests: 0,
            errors: 0,
            bytes: 0,
        }
    }

    pub(crate) fn answered(&mut self, took: Duration, bytes: u64) {
        self.latencies.saturating_record(nanos(took));
        self.requests += 1;
        self.bytes += bytes;
    }

    /// A failure is no reason to look fast.
    fn failed(&mut self, took: Duration) {
        self.latencies.saturating_record(nanos(took));
        self.errors += 1;
    }

    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the bounds are the same");
        self.requests += other.requests;
        self.errors += other.errors;
        self.bytes += other.bytes;
    }

    pub(crate) fn measured(&self, took: Duration) -> Measured {
        let us = |nanos: u64| Some(Duration::from_nanos(nanos).as_secs_f64() * 1e6);
        Measured {
            requests: self.requests,
            errors: self.errors,
            bytes: self.bytes,
            seconds: took.as_secs_f64(),
            p50_us: us(self.latencies.value_at_quantile(0.5)),
            p99_us: us(self.latencies.value_at_quantile(0.99)),
            p999_us: us(self.latencies.value_at_quantile(0.999)),
            max_us: us(self.latencies.max()),
        }
    }
}

static CONTENT: [u8; 64 << 10] = [b'x'; 64 << 10];
const BUFFER_BYTES: usize = 64 << 10;
/// One exchange may take so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after the last due moment answers are still waited for.
const GRACE: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;

    /// Answers at once, but stands still for half a second once, at its twentieth request.
    async fn stalling(listener: TcpListener) {
        let (served, until) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
        while let Ok((mut stream, _)) = listener.accept().await {
            let (served, until) = (Rc::clone(&served), Rc::clone(&until));
            tokio::task::spawn_local(async move {
                let mut bytes = [0; 4_096];
                while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {
                    served.set(served.get() + 1);
                    if served.get() == 20 {
                        until.set(Some(Clock::start()));
                    }
                    let stall: Option<Clock> = until.take();
                    until.set(stall.clone());
                    if let Some(stall) = stall {
                        stall.sleep_until(Time::ZERO + STALL).await;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    async fn against_a_stall(rate: f64) -> Measured {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(stalling(listener));
        let path = "/".to_owned();
        run(Load { address, path, body: 0, connections: 2, seconds: 2.0, rate: Some(rate) })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn at_a_fixed_rate_a_stall_is_paid_by_all_that_were_due_in_it() {
        let measured = LocalSet::new().run_until(against_a_stall(200.0)).await;
        assert_eq!((measured.requests, measured.errors), (400, 0), "whatever the server does");
        // A hundred of four hundred were due while it stood still, evenly spread over the stall:
        // the slowest hundredth of all waited for nine tenths of it or longer.
        let p99 = Duration::from_secs_f64(measured.p99_us.unwrap() / 1e6);
        assert!(p99 >= STALL * 9 / 10, "{measured:?}");
    }

    #[tokio::test]
    async fn each_client_of_a_crowd_sends_a_request_however_short_the_load_is() {
        let crowd = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::task::spawn_local(stalling(listener));
            let path = "/".to_owned();
            run(Load { address, path, body: 0, connections: 200, seconds: 1e-9, rate: None }).await
        };
        let measured = LocalSet::new().run_until(crowd).await.unwrap();
        assert_eq!((measured.requests, measured.errors), (200, 0));
    }

    const STALL: Duration = Duration::from_millis(500);
}
