//! `lambda-dispatch dev`: the whole system on one machine, from one command.
//!
//! The router is the real one; AWS Lambda is the emulator, reached with the real AWS client; each
//! instance is two processes, the extension and the app, which are frozen when Lambda would freeze
//! them. Nothing is left behind when this process is told to end. Where it is killed, the kernel
//! kills those two, but not what they have started.

use std::ffi::OsString;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use dispatch_model::{Config, Gauges, Limits, Stats};
use emulator::model::InitFailure;
use emulator::{Emulator, Event, Function, Program};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::edge::EdgeSettings;
use io_tokio::net::listen;
use io_tokio::observe::{AccessLog, Observer};
use io_tokio::pool::DEFAULT_POOL;
use io_tokio::routes::Routes;
use io_tokio::running::{Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use io_tokio::tls::RouterIdentity;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Readiness};
use crate::aws::LambdaInvoker;
use crate::cost;
use crate::line_writer::{LineWriter, Sink};
use crate::logging;
use crate::metrics::Metrics;
use crate::open_files::OpenFiles;
use crate::recorder::Recorders;
use crate::settings::{Log, Recorder};

/// What the local system is asked to be.
#[derive(Clone, Debug)]
pub struct Local {
    /// Where clients come in.
    pub listen: SocketAddr,
    /// How the pool behaves.
    pub limits: Limits,
    /// Added to the time that a new environment takes to start.
    pub cold_start: Duration,
    /// The function's time-out.
    pub function_timeout: Duration,
    /// The function's memory, in MB. Not enforced; for the bill.
    pub memory_mb: u32,
    /// The variable in which the app is told its port.
    pub port_env: String,
    /// The command that starts the app; empty for the built-in one.
    pub command: Vec<OsString>,
}

/// The limits of a pool whose environments take this much longer to start.
pub(crate) fn limits(cold_start: Duration, slots: u32) -> Limits {
    let usual = Limits::default();
    Limits {
        cold_start: (!cold_start.is_zero()).then_some(cold_start),
        queue_timeout: usual.queue_timeout + cold_start,
        slots,
        start_timeout: usual.start_timeout + cold_start,
        ..usual
    }
}

/// The system while it runs.
#[derive(Debug)]
pub struct System {
    /// The router.
    pub router: Running,
    /// Lambda.
    pub emulator: Emulator,
    /// Where clients come in.
    pub address: SocketAddr,
    failures: mpsc::UnboundedReceiver<String>,
}

impl System {
    /// Starts the system. No instance runs yet. What the app prints goes to `output`.
    ///
    /// # Errors
    ///
    /// The address is taken, or a command does not exist; the message says what to do.
    pub(crate) async fn start(
        local: &Local,
        files: OpenFiles,
        output: Option<Arc<LineWriter>>,
        access: Arc<dyn AccessLog>,
        observer: impl Observer,
    ) -> anyhow::Result<Self> {
        let advice = "stop what uses it, or choose another address with --listen";
        let clients = bind(local.listen, advice)?;
        let address = clients.local_addr()?;
        let instances = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "no port is free")?;
        let callback_url = format!("https://{}", instances.local_addr()?);
        let (failed, failures) = mpsc::unbounded_channel();
        let emulator = start_emulator(local, files, watch_programs(local, output, failed)).await?;
        let identity = RouterIdentity::generate()?;
        let router = Running::start(Parts {
            clients: vec![(clients, None)],
            wire_v1: None,
            pools: vec![PoolParts {
                config: Config::new(local.limits)?,
                settings: PoolSettings {
                    name: DEFAULT_POOL.to_owned(),
                    function: FUNCTION.to_owned(),
                    callback_url,
                    identity: Some(identity.clone()),
                    seed: rand::random(),
                    chance: Chance::System,
                },
                invoker: Arc::new(LambdaInvoker::local(&emulator.endpoint())?),
                access: Arc::clone(&access),
                observer,
            }],
            routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
            clock: Clock::start(),
            instances: vec![(instances, Some(identity))],
            edge: EdgeSettings { boot: rand::random(), ..EdgeSettings::default() },
            access,
        });
        Ok(Self { router, emulator, address, failures })
    }

    /// How its pool stands, as it changes.
    ///
    /// # Errors
    ///
    /// None: it has one.
    pub fn gauges(&self) -> anyhow::Result<watch::Receiver<(Gauges, Stats)>> {
        self.router.gauges(DEFAULT_POOL).context("the router has no pool")
    }

    /// Starts `count` instances and waits until they serve, which shows that the whole chain works.
    /// They stay until [`Self::let_go`].
    ///
    /// # Errors
    ///
    /// The app did not get ready; the message says what was tried and what to do.
    pub async fn warm(&mut self, local: &Local, count: u32) -> anyhow::Result<()> {
        let mut gauges = self.gauges()?;
        self.router.limit_instances(DEFAULT_POOL, count, local.limits.instances_max);
        tokio::select! {
            biased;
            failure = self.failures.recv() => {
                bail!("{}", failure.unwrap_or_else(|| "the emulator has ended".to_owned()))
            }
            ready = gauges.wait_for(|(gauges, _)| gauges.ready >= count) => {
                ready.context("the router has ended")?;
            }
        }
        Ok(())
    }

    /// Lets idle instances leave again.
    pub fn let_go(&self, local: &Local) {
        let Limits { instances_min, instances_max, .. } = local.limits;
        self.router.limit_instances(DEFAULT_POOL, instances_min, instances_max);
    }

    /// Ends everything: requests get a moment to finish, then no process is left.
    pub async fn stop(self) {
        self.router.drain(LOCAL_DRAIN).await;
        self.emulator.shutdown().await;
    }
}

