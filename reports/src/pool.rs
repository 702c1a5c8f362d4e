//! Instances that are there before the requests come, with a balancer in front: the engine of
//! [`fleet`](crate::fleet) and [`managed`](crate::managed).
//!
//! A request goes to the instance with the fewest in flight, the lowest number first. If every slot
//! is taken it waits in a queue, first come first served, or is refused. Once a minute the count of
//! instances may change; those that are too many, the newest first, take no more work and end when
//! theirs is done.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use dispatch_model::{Gauges, Time};
use sim::outside::{End, Source, Watch};
use sim::traffic::stretched;

use crate::events::Events;
use crate::requests::{Name, Requests};
use crate::tracking::{Alarms, MINUTE, Meter, Tracking};

/// What there is to serve with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Instances at the start.
    pub(crate) count: u32,
    /// Requests that one serves at once.
    pub(crate) slots: u32,
    /// Processors of each.
    pub(crate) vcpus: f64,
    /// Requests that may wait.
    pub(crate) queue_max: u32,
    /// For how long.
    pub(crate) queue_timeout: Duration,
    /// How long a request may run; then it fails, and its slot is free.
    pub(crate) timeout: Duration,
    /// How long a new instance takes until it serves.
    pub(crate) start: Duration,
    /// How their number follows their use; none: it stays.
    pub(crate) tracking: Option<Tracking>,
    /// In how long their number may double, at most; none: at once.
    pub(crate) doubling: Option<Duration>,
    /// Instances that are paid for as one.
    pub(crate) shared_by: u32,
}

/// What that came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    /// Until the traffic and the last request were over.
    pub(crate) span: Duration,
    /// Time of what is paid for, in sum.
    pub(crate) paid: Duration,
    /// Time of instances, in sum.
    pub(crate) lived: Duration,
    /// Requests that got a slot.
    pub(crate) requests: u64,
    /// Requests that found neither a slot nor a place in the queue.
    pub(crate) turned_away: u64,
}

/// Serves all requests of `source`.
pub(crate) fn serve(pool: &Pool, source: &mut dyn Source, watch: &mut dyn Watch) -> Served {
    let mut world = World::new(pool, source, watch);
    while world.step() {}
    world.finish()
}

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    Done(Name, End),
    GivesUp(Name),
    Minute,
    Ready(u32),
}

/// One instance, numbered from 1.
#[derive(Clone, Copy, Debug)]
struct Instance {
    stage: Stage,
    running: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Draining,
    Ended,
}

struct World<'a> {
    pool: &'a Pool,
    source: &'a mut dyn Source,
    watch: &'a mut dyn Watch,
    now: Time,
    events: Events<Event>,
    requests: Requests,
    /// Requests that wait, in order; of those whose client left some may still be among them.
    queue: VecDeque<Name>,
    instances: Vec<Instance>,
    /// Instances with a free slot, by requests in flight and number.
    open: BTreeSet<(u32, u32)>,
    gauges: Gauges,
    /// Busy slots.
    busy: Meter,
    /// Instances that are paid for.
    lived: Meter,
    paid: Meter,
    alarms: Alarms,
    /// How many there should be, now and at each of the last minutes.
    desired: u32,
    history: VecDeque<u32>,
    served: Served,
}

impl<'a> World<'a> {
    fn new(pool: &'a Pool, source: &'a mut dyn Source, watch: &'a mut dyn Watch) -> Self {
        let mut world = Self {
            pool,
            source,
            watch,
            now: Time::ZERO,
            events: Events::new(),
            requests: Requests::default(),
            queue: VecDeque::new(),
            instances: Vec::new(),
            open: BTreeSet::new(),
            gauges: Gauges::default(),
            busy: Meter::default(),
            lived: Meter::default(),
            paid: Meter::default(),
            alarms: Alarms::default(),
            desired: pool.count,
            history: VecDeque::new(),
            served: Served::default(),
        };
        for number in 1..=pool.count {
            world.start();
            world.ready(number);
        }
        if pool.tracking.is_some() {
            world.events.push(Time::ZERO + MINUTE, Event::Minute);
        }
        world.report();
        world
    }

