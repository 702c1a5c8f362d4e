//! The router and the extension on one thread, with pipes between all: what `bench/instructions`
//! runs under callgrind.
//!
//! ```text
//! request_path small 1000     # GET, 13 bytes come back
//! request_path h2 1000        # the same over HTTP/2, ten at once on each connection
//! request_path down 100       # GET, 100 KiB come back
//! request_path up 100         # POST of 100 KiB
//! ```
//!
//! There is no socket, no second thread and no clock that moves by itself, so that a run takes the
//! same instructions each time. What is left out is the kernel, TLS, the access log's line and the
//! metrics' page; the flight recorder is in.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use dispatch_model::{Config, Limits};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::edge::EdgeSettings;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::net::{Connector, Listener};
use io_tokio::observe::Blind;
use io_tokio::recorder::{Recorder, RecorderSettings};
use io_tokio::routes::Routes;
use io_tokio::running::{Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use lambda_dispatch_extension::network::Network;
use lambda_dispatch_extension::settings::Settings;
use mimalloc::MiMalloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// As in the programs.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [load, count] = arguments.as_slice() else {
        return Err("usage: request_path small|h2|down|up REQUESTS".into());
    };
    let (load, h2) = (Load::named(load)?, load == "h2");
    let count = count.parse()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?
        .block_on(run(load, h2, count))
}

/// What a client sends and the app answers.
#[derive(Clone, Debug)]
struct Load {
    request: Arc<[u8]>,
    response: Arc<[u8]>,
}

impl Load {
    fn named(name: &str) -> Result<Self, Failure> {
        let body = vec![b'x'; 100 << 10];
        let (method, up, down) = match name {
            "small" | "h2" => ("GET", &[][..], &b"Hello, world!"[..]),
            "down" => ("GET", &[][..], body.as_slice()),
            "up" => ("POST", body.as_slice(), &b"Hello, world!"[..]),
            other => return Err(format!("there is no load {other}").into()),
        };
        let length =
            if up.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", up.len()) };
        let head = format!(
            "{method} /orders/4711?view=full HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\n\
             Accept: */*\r\nCookie: session=0123456789abcdef\r\nX-Forwarded-For: 203.0.113.9\r\n\
             X-Forwarded-Proto: https\r\n{length}\r\n"
        );
        let request = [head.as_bytes(), up].concat().into();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n\r\n",
            down.len()
        );
        Ok(Self { request, response: [head.as_bytes(), down].concat().into() })
    }
}

async fn run(load: Load, h2: bool, count: u32) -> Result<(), Failure> {
    let (clients, to_clients) = Door::new();
    let (instances, to_instances) = Door::new();
    let (invokes, invoked) = mpsc::unbounded_channel();
    let limits = Limits { instances_min: 1, instances_max: 1, slots: 100, ..Limits::default() };
    let recorder = Recorder::new(&RecorderSettings { ring: 8 << 20, file: None })?;
    let _router = Running::start(Parts {
        clients: vec![(clients, None)],
        instances: vec![(instances, None)],
        wire_v1: None,
        clock: Clock::start(),
        pools: vec![PoolParts {
            config: Config::new(limits)?,
            settings: PoolSettings {
                name: "default".to_owned(),
                function: "bench".to_owned(),
                callback_url: format!("http://127.0.0.1:{ROUTER_PORT}"),
                identity: None,
                seed: 1,
                chance: Chance::System,
            },
            invoker: Arc::new(Lambda(invokes)),
            access: Arc::new(Blind),
            observer: recorder,
        }],
        routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
        edge: EdgeSettings::default(),
        access: Arc::new(Blind),
    });
    let network =
        Pipes { router: to_instances, invoked: Arc::new(Mutex::new(invoked)), load: load.clone() };
    let settings = Settings::read(|name| match name {
        "AWS_LAMBDA_RUNTIME_API" => Some(format!("127.0.0.1:{API_PORT}")),
        "LAMBDA_DISPATCH_ALLOW_INSECURE" => Some("true".to_owned()),
        "LAMBDA_DISPATCH_PORT" => Some(APP_PORT.to_string()),
        _ => None,
    })?;
    let extension = lambda_dispatch_extension::run(
        settings,
        Network::same(network),
        Clock::start(),
        std::future::pending(),
    );
    tokio::spawn(extension);

    let mut crowd = JoinSet::new();
    for _ in 0..CLIENTS {
        let stream = to_clients.connect().await?;
        if h2 {
            crowd.spawn(h2_client(stream, count / CLIENTS));
        } else {
            crowd.spawn(client(stream, load.clone(), count / CLIENTS));
        }
    }
    while let Some(client) = crowd.join_next().await {
        client??;
    }
    Ok(())
}

