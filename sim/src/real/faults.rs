//! Lets the plan's faults happen, between the ticks of the simulation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::Time;
use emulator::model::{self, EnvironmentId};
use io_tokio::attach::{self, AttachError, Hello};
use io_tokio::payload::{CheckedOffer, Secret};
use turmoil::Sim;

use crate::Traffic;
use crate::fault::{Fault, FaultKind, Reach, ZONES};

use super::environment::{Environment, ROUTER, Task};
use super::lambda::offer;
use super::wire::Gate;
use super::world::{At, Order, Stage, State, World, zone_of};

/// What is going wrong, and what will.
#[derive(Debug)]
pub(super) struct Faults {
    /// Beginnings and ends, in order.
    coming: VecDeque<(Duration, bool, Fault)>,
    active: Vec<Fault>,
    /// Faults that wait for somebody whom they can befall.
    pub(super) armed: Vec<Fault>,
    /// What stands still, and until when.
    stopped: Vec<(Time, Arc<Gate>)>,
    /// When the router's process is started again.
    router_back: Option<Time>,
    /// Attempts to attach that are under way.
    attaching: u32,
    /// How instances whose invoke is over could attach.
    over: Option<(String, CheckedOffer)>,
}

impl Faults {
    pub(super) fn new(plan: &[Fault]) -> Self {
        let beginnings = plan.iter().map(|fault| (fault.at, true, *fault));
        let ends = plan.iter().map(|fault| (fault.end(), false, *fault));
        let mut coming: Vec<_> = beginnings.chain(ends).collect();
        // A fault without a span begins before it ends.
        coming.sort_by_key(|(at, begins, _)| (*at, !begins));
        Self {
            coming: coming.into(),
            active: Vec::new(),
            armed: Vec::new(),
            stopped: Vec::new(),
            router_back: None,
            attaching: 0,
            over: None,
        }
    }

    /// Whether nothing will go wrong any more.
    pub(super) fn is_over(&self) -> bool {
        let none_comes = self.coming.is_empty() && self.armed.is_empty();
        let none_is_on = self.stopped.is_empty() && self.attaching == 0;
        none_comes && none_is_on && self.router_back.is_none()
    }

    fn of(&self, kind: FaultKind, zone: u32) -> impl Iterator<Item = &Fault> + '_ {
        self.active.iter().filter(move |fault| {
            fault.kind == kind && (kind.reach() == Reach::Everyone || fault.whom % ZONES == zone)
        })
    }

    pub(super) fn is_on(&self, kind: FaultKind, zone: u32) -> bool {
        self.of(kind, zone).next().is_some()
    }

    /// The size of the fault of this kind that is on.
    pub(super) fn size(&self, kind: FaultKind, zone: u32) -> Option<u32> {
        self.of(kind, zone).map(|fault| fault.size).max()
    }

    /// Takes a fault of this kind that waits for this very moment.
    pub(super) fn take_armed(&mut self, kind: FaultKind) -> bool {
        let place = self.armed.iter().position(|fault| fault.kind == kind);
        place.map(|place| self.armed.remove(place)).is_some()
    }

    /// Somebody's invoke is over.
    pub(super) fn over(&mut self, offer: (String, CheckedOffer)) {
        self.over = Some(offer);
    }
}

/// Lets happen what is due.
pub(super) fn step(world: &World, sim: &mut Sim<'_>) {
    let mut state = world.state();
    let now = state.now;
    while let Some((at, begins, fault)) = state.faults.coming.front().copied() {
        if Time::ZERO + at > now {
            break;
        }
        state.faults.coming.pop_front();
        if begins { state.begin(world, fault) } else { state.end(world, fault) }
    }
    let stopped = std::mem::take(&mut state.faults.stopped);
    let (over, stopped) = stopped.into_iter().partition(|(until, _)| *until <= now);
    state.faults.stopped = stopped;
    over.into_iter().for_each(|(_, gate): (Time, Arc<Gate>)| gate.open());
    state.strike();
    // A router that has stopped is followed by the next, unless this is the end.
    let dies = state.router_crashes() || state.router.stage == Stage::Stopped;
    if now >= state.healed {
        // Who has not been befallen by now is left in peace.
        state.faults.armed.clear();
    }
    let is_dead = state.router.is_dying;
    if is_dead {
        state.router_dead();
    }
    if dies {
        state.router_dies();
    }
    let next = state.faults.router_back.unwrap_or(now) <= now && !state.closing;
    let comes_back = next && state.router.stage == Stage::Gone && !state.router.is_dying;
    if comes_back {
        state.faults.router_back = None;
    }
    drop(state);
    if is_dead {
        sim.crash(ROUTER);
    }
    if comes_back {
        sim.bounce(ROUTER);
    }
}

