//! The clients: they send the plan's traffic over HTTP/1.1 connections that they keep, check what
//! comes back, and sometimes leave before it does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_model::Time;
use http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::fault::FaultKind;
use crate::traffic::{self, Arrival};

use super::app::{NUMBER, strike};
use super::body::{Arrived, Paced, check};
use super::environment::ROUTER;
use super::world::{At, End, State, World};

/// Sends everything that the plan has, and what comes through `bursts`, for ever.
pub(super) async fn run(world: Arc<World>, mut bursts: mpsc::UnboundedReceiver<Arrival>) {
    let pool = Arc::<Pool>::default();
    let mut planned = traffic::arrivals(&world.plan.traffic, world.plan.seed).peekable();
    loop {
        let next = planned.peek().map(|arrival| arrival.at);
        world.state().all_sent = next.is_none();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep(at.saturating_since(now())).await,
                None => std::future::pending().await,
            }
        };
        let arrival = tokio::select! {
            biased;
            Some(arrival) = bursts.recv() => Some(arrival),
            () = due => planned.next(),
        };
        let Some(arrival) = arrival else { continue };
        let (number, give_up) = world.state().arrive(arrival);
        tokio::spawn(exchange(Arc::clone(&world), Arc::clone(&pool), number, arrival, give_up));
    }
}

/// This host's time since the start of the simulation.
fn now() -> Time {
    Time::ZERO + turmoil::sim_elapsed().unwrap_or_default()
}

/// Connections that nobody uses, with the moment since when.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<(Connection, Time)>>);

impl Pool {
    fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now().saturating_sub(IDLE_MAX);
        idle.retain(|(connection, since)| *since >= oldest && connection.sender.is_ready());
        idle.pop().map(|(connection, _)| connection)
    }

    fn put(&self, connection: Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((connection, now()));
    }
}

/// A connection to the router, which ends with this value.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Paced>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    async fn open() -> Option<Self> {
        let address = (ROUTER, super::CLIENTS_PORT);
        let stream = turmoil::net::TcpStream::connect(address).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        Some(Self { sender, driver: tokio::spawn(async move { drop(connection.await) }) })
    }
}

/// One request, from its arrival to whatever its client makes of it.
async fn exchange(
    world: Arc<World>,
    pool: Arc<Pool>,
    number: u32,
    arrival: Arrival,
    give_up: Arc<Notify>,
) {
    let leaves = async {
        match arrival.gives_up {
            Some(at) => tokio::time::sleep(at.saturating_since(now())).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        biased;
        () = give_up.notified() => End::Cancelled,
        () = leaves => End::Cancelled,
        end = send(&world, &pool, number, arrival) => end,
    };
    world.state().over(number, end);
}

async fn send(world: &World, pool: &Pool, number: u32, arrival: Arrival) -> End {
    let mut request = request(world, number, arrival);
    let (response, connection) = loop {
        let reused = pool.take();
        let is_reused = reused.is_some();
        let opened = match reused {
            Some(connection) => Some(connection),
            None => Connection::open().await,
        };
        let Some(mut connection) = opened else { return End::Lost };
        match connection.sender.try_send_request(request).await {
            Ok(response) => break (response, connection),
            // The connection had been closed meanwhile, and this request is not on it.
            Err(mut error) => match error.take_message() {
                Some(unsent) if is_reused => request = unsent,
                Some(_) | None => return End::Lost,
            },
        }
    };
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        check(body, &bytes::Bytes::new()).await;
        return End::Refused(head.status.as_u16());
    }
    let slow = world.state().faults.size(FaultKind::SlowReader, 0);
    if let Some(ms) = slow.filter(|_| arrival.download > 0) {
        world.state().fired(FaultKind::SlowReader);
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
    }
    let arrived = check(body, &world.bodies.of(number, arrival.download)).await;
    let is_last = head.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
    match arrived {
        Arrived::Whole if !is_last => pool.put(connection),
        Arrived::Whole => {}
        Arrived::Cut => return End::Served { whole: false },
        Arrived::Wrong => {
            let mut state = world.state();
            state.breaks(|| format!("(12) request {number} gets a wrong body as if it were right"));
        }
    }
    let by = world.state().request(number).and_then(|entry| entry.by);
    if let Some(by) = by {
        strike(world, by, FaultKind::ResetTail);
    }
    End::Served { whole: true }
}

