//! A router, put together: listeners and the pool's driver. `serve`, `dev`, `demo` and the
//! simulator run the same one.

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
use crate::exchange::{Edge, EdgeSettings};
use crate::instance_listener;
use crate::invoker::Invoker;
use crate::net::Listener;
use crate::observe::{AccessLog, Observer};
use crate::pool::Pool;
use crate::tls::RouterIdentity;

/// What a router is made of.
pub struct Parts<L, O> {
    /// Where clients come in, with TLS or without.
    pub clients: Vec<(L, Option<TlsAcceptor>)>,
    /// Where instances come in, with TLS or without.
    pub instances: Vec<(L, Option<RouterIdentity>)>,
    /// What time it is.
    pub clock: Clock,
    /// What the model is told to do.
    pub config: Config,
    /// What the pool needs beside.
    pub pool: PoolSettings,
    /// How clients are served.
    pub edge: EdgeSettings,
    /// How the function is invoked.
    pub invoker: Arc<dyn Invoker>,
    /// Takes note of requests.
    pub access: Arc<dyn AccessLog>,
    /// Watches the model.
    pub observer: O,
}

/// A router that serves.
#[derive(Debug)]
pub struct Running {
    pool: Pool,
    gauges: watch::Receiver<(Gauges, Stats)>,
    /// How long to wait for last requests, once it is to stop.
    stop: watch::Sender<Option<Duration>>,
    clients: JoinSet<()>,
    /// Ended when the router is dropped.
    _instances: JoinSet<()>,
}

impl Running {
    /// Starts everything.
    pub fn start<L: Listener, O: Observer>(parts: Parts<L, O>) -> Self {
        let clock = parts.clock;
        let (newest, gauges) = watch::channel(Default::default());
        let observer = (parts.observer, Newest(newest));
        let pool = driver::start(parts.config, parts.pool, clock.clone(), parts.invoker, observer);
        let mut instances = JoinSet::new();
        for (listener, identity) in parts.instances {
            instances.spawn(instance_listener::serve(listener, identity, pool.clone()));
        }
        let edge = Arc::new(Edge::new(pool.clone(), parts.access, clock, parts.edge));
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
        Self { pool, gauges, stop, clients, _instances: instances }
    }

    /// How the pool stands, as it changes.
    #[must_use]
    pub fn gauges(&self) -> watch::Receiver<(Gauges, Stats)> {
        self.gauges.clone()
    }

    /// Moves the bounds on the number of instances.
    pub fn limit_instances(&self, instances_min: u32, instances_max: u32) {
        self.pool.tell(Input::LimitsChanged { instances_min, instances_max });
    }

    /// Stops accepting, lets requests finish for at most `drain`, sends instances away, and returns
    /// when all that is done or the time is over.
    pub async fn drain(mut self, drain: Duration) {
        // Who sees no response in this time is not in the middle of anything.
        let last_requests = (drain / 10).min(LAST_REQUESTS_MAX);
        self.stop.send_replace(Some(last_requests));
        let finish = async {
            // The pool stays whole for requests that are on their way.
            drop(timeout(last_requests, end_of(&mut self.clients)).await);
            self.pool.shut_down(drain.saturating_sub(last_requests)).await;
            end_of(&mut self.clients).await;
        };
        // The model refuses what is left at the end of `drain`; the answers take a moment.
        if timeout(drain + LAST_WORDS, finish).await.is_err() {
            tracing::warn!("some clients have not finished and are cut off");
        }
    }
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
        f.debug_struct("Parts").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Longest time that idle connections are kept for a request that may be on its way.
const LAST_REQUESTS_MAX: Duration = Duration::from_secs(5);
/// For answers that are written after the end of a drain.
const LAST_WORDS: Duration = Duration::from_secs(2);
