//! Whole reports: the same arrivals served in every way, and what is said of them.

#[path = "plan/run.rs"]
mod run;

use std::path::Path;
use std::time::Duration;

use reports::report::{Estimate, Kind, Measured};
use reports::{Arch, MONTH, Plan, Prices, Progress, Report, Scene, Slo, solve};
use run::{of_traffic, try_report};

fn report(text: &str) -> Report {
    try_report(text).expect("it can be run")
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
    assert_eq!(report(SMALL), report(SMALL));
}

#[test]
fn every_way_to_serve_is_compared_where_nothing_is_said() {
    let report = report(SMALL);
    let kinds: Vec<_> = report.alternatives.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, Kind::ALL);
    for measured in &report.alternatives {
        let lines: u64 = measured.costs.iter().map(|cost| cost.month.picodollars()).sum();
        assert_eq!(lines, measured.month.picodollars(), "{}", measured.name);
        assert!(measured.total.p50.mean > 0.05, "{}: {:?}", measured.name, measured.total);
        assert!(measured.nines.len() > 6, "{}", measured.name);
    }
    assert_eq!(report.alternatives.iter().filter(|it| it.is_best).count(), 1);
    assert_eq!(report.sensitivity.len(), 7);
}

#[test]
fn all_alternatives_are_sent_the_same_requests() {
    let report = report(&SMALL.replace("seeds = 2", "seeds = 1"));
    let came: Vec<u64> = report
        .alternatives
        .iter()
        .map(|it| it.timeline.arrivals.iter().map(|count| u64::from(*count)).sum())
        .collect();
    assert!(came.iter().all(|count| *count == report.traffic.requests), "{came:?}");
}

/// One instance of ten slots, warm, is sent 35 requests at once: four waves.
const WAVES: &str = r#"
title = "Waves"
seeds = 1
sweep = false

[traffic]
kind = "steps"
steps = [{ for = "10s", rate = 1 }]

[service]
time = "50ms"

[balancer]
used = false

[[alternative]]
kind = "dispatch"
slots = 10
instances_max = 1
network = "0s"
"#;

#[test]
fn bursts_are_exact_to_the_nanosecond() {
    let burst = WAVES.replace(
        r#"kind = "steps"
steps = [{ for = "10s", rate = 1 }]"#,
        r#"kind = "burst"
requests = 35
for = "10s""#,
    );
    let report = report(&burst);
    let ours = &report.alternatives[0];
    // T, and three waves before the last.
    let longest = 1.0 + 0.15 + 0.05;
    assert!((ours.total.max.mean - longest).abs() < 1e-9, "{:?}", ours.total);
    let [only] = &ours.gantt[..] else { panic!("{:?}", ours.gantt) };
    assert_eq!((only.ready - only.start).as_nanos(), 1_000_000_000);
    assert_eq!(only.served, 35);
}

#[test]
fn start_that_is_shorter_than_what_aws_usually_takes_for_it_is_as_short_as_it_is_told() {
    let one = WAVES.replace(
        "kind = \"steps\"\nsteps = [{ for = \"10s\", rate = 1 }]",
        "kind = \"burst\"\nrequests = 1\nfor = \"10s\"",
    );
    let lambda = "[[alternative]]\nkind = \"lambda\"\n[cold_start]\ntime = \"50ms\"\n";
    let report = report(&format!("{one}{lambda}"));
    for it in &report.alternatives {
        // T, and the request's own 50 ms.
        assert!((it.total.max.mean - 0.1).abs() < 1e-9, "{}: {:?}", it.name, it.total);
    }
}

/// Five ways to serve, of which some are paid for by the hour and some by the request.
fn five_ways(traffic: &str) -> Report {
    report(&format!(
        r#"
title = "Five ways"
seeds = 1
sweep = false
[traffic]
{traffic}
[service]
time = "100ms"
[balancer]
used = false
[[alternative]]
kind = "lambda"
[[alternative]]
kind = "dispatch"
[[alternative]]
kind = "dispatch"
name = "one kept"
instances_min = 1
[[alternative]]
kind = "provisioned"
environments = 2
[[alternative]]
kind = "containers"
count = 2
"#
    ))
}

