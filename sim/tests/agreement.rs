//! Three drivers, one model. What discrete events made of a plan is played to the driver of
//! production, under tokio's paused clock and inside a simulated host: the same schedule has to
//! give the same decisions, each at the same moment. And the whole real system has to come to much
//! the same as the models alone.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_model::{Config, Dispatcher, Input, InvokeOutcome, Output, Time};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::{self, PoolSettings};
use io_tokio::invited::Invited;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::observe::Observer;
use io_tokio::recording::{Digest, Recording, Step};
use io_tokio::session::Session;
use sim::{Checks, Driver, Plan, Report, Traffic, scenario};
use tokio::io::duplex;

/// Whole milliseconds only, which is what tokio's timers keep.
fn plan() -> Plan {
    let ms = Duration::from_millis;
    let mut plan = Plan { seed: 7, ..Plan::default() };
    plan.network.delay_min = ms(2);
    plan.lambda.init = ms(700);
    plan.lambda.function_timeout = Duration::from_secs(8);
    plan.pool.slots = 4;
    plan.traffic = vec![
        Traffic { span: ms(20_000), ..Traffic::burst(500, ms(100), ms(50)) },
        Traffic { patience: Some(ms(300)), ..Traffic::burst(60, ms(5_000), ms(120)) },
    ];
    plan
}

type Steps = Vec<(Time, Step)>;

/// The steps that are not turns of a driver: those it takes as it likes.
fn inputs(steps: &Steps) -> Vec<(Time, Input)> {
    let input = |(at, step): &(Time, Step)| match step {
        Step::Input(input) => Some((*at, *input)),
        Step::Output(_) | Step::Timeout => None,
    };
    steps.iter().filter_map(input).collect()
}

/// Digests of all inputs and of all outputs, with their times.
fn digests(steps: &Steps) -> (Digest, Digest) {
    let (mut told, mut did) = (Digest::default(), Digest::default());
    for (at, step) in steps {
        match step {
            Step::Input(_) => told.add(*at, step),
            Step::Output(_) => did.add(*at, step),
            Step::Timeout => {}
        }
    }
    (told, did)
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Steps>>);

impl Notes {
    fn add(&self, now: Time, step: Step) {
        self.0.lock().unwrap().push((now, step));
    }
}

impl Observer for Notes {
    fn started(&mut self, _: Time, _: &Config, _: u64) {}

    fn timeout(&mut self, now: Time) {
        self.add(now, Step::Timeout);
    }

    fn input(&mut self, now: Time, input: &Input) {
        self.add(now, Step::Input(*input));
    }

    fn output(&mut self, now: Time, output: &Output) {
        self.add(now, Step::Output(*output));
    }

    fn turn(&mut self, _: Time, _: &Dispatcher) {}
}

/// Says nothing: how invokes end is in the schedule.
struct Silent;

impl Invoker for Silent {
    fn invoke(&self, _: &str, _: Vec<u8>) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        Box::pin(async {
            std::future::pending::<()>().await;
            Invoked::new(InvokeOutcome::Unknown, &"never")
        })
    }
}

/// Plays a schedule to the driver of production and returns what it noted.
async fn play(plan: Plan, schedule: Vec<(Time, Input)>) -> Steps {
    let clock = Clock::start();
    let notes = Notes::default();
    let settings = PoolSettings {
        name: "default".to_owned(),
        function: "f".to_owned(),
        callback_url: "http://router:1".to_owned(),
        identity: None,
        seed: plan.seed,
        chance: Chance::Seeded(dispatch_model::Prng::new(1)),
    };
    let config = Config::new(plan.pool.limits()).unwrap();
    let pool = driver::start(
        config,
        settings,
        clock.clone(),
        Invited::default(),
        Arc::new(Silent),
        notes.clone(),
    );
    let mut peers = Vec::new();
    let mut last = Time::ZERO;
    for (at, input) in schedule {
        clock.sleep_until(at).await;
        last = at;
        if let Input::InstanceAttached { instance, slots, lease, cold } = input {
            let (near, far) = duplex(1 << 16);
            let (session, connection) = Session::start(instance, slots, near);
            peers.push((far, connection));
            pool.attached(session, slots, lease, Some(cold));
        } else {
            pool.tell(input);
        }
    }
    clock.sleep_until(last + Duration::from_millis(1)).await;
    let steps = notes.0.lock().unwrap();
    steps.clone()
}

#[test]
fn same_schedule_gives_the_same_decisions_under_three_drivers() {
    let plan = plan();
    let (outcome, _) = Driver::Fast.run(&plan, Checks { record: true, ..Checks::ALL });
    assert_eq!(outcome.broken, None);
    let bytes = outcome.recording.unwrap();
    let recording = Recording::read(&bytes).unwrap();
    let fast: Steps = recording.segments()[0].steps().collect();
    assert!(fast.len() > 1_500, "{} steps", fast.len());

    let paused = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(play(plan.clone(), inputs(&fast)));

    let mut simulated = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(3_600))
        .epoch(std::time::UNIX_EPOCH)
        .build();
    let result = Arc::new(Mutex::new(Vec::new()));
    let (there, schedule) = (Arc::clone(&result), inputs(&fast));
    simulated.client("router", async move {
        let steps = play(plan, schedule).await;
        *there.lock().unwrap() = steps;
        Ok(())
    });
    simulated.run().unwrap();
    let turmoil = result.lock().unwrap().clone();

    for (name, other) in [("tokio, paused", &paused), ("turmoil", &turmoil)] {
        assert_eq!(digests(other).0, digests(&fast).0, "{name}: not the same inputs");
        assert_eq!(digests(other).1, digests(&fast).1, "{name}: not the same outputs");
    }
}

/// Both ways to run a scenario, and whether they agree within its bounds.
fn both(name: &str, wait: Duration, invokes: u64) {
    let plan = scenario::load(name).unwrap();
    let run = |driver: Driver| -> Report {
        let (outcome, _) = driver.run_file(&plan, Checks::ALL);
        let line = format!("cargo sim {driver} --scenario {name}");
        assert_eq!(outcome.broken, None, "{line}\n{}", outcome.report);
        outcome.report
    };
    let (fast, real) = (run(Driver::Fast), run(Driver::Real));
    let told = format!("{name}: fast\n{fast}\nreal\n{real}");
    assert_eq!(fast.requests, real.requests, "{told}");
    assert_eq!(fast.served, real.served, "{told}");
    for share in [0.5, 0.99, 1.0] {
        let apart = fast.wait(share).abs_diff(real.wait(share));
        assert!(apart <= wait, "wait at {share} is {apart:?} apart: {told}");
    }
    let apart = fast.stats.invokes.abs_diff(real.stats.invokes);
    assert!(apart <= invokes, "{told}");
}

#[test]
fn real_adapters_agree_with_the_models_about_a_burst() {
    both("burst", Duration::from_millis(60), 0);
}

#[test]
fn real_adapters_agree_with_the_models_about_scaling_from_zero() {
    both("scale-from-zero", Duration::from_millis(120), 0);
}

#[test]
fn real_adapters_agree_with_the_models_about_steady_traffic() {
    both("steady", Duration::from_millis(250), 4);
}