/// Runs the system until Ctrl-C, with an admin port if there is an address for one. What the model
/// is told and does is recorded, all of it if there is a file for it.
///
/// # Errors
///
/// It could not be started, or the app did not get ready.
pub async fn run(
    local: Local,
    admin: Option<SocketAddr>,
    record: Option<PathBuf>,
) -> anyhow::Result<()> {
    logging::start(&Log::default())?;
    let recorders = Recorders::start(&Recorder { file: record, ..Recorder::default() })?;
    let recorder = recorders.pool(DEFAULT_POOL, 1)?;
    let admin = match admin {
        None => None,
        Some(address) => {
            let advice = "stop what uses it, or choose another address with --admin";
            Some(bind(address, advice)?)
        }
    };
    let metrics = Metrics::new();
    let counts = metrics.pool(DEFAULT_POOL);
    counts.set_price(cost::per_second(local.memory_mb));
    let output = LineWriter::start("standard output", Sink::stdout());
    let output = Arc::new(output.context("cannot start threads")?);
    let shown = Some(Arc::clone(&output));
    let observer = (counts.watch(), recorder);
    let files = OpenFiles::raise();
    let mut system = System::start(&local, files, shown, counts.clone(), observer).await?;
    let (readiness, ready) = watch::channel(Readiness::Starting);
    let mut interrupted = pin!(interrupted());
    let started = tokio::select! {
        biased;
        _ = &mut interrupted => None,
        warmed = system.warm(&local, local.limits.instances_min.max(1)) => Some(warmed),
    };
    if let Some(Ok(())) = started {
        system.let_go(&local);
        readiness.send_replace(Readiness::Ready);
        if let Some(admin) = admin {
            let address = admin.local_addr()?;
            output.write(format!("dashboard: http://{address}/dashboard\n"));
            output.write(format!("admin: http://{address}/metrics\n"));
            tokio::spawn(admin::serve(admin, ready, metrics));
        }
        output.write(format!("ready: http://{}\n", system.address));
        interrupted.await?;
        output.write("stopping\n".to_owned());
    }
    system.stop().await;
    started.unwrap_or(Ok(()))
}

/// Returns when it is told to end: on Ctrl-C, SIGTERM and SIGQUIT, and when its terminal is closed.
async fn interrupted() -> std::io::Result<()> {
    let mut pressed = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut quit = signal(SignalKind::quit())?;
    let hung_up = async {
        // Whoever starts it with `nohup` wants it to outlive the terminal.
        if is_ignored(SignalKind::hangup()) {
            return pending().await;
        }
        signal(SignalKind::hangup())?.recv().await;
        Ok(())
    };
    tokio::select! {
        biased;
        _ = pressed.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
        _ = quit.recv() => Ok(()),
        hung_up = hung_up => hung_up,
    }
}

/// Whether this process was started so that a signal does nothing.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (signal.as_raw_value() - 1)) != 0)
}

