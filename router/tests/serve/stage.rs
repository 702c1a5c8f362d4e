//! A router that runs as a process of its own, and the emulated Lambda that it invokes.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator::model::{self, Stage as Life};
use emulator::{Config, Emulator, Event, Function, Observer, Program};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::client::{Answer, Client};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_lambda-dispatch");
/// The router's AWS credentials, which it must not tell anybody.
pub(crate) const ACCESS_KEY: &str = "AKIDOFTHETESTS";
pub(crate) const SECRET_KEY: &str = "the-secret-key-of-the-tests";

/// Both, and how to look at them. Dropping it kills every process.
pub(crate) struct Stage {
    pub(crate) router: Router,
    pub(crate) emulator: Emulator,
    pub(crate) said: Arc<Mutex<String>>,
}

impl Stage {
    /// With the demo's app behind it. `settings` are the router's, beside addresses.
    pub(crate) async fn demo(settings: &[&str]) -> Self {
        Self::with_app(Some(Self::demo_app()), settings).await
    }

    pub(crate) fn demo_app() -> Program {
        Program::new("app", [BINARY, "__demo-app"])
    }

    /// With `app` in each environment beside the extension.
    pub(crate) async fn with_app(app: Option<Program>, settings: &[&str]) -> Self {
        Self::set(app, Arc::new(|_: &Event| {}), &[], settings).await
    }

    /// With an app that runs in the test: `serve` is given each connection to it. `environment` is
    /// the extension's.
    pub(crate) async fn served<F>(
        environment: &[(&str, &str)],
        settings: &[&str],
        serve: impl Fn(TcpStream) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (started, mut ports) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(port) = ports.recv().await {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                let serve = serve.clone();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream));
                    }
                });
            }
        });
        let observer = Arc::new(move |event: &Event| {
            if let Event::EnvironmentStarted { port, .. } = event {
                // The test may be over.
                started.send(*port).ok();
            }
        });
        Self::set(None, observer, environment, settings).await
    }

    /// All of it but Lambda's limits: `observer` is told what happens in Lambda.
    pub(crate) async fn set(
        app: Option<Program>,
        observer: Observer,
        environment: &[(&str, &str)],
        settings: &[&str],
    ) -> Self {
        let service = model::Config {
            function_timeout: Duration::from_secs(300),
            ..model::Config::default()
        };
        Self::in_service(service, app, observer, environment, settings).await
    }

    /// All of it.
    pub(crate) async fn in_service(
        service: model::Config,
        app: Option<Program>,
        observer: Observer,
        environment: &[(&str, &str)],
        settings: &[&str],
    ) -> Self {
        let (emulator, said) = Self::lambda(service, app, observer, environment).await;
        let router = Router::start(&emulator.endpoint(), settings).await;
        Self { router, emulator, said }
    }

    /// Lambda alone, and what happens there, with every line that a program writes.
    pub(crate) async fn lambda(
        service: model::Config,
        app: Option<Program>,
        observer: Observer,
        environment: &[(&str, &str)],
    ) -> (Emulator, Arc<Mutex<String>>) {
        let mut extension = Program::new("extension", [BINARY, "__extension"]);
        extension.env.push(("LAMBDA_DISPATCH_ROUTER_CIDRS".into(), "127.0.0.0/8".into()));
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        extension.env.extend(environment);
        let programs = std::iter::once(extension).chain(app).collect();
        let wrapper = Some(vec![BINARY.into(), "__exec".into()]);
        let said = Arc::<Mutex<String>>::default();
        let lines = Arc::clone(&said);
        let observer = Arc::new(move |event: &Event| {
            let mut said = lines.lock().unwrap();
            said.push_str(&event.to_string());
            said.push('\n');
            drop(said);
            observer(event);
        });
        let config = Config { observer, service, wrapper, ..Config::default() };
        (Emulator::start(config, Function::new("web", programs)).await.unwrap(), said)
    }

    /// What happened in Lambda so far, with every line that a program there wrote.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until no instance runs: what was invoked has returned, and is frozen or gone.
    pub(crate) async fn until_instances_have_ended(&self) {
        until("instances end", async || {
            let environments = self.emulator.environments().await;
            environments.iter().all(|it| it.stage == Life::Idle)
        })
        .await;
    }

    /// The process of the extension in the oldest environment.
    pub(crate) async fn extension(&self) -> u32 {
        let environments = self.emulator.environments().await;
        let pids = environments.iter().flat_map(|it| &it.pids);
        pids.copied()
            .find(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains("__extension")
            })
            .unwrap()
    }
}

