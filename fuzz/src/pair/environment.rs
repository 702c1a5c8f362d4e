//! The extension's side: environments of Lambda, each with a lifecycle, an app, and the other end
//! of its link.

use std::time::Duration;

use dispatch_model::lifecycle::{Ask, Config, Input, InvokeId, Lifecycle, LinkEnd, Output, Report};
use dispatch_model::{InstanceId, InvokeOutcome, RequestId, Time};

use super::{Event, ToInstance, ToRouter, World};

pub(super) struct Environment {
    pub(super) model: Lifecycle,
    pub(super) alive: bool,
    /// The invoke that it serves, from when Lambda hands it over to its return.
    pub(super) instance: Option<InstanceId>,
    /// Invokes so far.
    pub(super) invokes: u64,
    /// Lambda has chosen it for an invoke that it has not been handed yet.
    pub(super) promised: bool,
    /// An invoke that came while the app was starting.
    held: Option<InstanceId>,
    awaits: bool,
    links: u64,
    link: Option<Link>,
    /// How many of the next requests are given back.
    refuses: u8,
}

#[derive(Debug)]
struct Link {
    number: u64,
    attached: bool,
    draining: bool,
    in_flight: Vec<RequestId>,
}

impl Environment {
    pub(super) fn new(linger: Option<Duration>, now: Time) -> Self {
        Self {
            model: Lifecycle::new(Config { linger, ..Config::default() }, now),
            alive: true,
            instance: None,
            invokes: 0,
            promised: false,
            held: None,
            awaits: false,
            links: 0,
            link: None,
            refuses: 0,
        }
    }

    /// Whether Lambda may hand it an invoke.
    pub(super) fn is_free(&self) -> bool {
        self.alive && self.awaits && !self.promised
    }

    /// When its machine wants to run.
    pub(super) fn due(&self) -> Option<Time> {
        self.model.poll_timeout().filter(|_| self.alive).map(|timeout| timeout.at)
    }

    /// Whether nothing of it runs any more.
    pub(super) fn rests(&self) -> bool {
        self.link.is_none() && (!self.alive || self.awaits)
    }

    fn link(&mut self, number: u64) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.number == number)
    }
}

/// What Lambda and the app do.
impl World {
    pub(super) fn invoked(&mut self, index: usize, instance: InstanceId) {
        let environment = &mut self.environments[index];
        if !environment.alive {
            return self.invoke_ended(instance, InvokeOutcome::Crashed);
        }
        if !environment.awaits {
            environment.held = Some(instance);
            return;
        }
        environment.awaits = false;
        environment.promised = false;
        environment.instance = Some(instance);
        environment.invokes += 1;
        let number = environment.invokes;
        let fingerprint = u64::from(instance.index()) << 32 | u64::from(instance.generation());
        let input = Input::Invoked {
            invoke: InvokeId(number),
            ask: Ask::Serve { fingerprint, sends_away: true },
            left: Some(self.timeout),
        };
        self.after(self.timeout, Event::Deadline { environment: index, invoke: number });
        self.tell_environment(index, input);
    }

    pub(super) fn app_ready(&mut self, index: usize) {
        self.tell_environment(index, Input::AppReady);
    }

    /// The process is gone: nobody tells its machine.
    pub(super) fn kill(&mut self, index: usize) {
        let Some(environment) = self.environments.get_mut(index) else { return };
        if !std::mem::take(&mut environment.alive) {
            return;
        }
        let link = environment.link.take();
        let open = environment.instance.or_else(|| environment.held.take());
        if let Some(instance) = environment.instance.filter(|_| link.is_some()) {
            self.answer(instance, ToRouter::Lost);
        }
        if let Some(instance) = open {
            self.invoke_ended(instance, InvokeOutcome::Crashed);
        }
    }

    /// The link breaks; both ends see it.
    pub(super) fn break_link(&mut self, index: usize) {
        let Some(environment) = self.environments.get(index) else { return };
        if environment.link.as_ref().is_some_and(|link| link.attached) {
            self.drop_link(index, LinkEnd::Lost, ToRouter::Lost);
        }
    }

