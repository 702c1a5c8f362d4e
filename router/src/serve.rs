//! `lambda-dispatch serve`: the router in production, from its settings to its last request.

mod pools;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use io_tokio::clock::Clock;
use io_tokio::edge::{EdgeSettings, Patience};
use io_tokio::net::EVENTS_PER_TURN;
use io_tokio::observe::{AccessLog, Tracer};
use io_tokio::running::{Parts, Running};
use io_tokio::tls::{ClientCertificate, ClientFacing, RouterIdentity};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::access_log::AccessWriter;
use crate::admin::{self, Readiness};
use crate::cli::{CheckArgs, Configured};
use crate::emf::EmfWriter;
use crate::metrics::Metrics;
use crate::open_files::OpenFiles;
use crate::recorder::Recorders;
use crate::settings::{Admin, Https, Settings, as_json, explain, iam_policy, warnings};
use crate::traces;
use crate::{callback, dev, logging};

use pools::Maker;

/// Prints what the settings mean.
///
/// # Errors
///
/// The settings are wrong; every fault is named.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let settings = load(&args.configured)?;
    crate::print(&match (args.json, args.iam) {
        (true, _) => format!("{:#}\n", as_json(&settings)),
        (false, true) => format!("{:#}\n", iam_policy(&settings)),
        (false, false) => explain(&settings),
    })
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
    let files = OpenFiles::raise();
    let shortage = files.shortage(&settings);
    for warning in warnings(&settings).into_iter().chain(shortage) {
        tracing::warn!("{warning}");
    }
    let workers = settings
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let mut runtime = if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        threads.worker_threads(workers);
        threads
    };
    let runtime = runtime.enable_all().max_io_events_per_tick(EVENTS_PER_TURN).build();
    let runtime = runtime.context("cannot start threads")?;
    let ended = runtime.block_on(serve(settings, files, configured));
    // The system may look a name up for longer than anybody waits.
    runtime.shutdown_timeout(LAST_WORK);
    // Whoever was cut has been counted by now.
    ended.map(drop)
}

pub(crate) fn load(configured: &Configured) -> anyhow::Result<Settings> {
    let overrides = overrides(configured);
    Ok(Settings::load(configured.file().as_deref(), environment(), &overrides)?)
}

/// Where a router with these settings has its admin port, whatever else is wrong with them.
pub(crate) fn admin(configured: &Configured) -> anyhow::Result<Admin> {
    let overrides = overrides(configured);
    Ok(Settings::admin(configured.file().as_deref(), environment(), &overrides)?)
}

fn overrides(configured: &Configured) -> Vec<(&str, &str)> {
    let function = configured.function.iter().map(|name| ("pool.function", name.as_str()));
    let set = configured.set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    set.chain(function).collect()
}

/// The variables whose names are text; what is no text in a value is read as U+FFFD.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    })
}

/// All of [`run`] but its last words, which are the writer's that it returns.
async fn serve(
    mut settings: Settings,
    files: OpenFiles,
    configured: &Configured,
) -> anyhow::Result<Option<EmfWriter>> {
    // First of all, so that a signal during the start is not lost.
    let mut signals = Signals::new()?;
    let begun_with = settings.clone();
    let recorders = Recorders::start(&settings.recorder)?;
    let metrics = Metrics::new();
    let (readiness, ready) = watch::channel(Readiness::Starting);
    if let Some(address) = settings.listen.admin {
        let admin = bind(address, "listen.admin")?;
        tokio::spawn(admin::serve(admin, ready, Arc::clone(&metrics)));
    }
    let access_log = AccessWriter::start(&settings.log)?.map(Arc::new);
    let traces = settings.traces.as_ref();
    let traces =
        traces.map(|it| traces::Sending::start(it, |name| std::env::var(name).ok(), &metrics));
    let traces = traces.transpose()?;
    let told = access_log.clone().map(|log| log as Arc<dyn AccessLog>).into_iter();
    let told = told.chain(traces.as_ref().map(traces::Sending::log)).collect();
    let tracer = traces.as_ref().map(traces::Sending::tracer);
    let mut started = tokio::select! {
        biased;
        () = signals.stop() => {
            tracing::info!("told to stop before it was ready");
            return Ok(None);
        }
        started = start(&settings, files, recorders, metrics, told, tracer) => started?,
    };
    readiness.send_replace(Readiness::Ready);
    tracing::info!(pools = settings.pools.len(), "ready");
    loop {
        match signals.next().await {
            Told::Stop => break,
            Told::HangUp => {
                reopen(access_log.as_deref());
                tokio::select! {
                    biased;
                    () = signals.stop() => break,
                    done = started.reload(&begun_with, &settings, configured) => match done {
                        Ok(new) => settings = new,
                        Err(error) => tracing::error!("the settings stay as they were: {error:#}"),
                    },
                }
            }
        }
    }

    readiness.send_replace(Readiness::Draining);
    let timeouts = settings.timeouts;
    tracing::info!(
        delay = ?timeouts.drain_delay,
        drain = ?timeouts.drain,
        "stopping; a second signal ends it at once"
    );
    let mut again = pin!(async {
        while signals.next().await == Told::HangUp {
            reopen(access_log.as_deref());
        }
    });
    let drain = async {
        // A load balancer needs a moment to see that this router is not ready any more.
        tokio::time::sleep(timeouts.drain_delay).await;
        started.running.drain(timeouts.drain.saturating_sub(timeouts.drain_delay)).await;
    };
    tokio::select! {
        biased;
        () = &mut again => tracing::warn!("told twice to stop: ended before the drain was over"),
        () = drain => tracing::info!("stopped"),
    }
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(started.emf)
}

fn reopen(access_log: Option<&AccessWriter>) {
    // For log rotation.
    if let Some(log) = access_log {
        log.reopen();
    }
}