#[test]
fn month_is_as_many_times_the_traffic_as_fit_though_its_requests_are_soon_over() {
    let prices = Prices::builtin("us-east-1").expect("it is there");
    let silence = "steps = [{ for = '20s', rate = 1 }, { for = '3580s', rate = 0 }]";
    for traffic in [
        "kind = 'burst'\nrequests = 20\nfor = '1h'".to_owned(),
        format!("kind = 'steps'\n{silence}"),
    ] {
        let report = five_ways(&traffic);
        let [lambda, ours, kept, provisioned, containers] = &report.alternatives[..] else {
            panic!("five were asked for: {traffic}")
        };
        // Of 730 hours, each has an hour's twenty requests, and what takes longest at the end of an
        // hour does not count for much.
        let about = |is: f64, expected: f64| (is / expected - 1.0).abs() < 0.001;
        assert!(about(lambda.invokes_month, 20.0 * 730.0), "{traffic}: {}", lambda.invokes_month);
        for it in &report.alternatives {
            let requests = it.month.picodollars() as f64 / it.per_million.picodollars() as f64;
            assert!(about(requests * 1e6, 20.0 * 730.0), "{traffic}: {}: {requests}", it.name);
        }
        // Few seconds of a GB, and one all the time.
        let gb_seconds = ours.gb_seconds_month / 730.0;
        assert!((1.0..60.0).contains(&gb_seconds), "{traffic}: {gb_seconds}");
        let gb_seconds = kept.gb_seconds_month / 730.0;
        assert!((3_590.0..3_690.0).contains(&gb_seconds), "{traffic}: {gb_seconds}");
        // Two of each are there for all of the month.
        let line = |of: &Measured, what: &str| {
            let line = of.costs.iter().find(|cost| cost.what == what);
            line.map_or(0.0, |line| line.month.picodollars() as f64)
        };
        let held = prices.provisioned_held(2 * 1_024 * MONTH.as_millis(), Arch::Arm);
        let is = line(provisioned, "provisioned concurrency");
        assert!(about(is, held.picodollars() as f64), "{traffic}: {:?}", provisioned.costs);
        let two = prices.fargate(Arch::Arm, 1_024, 2_048, MONTH * 2);
        let is = line(containers, "containers");
        assert!(about(is, two.picodollars() as f64), "{traffic}: {:?}", containers.costs);
    }
}

#[test]
fn month_has_as_many_requests_whoever_serves_however_late_they_are_answered() {
    let plan = r#"
title = "Short"
seeds = 1
sweep = false
traffic = { kind = "poisson", rate = 50, for = "10s" }
service = { time = "100ms" }
cold_start = { time = "8s" }
balancer = { used = false }
"#;
    let report = report(plan);
    let a_month = report.traffic.requests as f64 * MONTH.as_secs_f64() / 10.0;
    let about = |is: f64, expected: f64| (is / expected - 1.0).abs() < 1e-6;
    for it in &report.alternatives {
        let invokes = match it.kind {
            Kind::Lambda | Kind::LambdaReuse | Kind::Provisioned | Kind::Managed => a_month,
            // Each instance is one.
            Kind::Dispatch => it.gantt.len() as f64 * MONTH.as_secs_f64() / 10.0,
            Kind::Containers => 0.0,
        };
        assert!((it.invokes_month - invokes).abs() < 1.0, "{}: {}", it.name, it.invokes_month);
        let requests = it.month.picodollars() as f64 / it.per_million.picodollars() as f64 * 1e6;
        assert!(about(requests, a_month), "{}: {requests}", it.name);
    }
}

#[test]
fn instances_that_are_kept_cost_no_more_than_a_month_of_them_however_long_requests_take() {
    for (span, service, kept) in [("10s", "60s", 5), ("10m", "10m", 50)] {
        let report = report(&format!(
            r#"
title = "Long"
seeds = 1
sweep = false
traffic = {{ kind = "poisson", rate = 0.5, for = "{span}" }}
service = {{ time = "{service}" }}
[[alternative]]
kind = "dispatch"
instances_min = {kept}
"#
        ));
        // Of one GB each.
        let ours = &report.alternatives[0];
        let month = |instances: f64| instances * MONTH.as_secs_f64();
        let is = ours.gb_seconds_month;
        assert!(is <= month(ours.instances_peak.mean), "{span}: {is}, {:?}", ours.instances_peak);
        assert!(is >= month(f64::from(kept)) * 0.98, "{span}: {is}");
    }
}

