//! The five sentences of the contract, under thousands of random histories.

use std::collections::BTreeMap;

use super::*;

/// A random history: environments behave and misbehave, ids may be stale, time advances by leaps.
struct History {
    model: Model,
    chance: Prng,
    now: Time,
    invokes: u64,
    /// How often each invoke was answered and billed.
    ends: BTreeMap<InvokeId, (u32, u32)>,
    killed: Vec<EnvironmentId>,
    trace: Vec<String>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut chance = Prng::new(seed);
        let mut span = |limit_ms| Duration::from_millis(chance.below(limit_ms));
        let config = Config {
            account_concurrency: 6,
            cold_start: span(3_000),
            function_timeout: span(5_000),
            idle_jitter: span(1_000),
            idle_timeout: span(20_000),
            init_timeout: span(4_000),
            late_binding: seed.is_multiple_of(2),
            provisioned: u32::from(seed.is_multiple_of(3)),
            ramp_environments: 5,
            restore: seed.is_multiple_of(5).then(|| span(1_000)),
            shutdown_budget: span(2_000),
            ..Config::default()
        };
        Self {
            model: Model::new(config, seed, Time::ZERO),
            chance,
            now: Time::ZERO,
            invokes: 0,
            ends: BTreeMap::new(),
            killed: Vec::new(),
            trace: Vec::new(),
        }
    }

    fn pick(&mut self, limit: u64) -> u64 {
        self.chance.below(limit)
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.pick(700));
        let environment = EnvironmentId::new(1 + self.pick(self.model.created() + 1));
        let extension = ExtensionId::new(self.pick(2));
        let held = self.model.environments.get(environment).and_then(|there| there.held.as_ref());
        let invoke = match held.map(|held| held.invoke) {
            Some(held) if self.pick(8) > 0 => held,
            _ => InvokeId::new(self.pick(self.invokes + 1)),
        };
        let input = match self.pick(18) {
            0..=3 => {
                self.invokes += 1;
                self.ends.insert(InvokeId::new(self.invokes), (0, 0));
                Input::InvokeRequested { invoke: InvokeId::new(self.invokes) }
            }
            4..=6 => Input::RuntimeNext { environment },
            7..=8 => Input::ResponsePosted { environment, invoke },
            9 => Input::ErrorPosted { environment, invoke },
            10 => Input::ExtensionNext { environment, extension },
            11 => {
                if self.model.stage(environment) != Some(Stage::Initialising) {
                    return;
                }
                Input::ExtensionRegistered { environment, extension, invoke: self.pick(2) == 0 }
            }
            12 => Input::ProcessExited { environment },
            13 => Input::PrewarmRequested,
            14 => Input::InitErrorPosted { environment },
            16 => Input::RestoreNext { environment },
            15 if self.pick(4) == 0 => Input::CodeUpdated,
            15 if self.pick(4) == 0 => {
                let count = u32::try_from(self.pick(4)).expect("a small number");
                Input::ProvisionedChanged { count }
            }
            _ => Input::ThrottleChanged { on: self.pick(3) == 0 },
        };
        self.say(input);
    }

    fn say(&mut self, input: Input) {
        self.trace.push(format!("{} {input:?}", self.now));
        self.model.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.model.poll_output() {
            self.trace.push(output.to_string());
            match output {
                Output::Answer { invoke, .. } => self.ends.get_mut(&invoke).unwrap().0 += 1,
                Output::Bill(Bill { invoke: Some(invoke), .. }) => {
                    self.ends.get_mut(&invoke).unwrap().1 += 1;
                }
                Output::Kill { environment } => self.killed.push(environment),
                Output::Deliver { environment, invoke, deadline } => {
                    assert!(deadline >= self.now || self.model.stage(environment).is_some());
                    let done = self.ends[&invoke];
                    assert!(done.1 == 0, "{invoke} is delivered after its bill");
                }
                Output::Bill(Bill { invoke: None, .. })
                | Output::Freeze { .. }
                | Output::InitFailed { .. }
                | Output::Initialised { .. }
                | Output::Restore { .. }
                | Output::Start { .. }
                | Output::Stop { .. }
                | Output::Thaw { .. } => {}
            }
        }
        self.model.check();
        assert!(self.model.concurrency() <= 6, "more in flight than the account allows");
        if self.pick(3) == 0 {
            for environment in std::mem::take(&mut self.killed) {
                self.model.handle_input(self.now, Input::EnvironmentEmptied { environment });
            }
        }
    }

    /// Runs it, shuts down, and lets everything end.
    fn run(mut self) -> Vec<String> {
        for _ in 0..300 {
            self.step();
        }
        self.say(Input::ShutdownRequested);
        for _ in 0..20 {
            self.step();
        }
        while let Some(at) = self.model.poll_timeout() {
            self.now = at;
            self.model.handle_timeout(at);
            self.drain();
        }
        for environment in std::mem::take(&mut self.killed) {
            self.say(Input::EnvironmentEmptied { environment });
        }
        assert_eq!(self.model.environments().count(), 0, "an environment never ended");
        for (invoke, (answers, bills)) in self.ends {
            assert_eq!(answers, 1, "{invoke} must be answered once");
            assert!(bills <= 1, "{invoke} must be billed at most once");
        }
        self.trace
    }
}

#[test]
fn every_random_history_keeps_the_invariants_and_ends() {
    for seed in 0..1_000 {
        drop(History::new(seed).run());
    }
}

#[test]
fn same_seed_and_inputs_give_the_same_orders() {
    for seed in 0..20 {
        assert_eq!(History::new(seed).run(), History::new(seed).run(), "seed {seed}");
    }
}

#[test]
#[should_panic(expected = "time went back")]
fn time_that_goes_back_is_a_broken_driver() {
    let mut model = Model::new(config(), 1, Time::from_millis(5));
    model.handle_timeout(Time::from_millis(4));
}

#[test]
fn timers_fire_before_the_input_that_came_with_them() {
    let mut service = service(Config { function_timeout: Duration::from_secs(3), ..config() });
    service.warm(0, 1);
    drop(service.at(0, invoke(1)));
    // The response is as late as the deadline: the deadline wins.
    assert_eq!(service.at(3_000, respond(1, 1))[0], "answer v1: timed out after 3s");
}

#[test]
fn late_driver_dates_a_timer_when_it_was_due() {
    let mut service = service(Config { cold_start: Duration::from_secs(2), ..config() });
    drop(service.at(0, invoke(1)));
    // Started at 2 s in the books, so the 10 s of init are over at 12 s and the invoke's own try
    // begins there.
    assert_eq!(service.until(12_500).len(), 4);
    assert_eq!(service.at(13_000, next(2))[0], "env-2 ready in 1s");
}
