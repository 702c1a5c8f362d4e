//! Plain Lambda against arithmetic that can be done by hand, against a published simulation, and
//! against who looks on.

use dispatch_model::time::nanos;
use sim::Traffic;

use super::*;
use crate::naive::{Tally, request};

const MS: Duration = Duration::from_millis(1);

fn plan() -> LambdaPlan {
    LambdaPlan {
        service: Config {
            function_timeout: Duration::from_secs(60),
            idle_jitter: Duration::ZERO,
            idle_timeout: Duration::from_secs(600),
            memory_mb: 1_024,
            ..Config::default()
        },
        ..LambdaPlan::default()
    }
}

fn play(plan: &LambdaPlan, requests: Vec<Arrival>) -> (Tally, Usage) {
    let mut tally = Tally::default();
    let usage = run(plan, &mut requests.into_iter().peekable(), &mut tally);
    assert_eq!(tally.arrived, tally.ends.len() as u64, "every request ends once");
    (tally, usage)
}

#[test]
fn burst_is_exact_to_the_nanosecond() {
    let mut plan = LambdaPlan { init: Duration::from_nanos(1_234_567_891), ..plan() };
    plan.service.cold_start = Duration::from_nanos(250_000_001);
    let service = Duration::from_nanos(98_765_432);
    let at = |ms| Arrival { service, ..request(ms, 0) };
    // Ten leave ten environments behind; of a hundred, ninety start their own.
    let requests = [vec![at(0); 10], vec![at(60_000); 100]].concat();
    let (tally, usage) = play(&plan, requests);
    let cold = Duration::from_nanos(1_484_567_892);
    let second = tally.ends.iter().filter(|(_, ended)| ended.arrived > Time::ZERO);
    let mut totals: Vec<_> =
        second.map(|(now, ended)| now.saturating_since(ended.arrived)).collect();
    totals.sort_unstable();
    assert_eq!(totals[..10], [service; 10]);
    assert_eq!(totals[10..], [cold + service; 90]);
    assert_eq!(tally.cold, 100);
    assert_eq!(usage.span, Duration::from_secs(60) + cold + service);
    // An initialisation is 1,235 ms, a request 99.
    assert_eq!(usage.on_demand.billed_ms(), 100 * (1_235 + 99) + 10 * 99);
    assert_eq!(usage.on_demand.requests(), 110);
}

#[test]
fn quiet_function_is_as_cold_as_in_the_published_simulation() {
    let mut plan = LambdaPlan { init: Duration::from_millis(253), ..plan() };
    plan.service.function_timeout = Duration::from_secs(900);
    let traffic = Traffic {
        span: Duration::from_secs(4_000_000),
        random: true,
        varied: true,
        ..Traffic::burst(3_600_000, Duration::ZERO, Duration::from_millis(1_991))
    };
    let mut tally = Tally::sums_only();
    let usage = run(&plan, &mut traffic.arrivals(1).peekable(), &mut tally);
    let span = usage.span.as_nanos() as f64;
    let cold = tally.cold as f64 / tally.served as f64 * 100.0;
    let (ready, running) = (tally.ready as f64 / span, tally.running as f64 / span);
    let said = format!("{cold} % cold, {ready} instances, {running} running");
    // SimFaaS: 0.149 %, 7.71 and 1.806; its paper: 0.14 %, 7.68 and 1.79.
    assert!((0.13..0.16).contains(&cold), "{said}");
    assert!((7.5..7.9).contains(&ready), "{said}");
    assert!((1.77..1.83).contains(&running), "{said}");
}

#[test]
fn bill_is_the_lives_of_environments_as_they_are_seen() {
    for late_binding in [false, true] {
        let mut plan = plan();
        plan.service.late_binding = late_binding;
        let traffic = Traffic {
            span: Duration::from_secs(300),
            random: true,
            varied: true,
            ..Traffic::burst(6_000, Duration::ZERO, Duration::from_millis(700))
        };
        let (tally, usage) = play(&plan, traffic.arrivals(3).collect());
        let starts: u64 = tally.starts().map(|start| nanos(start).div_ceil(1_000_000)).sum();
        assert_eq!(usage.on_demand.billed_ms(), starts + tally.busy_ms, "late: {late_binding}");
        assert_eq!(usage.paid_slot_time, MS * u32::try_from(starts + tally.busy_ms).unwrap());
        assert_eq!(usage.on_demand.requests(), tally.served);
        assert!(tally.lives.len() > 10 && tally.served > 5_000);
    }
}

#[test]
fn reuse_spares_the_wait_and_not_the_money() {
    // The second would wait a second for its own; the first is done after 10 ms.
    let requests = || vec![request(0, 10), request(60_000, 10), request(60_000, 10)];
    let (strict, billed) = play(&plan(), requests());
    let mut plan = plan();
    plan.service.late_binding = true;
    let (reuse, also_billed) = play(&plan, requests());
    assert_eq!((strict.waits_ms(), strict.cold), (vec![1_000, 0, 1_000], 2));
    assert_eq!((reuse.waits_ms(), reuse.cold), (vec![1_000, 0, 10], 1));
    assert_eq!(billed.on_demand.billed_ms(), 2 * 1_000 + 3 * 10);
    // The run is over before the environment is ready that nobody waits for.
    assert_eq!(also_billed.on_demand.billed_ms(), 1_000 + 3 * 10);
}

