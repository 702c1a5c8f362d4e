//! Whole reports: the same arrivals served in every way, and what is said of them.

use std::path::Path;

use reports::{Plan, Prices, Progress, Report, Scene, Slo, solve};

fn report(text: &str) -> Report {
    let mut plan = Plan::parse(text).expect("the plan is right");
    let traffic = plan.open(Path::new(".")).expect("nothing is read");
    let prices = Prices::builtin(&plan.region).expect("the region is known");
    let progress = Progress::default();
    let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress: &progress };
    scene.report("lambda-dispatch report test.toml", "0").expect("it can be run")
}

const SMALL: &str = r#"
title = "Small"
seeds = 2

[traffic]
kind = "poisson"
rate = 40
for = "5m"

[service]
time = { kind = "exponential", mean = "100ms" }

[cold_start]
time = "2s"
"#;

#[test]
fn same_plan_gives_the_same_report() {
    let (one, other) = (report(SMALL), report(SMALL));
    assert_eq!(one, other);
    for measured in &one.alternatives {
        eprintln!(
            "{:32} p99 {:.3} cold {:.4} refused {:.4} inst {:.1}/{:.0} util {:.2} {} {:?}",
            measured.name,
            measured.total.p99.mean,
            measured.cold.mean,
            measured.refused.mean,
            measured.instances_mean.mean,
            measured.instances_peak.mean,
            measured.utilisation.mean,
            measured.month,
            measured.costs
        );
    }
    eprintln!("{}\n{:#?}\n{:?}", one.verdict, one.findings, one.sensitivity);
}