#[test]
fn seeds_without_a_request_say_nothing_of_how_long_requests_take() {
    let report = report(
        r#"
title = "Rare"
seeds = 8
sweep = false
traffic = { kind = "poisson", rate = 0.02, for = "1m" }
service = { time = "100ms" }
[[alternative]]
kind = "containers"
[[alternative]]
kind = "lambda"
[cold_start]
time = "1s"
"#,
    );
    let [containers, lambda] = &report.alternatives[..] else { panic!("two were asked for") };
    for quantile in [containers.total.p50, containers.total.max] {
        let off = (quantile.low - 0.1).abs().max((quantile.high - 0.1).abs());
        assert!(off < 1e-9, "{quantile:?}");
    }
    // The first request of each seed that has one waits for a start.
    assert!((lambda.wait.max.mean - 1.0).abs() < 1e-9, "{:?}", lambda.wait);
}

#[test]
fn request_takes_as_long_wherever_it_is_alone_with_as_much_of_a_processor() {
    let plan = WAVES
        .replace("[service]\ntime = \"50ms\"", "[service]\ntime = \"100ms\"\ncpu = 0.9")
        .replace("slots = 10", "slots = 1")
        + "[[alternative]]\nkind = \"lambda\"\n[function]\nmemory_mb = 1024\n";
    let report = report(&plan);
    let [ours, lambda] = &report.alternatives[..] else { panic!("two were asked for") };
    // 90 ms of a processor take 1,769 / 1,024 times as long, and 10 ms pass without.
    let takes = 0.010 + 0.090 * 1_769.0 / 1_024.0;
    for it in [ours, lambda] {
        let served = it.total.p50.mean - it.wait.p50.mean;
        assert!((served / takes - 1.0).abs() < 0.002, "{}: {:?}", it.name, it.total);
    }
}

#[test]
fn bill_is_the_sum_of_the_instances_lives() {
    let report = report(&SMALL.replace("seeds = 2", "seeds = 1"));
    let ours = &report.alternatives[0];
    let lives: f64 = ours.gantt.iter().map(|bar| (bar.end - bar.start).as_secs_f64()).sum();
    // AWS's own part of a start is not billed, and each invoke is rounded up to a millisecond.
    let count = ours.gantt.len() as f64;
    let run = ours.gb_seconds_month / (730.0 * 3_600.0) * 300.0;
    assert!(lives - run >= 0.0 && lives - run < count * 0.21 + 1.0, "{lives} and {run}");
}

#[test]
fn solving_finds_the_cheapest_that_meets_the_limits_and_says_what_binds() {
    let mut plan = Plan::parse(SMALL).expect("the plan is right");
    let traffic = plan.open(Path::new("."), &Progress::default()).expect("nothing is read");
    let prices = Prices::builtin(&plan.region).expect("the region is known");
    let progress = Progress::default();
    let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress: &progress };
    let slo: Slo = "p99<600ms, refused<0.1%".parse().expect("limits");
    let solved = solve(&scene, &slo).expect("it can be run");
    let best = solved.best.expect("something meets it");
    assert!(best.total.p99.mean < 0.6);
    let cheaper = solved.kinds.iter().filter(|(it, broken)| {
        broken.is_none() && it.kind != Kind::LambdaReuse && it.month < best.month
    });
    assert_eq!(cheaper.count(), 0);
    assert!(solved.binds.is_some_and(|binds| binds.contains("p99")));
    let impossible: Slo = "max<1ms".parse().expect("a limit");
    assert!(solve(&scene, &impossible).expect("it can be run").best.is_none());
}

#[test]
fn solving_tries_other_settings_of_the_nearest_where_no_number_of_slots_meets_the_limits() {
    // So rare that an instance is gone before the next comes, however many slots it has.
    let rare = SMALL.replace("rate = 40\nfor = \"5m\"", "rate = 0.01\nfor = \"4h\"");
    let mut plan = Plan::parse(&rare).expect("the plan is right");
    let traffic = plan.open(Path::new("."), &Progress::default()).expect("nothing is read");
    let prices = Prices::builtin(&plan.region).expect("the region is known");
    let progress = Progress::default();
    let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress: &progress };
    let slo: Slo = "cold<5%".parse().expect("a limit");
    let solved = solve(&scene, &slo).expect("it can be run");
    let ours = solved.kinds.iter().find(|(it, _)| it.kind == Kind::Dispatch);
    assert!(ours.is_some_and(|(_, broken)| broken.is_none()), "{ours:?}");
}

