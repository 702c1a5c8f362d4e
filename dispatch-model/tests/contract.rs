//! The driving contract of [`Dispatcher`], sentence by sentence, and its invariants, under random
//! legal inputs.
//!
//! A failure prints the seed; `CONTRACT_SEED=<seed> cargo test -p dispatch-model --test contract`
//! runs that seed alone, and `CONTRACT_SEEDS=<count>` as many as one has time for.

#![expect(clippy::print_stderr, reason = "a failure prints the line that reproduces it")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatch_model::{
    Budget, Config, Dispatcher, Ending, Input, InstanceId, InstanceState, InvokeOutcome, Limits,
    Matching, Output, Prng, RequestId, Scaling, Time,
};

/// Plays all parts around the model by chance, and keeps the books naively.
struct World {
    model: Dispatcher,
    chance: Prng,
    now: Time,
    /// Free places for requests, and how often each was used.
    generations: Vec<u32>,
    free: Vec<u32>,
    waiting: BTreeSet<RequestId>,
    running: BTreeMap<RequestId, InstanceId>,
    /// Invokes that have not ended; whether attached.
    invokes: BTreeMap<InstanceId, Attached>,
    gone: Vec<InstanceId>,
    ended: u64,
    arrived: u64,
    /// Whether outputs are done late, after any number of further inputs.
    late: bool,
    /// Whether the model is written down, forgotten and read again after every step.
    forgets: bool,
    trace: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attached {
    NotYet,
    Now,
    Leaving,
    No,
}

impl World {
    fn new(seed: u64, late: bool) -> Self {
        let mut chance = Prng::new(seed);
        let limits = Limits {
            budget: (chance.below(4) == 0).then_some(Budget {
                microdollars_per_hour: 1_000,
                picodollars_per_instance_second: 16_666_700,
            }),
            cold_start: (chance.below(2) == 0)
                .then_some(Duration::from_millis(1 + chance.below(5_000))),
            instances_max: 1 + u32::try_from(chance.below(20)).unwrap(),
            instances_min: 0,
            linger: Duration::from_millis(chance.below(3_000)),
            matching: if chance.below(2) == 0 {
                Matching::Pack
            } else {
                Matching::LeastOutstanding
            },
            queue_len_max: u32::try_from(chance.below(60)).unwrap(),
            queue_bytes_max: 1_000 + chance.below(100_000),
            queue_timeout: Duration::from_millis(1 + chance.below(60_000)),
            retry_repeatable: chance.below(2) == 0,
            scaling: [Scaling::Rule, Scaling::Simple, Scaling::Ewma]
                [usize::try_from(chance.below(3)).unwrap()],
            slots: 1 + u32::try_from(chance.below(12)).unwrap(),
            ..Limits::default()
        };
        let model = Dispatcher::new(Config::new(limits).unwrap(), seed, Time::ZERO);
        Self {
            model,
            chance,
            now: Time::ZERO,
            generations: Vec::new(),
            free: Vec::new(),
            waiting: BTreeSet::new(),
            running: BTreeMap::new(),
            invokes: BTreeMap::new(),
            gone: Vec::new(),
            ended: 0,
            arrived: 0,
            late,
            forgets: false,
            trace: Vec::new(),
        }
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let index = self.chance.below(items.len() as u64);
        items.get(usize::try_from(index).unwrap()).copied()
    }

