//! A dispatcher that is obviously right: every question is answered by looking at everything.

use dispatch_model::{Ending, Matching};

/// How many instances can attach in one run.
pub(crate) const INSTANCES: usize = 40;
/// Of [`dispatch_model::Limits`]: what is left of a lease for requests to finish in.
const MARGIN_MS: u64 = 15_000;
/// How long an instance that gave a request back is left alone.
const PAUSE_MS: u64 = 500;
/// Requests that are served are served within this: where they need more, more is left.
const QUICK_MS: u64 = 750;
/// What is given to an instance beyond its lease.
const GRACE_MS: u64 = 1_000;
/// How often a request may be sent out: once, and two times more.
const ATTEMPTS: u32 = 3;

/// Something that happens. Numbers are places in the pool's vectors.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Arrive,
    Attach { slots: u32, lease_ms: u64 },
    Cancel(usize),
    End(usize, Ending),
    GoAway(usize),
    Lose(usize),
    Offer(usize, u32),
    Wait(u64),
}

/// Something to do, with requests and instances by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Close(usize),
    Dispatch(usize, usize),
    GoAway(usize),
    Refuse(usize),
}

#[derive(Clone, Debug)]
struct Instance {
    slots: u32,
    state: State,
    usable_until: u64,
    lease_end: u64,
    paused_until: Option<u64>,
    /// Its load when it could last be given work, and since which moment it has had it.
    standing: Option<(u32, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    Draining,
    Gone,
}

#[derive(Clone, Debug)]
struct Request {
    number: usize,
    arrived: u64,
    attempts: u32,
    /// Who runs it, and since when.
    on: Option<usize>,
    since: u64,
    /// Who gave it back last.
    avoid: Option<usize>,
}

/// All there is.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    matching: Matching,
    now: u64,
    instances: Vec<Instance>,
    queue: Vec<Request>,
    running: Vec<Request>,
    arrived: usize,
    /// Counts changes, to say which came first.
    changes: u64,
    subject: usize,
    orders: Vec<Order>,
}

impl Pool {
    pub(crate) fn new(matching: Matching) -> Self {
        Self {
            matching,
            now: 0,
            instances: Vec::new(),
            queue: Vec::new(),
            running: Vec::new(),
            arrived: 0,
            changes: 0,
            subject: 0,
            orders: Vec::new(),
        }
    }

    pub(crate) fn matching(&self) -> Matching {
        self.matching
    }