#[test]
fn solving_keeps_to_what_the_plan_sets_and_tries_nothing_that_cannot_be_run() {
    let solve_text = |text: &str| {
        let mut plan = Plan::parse(text)?;
        let traffic =
            plan.open(Path::new("."), &Progress::default()).map_err(|why| why.to_string())?;
        let prices = Prices::builtin(&plan.region).map_err(|why| why.to_string())?;
        let progress = Progress::default();
        let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress: &progress };
        let slo = "p99<600ms".parse()?;
        solve(&scene, &slo).map_err(|why| why.to_string())
    };
    let plan = format!(
        "{SMALL}
[[alternative]]
kind = 'dispatch'
instances_max = 1
[[alternative]]
kind = 'containers'
name = 'Small ones'
slots = 2
memory_mb = 512
cpu_units = 256
"
    );
    let solved = solve_text(&plan).expect("it can be run");
    let of = |kind| solved.kinds.iter().find(|(it, _)| it.kind == kind).map(|(it, _)| it);
    let settings = &of(Kind::Containers).expect("they are tried").settings;
    for (name, value) in [("slots", "2"), ("memory", "512 MB"), ("vCPU", "0.25")] {
        assert!(settings.contains(&(name.into(), value.into())), "{settings:?}");
    }
    let settings = &of(Kind::Dispatch).expect("it is tried").settings;
    let most = settings.iter().find(|(name, _)| name == "instances");
    assert!(most.is_some_and(|(_, value)| value.ends_with(" to 1")), "{settings:?}");

    let closed = SMALL.replace(
        "kind = \"poisson\"\nrate = 40\nfor = \"5m\"",
        "kind = \"closed-loop\"\nclients = 4\nthink = \"1s\"\nfor = \"10s\"",
    );
    let two = "[[alternative]]\nkind = 'dispatch'\nrouters = 2\n";
    let error = solve_text(&format!("{closed}{two}")).expect_err("it is refused");
    assert!(error.contains("routers is 2, must be 1"), "{error}");
}

#[test]
fn routers_share_traffic_but_not_the_clients_of_a_closed_loop() {
    let two = WAVES.replace("slots = 10", "slots = 10\nrouters = 2");
    let report = report(&two);
    let ours = &report.alternatives[0];
    assert_eq!(ours.timeline.arrivals.iter().sum::<u32>(), 10);
    // Each has a pool of its own, of one instance at most.
    assert!((ours.instances_peak.mean - 2.0).abs() < 1e-9, "{:?}", ours.instances_peak);

    let closed = two.replace(
        r#"kind = "steps"
steps = [{ for = "10s", rate = 1 }]"#,
        r#"kind = "closed-loop"
clients = 4
think = "1s"
for = "10s""#,
    );
    let error = try_report(&closed).expect_err("it is refused");
    assert!(error.contains("routers is 2, must be 1"), "{error}");
}

#[test]
fn closed_loop_ends_though_its_clients_are_refused_or_served_at_once() {
    let plan = |service| {
        SMALL
            .replace("kind = \"poisson\"\nrate = 40\nfor = \"5m\"", CLIENTS)
            .replace("{ kind = \"exponential\", mean = \"100ms\" }", service)
            .replace("seeds = 2", "seeds = 1\nsweep = false")
    };
    let refused = report(&plan("\"100ms\""));
    // Managed Instances have 48 slots at the start, and nowhere to wait.
    let managed = refused.alternatives.iter().find(|it| it.kind == Kind::Managed);
    assert!(managed.is_some_and(|it| it.refused.mean > 0.0), "{managed:?}");
    assert!(refused.method.assumptions.iter().any(|it| it.contains("sends again 1ms after")));
    let at_once = report(&plan("\"0s\"").replace("for = \"10s\"", "for = \"3s\""));
    for it in &at_once.alternatives {
        let sent: u32 = it.timeline.arrivals.iter().sum();
        assert!((50..=50 * 3_000).contains(&sent), "{}: {sent}", it.name);
    }
}

const CLIENTS: &str = "kind = \"closed-loop\"\nclients = 50\nfor = \"10s\"";

#[test]
fn recording_of_one_moment_costs_what_a_minute_of_it_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for requests in [1, 200] {
        let file = folder.path().join(format!("{requests}.csv"));
        let text = format!("arrival\n{}", "5\n".repeat(requests));
        std::fs::write(&file, text).expect("a temporary file");
        let second = Duration::from_secs(1);
        let mut plan = Plan::recorded("csv", &[file], second / 10, second, 1_024).expect("a plan");
        plan.seeds = 1;
        plan.sweep = false;
        let traffic = plan.open(Path::new("."), &Progress::default()).expect("it can be read");
        let report = of_traffic(&plan, &traffic).expect("it can be run");
        assert_eq!(report.traffic.span, second * 60);
        let minute = report.method.assumptions.iter().any(|it| it.contains("counts as one"));
        assert!(minute, "{:?}", report.method.assumptions);
        // As often as a month has minutes.
        let lambda = &report.alternatives[1];
        let a_month = requests as f64 * 730.0 * 60.0;
        assert!((lambda.invokes_month / a_month - 1.0).abs() < 0.05, "{}", lambda.invokes_month);
        assert!(lambda.month.picodollars() < 1_000 * 1_000_000_000_000, "{}", lambda.month);
    }
}

