//! What a plan may not say, and what is assumed where it says nothing.

use std::path::Path;

use reports::{Plan, Prices, Progress, Report, Scene};

fn report(text: &str) -> Result<Report, String> {
    let mut plan = Plan::parse(text)?;
    let progress = Progress::default();
    let traffic = plan.open(Path::new("."), &progress).map_err(|error| error.to_string())?;
    let prices = Prices::builtin(&plan.region).map_err(|error| error.to_string())?;
    let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress: &progress };
    scene.report("a test", "0").map_err(|error| error.to_string())
}

const PLAN: &str = r#"
title = "Small"
seeds = 1
sweep = false
traffic = { kind = "poisson", rate = 20, for = "1m" }
[service]
time = "50ms"
"#;

#[test]
fn whether_requests_need_a_processor_is_among_what_was_assumed() {
    for (plan, said) in
        [(PLAN, "to need no processor"), (&format!("{PLAN}cpu = 1"), "share its processors")]
    {
        let report = report(plan).expect("it can be run");
        let about = report.method.assumptions.iter().filter(|it| it.contains("processor"));
        assert!(matches!(about.collect::<Vec<_>>()[..], [it] if it.contains(said)), "{report:?}");
        let summary = reports::summary::write(&report);
        let words = summary.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("What was assumed - Every") && words.contains(said), "{summary}");
    }
}