    fn new_request(&mut self) -> RequestId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).unwrap()
        });
        RequestId::new(index, self.generations[index as usize])
    }

    fn over(&mut self, request: RequestId) {
        self.ended += 1;
        self.generations[request.index() as usize] += 1;
        self.free.push(request.index());
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each input, side by side")]
    fn input(&mut self) -> Option<Input> {
        let attached: Vec<_> = self.by(Attached::Now);
        let open: Vec<_> = self.invokes.keys().copied().collect();
        let running: Vec<_> = self.running.keys().copied().collect();
        Some(match self.chance.below(100) {
            0..30 => {
                let request = self.new_request();
                self.waiting.insert(request);
                self.arrived += 1;
                let bytes = u32::try_from(self.chance.below(3_000)).unwrap();
                Input::RequestArrived { request, bytes }
            }
            30..55 => {
                let request = self.one_of(&running)?;
                let ending = match self.chance.below(10) {
                    0 => Ending::Undelivered,
                    1 => Ending::Unknown { repeatable: self.chance.below(2) == 0 },
                    2 => Ending::Unread,
                    _ => Ending::Served,
                };
                self.running.remove(&request);
                if matches!(ending, Ending::Served | Ending::Unread) {
                    self.over(request);
                } else {
                    self.waiting.insert(request);
                }
                Input::RequestEnded { request, ending }
            }
            55..60 => {
                let all: Vec<_> = self.waiting.iter().copied().chain(running).collect();
                let request = self.one_of(&all)?;
                self.waiting.remove(&request);
                self.running.remove(&request);
                self.over(request);
                Input::RequestCancelled { request }
            }
            60..75 => {
                let starting = self.by(Attached::NotYet);
                let instance = self.one_of(&starting)?;
                self.invokes.insert(instance, Attached::Now);
                Input::InstanceAttached {
                    instance,
                    slots: u32::try_from(self.chance.below(12)).unwrap(),
                    lease: Duration::from_millis(self.chance.below(100_000)),
                    cold: self.chance.below(2) == 0,
                }
            }
            75..78 => {
                let instance = self.one_of(&attached)?;
                self.invokes.insert(instance, Attached::No);
                Input::InstanceLost { instance }
            }
            78..86 => {
                let instance = self.one_of(&open)?;
                self.invokes.remove(&instance);
                self.gone.push(instance);
                let outcome = match self.chance.below(8) {
                    0 => InvokeOutcome::Crashed,
                    1 => InvokeOutcome::Forbidden,
                    2 => InvokeOutcome::Throttled {
                        retry_after: (self.chance.below(2) == 0).then_some(Duration::from_secs(3)),
                    },
                    3 => InvokeOutcome::TimedOut,
                    4 => InvokeOutcome::Unavailable,
                    5 => InvokeOutcome::Unknown,
                    _ => InvokeOutcome::Returned,
                };
                Input::InvokeEnded { instance, outcome }
            }
            86..88 => {
                let instance = self.one_of(&attached)?;
                self.invokes.insert(instance, Attached::Leaving);
                Input::GoAwayReceived { instance }
            }
            88 => Input::LeaveAsked {
                instance: self.one_of(&attached)?,
                patience: Duration::from_millis(self.chance.below(6_000)),
            },
            89..93 => Input::PongReceived { instance: self.one_of(&attached)? },
            93..95 => Input::SlotsOffered {
                instance: self.one_of(&attached)?,
                slots: u32::try_from(self.chance.below(12)).unwrap(),
            },
            95..97 => {
                let max = u32::try_from(self.chance.below(20)).unwrap();
                Input::LimitsChanged { instances_min: max / 4, instances_max: max }
            }
            97..99 => {
                // Facts about what has ended are legal.
                let gone = self.gone.clone();
                let instance = self.one_of(&gone)?;
                Input::InstanceLost { instance }
            }
            _ if self.chance.below(40) == 0 => {
                Input::ShutdownRequested { drain: Duration::from_millis(self.chance.below(20_000)) }
            }
            _ => return None,
        })
    }

    fn by(&self, attached: Attached) -> Vec<InstanceId> {
        self.invokes.iter().filter(|(_, now)| **now == attached).map(|(id, _)| *id).collect()
    }

    fn step(&mut self) {
        if self.forgets {
            let written = postcard::to_allocvec(&self.model).unwrap();
            self.model = postcard::from_bytes(&written).unwrap();
        }
        if self.chance.below(3) == 0 {
            let span = match self.chance.below(20) {
                0 => self.chance.below(20_000_000_000),
                1..10 => self.chance.below(300_000_000),
                _ => self.chance.below(2_000_000),
            };
            let until = self.now + Duration::from_nanos(span);
            // Contract 2: whether the driver comes at every timer or only at the next input, timers
            // fire first; half of the time each.
            if self.chance.below(2) == 0 {
                let mut turns = 0;
                while let Some(timeout) = self.model.poll_timeout().filter(|due| due.at <= until) {
                    self.now = timeout.at;
                    self.trace.push(format!("{} timeout {:?}", self.now, timeout.timer));
                    self.model.handle_timeout(timeout.at);
                    self.outputs();
                    self.model.check();
                    turns += 1;
                    assert!(turns < 100_000, "the model asks to be called for ever");
                }
            }
            self.now = until;
        }
        let Some(input) = self.input() else { return };
        self.trace.push(format!("{} {input:?}", self.now));
        self.model.handle_input(self.now, input);
        self.outputs();
        self.model.check();
        self.views_add_up();
        // Contract 4.
        if let Some(timeout) = self.model.poll_timeout() {
            assert!(timeout.at > self.now, "{timeout:?} at {}", self.now);
        }
    }

    /// What is seen of each instance makes the numbers that are told of all.
    fn views_add_up(&self) {
        let gauges = self.model.gauges();
        let count = |state| self.model.instances().filter(|it| it.state == state).count();
        assert_eq!(count(InstanceState::Starting), gauges.starting as usize);
        assert_eq!(count(InstanceState::Ready), gauges.ready as usize);
        assert_eq!(count(InstanceState::Draining), gauges.draining as usize);
        assert_eq!(count(InstanceState::Detached), gauges.detached as usize);
        let ready = || self.model.instances().filter(|it| it.state == InstanceState::Ready);
        assert_eq!(ready().map(|it| it.slots).sum::<u32>(), gauges.slots);
        assert_eq!(ready().map(|it| it.busy).sum::<u32>(), gauges.slots_busy);
        assert_eq!(self.model.instances().map(|it| it.busy).sum::<u32>(), gauges.running);
    }

    fn outputs(&mut self) {
        if self.late && self.chance.below(5) > 0 {
            return;
        }
        self.do_outputs();
    }

    fn do_outputs(&mut self) {
        while let Some(output) = self.model.poll_output() {
            self.trace.push(format!("    {output:?}"));
            match output {
                // A timer that was due decided about a request in the very turn in which its end
                // was told. The driver knows that it is over and does nothing.
                Output::Dispatch { request, .. } | Output::Refuse { request, .. }
                    if self.generations[request.index() as usize] != request.generation() => {}
                Output::Dispatch { request, instance, .. } => {
                    assert!(self.waiting.remove(&request), "{request} was not waiting");
                    assert!(self.running.insert(request, instance).is_none());
                }
                Output::Refuse { request, .. } => {
                    assert!(self.waiting.remove(&request), "{request} was not waiting");
                    self.over(request);
                }
                Output::Invoke { instance } => {
                    assert!(self.invokes.insert(instance, Attached::NotYet).is_none());
                }
                Output::Close { instance } => {
                    if let Some(attached) = self.invokes.get_mut(&instance) {
                        *attached = Attached::No;
                    }
                }
                Output::GoAway { instance, .. } => {
                    if let Some(attached) = self.invokes.get_mut(&instance)
                        && *attached == Attached::Now
                    {
                        *attached = Attached::Leaving;
                    }
                }
                Output::Decided(_) | Output::Ping { .. } | Output::Stopped => {}
            }
        }
    }
}

