//! What everybody in a simulation shares: the books of requests, Lambda, and what is going wrong.
//! One thread runs it all, so a lock is only ever taken by one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_model::{Config, Gauges, Stats, Time};
use emulator::model::{EnvironmentId, InvokeId, Model};
use io_tokio::clock::Step as WallStep;
use io_tokio::edge::EdgeSettings;
use io_tokio::recording::{Step, Writer};
use tokio::sync::{Notify, mpsc};

use crate::fast::Checks;
use crate::fault::{FaultKind, ZONES};
use crate::plan::Plan;
use crate::report::{Report, State as PoolState};
use crate::traffic::Arrival;

use super::body::Bodies;
use super::environment::{Environment, Task};
use super::faults::Faults;
use super::lambda::Pending;
use super::wire::{Gate, Link, Stream};

/// Everything that is shared.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) config: Config,
    pub(super) checks: Checks,
    pub(super) bodies: Bodies,
    /// How far the wall clocks of each zone are ahead.
    pub(super) steps: Vec<WallStep>,
    state: Mutex<State>,
}

/// What changes.
pub(super) struct State {
    /// The start of this tick. Hosts run one after the other within it, each a little further.
    pub(super) now: Time,
    pub(super) faults: Faults,
    pub(super) lambda: Model,
    pub(super) invokes: BTreeMap<InvokeId, Pending>,
    pub(super) invoked: u64,
    pub(super) environments: BTreeMap<EnvironmentId, Environment>,
    /// What is to be done where environments are.
    pub(super) tasks: Option<mpsc::UnboundedSender<Task>>,
    /// Ends of links that nobody holds and whose peers do not know.
    pub(super) lost: Vec<Box<dyn Stream>>,
    /// Links that the router has accepted and whose dialler has not noticed yet.
    pub(super) links: BTreeMap<SocketAddr, Arc<Link>>,
    pub(super) requests: Vec<Request>,
    /// Requests whose client waits.
    pub(super) live: u32,
    /// Sends more than the plan's traffic.
    pub(super) bursts: Option<mpsc::UnboundedSender<Arrival>>,
    /// Whether the plan's traffic has all been sent.
    pub(super) all_sent: bool,
    pub(super) router: Router,
    /// The router is being stopped because all is done.
    pub(super) closing: bool,
    /// T, as the plan makes it.
    pub(super) cold_start: Duration,
    /// When the last fault is over.
    pub(super) healed: Time,
    /// From when on requests must be served well.
    pub(super) calm: Option<Time>,
    /// Who finds no slot is not refused at once.
    pub(super) may_wait: bool,
    /// The longest that a request takes beside its app's time.
    pub(super) patience: Duration,
    /// The longest that an app was asked to take.
    pub(super) service_max: Duration,
    pub(super) slots: u32,
    pub(super) instances_max: u32,
    /// Nothing goes wrong in this plan, and no response is cut.
    pub(super) is_well: bool,
    /// Requests without a body may be repeated.
    pub(super) repeats: bool,
    pub(super) traced: bool,
    /// All that happened to the dispatchers, one after the other.
    pub(super) record: Writer,
    pub(super) report: Report,
    pub(super) trace: String,
    pub(super) broken: Option<String>,
}

/// The router's process, seen from outside.
#[derive(Debug, Default)]
pub(super) struct Router {
    /// Counts its lives from 1.
    pub(super) life: u32,
    pub(super) stage: Stage,
    pub(super) orders: Option<mpsc::UnboundedSender<Order>>,
    /// All that it sends and receives passes here.
    pub(super) gate: Arc<Gate>,
    pub(super) is_dying: bool,
    pub(super) gauges: Gauges,
    pub(super) stats: Stats,
    /// From the moment it stopped serving to the one at which it served again.
    pub(super) outages: Vec<(Time, Time)>,
}

/// Whether there is a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not there.
    #[default]
    Gone,
    Serving,
    /// Told to stop; takes no new clients.
    Stopping,
    /// It has stopped, and its process is about to end.
    Stopped,
}

/// What the router is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Drain(Duration),
    Limits { instances_min: u32, instances_max: u32 },
}

/// A request as its client knows it, and what the apps have seen of it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) arrival: Arrival,
    pub(super) stage: At,
    /// Apps that have seen it.
    pub(super) seen: u32,
    /// Who saw it last.
    pub(super) by: Option<EnvironmentId>,
    /// Tells its client to give up.
    pub(super) give_up: Arc<Notify>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// On its way, or in line.
    Router,
    App,
    Over(End),
}

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Cancelled,
    /// The connection broke before a response, or nobody listened.
    Lost,
    /// Answered with an error.
    Refused(u16),
    /// Answered by an app; seen to be cut unless whole.
    Served {
        whole: bool,
    },
}

impl World {
    pub(super) fn new(plan: &Plan, config: Config, checks: Checks) -> Self {
        let longest = plan.traffic.iter().map(|it| it.upload.max(it.download)).max();
        Self {
            plan: plan.clone(),
            config,
            checks,
            bodies: Bodies::new(longest.unwrap_or_default() as usize),
            steps: (0..ZONES).map(|_| WallStep::default()).collect(),
            state: Mutex::new(State {
                now: Time::ZERO,
                faults: Faults::new(&plan.fault),
                lambda: Model::new(plan.lambda.config(), plan.seed, Time::ZERO),
                invokes: BTreeMap::new(),
                invoked: 0,
                environments: BTreeMap::new(),
                tasks: None,
                lost: Vec::new(),
                links: BTreeMap::new(),
                requests: Vec::new(),
                live: 0,
                bursts: None,
                all_sent: false,
                router: Router::default(),
                closing: false,
                cold_start: plan.lambda.cold_start(),
                healed: Time::ZERO + plan.healed(),
                calm: plan.calm.map(|calm| Time::ZERO + calm),
                may_wait: plan.pool.queue_len_max > 0,
                patience: patience(plan),
                service_max: Duration::ZERO,
                slots: plan.pool.slots,
                instances_max: plan.pool.instances_max,
                // An invoke that ends early cuts what takes longer.
                is_well: plan.fault.is_empty() && plan.lambda.function_timeout >= LONG,
                repeats: plan.pool.retry_repeatable,
                traced: checks.trace,
                record: Writer::empty(),
                report: Report::default(),
                trace: String::new(),
                broken: None,
            }),
        }
    }

