//! A pool that lives by chance, shown to an observer the way the driver does it.

use std::collections::BTreeSet;
use std::time::Duration;

use dispatch_model::{
    Config, Dispatcher, Ending, Input, InstanceId, InvokeOutcome, Limits, Output, Prng, RequestId,
    Time,
};

use crate::observe::Observer;

pub(crate) struct Life<O> {
    pub(crate) observer: O,
    pub(crate) model: Dispatcher,
    now: Time,
    chance: Prng,
    free: Vec<RequestId>,
    made: u32,
    waiting: BTreeSet<RequestId>,
    running: BTreeSet<RequestId>,
    starting: Vec<InstanceId>,
    attached: Vec<InstanceId>,
}

impl<O: Observer> Life<O> {
    pub(crate) fn new(seed: u64, mut observer: O) -> Self {
        let limits = Limits {
            instances_min: 1,
            instances_max: 20,
            queue_timeout: Duration::from_secs(5),
            slots: 3,
            ..Limits::default()
        };
        let config = Config::new(limits).unwrap();
        // Not at zero: a production router's clock has been running when its pool is made.
        let now = Time::from_millis(3);
        observer.started(now, &config, seed);
        let mut life = Self {
            observer,
            model: Dispatcher::new(config, seed, now),
            now,
            chance: Prng::new(seed),
            free: Vec::new(),
            made: 0,
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            starting: Vec::new(),
            attached: Vec::new(),
        };
        life.drain();
        life.observer.turn(now, &life.model);
        life
    }

    pub(crate) fn turns(&mut self, count: u32) {
        for _ in 0..count {
            let most = if self.chance.below(50) == 0 { 8_000_000_000 } else { 20_000_000 };
            self.now = self.now + Duration::from_nanos(self.chance.below(most));
            let now = self.now;
            if self.model.poll_timeout().is_some_and(|timeout| timeout.at <= now) {
                self.observer.timeout(now);
            }
            self.model.handle_timeout(now);
            self.drain();
            for _ in 0..self.chance.below(4) {
                if let Some(input) = self.input() {
                    self.tell(input);
                }
            }
            // The driver looks around some time after the last thing that happened.
            self.observer.turn(now + Duration::from_micros(50), &self.model);
        }
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.observer.input(self.now, &input);
        self.model.handle_input(self.now, input);
        self.drain();
    }

    fn one_of<T: Copy>(&mut self, items: impl IntoIterator<Item = T>) -> Option<T> {
        let items: Vec<T> = items.into_iter().collect();
        items.get(usize::try_from(self.chance.below(items.len() as u64)).unwrap()).copied()
    }

    fn input(&mut self) -> Option<Input> {
        Some(match self.chance.below(20) {
            0..9 => {
                let request = self.free.pop().unwrap_or_else(|| {
                    self.made += 1;
                    RequestId::new(self.made - 1, 0)
                });
                self.waiting.insert(request);
                let bytes = u32::try_from(self.chance.below(2_000)).unwrap();
                Input::RequestArrived { request, bytes }
            }
            9..15 => {
                let request = self.one_of(self.running.clone())?;
                self.running.remove(&request);
                let ending = match self.chance.below(10) {
                    0 => Ending::Undelivered,
                    1 => Ending::Unknown { repeatable: true },
                    _ => Ending::Served,
                };
                if ending == Ending::Served {
                    self.over(request);
                } else {
                    self.waiting.insert(request);
                }
                Input::RequestEnded { request, ending }
            }
            15 => {
                let request = self.one_of(&self.waiting | &self.running)?;
                self.over(request);
                Input::RequestCancelled { request }
            }
            16 | 17 => {
                let instance = self.starting.pop()?;
                self.attached.push(instance);
                let lease = Duration::from_millis(self.chance.below(200_000));
                Input::InstanceAttached { instance, slots: 3, lease, cold: true }
            }
            18 => Input::PongReceived { instance: self.one_of(self.attached.clone())? },
            _ => {
                let instance = self.one_of(self.attached.clone())?;
                self.attached.retain(|it| *it != instance);
                let retry_after = Some(Duration::from_millis(self.chance.below(5_000)));
                let outcomes = [
                    InvokeOutcome::Crashed,
                    InvokeOutcome::Returned,
                    InvokeOutcome::Throttled { retry_after },
                ];
                Input::InvokeEnded { instance, outcome: self.one_of(outcomes)? }
            }
        })
    }

    fn over(&mut self, request: RequestId) {
        self.waiting.remove(&request);
        self.running.remove(&request);
        self.free.push(RequestId::new(request.index(), request.generation() + 1));
    }

    fn drain(&mut self) {
        while let Some(output) = self.model.poll_output() {
            self.observer.output(self.now, &output);
            match output {
                Output::Dispatch { request, .. } => {
                    self.waiting.remove(&request);
                    self.running.insert(request);
                }
                Output::Refuse { request, .. } => self.over(request),
                Output::Invoke { instance } => self.starting.push(instance),
                Output::Close { .. }
                | Output::Decided(_)
                | Output::GoAway { .. }
                | Output::Ping { .. }
                | Output::Stopped => {}
            }
        }
    }
}