/// Lambda, with a function whose environments run the extension and the app.
async fn start_emulator(
    local: &Local,
    files: OpenFiles,
    observer: impl Fn(&Event) + Send + Sync + 'static,
) -> anyhow::Result<Emulator> {
    let app = if local.command.is_empty() {
        own_program(crate::DEMO_APP)?
    } else {
        local.command.clone()
    };
    let mut extension = Program::new(EXTENSION, own_program(crate::EXTENSION)?);
    extension.env.push(("LAMBDA_DISPATCH_ROUTER_CIDRS".into(), "127.0.0.0/8".into()));
    let mut function = Function::new(FUNCTION, vec![extension, Program::new(APP, app)]);
    function.port_env = Some(local.port_env.clone());
    let mut config = emulator::Config {
        observer: Arc::new(observer),
        seed: rand::random(),
        wrapper: Some(wrapper(files)?),
        ..emulator::Config::default()
    };
    config.service.cold_start = local.cold_start;
    config.service.function_timeout = local.function_timeout;
    config.service.memory_mb = local.memory_mb;
    Ok(Emulator::start(config, function).await?)
}

/// Shows what the app prints and what the extension warns of, and passes on what keeps them from
/// getting ready.
fn watch_programs(
    local: &Local,
    output: Option<Arc<LineWriter>>,
    failed: mpsc::UnboundedSender<String>,
) -> impl Fn(&Event) + Send + Sync + 'static {
    // What the extension said last, which is why it ends if it does.
    let said = Mutex::new(String::new());
    let advice = format!(
        "the app must listen on 127.0.0.1, on the port in ${}, and answer GET /health with a \
         status below 500 (LAMBDA_DISPATCH_READINESS_PATH chooses another path, and with \
         LAMBDA_DISPATCH_READINESS_PROTOCOL=tcp a connection is enough)",
        local.port_env
    );
    move |event| match event {
        Event::Line { program, line, .. } if program == EXTENSION => {
            if is_detail(line) {
                tracing::debug!("{event}");
            } else {
                tracing::warn!("{event}");
                *said.lock().unwrap_or_else(PoisonError::into_inner) = format!(": {line}");
            }
        }
        Event::Line { .. } => {
            if let Some(output) = &output {
                output.write(format!("{event}\n"));
            }
        }
        Event::Exited { program, end, .. } => {
            tracing::warn!("{event}");
            let why = if program == EXTENSION {
                let said = said.lock().unwrap_or_else(PoisonError::into_inner);
                format!("the extension ended before the app was ready ({end}){said}")
            } else {
                format!("the app ended before it was ready ({end}); {advice}")
            };
            failed.send(why).ok();
        }
        Event::InitFailed { cause, .. } => {
            tracing::warn!("{event}");
            let slow = if *cause == InitFailure::TimedOut {
                "; if it needs longer than the 10 s that Lambda gives, set \
                 LAMBDA_DISPATCH_ASYNC_INIT=true, and LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT to the \
                 seconds that it needs"
            } else {
                ""
            };
            failed.send(format!("the app did not get ready ({cause}); {advice}{slow}")).ok();
        }
        Event::SpawnFailed { error, .. } => {
            tracing::warn!("{event}");
            failed.send(format!("the app cannot be started: {error}")).ok();
        }
        other @ (Event::Billed(_)
        | Event::EnvironmentStarted { .. }
        | Event::Frozen { .. }
        | Event::InitDone { .. }
        | Event::Killed { .. }
        | Event::Thawed { .. }
        | _) => tracing::debug!("{other}"),
    }
}

/// Whether a line is one of a log that nobody needs to see. What is no line of a log at all is said
/// for a reason: a setting is wrong, or there was a panic.
fn is_detail(line: &str) -> bool {
    matches!(line.split_whitespace().nth(1), Some("TRACE" | "DEBUG" | "INFO"))
}

/// The command that starts another one, as this program would have been started: tied to its life,
/// and with its old limit of open files.
pub(crate) fn wrapper(files: OpenFiles) -> anyhow::Result<Vec<OsString>> {
    let mut command = own_program(crate::EXEC)?;
    command.extend(files.as_argument());
    Ok(command)
}

/// The command that makes this program one of those that it needs beside itself.
pub(crate) fn own_program(name: &str) -> anyhow::Result<Vec<OsString>> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(vec![this.into_os_string(), OsString::from(name)])
}

/// Listens, or says what to do about it.
pub(crate) fn bind(address: SocketAddr, advice: &str) -> anyhow::Result<TcpListener> {
    listen(address).map_err(|error| anyhow!("cannot listen on {address}: {error}; {advice}"))
}

pub(crate) const FUNCTION: &str = "local";
/// What the programs of an environment are called in its output.
const APP: &str = "app";
const EXTENSION: &str = "extension";
/// On a developer's machine nobody waits long after Ctrl-C.
const LOCAL_DRAIN: Duration = Duration::from_secs(2);