    /// The shared state. Never held while something is polled or dropped that might want it.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of these faults befalls `zone` now; counts it.
    pub(super) fn fires(&self, kinds: &[FaultKind], zone: u32) -> bool {
        let mut state = self.state();
        let on = kinds.iter().find(|kind| state.faults.is_on(**kind, zone));
        on.map(|kind| state.fired(*kind)).is_some()
    }

    /// Whether bytes that are sent over a link of `zone` now are lost; counts it.
    pub(super) fn loses(&self, zone: Option<&u32>, to_router: bool) -> bool {
        let one_way =
            if to_router { FaultKind::PartitionToRouter } else { FaultKind::PartitionFromRouter };
        let zone = zone.copied();
        zone.is_some_and(|zone| self.fires(&[FaultKind::Partition, one_way], zone))
    }

    /// Keeps a stream whose peer is not to hear of its end.
    pub(super) fn lose(&self, io: Box<dyn Stream>) {
        self.state().lost.push(io);
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("seed", &self.plan.seed).finish_non_exhaustive()
    }
}

impl State {
    /// Notes the first thing that does not hold; it ends the run.
    pub(super) fn breaks(&mut self, message: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(format!("at {}: {}", self.now, message()));
        }
    }

    /// Counts a fault that has changed something, with the state in which it did.
    pub(super) fn fired(&mut self, kind: FaultKind) {
        self.report.fired.note(kind);
        let gauges = &self.router.gauges;
        let is = |state| match state {
            PoolState::Idle => gauges.queued == 0 && gauges.running == 0,
            PoolState::Serving => gauges.running > 0 && gauges.queued == 0,
            PoolState::Queueing => gauges.queued > 0 && gauges.ready > 0,
            PoolState::Starting => gauges.starting > 0,
            PoolState::Draining => gauges.draining > 0,
            PoolState::Stopping => self.router.stage != Stage::Serving,
        };
        for (state, _) in PoolState::ALL.into_iter().filter(|(state, _)| is(*state)) {
            self.report.marks.note(kind, state);
        }
    }

    /// A client is about to send a request; gives its number.
    pub(super) fn arrive(&mut self, arrival: Arrival) -> (u32, Arc<Notify>) {
        self.report.requests += 1;
        self.live += 1;
        let number = u32::try_from(self.requests.len()).expect("fewer than 2^32 requests");
        let give_up = Arc::<Notify>::default();
        self.requests.push(Request {
            arrival,
            stage: At::Router,
            seen: 0,
            by: None,
            give_up: Arc::clone(&give_up),
        });
        (number, give_up)
    }

    pub(super) fn request(&mut self, number: u32) -> Option<&mut Request> {
        self.requests.get_mut(number as usize)
    }

    /// Whether there was a moment since `since` at which no router served.
    pub(super) fn was_out_since(&self, since: Time) -> bool {
        self.router.stage != Stage::Serving
            || self.router.outages.iter().any(|(_, until)| *until >= since)
    }

    /// The router is not there for its clients any more.
    pub(super) fn router_out(&mut self, stage: Stage) {
        if self.router.stage == Stage::Serving {
            self.router.outages.push((self.now, Time::MAX));
        }
        self.router.stage = stage;
    }

    /// The router's process dies. Its sockets break in the order in which they were opened, and a
    /// tick later it is put away: what a runtime drops at its end it drops in an order that depends
    /// on how many tasks this program has ever had.
    pub(super) fn router_dies(&mut self) {
        self.router_out(Stage::Gone);
        self.router.is_dying = true;
        self.router.orders = None;
        self.router.gate.smash();
    }

    /// Nothing of the router is left.
    pub(super) fn router_dead(&mut self) {
        self.router.is_dying = false;
        self.report.add_stats(&self.router.stats);
        self.router.stats = Stats::default();
    }

    /// Notes what goes into a dispatcher or comes out of it.
    pub(super) fn note_step(&mut self, at: Time, step: Step) {
        let digest = match step {
            Step::Input(_) | Step::Timeout => &mut self.report.digest_in,
            Step::Output(_) => &mut self.report.digest_out,
        };
        digest.add(at, &step);
        self.record.step(at, step);
        if self.traced {
            let life = self.router.life;
            let line = match step {
                Step::Input(_) | Step::Timeout => writeln!(self.trace, "r{life} {at} {step}"),
                Step::Output(_) => writeln!(self.trace, "{step}"),
            };
            line.expect("a String takes everything");
        }
    }
}

/// The longest that a request takes beside its app's time, while nothing goes wrong any more.
fn patience(plan: &Plan) -> Duration {
    let pool = &plan.pool;
    let silence = (pool.ping_interval + pool.ping_timeout) * 2;
    pool.queue_timeout + EdgeSettings::default().patience.first_byte + silence + SLACK
}

/// Longer than what any app is asked to take.
const LONG: Duration = Duration::from_secs(60);
/// For what is not counted.
const SLACK: Duration = Duration::from_secs(10);

/// The zone in which an environment lives.
pub(super) fn zone_of(environment: EnvironmentId) -> u32 {
    u32::try_from(environment.number() % u64::from(ZONES)).expect("below ZONES")
}
