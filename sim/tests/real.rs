//! The real adapters over a simulated network: every seed holds, and the same seed twice is the
//! same run.

use sim::{Checks, Plan, real, swarm};

fn checks() -> Checks {
    Checks { trace: true, ..Checks::ALL }
}

fn plan(seed: u64) -> Plan {
    swarm::plan(seed, sim::FaultKind::is_real)
}

/// A line that reproduces it comes with every failure.
fn run(seed: u64) -> (sim::Outcome, String) {
    let ran = real::run(&plan(seed), checks()).expect("the swarm draws legal limits");
    if let Some(broken) = &ran.0.broken {
        panic!("seed {seed}: {broken}\nreproduce: cargo sim real --seed {seed}");
    }
    ran
}

#[test]
fn requests_are_served_whatever_goes_wrong() {
    for seed in SEEDS {
        run(seed);
    }
}

#[test]
fn a_seed_gives_the_same_run_each_time_and_after_others() {
    let first = run(REPEATED);
    run(REPEATED + 1);
    let second = run(REPEATED);
    assert_eq!(first.0, second.0, "seed {REPEATED}");
    let differs = first.1.lines().zip(second.1.lines()).find(|(one, other)| one != other);
    assert_eq!(differs, None, "seed {REPEATED}");
    assert_eq!(first.1.len(), second.1.len(), "seed {REPEATED}");
}

/// Few, because the tests are built without optimisation.
const SEEDS: std::ops::Range<u64> = 0..4;
/// One in which the router dies.
const REPEATED: u64 = 8;