/// What can be changed while it runs.
struct Started {
    running: Running,
    maker: Maker,
    /// What clients are shown, if some come over TLS.
    facing: Option<Arc<ClientFacing>>,
    /// Writes what there is of the last period when it is dropped.
    emf: Option<EmfWriter>,
}

impl Started {
    /// Reads the settings again, and the certificate, and becomes what they say. If anything is
    /// wrong with them, nothing changes. What is fixed is still as it `begun_with`.
    async fn reload(
        &mut self,
        begun_with: &Settings,
        settings: &Settings,
        configured: &Configured,
    ) -> anyhow::Result<Settings> {
        let new = load(configured)?;
        let renewed = match (&self.facing, &new.listen.https) {
            (Some(facing), Some(https)) => Some((facing, certificate(https)?)),
            (None, _) | (_, None) => None,
        };
        let change = self.maker.change(settings, &new).await?;
        for warning in warnings(&new).into_iter().chain(begun_with.fixed_differences(&new)) {
            tracing::warn!("{warning}");
        }
        if let Some((facing, certificate)) = renewed {
            facing.show(certificate);
        }
        self.running.change(change);
        self.maker.set_prices(&new);
        tracing::info!(pools = new.pools.len(), "the settings were taken over");
        Ok(new)
    }
}

/// Binds, finds what is to be found, and starts.
async fn start(
    settings: &Settings,
    files: OpenFiles,
    recorders: Recorders,
    metrics: Arc<Metrics>,
    told: Vec<Arc<dyn AccessLog>>,
    tracer: Option<Arc<dyn Tracer>>,
) -> anyhow::Result<Started> {
    let listen = &settings.listen;
    let mut clients = Vec::new();
    if let Some(address) = listen.http {
        clients.push((bind(address, "listen.http")?, None));
    }
    let mut facing = None;
    if let Some(https) = &listen.https {
        let shown = ClientFacing::new(certificate(https)?);
        let acceptor = TlsAcceptor::from(shown.config()?);
        clients.push((bind(https.address, "listen.https")?, Some(acceptor)));
        facing = Some(shown);
    }
    let identity = RouterIdentity::generate()?;
    let mut instances = vec![(bind(listen.control, "listen.control")?, Some(identity.clone()))];
    if let Some(address) = listen.control_plaintext {
        instances.push((bind(address, "listen.control_plaintext")?, None));
    }
    let callback_url = callback_url(settings, &instances).await?;
    let mut maker = Maker {
        identity: callback_url.starts_with("https:").then_some(identity),
        callback_url,
        recorders,
        metrics: Arc::clone(&metrics),
        told,
        invokers: HashMap::new(),
    };
    let mut pools = Vec::with_capacity(settings.pools.len());
    for plan in &settings.pools {
        pools.push(maker.parts(plan, settings.pools.len()).await?);
    }
    maker.set_prices(settings);
    // Its first look is at the pools, so that it misses none however soon they end.
    let emf = EmfWriter::start(settings.emf.as_ref(), &metrics)?;
    let running = Running::start(Parts {
        clients,
        instances,
        wire_v1: listen.wire_v1.clone(),
        clock: Clock::start(),
        pools,
        routes: settings.routes.map(|route| route.split.clone()),
        edge: EdgeSettings {
            boot: rand::random(),
            head: settings.timeouts.head,
            keep_alive: settings.timeouts.keep_alive,
            patience: Patience { idle: settings.timeouts.unread, ..Patience::default() },
            connections_max: files.clients_max(settings),
            connections_per_client_max: settings.limits.connections_per_client,
            h2_streams_max: settings.limits.streams,
            head_bytes_max: settings.limits.head_bytes,
            headers_max: settings.limits.headers,
            target_bytes_max: settings.limits.uri_bytes,
            server_timing: listen.server_timing,
            trusted_proxies: listen.trusted_proxies.clone(),
            tracer,
        },
        access: maker.access(metrics),
    });
    Ok(Started { running, maker, facing, emf })
}

/// Where instances dial back to: at the first of their listeners, which speaks TLS, or at the last.
async fn callback_url<T>(
    settings: &Settings,
    listeners: &[(TcpListener, T)],
) -> anyhow::Result<String> {
    let host = callback::find(&settings.callback, |name| std::env::var(name).ok()).await?;
    let (scheme, _) = settings.callback_listener();
    let dialled = if scheme == "https" { listeners.first() } else { listeners.last() };
    // Not what is set: port 0 is whichever the system chose.
    let address = dialled.context("instances have a listener")?.0.local_addr()?;
    let url = host.url(scheme, address.port());
    tracing::info!(url, source = host.source, "instances dial back here");
    if let Some(what) = host.missed_by(address) {
        tracing::warn!("{what}; see listen.control");
    }
    Ok(url)
}

fn certificate(https: &Https) -> anyhow::Result<ClientCertificate> {
    // What it says has its cause in it.
    ClientCertificate::load(&https.certificate, &https.key)
        .map_err(|error| anyhow!("listen.certificate and listen.key cannot be used: {error}"))
}

fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let listener = dev::bind(address, &format!("stop what uses it, or change {setting}"))?;
    if address.port() == 0 {
        // Nobody could know it otherwise.
        tracing::info!(address = %listener.local_addr()?, "{setting} is where the system chose");
    }
    Ok(listener)
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

    async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::HangUp,
        }
    }

    /// Returns when it is told to end. What else it is told waits for [`next`](Self::next).
    async fn stop(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How long the end may wait for what is not to be interrupted, beside writers' last words.
const LAST_WORK: Duration = Duration::from_secs(5);

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Read the settings again, and open the access log again.
    HangUp,
    /// End.
    Stop,
}
