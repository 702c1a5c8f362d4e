//! With Q queued requests, C slots, service time t and cold start T, no request waits as long as a
//! cold start while Q / C x t < T.

use std::time::Duration;

use dispatch_model::{Limits, Time};
use sim::{Scenario, Workload, fast};

const COLD_START: Duration = Duration::from_secs(3);

fn burst_of(requests: u32) -> Scenario {
    let at = Time::from_millis(10_000);
    Scenario { workload: Workload::Burst { requests, at }, ..Scenario::default() }
}

#[test]
fn burst_that_clears_within_a_cold_start_waits_for_none_and_starts_nothing() {
    for requests in [1, 10, 11, 100, 290] {
        let report = fast::run(&burst_of(requests), 7).unwrap();
        assert_eq!(report.stats.served, u64::from(requests));
        assert!(report.wait(1_000) < COLD_START, "{requests}: {:?}", report.wait(1_000));
        assert_eq!(report.stats.invokes, 1, "{requests}");
        assert_eq!(report.stats.cold_exposed, 0);
    }
}

#[test]
fn burst_that_does_not_clear_in_time_exposes_exactly_the_excess() {
    // 10 slots x 3 s / 50 ms = 600 are served before a new instance is up; so are all of 600, the
    // last at 2.95 s.
    for (requests, excess) in [(600, 0), (601, 1), (1_000, 400)] {
        let report = fast::run(&burst_of(requests), 7).unwrap();
        assert_eq!(report.stats.served, u64::from(requests));
        assert_eq!(report.stats.cold_exposed, excess, "{requests}");
        assert_eq!(report.waited_at_least(COLD_START), excess, "{requests}");
    }
}

#[test]
fn exposed_requests_are_served_soon_after_the_cold_start() {
    let report = fast::run(&burst_of(1_000), 7).unwrap();
    assert!(report.stats.invokes > 1);
    assert!(report.longest < COLD_START * 3 / 2, "{:?}", report.longest);
}

#[test]
fn steady_traffic_is_exposed_only_while_the_first_instances_start() {
    for name in ["poisson", "steady"] {
        let scenario = Scenario::named(name).unwrap();
        let report = fast::run(&scenario, 7).unwrap();
        let arrived = report.stats.arrived;
        assert_eq!(report.stats.served, arrived);
        // What came in the first T, and in the T after it while more were starting.
        let first = u64::from(200 * 2 * u32::try_from(COLD_START.as_secs()).unwrap());
        assert!(report.stats.cold_exposed <= first, "{name}: {report}");
    }
}

#[test]
fn run_is_decided_by_scenario_and_seed() {
    let scenario = Scenario::named("poisson").unwrap();
    let one = fast::run(&scenario, 7).unwrap();
    assert_eq!(one, fast::run(&scenario, 7).unwrap());
    assert_ne!(one.digest, fast::run(&scenario, 8).unwrap().digest);
}

#[test]
fn pool_comes_back_to_nothing_when_nobody_comes() {
    let scenario = Scenario { limits: Limits::default(), ..burst_of(100) };
    let report = fast::run(&scenario, 7).unwrap();
    assert!(!report.cut);
    // Neither t nor T is known before the first request: 80 slots for guesses of 100 ms and 1 s.
    assert!(report.stats.invokes <= 8, "{report}");
    assert!(report.billed_ms < 8 * (3_000 + 1_000), "{report}");
}
