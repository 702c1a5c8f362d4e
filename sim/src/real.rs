//! The real adapters over a simulated network: the router that `serve` runs and the extension that
//! runs in Lambda, byte for byte, with everything around them in virtual time.
//!
//! ```text
//!   client ──HTTP/1.1──▶ router ◀──attach, HTTP/2── extension ──HTTP/1.1──▶ app
//!   (host)              (host)    (turmoil)   └────── AWS: the third host ──────┘
//!                          │ Invoker                    ▲ Lambda's APIs
//!                          └──────▶ emulator::model::Model ─┘
//! ```
//!
//! It finds what the models cannot see: half-open connections, flow control, cancellation, what a
//! stream says when its connection breaks, shutdown. What the models decide is checked as in
//! [`fast`](crate::fast), by the same books, fed by an observer of the driver; what clients and
//! apps see is checked here. Everything runs on one thread and nothing reads the machine's clock or
//! chance, so that a plan gives the same run each time.
//!
//! | file | what |
//! |---|---|
//! | `world` | what everybody shares: requests, Lambda, what is going wrong |
//! | `router`, `client` | the hosts that these are |
//! | `lambda`, `environment`, `app` | AWS's side |
//! | `wire`, `body` | streams that can be stopped and broken; bodies that can be checked |
//! | `faults` | lets the plan's faults happen |
//!
//! There are three hosts, because what a simulated network costs grows with the cube of their
//! number and is paid each millisecond. All environments share one, and zones are drawn into it by
//! `wire`: what a zone's links lose, or get late, is decided at the streams' ends.
//!
//! The link is plaintext: TLS draws on chance of its own, and is tested apart.

mod app;
mod body;
mod client;
mod environment;
mod faults;
mod lambda;
mod router;
mod wire;
mod world;

use std::cell::RefCell;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dispatch_model::{Config, ConfigError, Time};
use io_tokio::recording::{Recording, replay};
use tokio::sync::mpsc;
use turmoil::Sim;

use crate::fast::Checks;
use crate::plan::Plan;
use crate::report::Outcome;

use environment::ROUTER;
use world::{Order, Stage, World};

/// Runs `plan` to its end: all requests have ended, the router has stopped, every invocation is
/// over. Gives the outcome, and the trace if it was asked for.
///
/// # Errors
///
/// The plan's limits are out of range.
pub fn run(plan: &Plan, checks: Checks) -> Result<(Outcome, String), ConfigError> {
    let config = Config::new(plan.pool.limits())?;
    hear_of_panics();
    PANIC.with(|panic| panic.take());
    let world = Arc::new(World::new(plan, config, checks));
    let mut sim = hosts(&world);
    let end = plan.healed().max(plan.last_arrival());
    let mut running = Running { world: Arc::clone(&world), horizon: end + HORIZON };
    while running.step(&mut sim) {}
    // Hosts go before what they share is looked at for the last time.
    drop(sim);
    if let Some(panic) = PANIC.with(|panic| panic.take()) {
        world.state().breaks(|| panic);
    }
    Ok(finish(&world))
}

fn hosts(world: &Arc<World>) -> Sim<'static> {
    let network = &world.plan.network;
    let mut sim = turmoil::Builder::new()
        .rng_seed(world.plan.seed)
        .epoch(UNIX_EPOCH)
        .tick_duration(TICK)
        .tcp_capacity(TCP_CAPACITY)
        .min_message_latency(network.delay_min)
        .max_message_latency(network.delay_max.max(network.delay_min))
        .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
        .build();
    let router = Arc::clone(world);
    sim.host(ROUTER, move || router::run(Arc::clone(&router)));
    let (sender, tasks) = mpsc::unbounded_channel();
    world.state().tasks = Some(sender);
    sim.client(AWS, environment::host(Arc::clone(world), tasks));
    let (sender, bursts) = mpsc::unbounded_channel();
    world.state().bursts = Some(sender);
    let client = Arc::clone(world);
    sim.client(CLIENT, async move {
        client::run(client, bursts).await;
        Ok(())
    });
    sim.set_link_latency(ROUTER, CLIENT, Duration::ZERO);
    sim
}