fn request(world: &World, number: u32, arrival: Arrival) -> Request<Paced> {
    let mut rest = Duration::ZERO;
    if arrival.upload > 0 {
        let mut state = world.state();
        if let Some(ms) = state.faults.size(FaultKind::SlowUpload, 0) {
            state.fired(FaultKind::SlowUpload);
            rest = Duration::from_millis(ms.into());
        }
    }
    let body = world.bodies.of(number, arrival.upload);
    Request::builder()
        .method(if arrival.upload > 0 { Method::POST } else { Method::GET })
        .uri("/")
        .header(header::HOST, "app.example")
        .header(NUMBER, number)
        .body(Paced::new(body, rest, arrival.upload == 0 || number.is_multiple_of(2)))
        .expect("a right request")
}

impl State {
    /// A request has ended for its client.
    fn over(&mut self, number: u32, end: End) {
        let now = self.now;
        let Some(entry) = self.request(number) else { return };
        entry.stage = At::Over(end);
        let (arrival, seen) = (entry.arrival, entry.seen);
        let took = now.saturating_since(arrival.at);
        self.live -= 1;
        self.report.longest = self.report.longest.max(took);
        match end {
            End::Cancelled => self.report.cancelled += 1,
            End::Lost => self.report.lost += 1,
            End::Refused(status) => {
                *self.report.refused.entry(name(status)).or_default() += 1;
            }
            End::Served { .. } => self.report.served += 1,
        }
        if self.traced {
            self.trace.push_str(&format!("{now} request {number}: {end:?} after {took:?}\n"));
        }
        if matches!(end, End::Served { .. }) && seen == 0 {
            self.breaks(|| format!("(12) request {number} has a response and no app saw it"));
        }
        // A response that breaks before its head is out takes the connection with it.
        let cut = seen > 0 && !self.is_well;
        if end == End::Lost && !cut && !self.was_out_since(arrival.at) {
            self.breaks(|| format!("(1) request {number} is lost, and the router was there"));
        }
        if end == (End::Served { whole: false }) && self.is_well {
            self.breaks(|| format!("(12) request {number} is cut, and all is well"));
        }
        let repeats = self.repeats && arrival.upload == 0;
        if seen > 1 + u32::from(repeats) {
            self.breaks(|| format!("(2) request {number} was seen by {seen} apps"));
        }
        self.check_end(number, arrival, end, took);
    }

    /// Everything ends, and once all is calm it ends well and soon.
    fn check_end(&mut self, number: u32, arrival: Arrival, end: End, took: Duration) {
        let since = self.now.saturating_since(self.healed).min(took);
        let most = self.patience + self.service_max;
        if since > most {
            self.breaks(|| format!("(14) request {number} ends after {since:?} of {most:?}"));
        }
        let calm = self.calm.filter(|calm| self.may_wait && arrival.at >= *calm);
        let Some(calm) = calm else { return };
        let rounds = u32::try_from(self.requests.iter().filter(|it| it.arrival.at >= calm).count())
            .expect("fewer than 2^32 requests")
            .div_ceil(self.slots);
        let most = self.cold_start * 2 + self.service_max * rounds + SLACK;
        let well = matches!(end, End::Served { whole: true } | End::Cancelled);
        // All that may run may be hanging, or has no slot for this router.
        let gauges = &self.router.gauges;
        let taken = gauges.slots == 0 && gauges.ready + gauges.detached >= self.instances_max;
        if !taken && (!well || took > most) {
            self.breaks(|| {
                format!("(14) all was calm, and request {number} ends {end:?} after {took:?}")
            });
        }
    }
}

/// What a status is counted as.
const fn name(status: u16) -> &'static str {
    match status {
        400 => "400",
        408 => "408",
        429 => "429",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        _ => "another status",
    }
}

/// Connections that are idle for longer are not used again.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// For what is not counted: messages, ticks, a slot that is found a moment later.
const SLACK: Duration = Duration::from_secs(5);
