//! One dispatcher and a few lifecycles over a perfect network, under bytes.
//!
//! ```text
//!   bytes ──▶ requests ──▶ router ── requests, pings, cancels ──▶ environments ──▶ apps
//!                │            ◀── attaches, answers, goaways ──       │
//!                └── Lambda: invokes, deadlines, deaths ──────────────┘
//! ```
//!
//! Every message arrives, after one delay and in the order in which it was sent; what happens
//! between is decided by the bytes: arrivals, cancels, deaths of environments, broken links, apps
//! that end, goaways of either side. Time is a heap of events, and each machine is called at each
//! of its timers. Whatever was accepted must end once, and when the bytes are over all of it must
//! drain.

mod environment;
mod router;

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch_model::{Ending, Input, InstanceId, InvokeOutcome, RequestId, Time};

use environment::Environment;
use router::Router;

/// Bytes that choose the limits and how slow things are.
const HEAD: usize = 8;
/// Bytes of a step: what happens, to whom, and two for how much.
const STEP: usize = 4;

/// Plays `bytes` to both machines, checks the promises between them after each step, and lets all
/// of it drain.
///
/// # Panics
///
/// A promise is broken: a find.
pub fn pair(bytes: &[u8]) {
    let Some((head, steps)) = bytes.split_first_chunk::<HEAD>() else { return };
    let mut world = World::new(head);
    for step in steps.as_chunks::<STEP>().0.iter().take(STEPS_MAX) {
        world.step(*step);
        world.run_until(world.now);
    }
    world.finish();
}

struct World {
    now: Time,
    router: Router,
    environments: Vec<Environment>,
    events: BTreeMap<(Time, u64), Event>,
    /// Events made so far, so that those of one moment keep their order.
    made: u64,
    slots: u32,
    /// From one end of the network to the other.
    delay: Duration,
    /// From the start of an environment to its app being ready.
    boot: Duration,
    /// What Lambda gives an invoke.
    timeout: Duration,
    queue_timeout: Duration,
    /// How many of the next attaches find nobody.
    unreachable: u8,
    linger: Option<Duration>,
}

/// What will happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    AppReady {
        environment: usize,
    },
    /// Lambda ends an invoke that has not returned.
    Deadline {
        environment: usize,
        invoke: u64,
    },
    Ended {
        request: RequestId,
        environment: usize,
        link: u64,
    },
    /// A stream ended without a response.
    Failed {
        request: RequestId,
        instance: InstanceId,
        ending: Ending,
    },
    Invoked {
        environment: usize,
        instance: InstanceId,
    },
    ToInstance {
        environment: usize,
        link: u64,
        message: ToInstance,
    },
    ToRouter {
        instance: InstanceId,
        message: ToRouter,
    },
    /// What the router's own side of things tells its machine.
    Told {
        input: Input,
    },
    Unreachable {
        environment: usize,
        link: u64,
    },
}

/// What the router says on a link.
#[derive(Clone, Copy, Debug)]
enum ToInstance {
    Accepted,
    Cancel {
        request: RequestId,
    },
    /// The router has closed the link.
    Closed,
    Ping,
    Pong,
    Refused,
    Request {
        request: RequestId,
        service: Duration,
    },
}

/// What an instance says on its link.
#[derive(Clone, Copy, Debug)]
enum ToRouter {
    Attach {
        environment: usize,
        link: u64,
        lease: Duration,
        cold: bool,
    },
    /// Everything was written, and what was not begun is known not to be.
    Closed,
    /// The app failed on it.
    Failed {
        request: RequestId,
    },
    Goaway,
    Lost,
    Ping,
    Pong,
    Refused {
        request: RequestId,
    },
    Served {
        request: RequestId,
    },
    Slots {
        slots: u32,
    },
}

impl World {
    fn new(head: &[u8; HEAD]) -> Self {
        let [_, slots, _, times, timeout, delay, boot, linger] = *head;
        let mut world = Self {
            now: Time::ZERO,
            router: Router::new(head),
            environments: Vec::new(),
            events: BTreeMap::new(),
            made: 0,
            slots: u32::from(slots % 16) + 1,
            delay: Duration::from_micros(u64::from(delay) * 100),
            boot: Duration::from_millis(u64::from(boot) * 40),
            timeout: Duration::from_millis(u64::from(timeout) * 250 + 1_000),
            queue_timeout: Duration::from_millis(u64::from(times) * 100 + 1),
            unreachable: 0,
            linger: (linger % 2 == 0).then(|| Duration::from_millis(u64::from(linger) * 10)),
        };
        world.perform();
        world
    }

