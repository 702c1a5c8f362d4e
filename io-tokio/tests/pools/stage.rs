//! A router with several pools over real sockets. Its functions are in this process, and differ by
//! name in how they behave.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::{Config, Gauges, InvokeOutcome, Limits, Stats, Time};
use http::Response;
use io_tokio::attach::{self, Hello};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::edge::{EdgeSettings, Patience};
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::observe::{Access, AccessLog, Observer};
use io_tokio::payload::{InvokePayload, Plaintext};
use io_tokio::routes::{AliasHeader, Conditions, PathPrefix, Routes};
use io_tokio::running::{Change, Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What functions are told and have done.
#[derive(Debug)]
pub(crate) struct Functions {
    /// Whether `gated` functions answer.
    pub(crate) open: watch::Sender<bool>,
    /// Payloads of `idle` functions, which the test attaches for.
    pub(crate) payloads: Mutex<Vec<InvokePayload>>,
}

impl Invoker for Functions {
    fn invoke(
        &self,
        function: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let function = function.to_owned();
        Box::pin(async move {
            let payload = InvokePayload::from_json(&payload).unwrap();
            let outcome = match function.as_str() {
                "throttled" => InvokeOutcome::Throttled { retry_after: None },
                "idle" => {
                    self.payloads.lock().unwrap().push(payload);
                    std::future::pending().await
                }
                _ => {
                    serve(&function, payload, self.open.subscribe()).await;
                    InvokeOutcome::Returned
                }
            };
            Invoked::new(outcome, &function)
        })
    }
}

/// Serves as an instance of `function` until the router closes. It answers with its name,
/// the names of the headers that it got, and the hops before it; one that is `hanging` does not.
async fn serve(function: &str, payload: InvokePayload, open: watch::Receiver<bool>) {
    let Ok(stream) = attach(payload, None).await else { return };
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if function == "hanging" {
            held.push((request, respond));
            continue;
        }
        let (function, mut open) = (function.to_owned(), open.clone());
        tokio::spawn(async move {
            if function.starts_with("gated") {
                open.wait_for(|open| *open).await.unwrap();
            }
            let names: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
            let hops =
                request.headers().get("x-forwarded-for").map_or("", |it| it.to_str().unwrap());
            let text = format!("{function} {} {hops}", names.join(" "));
            // The client may have gone.
            let response = Response::builder().header("content-length", text.len());
            if let Ok(mut body) = respond.send_response(response.body(()).unwrap(), false) {
                body.send_data(Bytes::from(text), true).ok();
            }
        });
    }
}

/// Attaches as the instance of `payload`, with its token or with `another`'s.
pub(crate) async fn attach(
    payload: InvokePayload,
    another: Option<&InvokePayload>,
) -> Result<TcpStream, attach::AttachError> {
    let wall = Clock::start().wall();
    let token = another.map(|it| it.offer(wall, Plaintext::Allowed).unwrap().token);
    let offer = payload.offer(wall, Plaintext::Allowed).unwrap();
    let mut stream = TcpStream::connect((offer.host.as_str(), offer.port)).await?;
    let lease = Duration::from_secs(600);
    let (host, instance) = ("router".to_owned(), payload.id);
    let slots = payload.number_of_channels.into();
    let hello = Hello { host, instance, slots, lease, cold: true };
    attach::request(&mut stream, &hello, &token.unwrap_or(offer.token), &[]).await?;
    Ok(stream)
}

/// Counts how often a model's timers fire, and is counted while its driver runs.
#[derive(Debug)]
pub(crate) struct Alive {
    timeouts: Arc<AtomicU64>,
    _counted: Arc<()>,
}

impl Observer for Alive {
    fn timeout(&mut self, _: Time) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<Vec<Access>>>);

impl AccessLog for Log {
    fn record(&self, access: &Access) {
        self.0.lock().unwrap().push(access.clone());
    }
}

pub(crate) struct Router {
    pub(crate) running: Running,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) functions: Arc<Functions>,
    /// Of requests that were for no pool.
    pub(crate) log: Log,
    pub(crate) timeouts: Arc<AtomicU64>,
    counted: Arc<()>,
    callback_url: String,
}

/// A route as tests write it: host, path, alias, pools by weight.
pub(crate) type Route<'a> = (&'a str, &'a str, &'a str, &'a [(u32, &'a str)]);

/// Each pool, whose function has its name up to a `-`, and its limits.
pub(crate) type Pools<'a> = [(&'a str, Limits)];

