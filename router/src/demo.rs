//! `lambda-dispatch demo`: the product's promise in half a minute, measured.
//!
//! The same burst is sent twice to the same emulated Lambda: once the way Lambda itself dispatches,
//! each request bound to an environment when it arrives, and once through the router. Everything is
//! real but the account: processes, sockets, the AWS client. Nothing is computed beforehand.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use dispatch_model::InvokeOutcome;
use emulator::model::Bill;
use emulator::{Emulator, Function, Program};
use hdrhistogram::Histogram;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use io_tokio::clock::Clock;
use io_tokio::invoker::Invoker;
use io_tokio::observe::Blind;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::aws::LambdaInvoker;
use crate::dev::{FUNCTION, Local, System, limits, own_program, wrapper};
use crate::direct::{DirectRequest, fetch};
use crate::logging;
use crate::open_files::OpenFiles;
use crate::settings::Log;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Print JSON, and no progress.
    pub json: bool,
    /// Requests, all at once.
    pub requests: u32,
    /// Requests that one instance serves at once.
    pub slots: u32,
    /// How long the app takes for each.
    pub service: Duration,
    /// Added to the time that a new environment takes to start.
    pub cold_start: Duration,
    /// Instances that are warm when the burst comes.
    pub warm: u32,
    /// The function's memory, in MB.
    pub memory_mb: u32,
}

/// What one way of dispatching did with the burst.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Requests answered with 200.
    served: u32,
    /// Requests that failed.
    failed: u32,
    /// Waits in milliseconds: the time until the answer, less the time that the app takes.
    wait_p50_ms: u64,
    wait_p99_ms: u64,
    wait_max_ms: u64,
    /// Requests that waited as long as a cold start takes.
    paid_cold_start: u32,
    /// Environments started for the burst.
    environments_started: u32,
    /// Invokes that were billed, and the time they were billed for.
    invokes: u64,
    billed_ms: u64,
    gb_seconds: f64,
    dollars: f64,
}

/// Runs both and prints them side by side.
///
/// # Errors
///
/// The system could not be started, or a request failed.
pub async fn run(demo: Demo) -> anyhow::Result<()> {
    logging::start(&Log { filter: "warn".to_owned(), ..Log::default() })?;
    let files = OpenFiles::raise();
    check_room(&demo, files)?;
    let lambda = by_lambda(&demo, files).await?;
    let router = by_router(&demo, files).await?;
    let text = if demo.json {
        let both = serde_json::json!({
            "requests": demo.requests,
            "slots": demo.slots,
            "service_ms": demo.service.as_millis(),
            "cold_start_ms": demo.cold_start.as_millis(),
            "warm": demo.warm,
            "memory_mb": demo.memory_mb,
            "lambda": lambda,
            "router": router,
        });
        serde_json::to_string_pretty(&both)? + "\n"
    } else {
        table(&demo, &lambda, &router)
    };
    crate::print(&text)?;
    let failed = lambda.failed + router.failed;
    ensure!(failed == 0, "{failed} requests failed; the log says why");
    Ok(())
}

/// Whether so many requests, and environments for them, fit into the files that may be open.
///
/// # Errors
///
/// They do not; the message says how many would.
fn check_room(demo: &Demo, files: OpenFiles) -> anyhow::Result<()> {
    let Some(now) = files.now else { return Ok(()) };
    let needed = u64::from(demo.requests) * FILES_PER_REQUEST + FILES;
    ensure!(
        now >= needed,
        "--requests {} needs {needed} open files, since each has an environment of its own on \
         Lambda, but this process may have {now}; raise the hard limit (`ulimit -Hn`), or give \
         --requests {} at most",
        demo.requests,
        now.saturating_sub(FILES) / FILES_PER_REQUEST
    );
    Ok(())
}

