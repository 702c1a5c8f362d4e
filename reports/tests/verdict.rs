//! What a report says in sentences, and whether that is so.

#[path = "plan/run.rs"]
mod run;

use reports::{MONTH, Report};

fn report(text: &str) -> Report {
    run::try_report(text).expect("it can be run")
}

#[test]
fn rival_of_which_every_request_fails_is_told_to_fail() {
    let report = report(
        r#"
title = "Timeout"
seeds = 1
sweep = false
traffic = { kind = "poisson", rate = 5, for = "1m" }
service = { time = "5s" }
function = { timeout = "2s" }
[[alternative]]
kind = "containers"
count = 20
[[alternative]]
kind = "managed"
[[alternative]]
kind = "lambda"
[[alternative]]
kind = "dispatch"
"#,
    );
    for it in &report.alternatives[1..] {
        assert!((it.refused.mean - 1.0).abs() < 1e-9, "{}: {:?}", it.name, it.refused);
    }
    assert!(report.verdict.contains("and 100% of the requests failed"), "{}", report.verdict);
}

/// Ten minutes of Poisson traffic, with this system and Lambda alone.
fn of_two(rate: f64, instances_min: u32) -> Report {
    report(&format!(
        r#"
title = "Two"
seeds = 1
sweep = false
traffic = {{ kind = "poisson", rate = {rate}, for = "10m" }}
service = {{ time = {{ kind = "exponential", mean = "100ms" }} }}
[[alternative]]
kind = "dispatch"
instances_min = {instances_min}
[[alternative]]
kind = "lambda"
"#
    ))
}

#[test]
fn break_even_is_where_this_system_begins_to_be_the_cheaper_one() {
    for (rate, instances_min) in [(20.0, 0), (5.0, 0), (80.0, 3)] {
        let told = of_two(rate, instances_min).findings;
        let told = told.iter().find_map(|it| it.split_once("on, which is ")).expect("it is told");
        let told = told.1.strip_suffix("/s.").and_then(|rate| rate.parse::<f64>().ok());
        let told = told.expect("a rate");
        for (times, pays) in [(1.05, true), (0.8, false)] {
            let report = of_two(told * times, instances_min);
            let [ours, plain] = &report.alternatives[..] else { panic!("two were asked for") };
            assert_eq!(ours.month < plain.month, pays, "{times} of {told}/s");
        }
    }
}

#[test]
fn verdict_and_traffic_tell_the_same_rate_however_rare_requests_are() {
    let report = report(
        r#"
title = "Rare"
seeds = 8
sweep = false
traffic = { kind = "poisson", rate = 0.0000006, for = "2000h" }
service = { time = "100ms" }
[[alternative]]
kind = "lambda"
"#,
    );
    let told = report.alternatives[0].requests_month / MONTH.as_secs_f64();
    let came = report.traffic.rate_mean;
    assert!((told / came - 1.0).abs() < 1e-9, "{told} and {came}");
}
