//! `lambda-dispatch serve`: the router in production, from its settings to its last request.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::exchange::EdgeSettings;
use io_tokio::observe::{AccessLog, Observer};
use io_tokio::running::{Parts, Running};
use io_tokio::tls::{self, RouterIdentity};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::access_log::{AccessWriter, Fanout};
use crate::admin::{self, Readiness};
use crate::aws::LambdaInvoker;
use crate::cli::Configured;
use crate::metrics::Metrics;
use crate::settings::{Settings, explain, warnings};
use crate::{callback, logging, recorder};

/// Prints what the settings mean.
///
/// # Errors
///
/// The settings are wrong; every fault is named.
pub(crate) fn check(configured: &Configured) -> anyhow::Result<()> {
    let settings = load(configured)?;
    crate::print(&explain(&settings));
    Ok(())
}

/// Serves until SIGTERM or Ctrl-C and then until the last request is done; a second signal ends it
/// at once.
///
/// # Errors
///
/// The settings are wrong, or something that they name is not to be had.
pub(crate) fn run(configured: &Configured) -> anyhow::Result<()> {
    let settings = load(configured)?;
    logging::start(&settings.log)?;
    for warning in warnings(&settings) {
        tracing::warn!("{warning}");
    }
    let workers = settings
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let runtime = if workers == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
    };
    runtime.context("cannot start threads")?.block_on(serve(settings))
}

fn load(configured: &Configured) -> anyhow::Result<Settings> {
    let function = configured.function.iter().map(|name| ("pool.function", name.as_str()));
    let set = configured.set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let overrides: Vec<_> = set.chain(function).collect();
    Ok(Settings::load(configured.config.as_deref(), std::env::vars(), &overrides)?)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    // First of all, so that a signal during the start is not lost.
    let mut signals = Signals::new()?;
    let recorder = recorder::start(&settings.recorder)?;
    let metrics = Metrics::new();
    let (readiness, ready) = watch::channel(Readiness::Starting);
    if let Some(address) = settings.listen.admin {
        let admin = bind(address, "listen.admin").await?;
        tokio::spawn(admin::serve(admin, ready, Arc::clone(&metrics)));
    }
    let access_log = AccessWriter::start(&settings.log)?.map(Arc::new);
    let mut logs: Vec<Arc<dyn AccessLog>> = vec![metrics.clone()];
    logs.extend(access_log.clone().map(|log| log as Arc<dyn AccessLog>));
    let running = start(&settings, Arc::new(Fanout(logs)), (metrics.watch(), recorder)).await?;
    readiness.send_replace(Readiness::Ready);
    tracing::info!(function = settings.function.as_str(), "ready");
    signals.stop(access_log.as_deref()).await;

    readiness.send_replace(Readiness::Draining);
    let timeouts = settings.timeouts;
    tracing::info!(
        delay = ?timeouts.drain_delay,
        drain = ?timeouts.drain,
        "stopping; a second signal ends it at once"
    );
    let mut again = pin!(signals.stop(access_log.as_deref()));
    let drain = async {
        // A load balancer needs a moment to see that this router is not ready any more.
        tokio::time::sleep(timeouts.drain_delay).await;
        running.drain(timeouts.drain.saturating_sub(timeouts.drain_delay)).await;
    };
    tokio::select! {
        biased;
        () = &mut again => tracing::warn!("told twice to stop: ended with requests in flight"),
        () = drain => tracing::info!("stopped"),
    }
    Ok(())
}

/// Binds, finds what is to be found, and starts.
async fn start(
    settings: &Settings,
    access: Arc<Fanout>,
    observer: impl Observer,
) -> anyhow::Result<Running> {
    let listen = &settings.listen;
    let mut clients = Vec::new();
    if let Some(address) = listen.http {
        clients.push((bind(address, "listen.http").await?, None));
    }
    if let Some(https) = &listen.https {
        let config = tls::client_facing(&https.certificate, &https.key)?;
        clients.push((bind(https.address, "listen.https").await?, Some(TlsAcceptor::from(config))));
    }
    let identity = RouterIdentity::generate()?;
    let mut instances =
        vec![(bind(listen.control, "listen.control").await?, Some(identity.clone()))];
    if let Some(address) = listen.control_plaintext {
        instances.push((bind(address, "listen.control_plaintext").await?, None));
    }
    let host = callback::find(&settings.callback, |name| std::env::var(name).ok()).await?;
    let (scheme, port) = settings.callback_endpoint();
    let callback_url = format!("{scheme}://{}:{port}", host.in_url());
    tracing::info!(url = callback_url, source = host.source, "instances dial back here");
    let invoker = Arc::new(LambdaInvoker::connect(&settings.aws).await?);
    Ok(Running::start(Parts {
        clients,
        instances,
        config: settings.pool,
        pool: PoolSettings {
            name: "default".to_owned(),
            function: settings.function.as_str().to_owned(),
            callback_url,
            identity: (scheme == "https").then_some(identity),
            seed: rand::random(),
            chance: Chance::System,
        },
        clock: Clock::start(),
        edge: EdgeSettings {
            patience: settings.patience,
            head: settings.timeouts.head,
            keep_alive: settings.timeouts.keep_alive,
            h2_streams_max: settings.limits.streams,
            head_bytes_max: settings.limits.head_bytes,
            headers_max: settings.limits.headers,
            target_bytes_max: settings.limits.uri_bytes,
            trusted_proxies: listen.trusted_proxies.clone(),
            ..EdgeSettings::default()
        },
        invoker,
        access,
        observer,
    }))
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow!("cannot listen on {address}: {error}; stop what uses it, or change {setting}")
    })
}

/// The signals that mean something to the router.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until it is told to stop. SIGHUP opens the access log again, for log rotation.
    async fn stop(&mut self, access_log: Option<&AccessWriter>) {
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    if let Some(log) = access_log {
                        log.reopen();
                    }
                }
            }
        }
    }
}
