//! Whatever went wrong: once it works, every request ends within T + ⌈Q / C⌉ x t, and the longest
//! wait of the guard besides.

use std::time::Duration;

use dispatch_model::{InvokeOutcome, Limits, Matching, Prng, Scaling, Time};
use sim::{Behaviour, Scenario, Workload, fast};

/// The guard's longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(60);

fn scenario(chance: &mut Prng) -> (Scenario, Duration) {
    let mut below = |bound: u32| u32::try_from(chance.below(bound.into())).expect("below a u32");
    let requests = 1 + below(500);
    let slots = 1 + below(20);
    let instances = 1 + below(10);
    let service = Duration::from_millis((1 + below(500)).into());
    let init = Duration::from_millis((10 + below(5_000)).into());
    let healed = Time::from_millis((1_000 + below(60_000)).into());
    let broken = [
        Behaviour::Answers(InvokeOutcome::Forbidden),
        Behaviour::Answers(InvokeOutcome::Unavailable),
        Behaviour::CrashesAtFirstRequest,
        Behaviour::CrashesAtInit,
        Behaviour::LeavesAtOnce,
        Behaviour::Refuses,
        Behaviour::Throttled,
        Behaviour::Works,
    ][below(8) as usize];
    let limits = Limits {
        instances_max: instances,
        matching: [Matching::LeastOutstanding, Matching::Pack][below(2) as usize],
        queue_timeout: Duration::from_secs(3_600),
        scaling: [Scaling::Rule, Scaling::Simple, Scaling::Ewma][below(3) as usize],
        slots,
        ..Limits::default()
    };
    let scenario = Scenario {
        workload: Workload::Burst { requests, at: Time::from_millis(500) },
        service,
        init,
        limits,
        behaviours: vec![(Time::ZERO, broken), (healed, Behaviour::Works)],
        ..Scenario::default()
    };
    // At worst one instance serves all, because the rule need not start another.
    let serving = service * requests.div_ceil(slots);
    let bound = healed.saturating_since(Time::ZERO) + PAUSE + init * 2 + serving;
    (scenario, bound + Duration::from_secs(1))
}

#[test]
fn every_request_ends_once_the_faults_are_over() {
    for seed in 0..300 {
        let (scenario, bound) = scenario(&mut Prng::new(seed));
        let report = fast::run(&scenario, seed).unwrap();
        let refused: u64 = report.refused.values().sum();
        let stats = report.stats;
        assert_eq!(stats.arrived, stats.served + refused, "seed {seed}: {scenario:?}\n{report}");
        assert!(!report.cut && report.longest <= bound, "seed {seed}: {scenario:?}\n{report}");
    }
}