    pub(crate) fn attached(&self) -> usize {
        self.instances.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether a running request could be served by now without having needed long.
    pub(crate) fn is_quick(&self, index: usize) -> bool {
        self.now - self.running[index].since <= QUICK_MS
    }

    pub(crate) fn live(&self) -> usize {
        self.queue.len() + self.running.len()
    }

    /// The request that the last step was about.
    pub(crate) fn subject(&self) -> usize {
        self.subject
    }

    /// What the last step led to.
    pub(crate) fn orders(&self) -> &[Order] {
        &self.orders
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        self.orders.clear();
        match *step {
            Step::Arrive => {
                self.subject = self.arrived;
                self.arrived += 1;
                let number = self.subject;
                self.queue.push(Request {
                    number,
                    arrived: self.now,
                    attempts: 0,
                    on: None,
                    since: 0,
                    avoid: None,
                });
            }
            Step::Attach { slots, lease_ms } => {
                let margin = MARGIN_MS.min(lease_ms / 4);
                self.instances.push(Instance {
                    slots,
                    state: State::Serving,
                    usable_until: self.now + lease_ms - margin,
                    lease_end: self.now + lease_ms,
                    paused_until: None,
                    standing: None,
                });
            }
            Step::Cancel(index) => {
                let waiting = self.queue.len();
                let request = if index < waiting {
                    self.queue.remove(index)
                } else {
                    self.running.remove(index - waiting)
                };
                self.subject = request.number;
                self.free(request.on);
            }
            Step::End(index, ending) => self.end(index, ending),
            Step::GoAway(index) => {
                if self.instances[index].state == State::Serving {
                    self.drain(index);
                }
            }
            Step::Lose(index) => self.instances[index].state = State::Gone,
            Step::Offer(index, slots) => {
                if self.instances[index].state != State::Gone {
                    self.instances[index].slots = slots;
                }
            }
            Step::Wait(ms) => return self.wait(self.now + ms),
        }
        self.match_up();
    }

    fn end(&mut self, index: usize, ending: Ending) {
        let mut request = self.running.remove(index);
        self.subject = request.number;
        let on = request.on.take().expect("it runs");
        match ending {
            Ending::Served | Ending::Unread => self.instances[on].paused_until = None,
            Ending::Undelivered => {
                self.instances[on].paused_until = Some(self.now + PAUSE_MS);
                if request.attempts < ATTEMPTS {
                    request.avoid = Some(on);
                    let goes_before =
                        |it: &Request| it.attempts == 0 || it.arrived > request.arrived;
                    let place = self.queue.iter().position(goes_before);
                    self.queue.insert(place.unwrap_or(self.queue.len()), request);
                } else {
                    self.orders.push(Order::Refuse(request.number));
                }
            }
            Ending::TimedOut | Ending::Unknown { .. } => {
                self.orders.push(Order::Refuse(request.number));
            }
        }
        self.free(Some(on));
    }

    /// A slot of an instance is free again.
    fn free(&mut self, instance: Option<usize>) {
        if let Some(index) = instance {
            self.leave_if_done(index);
        }
    }

    fn leave_if_done(&mut self, index: usize) {
        if self.instances[index].state == State::Draining && self.busy(index) == 0 {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        self.instances[index].state = State::Gone;
        self.orders.push(Order::Close(index));
    }

    fn drain(&mut self, index: usize) {
        self.instances[index].state = State::Draining;
        self.leave_if_done(index);
    }

    /// Lets time pass, from one moment at which something is due to the next.
    fn wait(&mut self, until: u64) {
        for now in self.now + 1..=until {
            self.now = now;
            for index in 0..self.instances.len() {
                let Instance { state, usable_until, lease_end, .. } = self.instances[index];
                if state == State::Serving && usable_until == now {
                    self.orders.push(Order::GoAway(index));
                    self.drain(index);
                } else if state == State::Draining && lease_end + GRACE_MS == now {
                    self.close(index);
                }
            }
            for index in 0..self.instances.len() {
                if self.instances[index].paused_until == Some(now) {
                    self.instances[index].paused_until = None;
                    self.match_up();
                }
            }
        }
    }

    /// Gives the first in line to the best instance while there are both.
    fn match_up(&mut self) {
        self.note_standings();
        while let Some(first) = self.queue.first() {
            let Some(best) = self.best(first.avoid) else { break };
            let mut request = self.queue.remove(0);
            request.on = Some(best);
            request.since = self.now;
            request.attempts += 1;
            self.orders.push(Order::Dispatch(request.number, best));
            self.running.push(request);
            self.note_standings();
        }
    }

    fn busy(&self, index: usize) -> u32 {
        let on_it = self.running.iter().filter(|request| request.on == Some(index)).count();
        u32::try_from(on_it).expect("a few")
    }

    /// Whose load has changed goes behind all that have it already.
    fn note_standings(&mut self) {
        for index in 0..self.instances.len() {
            let busy = self.busy(index);
            let instance = &mut self.instances[index];
            let usable = instance.state == State::Serving
                && instance.paused_until.is_none()
                && busy < instance.slots;
            match instance.standing {
                Some((load, _)) if usable && load == busy => {}
                _ if usable => {
                    self.changes += 1;
                    instance.standing = Some((busy, self.changes));
                }
                _ => instance.standing = None,
            }
        }
    }

    /// The instance for the next request; `avoid` only if there is no other.
    fn best(&self, avoid: Option<usize>) -> Option<usize> {
        let standing = self.instances.iter().enumerate();
        let mut usable: Vec<_> = standing
            .filter_map(|(index, instance)| instance.standing.map(|standing| (index, standing)))
            .collect();
        usable.sort_by_key(|(_, (load, since))| match self.matching {
            Matching::LeastOutstanding => (i64::from(*load), *since),
            Matching::Pack => (-i64::from(*load), *since),
        });
        let other = usable.iter().find(|(index, _)| Some(*index) != avoid);
        other.or_else(|| usable.first()).map(|(index, _)| *index)
    }
}
