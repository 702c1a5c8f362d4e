//! The router's process: its dispatcher, its end of the links, the clients that wait for it.

use std::time::Duration;

use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, InvokeOutcome, Output, RequestId, Time,
};
use emulator::model::{self, InvokeId};
use io_tokio::recording::{Origin, Step};

use crate::fault::FaultKind;
use crate::oracle::Oracle;
use crate::outside::{End, Ended};
use crate::traffic::Arrival;

use super::World;
use super::events::Event;
use super::wire::{LinkId, ToInstance, ToRouter};

/// One life of the router's process.
#[derive(Debug)]
pub(super) struct Router {
    /// Counts its lives from 0.
    pub(super) life: u32,
    pub(super) dispatcher: Dispatcher,
    pub(super) oracle: Oracle,
    /// Requests by place.
    pub(super) requests: Vec<Request>,
    free: Vec<u32>,
    /// Instances by place.
    instances: Vec<Instance>,
    pub(super) stage: Stage,
    /// Requests that have not ended.
    pub(super) live: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// Told to stop; takes no new clients.
    Stopping,
    /// Not there.
    Gone,
}

/// A request as the router and its client know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) live: bool,
    pub(super) attempt: u32,
    /// When it was given its slot, and the number of the instance whose it is, the last time.
    started: Option<(Time, u32)>,
    /// It had waited as long as the function takes to start.
    cold: bool,
    /// Where it runs.
    pub(super) link: Option<LinkId>,
    /// It never went there, and its dispatch ends at once.
    unsent: bool,
    /// Its response has begun.
    head: bool,
    /// How many apps have seen it, as far as the simulation knows.
    pub(super) seen: u32,
    /// How many of those the model was told may have seen it, and might repeat after.
    forgiven: u32,
    pub(super) arrival: Arrival,
}

/// One call of Invoke.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invoke {
    /// Which life of the router ordered it.
    pub(super) life: u32,
    /// Which life hears of its end, if any.
    pub(super) caller: Option<u32>,
    /// What it shall become.
    pub(super) instance: InstanceId,
}

/// An instance as the router's adapters know it.
#[derive(Clone, Copy, Debug)]
struct Instance {
    id: InstanceId,
    /// Instances are counted from 1 in the order in which they were asked for.
    number: u32,
    /// Whether somebody may attach under its name.
    open: bool,
    link: Option<LinkId>,
}

impl Router {
    pub(super) fn new(config: Config, seed: u64, life: u32, now: Time) -> Self {
        Self {
            life,
            dispatcher: Dispatcher::new(config, seed.wrapping_add(life.into()), now),
            oracle: Oracle::new(*config, now),
            requests: Vec::new(),
            free: Vec::new(),
            instances: Vec::new(),
            stage: Stage::Serving,
            live: 0,
        }
    }

    /// Where its dispatcher comes from, for a recording.
    pub(super) fn origin(&self, config: Config, seed: u64, start: Time) -> Origin {
        Origin::Fresh { config, seed: seed.wrapping_add(self.life.into()), start }
    }

    pub(super) fn request(&mut self, id: RequestId) -> Option<&mut Request> {
        let request = self.requests.get_mut(id.index() as usize)?;
        (request.id == id && request.live).then_some(request)
    }

    fn instance(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.instances.get_mut(id.index() as usize).filter(|there| there.id == id)
    }

    /// The link of an attached instance.
    pub(super) fn link(&mut self, id: InstanceId) -> Option<LinkId> {
        self.instance(id)?.link
    }

    /// Every request that lives.
    pub(super) fn live(&self) -> impl Iterator<Item = &Request> + '_ {
        self.requests.iter().filter(|request| request.live)
    }

    fn take_name(&mut self, arrival: Arrival) -> RequestId {
        let index = self.free.pop();
        self.live += 1;
        let id = match index {
            Some(index) => {
                let old = self.requests[index as usize].id;
                RequestId::new(index, old.generation().wrapping_add(1))
            }
            None => {
                let index = u32::try_from(self.requests.len()).expect("fewer than 2^32 requests");
                RequestId::new(index, 0)
            }
        };
        let new = Request {
            id,
            live: true,
            attempt: 0,
            started: None,
            cold: false,
            link: None,
            unsent: false,
            head: false,
            seen: 0,
            forgiven: 0,
            arrival,
        };
        match index {
            Some(index) => self.requests[index as usize] = new,
            None => self.requests.push(new),
        }
        id
    }
}