#[test]
fn more_than_can_be_paid_is_told_without_a_panic() {
    let plan = WAVES.replace("used = false", "bytes = 9_000_000_000_000_000_000");
    let month = report(&plan).alternatives[0].month;
    assert_eq!(month.picodollars(), u64::MAX, "{month}");
}

#[test]
fn what_takes_no_time_is_asked_for_no_latency() {
    let plan = SMALL.replace("{ kind = \"exponential\", mean = \"100ms\" }", "\"0s\"");
    let report = report(&plan.replace("seeds = 2", "seeds = 1\nsweep = false"));
    assert!(report.verdict.contains("is the cheapest that meets"), "{}", report.verdict);
    assert!(!report.verdict.contains("p99<"), "{}", report.verdict);
    assert!(reports::page::write(&report).contains("<svg"));
}

#[test]
fn traffic_without_a_request_is_refused() {
    for (traffic, said) in [
        ("rate = 0", "no request in Poisson, 0/s for 5m"),
        ("rate = 0.000001", "no request in Poisson, 0.000001/s for 5m, with seed 1"),
    ] {
        let error = try_report(&SMALL.replace("rate = 40", traffic)).expect_err(traffic);
        assert!(error.contains(said), "{error}");
    }
    let mut plan = Plan::parse(&SMALL.replace("rate = 40", "rate = 0")).expect("the plan is right");
    let traffic = plan.open(Path::new("."), &Progress::default()).expect("nothing is read");
    let prices = Prices::builtin(&plan.region).expect("the region is known");
    let progress = Progress::default();
    let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress: &progress };
    let solved = solve(&scene, &"p99<1s".parse().expect("a limit"));
    assert!(solved.is_err_and(|why| why.to_string().contains("no request")));
}

#[test]
fn who_refuses_most_of_a_burst_beats_nobody_who_serves_it() {
    let burst = r#"
title = "Burst"
seeds = 1
sweep = false
traffic = { kind = "burst", requests = 200, for = "1h" }
service = { time = "100ms" }
[[alternative]]
kind = "managed"
[[alternative]]
kind = "containers"
count = 20
slots = 5
[[alternative]]
kind = "containers"
count = 21
slots = 5
"#;
    let report = report(burst);
    let [managed, containers, more] = &report.alternatives[..] else { panic!("three were asked") };
    assert!(managed.refused.mean > 0.5 && managed.month < containers.month);
    assert!(managed.total.p99.mean < containers.total.p99.mean);
    assert!((more.total.p99.mean - containers.total.p99.mean).abs() < 1e-9);
    let best: Vec<_> = report.tried.iter().map(|it| it.is_best_for_its_price).collect();
    assert_eq!(best, [true, true, false]);
}

#[test]
fn load_balancer_takes_fewer_bytes_for_its_money_where_functions_are_its_targets() {
    let report = report(&SMALL.replace("seeds = 2", "seeds = 1\nsweep = false"));
    // 20,000 bytes of each request, as GB an hour, for $0.008.
    let gigabytes = report.traffic.requests as f64 / 300.0 * 20_000.0 * 3_600.0 / 1e9;
    for it in &report.alternatives {
        let per_unit = match it.kind {
            Kind::Dispatch | Kind::Containers => 1.0,
            Kind::Lambda | Kind::LambdaReuse | Kind::Provisioned | Kind::Managed => 0.4,
        };
        let units = it.costs.iter().find(|cost| cost.what == "its capacity units");
        let is = units.map_or(0.0, |cost| cost.month.picodollars() as f64 / 1e12);
        let expected = gigabytes / per_unit * 0.008 * 730.0;
        assert!((is / expected - 1.0).abs() < 1e-6, "{}: {is}, not {expected}", it.name);
    }
}