/// One request, one invoke, one environment.
async fn by_lambda(demo: &Demo, files: OpenFiles) -> anyhow::Result<Outcome> {
    let runtime = Program::new("runtime", own_program(crate::DIRECT)?);
    let app = Program::new("app", own_program(crate::DEMO_APP)?);
    let function = Function::new(FUNCTION, vec![runtime, app]);
    let mut config = emulator::Config {
        wrapper: Some(wrapper(files)?),
        observer: Arc::new(|event| tracing::debug!("{event}")),
        ..emulator::Config::default()
    };
    config.service.cold_start = demo.cold_start;
    config.service.memory_mb = demo.memory_mb;
    config.service.function_timeout = FUNCTION_TIMEOUT;
    let emulator = Emulator::start(config, function).await?;
    emulator.prewarm(demo.warm).await?;
    let invoker = Arc::new(LambdaInvoker::local(&emulator.endpoint())?);
    let payload = serde_json::to_vec(&DirectRequest { path: target(demo) })?;
    let waits = burst(demo, "as Lambda dispatches", move || {
        let (invoker, payload) = (Arc::clone(&invoker), payload.clone());
        async move {
            let invoked = invoker.invoke(FUNCTION, payload).await;
            ensure!(invoked.outcome == InvokeOutcome::Returned, "{}", invoked.detail);
            Ok(())
        }
    })
    .await?;
    all_billed(&emulator, waits.len()).await?;
    let outcome = outcome(demo, &waits, &emulator.bills().await);
    emulator.shutdown().await;
    Ok(outcome)
}

/// Through the router, into slots.
async fn by_router(demo: &Demo, files: OpenFiles) -> anyhow::Result<Outcome> {
    let local = Local {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        limits: limits(demo.cold_start, demo.slots),
        cold_start: demo.cold_start,
        function_timeout: FUNCTION_TIMEOUT,
        memory_mb: demo.memory_mb,
        port_env: "PORT".to_owned(),
        command: Vec::new(),
    };
    let mut system = System::start(&local, files, None, Arc::new(Blind), Blind).await?;
    // Warm means that their start is not billed to the burst, as in the other half.
    system.emulator.prewarm(demo.warm).await?;
    system.warm(&local, demo.warm).await?;
    system.let_go(&local);
    let (address, path) = (system.address.to_string(), target(demo));
    let waits = burst(demo, "through the router", move || {
        let (address, path) = (address.clone(), path.clone());
        async move {
            let response = fetch(&address, Method::GET, &path, Bytes::new()).await?;
            ensure!(response.status().is_success(), "status {}", response.status());
            Ok(())
        }
    })
    .await?;
    // An instance is billed when it has left, which it does when it has been idle for a while.
    let mut gauges = system.gauges()?;
    let gone = gauges
        .wait_for(|(now, _)| now.starting + now.ready + now.draining + now.detached == 0)
        .await;
    let invokes = gone.context("the router has ended")?.1.invokes;
    all_billed(&system.emulator, usize::try_from(invokes)?).await?;
    let outcome = outcome(demo, &waits, &system.emulator.bills().await);
    system.stop().await;
    Ok(outcome)
}