/// Asks and waits for the answer, again and again.
async fn client(mut stream: DuplexStream, load: Load, count: u32) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(2 * PIPE_BYTES);
    for _ in 0..count {
        stream.write_all(&load.request).await?;
        buffer.clear();
        let head = until_head_ends(&mut stream, &mut buffer).await?;
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
        let body = length(&buffer[..head]);
        rest(&mut stream, buffer.len() - head, body).await?;
    }
    Ok(())
}

/// Asks for [`STREAMS`] at once and waits for all of them, again and again. Names and values are in
/// HPACK's table after the first request, as clients do it.
async fn h2_client(mut stream: DuplexStream, count: u32) -> io::Result<()> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "shop.example"),
        (":path", "/orders/4711?view=full"),
        ("user-agent", "bench"),
        ("accept", "*/*"),
        ("cookie", "session=0123456789abcdef"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
    ];
    let mut told = Vec::new();
    for (name, value) in fields {
        told.push(0x40);
        for text in [name, value] {
            told.push(u8::try_from(text.len()).expect("they are short"));
            told.extend_from_slice(text.as_bytes());
        }
    }
    // What was told last is at 62, after the static table.
    let mut known: Vec<u8> = (62..).zip(fields).map(|(index, _)| 0x80 | index).collect();
    known.reverse();

    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let mut buffer = Vec::with_capacity(2 * PIPE_BYTES);
    for request in 0..count {
        let block = if request == 0 { &told } else { &known };
        let length = u32::try_from(block.len()).expect("it is short").to_be_bytes();
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(&[HEADERS, END_STREAM | END_HEADERS]);
        out.extend_from_slice(&(2 * request + 1).to_be_bytes());
        out.extend_from_slice(block);
        if (request + 1) % STREAMS == 0 || request + 1 == count {
            stream.write_all(&out).await?;
            out.clear();
            let asked = request % STREAMS + 1;
            ended(&mut stream, &mut buffer, asked).await?;
        }
    }
    Ok(())
}

/// Reads frames until so many streams have ended.
async fn ended(stream: &mut DuplexStream, buffer: &mut Vec<u8>, mut left: u32) -> io::Result<()> {
    loop {
        let mut at = 0;
        while let Some(&[a, b, c, kind, flags, ..]) = buffer[at..].first_chunk::<9>() {
            let end = at + 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if buffer.len() < end {
                break;
            }
            match kind {
                DATA | HEADERS => left -= u32::from(flags & END_STREAM),
                SETTINGS if flags & ACK == 0 => stream.write_all(&ACKNOWLEDGED).await?,
                SETTINGS | WINDOW_UPDATE => {}
                other => return Err(io::Error::other(format!("a frame of kind {other}"))),
            }
            at = end;
        }
        buffer.drain(..at);
        if left == 0 {
            return Ok(());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The app.
async fn app(mut stream: DuplexStream, load: Load) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(2 * PIPE_BYTES);
    loop {
        buffer.clear();
        let head = until_head_ends(&mut stream, &mut buffer).await?;
        let body = length(&buffer[..head]);
        rest(&mut stream, buffer.len() - head, body).await?;
        stream.write_all(&load.response).await?;
    }
}

/// Lambda's API, as far as an extension needs it to serve one invoke for ever.
async fn lambda_api(
    mut stream: DuplexStream,
    invoked: Arc<Mutex<mpsc::UnboundedReceiver<Vec<u8>>>>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let head = until_head_ends(&mut stream, &mut buffer).await?;
        let body = length(&buffer[..head]);
        rest(&mut stream, buffer.len() - head, body).await?;
        let (headers, content) = if buffer.starts_with(b"POST /2020-01-01/extension/register") {
            ("Lambda-Extension-Identifier: 1", Vec::new())
        } else if buffer.starts_with(b"GET /2018-06-01/runtime/invocation/next") {
            let Some(payload) = invoked.lock().await.recv().await else { return Ok(()) };
            ("Lambda-Runtime-Aws-Request-Id: 1", payload)
        } else {
            return std::future::pending().await;
        };
        let length = content.len();
        let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&content).await?;
    }
}