impl World<'_> {
    /// Tells the dispatcher something and does what it orders.
    pub(super) fn tell(&mut self, input: Input) {
        self.fire_due();
        if self.router.stage == Stage::Gone {
            return;
        }
        if self.checks.oracle {
            self.router.oracle.input(self.now, &input);
        }
        self.note_step(Step::Input(input));
        self.router.dispatcher.handle_input(self.now, input);
        self.orders();
    }

    /// As the driver does it: what is due comes first, with what follows from it.
    fn fire_due(&mut self) {
        if self.router.dispatcher.poll_timeout().is_some_and(|due| due.at <= self.now) {
            self.router_timeout();
        }
    }

    /// Lets the dispatcher's timers fire.
    pub(super) fn router_timeout(&mut self) {
        self.note_step(Step::Timeout);
        self.router.dispatcher.handle_timeout(self.now);
        self.orders();
    }

    /// Carries out what the dispatcher orders.
    pub(super) fn orders(&mut self) {
        while let Some(output) = self.router.dispatcher.poll_output() {
            if self.checks.oracle {
                self.router.oracle.output(self.now, &output);
            }
            self.note_step(Step::Output(output));
            match output {
                Output::Close { instance } => self.close(instance),
                Output::Decided(_) => {}
                // On this wire the Close that follows is all that an instance hears.
                Output::GoAway { .. } => {}
                Output::Dispatch { request, instance, waited, .. } => {
                    self.report.waited(self.plan, self.now, waited);
                    self.dispatch(request, instance, waited >= self.plan.lambda.cold_start());
                }
                Output::Invoke { instance } => self.invoke(instance),
                Output::Ping { instance } => {
                    if let Some(link) = self.router.link(instance) {
                        self.send_to_instance(link, ToInstance::Ping);
                    }
                }
                Output::Refuse { request, reason, .. } => {
                    *self.report.refused.entry(reason.name()).or_default() += 1;
                    self.over(request, End::Refused);
                }
                Output::Stopped => self.exit(),
            }
        }
        self.watch.pool(self.now, &self.router.dispatcher.gauges());
        if self.checks.oracle {
            self.router.oracle.settled(self.now, &self.router.dispatcher);
        }
        if self.checks.model {
            self.check_model();
        }
    }

    /// Lets the dispatcher check itself: after every step while it has little to look through, now
    /// and then in a crowd.
    fn check_model(&mut self) {
        self.steps += 1;
        let gauges = self.router.dispatcher.gauges();
        let crowd = gauges.queued + gauges.running + gauges.ready;
        if crowd <= FEW || self.steps.is_multiple_of(u64::from(FEW)) {
            self.router.dispatcher.check();
        }
    }

    /// A client sends a request.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        self.report.requests += 1;
        self.move_horizon(arrival.at);
        self.watch.arrived(self.now);
        if self.router.stage != Stage::Serving {
            self.report.lost += 1;
            let arrived = arrival.at;
            let lost = Ended { arrived, started: None, instance: 0, cold: false, end: End::Lost };
            self.source_sees_end(arrived);
            self.watch.ended(self.now, lost);
            return;
        }
        let calm = self.plan.calm.is_some_and(|calm| arrival.at >= Time::ZERO + calm);
        if calm {
            if self.calm.0 == 0 && self.router.live > 0 {
                // Who waits from before is served before them.
                self.calm = (self.router.live, self.service_max);
            }
            self.calm = (self.calm.0 + 1, self.calm.1.max(arrival.service));
        }
        let request = self.router.take_name(arrival);
        if let Some(at) = arrival.gives_up {
            let life = self.router.life;
            self.events.push(self.now, at, Event::GivesUp { life, request });
        }
        self.tell(Input::RequestArrived { request, bytes: 500 });
    }

    /// A client gives up, wherever its request is.
    pub(super) fn give_up(&mut self, request: RequestId) {
        let Some(entry) = self.router.request(request) else { return };
        let has_head = entry.head && entry.link.is_some();
        // A timer may decide about it in the turn in which its end is told.
        self.tell(match has_head {
            true => Input::RequestEnded { request, ending: Ending::Unread },
            false => Input::RequestCancelled { request },
        });
        let Some(entry) = self.router.request(request) else { return };
        let link = entry.link.take();
        self.over(request, End::Cancelled);
        if let Some(link) = link {
            self.send_to_instance(link, ToInstance::Cancel(request));
        }
    }

    /// A request has ended for its client.
    pub(super) fn over(&mut self, request: RequestId, end: End) {
        let now = self.now;
        let Some(entry) = self.router.request(request) else {
            self.breaks(|| format!("(1) {request} ends ({end:?}) and does not live"));
            return;
        };
        entry.live = false;
        let entry = *entry;
        let Request { seen, forgiven, arrival, .. } = entry;
        let (started, instance) = entry.started.unzip();
        let ended = Ended {
            arrived: arrival.at,
            started,
            instance: instance.unwrap_or_default(),
            cold: entry.cold,
            end,
        };
        let took = now.saturating_since(arrival.at);
        self.router.free.push(request.index());
        self.router.live -= 1;
        match end {
            End::Cancelled => self.report.cancelled += 1,
            End::Lost => self.report.lost += 1,
            End::Refused => {}
            End::Served => self.report.served += 1,
        }
        self.report.longest = self.report.longest.max(took);
        self.source_sees_end(arrival.at);
        self.watch.ended(now, ended);
        self.check_end(entry, end, took);
        if seen > forgiven + 1 {
            self.breaks(|| format!("(2) {request} was seen by {seen} apps, {forgiven} in vain"));
        }
        if end == End::Served && seen == 0 {
            self.breaks(|| format!("(12) {request} has a response and no app saw it"));
        }
    }

    /// A closed loop sends its next request when one has ended.
    fn source_sees_end(&mut self, arrived: Time) {
        self.source.ended(self.now, arrived);
        self.arrival = self.source.next_at();
    }

    /// Everything ends, and once all is calm it ends well and soon.
    fn check_end(&mut self, of: Request, end: End, took: Duration) {
        let (request, arrival) = (of.id, of.arrival);
        let pool = &self.plan.pool;
        let silence = (pool.ping_interval + pool.ping_timeout) * 2;
        let most = pool.queue_timeout + self.service_max.max(FIRST_BYTE) + silence;
        let since = self.now.saturating_since(self.healed).min(took);
        if since > most {
            self.breaks(|| format!("(14) {request} ends after {since:?}, at most {most:?}"));
        }
        if self.plan.calm.is_none_or(|calm| arrival.at < Time::ZERO + calm) {
            return;
        }
        let (count, service) = self.calm;
        let most = self.plan.lambda.cold_start() * 2 + service * count.div_ceil(pool.slots) + SLACK;
        // Nothing is promised to who may not wait as long, nor to who met as many that were just
        // leaving as it may, nor where all that may run is of no use: it hangs until Lambda ends
        // it, or may be hanging, or has no slot for this router.
        let gauges = self.router.dispatcher.gauges();
        let full = gauges.ready + gauges.detached >= self.plan.pool.instances_max
            || self.lambda.concurrency() >= self.plan.lambda.concurrency;
        let taken = gauges.slots == 0 && full;
        let ends_well = matches!(end, End::Served | End::Cancelled);
        // Where the account gives less than is wanted, throttles keep the router away.
        let scarce = self.plan.lambda.concurrency < self.plan.pool.instances_max;
        let most = most + if scarce { THROTTLED } else { Duration::ZERO };
        let spent = of.attempt > pool.redispatch_max.into();
        let promised = pool.queue_timeout >= most && !taken && !spent;
        if pool.queue_len_max == 0 {
            // Who may not wait comes again, and one of those who do finds a slot, unless instances
            // leave by themselves.
            let stays = self.plan.extension.linger.is_none();
            if ends_well || promised && stays && !scarce {
                self.any_served = Some(ends_well || self.any_served == Some(true));
            }
            return;
        }
        if promised && (!ends_well || took > most) {
            self.breaks(|| format!("(14) all was calm, and {request} ends {end:?} after {took:?}"));
        }
    }

    fn dispatch(&mut self, request: RequestId, instance: InstanceId, cold: bool) {
        let (now, life) = (self.now, self.router.life);
        let there = self.router.instance(instance);
        let (number, link) = there.map_or((0, None), |there| (there.number, there.link));
        // As h2 has it: who was told that the instance goes away finds out when it opens a stream.
        let unsent = link.and_then(|id| self.links.get(id)).is_some_and(|link| link.goaway);
        let Some(entry) = self.router.request(request) else {
            self.breaks(|| format!("(1) {request} is dispatched and does not live"));
            return;
        };
        entry.attempt += 1;
        entry.started = Some((now, number));
        entry.cold = cold;
        entry.link = link;
        entry.unsent = unsent;
        let attempt = entry.attempt;
        let Some(link) = link else {
            self.breaks(|| format!("(5) {request} goes to {instance}, which has no connection"));
            return;
        };
        if unsent {
            self.events.push(now, now, Event::Ended { life, request, attempt });
        } else {
            self.send_to_instance(link, ToInstance::Open(request));
        }
    }

    /// A dispatch is over without a complete response.
    fn failed(&mut self, request: RequestId, ending: Ending) {
        let Some(entry) = self.router.request(request).filter(|entry| entry.link.is_some()) else {
            return;
        };
        entry.link = None;
        match ending {
            Ending::Served | Ending::Unread => self.over(request, End::Served),
            Ending::Undelivered => {}
            Ending::TimedOut | Ending::Unknown { .. } => entry.forgiven = entry.seen,
        }
        self.tell(Input::RequestEnded { request, ending });
    }

    /// What is left of a dispatch whose connection is gone, or goes away.
    pub(super) fn connection_ended(&mut self, request: RequestId, attempt: u32) {
        let Some(entry) = self.router.request(request).filter(|it| it.attempt == attempt) else {
            return;
        };
        let (unsent, link) = (entry.unsent, entry.link);
        let ending = if unsent {
            Ending::Undelivered
        } else if entry.head {
            Ending::Served
        } else {
            Ending::Unknown { repeatable: entry.arrival.upload == 0 }
        };
        if let Some(link) = link.filter(|_| unsent).and_then(|id| self.links.get(id)) {
            let instance = link.instance;
            if std::mem::take(&mut link.goaway) {
                self.tell(Input::GoAwayReceived { instance });
            }
        }
        self.failed(request, ending);
    }

    pub(super) fn response_late(&mut self, request: RequestId, attempt: u32) {
        let Some(entry) = self.router.request(request).filter(|it| it.attempt == attempt) else {
            return;
        };
        if let Some(link) = entry.link {
            self.send_to_instance(link, ToInstance::Cancel(request));
            self.failed(request, Ending::TimedOut);
        }
    }

    /// Bytes arrive at the router.
    pub(super) fn at_router(&mut self, id: LinkId, message: ToRouter) {
        let Some(link) = self.links.get(id).filter(|link| link.at_router) else { return };
        let (instance, life) = (link.instance, link.life);
        if life != self.router.life || self.router.stage == Stage::Gone {
            return;
        }
        match message {
            ToRouter::Closed | ToRouter::Reset => self.lose(id, instance),
            ToRouter::End(request) => self.end(id, request),
            ToRouter::Failed(request) => {
                let Some(entry) = self.router.request(request) else { return };
                let repeatable = entry.arrival.upload == 0;
                if entry.link == Some(id) {
                    self.failed(request, Ending::Unknown { repeatable });
                }
            }
            ToRouter::Goaway => {
                link.goaway = true;
                self.send_to_instance(id, ToInstance::GoawaySeen);
                // Half of the time it is acted on at once, else at the next dispatch.
                if self.chance.below(2) == 0 {
                    self.tell(Input::GoAwayReceived { instance });
                }
            }
            ToRouter::Head(request) => {
                if let Some(entry) = self.router.request(request).filter(|it| it.link == Some(id)) {
                    entry.head = true;
                }
            }
            ToRouter::Hello { lease, cold } => self.hello(id, instance, lease, cold),
            ToRouter::Ping => self.send_to_instance(id, ToInstance::Pong),
            ToRouter::Pong => self.tell(Input::PongReceived { instance }),
            ToRouter::Refused(request) => {
                let going = std::mem::take(&mut link.goaway);
                if self.router.request(request).is_some_and(|it| it.link == Some(id)) {
                    if going {
                        self.tell(Input::GoAwayReceived { instance });
                    }
                    self.failed(request, Ending::Undelivered);
                }
            }
        }
    }

    fn end(&mut self, id: LinkId, request: RequestId) {
        let Some(entry) = self.router.request(request).filter(|it| it.link == Some(id)) else {
            return;
        };
        entry.link = None;
        self.over(request, End::Served);
        self.tell(Input::RequestEnded { request, ending: Ending::Served });
        if self.faults.take_armed(FaultKind::ResetTail) {
            self.fired(FaultKind::ResetTail);
            self.break_link(id);
        }
    }

    /// Somebody says who they are: right once, and only while their invoke lasts.
    fn hello(&mut self, id: LinkId, instance: InstanceId, lease: Duration, cold: bool) {
        let slots = self.plan.pool.slots;
        let known = self.router.instance(instance);
        let attached = known.as_ref().is_some_and(|there| there.link.is_some());
        let Some(there) = known.filter(|there| there.open) else {
            self.send_to_instance(id, ToInstance::Denied);
            self.links.close_at_router(id);
            if attached {
                // The dispatcher has to say no as well, whatever an adapter lets through.
                self.tell(Input::InstanceAttached { instance, slots, lease, cold });
            }
            return;
        };
        there.open = false;
        there.link = Some(id);
        let number = there.number;
        self.watch.instance_ready(self.now, number);
        self.send_to_instance(id, ToInstance::Accepted);
        self.tell(Input::InstanceAttached { instance, slots, lease, cold });
    }

    /// The connection is gone. Whether its requests or the dispatcher hear of it first is chance.
    fn lose(&mut self, id: LinkId, instance: InstanceId) {
        self.fire_due();
        self.links.close_at_router(id);
        let Some(there) = self.router.instance(instance).filter(|it| it.link == Some(id)) else {
            return;
        };
        there.link = None;
        let requests_first = self.chance.below(2) == 0;
        if requests_first {
            self.end_all(id);
            self.tell(Input::InstanceLost { instance });
        } else {
            self.tell(Input::InstanceLost { instance });
            self.end_all(id);
        }
    }

    /// Makes the end of a connection known to every request on it, one after the other.
    fn end_all(&mut self, id: LinkId) {
        let life = self.router.life;
        let on_it = self.router.live().filter(|request| request.link == Some(id));
        let on_it: Vec<_> = on_it.map(|request| (request.id, request.attempt)).collect();
        for (request, attempt) in on_it {
            self.events.push(self.now, self.now, Event::Ended { life, request, attempt });
        }
    }

    /// The dispatcher wants the connection closed.
    fn close(&mut self, instance: InstanceId) {
        let Some(there) = self.router.instance(instance) else { return };
        let Some(id) = there.link.take() else { return };
        self.send_to_instance(id, ToInstance::Closed);
        self.links.close_at_router(id);
        self.end_all(id);
        // The adapter tells of every connection's end, ordered ones too.
        let life = self.router.life;
        self.events.push(self.now, self.now, Event::ConnectionOver { life, instance });
    }

    fn invoke(&mut self, instance: InstanceId) {
        let index = instance.index() as usize;
        self.instances += 1;
        let number = self.instances;
        self.watch.instance_started(self.now, number);
        let new = Instance { id: instance, number, open: true, link: None };
        if self.router.instances.len() <= index {
            self.router.instances.resize(index + 1, new);
        }
        self.router.instances[index] = new;
        let life = self.router.life;
        let refused = [
            (FaultKind::Forbidden, InvokeOutcome::Forbidden),
            (FaultKind::Unavailable, InvokeOutcome::Unavailable),
        ];
        if let Some((kind, outcome)) =
            refused.into_iter().find(|(kind, _)| self.faults.is_on(*kind, 0))
        {
            self.fired(kind);
            let at = self.now + API_CALL;
            self.events.push(self.now, at, Event::InvokeAnswered { life, instance, outcome });
            return;
        }
        let mut caller = Some(life);
        if self.faults.is_on(FaultKind::UnknownOutcome, 0) {
            self.fired(FaultKind::UnknownOutcome);
            let outcome = InvokeOutcome::Unknown;
            let at = self.now + API_CALL;
            self.events.push(self.now, at, Event::InvokeAnswered { life, instance, outcome });
            caller = None;
        }
        self.invokes.push(Invoke { life, caller, instance });
        let invoke = InvokeId::new(self.invokes.len() as u64);
        self.tell_lambda(model::Input::InvokeRequested { invoke });
    }

    /// The call to AWS has come back.
    pub(super) fn invoke_over(&mut self, instance: InstanceId, outcome: InvokeOutcome) {
        if let Some(there) = self.router.instance(instance) {
            there.open &= outcome == InvokeOutcome::Unknown;
            let number = there.number;
            self.watch.instance_ended(self.now, number);
        }
        self.tell(Input::InvokeEnded { instance, outcome });
    }

    /// The process ends by itself, after it was told to stop.
    fn exit(&mut self) {
        self.report.took = self.now.saturating_since(Time::ZERO);
        self.vanish(ToInstance::Closed);
        if !self.closing {
            // A deployment: the next one starts.
            self.events.push(self.now, self.now, Event::RouterBack);
        }
    }

    /// The process is not there any more, and its sockets tell so.
    pub(super) fn vanish(&mut self, word: ToInstance) {
        self.router.stage = Stage::Gone;
        let life = self.router.life;
        let open: Vec<_> = self
            .links
            .open_ones()
            .filter(|(_, link)| link.at_router && link.life == life)
            .map(|(id, _)| id)
            .collect();
        for id in open {
            self.send_to_instance(id, word);
            self.links.close_at_router(id);
        }
        let live: Vec<_> = self.router.live().map(|request| request.id).collect();
        for request in live {
            self.over(request, End::Lost);
        }
    }

    /// A new process, which knows nothing of the one before.
    pub(super) fn router_back(&mut self) {
        self.report.add_stats(self.router.dispatcher.stats());
        self.keep_broken();
        let life = self.router.life + 1;
        self.router = Router::new(self.config, self.plan.seed, life, self.now);
        if let Some(record) = &mut self.record {
            record.begin(&self.router.origin(self.config, self.plan.seed, self.now));
        }
        self.orders();
    }

    /// An instance that may be harmed: the `whom`th of those that are attached, counted round.
    pub(super) fn attached(&mut self, whom: u32) -> Option<(InstanceId, LinkId)> {
        let life = self.router.life;
        let open: Vec<_> = self
            .links
            .open_ones()
            .filter(|(_, link)| link.at_router && link.at_instance && link.life == life)
            .map(|(id, link)| (link.instance, id))
            .collect();
        let mut known = Vec::with_capacity(open.len());
        for (instance, id) in open {
            if self.router.link(instance) == Some(id) {
                known.push((instance, id));
            }
        }
        known.get(whom as usize % known.len().max(1)).copied()
    }
}

/// How long a response may take to begin: the router's default.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(60);
/// For what is not counted: messages, ticks, a slot that is found a moment later.
const SLACK: Duration = Duration::from_secs(5);
/// The router's longest pause after throttles.
const THROTTLED: Duration = Duration::from_secs(40);
const FEW: u32 = 32;
/// What a call to AWS takes that fails.
const API_CALL: Duration = Duration::from_millis(10);
