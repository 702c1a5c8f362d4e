//! Lambda's side: environments with the extension's machine and an app, ordered about by the
//! emulator's model of the service.

use std::time::Duration;

use dispatch_model::lifecycle::{self, Ask, Input as Told, Lifecycle, LinkEnd};
use dispatch_model::{InstanceId, InvokeOutcome, RequestId, Time};
use emulator::model::{self, Answer, EnvironmentId, ExtensionId, InvokeId};

use crate::fault::FaultKind;
use crate::traffic::{stretched, vcpus};

use super::World;
use super::events::Event;
use super::router::{FIRST_BYTE, Invoke, Stage};
use super::wire::{LinkId, ToInstance, ToRouter, zone_of};

/// One environment: its processes.
#[derive(Debug)]
pub(super) struct Environment {
    id: EnvironmentId,
    machine: Lifecycle,
    /// When the machine is woken next, as far as that is arranged.
    wake: Time,
    link: Option<LinkId>,
    /// Whether the link is only being dialled.
    dialling: Option<Dialling>,
    /// The link takes no more requests and closes with the last, once the router has seen that.
    draining: bool,
    goaway_seen: bool,
    /// What the app works on.
    running: Vec<RequestId>,
    probing: bool,
    /// Whether the app answers.
    app: App,
    /// The invoke that it holds, and for whom.
    holding: Option<(InvokeId, u32, InstanceId)>,
    /// When that was delivered.
    since: Time,
    invokes: u64,
    /// It computes nothing until then.
    frozen_until: Time,
    /// Lambda has stopped its processes.
    frozen: bool,
    /// Until when its app has asked for time.
    held_until: Time,
    /// It has been told to end.
    stopping: bool,
    /// The end of its last lease, as promised.
    lease_end: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum App {
    Starting,
    Ready,
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Dialling {
    lease: Duration,
    cold: bool,
    /// Nobody is there, or nobody who can be trusted.
    fails: bool,
}

impl Environment {
    /// Whether it can be harmed in this way.
    fn is(&self, state: Harm) -> bool {
        match state {
            Harm::Busy => !self.running.is_empty(),
            Harm::Idle => self.link.is_some() && self.running.is_empty(),
            Harm::Serving => self.link.is_some(),
            Harm::Starting => self.app == App::Starting,
        }
    }
}

/// The state that an environment must be in for a fault to befall it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    Busy,
    Idle,
    Serving,
    Starting,
}

impl World<'_> {
    fn environment(&mut self, id: EnvironmentId) -> Option<&mut Environment> {
        let index = usize::try_from(id.number()).expect("a count").checked_sub(1)?;
        self.environments.get_mut(index)?.as_deref_mut()
    }

    /// The `whom`th environment in this state, counted round.
    pub(super) fn harmed(&self, state: Harm, whom: u32) -> Option<EnvironmentId> {
        let all = self.environments.iter().flatten().filter(|there| there.is(state));
        let all: Vec<_> = all.map(|there| there.id).collect();
        all.get(whom as usize % all.len().max(1)).copied()
    }

    pub(super) fn environments_in(&self, zone: u32) -> Vec<EnvironmentId> {
        let all = self.environments.iter().flatten().map(|there| there.id);
        all.filter(|id| zone_of(*id) == zone).collect()
    }

    pub(super) fn tell_lambda(&mut self, input: model::Input) {
        self.lambda.handle_input(self.now, input);
        self.orders_of_lambda();
    }

    /// Carries out what Lambda orders.
    pub(super) fn orders_of_lambda(&mut self) {
        self.report.concurrency_max = self.report.concurrency_max.max(self.lambda.concurrency());
        while let Some(output) = self.lambda.poll_output() {
            self.note(|| format!("    {output}"));
            match output {
                model::Output::Answer { invoke, answer } => self.answered(invoke, answer),
                model::Output::Bill(bill) => self.billed(bill),
                model::Output::Deliver { environment, invoke, deadline } => {
                    self.deliver(environment, invoke, deadline);
                }
                model::Output::Freeze { environment } => {
                    if let Some(there) = self.environment(environment) {
                        there.frozen = true;
                        let quiet = there.machine.is_frozen() && there.link.is_none();
                        let timeout = there.machine.poll_timeout();
                        if !quiet || timeout.is_some() {
                            self.breaks(|| format!("{environment} is frozen with {timeout:?}"));
                        }
                    }
                }
                model::Output::Kill { environment } => {
                    self.die(environment);
                    self.events.push(self.now, self.now, Event::Emptied(environment));
                }
                model::Output::Restore { environment } => {
                    self.breaks(|| format!("{environment} is no copy of a snapshot"));
                }
                model::Output::Start { environment } => self.start(environment),
                model::Output::Stop { environment, deadline } => {
                    let left = deadline.saturating_since(self.now);
                    self.tell_machine(environment, Told::Shutdown { left });
                }
                model::Output::Thaw { environment } => {
                    if let Some(there) = self.environment(environment) {
                        there.frozen = false;
                    }
                }
                model::Output::InitFailed { .. } | model::Output::Initialised { .. } => {}
            }
        }
    }