impl State {
    fn begin(&mut self, world: &World, fault: Fault) {
        if !fault.kind.is_real() {
            return;
        }
        match fault.kind.reach() {
            Reach::Moment if fault.kind == FaultKind::Deploy => {
                self.fired(FaultKind::Deploy);
                self.tell_lambda(model::Input::CodeUpdated);
            }
            Reach::Moment => self.burst(world, fault),
            Reach::Someone => self.faults.armed.push(fault),
            Reach::Zone | Reach::Everyone => self.turn_on(world, fault),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most kinds are looked up when they matter")]
    fn turn_on(&mut self, world: &World, fault: Fault) {
        self.faults.active.push(fault);
        match fault.kind {
            FaultKind::ClockStep => self.step_clocks(world, fault.whom % ZONES),
            FaultKind::Hold => self.hold(fault),
            FaultKind::Limits => {
                self.fired(FaultKind::Limits);
                self.limit(world, Some(fault.size.max(1)));
            }
            FaultKind::Throttle => self.tell_lambda(model::Input::ThrottleChanged { on: true }),
            FaultKind::ZoneLoss => self.lose_zone(fault.whom % ZONES),
            _ => {}
        }
    }

    fn burst(&mut self, world: &World, fault: Fault) {
        self.fired(FaultKind::Burst);
        let service = world.plan.traffic.first().map(|it| it.service);
        let service = service.unwrap_or(Duration::from_millis(50));
        let now = self.now.saturating_since(Time::ZERO);
        if let Some(bursts) = &self.bursts {
            for arrival in Traffic::burst(fault.size, now, service).arrivals(0) {
                bursts.send(arrival).ok();
                // The clients have yet to hear of it: until then it is neither sent nor alive.
                self.all_sent = false;
            }
        }
    }

    fn hold(&mut self, fault: Fault) {
        let zone = fault.whom % ZONES;
        let there = self.environments.iter().filter(|(id, _)| zone_of(**id) == zone);
        let links = there.filter_map(|(_, there)| there.link.clone());
        for link in links.filter(|link| link.is_open()).collect::<Vec<_>>() {
            self.fired(FaultKind::Hold);
            self.stop(fault, Arc::clone(&link.near));
            self.stop(fault, Arc::clone(&link.far));
        }
    }

    fn lose_zone(&mut self, zone: u32) {
        let lost = self.environments.keys().copied().filter(|id| zone_of(*id) == zone);
        for id in lost.collect::<Vec<_>>() {
            self.fired(FaultKind::ZoneLoss);
            self.exited(id);
        }
    }

    fn end(&mut self, world: &World, fault: Fault) {
        let Some(place) = self.faults.active.iter().position(|other| *other == fault) else {
            return;
        };
        self.faults.active.remove(place);
        if fault.kind == FaultKind::ClockStep {
            self.step_clocks(world, fault.whom % ZONES);
        } else if fault.kind == FaultKind::Limits {
            self.limit(world, self.faults.size(FaultKind::Limits, 0));
        } else if fault.kind == FaultKind::Throttle && !self.faults.is_on(fault.kind, 0) {
            self.tell_lambda(model::Input::ThrottleChanged { on: false });
        }
    }

    fn step_clocks(&self, world: &World, zone: u32) {
        let ahead = self.faults.size(FaultKind::ClockStep, zone).unwrap_or_default();
        world.steps[zone as usize].set(Duration::from_secs(ahead.into()));
    }

    fn limit(&self, world: &World, most: Option<u32>) {
        let pool = &world.plan.pool;
        let instances_max = most.map_or(pool.instances_max, |most| most.max(1));
        let instances_min = pool.instances_min.min(instances_max);
        if let Some(orders) = &self.router.orders {
            // A router that is gone takes its limits from the plan when it is back.
            orders.send(Order::Limits { instances_min, instances_max }).ok();
        }
    }

    /// Whether the router dies now; notes when it is to be back.
    fn router_crashes(&mut self) -> bool {
        let armed = &mut self.faults.armed;
        let place = armed.iter().position(|fault| fault.kind == FaultKind::RouterCrash);
        let Some(place) = place.filter(|_| self.router.stage != Stage::Gone) else { return false };
        let fault = armed.remove(place);
        self.faults.router_back = Some(Time::ZERO + fault.end());
        self.fired(FaultKind::RouterCrash);
        true
    }

    /// Lets what waits for somebody befall them, if they are there now.
    fn strike(&mut self) {
        let armed = std::mem::take(&mut self.faults.armed);
        for fault in armed {
            if self.befall(fault) {
                let counts_later = matches!(
                    fault.kind,
                    FaultKind::DuplicateAttach | FaultKind::StaleAttach | FaultKind::UnknownAttach
                );
                if !counts_later {
                    self.fired(fault.kind);
                }
            } else {
                self.faults.armed.push(fault);
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "few kinds wait for somebody")]
    fn befall(&mut self, fault: Fault) -> bool {
        let serves = |there: &Environment| there.has_link();
        match fault.kind {
            FaultKind::AppCrash => self.one(fault, serves).is_some_and(|(_, there)| {
                there.app.crash();
                true
            }),
            FaultKind::CancelQueued => self.cancel(fault.size, At::Router),
            FaultKind::CancelRunning => self.cancel(fault.size, At::App),
            FaultKind::CrashBusy => {
                let whom = self.one(fault, |there| there.app.is_busy()).map(|(id, _)| id);
                whom.map(|id| self.exited(id)).is_some()
            }
            FaultKind::CrashIdle => {
                let idle = |there: &Environment| there.has_link() && !there.app.is_busy();
                let whom = self.one(fault, idle).map(|(id, _)| id);
                whom.map(|id| self.exited(id)).is_some()
            }
            FaultKind::CrashStarting => {
                let whom = self.one(fault, |there| there.app.is_starting()).map(|(id, _)| id);
                whom.map(|id| self.exited(id)).is_some()
            }
            FaultKind::Freeze => {
                let gate = self.one(fault, serves).map(|(_, there)| Arc::clone(&there.gate));
                gate.map(|gate| self.stop(fault, gate)).is_some()
            }
            FaultKind::RouterStop if self.router.stage == Stage::Serving => {
                self.router_out(Stage::Stopping);
                let drain = Order::Drain(fault.span);
                self.router.orders.as_ref().is_some_and(|orders| orders.send(drain).is_ok())
            }
            FaultKind::Shutdown => self.one(fault, serves).is_some_and(|(_, there)| {
                there.tell_of_shutdown(Duration::from_secs(2));
                true
            }),
            FaultKind::StallLink => {
                let link = self.one(fault, serves).and_then(|(_, there)| there.link.clone());
                link.map(|link| {
                    self.stop(fault, Arc::clone(&link.near));
                    self.stop(fault, Arc::clone(&link.far));
                })
                .is_some()
            }
            // Who has requests is attached, unless those are left over of its last invoke; before,
            // the second might be the first.
            FaultKind::DuplicateAttach if self.router.gauges.starting == 0 => {
                let whom = self.one(fault, |there| there.has_link() && there.app.is_busy());
                let held = whom.and_then(|(_, there)| there.holding.clone());
                self.attach(fault, held.and_then(|held| offer(&held.payload)))
            }
            FaultKind::StaleAttach => self.attach(fault, self.faults.over.clone()),
            FaultKind::UnknownAttach => {
                let token = Secret::from_bytes([0; 32]);
                let port = super::INSTANCES_PORT;
                let offer = CheckedOffer { host: ROUTER.to_owned(), port, pins: None, token };
                self.attach(fault, Some((format!("nobody-{}", fault.whom), offer)))
            }
            // Begun and ended, or struck by whoever meets them.
            _ => false,
        }
    }

    /// The environment whom a fault befalls, of those that are like this: counted round.
    fn one(
        &mut self,
        fault: Fault,
        is: impl Fn(&Environment) -> bool,
    ) -> Option<(EnvironmentId, &mut Environment)> {
        let like = self.environments.iter().filter(|(_, there)| is(there));
        let like: Vec<_> = like.map(|(id, _)| *id).collect();
        let id = *like.get(fault.whom as usize % like.len().max(1))?;
        Some((id, self.environments.get_mut(&id)?))
    }

    fn stop(&mut self, fault: Fault, gate: Arc<Gate>) {
        gate.stop();
        self.faults.stopped.push((self.now + fault.span, gate));
    }

    /// Clients of up to `count` requests give up, of those that are there.
    fn cancel(&mut self, count: u32, at: At) -> bool {
        let there = self.requests.iter().filter(|request| request.stage == at);
        let chosen: Vec<_> = there.take(count as usize).collect();
        chosen.iter().for_each(|request| request.give_up.notify_one());
        !chosen.is_empty()
    }

    /// Somebody attaches who should not. It counts when the router has said no.
    fn attach(&mut self, fault: Fault, offer: Option<(String, CheckedOffer)>) -> bool {
        let Some((instance, offer)) = offer.filter(|_| self.router.stage == Stage::Serving) else {
            return false;
        };
        self.faults.attaching += 1;
        self.order(Task::Attach { fault, instance, offer })
    }
}

/// Attaches as an instance that is not ours.
pub(super) async fn attach_as(
    world: Arc<World>,
    fault: Fault,
    instance: String,
    offer: CheckedOffer,
) {
    let refused = tokio::time::timeout(ATTACH_LIMIT, async {
        let address = (ROUTER, super::INSTANCES_PORT);
        let mut stream = turmoil::net::TcpStream::connect(address).await.ok()?;
        let hello = Hello {
            host: ROUTER.to_owned(),
            instance,
            slots: 1,
            lease: Duration::from_secs(60),
            cold: false,
        };
        match attach::request(&mut stream, &hello, &offer.token, &[]).await {
            Ok(()) => Some(Err("accepted".to_owned())),
            Err(AttachError::Refused { status: 401 }) => Some(Ok(())),
            Err(AttachError::Refused { status }) => Some(Err(format!("answered {status}"))),
            Err(_) => None,
        }
    });
    let refused = refused.await.ok().flatten();
    let mut state = world.state();
    state.faults.attaching -= 1;
    match refused {
        Some(Ok(())) => state.fired(fault.kind),
        Some(Err(how)) => state.breaks(|| format!("(5) {} is {how}", fault.kind)),
        None => state.faults.armed.push(fault),
    }
}

const ATTACH_LIMIT: Duration = Duration::from_secs(5);