    fn step(&mut self, [kind, whom, a, b]: [u8; STEP]) {
        let much = u64::from(u16::from_le_bytes([a, b]));
        let chosen = usize::from(whom) % self.environments.len().max(1);
        match kind % 16 {
            0..=2 => self.arrive(u32::from(whom % 4) + 1, a, b),
            3 => self.cancel(whom.into()),
            4 => self.kill(chosen),
            5 => self.break_link(chosen),
            6 => self.app_exits(chosen),
            7 => self.shut_down(chosen, Duration::from_millis(much)),
            8 => self.refuse_some(chosen, a),
            9 => self.offer_slots(chosen, u32::from(a % 17)),
            10 => self.unreachable = a % 4,
            11 => {
                let instances_max = u32::from(a % 8);
                let instances_min = u32::from(b % 4).min(instances_max);
                self.tell(Input::LimitsChanged { instances_min, instances_max });
            }
            12 if much >= 65_000 => {
                self.tell(Input::ShutdownRequested { drain: Duration::from_secs(5) });
            }
            _ => self.run_until(self.now + Duration::from_millis(much / 4)),
        }
    }

    /// Lets everything happen that is due until then: timers before what arrives at their moment.
    fn run_until(&mut self, until: Time) {
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let router = self.router.model.poll_timeout().map(|timeout| timeout.at);
            let timer = self.environments.iter().filter_map(Environment::due).min();
            let timer = timer.into_iter().chain(router).min();
            let Some(at) = event.into_iter().chain(timer).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = at;
            if timer == Some(at) {
                self.router.model.handle_timeout(at);
                for environment in &mut self.environments {
                    environment.model.handle_timeout(at);
                }
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event);
            }
            self.perform();
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::AppReady { environment } => self.app_ready(environment),
            Event::Deadline { environment, invoke } => {
                let environment = &self.environments[environment];
                let open = environment.alive && environment.invokes == invoke;
                let in_time = !open || environment.instance.is_none();
                assert!(in_time, "v{invoke} did not return before Lambda's deadline");
            }
            Event::Ended { request, environment, link } => {
                self.app_answers(request, environment, link);
            }
            Event::Failed { request, instance, ending } => self.failed(request, instance, ending),
            Event::Invoked { environment, instance } => self.invoked(environment, instance),
            Event::ToInstance { environment, link, message } => {
                self.heard_by_instance(environment, link, message);
            }
            Event::ToRouter { instance, message } => self.heard_by_router(instance, message),
            Event::Told { input } => self.tell(input),
            Event::Unreachable { environment, link } => self.found_nobody(environment, link),
        }
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.made += 1;
        self.events.insert((self.now + delay, self.made), event);
    }

    fn perform(&mut self) {
        self.perform_router();
        for index in 0..self.environments.len() {
            self.perform_environment(index);
        }
    }

    /// No more of what bytes can do: requests end, instances leave, invokes return.
    fn finish(&mut self) {
        self.unreachable = 0;
        let invoke = self.timeout + self.boot + self.delay * 4;
        self.run_while((self.queue_timeout + invoke) * 2 + SLACK, |world| {
            world.router.requests_left() > 0
        });
        self.router.all_ended();
        self.tell(Input::ShutdownRequested { drain: DRAIN });
        self.run_while(DRAIN + invoke * 2 + SLACK, |world| {
            world.router.instances_left() > 0 || !world.environments.iter().all(Environment::rests)
        });
        self.router.all_gone();
        for (index, environment) in self.environments.iter().enumerate() {
            assert!(environment.rests(), "environment {index} never came to rest");
        }
    }

    /// Lets time pass while there is something left, at most `most` of it.
    fn run_while(&mut self, most: Duration, left: impl Fn(&Self) -> bool) {
        let end = self.now + most;
        while self.now < end && left(self) {
            self.run_until(self.now + Duration::from_millis(500));
        }
    }
}

/// Lambda's answers.
impl World {
    /// Thaws a frozen environment, or makes one while there may be more.
    fn invoke(&mut self, instance: InstanceId) {
        let frozen = self.environments.iter().position(Environment::is_free);
        let environment = frozen.or_else(|| {
            let alive = self.environments.iter().filter(|environment| environment.alive).count();
            let room = alive < ENVIRONMENTS_MAX && self.environments.len() < EVER_MAX;
            room.then(|| {
                self.environments.push(Environment::new(self.linger, self.now));
                self.environments.len() - 1
            })
        });
        match environment {
            Some(environment) => {
                self.environments[environment].promised = true;
                self.after(self.delay, Event::Invoked { environment, instance });
            }
            None => {
                self.invoke_ended(instance, InvokeOutcome::Throttled { retry_after: None });
            }
        }
    }

    fn invoke_ended(&mut self, instance: InstanceId, outcome: InvokeOutcome) {
        let input = Input::InvokeEnded { instance, outcome };
        self.after(self.delay, Event::Told { input });
    }
}

/// Enough for all kinds of trouble, few enough for many runs.
const STEPS_MAX: usize = 250;
/// Environments at a time, and in all: one that dies can be replaced.
const ENVIRONMENTS_MAX: usize = 6;
const EVER_MAX: usize = 60;
/// Time that requests may take once nothing else happens.
const DRAIN: Duration = Duration::from_secs(5);
/// For what is not counted: back-off, pings.
const SLACK: Duration = Duration::from_secs(20);