    fn answered(&mut self, invoke: InvokeId, answer: Answer) {
        let index = usize::try_from(invoke.number()).expect("a count") - 1;
        let Invoke { caller, instance, .. } = self.invokes[index];
        let outcome = outcome(answer);
        if let Some(life) = caller {
            self.events.push(self.now, self.now, Event::InvokeAnswered { life, instance, outcome });
        }
        if matches!(answer, Answer::Throttled(_)) && self.faults.is_on(FaultKind::Throttle, 0) {
            self.fired(FaultKind::Throttle);
        }
    }

    /// The bill is right: it says how long the environment held the invoke.
    fn billed(&mut self, bill: model::Bill) {
        self.report.billed_ms += bill.billed_ms();
        let now = self.now;
        let Some(there) = self.environment(bill.environment) else { return };
        if let Some((invoke, ..)) = there.holding.take() {
            let held = now.saturating_since(there.since).as_nanos().div_ceil(1_000_000);
            // What was spent on a first try at initialisation is on the bill as well.
            if Some(invoke) != bill.invoke || u128::from(bill.duration_ms) < held {
                self.breaks(|| format!("(11) {bill:?} for {held} ms of {invoke}"));
            }
        }
    }

    fn start(&mut self, id: EnvironmentId) {
        self.report.environments += 1;
        let index = usize::try_from(id.number()).expect("a count") - 1;
        if self.environments.len() <= index {
            self.environments.resize_with(index + 1, || None);
        }
        self.environments[index] = Some(Box::new(Environment {
            id,
            machine: Lifecycle::new(self.plan.extension.config(), self.now),
            wake: Time::MAX,
            link: None,
            dialling: None,
            draining: false,
            goaway_seen: false,
            running: Vec::new(),
            probing: false,
            app: App::Starting,
            holding: None,
            since: Time::ZERO,
            invokes: 0,
            frozen_until: Time::ZERO,
            frozen: false,
            held_until: Time::ZERO,
            stopping: false,
            lease_end: Time::ZERO,
        }));
        let zone = zone_of(id);
        let dies = [FaultKind::InitCrash, FaultKind::ZoneLoss];
        if let Some(kind) = dies.into_iter().find(|kind| self.faults.is_on(*kind, zone)) {
            self.fired(kind);
            self.crash(id);
            return;
        }
        let extension = ExtensionId::new(1);
        let registered =
            model::Input::ExtensionRegistered { environment: id, extension, invoke: false };
        self.tell_lambda(registered);
        self.tell_lambda(model::Input::ExtensionNext { environment: id, extension });
        if self.faults.is_on(FaultKind::InitHang, zone) {
            self.fired(FaultKind::InitHang);
        } else {
            let mut init = self.source.init().unwrap_or(self.plan.lambda.init);
            if let Some(times) = self.faults.size(FaultKind::ColdTail, zone) {
                self.fired(FaultKind::ColdTail);
                init *= times.max(1);
            }
            self.events.push(self.now, self.now + init, Event::AppReady(id));
        }
        self.orders_of_machine(id);
    }

    pub(super) fn app_ready(&mut self, id: EnvironmentId) {
        let Some(there) = self.environment(id).filter(|there| there.app != App::Gone) else {
            return;
        };
        there.app = App::Ready;
        if there.probing {
            self.tell_machine(id, Told::AppReady);
        }
    }