fn run(seed: u64, steps: u32, late: bool) -> Vec<String> {
    play(World::new(seed, late), seed, steps)
}

fn play(mut world: World, seed: u64, steps: u32) -> Vec<String> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step();
        }
        world.do_outputs();
        // Each request ends exactly once or is still alive, here and there.
        let gauges = world.model.gauges();
        assert_eq!(world.waiting.len(), gauges.queued as usize);
        assert_eq!(world.running.len(), gauges.running as usize);
        let alive = (world.waiting.len() + world.running.len()) as u64;
        assert_eq!(world.arrived, world.ended + alive);
        assert_eq!(world.model.stats().arrived, world.arrived);
    }));
    if let Err(panic) = result {
        world.trace.iter().rev().take(40).rev().for_each(|line| eprintln!("{line}"));
        eprintln!("reproduce: CONTRACT_SEED={seed} cargo test -p dispatch-model --test contract");
        std::panic::resume_unwind(panic);
    }
    world.trace
}

/// How many seeds are run: more for whoever asks for more.
fn seeds(usual: u64) -> u64 {
    std::env::var("CONTRACT_SEEDS").map_or(usual, |count| count.parse().expect("a number"))
}

#[test]
fn invariants_hold_and_every_request_ends_once_under_random_inputs() {
    match std::env::var("CONTRACT_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("CONTRACT_SEED is a number");
            drop((run(seed, 2_000, false), run(seed, 2_000, true)));
        }
        Err(_) => (0..seeds(600)).for_each(|seed| drop(run(seed, 600, false))),
    }
}

#[test]
fn outputs_done_late_are_slow_and_never_wrong() {
    (0..seeds(300)).for_each(|seed| drop(run(seed, 600, true)));
}

#[test]
fn same_config_seed_and_inputs_give_the_same_outputs() {
    for seed in 0..20 {
        assert_eq!(run(seed, 500, false), run(seed, 500, false));
    }
}

#[test]
fn model_that_was_written_down_and_read_again_goes_on_as_it_would_have() {
    for seed in 0..seeds(60) {
        for late in [false, true] {
            let forgetful = World { forgets: true, ..World::new(seed, late) };
            assert_eq!(play(forgetful, seed, 400), run(seed, 400, late), "seed {seed}");
        }
    }
}

#[test]
#[should_panic(expected = "time went back from 5ms to 4ms")]
fn time_that_goes_back_is_a_bug_of_the_driver() {
    let mut model =
        Dispatcher::new(Config::new(Limits::default()).unwrap(), 0, Time::from_millis(5));
    model.handle_timeout(Time::from_millis(4));
}

#[test]
fn due_timers_fire_before_the_input_that_came_with_them() {
    let limits = Limits { queue_timeout: Duration::from_secs(1), ..Limits::default() };
    let mut model = Dispatcher::new(Config::new(limits).unwrap(), 0, Time::ZERO);
    let request = RequestId::new(0, 0);
    model.handle_input(Time::ZERO, Input::RequestArrived { request, bytes: 0 });
    let mut instance = None;
    while let Some(output) = model.poll_output() {
        if let Output::Invoke { instance: id } = output {
            instance = Some(id);
        }
    }
    let instance = instance.expect("an instance is started");
    let lease = Duration::from_secs(60);
    // The slot comes a second too late: the request has timed out, although nobody had said so yet.
    let now = Time::from_millis(2_000);
    model.handle_input(now, Input::InstanceAttached { instance, slots: 1, lease, cold: true });
    let outputs: Vec<_> = std::iter::from_fn(|| model.poll_output()).collect();
    assert!(outputs.iter().any(|output| matches!(output, Output::Refuse { .. })), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Dispatch { .. })), "{outputs:?}");
}
