//! The router's side: the dispatcher, the requests, and one end of each link.

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, Limits, Matching, Output, RequestId, Scaling,
    Time,
};

use super::{Event, HEAD, ToInstance, ToRouter, World};

pub(super) struct Router {
    pub(super) model: Dispatcher,
    requests: Vec<Request>,
    /// Instances that may attach: invoked, not attached yet.
    claims: Vec<InstanceId>,
    links: BTreeMap<InstanceId, Link>,
    repeats: bool,
    stopped: bool,
}

/// A place for requests, and the one that has it.
#[derive(Debug)]
struct Request {
    id: RequestId,
    stage: Stage,
    service: Duration,
    repeatable: bool,
    /// Apps that have begun it.
    begun: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Nowhere,
    Running(InstanceId),
    Waiting,
}

/// The router's end of a link.
#[derive(Debug)]
struct Link {
    environment: usize,
    number: u64,
    slots: u32,
    /// Either side has said goaway.
    leaving: bool,
}

impl Router {
    pub(super) fn new(head: &[u8; HEAD]) -> Self {
        let [flags, slots, queue, times, _, _, _, linger] = *head;
        let limits = Limits {
            cold_start: (flags % 2 == 0).then(|| Duration::from_millis(u64::from(times) * 20 + 1)),
            instances_max: u32::from(flags / 32) + 1,
            instances_min: u32::from(flags / 64 % 2),
            linger: Duration::from_millis(u64::from(linger) * 20),
            matching: if flags & 2 == 0 { Matching::LeastOutstanding } else { Matching::Pack },
            placement_margin: Duration::from_millis(u64::from(linger) * 60),
            queue_len_max: u32::from(queue),
            queue_timeout: Duration::from_millis(u64::from(times) * 100 + 1),
            redispatch_max: queue % 4,
            retry_repeatable: flags & 4 == 0,
            scaling: [Scaling::Rule, Scaling::Simple, Scaling::Ewma][usize::from(flags / 8 % 3)],
            slots: u32::from(slots % 16) + 1,
            ..Limits::default()
        };
        let config = Config::new(limits).expect("every byte gives limits in range");
        Self {
            model: Dispatcher::new(config, slots.into(), Time::ZERO),
            requests: Vec::new(),
            claims: Vec::new(),
            links: BTreeMap::new(),
            repeats: limits.retry_repeatable,
            stopped: false,
        }
    }

    fn at(&mut self, id: RequestId) -> Option<&mut Request> {
        let request = self.requests.get_mut(id.index() as usize)?;
        (request.id == id).then_some(request)
    }

    /// The request is over, and its place is free for another.
    fn over(&mut self, id: RequestId) {
        let request = self.at(id).unwrap_or_else(|| panic!("{id} ended before"));
        assert_ne!(request.stage, Stage::Nowhere, "{id} was never there");
        request.stage = Stage::Nowhere;
        request.id = RequestId::new(id.index(), id.generation() + 1);
    }

    fn running_on(&self, instance: InstanceId) -> impl Iterator<Item = &Request> {
        let there = move |request: &&Request| request.stage == Stage::Running(instance);
        self.requests.iter().filter(there)
    }

    /// An app begins a request: the first and only one, unless it was safe to repeat.
    pub(super) fn begun(&mut self, id: RequestId) {
        let repeats = self.repeats;
        // One that was cancelled, or whose link the router has closed, may still be on the wire.
        let Some(request) = self.at(id) else { return };
        request.begun += 1;
        let most = if repeats && request.repeatable { 2 } else { 1 };
        assert!(request.begun <= most, "{request:?} is begun too often");
    }

    fn check(&self) {
        self.model.check();
        let alive = |stage: fn(Stage) -> bool| {
            self.requests.iter().filter(|request| stage(request.stage)).count()
        };
        let gauges = self.model.gauges();
        let waiting = alive(|stage| stage == Stage::Waiting);
        let running = alive(|stage| matches!(stage, Stage::Running(_)));
        assert_eq!((gauges.queued as usize, gauges.running as usize), (waiting, running));
    }

    pub(super) fn requests_left(&self) -> usize {
        self.requests.iter().filter(|request| request.stage != Stage::Nowhere).count()
    }

    pub(super) fn instances_left(&self) -> u32 {
        let gauges = self.model.gauges();
        gauges.starting + gauges.ready + gauges.draining + gauges.detached
    }