#[test]
fn provisioned_environments_are_there_from_the_start_and_the_rest_spills_over() {
    let mut plan = plan();
    plan.service.provisioned = 2;
    plan.service.cold_start = Duration::from_millis(500);
    let requests = vec![request(0, 100), request(0, 100), request(0, 100), request(60_000, 100)];
    let (tally, usage) = play(&plan, requests);
    assert_eq!(tally.waits_ms(), [0, 0, 1_500, 0]);
    assert_eq!(tally.cold, 1);
    assert_eq!(usage.span, Duration::from_millis(60_100));
    assert_eq!(usage.provisioned.held_mb_ms, 2 * 1_024 * 60_100);
    assert_eq!(usage.provisioned.used_mb_ms, 3 * 1_024 * 100);
    assert_eq!((usage.provisioned.requests, usage.on_demand.requests()), (3, 1));
    assert_eq!(usage.on_demand.billed_ms(), 1_100);
}

#[test]
fn tracked_concurrency_follows_its_use_out_and_in() {
    let mut plan = LambdaPlan { tracking: Some(Tracking::default()), ..plan() };
    plan.service.provisioned = 10;
    // Ten at once for twenty minutes, then one for forty.
    let busy = (0..1_200).flat_map(|second| vec![request(second * 1_000, 990); 10]);
    let quiet = (1_200..3_600).map(|second| request(second * 1_000, 990));
    let (tally, usage) = play(&plan, busy.chain(quiet).collect());
    // After three minutes it is 15, which 10 are a share of below 0.7 of.
    assert_eq!(tally.lives.len(), 15, "{:?}", tally.lives);
    let ended = tally.lives.values().filter_map(|life| life.2);
    let ended = ended.filter(|end| *end < Time::from_millis(3_599_000)).count();
    assert!(ended >= 12, "{ended} were let go");
    assert_eq!(tally.cold, 0);
    let mb_ms = usage.provisioned.held_mb_ms / 1_024;
    // 10 for an hour are 36 million.
    assert!((25_000_000..36_000_000).contains(&mb_ms), "{mb_ms}");
    assert_eq!(usage.on_demand.requests(), 0);
}

#[test]
fn released_concurrency_is_charged_in_spans_of_five_minutes() {
    let tracking = Tracking { in_minutes: 1, min: 0, ..Tracking::default() };
    let mut plan = LambdaPlan { tracking: Some(tracking), ..plan() };
    plan.service.provisioned = 1;
    let (_, usage) = play(&plan, vec![request(0, 1), request(130_000, 1)]);
    assert_eq!(usage.provisioned.held_mb_ms, 1_024 * 300_000);
}

#[test]
fn throttled_requests_are_refused_or_sent_again() {
    let mut plan = plan();
    plan.service.account_concurrency = 2;
    let (tally, usage) = play(&plan, vec![request(0, 100); 5]);
    assert_eq!((tally.served, tally.refused, usage.throttled), (2, 3, 3));
    plan.retries = 10;
    let (tally, usage) = play(&plan, vec![request(0, 100); 5]);
    assert_eq!((tally.served, tally.refused, usage.throttled), (5, 0, 3));
    assert!(tally.waits_ms().iter().all(|wait| (1..200_000).contains(wait)));
    // The two that were bound to a start, and those that only waited for a place, which is warm.
    assert_eq!(usage.on_demand.requests(), 5);
}

#[test]
fn new_code_makes_the_next_requests_cold() {
    let plan = LambdaPlan { deploys: vec![Time::from_millis(10_000)], ..plan() };
    let requests = [0, 5_000, 15_000, 20_000].map(|at| request(at, 10)).to_vec();
    let (tally, _) = play(&plan, requests);
    assert_eq!(tally.waits_ms(), [1_000, 0, 1_000, 0]);
    assert_eq!(tally.lives.len(), 2);
}

#[test]
fn client_that_leaves_is_billed_to_its_end() {
    let leaves = |at_ms| Arrival { gives_up: Some(Time::from_millis(at_ms)), ..request(0, 100) };
    let (tally, usage) = play(&plan(), vec![leaves(500), leaves(1_050), leaves(5_000)]);
    let ends: Vec<_> = tally.ends.iter().map(|(_, ended)| ended.end).collect();
    assert_eq!(ends, [End::Cancelled, End::Cancelled, End::Served]);
    assert_eq!(tally.ends[0].1.started, None);
    assert_eq!(usage.on_demand.billed_ms(), 3 * 1_100);
}

#[test]
fn request_beyond_the_time_out_is_refused_and_billed_to_it() {
    let (tally, usage) = play(&plan(), vec![request(0, 61_000), request(70_000, 10)]);
    assert_eq!((tally.refused, tally.served), (1, 1));
    assert_eq!(usage.on_demand.billed_ms(), 1_000 + 60_000 + 1_010);
}

#[test]
fn snapshots_are_charged_where_the_runtime_pays_for_them() {
    let plan = LambdaPlan { snapshots_are_billed: true, ..plan() };
    let (_, usage) = play(&plan, vec![request(0, 1_000); 3]);
    assert_eq!(usage.snapstart.restored_mb, 3 * 1_024);
    assert_eq!(usage.snapstart.cached_mb_ms, 1_024 * 2_000);
}

#[test]
fn same_plan_and_seed_give_the_same_ends() {
    let traffic = Traffic {
        span: Duration::from_secs(60),
        random: true,
        varied: true,
        ..Traffic::burst(6_000, Duration::ZERO, Duration::from_millis(90))
    };
    let mut plan = LambdaPlan { retries: 3, seed: 9, ..plan() };
    plan.service.account_concurrency = 10;
    let one = || play(&plan, traffic.arrivals(5).collect()).0.ends;
    assert_eq!(one(), one());
}