/// Waits until so many invokes are billed, which each is a moment after its answer, when its
/// environment is done with it.
async fn all_billed(emulator: &Emulator, invokes: usize) -> anyhow::Result<()> {
    let billed = async {
        while emulator.bills().await.len() < invokes {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LEAVE_LIMIT, billed).await.context("an invoke is not billed")
}

/// How long each request waited; `None` for one that failed.
type Waits = Vec<Option<Duration>>;

/// Sends all requests at once.
async fn burst<F>(demo: &Demo, how: &'static str, request: impl Fn() -> F) -> anyhow::Result<Waits>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let bar = progress(demo, how);
    let mut requests = JoinSet::new();
    let clock = Clock::start();
    for _ in 0..demo.requests {
        let (request, service, clock) = (request(), demo.service, clock.clone());
        requests.spawn(async move {
            let began = clock.now();
            let result = request.await;
            (clock.now().saturating_since(began).saturating_sub(service), result)
        });
    }
    let mut waits = Vec::new();
    while let Some(ended) = requests.join_next().await {
        let (wait, result) = ended?;
        if let Err(error) = &result {
            tracing::warn!("a request failed: {error:#}");
        }
        waits.push(result.is_ok().then_some(wait));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(waits)
}

fn outcome(demo: &Demo, waits: &Waits, bills: &[Bill]) -> Outcome {
    // Three digits up to an hour: more than the clock is worth.
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)
        .expect("bounds and digits are constants");
    let served: Vec<Duration> = waits.iter().flatten().copied().collect();
    for wait in &served {
        histogram.saturating_record(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX).max(1));
    }
    let ms = |micros: u64| (micros + 500) / 1_000;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let paid = |wait: &&Duration| !demo.cold_start.is_zero() && **wait >= demo.cold_start;
    let paid = served.iter().filter(paid).count();
    let mut used = reports::Bill::new(demo.memory_mb);
    bills.iter().for_each(|bill| used.add_ms(bill.billed_ms()));
    let prices = reports::Prices::builtin("us-east-1").expect("they are tested");
    let cost = prices.lambda(&used, reports::Arch::X86);
    Outcome {
        served: count(served.len()),
        failed: count(waits.len() - served.len()),
        wait_p50_ms: ms(histogram.value_at_quantile(0.5)),
        wait_p99_ms: ms(histogram.value_at_quantile(0.99)),
        wait_max_ms: ms(histogram.max()),
        paid_cold_start: count(paid),
        environments_started: count(bills.iter().filter(|bill| bill.cold).count()),
        invokes: used.requests(),
        billed_ms: used.billed_ms(),
        gb_seconds: used.gb_milliseconds() as f64 / 1e3,
        dollars: cost.picodollars() as f64 / 1e12,
    }
}

fn table(demo: &Demo, lambda: &Outcome, router: &Outcome) -> String {
    let mut text = format!(
        "\n{} requests at once, {:?} each; {} warm, {} slots, cold start {:?}, {} MB\n\n",
        demo.requests, demo.service, demo.warm, demo.slots, demo.cold_start, demo.memory_mb
    );
    let mut line = |name: &str, left: &str, right: &str| {
        text.push_str(&format!("{name:<28}{left:>16}{right:>20}\n"));
    };
    line("", "Lambda itself", "lambda-dispatch");
    let mut row = |name: &str, show: &dyn Fn(&Outcome) -> String| {
        line(name, &show(lambda), &show(router));
    };
    row("served", &|outcome| outcome.served.to_string());
    row("failed", &|outcome| outcome.failed.to_string());
    row("wait p50", &|outcome| format!("{} ms", outcome.wait_p50_ms));
    row("wait p99", &|outcome| format!("{} ms", outcome.wait_p99_ms));
    row("wait max", &|outcome| format!("{} ms", outcome.wait_max_ms));
    row("paid a cold start", &|outcome| outcome.paid_cold_start.to_string());
    row("environments started", &|outcome| outcome.environments_started.to_string());
    row("invokes", &|outcome| outcome.invokes.to_string());
    row("billed", &|outcome| format!("{:.3} GB-s", outcome.gb_seconds));
    row("Lambda's price", &|outcome| format!("${:.7}", outcome.dollars));
    text.push_str(
        "\nA wait is the time until the answer, less the time that the app takes. All\n\
         environments share this machine's cores, so many that start at once take longer\n\
         than on Lambda. Lambda bills an environment's own start, but not what --cold-start\n\
         adds. The router's own price comes on top: about $0.04 an hour for 1 vCPU and 2 GB\n\
         of Fargate on ARM.\n",
    );
    text
}

fn target(demo: &Demo) -> String {
    format!("/sleep?ms={}", demo.service.as_millis())
}

/// Shows how many requests have been answered.
fn progress(demo: &Demo, how: &'static str) -> ProgressBar {
    if demo.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(demo.requests.into()).with_message(how);
    match ProgressStyle::with_template("{msg:22} {bar:30} {pos}/{len} {elapsed_precise}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

const FUNCTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Both ends of its connection, and of an environment the pipes and the connections.
const FILES_PER_REQUEST: u64 = 11;
const FILES: u64 = 128;
/// How long environments may take to be done after the last answer.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);
