//! One environment: a real extension, an app beside it, and Lambda's two APIs between it and the
//! model of the service.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use emulator::model::{EnvironmentId, Input, InvokeId};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::net::Connector;
use io_tokio::payload::CheckedOffer;
use lambda_dispatch_extension::network::Network;
use lambda_dispatch_extension::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::{mpsc, oneshot};

use crate::fault::{Fault, FaultKind};

use super::app::{self, App};
use super::faults::attach_as;
use super::wire::{Gate, Link, Purpose, Wire};
use super::world::{World, zone_of};

/// An environment, seen from outside.
#[derive(Debug)]
pub(super) struct Environment {
    /// All that its processes send and receive passes here.
    pub(super) gate: Arc<Gate>,
    pub(super) app: Arc<App>,
    /// The link that it dialled last.
    pub(super) link: Option<Arc<Link>>,
    /// The invoke that it holds.
    pub(super) holding: Option<Delivery>,
    pub(super) is_frozen: bool,
    /// The runtime's call for an invoke, and what came before that.
    runtime: Option<oneshot::Sender<Delivery>>,
    undelivered: Option<Delivery>,
    /// The extension's call for an event, and whether it is to end.
    events: Option<oneshot::Sender<Duration>>,
    shutdown: Option<Duration>,
    /// Ends its processes when dropped.
    _life: oneshot::Sender<Infallible>,
}

/// What the zone needs to run one.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) id: EnvironmentId,
    gate: Arc<Gate>,
    app: Arc<App>,
    killed: oneshot::Receiver<Infallible>,
}

/// An invoke on its way to the runtime.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) invoke: InvokeId,
    pub(super) payload: Bytes,
    pub(super) left: Duration,
}

impl Environment {
    /// One whose app needs so many times as long as planned to get ready, or for ever.
    pub(super) fn new(id: EnvironmentId, init: Option<u32>) -> (Self, Start) {
        let (life, killed) = oneshot::channel();
        let (gate, app) = (Arc::<Gate>::default(), Arc::new(App::new(init)));
        let start = Start { id, gate: Arc::clone(&gate), app: Arc::clone(&app), killed };
        let there = Self {
            gate,
            app,
            link: None,
            holding: None,
            is_frozen: false,
            runtime: None,
            undelivered: None,
            events: None,
            shutdown: None,
            _life: life,
        };
        (there, start)
    }

    /// Nothing of it is left; its sockets tell so.
    pub(super) fn die(self) {
        self.gate.smash();
    }

    pub(super) fn has_link(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_open())
    }

    pub(super) fn app_connections(&self) -> u64 {
        self.app.connections.load(Ordering::Relaxed)
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        match self.runtime.take() {
            Some(runtime) => self.undelivered = runtime.send(delivery).err(),
            None => self.undelivered = Some(delivery),
        }
    }

    pub(super) fn tell_of_shutdown(&mut self, left: Duration) {
        match self.events.take() {
            Some(events) => drop(events.send(left)),
            None => self.shutdown = Some(left),
        }
    }
}

/// What is to be done where environments are.
#[derive(Debug)]
pub(super) enum Task {
    /// Attach as somebody else.
    Attach {
        fault: Fault,
        instance: String,
        offer: CheckedOffer,
    },
    Start(Start),
}

/// Does what is ordered, for ever.
pub(super) async fn host(
    world: Arc<World>,
    mut tasks: mpsc::UnboundedReceiver<Task>,
) -> turmoil::Result {
    while let Some(task) = tasks.recv().await {
        let world = Arc::clone(&world);
        match task {
            Task::Attach { fault, instance, offer } => {
                tokio::spawn(attach_as(world, fault, instance, offer));
            }
            Task::Start(start) => {
                tokio::spawn(run(world, start));
            }
        }
    }
    Ok(())
}

/// Runs an environment's processes to their end.
async fn run(world: Arc<World>, start: Start) {
    let zone = zone_of(start.id);
    let Start { id, gate, app, killed } = start;
    let clock = Clock::simulated(super::wall(), world.steps[zone as usize].clone());
    let settings = settings(&world);
    let connector =
        Dialler { world: Arc::clone(&world), id, zone, gate: Arc::clone(&gate), app: app.clone() };
    let network = Network::same(connector);
    app.start(world.plan.lambda.init);
    let extension =
        lambda_dispatch_extension::run(settings, network, clock, std::future::pending());
    tokio::select! {
        biased;
        // Nothing is ever sent.
        _ = killed => {}
        _ = extension => world.state().exited(id),
    }
    gate.smash();
}

