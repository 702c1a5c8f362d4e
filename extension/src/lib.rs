//! The extension of lambda-dispatch: what runs beside a web app inside AWS Lambda.
//!
//! It plays Lambda's runtime: it takes invokes, and an invoke is an order to *serve*. It dials back
//! to the router that sent it, and relays the requests that come over that link to the app on this
//! machine, until the lease ends or the router has no more work. Then it returns the invoke, and
//! the environment is frozen until the next.
//!
//! ```text
//!  Lambda's API ◀──▶ invokes ──▶ ┌──────────────────┐ ──▶ session ◀── HTTP/2 ──▶ router
//!                                │ Lifecycle (model)│       │
//!  app ◀── readiness ──────────▶ └──────────────────┘       └─ relay ─▶ app
//! ```
//!
//! What to do when is decided by [`dispatch_model::lifecycle`]; here it is done.
//!
//! | file | what |
//! |---|---|
//! | `invokes`, `lambda_api` | invokes are taken from Lambda and returned to it |
//! | `performer` | the machine's orders are carried out |
//! | `network` | whom the extension talks to |
//! | `session`, `wire_v1` | one link to a router, on our wire or on the original's |
//! | `signs_of_life` | that something comes from the router at all |
//! | `relay`, `stream` | one request, and what it comes on |
//! | `app`, `upgrade` | the app, by the protocol that it speaks, and when it goes on in another |
//! | `readiness`, `hooks` | when the app is ready, and what it is told about a snapshot |
//! | `hold` | how an app keeps its environment running after a response |
//! | `compression` | of the app's answers |
//! | `memory` | what many requests at once needed is given back |
//! | [`settings`] | what the operator wants, all of it in environment variables |
//! | `web_adapter` | which variables of Lambda Web Adapter's do nothing here |

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::lifecycle::{Input, Lifecycle};
use io_tokio::clock::Clock;
use io_tokio::lifecycle_driver::{self, Inputs, drive};
use io_tokio::net::{Connector, EVENTS_PER_TURN};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod app;
mod compression;
mod hold;
pub mod hooks;
mod invokes;
mod lambda_api;
mod memory;
pub mod network;
mod performer;
mod readiness;
mod relay;
mod session;
pub mod settings;
mod signs_of_life;
mod stream;
mod upgrade;
mod web_adapter;
mod wire_v1;

use invokes::{CurrentOffer, Invokes};
pub use lambda_api::LambdaApiError;
use lambda_api::{ExtensionEvent, ExtensionId, Failure, LambdaApi, time_left};
use network::Network;
use performer::Hands;
use settings::{Runtime, Settings};

/// Runs the extension of this process's environment to its end: the whole of `main`.
///
/// Wrong settings are one line on standard error and exit status 2; a failure is status 1.
#[must_use]
pub fn main_from_env() -> ExitCode {
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(error) => return stop(&error, 2),
    };
    log_from_env();
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    for notice in web_adapter::notices(variables) {
        tracing::warn!("{notice}");
    }
    let runtime = match runtime(settings.runtime) {
        Ok(runtime) => runtime,
        Err(error) => return stop(&error, 1),
    };
    let network = Network::tcp(settings.router_networks.clone());
    let ended = runtime.block_on(run(settings, network, Clock::start(), terminated()));
    // Whatever is still running is of no use to anybody.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stop(&error, 1),
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a process, for whoever started it")]
fn stop(error: &dyn std::error::Error, status: u8) -> ExitCode {
    eprintln!("lambda-dispatch-extension: {error}");
    ExitCode::from(status)
}

/// Logs to standard error what `LAMBDA_DISPATCH_LOG` asks for: a level, or levels for parts of the
/// program (`warn,lambda_dispatch_extension=debug`). Without it, or if it is wrong, `info`.
fn log_from_env() {
    let asked = std::env::var("LAMBDA_DISPATCH_LOG").ok().filter(|asked| !asked.is_empty());
    let found = asked.as_deref().map(log_filter);
    let is_wrong = matches!(found, Some(None));
    let filter = found.flatten();
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    // Whoever runs us as a part of another program logs in its own way.
    drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
    if is_wrong {
        tracing::warn!(
            asked,
            "LAMBDA_DISPATCH_LOG must be off, error, warn, info, debug, trace, or \
             target=level,...; it counts as info"
        );
    }
}

/// What a text lets through, if it is a list of levels and TARGET=LEVEL.
fn log_filter(text: &str) -> Option<Targets> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.collect();
    // A word that is no level is a target to `tracing`, beside which nothing is logged.
    let is_meant = |part: &&str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    if parts.is_empty() || !parts.iter().all(is_meant) {
        return None;
    }
    parts.join(",").parse().ok()
}

