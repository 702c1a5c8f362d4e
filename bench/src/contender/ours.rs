//! lambda-dispatch: `serve` as a process of its own with everything on that production has, and the
//! extension's own program, started by the emulator in this process. The emulator takes no part in
//! requests: it holds one invoke for each instance.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use emulator::{Config, Emulator, Event, Function, Program, model};
use tokio::process::Command;

use super::{INSTANCES, Part, Running, ration, v1};
use crate::processes::{self, Side, command, free_addresses, ours, pid, spawn, wrapper};

/// How it is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours<'a> {
    /// Whether the link between router and extension is encrypted.
    pub(super) tls: bool,
    /// Threads that serve in the router. One, as the others have.
    pub(super) workers: u32,
    /// Whether each of these threads has a twentieth of a core.
    pub(super) rationed: bool,
    /// Instances that run, or with `by_need` may run.
    pub(super) instances: u32,
    /// Slots of each.
    pub(super) slots: u32,
    /// Whether there is no instance before it is needed.
    pub(super) by_need: bool,
    /// Whether the link speaks the original's protocol.
    pub(super) wire_v1: bool,
    /// Where its programs are, if not beside this one.
    pub(super) programs: Option<&'a Path>,
}

impl Default for Ours<'_> {
    fn default() -> Self {
        Self {
            tls: false,
            workers: 1,
            rationed: false,
            instances: 1,
            slots: 100,
            by_need: false,
            wire_v1: false,
            programs: None,
        }
    }
}

impl Ours<'_> {
    pub(super) async fn start(self, app: SocketAddr, folder: &Path) -> anyhow::Result<Running> {
        let router = ours(self.programs, "lambda-dispatch")?;
        if self.wire_v1 {
            v1::known_to(&router).await?;
        }
        let first_poll = Arc::new(Mutex::new(None));
        let emulator = self.emulator(app, Arc::clone(&first_poll)).await?;
        let filter = if self.wire_v1 {
            let lambda = emulator.endpoint();
            let lambda = lambda.trim_start_matches("http://").parse()?;
            Some(v1::Filter::before(lambda).await?)
        } else {
            None
        };
        let endpoint = filter.as_ref().map_or_else(|| emulator.endpoint(), v1::Filter::endpoint);
        let [http, control, plaintext, admin] = free_addresses()?;
        let log = folder.join("router.log");
        let side = if self.rationed { Side::Both } else { Side::Hops };
        let mut command = command(side, &router)?;
        command.arg("serve").args(["--function", "web"]);
        let settings = [
            format!("listen.http={http}"),
            format!("listen.control={control}"),
            format!("listen.admin={admin}"),
            format!("log.access={}", folder.join("access.log").display()),
            format!("recorder.dump={}", folder.join("recording").display()),
            format!("aws.endpoint={endpoint}"),
            format!("pool.slots={}", self.slots),
            format!("pool.instances_min={}", if self.by_need { 0 } else { self.instances }),
            format!("pool.instances_max={}", self.instances),
            format!("pool.starts_unproven_max={}", self.instances),
            format!("workers={}", self.workers),
        ];
        let plain = [
            format!("listen.control_plaintext={plaintext}"),
            "listen.allow_plaintext_control=true".to_owned(),
            "callback.scheme=http".to_owned(),
        ];
        let plain = if self.tls { &[] } else { plain.as_slice() };
        for setting in settings.iter().chain(plain) {
            command.args(["--set", setting]);
        }
        if self.wire_v1 {
            command.args(["--set", v1::ROUTER]);
        }
        alone(&mut command);
        let mut child = spawn(&mut command, &log)?;
        let (at, path) = if self.by_need { (admin, "/readyz") } else { (http, "/") };
        let ready = processes::until_it_answers(at, path, &mut child, &log).await;
        ready.context("the router does not get ready")?;
        let mut running = Running::direct(http);
        running.h2 = Some(http);
        let router = pid(&child)?;
        if self.rationed {
            ration::ration(router, self.workers).await?;
        }
        running.parts.push(Part { name: "router", pids: vec![router] });
        running.children.push(child);
        if !self.by_need {
            let pids = self.instances(&emulator).await?;
            running.parts.push(Part { name: INSTANCES, pids });
        }
        let init: Option<Duration> = *first_poll.lock().expect("nobody panics with it");
        // Many that start at once wait for each other.
        let alone = init.filter(|_| self.instances == 1);
        running.first_poll_ms = alone.map(|init| init.as_secs_f64() * 1e3);
        running.emulator = Some(emulator);
        running.filter = filter;
        Ok(running)
    }

    async fn emulator(
        self,
        app: SocketAddr,
        first_poll: Arc<Mutex<Option<Duration>>>,
    ) -> anyhow::Result<Emulator> {
        let path = ours(self.programs, "lambda-dispatch-extension")?;
        let mut extension = Program::new("lambda-dispatch-extension", [path]);
        let mut set = |name: &str, value: &str| extension.env.push((name.into(), value.into()));
        // All instances share the one app, so that it is the same process for every contender.
        set("LAMBDA_DISPATCH_PORT", &app.port().to_string());
        set("LAMBDA_DISPATCH_ROUTER_CIDRS", "127.0.0.0/8");
        set("LAMBDA_DISPATCH_ALLOW_INSECURE", if self.tls { "false" } else { "true" });
        set("LAMBDA_DISPATCH_LOG", "warn");
        if self.wire_v1 {
            set(v1::EXTENSION.0, v1::EXTENSION.1);
        }
        let observer = Arc::new(move |event: &Event| {
            if let Event::InitDone { init, .. } = event
                && let Ok(mut first) = first_poll.lock()
            {
                first.get_or_insert(*init);
            }
        });
        let service = model::Config { function_timeout: LEASE, ..model::Config::default() };
        let wrapper = Some(wrapper(Side::Hops)?);
        let config = Config { observer, service, wrapper, ..Config::default() };
        let emulator = Emulator::start(config, Function::new("web", vec![extension])).await;
        emulator.context("no Lambda emulator")
    }

    /// The extensions' processes, once all are there.
    async fn instances(self, emulator: &Emulator) -> anyhow::Result<Vec<u32>> {
        for _ in 0..ATTEMPTS {
            let environments = emulator.environments().await;
            let pids: Vec<_> = environments.iter().flat_map(|it| &it.pids).copied().collect();
            if pids.len() == self.instances as usize {
                return Ok(pids);
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        bail!("there are not {} instances after a minute", self.instances)
    }
}

/// Without anything that the person who runs this may have set.
pub(crate) fn alone(command: &mut Command) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .env("LAMBDA_DISPATCH_CALLBACK_HOST", "127.0.0.1");
}

/// The longest that Lambda has: of more the extension believes nothing, and takes a minute instead.
const LEASE: Duration = Duration::from_secs(15 * 60);
const ATTEMPTS: u32 = 600;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);
