//! A router, put together: listeners, pools with their drivers, and the routes between. `serve`,
//! `dev`, `demo` and the simulator run the same one.
//!
//! Here is one whose function cannot be invoked: its edge takes a request from a client, the model
//! says that waiting is pointless, and the client is told so.
//!
//! ```
//! use std::pin::Pin;
//! use std::sync::Arc;
//!
//! use dispatch_model::{Config, InvokeOutcome, Limits};
//! use io_tokio::chance::Chance;
//! use io_tokio::clock::Clock;
//! use io_tokio::driver::PoolSettings;
//! use io_tokio::edge::EdgeSettings;
//! use io_tokio::invoker::{Invoked, Invoker};
//! use io_tokio::observe::Blind;
//! use io_tokio::routes::Routes;
//! use io_tokio::running::{Parts, PoolParts, Running, Share};
//! use io_tokio::split::Split;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! struct Nobody;
//!
//! impl Invoker for Nobody {
//!     fn invoke(
//!         &self,
//!         function: &str,
//!         _payload: Vec<u8>,
//!     ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
//!         let said = format!("the role must not invoke {function}");
//!         Box::pin(async move { Invoked::new(InvokeOutcome::Forbidden, &said) })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let clients = TcpListener::bind("127.0.0.1:0").await?;
//! let instances = TcpListener::bind("127.0.0.1:0").await?;
//! let (address, callback) = (clients.local_addr()?, instances.local_addr()?);
//! let _router = Running::start(Parts {
//!     clients: vec![(clients, None)],
//!     instances: vec![(instances, None)],
//!     wire_v1: None,
//!     clock: Clock::start(),
//!     pools: vec![PoolParts {
//!         config: Config::new(Limits::default())?,
//!         settings: PoolSettings {
//!             name: "default".to_owned(),
//!             function: "shop".to_owned(),
//!             callback_url: format!("http://{callback}"),
//!             identity: None,
//!             seed: 7,
//!             chance: Chance::System,
//!         },
//!         invoker: Arc::new(Nobody),
//!         access: Arc::new(Blind),
//!         observer: Blind,
//!     }],
//!     routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
//!     edge: EdgeSettings::default(),
//!     access: Arc::new(Blind),
//! });
//!
//! let mut client = TcpStream::connect(address).await?;
//! client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").await?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer).await?;
//! assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::{Config, Dispatcher, Gauges, Input, Stats, Time};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::client_listener;
use crate::clock::Clock;
use crate::driver::{self, PoolSettings};
use crate::edge::{Edge, EdgeSettings, Patience};
use crate::instance_listener;
use crate::invited::Invited;
use crate::invoker::Invoker;
use crate::net::Listener;
use crate::networks::Networks;
use crate::observe::{AccessLog, Observer};
use crate::pool::{DEFAULT_POOL, Pool, WeakPool};
use crate::routes::Routes;
use crate::split::Split;
use crate::table::{Departure, Destination, Table};
use crate::tls::RouterIdentity;
use crate::wire_v1::router::V1;

/// What a router is made of.
pub struct Parts<L, O> {
    /// Where clients come in, with TLS or without.
    pub clients: Vec<(L, Option<TlsAcceptor>)>,
    /// Where instances come in, with TLS or without.
    pub instances: Vec<(L, Option<RouterIdentity>)>,
    /// Where instances on the original's wire may come from; `None` does not speak it.
    pub wire_v1: Option<Networks>,
    /// What time it is.
    pub clock: Clock,
    /// Whose instances serve; no two of one name.
    pub pools: Vec<PoolParts<O>>,
    /// Which pool serves what; the names of `pools`.
    pub routes: Routes<Split<Share>>,
    /// How clients are served.
    pub edge: EdgeSettings,
    /// Takes note of requests that no route leads to a pool.
    pub access: Arc<dyn AccessLog>,
}

/// What a pool is made of.
pub struct PoolParts<O> {
    /// What the model is told to do.
    pub config: Config,
    /// What the pool needs beside.
    pub settings: PoolSettings,
    /// How its function is invoked.
    pub invoker: Arc<dyn Invoker>,
    /// Takes note of its requests.
    pub access: Arc<dyn AccessLog>,
    /// Watches its model.
    pub observer: O,
}

/// What a route gives to one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The pool's name.
    pub pool: String,
    /// How long a request may take.
    pub patience: Patience,
}

