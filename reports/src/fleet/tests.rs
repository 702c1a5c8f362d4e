//! A fleet against Erlang's formula, against arithmetic that can be done by hand, and against who
//! looks on.

use dispatch_model::Time;
use sim::Traffic;
use sim::outside::End;
use sim::traffic::Arrival;

use super::*;
use crate::naive::{Tally, request};
use crate::prices::{Arch, Prices};
use crate::theory::Queue;
use crate::usage::{MONTH, cost};

fn plan(containers: u32, slots: u32) -> FleetPlan {
    FleetPlan { containers, slots, ..FleetPlan::default() }
}

fn play(plan: &FleetPlan, requests: Vec<Arrival>) -> (Tally, Usage) {
    let mut tally = Tally::default();
    let usage = run(plan, &mut requests.into_iter().peekable(), &mut tally);
    assert_eq!(tally.arrived, tally.ends.len() as u64, "every request ends once");
    (tally, usage)
}

#[test]
fn wait_is_within_one_percent_of_erlang_c() {
    let service = Duration::from_millis(100);
    for (containers, slots, utilisation) in [(1, 2, 0.5), (4, 2, 0.7), (5, 2, 0.8), (1, 1, 0.6)] {
        let all = containers * slots;
        let rate = f64::from(all) * utilisation / service.as_secs_f64();
        let queue = Queue { rate, service, slots: all };
        // Enough of them that chance makes less than half a percent.
        let requests = 8_000_000;
        let traffic = Traffic {
            span: Duration::from_secs_f64(f64::from(requests) / rate),
            random: true,
            varied: true,
            ..Traffic::burst(requests, Duration::ZERO, service)
        };
        let mut tally = Tally::sums_only();
        let plan = FleetPlan { queue_max: u32::MAX, ..plan(containers, slots) };
        let usage = run(&plan, &mut traffic.arrivals(7).peekable(), &mut tally);
        let (wait, theory) = (tally.wait(), queue.wait().unwrap());
        let off = wait / theory - 1.0;
        assert!(
            off.abs() < 0.01,
            "{all} slots at {utilisation}: {wait} instead of {theory}: {off}"
        );
        let busy = tally.running as f64 / usage.paid_slot_time.as_nanos() as f64;
        assert!((busy - utilisation).abs() < 0.005, "{busy} busy instead of {utilisation}");
    }
}

#[test]
fn burst_is_exact_to_the_nanosecond() {
    let service = Duration::from_nanos(123_456_789);
    let requests = vec![Arrival { service, ..request(5, 0) }; 25];
    let (tally, usage) = play(&plan(2, 5), requests);
    let waits: Vec<_> = tally
        .ends
        .iter()
        .map(|(_, ended)| ended.started.unwrap().saturating_since(ended.arrived))
        .collect();
    let expected: Vec<_> = (0..25).map(|number| service * (number / 10)).collect();
    assert_eq!(waits, expected);
    assert_eq!(usage.span, Duration::from_millis(5) + service * 3);
    assert_eq!(tally.cold, 0, "everything was there");
}

#[test]
fn request_goes_to_the_container_with_the_fewest() {
    let requests = vec![request(0, 100), request(1, 10), request(2, 100), request(50, 10)];
    let (mut tally, _) = play(&plan(2, 4), requests);
    tally.ends.sort_by_key(|(_, ended)| ended.arrived);
    let who: Vec<_> = tally.ends.iter().map(|(_, ended)| ended.instance).collect();
    assert_eq!(who, [1, 2, 1, 2]);
}

#[test]
fn queue_that_is_full_or_too_slow_refuses() {
    let plan = FleetPlan { queue_max: 2, queue_timeout: Duration::from_millis(150), ..plan(1, 1) };
    let (tally, usage) = play(&plan, vec![request(0, 100); 4]);
    let ends: Vec<_> = tally.ends.iter().map(|(now, ended)| (*now, ended.end)).collect();
    let at = Time::from_millis;
    assert_eq!(
        ends,
        [
            (at(0), End::Refused),
            (at(100), End::Served),
            (at(150), End::Refused),
            (at(200), End::Served)
        ]
    );
    assert_eq!(usage.throttled, 0);
}

#[test]
fn client_that_leaves_the_queue_is_not_served() {
    let leaves = Arrival { gives_up: Some(Time::from_millis(50)), ..request(1, 100) };
    let (tally, _) = play(&plan(1, 1), vec![request(0, 100), leaves, request(2, 100)]);
    let ends: Vec<_> = tally.ends.iter().map(|(_, ended)| ended.end).collect();
    assert_eq!(ends, [End::Cancelled, End::Served, End::Served]);
    assert_eq!(tally.ends[2].1.started, Some(Time::from_millis(100)));
}

#[test]
fn requests_that_need_the_processor_slow_each_other_down() {
    let cpu = Duration::from_millis(100);
    let requests = vec![Arrival { cpu, ..request(0, 100) }; 3];
    let (tally, _) = play(&plan(1, 4), requests);
    let ends: Vec<_> = tally.ends.iter().map(|(now, _)| *now).collect();
    assert_eq!(ends, [100, 200, 300].map(Time::from_millis));
}

#[test]
fn fleet_that_follows_its_use_grows_and_shrinks() {
    let tracking = Tracking { max: 20, ..Tracking::default() };
    let plan = FleetPlan { tracking: Some(tracking), ..plan(2, 1) };
    // Eight slots' worth for twenty minutes, half a slot's for forty.
    let busy = (0..12_000).flat_map(|tenth| vec![request(tenth * 100, 80); 10]);
    let quiet = (1_200..3_600).map(|second| request(second * 1_000, 500));
    let (tally, usage) = play(&plan, busy.chain(quiet).collect());
    let most = tally.lives.len();
    assert!((10..=20).contains(&most), "{most} containers");
    assert!(tally.cold > 0, "some waited as long as a start");
    let left = tally.lives.values().filter(|life| life.2 > Some(Time::from_millis(3_599_000)));
    assert_eq!(left.count(), 1, "one is enough in the end");
    assert_eq!(usage.containers.time, tally.lived());
}

#[test]
fn more_slots_than_can_be_counted_are_plenty() {
    let (tally, _) = play(&plan(4, 1 << 30), vec![request(0, 40); 8]);
    assert_eq!(tally.waits_ms(), [0; 8]);
}

#[test]
fn bill_is_the_lives_of_containers() {
    let (tally, usage) = play(&plan(3, 2), (0..1_000).map(|at| request(at * 9, 40)).collect());
    let prices = Prices::builtin("us-east-1").unwrap();
    let lines = cost(&usage, usage.span, &prices, Arch::Arm).unwrap();
    assert_eq!(usage.containers.time, tally.lived());
    // Three of 1 vCPU and 2 GB, all the time.
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].month, prices.fargate(Arch::Arm, 1_024, 2_048, MONTH * 3));
    assert_eq!(usage.paid_slot_time, tally.lived() * 2);
}