fn runtime(kind: Runtime) -> Result<tokio::runtime::Runtime, std::io::Error> {
    let mut builder = match kind {
        Runtime::CurrentThread => tokio::runtime::Builder::new_current_thread(),
        Runtime::MultiThread(threads) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().max_io_events_per_tick(EVENTS_PER_TURN).build()
}

/// Returns when the process is asked to end by a signal.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Why the extension ended other than it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The app did not get ready, or went away.
    #[error(
        "the app on port {port} did not get ready in time or is gone; \
         LAMBDA_DISPATCH_PORT must be the port it listens on, and with asynchronous init \
         LAMBDA_DISPATCH_ASYNC_INIT_TIMEOUT no less than the seconds it needs"
    )]
    App {
        /// Where it should have listened.
        port: u16,
    },
    /// The app cannot live with a snapshot of its environment.
    #[error(transparent)]
    Hook(#[from] hooks::HookError),
    /// Lambda's API cannot be used.
    #[error(transparent)]
    LambdaApi(#[from] LambdaApiError),
}

/// Runs an extension until Lambda or `stop` ends it.
///
/// # Errors
///
/// See [`RunError`].
pub async fn run<C: Connector>(
    settings: Settings,
    network: Network<C>,
    clock: Clock,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let settings = Arc::new(settings);
    let model = Lifecycle::new(settings.lifecycle, clock.now());
    let (inputs, received) = lifecycle_driver::inputs();
    let (orders, invoke_orders) = mpsc::channel(performer::ORDERS_MAX);
    let offer = CurrentOffer::default();
    let api = || LambdaApi::new(network.local.clone(), settings.runtime_api.clone(), clock.clone());

    // Lambda counts an extension as started once it has registered, so before anything else.
    let mut events = api();
    let id = match events.register(&settings.extension_name).await {
        Ok(id) => Some(id),
        Err(error) => {
            tracing::warn!(%error, "not registered as an extension: no notice before the end");
            None
        }
    };
    let mut tasks = JoinSet::new();
    if let Some(id) = id.clone() {
        tasks.spawn(await_shutdown(events, id, clock.clone(), inputs.clone()));
    }
    let stopping = inputs.clone();
    tasks.spawn(async move {
        stop.await;
        stopping.tell(Input::Shutdown { left: STOP_PATIENCE }).await;
    });
    let invokes = Invokes::new(
        api(),
        network.local.clone(),
        Arc::clone(&settings),
        clock.clone(),
        offer.clone(),
        inputs.clone(),
    );
    let mut invokes = tokio::spawn(invokes.run(invoke_orders));
    let hands = Hands {
        settings: Arc::clone(&settings),
        network: network.clone(),
        clock: clock.clone(),
        offer,
        inputs,
        invokes: orders,
        link: None,
        probe: None,
    };
    let failed = tokio::select! {
        biased;
        failed = drive(model, clock.clone(), received, hands) => failed,
        ended = &mut invokes => return ended.unwrap_or(Ok(())),
    };
    // The hands are gone, so the last answer is the last order.
    if tokio::time::timeout(STOP_PATIENCE, invokes).await.is_err() {
        tracing::warn!("Lambda took no answer to the last invoke");
    }
    if !failed {
        return Ok(());
    }
    let error = RunError::App { port: settings.app_port };
    if let Some(id) = id {
        let message = error.to_string();
        let failure = Failure { kind: "Extension.AppConnectionError", message: &message };
        let mut api = api();
        match tokio::time::timeout(STOP_PATIENCE, api.exit_error(&id, failure)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "Lambda did not hear why"),
            Err(_) => tracing::warn!("Lambda did not hear why"),
        }
    }
    Err(error)
}

async fn await_shutdown<C: Connector>(
    mut api: LambdaApi<C>,
    id: ExtensionId,
    clock: Clock,
    inputs: Inputs,
) {
    loop {
        match api.next_event(&id).await {
            Ok(ExtensionEvent { event_type, deadline_ms }) if event_type == "SHUTDOWN" => {
                let left = time_left(deadline_ms, &clock).unwrap_or(STOP_PATIENCE);
                inputs.tell(Input::Shutdown { left }).await;
                return;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "no notice before the end");
                return;
            }
        }
    }
}

/// How long the process takes to end when nobody says how long it may.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_asks_for_nothing() {
        for wrong in ["warning", "verbose", "info,verbose", "io_tokio", "io_tokio=loud"] {
            assert_eq!(log_filter(wrong), None, "{wrong}");
        }
        let warn = Targets::new().with_default(LevelFilter::WARN);
        assert_eq!(log_filter("Warn"), Some(warn.clone()));
        let some = warn.with_target("io_tokio", LevelFilter::DEBUG);
        assert_eq!(log_filter("warn, io_tokio=debug,"), Some(some));
    }
}