    pub(super) fn app_exits(&mut self, index: usize) {
        let Some(environment) = self.environments.get_mut(index).filter(|one| one.alive) else {
            return;
        };
        let failed = environment.link.as_mut().map(|link| std::mem::take(&mut link.in_flight));
        if let Some(instance) = environment.instance {
            for request in failed.into_iter().flatten() {
                self.answer(instance, ToRouter::Failed { request });
                self.tell_environment(index, Input::RequestEnded);
            }
        }
        self.tell_environment(index, Input::AppExited);
        self.close_if_drained(index);
    }

    pub(super) fn shut_down(&mut self, index: usize, left: Duration) {
        self.tell_environment(index, Input::Shutdown { left });
    }

    pub(super) fn refuse_some(&mut self, index: usize, count: u8) {
        if let Some(environment) = self.environments.get_mut(index) {
            environment.refuses = count % 8;
        }
    }

    pub(super) fn offer_slots(&mut self, index: usize, slots: u32) {
        let Some(environment) = self.environments.get(index) else { return };
        let attached = environment.link.as_ref().is_some_and(|link| link.attached);
        if let Some(instance) = environment.instance.filter(|_| attached) {
            self.answer(instance, ToRouter::Slots { slots });
        }
    }

    pub(super) fn app_answers(&mut self, request: RequestId, index: usize, number: u64) {
        let Some(link) = self.environments[index].link(number) else { return };
        let before = link.in_flight.len();
        link.in_flight.retain(|other| *other != request);
        if link.in_flight.len() < before {
            if let Some(instance) = self.environments[index].instance {
                self.answer(instance, ToRouter::Served { request });
            }
            self.tell_environment(index, Input::RequestEnded);
            self.close_if_drained(index);
        }
    }
}

/// The link.
impl World {
    fn answer(&mut self, instance: InstanceId, message: ToRouter) {
        self.after(self.delay, Event::ToRouter { instance, message });
    }

    fn tell_environment(&mut self, index: usize, input: Input) {
        if let Some(environment) = self.environments.get_mut(index).filter(|one| one.alive) {
            environment.model.handle_input(self.now, input);
            self.perform_environment(index);
        }
    }

    pub(super) fn found_nobody(&mut self, index: usize, number: u64) {
        if self.environments[index].link(number).is_some() {
            self.environments[index].link = None;
            self.tell_environment(index, Input::Disconnected { end: LinkEnd::Unreachable });
        }
    }

    pub(super) fn heard_by_instance(&mut self, index: usize, number: u64, message: ToInstance) {
        let Some(link) = self.environments[index].link(number) else { return };
        match message {
            ToInstance::Accepted => {
                link.attached = true;
                self.tell_environment(index, Input::Attached);
            }
            ToInstance::Cancel { request } => {
                let before = link.in_flight.len();
                link.in_flight.retain(|other| *other != request);
                if link.in_flight.len() < before {
                    self.tell_environment(index, Input::RequestEnded);
                    self.close_if_drained(index);
                }
            }
            ToInstance::Closed => {
                let end = if link.in_flight.is_empty() { LinkEnd::Closed } else { LinkEnd::Lost };
                self.drop_link(index, end, ToRouter::Closed);
            }
            ToInstance::Ping => {
                if let Some(instance) = self.environments[index].instance {
                    self.answer(instance, ToRouter::Pong);
                }
                self.tell_environment(index, Input::Heard);
            }
            ToInstance::Pong => self.tell_environment(index, Input::Heard),
            ToInstance::Refused => {
                self.environments[index].link = None;
                self.tell_environment(index, Input::Disconnected { end: LinkEnd::Refused });
            }
            ToInstance::Request { request, service } => self.begin(index, number, request, service),
        }
    }