/// The loop around the simulation.
struct Running {
    world: Arc<World>,
    /// When nothing can be left of anything.
    horizon: Duration,
}

impl Running {
    /// Lets a tick pass; false when all is over or something is broken.
    fn step(&mut self, sim: &mut Sim<'_>) -> bool {
        let now = Time::ZERO + sim.elapsed();
        {
            let mut state = self.world.state();
            state.now = now;
            state.lambda_timeout();
        }
        faults::step(&self.world, sim);
        {
            let mut state = self.world.state();
            let dead = state.router.stage == Stage::Gone && !state.router.is_dying;
            if state.closing && dead && state.lambda.concurrency() == 0 {
                return false;
            }
            let idle = state.all_sent && state.live == 0 && state.faults.is_over();
            if idle && state.router.stage == Stage::Serving && !state.closing {
                state.closing = true;
                state.router_out(Stage::Stopping);
                if let Some(orders) = &state.router.orders {
                    orders.send(Order::Drain(DRAIN)).ok();
                }
            }
            if sim.elapsed() > self.horizon {
                let (live, stage) = (state.live, state.router.stage);
                let at_work = state.lambda.concurrency();
                state.breaks(|| {
                    format!("(14) {live} requests and {at_work} invokes live, router {stage:?}")
                });
            }
            if state.broken.is_some() {
                return false;
            }
        }
        if let Err(error) = sim.step() {
            self.world.state().breaks(|| format!("the simulation ended: {error}"));
        }
        PANIC.with(|panic| panic.borrow().is_none())
    }
}

/// Looks at what is left, and replays what the dispatchers did.
fn finish(world: &World) -> (Outcome, String) {
    let mut state = world.state();
    let report = &state.report;
    let refused = report.refusals();
    let (came, served) = (report.requests, report.served);
    let (cancelled, lost) = (report.cancelled, report.lost);
    if came != served + cancelled + lost + refused {
        state.breaks(|| {
            format!("(1) {came} came: {served} + {cancelled} + {lost} + {refused} ended")
        });
    }
    let open = state.environments.values().filter(|there| there.has_link()).count();
    if open > 0 {
        state.breaks(|| format!("(13) {open} links are open at the end"));
    }
    let bytes = state.record.take();
    let read = Recording::read(&bytes).map_err(|error| error.to_string());
    if let Err(why) = read.and_then(|it| replay(&it).map_err(|it| it.to_string())) {
        state.breaks(|| format!("a fresh dispatcher does otherwise: {why}"));
    }
    state.report.took = state.now.saturating_since(Time::ZERO);
    let recording = world.checks.record.then_some(bytes);
    let (report, broken) = (state.report.clone(), state.broken.clone());
    let outcome = Outcome { report, broken, recording };
    (outcome, std::mem::take(&mut state.trace))
}

/// The time on the wall, which is everybody's but for the faults of theirs.
fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(EPOCH_S) + turmoil::sim_elapsed().unwrap_or_default()
}

/// A panic in a spawned task ends only that task: it is kept here, so that it fails the run.
fn hear_of_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANIC.with(|kept| {
                // Not while it is being looked at, which cannot panic.
                if let Ok(mut kept) = kept.try_borrow_mut() {
                    kept.get_or_insert_with(|| panic.to_string());
                }
            });
            before(panic);
        }));
    });
}

thread_local! {
    /// The first panic of this thread's run.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Where the wall clocks begin, in seconds since 1970: some moment of 2027.
const EPOCH_S: u64 = 1_800_000_000;
const TICK: Duration = Duration::from_millis(1);
/// Writes that a connection, and connections that a listener, may have waiting.
const TCP_CAPACITY: usize = 16_384;
const AWS: &str = "aws";
const CLIENT: &str = "client";
const CLIENTS_PORT: u16 = 5001;
const INSTANCES_PORT: u16 = 5003;
/// How long the router has to stop when all is done.
const DRAIN: Duration = Duration::from_secs(60);
/// Longer than all that can be left over after the last fault and the last arrival.
const HORIZON: Duration = Duration::from_secs(1_200);