    pub(super) fn all_ended(&self) {
        for request in &self.requests {
            assert_eq!(request.stage, Stage::Nowhere, "{request:?} never ended");
        }
        let stats = self.model.stats();
        let ended = stats.served + stats.refused + stats.cancelled;
        assert_eq!(stats.arrived, ended, "each request ends once: {stats:?}");
    }

    pub(super) fn all_gone(&self) {
        assert!(self.stopped, "the shutdown never ended");
        assert!(self.links.is_empty(), "links are left: {:?}", self.links);
        assert_eq!(self.instances_left(), 0, "instances are left: {:?}", self.model.gauges());
    }
}

impl World {
    pub(super) fn tell(&mut self, input: Input) {
        self.router.model.handle_input(self.now, input);
        self.perform();
    }

    pub(super) fn perform_router(&mut self) {
        while let Some(output) = self.router.model.poll_output() {
            match output {
                Output::Close { instance } => self.close(instance),
                Output::Decided(_) => {}
                Output::Dispatch { request, instance, .. } => self.dispatch(request, instance),
                Output::GoAway { instance, .. } => {
                    if let Some(link) = self.router.links.get_mut(&instance) {
                        link.leaving = true;
                    }
                }
                Output::Invoke { instance } => {
                    self.router.claims.push(instance);
                    self.invoke(instance);
                }
                Output::Ping { instance } => self.say(instance, ToInstance::Ping),
                Output::Refuse { request, .. } => {
                    let stage = self.router.at(request).map(|request| request.stage);
                    assert_eq!(stage, Some(Stage::Waiting), "{request} is refused");
                    self.router.over(request);
                }
                Output::Stopped => {
                    assert!(!self.router.stopped, "stopped twice");
                    self.router.stopped = true;
                }
            }
        }
        self.router.check();
        if let Some(timeout) = self.router.model.poll_timeout() {
            assert!(timeout.at > self.now, "{timeout:?} is due at {}", self.now);
        }
    }

    fn dispatch(&mut self, id: RequestId, instance: InstanceId) {
        let link = self.router.links.get(&instance);
        let link = link.unwrap_or_else(|| panic!("{id} is sent to {instance}, without a link"));
        assert!(!link.leaving, "{id} is sent to {instance} after a goaway");
        let busy = self.router.running_on(instance).count();
        assert!(busy < link.slots as usize, "{id} is sent to {instance}: {busy} on {link:?}");
        let request = self.router.at(id).unwrap_or_else(|| panic!("{id} is over"));
        assert_eq!(request.stage, Stage::Waiting, "{id} is sent to {instance}");
        request.stage = Stage::Running(instance);
        let service = request.service;
        self.say(instance, ToInstance::Request { request: id, service });
    }

    /// Says `message` on an instance's link, if there is one.
    fn say(&mut self, instance: InstanceId, message: ToInstance) {
        if let Some(Link { environment, number, .. }) = self.router.links.get(&instance) {
            let (environment, link) = (*environment, *number);
            self.after(self.delay, Event::ToInstance { environment, link, message });
        }
    }

    /// Closes a link from this side. What ran on it may or may not have been begun.
    fn close(&mut self, instance: InstanceId) {
        self.say(instance, ToInstance::Closed);
        self.link_is_gone(instance, |_| false);
    }

    /// Ends what ran on a link, and the link: heard of by the model in its next turns.
    fn link_is_gone(&mut self, instance: InstanceId, unseen: impl Fn(&Request) -> bool) {
        if self.router.links.remove(&instance).is_none() {
            return;
        }
        let running = self.router.running_on(instance);
        let ended: Vec<_> = running
            .map(|request| match unseen(request) {
                true => (request.id, Ending::Undelivered),
                false => (request.id, Ending::Unknown { repeatable: request.repeatable }),
            })
            .collect();
        // Which of them the model hears of first is chance.
        let lost = Input::InstanceLost { instance };
        let loss_first = instance.index().is_multiple_of(2);
        if loss_first {
            self.after(Duration::ZERO, Event::Told { input: lost });
        }
        for (request, ending) in ended {
            self.after(Duration::ZERO, Event::Failed { request, instance, ending });
        }
        if !loss_first {
            self.after(Duration::ZERO, Event::Told { input: lost });
        }
    }