    fn begin(&mut self, index: usize, number: u64, request: RequestId, service: Duration) {
        let environment = &mut self.environments[index];
        let (instance, refuses) = (environment.instance, environment.refuses);
        let Some(link) = environment.link(number) else { return };
        if link.draining || refuses > 0 {
            environment.refuses = refuses.saturating_sub(1);
            if let Some(instance) = instance {
                self.answer(instance, ToRouter::Refused { request });
            }
            return;
        }
        link.in_flight.push(request);
        self.router.begun(request);
        self.after(service, Event::Ended { request, environment: index, link: number });
        self.tell_environment(index, Input::RequestStarted);
    }

    /// A link that is to drain closes with the end of its last request.
    fn close_if_drained(&mut self, index: usize) {
        let link = self.environments[index].link.as_ref();
        if link.is_some_and(|link| link.draining && link.in_flight.is_empty()) {
            self.drop_link(index, LinkEnd::Closed, ToRouter::Closed);
        }
    }

    /// The end of a link on this side: what ran on it ends first.
    fn drop_link(&mut self, index: usize, end: LinkEnd, message: ToRouter) {
        let environment = &mut self.environments[index];
        let Some(link) = environment.link.take() else { return };
        if let Some(instance) = environment.instance {
            self.answer(instance, message);
        }
        for _ in link.in_flight {
            self.tell_environment(index, Input::RequestEnded);
        }
        self.tell_environment(index, Input::Disconnected { end });
    }
}

/// What the machine asks for.
impl World {
    pub(super) fn perform_environment(&mut self, index: usize) {
        while self.environments[index].alive
            && let Some(output) = self.environments[index].model.poll_output()
        {
            self.order(index, output);
        }
        let environment = &self.environments[index];
        if environment.model.is_frozen() {
            assert_eq!(environment.due(), None, "environment {index} is frozen");
            assert!(environment.link.is_none(), "environment {index} is frozen with a link");
        }
    }

    fn order(&mut self, index: usize, output: Output) {
        let environment = &mut self.environments[index];
        match output {
            Output::AwaitInvoke => {
                environment.awaits = true;
                if let Some(instance) = environment.held.take() {
                    self.invoked(index, instance);
                }
            }
            Output::AwaitRestore => panic!("environment {index} has no snapshot"),
            Output::Connect { lease, cold } => self.connect(index, lease, cold),
            Output::Disconnect => self.drop_link(index, LinkEnd::Lost, ToRouter::Lost),
            Output::Exit { .. } => {
                assert!(environment.link.is_none() && environment.instance.is_none());
                environment.alive = false;
                if let Some(instance) = environment.held.take() {
                    self.invoke_ended(instance, InvokeOutcome::Crashed);
                }
            }
            Output::Goaway => {
                if let Some(link) = &mut environment.link {
                    link.draining = true;
                }
                if let Some(instance) = environment.instance {
                    self.answer(instance, ToRouter::Goaway);
                }
                self.close_if_drained(index);
            }
            Output::Ping => {
                if let Some(instance) = environment.instance {
                    self.answer(instance, ToRouter::Ping);
                }
            }
            Output::ProbeApp => {
                self.after(self.boot, Event::AppReady { environment: index });
            }
            Output::Return(report) => self.returned(index, &report),
            Output::StopProbing => {}
        }
    }

    fn connect(&mut self, index: usize, lease: Duration, cold: bool) {
        let environment = &mut self.environments[index];
        environment.links += 1;
        let number = environment.links;
        let link = Link { number, attached: false, draining: false, in_flight: Vec::new() };
        environment.link = Some(link);
        let instance = environment.instance.expect("only an invoke connects");
        if self.unreachable > 0 {
            self.unreachable -= 1;
            self.after(self.delay * 2, Event::Unreachable { environment: index, link: number });
        } else {
            let message = ToRouter::Attach { environment: index, link: number, lease, cold };
            self.answer(instance, message);
        }
    }

    fn returned(&mut self, index: usize, report: &Report) {
        let environment = &mut self.environments[index];
        assert!(environment.link.is_none(), "{} returns before its link is gone", report.invoke);
        let instance = environment.instance.take().expect("only an invoke returns");
        let failed = report.failed;
        let outcome = if failed { InvokeOutcome::Crashed } else { InvokeOutcome::Returned };
        self.invoke_ended(instance, outcome);
    }
}