/// `lambda-dispatch serve`.
pub(crate) struct Router {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Router {
    /// Starts it and waits until it is ready. A setting that begins with `--` is a flag.
    pub(crate) async fn start(lambda: &str, settings: &[&str]) -> Self {
        Self::start_by(serve, lambda, settings).await
    }

    /// The same, by a command that has yet to get its settings.
    pub(crate) async fn start_by(
        serve: impl Fn() -> Command,
        lambda: &str,
        settings: &[&str],
    ) -> Self {
        // A port that is free when it is chosen may be taken when it is used; then others are.
        for _ in 0..10 {
            let [http, https, control, admin] = free_addresses();
            let addresses = [
                format!("listen.http={http}"),
                format!("listen.https={https}"),
                format!("listen.control={control}"),
                format!("listen.admin={admin}"),
                format!("aws.endpoint={lambda}"),
            ];
            let mut command = serve();
            command.args(["--function", "web"]);
            for setting in addresses.iter().map(String::as_str).chain(settings.iter().copied()) {
                match setting.starts_with("--") {
                    true => command.arg(setting),
                    false => command.args(["--set", setting]),
                };
            }
            let mut child = command.spawn().unwrap();
            let log = Arc::default();
            let stderr = child.stderr.take().unwrap();
            tokio::spawn(collect(stderr, Arc::clone(&log)));
            let mut router = Self { child, http, https, admin, log };
            if router.gets_ready().await {
                return router;
            }
        }
        panic!("no router starts");
    }

    async fn gets_ready(&mut self) -> bool {
        let mut ended = false;
        let child = &mut self.child;
        until("the router is ready", async || {
            ended = child.try_wait().unwrap().is_some();
            ended || readiness(self.admin).await == Some(200)
        })
        .await;
        assert!(!ended || self.log().contains("cannot listen on"), "it ended: {}", self.log());
        !ended
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        Client::connect(self.http).await.get(target).await.unwrap()
    }

    /// How many requests have ended so.
    pub(crate) async fn ended(&self, status: u16, reason: &str) -> u32 {
        let series = format!(
            "dispatch_requests_total{{pool=\"default\",status=\"{status}\",reason=\"{reason}\"}} "
        );
        let page = self.metrics().await;
        page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
    }

    async fn metrics(&self) -> String {
        Client::connect(self.admin).await.get("/metrics").await.unwrap().text()
    }

    /// The sum of all series of a metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.metrics().await;
        let series = page.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        let values: Vec<f64> =
            series.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!values.is_empty(), "no metric {name} in {page}");
        values.iter().sum()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// How it ended, which must not take long.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the router ends").unwrap()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Captured with the test's own output.
            std::io::stderr().write_all(self.log().as_bytes()).ok();
        }
    }
}

/// The command without anything that the person who runs the tests may have set.
pub(crate) fn serve() -> Command {
    let mut command = alone(BINARY);
    command.arg("serve");
    command
}

/// The same from a shell that does `first` before.
pub(crate) fn serve_after(first: &str) -> Command {
    let mut command = alone("/bin/sh");
    command.args(["-c", &format!("{first} && exec \"$0\" \"$@\""), BINARY, "serve"]);
    command
}

fn alone(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("LAMBDA_DISPATCH_CALLBACK_HOST", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    // All held at once, so that they differ.
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// What `/readyz` answers, if it does.
pub(crate) async fn readiness(admin: SocketAddr) -> Option<u16> {
    Some(Client::try_connect(admin).await.ok()?.get("/readyz").await.ok()?.status)
}

/// The most memory that a process ever had resident, in MiB.
pub(crate) fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Waits until `condition` holds, as long as a slow machine may need.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain until {what}");
}

async fn collect(mut from: impl tokio::io::AsyncRead + Unpin, to: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        to.lock().unwrap().extend_from_slice(&bytes[..count]);
    }
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