impl Share {
    /// All to the one pool of a router that has no other.
    #[must_use]
    pub fn of_default_pool() -> Self {
        Self { pool: DEFAULT_POOL.to_owned(), patience: Patience::default() }
    }
}

/// What a router shall be from now on.
pub struct Change<O> {
    /// Pools that stay, by name, and the least and most instances that they may have.
    pub kept: Vec<(String, u32, u32)>,
    /// New pools. One of the name of a pool that is there takes its place.
    pub started: Vec<PoolParts<O>>,
    /// Which pool serves what; names of the above.
    pub routes: Routes<Split<Share>>,
}

/// A router that serves.
#[derive(Debug)]
pub struct Running {
    pools: BTreeMap<String, Live>,
    edge: OwnEdge,
    /// When nobody goes by the routes in force any more.
    departure: Departure,
    invited: Invited,
    clock: Clock,
    /// Pools that are in no route any more and finish what they have.
    leaving: JoinSet<()>,
    /// The same, to be told when there is less time for that.
    left: Vec<WeakPool>,
    /// How long to wait for last requests, once it is to stop.
    stop: watch::Sender<Option<Duration>>,
    clients: JoinSet<()>,
    /// Ended when the router is dropped.
    _instances: JoinSet<()>,
}

/// The edge of this router, which ends with it.
#[derive(Debug)]
struct OwnEdge(Arc<Edge>);

impl Drop for OwnEdge {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A pool that serves.
struct Live {
    pool: Pool,
    access: Arc<dyn AccessLog>,
    gauges: watch::Receiver<(Gauges, Stats)>,
}

impl Running {
    /// Starts everything.
    ///
    /// # Panics
    ///
    /// A route leads to a pool that is not among the parts.
    pub fn start<L: Listener, O: Observer>(parts: Parts<L, O>) -> Self {
        let (clock, invited) = (parts.clock, Invited::default());
        let pools: BTreeMap<_, _> =
            parts.pools.into_iter().map(|pool| start_pool(pool, &clock, &invited)).collect();
        let v1 = parts.wire_v1.map(|allowed| V1::new(invited.clone(), allowed));
        let mut instances = JoinSet::new();
        for (listener, identity) in parts.instances {
            let identity = identity.map(|own| if v1.is_some() { own.and_v1() } else { own });
            let serving = instance_listener::serve(listener, identity, invited.clone(), v1.clone());
            instances.spawn(serving);
        }
        let (table, departure) = Table::new(&destinations(&parts.routes, &pools));
        let edge = Arc::new(Edge::over(table, parts.access, clock.clone(), parts.edge));
        let (stop, stopped) = watch::channel(None);
        let mut clients = JoinSet::new();
        for (listener, tls) in parts.clients {
            clients.spawn(client_listener::serve(
                listener,
                tls,
                Arc::clone(&edge),
                stopped.clone(),
            ));
        }
        Self {
            pools,
            edge: OwnEdge(edge),
            departure,
            invited,
            clock,
            leaving: JoinSet::new(),
            left: Vec::new(),
            stop,
            clients,
            _instances: instances,
        }
    }

    /// How a pool stands, as it changes; `None` if there is none of that name.
    #[must_use]
    pub fn gauges(&self, pool: &str) -> Option<watch::Receiver<(Gauges, Stats)>> {
        self.pools.get(pool).map(|live| live.gauges.clone())
    }

    /// Moves the bounds on the number of instances of a pool, if there is one of that name.
    pub fn limit_instances(&self, pool: &str, instances_min: u32, instances_max: u32) {
        if let Some(live) = self.pools.get(pool) {
            live.pool.tell(Input::LimitsChanged { instances_min, instances_max });
        }
    }