    fn deliver(&mut self, id: EnvironmentId, invoke: InvokeId, deadline: Time) {
        let index = usize::try_from(invoke.number()).expect("a count") - 1;
        let Invoke { life, instance, .. } = self.invokes[index];
        let now = self.now;
        let ahead = self.faults.size(FaultKind::ClockStep, zone_of(id)).map(u64::from);
        let Some(there) = self.environment(id) else { return };
        there.holding = Some((invoke, life, instance));
        there.since = now;
        there.invokes += 1;
        let number = there.invokes;
        let mut left = Some(deadline.saturating_since(now));
        let mut ask = Ask::Serve { fingerprint: invoke.number(), sends_away: true };
        if let Some(seconds) = ahead {
            // The deadline, and the offer's end, are moments of a clock that this one is ahead of.
            left = left.and_then(|left| left.checked_sub(Duration::from_secs(seconds)));
            if seconds > OFFER_LASTS_S {
                ask = Ask::Stale;
            }
            self.fired(FaultKind::ClockStep);
        }
        let invoke = lifecycle::InvokeId(number);
        self.tell_machine(id, Told::Invoked { invoke, ask, left });
    }

    /// Tells a machine something, unless its environment stands still.
    pub(super) fn tell_machine(&mut self, id: EnvironmentId, input: Told) {
        let now = self.now;
        let Some(there) = self.environment(id) else { return };
        there.stopping |= matches!(input, Told::Shutdown { .. });
        there.machine.handle_input(now, input);
        self.note_told(id, &input);
        self.orders_of_machine(id);
    }

    /// A machine's timer, or what was one.
    pub(super) fn wake(&mut self, id: EnvironmentId) {
        let now = self.now;
        let Some(there) = self.environment(id).filter(|there| there.wake <= now) else { return };
        there.wake = Time::MAX;
        there.machine.handle_timeout(now);
        self.orders_of_machine(id);
    }

    /// Until when an environment stands still, if it does.
    pub(super) fn standstill(&mut self, id: EnvironmentId) -> Option<Time> {
        let now = self.now;
        self.environment(id).map(|there| there.frozen_until).filter(|until| *until > now)
    }

    pub(super) fn freeze(&mut self, id: EnvironmentId, until: Time) {
        if let Some(there) = self.environment(id) {
            // A shorter one within a longer one must not let later messages overtake earlier ones.
            there.frozen_until = there.frozen_until.max(until);
        }
    }

    fn orders_of_machine(&mut self, id: EnvironmentId) {
        loop {
            let Some(there) = self.environment(id) else { return };
            let Some(output) = there.machine.poll_output() else { break };
            self.note_order(id, &output);
            let Some(there) = self.environment(id) else { return };
            match output {
                lifecycle::Output::AwaitInvoke => {
                    self.tell_lambda(model::Input::RuntimeNext { environment: id });
                }
                lifecycle::Output::AwaitRestore => {
                    self.breaks(|| format!("{id} has no snapshot and waits for a restore"));
                }
                lifecycle::Output::Connect { lease, cold } => self.dial(id, lease, cold),
                lifecycle::Output::Disconnect => self.disconnect(id),
                lifecycle::Output::Exit { .. } => self.crash(id),
                lifecycle::Output::Goaway => {
                    there.draining = true;
                    if let Some(link) = there.link {
                        self.send_to_router(link, ToRouter::Goaway);
                    }
                }
                lifecycle::Output::Ping => {
                    if let Some(link) = there.link {
                        self.send_to_router(link, ToRouter::Ping);
                    }
                }
                lifecycle::Output::ProbeApp => {
                    there.probing = true;
                    if there.app == App::Ready {
                        self.events.push(self.now, self.now, Event::AppReady(id));
                    }
                }
                lifecycle::Output::Return(report) => self.returned(id, report.failed),
                lifecycle::Output::StopProbing => there.probing = false,
            }
        }
        self.arrange_wake(id);
    }

    fn arrange_wake(&mut self, id: EnvironmentId) {
        let now = self.now;
        let Some(there) = self.environment(id) else { return };
        if let Some(timeout) = there.machine.poll_timeout().filter(|due| due.at < there.wake) {
            there.wake = timeout.at;
            self.events.push(now, timeout.at, Event::Wake(id));
        }
    }

