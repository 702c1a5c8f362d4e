//! A real router that speaks the original's wire, and whom it invokes.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::{Config, Gauges, InvokeOutcome, Limits};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::edge::EdgeSettings;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::networks::Networks;
use io_tokio::observe::{Access, AccessLog, Blind};
use io_tokio::payload::InvokePayload;
use io_tokio::routes::Routes;
use io_tokio::running::{Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use io_tokio::tls::RouterIdentity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::original::{Behaviour, Call, Original};

/// An invoke whose instance the test plays by hand.
pub(crate) struct ByHand {
    pub(crate) payload: serde_json::Value,
}

impl ByHand {
    pub(crate) fn id(&self) -> &str {
        self.payload["Id"].as_str().unwrap()
    }
}

/// Every invoke becomes an extension of the original, unless they are played by hand.
struct Originals {
    calls: mpsc::UnboundedSender<Call>,
    by_hand: Option<mpsc::UnboundedSender<ByHand>>,
    ended: mpsc::UnboundedSender<usize>,
    behaviour: Behaviour,
    tls: bool,
}

impl Invoker for Originals {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        Box::pin(async move {
            // Read as JSON, for the original knows nothing of our types.
            let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            if let Some(by_hand) = &self.by_hand {
                by_hand.send(ByHand { payload: json }).ok();
                return std::future::pending().await;
            }
            let url: http::Uri = json["DispatcherUrl"].as_str().unwrap().parse().unwrap();
            let original = Original {
                instance: json["Id"].as_str().unwrap().to_owned(),
                authority: url.authority().unwrap().to_string(),
                channels: usize::try_from(json["NumberOfChannels"].as_u64().unwrap()).unwrap(),
                behaviour: self.behaviour,
                calls: self.calls.clone(),
            };
            let served = if self.tls {
                let stream = TcpStream::connect(&original.authority).await.unwrap();
                original.run(crate::any_certificate::dial(stream).await).await
            } else {
                original.over_tcp().await
            };
            self.ended.send(served).ok();
            assert!(InvokePayload::from_json(&payload).is_ok(), "our own can read it as well");
            Invoked::new(InvokeOutcome::Returned, &"")
        })
    }
}

struct Log(mpsc::UnboundedSender<Access>);

impl AccessLog for Log {
    fn record(&self, access: &Access) {
        self.0.send(access.clone()).ok();
    }
}

/// How a stage is set.
pub(crate) struct Plan {
    pub(crate) slots: u32,
    pub(crate) instances: u32,
    pub(crate) behaviour: Behaviour,
    pub(crate) by_hand: bool,
    pub(crate) tls: bool,
    /// Where extensions may come from.
    pub(crate) allowed: Option<Networks>,
    /// Whether instances are pinged often.
    pub(crate) pings: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            slots: 1,
            instances: 1,
            behaviour: Behaviour::default(),
            by_hand: false,
            tls: false,
            allowed: Some(Networks::none().and_loopback()),
            pings: false,
        }
    }
}

pub(crate) struct Stage {
    pub(crate) running: Option<Running>,
    pub(crate) clients: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) calls: mpsc::UnboundedReceiver<Call>,
    pub(crate) by_hand: mpsc::UnboundedReceiver<ByHand>,
    pub(crate) ended: mpsc::UnboundedReceiver<usize>,
    logged: mpsc::UnboundedReceiver<Access>,
}

impl Stage {
    pub(crate) async fn set(plan: Plan) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (clients, instances) = (bind().await.unwrap(), bind().await.unwrap());
        let (address, control) = (clients.local_addr().unwrap(), instances.local_addr().unwrap());
        let (calls_sent, calls) = mpsc::unbounded_channel();
        let (hand, by_hand) = mpsc::unbounded_channel();
        let (end, ended) = mpsc::unbounded_channel();
        let mut limits =
            Limits { slots: plan.slots, instances_max: plan.instances, ..Limits::default() };
        if plan.pings {
            limits.ping_interval = Duration::from_millis(200);
            limits.ping_timeout = Duration::from_millis(500);
        }
        let scheme = if plan.tls { "https" } else { "http" };
        let identity = plan.tls.then(|| RouterIdentity::generate().unwrap());
        let (log, logged) = mpsc::unbounded_channel();
        let log = Arc::new(Log(log));
        let running = Running::start(Parts {
            clients: vec![(clients, None)],
            instances: vec![(instances, identity.clone())],
            wire_v1: plan.allowed,
            clock: Clock::start(),
            pools: vec![PoolParts {
                config: Config::new(limits).unwrap(),
                settings: PoolSettings {
                    name: "default".into(),
                    function: "f".into(),
                    callback_url: format!("{scheme}://{control}"),
                    identity,
                    seed: 1,
                    chance: Chance::System,
                },
                invoker: Arc::new(Originals {
                    calls: calls_sent,
                    by_hand: plan.by_hand.then_some(hand),
                    ended: end,
                    behaviour: plan.behaviour,
                    tls: plan.tls,
                }),
                access: log.clone(),
                observer: Blind,
            }],
            routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
            edge: EdgeSettings::default(),
            access: log,
        });
        Self { running: Some(running), clients: address, control, calls, by_hand, ended, logged }
    }

    /// A client that has sent `bytes`.
    pub(crate) async fn client(&self, bytes: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.clients).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client
    }

    /// The next request that an app is given.
    pub(crate) async fn call(&mut self) -> Call {
        soon("an app is given a request", self.calls.recv()).await.unwrap()
    }

    /// Waits until the pool is in a state.
    pub(crate) async fn until(&self, what: &str, state: impl Fn(&Gauges) -> bool) {
        let mut gauges = self.running.as_ref().unwrap().gauges("default").unwrap();
        soon(what, gauges.wait_for(|(gauges, _)| state(gauges))).await.unwrap();
    }

    /// Waits for the next invoke's end; gives how many requests it took.
    pub(crate) async fn invoke_ended(&mut self) -> usize {
        soon("an invoke ends", self.ended.recv()).await.unwrap()
    }

    /// Waits until a request is logged with that reason.
    pub(crate) async fn until_logged(&mut self, reason: &str) {
        while soon(reason, self.logged.recv()).await.unwrap().reason != reason {}
    }
}

/// Waits, but not for ever: a failure should be a failure and not a hang.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("{what}: not in 60 s"))
}

/// Reads until the bytes read end with `end`.
pub(crate) async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        while !seen.ends_with(end.as_bytes()) {
            let read = client.read_buf(&mut seen).await.unwrap();
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&seen));
        }
    };
    soon(end, reading).await;
    String::from_utf8_lossy(&seen).into_owned()
}

/// Reads until the router closes; says whether it did so cleanly.
pub(crate) async fn read_all(client: &mut TcpStream) -> (String, bool) {
    let mut seen = Vec::new();
    let ended = soon("the router closes", client.read_to_end(&mut seen)).await;
    (String::from_utf8_lossy(&seen).into_owned(), ended.is_ok())
}
