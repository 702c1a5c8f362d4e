//! Managed instances: what is refused, how fast they follow, what is paid for.

use sim::traffic::Arrival;

use super::*;
use crate::naive::{Tally, request};

fn play(plan: &ManagedPlan, requests: Vec<Arrival>) -> (Tally, Usage) {
    let mut tally = Tally::default();
    let usage = run(plan, &mut requests.into_iter().peekable(), &mut tally);
    assert_eq!(tally.arrived, tally.ends.len() as u64, "every request ends once");
    (tally, usage)
}

#[test]
fn burst_beyond_all_slots_is_throttled() {
    let plan = ManagedPlan { concurrency: 10, ..ManagedPlan::default() };
    let (tally, usage) = play(&plan, vec![request(0, 100); 50]);
    assert_eq!((tally.served, tally.refused, usage.throttled), (30, 20, 20));
    assert_eq!(usage.managed.requests, 30);
}

#[test]
fn request_that_takes_longer_than_the_timeout_fails_at_it() {
    let timeout = Duration::from_millis(200);
    let plan =
        ManagedPlan { concurrency: 1, environments_min: 1, timeout, ..ManagedPlan::default() };
    // The slot is free again for the second, which takes no longer than it may.
    let (tally, usage) = play(&plan, vec![request(0, 5_000), request(250, 200)]);
    assert_eq!((tally.served, tally.refused, usage.throttled), (1, 1, 0));
    assert_eq!(usage.span, Duration::from_millis(450));
}

#[test]
fn environments_double_at_most_every_five_minutes() {
    let plan = ManagedPlan { concurrency: 1, start: Duration::ZERO, ..ManagedPlan::default() };
    // A hundred slots' worth at once, for twenty minutes.
    let requests = (0..1_200).flat_map(|second| vec![request(second * 1_000, 1_000); 100]);
    let (tally, usage) = play(&plan, requests.collect());
    let count_at = |minute: u64| {
        let at = dispatch_model::Time::from_millis(minute * 60_000 + 30_000);
        tally.lives.values().filter(|life| life.0 <= at).count()
    };
    assert_eq!((count_at(0), count_at(1), count_at(5)), (3, 6, 6));
    for minute in 0..15 {
        let (before, after) = (count_at(minute), count_at(minute + 5));
        assert!(after <= 2 * before, "{before} at minute {minute}, {after} five later");
    }
    assert!(count_at(18) > 20, "{}", count_at(18));
    assert!(usage.throttled > 0);
}

#[test]
fn environments_that_share_an_instance_pay_for_it_once() {
    let plan =
        ManagedPlan { environments_min: 5, environments_per_instance: 2, ..ManagedPlan::default() };
    let (_, usage) = play(&plan, vec![request(0, 10_000)]);
    assert_eq!(usage.managed.time, Duration::from_secs(30));
    assert_eq!(usage.paid_slot_time, Duration::from_secs(5 * 16 * 10));
}

#[test]
fn instances_that_are_not_shared_are_paid_for_as_long_as_they_live() {
    let plan = ManagedPlan { concurrency: 2, ..ManagedPlan::default() };
    let requests = (0..4_000).map(|tenth| request(tenth * 100, 350));
    let (tally, usage) = play(&plan, requests.collect());
    assert!(tally.lives.len() > 3, "there were more than at the start");
    assert_eq!(usage.managed.time, tally.lived());
}
