//! The emulator as its user holds it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::call::{Call, Calls};
use crate::config::{Config, Function};
use crate::http_server::HttpServer;
use crate::invoke_api;
use crate::model::{Bill, EnvironmentId, InitFailure, Stage};
use crate::owner::Owner;
use crate::processes::{Processes, check_program};

/// A running stand-in for AWS Lambda. Dropping it kills every process that it started.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    calls: Calls,
    processes: Processes,
    shutdown_limit: Duration,
    owner: JoinHandle<()>,
    invoke_api: Option<HttpServer>,
}

/// An environment, as [`Emulator::environments`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentInfo {
    /// Its number.
    pub id: EnvironmentId,
    /// Where it is in its life.
    pub stage: Stage,
    /// The processes that it runs: the leader of each program's process group.
    pub pids: Vec<u32>,
    /// The port that its app is to listen on; `None` before its processes start.
    pub port: Option<u16>,
}

/// Why environments could not be made ready ahead of invokes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrewarmError {
    /// One of them did not get ready.
    #[error("{environment} did not get ready: {cause}; its output says more")]
    InitFailed {
        /// Which.
        environment: EnvironmentId,
        /// How.
        cause: InitFailure,
    },
    /// The emulator is shutting down.
    #[error("the emulator is shutting down")]
    ShutDown,
}

impl Emulator {
    /// Opens the Invoke API for `function`. No environment is started before the first invoke.
    ///
    /// Must be called on a tokio runtime with I/O and time, which runs the emulator.
    ///
    /// # Errors
    /// If the function's name is not one, a command cannot be found (so that the mistake shows now
    /// and not in the first cold start), or the address cannot be listened on.
    pub async fn start(config: Config, function: Function) -> io::Result<Self> {
        if !invoke_api::is_name(&function.name) {
            let message = format!(
                "`{}` is not a function name: it must be 1 to 64 letters, digits, `-` and `_`",
                function.name
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        for program in &function.programs {
            check_program(&function, program)?;
        }
        let listener = io_tokio::net::listen(config.listen).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", config.listen))
        })?;
        let address = listener.local_addr()?;
        let (config, function) = (Arc::new(config), Arc::new(function));
        let (calls, incoming) = mpsc::channel(CALLS_MAX);
        let processes = Processes::new(&config, calls.clone())?;
        let owner = Owner::new(
            Arc::clone(&config),
            Arc::clone(&function),
            processes.clone(),
            (calls.clone(), incoming),
        );
        Ok(Self {
            address,
            processes,
            shutdown_limit: config.service.shutdown_budget + SHUTDOWN_GRACE,
            owner: tokio::spawn(owner.run()),
            invoke_api: Some(invoke_api::start(listener, config, function, calls.clone())),
            calls,
        })
    }

    /// Where the Invoke API is, such as `http://127.0.0.1:41234`: what `AWS_ENDPOINT_URL_LAMBDA`
    /// takes.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts `count` environments without an invoke, as earlier traffic would have left them, and
    /// waits until they are ready. Neither the ramp nor the bill counts them.
    ///
    /// # Errors
    /// If one did not get ready, or the emulator is shutting down.
    pub async fn prewarm(&self, count: u32) -> Result<(), PrewarmError> {
        let ready = self.ask(|reply| Call::Prewarm { count, reply }).await;
        ready.unwrap_or(Err(PrewarmError::ShutDown))
    }

    /// While `on`, every invoke is refused with 429: a fault to play.
    pub async fn throttle(&self, on: bool) {
        // A send that fails finds no emulator to throttle.
        drop(self.calls.send(Call::Throttle { on }).await);
    }

    /// What the invokes that are over cost, oldest first: the last 100,000.
    pub async fn bills(&self) -> Vec<Bill> {
        self.ask(|reply| Call::Bills { reply }).await.unwrap_or_default()
    }

    /// Every environment that is not gone.
    pub async fn environments(&self) -> Vec<EnvironmentInfo> {
        self.ask(|reply| Call::Environments { reply }).await.unwrap_or_default()
    }

    /// Kills the processes of an environment, as a crash would: the service only learns of it by
    /// their end. Says whether there was such an environment.
    pub async fn kill_environment(&self, environment: EnvironmentId) -> bool {
        self.ask(|reply| Call::KillEnvironment { environment, reply }).await.unwrap_or(false)
    }

    /// Ends every environment as AWS does, extensions first told, and waits until no process is
    /// left. Invokes in flight are answered with 503.
    pub async fn shutdown(mut self) {
        let ended = self.ask(|reply| Call::Shutdown { reply });
        if timeout(self.shutdown_limit, ended).await.is_err() {
            tracing::warn!("some processes have not ended and are left to the kernel");
        }
        if let Some(invoke_api) = self.invoke_api.take() {
            invoke_api.finish().await;
        }
    }

    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.owner.abort();
        self.processes.end();
    }
}

/// Calls that may wait for the owner.
const CALLS_MAX: usize = 1_024;

/// How long processes may take to be gone after they were killed.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