    fn returned(&mut self, id: EnvironmentId, failed: bool) {
        let now = self.now;
        let Some(there) = self.environment(id) else { return };
        if let Some(link) = there.link {
            self.breaks(|| format!("{id} returns its invoke with {link:?} open"));
            return;
        }
        let Some((invoke, ..)) = there.holding else { return };
        let until = there.held_until.min(there.lease_end);
        let cut_short = until > now && there.app == App::Ready && !there.stopping;
        there.held_until = Time::ZERO;
        if cut_short {
            self.breaks(|| format!("{id} returns its invoke though it is held until {until}"));
        }
        let environment = id;
        self.tell_lambda(if failed {
            model::Input::ErrorPosted { environment, invoke }
        } else {
            model::Input::ResponsePosted { environment, invoke }
        });
    }

    fn dial(&mut self, id: EnvironmentId, lease: Duration, cold: bool) {
        let zone = zone_of(id);
        let mut after = self.delay() * 2;
        if let Some(ms) = self.faults.size(FaultKind::ConnectSlow, zone) {
            self.fired(FaultKind::ConnectSlow);
            after += Duration::from_millis(ms.into());
        }
        let fails = [FaultKind::ConnectRefused, FaultKind::Untrusted];
        let fails = fails.into_iter().find(|kind| self.faults.is_on(*kind, zone));
        if let Some(kind) = fails {
            self.fired(kind);
        }
        // Nothing comes back through a partition: the machine's patience ends that.
        let lost =
            [FaultKind::Partition, FaultKind::PartitionFromRouter, FaultKind::PartitionToRouter];
        let lost = lost.into_iter().find(|kind| self.faults.is_on(*kind, zone));
        let now = self.now;
        let at = now + after;
        let Some(there) = self.environment(id) else { return };
        there.draining = false;
        there.goaway_seen = false;
        there.lease_end = now + lease;
        there.dialling = Some(Dialling { lease, cold, fails: fails.is_some() });
        match lost {
            Some(kind) => self.fired(kind),
            None => self.events.push(self.now, at, Event::Dialled(id)),
        }
    }

    /// Dialling is over: the connection stands, or it never will.
    pub(super) fn dialled(&mut self, id: EnvironmentId) {
        let there_is_nobody = self.router.stage == Stage::Gone;
        let life = self.router.life;
        let Some(there) = self.environment(id) else { return };
        let Some(Dialling { lease, cold, fails }) = there.dialling.take() else { return };
        let Some((_, _, instance)) = there.holding else { return };
        if fails || there_is_nobody {
            return self.tell_machine(id, Told::Disconnected { end: LinkEnd::Unreachable });
        }
        let invoked_by = there.holding.map(|(_, life, _)| life);
        let link = self.links.open(id, life, instance);
        if let Some(there) = self.environment(id) {
            there.link = Some(link);
        }
        // A name that another life of the router gave is none that this one knows.
        if invoked_by == Some(life) {
            self.send_to_router(link, ToRouter::Hello { lease, cold });
        } else {
            self.send_to_instance(link, ToInstance::Denied);
            self.links.close_at_router(link);
        }
    }

    /// Bytes arrive at an instance.
    pub(super) fn at_instance(&mut self, id: LinkId, message: ToInstance) {
        let Some(link) = self.links.get(id).filter(|link| link.at_instance) else { return };
        let environment = link.environment;
        match message {
            ToInstance::Accepted => self.tell_machine(environment, Told::Attached),
            ToInstance::Cancel(request) => {
                if self.stop_work(environment, request) {
                    self.request_over(environment);
                }
            }
            ToInstance::Closed => self.hang_up(environment, id, LinkEnd::Closed),
            ToInstance::GoawaySeen => {
                if let Some(there) = self.environment(environment) {
                    there.goaway_seen = true;
                }
                self.close_if_drained(environment);
            }
            ToInstance::Denied => self.hang_up(environment, id, LinkEnd::Refused),
            ToInstance::Open(request) => self.open(environment, id, request),
            ToInstance::Ping => {
                self.send_to_router(id, ToRouter::Pong);
                self.tell_machine(environment, Told::Heard);
            }
            ToInstance::Pong => self.tell_machine(environment, Told::Heard),
            ToInstance::Reset => self.hang_up(environment, id, LinkEnd::Lost),
        }
    }