    /// Lets the next thing happen; false when the traffic and every request are over.
    fn step(&mut self) -> bool {
        let arrival = self.source.next_at();
        let late = self.late_at();
        let next = [self.events.next_at(), late, arrival];
        let first = next.into_iter().flatten().min();
        if self.requests.live == 0 && arrival.is_none() {
            let lasts = self.source.lasts();
            if first.is_none_or(|at| at >= lasts) {
                self.now = self.now.max(lasts);
                return false;
            }
        }
        let Some(at) = first else { unreachable!("a request that lives waits for something") };
        self.now = at;
        if next[0] == Some(at) {
            match self.events.pop() {
                Some(Event::Done(name, end)) => self.done(name, end),
                Some(Event::GivesUp(name)) => self.give_up(name),
                Some(Event::Minute) => self.minute(),
                Some(Event::Ready(number)) => self.ready(number),
                None => {}
            }
        } else if late == Some(at) {
            if let Some(name) = self.queue.pop_front() {
                self.gauges.queued -= 1;
                self.end(name, End::Refused);
                self.requests.remove(name);
            }
        } else {
            self.arrive();
        }
        self.report();
        true
    }

    /// When who has waited longest has waited too long. Forgets who left.
    fn late_at(&mut self) -> Option<Time> {
        while let Some(name) = self.queue.front() {
            if let Some(request) = self.requests.get(*name) {
                return Some(request.arrival.at + self.pool.queue_timeout);
            }
            self.queue.pop_front();
        }
        None
    }

    fn arrive(&mut self) {
        let Some(mut arrival) = self.source.next() else { return };
        arrival.at = self.now;
        self.watch.arrived(self.now);
        let name = self.requests.add(arrival);
        if let Some(at) = arrival.gives_up {
            self.events.push(at, Event::GivesUp(name));
        }
        if self.open.is_empty() && self.gauges.queued >= self.pool.queue_max {
            self.served.turned_away += 1;
            self.end(name, End::Refused);
            return self.requests.remove(name);
        }
        self.queue.push_back(name);
        self.gauges.queued += 1;
        self.dispatch();
    }

    /// Gives waiting requests to free slots.
    fn dispatch(&mut self) {
        while self.gauges.queued > 0
            && let Some((running, number)) = self.open.pop_first()
        {
            let name = loop {
                let name = self.queue.pop_front().expect("as many as queued wait");
                if self.requests.get(name).is_some() {
                    break name;
                }
            };
            let Some(request) = self.requests.get(name) else { continue };
            request.started = Some(self.now);
            request.instance = number;
            let Pool { vcpus, slots, timeout, .. } = *self.pool;
            let (service, cpu) = (request.arrival.service, request.arrival.cpu);
            let takes = stretched(service, cpu, running, vcpus);
            let end = if takes > timeout { End::Refused } else { End::Served };
            self.events.push(self.now + takes.min(timeout), Event::Done(name, end));
            self.gauges.queued -= 1;
            self.gauges.running += 1;
            self.served.requests += 1;
            self.instances[place(number)].running += 1;
            if running + 1 < slots {
                self.open.insert((running + 1, number));
            }
        }
    }

    fn done(&mut self, name: Name, end: End) {
        self.end(name, end);
        let Some(request) = self.requests.get(name) else { return };
        let number = request.instance;
        self.requests.remove(name);
        self.gauges.running -= 1;
        let instance = &mut self.instances[place(number)];
        instance.running -= 1;
        match instance.stage {
            Stage::Ready => {
                let running = instance.running;
                self.open.remove(&(running + 1, number));
                self.open.insert((running, number));
                self.dispatch();
            }
            Stage::Draining if instance.running == 0 => self.over(number),
            Stage::Draining | Stage::Starting | Stage::Ended => {}
        }
    }

    /// Its client gives up. What has begun goes on.
    fn give_up(&mut self, name: Name) {
        let Some(request) = self.requests.get(name) else { return };
        let waits = request.started.is_none();
        self.end(name, End::Cancelled);
        if waits {
            self.gauges.queued -= 1;
            self.requests.remove(name);
        }
    }

    /// Its client knows how it ended, now.
    fn end(&mut self, name: Name, end: End) {
        let Some(request) = self.requests.get(name) else { return };
        if std::mem::replace(&mut request.left, true) {
            return;
        }
        // Nobody is bound to a start here; who waits as long as one has paid it all the same.
        let waited = request.started.unwrap_or(self.now).saturating_since(request.arrival.at);
        let cold = self.pool.tracking.is_some() && waited >= self.pool.start;
        let ended = request.ended(end, cold, Time::ZERO);
        self.watch.ended(self.now, ended);
        self.source.ended(self.now, ended.arrived);
    }

