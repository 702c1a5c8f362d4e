//! The app of an environment: an HTTP/1.1 server that does with each request what the plan says of
//! it, and keeps book.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use emulator::model::EnvironmentId;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::fault::FaultKind;

use super::body::{Arrived, Paced, check};
use super::wire::{Gate, Wire};
use super::world::{At, World, zone_of};

/// An app, seen from outside.
#[derive(Debug)]
pub(super) struct App {
    /// All that it sends and receives passes here.
    pub(super) gate: Arc<Gate>,
    /// Connections that the extension has to it.
    pub(super) connections: Arc<AtomicU64>,
    /// Requests that it works on.
    running: AtomicU64,
    /// How many times as long as planned it takes to get ready; `None` is for ever.
    init: Option<u32>,
    ready: AtomicBool,
    gone: AtomicBool,
}

impl App {
    pub(super) fn new(init: Option<u32>) -> Self {
        Self {
            gate: Arc::default(),
            connections: Arc::default(),
            running: AtomicU64::new(0),
            init,
            ready: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }
    }

    /// Starts it: it listens after `init`, or as many times that as it was made for.
    pub(super) fn start(self: &Arc<Self>, init: Duration) {
        let Some(times) = self.init else { return };
        let app = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(init * times).await;
            app.ready.store(true, Ordering::Relaxed);
        });
    }

    /// Whether it takes connections.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn is_starting(&self) -> bool {
        !self.ready.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// It ends, and takes what runs on it along.
    pub(super) fn crash(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.gate.smash();
    }
}

/// Serves one connection.
pub(super) async fn serve(world: Arc<World>, id: EnvironmentId, app: Arc<App>, io: Wire) {
    let service = service_fn(move |request| {
        let (world, app) = (Arc::clone(&world), Arc::clone(&app));
        async move { Ok::<_, Infallible>(answer(&world, id, &app, request).await) }
    });
    // What breaks is the extension's to notice.
    drop(http1::Builder::new().serve_connection(TokioIo::new(io), service).await);
}

/// Counts a request as running until it is dropped.
struct Running<'a>(&'a App);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer(
    world: &World,
    id: EnvironmentId,
    app: &App,
    request: Request<Incoming>,
) -> Response<Paced> {
    let number = request.headers().get(NUMBER).and_then(|it| it.to_str().ok()?.parse().ok());
    let Some(number) = number else {
        // The probe, which asks whether the app is ready.
        return Response::new(Paced::new(Bytes::new(), Duration::ZERO, true));
    };
    app.running.fetch_add(1, Ordering::Relaxed);
    let _running = Running(app);
    let arrival = {
        let mut state = world.state();
        let Some(entry) = state.request(number) else {
            state.breaks(|| format!("an app is sent request {number}, which nobody sent"));
            return Response::new(Paced::new(Bytes::new(), Duration::ZERO, true));
        };
        entry.seen += 1;
        entry.by = Some(id);
        if entry.stage == At::Router {
            entry.stage = At::App;
        }
        entry.arrival
    };
    strike(world, id, FaultKind::ResetHead);
    let expected = world.bodies.of(number, arrival.upload);
    match check(request.into_body(), &expected).await {
        Arrived::Whole => {}
        // The client, or the link, is gone; nobody waits for an answer.
        Arrived::Cut => std::future::pending().await,
        Arrived::Wrong => {
            let mut state = world.state();
            state.breaks(|| format!("(12) request {number} reaches its app with a wrong body"));
        }
    }
    let zone = zone_of(id);
    if world.fires(&[FaultKind::CrashOnRequest], zone) {
        world.state().exited(id);
    }
    if world.fires(&[FaultKind::AppHang], zone) {
        std::future::pending::<()>().await;
    }
    let mut service = arrival.service;
    {
        let mut state = world.state();
        if let Some(times) = state.faults.size(FaultKind::AppSlow, zone) {
            state.fired(FaultKind::AppSlow);
            service *= times.max(1);
        }
        state.service_max = state.service_max.max(service);
    }
    // Every fourth begins its answer half-way through.
    let rest =
        if number.is_multiple_of(4) && arrival.download > 0 { service / 2 } else { Duration::ZERO };
    tokio::time::sleep(service - rest).await;
    if arrival.download > 0 {
        strike(world, id, FaultKind::ResetBody);
    }
    let body = world.bodies.of(number, arrival.download);
    let mut response = Response::new(Paced::new(body, rest, number % 3 > 0));
    if !arrival.hold.is_zero() {
        let millis = arrival.hold.as_millis();
        let span = format!("{millis}ms").parse().expect("digits and letters");
        response.headers_mut().insert("lambda-dispatch-wait-until", span);
    }
    response
}

/// Lets a fault of this kind that waits for this very moment happen to the link of `id`.
pub(super) fn strike(world: &World, id: EnvironmentId, kind: FaultKind) {
    let mut state = world.state();
    let link = state.environments.get(&id).and_then(|there| there.link.clone());
    let Some(link) = link.filter(|link| link.is_open()) else { return };
    if !state.faults.take_armed(kind) {
        return;
    }
    state.fired(kind);
    drop(state);
    if kind == FaultKind::ResetBody {
        // The head and a little more.
        link.cut_after(CUT_AFTER);
    } else {
        link.smash();
    }
}

/// The header that says which request it is.
pub(super) const NUMBER: &str = "x-number";
const CUT_AFTER: u64 = 80;