    /// A request's stream on `instance` is over without a response.
    pub(super) fn failed(&mut self, id: RequestId, instance: InstanceId, ending: Ending) {
        let Some(request) = self.router.at(id) else { return };
        if request.stage == Stage::Running(instance) {
            request.stage = Stage::Waiting;
            self.tell(Input::RequestEnded { request: id, ending });
        }
    }

    pub(super) fn arrive(&mut self, count: u32, service: u8, how: u8) {
        for _ in 0..count {
            let free = self.router.requests.iter().position(|entry| entry.stage == Stage::Nowhere);
            let index = free.unwrap_or(self.router.requests.len());
            if index >= REQUESTS_MAX {
                return;
            }
            let first = RequestId::new(u32::try_from(index).expect("few places"), 0);
            let id = self.router.requests.get(index).map_or(first, |before| before.id);
            let request = Request {
                id,
                stage: Stage::Waiting,
                // Some are so slow that only the end of a lease ends them.
                service: Duration::from_millis(u64::from(service) << (how % 12)),
                repeatable: how >= 128,
                begun: 0,
            };
            match self.router.requests.get_mut(index) {
                Some(place) => *place = request,
                None => self.router.requests.push(request),
            }
            self.tell(Input::RequestArrived { request: id, bytes: 100 });
        }
    }

    pub(super) fn cancel(&mut self, place: usize) {
        let live: Vec<_> =
            self.router.requests.iter().filter(|entry| entry.stage != Stage::Nowhere).collect();
        let Some(Request { id, stage, .. }) = live.get(place % live.len().max(1)) else { return };
        let (id, stage) = (*id, *stage);
        if let Stage::Running(instance) = stage {
            self.say(instance, ToInstance::Cancel { request: id });
        }
        self.router.over(id);
        self.tell(Input::RequestCancelled { request: id });
    }

    pub(super) fn heard_by_router(&mut self, instance: InstanceId, message: ToRouter) {
        if let ToRouter::Attach { environment, link, lease, cold } = message {
            return self.attach(instance, environment, link, lease, cold);
        }
        if !self.router.links.contains_key(&instance) {
            return;
        }
        match message {
            ToRouter::Attach { .. } => {}
            ToRouter::Closed => self.link_is_gone(instance, |request| request.begun == 0),
            ToRouter::Failed { request } => {
                let repeatable = self.router.at(request).is_some_and(|request| request.repeatable);
                self.failed(request, instance, Ending::Unknown { repeatable });
            }
            ToRouter::Goaway => {
                if let Some(link) = self.router.links.get_mut(&instance) {
                    link.leaving = true;
                }
                self.tell(Input::GoAwayReceived { instance });
            }
            ToRouter::Lost => self.link_is_gone(instance, |_| false),
            ToRouter::Ping => self.say(instance, ToInstance::Pong),
            ToRouter::Pong => self.tell(Input::PongReceived { instance }),
            ToRouter::Refused { request } => self.failed(request, instance, Ending::Undelivered),
            ToRouter::Served { request } => {
                let running = Stage::Running(instance);
                if self.router.at(request).is_some_and(|entry| entry.stage == running) {
                    self.router.over(request);
                    self.tell(Input::RequestEnded { request, ending: Ending::Served });
                }
            }
            ToRouter::Slots { slots } => {
                if let Some(link) = self.router.links.get_mut(&instance) {
                    link.slots = slots;
                }
                self.tell(Input::SlotsOffered { instance, slots });
            }
        }
    }

    /// Accepts whoever was invoked, once.
    fn attach(
        &mut self,
        instance: InstanceId,
        environment: usize,
        number: u64,
        lease: Duration,
        cold: bool,
    ) {
        let claim = self.router.claims.iter().position(|claim| *claim == instance);
        let Some(claim) = claim else {
            let message = ToInstance::Refused;
            self.after(self.delay, Event::ToInstance { environment, link: number, message });
            return;
        };
        self.router.claims.swap_remove(claim);
        let slots = self.slots;
        let link = Link { environment, number, slots, leaving: false };
        self.router.links.insert(instance, link);
        self.say(instance, ToInstance::Accepted);
        self.tell(Input::InstanceAttached { instance, slots, lease, cold });
    }
}

/// Requests at a time.
const REQUESTS_MAX: usize = 60;