    fn start(&mut self) {
        self.instances.push(Instance { stage: Stage::Starting, running: 0 });
        self.gauges.starting += 1;
        self.count();
        self.watch.instance_started(self.now, self.newest());
    }

    fn ready(&mut self, number: u32) {
        let instance = &mut self.instances[place(number)];
        if instance.stage != Stage::Starting {
            return;
        }
        instance.stage = Stage::Ready;
        self.gauges.starting -= 1;
        self.gauges.ready += 1;
        self.watch.instance_ready(self.now, number);
        if self.pool.slots > 0 {
            self.open.insert((0, number));
        }
        self.dispatch();
    }

    fn over(&mut self, number: u32) {
        let gauge = match self.instances[place(number)].stage {
            Stage::Starting => &mut self.gauges.starting,
            Stage::Ready => &mut self.gauges.ready,
            Stage::Draining => &mut self.gauges.draining,
            Stage::Ended => return,
        };
        *gauge -= 1;
        self.instances[place(number)].stage = Stage::Ended;
        self.count();
        self.watch.instance_ended(self.now, number);
    }

    /// Lets an instance end that is not needed.
    fn retire(&mut self, number: u32) {
        let Instance { stage, running } = self.instances[place(number)];
        self.open.remove(&(running, number));
        if stage == Stage::Ready && running > 0 {
            self.instances[place(number)].stage = Stage::Draining;
            self.gauges.ready -= 1;
            self.gauges.draining += 1;
        } else {
            self.over(number);
        }
    }

    /// Decides how many there should be from now on.
    fn minute(&mut self) {
        let Some(tracking) = &self.pool.tracking else { return };
        self.events.push(self.now + MINUTE, Event::Minute);
        let slots = self.pool.slots.max(1);
        let busy = self.busy.take(self.now).as_secs_f64() / MINUTE.as_secs_f64();
        let wanted = self.alarms.minute(tracking, busy / f64::from(slots), self.desired);
        let minutes = self.pool.doubling.map_or(0, |span| span.as_secs().div_ceil(60));
        self.history.push_back(self.desired);
        while self.history.len() as u64 > minutes {
            self.history.pop_front();
        }
        let before = self.history.front().map(|count| count.saturating_mul(2));
        self.desired = wanted.min(before.unwrap_or(u32::MAX).max(self.desired));
        let there = self.gauges.starting + self.gauges.ready;
        for _ in there..self.desired {
            self.start();
            self.events.push(self.now + self.pool.start, Event::Ready(self.newest()));
        }
        let mut surplus = there.saturating_sub(self.desired);
        for number in (1..=self.newest()).rev() {
            let stage = self.instances[place(number)].stage;
            if surplus > 0 && matches!(stage, Stage::Starting | Stage::Ready) {
                surplus -= 1;
                self.retire(number);
            }
        }
    }

    /// Notes how many are paid for.
    fn count(&mut self) {
        let alive = self.gauges.starting + self.gauges.ready + self.gauges.draining;
        self.lived.set(self.now, alive);
        self.paid.set(self.now, alive.div_ceil(self.pool.shared_by.max(1)));
    }

    fn report(&mut self) {
        if self.pool.tracking.is_some() {
            self.busy.set(self.now, self.gauges.running);
        }
        self.gauges.slots = self.gauges.ready.saturating_mul(self.pool.slots);
        self.gauges.slots_busy = self.gauges.running;
        self.gauges.desired = self.desired;
        self.watch.pool(self.now, &self.gauges);
    }

    fn finish(mut self) -> Served {
        for number in 1..=self.newest() {
            if self.instances[place(number)].stage != Stage::Ended {
                self.watch.instance_ended(self.now, number);
            }
        }
        self.served.span = self.now.saturating_since(Time::ZERO);
        self.served.paid = self.paid.take(self.now);
        self.served.lived = self.lived.take(self.now);
        self.served
    }

    fn newest(&self) -> u32 {
        u32::try_from(self.instances.len()).expect("fewer than 2^32 instances")
    }
}

const fn place(number: u32) -> usize {
    number as usize - 1
}