    fn open(&mut self, id: EnvironmentId, link: LinkId, request: RequestId) {
        let zone = zone_of(id);
        let refuses = self.faults.is_on(FaultKind::Refuse, zone);
        let Some(there) = self.environment(id) else { return };
        let (draining, gone) = (there.draining, there.app == App::Gone);
        let others = u32::try_from(there.running.len()).expect("as many as slots");
        let vcpus = vcpus(self.plan.lambda.memory_mb);
        if draining || refuses {
            if refuses {
                self.fired(FaultKind::Refuse);
            }
            return self.send_to_router(link, ToRouter::Refused(request));
        }
        self.tell_machine(id, Told::RequestStarted);
        if gone {
            self.send_to_router(link, ToRouter::Failed(request));
            self.request_over(id);
            return;
        }
        let now = self.now;
        let Some(entry) = self.router.request(request).filter(|it| it.link == Some(link)) else {
            // It was given up while it was on its way; the word of that follows.
            return self.work(id, request, link, None);
        };
        entry.seen += 1;
        let (arrival, attempt) = (entry.arrival, entry.attempt);
        let mut service = stretched(arrival.service, arrival.cpu, others, vcpus);
        if let Some(times) = self.faults.size(FaultKind::AppSlow, zone) {
            self.fired(FaultKind::AppSlow);
            service *= times.max(1);
        }
        for kind in [FaultKind::SlowReader, FaultKind::SlowUpload] {
            let concerns = kind == FaultKind::SlowReader || arrival.upload > 0;
            if let Some(ms) = self.faults.size(kind, 0).filter(|_| concerns) {
                self.fired(kind);
                service += Duration::from_millis(ms.into());
            }
        }
        if self.faults.is_on(FaultKind::AppHang, zone) {
            self.fired(FaultKind::AppHang);
            let life = self.router.life;
            let at = now + FIRST_BYTE;
            self.events.push(now, at, Event::ResponseLate { life, request, attempt });
            return self.work(id, request, link, None);
        }
        self.service_max = self.service_max.max(service);
        self.work(id, request, link, Some(service));
        if self.faults.is_on(FaultKind::CrashOnRequest, zone) {
            self.fired(FaultKind::CrashOnRequest);
            return self.crash(id);
        }
        if self.faults.take_armed(FaultKind::ResetHead) {
            self.fired(FaultKind::ResetHead);
            self.break_link(link);
        }
    }

    /// The app works on a request, for so long or for ever.
    fn work(
        &mut self,
        id: EnvironmentId,
        request: RequestId,
        link: LinkId,
        takes: Option<Duration>,
    ) {
        let now = self.now;
        let Some(there) = self.environment(id) else { return };
        there.running.push(request);
        if let Some(takes) = takes {
            let done = Event::Done { environment: id, link, request };
            self.events.push(now, now + takes, done);
        }
    }

    /// The app has answered.
    pub(super) fn done(&mut self, id: EnvironmentId, link: LinkId, request: RequestId) {
        let current = self.environment(id).is_some_and(|there| there.link == Some(link));
        if !current || !self.stop_work(id, request) {
            return;
        }
        let hold = self.router.request(request).map_or(Duration::ZERO, |it| it.arrival.hold);
        if self.faults.take_armed(FaultKind::ResetBody) {
            self.fired(FaultKind::ResetBody);
            self.send_to_router(link, ToRouter::Head(request));
            self.break_link(link);
        } else {
            self.send_to_router(link, ToRouter::End(request));
        }
        self.hold(id, hold);
        self.request_over(id);
    }

    /// The app asks for time after a response. It has it, unless it or its environment is killed.
    fn hold(&mut self, id: EnvironmentId, span: Duration) {
        if span.is_zero() {
            return;
        }
        let now = self.now;
        let most = self.plan.extension.config().hold_max;
        let Some(there) = self.environment(id).filter(|there| there.link.is_some()) else { return };
        there.held_until = there.held_until.max(now + span.min(most));
        self.tell_machine(id, Told::HoldAsked { span });
    }

    /// Whether the app was at it.
    fn stop_work(&mut self, id: EnvironmentId, request: RequestId) -> bool {
        let Some(there) = self.environment(id) else { return false };
        let place = there.running.iter().position(|other| *other == request);
        place.map(|place| there.running.swap_remove(place)).is_some()
    }

    fn request_over(&mut self, id: EnvironmentId) {
        self.tell_machine(id, Told::RequestEnded);
        self.close_if_drained(id);
    }