#[test]
fn snapshots_are_paid_for_where_aws_charges_for_them() {
    let plan = format!("{SMALL}[function]\nsnapstart_is_billed = true\n");
    for measured in &report(&plan).alternatives {
        let pays = measured.costs.iter().any(|cost| cost.what == "SnapStart");
        let starts = !matches!(measured.kind, Kind::Managed | Kind::Containers);
        assert_eq!(pays, starts, "{}: {:?}", measured.name, measured.costs);
    }
}

#[test]
fn no_more_is_provisioned_than_the_account_allows_though_more_would_run_at_once() {
    let plan = SMALL.replace("seeds = 2", "seeds = 1\nsweep = false");
    let usual = report(&format!("{plan}[function]\nconcurrency = 3\n"));
    let names: Vec<_> = usual.alternatives.iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&"Lambda, 3 provisioned"), "{names:?}");

    let tracked = "[[alternative]]\nkind = 'provisioned'\nenvironments = 1\n\
                   tracking = { out_minutes = 1, target = 0.1 }";
    let tracked = report(&format!("{plan}{tracked}\n[function]\nconcurrency = 3\n"));
    let prices = Prices::builtin("us-east-1").expect("it is there");
    let three = prices.provisioned_held(3 * 1_024 * MONTH.as_millis(), Arch::Arm);
    let held = tracked.alternatives[0].costs.iter().find(|it| it.what == "provisioned concurrency");
    assert!(held.is_some_and(|it| it.month <= three), "{held:?}, and three are {three}");
}

#[test]
fn what_meets_the_limits_is_compared_and_not_what_is_merely_cheaper() {
    let plan = SMALL
        .replace("title = \"Small\"", "title = \"Computes\"\nslo = \"p99<1500ms\"\nsweep = false")
        .replace("mean = \"100ms\" }", "mean = \"100ms\" }\ncpu = 0.9")
        + r#"
[function]
memory_mb = 1769
[[alternative]]
kind = "dispatch"
slots = 20
[[alternative]]
kind = "dispatch"
slots = 1
[[alternative]]
kind = "lambda"
"#;
    let report = report(&plan);
    let [many, one, _] = &report.alternatives[..] else { panic!("three were asked for") };
    assert!(many.month < one.month && many.total.p99.mean > 1.5, "{:?}", many.total);
    assert!(one.total.p99.mean < 1.5, "{:?}", one.total);
    let compared = report.findings.iter().find(|finding| finding.contains("Lambda alone"));
    let compared = compared.expect("Lambda alone is compared");
    assert!(!compared.contains("20 slots"), "{compared}");
}

#[test]
fn latency_limits_are_not_met_by_failing_the_requests() {
    // Lambda ends every invoke before the function has answered.
    let plan = SMALL
        .replace("title = \"Small\"", "title = \"Ends\"\nslo = \"p99<3s\"\nsweep = false")
        .replace("{ kind = \"exponential\", mean = \"100ms\" }", "\"2s\"")
        + r#"
[function]
memory_mb = 128
timeout = "1s"
[[alternative]]
kind = "lambda"
[[alternative]]
kind = "containers"
count = 30
"#;
    let late = report(&plan);
    let [lambda, containers] = &late.alternatives[..] else { panic!("two were asked for") };
    assert!((lambda.refused.mean - 1.0).abs() < 1e-9 && lambda.month < containers.month);
    assert!(lambda.total_of_all.p50.mean.is_infinite() && lambda.total.p50.mean.is_infinite());
    assert!(containers.is_best, "{}", late.verdict);
    let why = "Lambda alone would cost";
    assert!(late.verdict.contains(why), "{}", late.verdict);
    assert!(late.verdict.contains("100% of the requests failed, more than p99<3s allows"));
    assert!(late.verdict.contains("are answered within 2 s"), "{}", late.verdict);
    assert!(!reports::page::write(&late).contains("NaN"));
    // Nobody meets it: who fails everything is not the nearest to it.
    let late = report(&plan.replace("p99<3s", "p99<1s"));
    assert!(late.alternatives[1].is_best, "{}", late.verdict);
}

#[test]
fn share_of_the_requests_that_fewer_reach_than_were_served_is_endless() {
    let report = report(
        r#"
title = "Burst"
seeds = 1
sweep = false
slo = "p50<1s"
traffic = { kind = "burst", requests = 200, for = "1m" }
service = { time = "100ms" }
[[alternative]]
kind = "managed"
environments_min = 9
"#,
    );
    // Of 200, 144 find a slot.
    let managed = &report.alternatives[0];
    assert!((managed.refused.mean - 0.28).abs() < 1e-9, "{:?}", managed.refused);
    let (total, wait) = (managed.total_of_all, managed.wait_of_all);
    assert!(total.p50.mean < 0.2 && total.p90.mean.is_infinite(), "{total:?}");
    assert!(wait.p50.mean < 0.1 && wait.max.mean.is_infinite(), "{wait:?}");
    assert!(managed.total.max.mean < 0.2, "{:?}", managed.total);
    assert!(report.verdict.contains("28 % of the requests fail"), "{}", report.verdict);
}

