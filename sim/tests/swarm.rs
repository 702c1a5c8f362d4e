//! What the seeds' own worlds show, in the few that a test has time for: `cargo sim fast --seeds`
//! runs thousands.

use std::collections::BTreeSet;

use io_tokio::recording::{Recording, replay};
use sim::{Checks, Driver, FaultKind, Plan, batch, meta, scenario, shrink};

#[test]
fn worlds_hold_and_every_kind_of_fault_fires_in_them() {
    let totals = batch::run(Driver::Fast, 0..=299, Checks::ALL, |_| {});
    assert!(totals.failures.is_empty(), "{:#?}", totals.failures);
    assert_eq!(totals.silent(Driver::Fast), []);
    assert!(totals.requests > 50_000);
}

#[test]
fn world_is_decided_by_its_seed() {
    assert_eq!(meta::trace(Driver::Fast, 7), meta::trace(Driver::Fast, 7));
    assert_ne!(meta::trace(Driver::Fast, 7), meta::trace(Driver::Fast, 8));
}

#[test]
fn fresh_dispatcher_does_the_same_again_in_every_life_of_the_router() {
    let mut lives = 0;
    for seed in 0..40 {
        let checks = Checks { record: true, ..Checks::ALL };
        let (outcome, _) = Driver::Fast.run(&Driver::Fast.plan(seed), checks);
        let bytes = outcome.recording.unwrap();
        let recording = Recording::read(&bytes).unwrap();
        let replayed = replay(&recording).unwrap_or_else(|it| panic!("seed {seed}: {it}"));
        let report = outcome.report;
        let digests = (replayed.digest_in, replayed.digest_out);
        assert_eq!(digests, (report.digest_in, report.digest_out), "seed {seed}");
        lives += replayed.segments;
    }
    assert!(lives > 40, "no router was started again");
}

#[test]
fn about_half_of_the_kinds_are_in_a_world_with_faults() {
    let mut drawn = BTreeSet::new();
    let (mut worlds, mut kinds) = (0, 0);
    for seed in 0..400 {
        let plan = Driver::Fast.plan(seed);
        let here: BTreeSet<FaultKind> = plan.kinds().collect();
        worlds += usize::from(!here.is_empty());
        kinds += here.len();
        drawn.extend(here);
    }
    assert_eq!(drawn.len(), FaultKind::ALL.len());
    assert!((200..400).contains(&worlds), "{worlds} of 400 have faults");
    let half = FaultKind::ALL.len() / 2;
    assert!((kinds / worlds).abs_diff(half) <= 2, "{} kinds in a world", kinds / worlds);
}

#[test]
fn plan_that_fails_shrinks_to_what_makes_it_fail() {
    // A world in which no request may be lost, which the crash of a busy instance breaks.
    let hold = sim::hold::Hold { refused_max: u64::MAX, lost_max: 0, ..Default::default() };
    let plans = (0..100).map(|seed| Plan {
        calm: None,
        hold: Some(hold.clone()),
        ..Driver::Fast.plan(seed)
    });
    let plan = plans.into_iter().find(|plan| shrink::broken_by(Driver::Fast, plan).is_some());
    let plan = plan.expect("one of a hundred loses a request");
    let (small, broken, runs) = shrink::shrink(Driver::Fast, &plan, 2_000).unwrap();
    assert_eq!(shrink::broken_by(Driver::Fast, &small), Some(broken.clone()));
    let entries = small.traffic.len() + small.fault.len();
    assert!(entries <= 3, "{entries} entries are left after {runs} runs: {broken}");
}

#[test]
fn what_is_left_of_a_plan_can_be_loaded_though_nobody_sends_anything_in_it() {
    // It fails by its lower bound alone.
    let hold = sim::hold::Hold { invokes: Some((0, 0)), ..Default::default() };
    let mut plan = Driver::Fast.plan(3);
    plan.pool = sim::plan::Pool { instances_min: 1, instances_max: 1, ..Default::default() };
    (plan.fault, plan.calm, plan.hold) = (Vec::new(), None, Some(hold));
    let (small, broken, _) = shrink::shrink(Driver::Fast, &plan, 2_000).unwrap();
    assert_eq!(small.traffic, [], "{broken}");
    assert_eq!(scenario::parse(&toml::to_string(&small).unwrap()), Ok(small));
}