    /// Becomes another router without losing a request: new pools serve before a route leads to
    /// them, and pools that are left get what is on its way to them, finish it, and send their
    /// instances away.
    ///
    /// # Panics
    ///
    /// A route leads to a pool that is neither kept nor started.
    pub fn change<O: Observer>(&mut self, change: Change<O>) {
        let mut before = std::mem::take(&mut self.pools);
        for (name, instances_min, instances_max) in change.kept {
            if let Some(live) = before.remove(&name) {
                self.pools.insert(name.clone(), live);
                self.limit_instances(&name, instances_min, instances_max);
            }
        }
        for parts in change.started {
            self.pools.extend([start_pool(parts, &self.clock, &self.invited)]);
        }
        let routes = destinations(&change.routes, &self.pools);
        let (departure, open) = self.edge.0.table().replace(&routes);
        let departure = std::mem::replace(&mut self.departure, departure);
        // Forgets those that have left by now.
        while self.leaving.try_join_next().is_some() {}
        self.left.retain(|pool| pool.upgrade().is_some());
        self.left.extend(before.values().map(|live| live.pool.downgrade()));
        self.leaving.spawn(async move {
            departure.wait().await;
            // A later change must not send away whom a request of this old table is for.
            drop(open);
            let mut last = JoinSet::new();
            for (name, live) in before {
                last.spawn(async move {
                    live.pool.shut_down(LEAVING_MAX).await;
                    tracing::info!(pool = name, "the pool has finished its last request");
                });
            }
            end_of(&mut last).await;
        });
    }

    /// Stops accepting, lets requests finish for at most `drain`, sends instances away, and returns
    /// when all that is done or the time is over.
    pub async fn drain(mut self, drain: Duration) {
        // Who sees no response in this time is not in the middle of anything.
        let last_requests = (drain / 10).min(LAST_REQUESTS_MAX);
        let end = self.clock.now() + drain;
        let rest = || end.saturating_since(self.clock.now());
        self.stop.send_replace(Some(last_requests));
        let finish = async {
            // The pools stay whole for requests that are on their way: those on connections that
            // seem idle, and those whose bodies are awaited, of which the models know nothing. Some
            // time is left to serve the last of these.
            drop(timeout(last_requests, end_of(&mut self.clients)).await);
            self.edge.0.table().renew();
            drop(timeout(rest().saturating_sub(last_requests), self.departure.wait()).await);
            let rest = rest();
            for pool in self.left.iter().filter_map(WeakPool::upgrade) {
                pool.tell(Input::ShutdownRequested { drain: rest });
            }
            let mut last: JoinSet<_> = std::mem::take(&mut self.pools)
                .into_values()
                .map(|live| async move { live.pool.shut_down(rest).await })
                .collect();
            end_of(&mut last).await;
            end_of(&mut self.leaving).await;
            end_of(&mut self.clients).await;
        };
        // The model refuses what is left at the end of `drain`; the answers take a moment.
        if timeout(drain + LAST_WORDS, finish).await.is_err() {
            tracing::warn!("some clients have not finished and are cut off");
        }
    }
}

fn start_pool<O: Observer>(
    parts: PoolParts<O>,
    clock: &Clock,
    invited: &Invited,
) -> (String, Live) {
    let (newest, gauges) = watch::channel(Default::default());
    let PoolParts { config, settings, invoker, access, observer } = parts;
    let name = settings.name.clone();
    let observer = (observer, Newest(newest));
    let pool = driver::start(config, settings, clock.clone(), invited.clone(), invoker, observer);
    (name, Live { pool, access, gauges })
}

/// Routes to pools in place of names.
fn destinations(
    routes: &Routes<Split<Share>>,
    pools: &BTreeMap<String, Live>,
) -> Routes<Split<Destination>> {
    let destination = |share: &Share| {
        let live = pools.get(&share.pool).expect("routes lead to pools that there are");
        Destination {
            pool: live.pool.clone(),
            log: Arc::clone(&live.access),
            patience: share.patience,
        }
    };
    routes.map(|split| split.map(destination))
}

async fn end_of(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// Keeps the newest numbers for whoever wants to wait for them.
struct Newest(watch::Sender<(Gauges, Stats)>);

impl Observer for Newest {
    fn turn(&mut self, _: Time, model: &Dispatcher) {
        self.0.send_replace((model.gauges(), *model.stats()));
    }
}

impl<L, O> std::fmt::Debug for Parts<L, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("pools", &self.pools).finish_non_exhaustive()
    }
}

impl<O> std::fmt::Debug for PoolParts<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolParts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<O> std::fmt::Debug for Change<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Longest time that a pool may take to finish when no route leads to it any more: what an instance
/// can live.
const LEAVING_MAX: Duration = Duration::from_secs(15 * 60);
/// Longest time that idle connections are kept for a request that may be on its way.
const LAST_REQUESTS_MAX: Duration = Duration::from_secs(5);
/// For answers that are written after the end of a drain.
const LAST_WORDS: Duration = Duration::from_secs(2);