    fn close_if_drained(&mut self, id: EnvironmentId) {
        let Some(there) = self.environment(id) else { return };
        if there.draining
            && there.goaway_seen
            && there.running.is_empty()
            && let Some(link) = there.link.take()
        {
            self.send_to_router(link, ToRouter::Closed);
            self.links.close_at_instance(link);
            self.tell_machine(id, Told::Disconnected { end: LinkEnd::Closed });
        }
    }

    /// The link is gone as far as the instance can see.
    fn hang_up(&mut self, id: EnvironmentId, link: LinkId, end: LinkEnd) {
        self.links.close_at_instance(link);
        let Some(there) = self.environment(id).filter(|there| there.link == Some(link)) else {
            return;
        };
        there.link = None;
        let running = std::mem::take(&mut there.running);
        for _ in running {
            self.tell_machine(id, Told::RequestEnded);
        }
        self.tell_machine(id, Told::Disconnected { end });
    }

    /// The machine drops the link, whatever its state.
    fn disconnect(&mut self, id: EnvironmentId) {
        let Some(there) = self.environment(id) else { return };
        there.dialling = None;
        let link = there.link;
        if let Some(link) = link {
            self.send_to_router(link, ToRouter::Reset);
            self.hang_up(id, link, LinkEnd::Lost);
        } else {
            self.tell_machine(id, Told::Disconnected { end: LinkEnd::Lost });
        }
    }

    /// The app ends, and the extension notices with the next request or at once.
    pub(super) fn app_crash(&mut self, id: EnvironmentId) {
        let Some(there) = self.environment(id) else { return };
        there.app = App::Gone;
        let link = there.link;
        let running = std::mem::take(&mut there.running);
        for request in running {
            if let Some(link) = link {
                self.send_to_router(link, ToRouter::Failed(request));
            }
            self.request_over(id);
        }
        self.tell_machine(id, Told::AppExited);
    }

    /// The processes of an environment end by themselves.
    pub(super) fn crash(&mut self, id: EnvironmentId) {
        self.die(id);
        self.tell_lambda(model::Input::ProcessExited { environment: id });
        self.events.push(self.now, self.now, Event::Emptied(id));
    }

    /// Nothing of an environment is left; its sockets tell so.
    fn die(&mut self, id: EnvironmentId) {
        let index = usize::try_from(id.number()).expect("a count") - 1;
        let Some(there) = self.environments.get_mut(index) else { return };
        if let Some(link) = there.as_mut().and_then(|there| there.link.take()) {
            self.send_to_router(link, ToRouter::Reset);
            self.links.close_at_instance(link);
        }
        if let Some(there) = self.environments.get_mut(index).and_then(Option::as_mut) {
            // The bill that follows needs to know what it was for.
            there.app = App::Gone;
            there.running.clear();
            there.dialling = None;
            there.wake = Time::MAX;
        }
        self.dead.push(id);
    }

    /// Forgets environments whose processes are gone and whose bills are written.
    pub(super) fn bury(&mut self) {
        for id in std::mem::take(&mut self.dead) {
            let index = usize::try_from(id.number()).expect("a count") - 1;
            self.environments[index] = None;
        }
    }

    /// Somebody attaches who should not: as an instance that is attached, that is over, or that
    /// never was.
    pub(super) fn attach_as(&mut self, environment: EnvironmentId, instance: InstanceId) {
        let link = self.links.open(environment, self.router.life, instance);
        self.links.close_at_instance(link);
        let lease = Duration::from_secs(60);
        self.events.push(
            self.now,
            self.now,
            Event::ToRouter(link, ToRouter::Hello { lease, cold: false }),
        );
    }
}

/// What an answer of the Invoke API means.
pub(crate) const fn outcome(answer: Answer) -> InvokeOutcome {
    match answer {
        Answer::Exited { .. } | Answer::FunctionError | Answer::InitError { .. } => {
            InvokeOutcome::Crashed
        }
        Answer::Response => InvokeOutcome::Returned,
        Answer::Throttled(_) => InvokeOutcome::Throttled { retry_after: None },
        Answer::TimedOut { .. } => InvokeOutcome::TimedOut,
        Answer::Unavailable => InvokeOutcome::Unavailable,
    }
}

/// How long the router's offer to attach is good for.
const OFFER_LASTS_S: u64 = 60;