#[test]
fn limit_of_none_is_met_by_none() {
    for limit in ["refused<=0%", "refused<0%", "cold<=0%,refused<=0%,max<=1s"] {
        let slo: Slo = limit.parse().expect("a limit");
        let plan = WAVES.replace("kind = \"dispatch\"\nslots = 10", "kind = \"containers\"");
        let plan = plan.replace("instances_max = 1\nnetwork = \"0s\"", "");
        let measured = &report(&plan).alternatives[0];
        assert_eq!(slo.broken(measured), None, "{limit}");
        let refuses = Measured { refused: Estimate::of(&[0.1]), ..measured.clone() };
        assert!(slo.broken(&refuses).is_some(), "{limit}");
    }
}

/// Bursts, of which each seed has others.
const ON_OFF: &str = r#"
title = "On and off"
seeds = 5
[traffic]
kind = "on-off"
rate_on = 20
rate_off = 0
on = "1m"
off = "10m"
for = "30m"
[service]
time = "100ms"
[balancer]
used = false
[[alternative]]
kind = "dispatch"
[[alternative]]
kind = "lambda"
"#;

#[test]
fn what_is_said_of_a_month_is_of_the_same_seeds_as_its_bill() {
    let report = report(&ON_OFF.replace("seeds = 5", "seeds = 5\nsweep = false"));
    let span = report.traffic.span.as_secs_f64();
    let first: u32 = report.alternatives[0].timeline.arrivals.iter().sum();
    let first = f64::from(first) / span;
    assert!((report.traffic.rate_mean / first - 1.0).abs() > 0.05, "seeds are alike: {first}");
    let about = |is: f64, expected: f64| (is / expected - 1.0).abs() < 1e-4;
    for it in &report.alternatives {
        let line = it.costs.iter().find(|cost| cost.what == "Lambda requests");
        let line = line.map_or(0.0, |cost| cost.month.picodollars() as f64 / 1e12);
        assert!(about(it.invokes_month * 2e-7, line), "{}: {line}", it.name);
        let rate = it.requests_month / MONTH.as_secs_f64();
        assert!(about(rate, report.traffic.rate_mean), "{}: {rate}", it.name);
        let requests = it.month.picodollars() as f64 / it.per_million.picodollars() as f64 * 1e6;
        assert!(about(requests, it.requests_month), "{}: {requests}", it.name);
    }
    let lambda = &report.alternatives[1];
    assert!(about(lambda.invokes_month, lambda.requests_month), "{}", lambda.invokes_month);
}

#[test]
fn what_is_otherwise_is_compared_with_what_the_same_seed_came_to() {
    let (many, one) = (report(ON_OFF), report(&ON_OFF.replace("seeds = 5", "seeds = 1")));
    let (nothing, ours) = (&many.sensitivity[0], &one.alternatives[0]);
    assert_eq!((nothing.what.as_str(), nothing.month), ("nothing", ours.month));
    assert!((nothing.factor - 1.0).abs() < 1e-9);
    assert!((nothing.wait_p99 - ours.wait.p99.mean).abs() < 1e-9);
    assert_ne!(nothing.month, many.alternatives[0].month);
    assert_eq!(many.sensitivity, one.sensitivity);
    assert_eq!(many.tried, one.tried);
}

#[test]
fn closed_loops_are_judged_by_what_each_alternative_was_sent() {
    let lambda = "[[alternative]]\nkind = 'lambda'\n";
    let ours = "[[alternative]]\nkind = 'dispatch'\n";
    let one = "[[alternative]]\nkind = 'containers'\ncount = 1\nslots = 1\n";
    let plan = WAVES
        .replace("kind = \"steps\"\nsteps = [{ for = \"10s\", rate = 1 }]", CLIENTS)
        .replace("title = \"Waves\"", "title = \"Loop\"\nslo = \"p50<1s\"");
    let plan = plan.split("[[alternative]]").next().expect("something is before").to_owned();
    let slow_first = report(&format!("{plan}{one}{ours}{lambda}"));
    let slow_last = report(&format!("{plan}{lambda}{ours}{one}"));
    let sent: Vec<_> = slow_first.alternatives.iter().map(|it| it.requests_month).collect();
    assert!(sent[0] * 10.0 < sent[1], "{sent:?}");
    assert_eq!(slow_first.verdict, slow_last.verdict);
    assert_eq!(slow_first.findings, slow_last.findings);
    assert!(slow_first.findings.iter().any(|it| it.contains("With traffic of this shape")));
    let said = |it: &Report| it.method.assumptions[0].clone();
    assert!(said(&slow_first).contains("Clients that wait for their answers send more"));
    assert!(said(&report(WAVES)).contains("the same requests"));
}