fn settings(world: &World) -> Settings {
    let variables = [
        ("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{API_PORT}")),
        ("LAMBDA_DISPATCH_ALLOW_INSECURE", "true".to_owned()),
        ("LAMBDA_DISPATCH_PORT", APP_PORT.to_string()),
    ];
    let settings = Settings::read(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    });
    let mut settings = settings.expect("these settings are right");
    settings.lifecycle = world.plan.extension.config();
    settings
}

/// The network of one environment.
#[derive(Clone, Debug)]
struct Dialler {
    world: Arc<World>,
    id: EnvironmentId,
    zone: u32,
    gate: Arc<Gate>,
    app: Arc<App>,
}

impl Connector for Dialler {
    type Io = Wire;

    async fn connect(&self, _: &str, port: u16) -> io::Result<Wire> {
        match port {
            API_PORT => Ok(self.api()),
            APP_PORT => self.app(),
            _ => self.router().await,
        }
    }
}

impl Dialler {
    fn api(&self) -> Wire {
        let (near, far) = duplex(PIPE_BYTES);
        let (world, id) = (Arc::clone(&self.world), self.id);
        let service = service_fn(move |request| {
            let world = Arc::clone(&world);
            async move { Ok::<_, Infallible>(serve_api(&world, id, request).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        // An error is the end of the environment.
        tokio::spawn(async move { drop(connection.await) });
        Wire::new(near, vec![Arc::clone(&self.gate)], Purpose::Plain)
    }

    fn app(&self) -> io::Result<Wire> {
        if !self.app.is_ready() {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        {
            let mut state = self.world.state();
            let serves = state.environments.get(&self.id).is_some_and(|it| it.has_link());
            if serves && state.faults.is_on(FaultKind::Refuse, self.zone) {
                state.fired(FaultKind::Refuse);
                return Err(ErrorKind::TimedOut.into());
            }
        }
        let (near, far) = duplex(PIPE_BYTES);
        let gates = || vec![Arc::clone(&self.gate), Arc::clone(&self.app.gate)];
        let far = Wire::new(far, gates(), Purpose::Plain);
        tokio::spawn(app::serve(Arc::clone(&self.world), self.id, Arc::clone(&self.app), far));
        let count = Arc::clone(&self.app.connections);
        Ok(Wire::new(near, gates(), Purpose::ToApp(count)))
    }

    async fn router(&self) -> io::Result<Wire> {
        // Nothing comes back: the packets are sent again and again.
        let lost = [
            FaultKind::Hold,
            FaultKind::Partition,
            FaultKind::PartitionFromRouter,
            FaultKind::PartitionToRouter,
        ];
        while self.world.fires(&lost, self.zone) {
            tokio::time::sleep(RETRANSMIT).await;
        }
        let slow = self.world.state().faults.size(FaultKind::ConnectSlow, self.zone);
        if let Some(ms) = slow {
            self.world.state().fired(FaultKind::ConnectSlow);
            tokio::time::sleep(Duration::from_millis(ms.into())).await;
        }
        if self.world.fires(&[FaultKind::ConnectRefused], self.zone) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        if self.world.fires(&[FaultKind::Untrusted], self.zone) {
            return Ok(impostor());
        }
        let stream = turmoil::net::TcpStream::connect((ROUTER, super::INSTANCES_PORT)).await?;
        let mut state = self.world.state();
        let link = state.links.remove(&stream.local_addr()?).unwrap_or_default();
        link.in_zone(self.zone);
        if let Some(there) = state.environments.get_mut(&self.id) {
            there.link = Some(Arc::clone(&link));
        }
        drop(state);
        let gates = vec![Arc::clone(&self.gate), Arc::clone(&link.near)];
        let purpose = Purpose::Near { link, world: Arc::clone(&self.world) };
        Ok(Wire::new(stream, gates, purpose))
    }
}

/// Somebody who answers in the router's place, and is not one.
fn impostor() -> Wire {
    let (near, mut far) = duplex(PIPE_BYTES);
    tokio::spawn(async move {
        let mut said = [0; 64];
        if far.read(&mut said).await.is_ok() {
            drop(far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
        }
    });
    Wire::new(near, Vec::new(), Purpose::Plain)
}

/// Lambda's two APIs, as far as the extension calls them.
async fn serve_api(
    world: &World,
    id: EnvironmentId,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let segments: Vec<_> = path.split('/').skip(2).collect();
    match (request.method(), segments.as_slice()) {
        (&Method::POST, ["extension", "register"]) => {
            world.state().register(id);
            with_headers(Bytes::new(), [("lambda-extension-identifier", "x1".to_owned())])
        }
        (&Method::GET, ["extension", "event", "next"]) => next_event(world, id).await,
        (&Method::GET, ["runtime", "invocation", "next"]) => next_invoke(world, id).await,
        (&Method::POST, ["runtime", "invocation", invoke, how @ ("response" | "error")]) => {
            let invoke = invoke.parse().map(InvokeId::new);
            let failed = *how == "error";
            if request.into_body().collect().await.is_err() {
                return status(StatusCode::BAD_REQUEST);
            }
            let Ok(invoke) = invoke else { return status(StatusCode::BAD_REQUEST) };
            let mut state = world.state();
            if !state.lambda.serves(id, invoke) {
                return status(StatusCode::BAD_REQUEST);
            }
            state.tell_lambda(if failed {
                Input::ErrorPosted { environment: id, invoke }
            } else {
                Input::ResponsePosted { environment: id, invoke }
            });
            status(StatusCode::ACCEPTED)
        }
        (&Method::POST, ["runtime" | "extension", "init" | "exit", "error"]) => {
            world.state().tell_lambda(Input::InitErrorPosted { environment: id });
            status(StatusCode::ACCEPTED)
        }
        _ => {
            world.state().breaks(|| format!("{id} calls {path}, which there is not"));
            status(StatusCode::NOT_FOUND)
        }
    }
}

async fn next_invoke(world: &World, id: EnvironmentId) -> Response<Full<Bytes>> {
    let (asking, answer) = oneshot::channel();
    {
        let mut state = world.state();
        let Some(there) = state.environments.get_mut(&id) else {
            return status(StatusCode::FORBIDDEN);
        };
        match there.undelivered.take() {
            Some(delivery) => drop(asking.send(delivery)),
            None => {
                there.runtime = Some(asking);
                state.tell_lambda(Input::RuntimeNext { environment: id });
            }
        }
    }
    let Ok(Delivery { invoke, payload, left }) = answer.await else {
        return status(StatusCode::FORBIDDEN);
    };
    with_headers(
        payload,
        [
            ("lambda-runtime-aws-request-id", invoke.number().to_string()),
            ("lambda-runtime-deadline-ms", epoch_ms_in(left).to_string()),
        ],
    )
}

async fn next_event(world: &World, id: EnvironmentId) -> Response<Full<Bytes>> {
    let (asking, answer) = oneshot::channel();
    {
        let mut state = world.state();
        let Some(there) = state.environments.get_mut(&id) else {
            return status(StatusCode::FORBIDDEN);
        };
        match there.shutdown.take() {
            Some(left) => drop(asking.send(left)),
            None => {
                there.events = Some(asking);
                state.await_event(id);
            }
        }
    }
    let Ok(left) = answer.await else { return status(StatusCode::FORBIDDEN) };
    let event = format!(r#"{{"eventType":"SHUTDOWN","deadlineMs":{}}}"#, epoch_ms_in(left));
    with_headers(event.into(), [])
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = with_headers(Bytes::new(), []);
    *response.status_mut() = status;
    response
}

fn with_headers<const N: usize>(
    body: Bytes,
    headers: [(&'static str, String); N],
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).expect("digits and letters");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

/// How Lambda states deadlines: by its own wall clock, which is right.
fn epoch_ms_in(left: Duration) -> u64 {
    let at = super::wall() + left;
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How many bytes a connection within an environment holds.
const PIPE_BYTES: usize = 64 << 10;
const API_PORT: u16 = 9001;
const APP_PORT: u16 = 3001;
const RETRANSMIT: Duration = Duration::from_secs(1);
/// The router's name in the simulated network.
pub(super) const ROUTER: &str = "router";
