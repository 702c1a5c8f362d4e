//! What a plan may not say, and what is assumed where it says nothing.

#[path = "plan/run.rs"]
mod run;

use reports::Plan;
use run::try_report as report;

const PLAN: &str = r#"
title = "Small"
seeds = 1
sweep = false
traffic = { kind = "poisson", rate = 20, for = "1m" }
[service]
time = "50ms"
"#;

#[test]
fn what_nobody_can_have_is_refused_with_what_one_can() {
    for (settings, said) in [
        ("[function]\ntimeout = '0s'", "the function is 0s, must be from 1s to 15m"),
        ("[function]\ntimeout = '30m'", "the function is 1800s, must be from 1s to 15m"),
        ("[[alternative]]\nkind = 'dispatch'\nrouters = 0", "routers is 0, must be from 1 to 100"),
        (
            "[[alternative]]\nkind = 'dispatch'\nrouters = 4000000000",
            "routers is 4000000000, must be from 1 to 100",
        ),
        (
            "[[alternative]]\nkind = 'dispatch'\nrouter_cpu_units = 0",
            "router_cpu_units is 0, must be from 256 to 16384",
        ),
        (
            "[[alternative]]\nkind = 'dispatch'\nrouter_memory_mb = 0",
            "router_memory_mb is 0, must be from 512 to 122880",
        ),
        (
            "[[alternative]]\nkind = 'containers'\nmemory_mb = 0",
            "memory_mb is 0, must be from 512 to 122880",
        ),
        (
            "[[alternative]]\nkind = 'containers'\ncount = 300000000",
            "count is 300000000, must be from 1 to 1000000",
        ),
        (
            "[[alternative]]\nkind = 'managed'\nenvironments_max = 300000000",
            "environments_max is 300000000, must be from 1 to 1000000",
        ),
        (
            "[[alternative]]\nkind = 'containers'\ntracking = { max = 300000000 }",
            "tracking.max is 300000000, must be from 1 to 1000000",
        ),
        (
            "[[alternative]]\nkind = 'containers'\ntracking = { min = 10, max = 2 }",
            "tracking.min is 10, must be at most 2, which is tracking.max",
        ),
    ] {
        let error = report(&format!("{PLAN}{settings}")).expect_err(settings);
        assert!(error.contains(said), "{settings}: {error}");
    }
    for seeds in [0, 4_000_000_000_u32] {
        let plan = PLAN.replace("seeds = 1", &format!("seeds = {seeds}"));
        let error = Plan::parse(&plan).expect_err("too few, or too many");
        assert!(error.contains(&format!("seeds is {seeds}, must be from 1 to 1000")), "{error}");
    }
}

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