impl Router {
    pub(crate) async fn start(pools: &Pools<'_>, routes: &[Route<'_>], edge: EdgeSettings) -> Self {
        let instances = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = clients.local_addr().unwrap();
        let callback_url = format!("http://{}", instances.local_addr().unwrap());
        let functions =
            Arc::new(Functions { open: watch::channel(false).0, payloads: Mutex::default() });
        let (log, timeouts, counted) = (Log::default(), Arc::default(), Arc::new(()));
        let make =
            |pool: &(&str, Limits)| parts(pool, &functions, &callback_url, &timeouts, &counted);
        let running = Running::start(Parts {
            wire_v1: None,
            clients: vec![(clients, None)],
            instances: vec![(instances, None)],
            clock: Clock::start(),
            pools: pools.iter().map(make).collect(),
            routes: table(routes, edge.patience),
            edge,
            access: Arc::new(log.clone()),
        });
        Self { running, address, functions, log, timeouts, counted, callback_url }
    }

    /// Becomes a router with `kept` pools, new ones, and other routes.
    pub(crate) fn change(&mut self, kept: &[&str], pools: &Pools<'_>, routes: &[Route<'_>]) {
        let make = |pool: &(&str, Limits)| {
            parts(pool, &self.functions, &self.callback_url, &self.timeouts, &self.counted)
        };
        let started = pools.iter().map(make).collect();
        let Limits { instances_min, instances_max, .. } = Limits::default();
        let bounds = |name: &&str| ((*name).to_owned(), instances_min, instances_max);
        let kept = kept.iter().map(bounds).collect();
        self.running.change(Change { kept, started, routes: table(routes, Patience::default()) });
    }

    /// How many pools have a driver.
    pub(crate) fn drivers(&self) -> usize {
        Arc::strong_count(&self.counted) - 1
    }

    pub(crate) fn now(&self, pool: &str) -> (Gauges, Stats) {
        *self.running.gauges(pool).unwrap().borrow()
    }

    /// Waits until a pool is in a state.
    pub(crate) async fn until(&self, pool: &str, state: impl Fn(&Gauges, &Stats) -> bool) {
        let mut gauges = self.running.gauges(pool).unwrap();
        soon(gauges.wait_for(|(gauges, stats)| state(gauges, stats))).await.unwrap();
    }

    /// A client that has sent `request`.
    pub(crate) async fn client(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// Status and body of a GET on a connection of its own.
    pub(crate) async fn get(&self, host: &str, path: &str) -> (u16, String) {
        answer(self.client(&get(host, path, "")).await).await
    }
}

fn parts(
    (name, limits): &(&str, Limits),
    functions: &Arc<Functions>,
    callback_url: &str,
    timeouts: &Arc<AtomicU64>,
    counted: &Arc<()>,
) -> PoolParts<Alive> {
    PoolParts {
        config: Config::new(*limits).unwrap(),
        settings: PoolSettings {
            name: (*name).to_owned(),
            function: name.split('-').next().unwrap_or_default().to_owned(),
            callback_url: callback_url.to_owned(),
            identity: None,
            seed: 1,
            chance: Chance::System,
        },
        invoker: Arc::clone(functions) as Arc<dyn Invoker>,
        access: Arc::new(Log::default()),
        observer: Alive { timeouts: Arc::clone(timeouts), _counted: Arc::clone(counted) },
    }
}

fn table(routes: &[Route<'_>], patience: Patience) -> Routes<Split<Share>> {
    let routes = routes.iter().map(|(host, path, alias, pools)| {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let conditions = Conditions {
            host: given(host).map(|host| host.parse().unwrap()),
            path: given(path).and_then(|path| PathPrefix::parse(&path).unwrap()),
            alias: given(alias).map(|alias| alias.parse().unwrap()),
        };
        let share = |pool: &str| Share { pool: pool.to_owned(), patience };
        let split = pools.iter().map(|(weight, pool)| (*weight, share(pool))).collect();
        (conditions, Split::new(split))
    });
    let name = http::HeaderName::from_static("x-which");
    Routes::new(routes.collect(), Some(AliasHeader { name, from_anyone: false }))
}

pub(crate) fn get(host: &str, path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n")
}

/// Status and body of what comes on a connection until it ends.
pub(crate) async fn answer(mut client: TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    soon(client.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    (head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0), body.to_owned())
}

/// Waits, but not for ever: a failure should be a failure and not a hang.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("happens within 60 s")
}

pub(crate) fn one_route<'a>(pools: &'a BTreeMap<&'a str, [(u32, &'a str); 1]>) -> Vec<Route<'a>> {
    pools.iter().map(|(host, pools)| (*host, "", "", pools.as_slice())).collect()
}