#[test]
fn router_is_named_where_it_is_what_costs_more() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("hourly.csv");
    let lines: Vec<_> = (0..25).map(|hour| format!("{}\n", hour * 3_600)).collect();
    std::fs::write(&file, format!("arrival\n{}", lines.concat())).expect("a temporary file");
    let second = Duration::from_secs(1);
    let mut plan = Plan::recorded("csv", &[file], second / 10, second, 1_024).expect("a plan");
    (plan.seeds, plan.sweep) = (1, false);
    let traffic = plan.open(Path::new("."), &Progress::default()).expect("it can be read");
    let report = of_traffic(&plan, &traffic).expect("it can be run");
    let why = report.findings.iter().find(|it| it.contains("Lambda alone is cheaper"));
    assert!(why.is_some_and(|why| why.contains("the router costs more")), "{:?}", report.findings);
}

#[test]
fn danger_is_where_somebody_waited_and_not_where_an_environment_is_still_warm() {
    // The instance leaves after a minute, its environment after seven.
    let plan = WAVES.replace(r#"{ for = "10s", rate = 1 }"#, r#"{ for = "2h", rate = 0.01 }"#);
    let report = report(&plan);
    let ours = &report.alternatives[0];
    let fired: Vec<_> = ours.timeline.danger.iter().filter(|danger| **danger >= 1.0).collect();
    assert!(ours.instances_mean.mean < 0.9, "{:?}", ours.instances_mean);
    let (came, fired) = (report.traffic.requests, fired.len());
    let cold = ours.cold.mean * came as f64;
    assert!(came > 50 && (cold - fired as f64).abs() < 1e-9, "{fired} of {came}: {:?}", ours.cold);
    let told = format!("in {fired} of 240 spans");
    assert!(report.findings.iter().any(|it| it.contains(&told)), "{:?}", report.findings);
}

#[test]
fn what_is_wrong_with_a_plan_is_said() {
    for (from, to, said) in [
        ("rate = 40", "rate = -1", "rate"),
        ("title = ", "titel = ", "titel"),
        ("kind = \"poisson\"", "kind = \"fish\"", "fish"),
        ("time = \"2s\"", "time = \"2 parsecs\"", "parsecs"),
    ] {
        let error = Plan::parse(&SMALL.replace(from, to)).expect_err(to);
        assert!(error.contains(said), "{to}: {error}");
    }
    for (settings, said) in [
        ("[function]\nmemory_mb = 0", "the function is 0 MB, must be from 128 to 10240"),
        ("[function]\nmemory_mb = 20000", "must be from 128 to 10240"),
        ("[function]\nconcurrency = 0", "`concurrency` of the function is 0"),
        ("[[alternative]]\nkind = 'dispatch'\nmemory_mb = 64", "must be from 128 to 10240"),
        (
            "[[alternative]]\nkind = 'provisioned'\nenvironments = 1500",
            "`Lambda, 1500 provisioned`: environments is 1500, must be at most 1000",
        ),
        (
            "[[alternative]]\nkind = 'provisioned'\ntracking = { min = 1001 }",
            "tracking.min is 1001, must be at most 1000",
        ),
        ("[[alternative]]\nkind = 'provisioned'\ntracking = { target = 70 }", "target is 70, must"),
        ("[[alternative]]\nkind = 'containers'\ntracking = { target = -0.7 }", "target is -0.7"),
        ("[[alternative]]\nkind = 'containers'\ntracking = { target = nan }", "target is NaN"),
    ] {
        let error = try_report(&format!("{SMALL}{settings}")).expect_err(settings);
        assert!(error.contains(said), "{settings}: {error}");
    }
    let twice =
        format!("{SMALL}[[alternative]]\nkind = \"lambda\"\n[[alternative]]\nkind = \"lambda\"");
    assert!(Plan::parse(&twice).expect_err("two").contains("Lambda alone"));
}