/// Reads a head and perhaps more. Says where it ends.
async fn until_head_ends(stream: &mut DuplexStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            return Ok(end + 4);
        }
    }
}

/// How long the body is that follows a head.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    value.map_or(0, |value| value.parse().expect("a length is a number"))
}

/// Reads what is left of a body of which `read` bytes have come.
async fn rest(stream: &mut DuplexStream, read: usize, body: usize) -> io::Result<()> {
    let mut left = body.saturating_sub(read);
    let mut bytes = vec![0; left.min(PIPE_BYTES)];
    while left > 0 {
        let part = left.min(bytes.len());
        left -= stream.read_exact(&mut bytes[..part]).await?;
    }
    Ok(())
}

/// Hands invokes to the extension, which never return.
struct Lambda(mpsc::UnboundedSender<Vec<u8>>);

impl Invoker for Lambda {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        self.0.send(payload).expect("the extension runs");
        Box::pin(std::future::pending())
    }
}

/// A listener to which pipes lead.
struct Door(mpsc::UnboundedReceiver<DuplexStream>);

/// A way to a [`Door`].
#[derive(Clone)]
struct Way(mpsc::UnboundedSender<DuplexStream>);

impl Door {
    fn new() -> (Self, Way) {
        let (way, door) = mpsc::unbounded_channel();
        (Self(door), Way(way))
    }
}

impl Way {
    async fn connect(&self) -> io::Result<DuplexStream> {
        let (near, far) = duplex(PIPE_BYTES);
        self.0.send(far).map_err(|_| io::Error::from(ErrorKind::ConnectionRefused))?;
        Ok(near)
    }
}

impl Listener for Door {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, ROUTER_PORT)))
    }
}

/// The extension's network.
#[derive(Clone)]
struct Pipes {
    router: Way,
    invoked: Arc<Mutex<mpsc::UnboundedReceiver<Vec<u8>>>>,
    load: Load,
}

impl Connector for Pipes {
    type Io = DuplexStream;

    async fn connect(&self, _: &str, port: u16) -> io::Result<DuplexStream> {
        if port == ROUTER_PORT {
            return self.router.connect().await;
        }
        let (near, far) = duplex(PIPE_BYTES);
        if port == API_PORT {
            let invoked = Arc::clone(&self.invoked);
            tokio::spawn(async move { lambda_api(far, invoked).await.ok() });
        } else {
            let load = self.load.clone();
            tokio::spawn(async move { app(far, load).await.ok() });
        }
        Ok(near)
    }
}

const CLIENTS: u32 = 10;
/// HTTP/2: requests at once on a connection.
const STREAMS: u32 = 10;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const ACKNOWLEDGED: [u8; 9] = [0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0];
const PIPE_BYTES: usize = 256 << 10;
const ROUTER_PORT: u16 = 5004;
const API_PORT: u16 = 9001;
const APP_PORT: u16 = 3001;
