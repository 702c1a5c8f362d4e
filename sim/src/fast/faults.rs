//! Lets the plan's faults happen.

use std::time::Duration;

use dispatch_model::{Input, InstanceId, Time};
use emulator::model;

use crate::fault::{Fault, FaultKind, Reach, ZONES};
use crate::report::State;

use super::World;
use super::events::Event;
use super::instance::Harm;
use super::router::Stage;
use super::wire::ToInstance;

/// What is going wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// A bit for each kind that is on somewhere, so that asking costs nothing while all is well.
    on: u64,
    active: Vec<(Fault, Time)>,
    /// Faults that wait for somebody whom they can befall.
    armed: Vec<Fault>,
    /// Until when the router's process stands still.
    pub(super) stall: Time,
}

impl Faults {
    /// The faults of this kind that concern `zone`.
    fn of(&self, kind: FaultKind, zone: u32) -> impl Iterator<Item = &(Fault, Time)> + '_ {
        let any = self.on & bit(kind) != 0;
        let active = if any { &self.active[..] } else { &[] };
        active.iter().filter(move |(fault, _)| {
            fault.kind == kind && (kind.reach() == Reach::Everyone || fault.whom % ZONES == zone)
        })
    }

    pub(super) const fn is_any_on(&self) -> bool {
        self.on != 0
    }

    pub(super) fn is_on(&self, kind: FaultKind, zone: u32) -> bool {
        self.of(kind, zone).next().is_some()
    }

    /// When the last fault of this kind is over that is on.
    pub(super) fn until(&self, kind: FaultKind, zone: u32) -> Option<Time> {
        self.of(kind, zone).map(|(_, until)| *until).max()
    }

    /// The size of the fault of this kind that is on.
    pub(super) fn size(&self, kind: FaultKind, zone: u32) -> Option<u32> {
        self.of(kind, zone).map(|(fault, _)| fault.size).max()
    }

    /// Lets a fault of this kind that waits for this very moment happen.
    pub(super) fn take_armed(&mut self, kind: FaultKind) -> bool {
        if self.armed.is_empty() {
            return false;
        }
        let place = self.armed.iter().position(|fault| fault.kind == kind);
        place.map(|place| self.armed.remove(place)).is_some()
    }

    pub(super) fn is_armed(&self) -> bool {
        !self.armed.is_empty()
    }

    /// Lets nothing that still waits for somebody happen.
    pub(super) fn disarm(&mut self) {
        self.armed.clear();
    }

    fn begin(&mut self, fault: Fault, until: Time) {
        self.active.push((fault, until));
        self.on |= bit(fault.kind);
    }

    fn end(&mut self, fault: Fault) {
        if let Some(place) = self.active.iter().position(|(other, _)| *other == fault) {
            self.active.remove(place);
        }
        self.on = self.active.iter().fold(0, |on, (fault, _)| on | bit(fault.kind));
    }
}

const fn bit(kind: FaultKind) -> u64 {
    1 << kind as u32
}

impl World<'_> {
    /// Counts a fault that has changed something, with the state in which it did.
    pub(super) fn fired(&mut self, kind: FaultKind) {
        self.report.fired.note(kind);
        let gauges = self.router.dispatcher.gauges();
        let is = |state| match state {
            State::Idle => gauges.queued == 0 && gauges.running == 0,
            State::Serving => gauges.running > 0 && gauges.queued == 0,
            State::Queueing => gauges.queued > 0 && gauges.ready > 0,
            State::Starting => gauges.starting > 0,
            State::Draining => gauges.draining > 0,
            State::Stopping => self.router.stage != Stage::Serving,
        };
        for (state, _) in State::ALL.into_iter().filter(|(state, _)| is(*state)) {
            self.report.marks.note(kind, state);
        }
    }

    /// A fault's time has come.
    pub(super) fn fault(&mut self, number: usize) {
        let fault = self.plan.fault[number];
        let until = Time::ZERO + fault.end();
        match fault.kind.reach() {
            Reach::Moment => self.befall_world(fault, until),
            Reach::Someone => self.faults.armed.push(fault),
            Reach::Zone | Reach::Everyone => self.begin(fault, number, until),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "few kinds are over in a moment")]
    fn befall_world(&mut self, fault: Fault, until: Time) {
        self.fired(fault.kind);
        match fault.kind {
            FaultKind::Deploy => self.tell_lambda(model::Input::CodeUpdated),
            FaultKind::RouterStall => self.faults.stall = self.faults.stall.max(until),
            _ => {
                let model = self.plan.traffic.first().copied();
                let service = model.map_or(Duration::from_millis(50), |it| it.service);
                let now = self.now.saturating_since(Time::ZERO);
                let burst = crate::Traffic::burst(fault.size, now, service);
                burst.arrivals(0).for_each(|arrival| self.arrive(arrival));
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most kinds are looked up when they matter")]
    fn begin(&mut self, fault: Fault, number: usize, until: Time) {
        self.faults.begin(fault, until);
        self.events.push(self.now, until, Event::FaultOver(number));
        match fault.kind {
            FaultKind::Throttle => self.tell_lambda(model::Input::ThrottleChanged { on: true }),
            FaultKind::Limits if self.router.stage != Stage::Gone => {
                self.fired(FaultKind::Limits);
                let instances_max = fault.size.max(1);
                let instances_min = self.plan.pool.instances_min.min(instances_max);
                self.tell(Input::LimitsChanged { instances_min, instances_max });
            }
            FaultKind::ZoneLoss => {
                for id in self.environments_in(fault.whom % ZONES) {
                    self.fired(FaultKind::ZoneLoss);
                    self.crash(id);
                }
            }
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most kinds are looked up when they matter")]
    pub(super) fn fault_over(&mut self, number: usize) {
        let fault = self.plan.fault[number];
        self.faults.end(fault);
        match fault.kind {
            FaultKind::Throttle if !self.faults.is_on(FaultKind::Throttle, 0) => {
                self.tell_lambda(model::Input::ThrottleChanged { on: false });
            }
            FaultKind::Limits if self.router.stage != Stage::Gone => {
                let pool = &self.plan.pool;
                let (instances_min, instances_max) = (pool.instances_min, pool.instances_max);
                self.tell(Input::LimitsChanged { instances_min, instances_max });
            }
            _ => {}
        }
    }

    /// Lets what waits for somebody befall them, if they are there now.
    pub(super) fn strike(&mut self) {
        let mut armed = std::mem::take(&mut self.faults.armed);
        armed.retain(|fault| {
            let struck = self.befall(*fault);
            if struck {
                self.fired(fault.kind);
            }
            !struck
        });
        armed.append(&mut self.faults.armed);
        self.faults.armed = armed;
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "few kinds wait for somebody, see `fault`")]
    fn befall(&mut self, fault: Fault) -> bool {
        let until = self.now + fault.span;
        match fault.kind {
            FaultKind::AppCrash => self.harm(Harm::Serving, fault, Self::app_crash),
            FaultKind::CrashBusy => self.harm(Harm::Busy, fault, Self::crash),
            FaultKind::CrashIdle => self.harm(Harm::Idle, fault, Self::crash),
            FaultKind::CrashStarting => self.harm(Harm::Starting, fault, Self::crash),
            FaultKind::Freeze => {
                self.harm(Harm::Serving, fault, |world, id| world.freeze(id, until))
            }
            FaultKind::Shutdown => self.harm(Harm::Serving, fault, |world, id| {
                let left = Duration::from_secs(2);
                world.tell_machine(id, dispatch_model::lifecycle::Input::Shutdown { left });
            }),
            FaultKind::CancelQueued => self.cancel(fault.size, false),
            FaultKind::CancelRunning => self.cancel(fault.size, true),
            FaultKind::DuplicateAttach => {
                let attached = self.attached(fault.whom);
                attached.is_some_and(|(instance, link)| self.attach_again(instance, link))
            }
            FaultKind::StaleAttach => {
                let over = self.ended.last().copied().filter(|_| self.router.stage != Stage::Gone);
                over.is_some_and(|(environment, instance)| {
                    self.attach_as(environment, instance);
                    true
                })
            }
            FaultKind::UnknownAttach if self.router.stage != Stage::Gone => {
                let nobody = InstanceId::new(1_000_000, fault.whom);
                self.attach_as(model::EnvironmentId::new(u64::from(fault.whom) + 1), nobody);
                true
            }
            FaultKind::Slots => {
                let attached = self.attached(fault.whom);
                attached.is_some_and(|(instance, _)| {
                    let slots = fault.size.min(self.plan.pool.slots);
                    self.tell(Input::SlotsOffered { instance, slots });
                    true
                })
            }
            FaultKind::StallLink => {
                let attached = self.attached(fault.whom);
                attached.is_some_and(|(_, link)| {
                    self.links.stall(link, until);
                    true
                })
            }
            FaultKind::RouterCrash if self.router.stage != Stage::Gone => {
                self.vanish(ToInstance::Reset);
                self.events.push(self.now, until, Event::RouterBack);
                true
            }
            FaultKind::RouterStop if self.router.stage == Stage::Serving => {
                self.router.stage = Stage::Stopping;
                self.tell(Input::ShutdownRequested { drain: fault.span });
                true
            }
            _ => false,
        }
    }

    fn attach_again(&mut self, instance: InstanceId, link: super::wire::LinkId) -> bool {
        let environment = self.links.get(link).map(|link| link.environment);
        environment.is_some_and(|environment| {
            self.attach_as(environment, instance);
            true
        })
    }

    fn harm(
        &mut self,
        state: Harm,
        fault: Fault,
        how: impl FnOnce(&mut Self, model::EnvironmentId),
    ) -> bool {
        let whom = self.harmed(state, fault.whom);
        if let Some(id) = whom {
            how(self, id);
        }
        whom.is_some()
    }

    /// Clients of up to `count` requests give up, of those that run or of those that wait.
    fn cancel(&mut self, count: u32, running: bool) -> bool {
        let chosen = self.router.live().filter(|request| request.link.is_some() == running);
        let chosen: Vec<_> = chosen.map(|request| request.id).take(count as usize).collect();
        for request in &chosen {
            self.give_up(*request);
        }
        !chosen.is_empty()
    }
}
