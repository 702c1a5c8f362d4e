use std::time::{Duration, UNIX_EPOCH};

use dispatch_model::{InstanceId, RequestId};

use super::*;

pub(super) fn access(status: u16, reason: &'static str) -> Access {
    Access {
        started: UNIX_EPOCH,
        peer: "127.0.0.1".parse().unwrap(),
        client: "127.0.0.1".parse().unwrap(),
        method: http::Method::GET,
        target: "/".to_owned(),
        version: http::Version::HTTP_11,
        host: String::new(),
        status,
        reason,
        bytes_in: 10,
        bytes_out: 20,
        pool: None,
        in_line: Some(Duration::from_millis(1)),
        queue: Duration::ZERO,
        handover: Some(Duration::from_micros(300)),
        app: Some(Duration::from_millis(30)),
        slot: Some(Duration::from_millis(600)),
        first_byte: Some(Duration::from_millis(40)),
        total: Duration::from_millis(700),
        instance: None,
        cold_exposed: false,
        attempts: 2,
        proofs: vec![Proof::Refused],
        request_id: String::new(),
        user_agent: None,
        trace: None,
    }
}

#[track_caller]
fn assert_lines(metrics: &Arc<Metrics>, expected: &[&str]) {
    let page = metrics.expose().unwrap();
    for line in expected {
        assert!(page.lines().any(|l| l == *line), "no line {line:?} in\n{page}");
    }
}

/// Names in the alert rules, which nothing but this ties to the code.
#[test]
fn alert_rules_ask_for_metrics_that_there_are() {
    let metrics = Metrics::new();
    let pool = metrics.pool("default");
    pool.record(&access(200, "served"));
    let page = metrics.expose().unwrap();
    let rules = include_str!("../../../deploy/prometheus/rules.yml");
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names: Vec<_> = words.filter(|word| word.starts_with("dispatch_")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("\n{name}{{")), "no metric {name} in\n{page}");
    }
}

/// The list for people, made of the page for Prometheus.
#[test]
fn documented_metrics_are_those_that_there_are() {
    let metrics = Metrics::new();
    let pool = metrics.pool("default");
    pool.record(&access(200, "served"));
    metrics.record(&access(404, "unknown_path"));
    let page = metrics.expose().unwrap();
    let mut list = "# Metrics\n\n\
        `GET /metrics` on the admin port, in the OpenMetrics text format. Every series has the \
        label `pool`;\nwhat no pool was for is counted under `\"\"`. Made from the code:\n\
        `UPDATE=1 cargo test -p lambda-dispatch --lib documented`.\n\n\
        | metric | kind | labels | what |\n|---|---|---|---|\n"
        .to_owned();
    for line in page.lines() {
        let Some((name, what)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
        else {
            continue;
        };
        let kind_line = format!("# TYPE {name} ");
        let kind = page.lines().find_map(|l| l.strip_prefix(&kind_line)).unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let start = match kind {
            "histogram" => format!("{name}_count{{"),
            _ => format!("{name}{suffix}{{"),
        };
        let labels = page.lines().find_map(|l| l.strip_prefix(&start)?.split_once('}')).unwrap().0;
        let labels: Vec<_> = labels.split(',').filter_map(|l| Some(l.split_once('=')?.0)).collect();
        let labels = labels.join(", ");
        list += &format!("| `{name}{suffix}` | {kind} | {labels} | {what} |\n");
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &list).unwrap();
    }
    let documented = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(documented, list, "run it with UPDATE=1, and commit docs/src/metrics.md");
}

#[test]
fn a_page_without_traffic_is_complete_and_well_formed() {
    let metrics = Metrics::new();
    let _pool = metrics.pool("default");
    let page = metrics.expose().unwrap();
    assert!(page.ends_with("# EOF\n"), "{page}");
    for family in [
        "requests",
        "request_body_bytes",
        "response_body_bytes",
        "first_byte_seconds",
        "request_seconds",
        "cancelled",
        "refused",
        "arrived",
        "dispatched",
        "redispatch",
        "cold_exposed",
        "queue_requests",
        "queue_bytes",
        "running_requests",
        "queue_wait_seconds",
        "handover_seconds",
        "app_seconds",
        "slot_seconds",
        "slots",
        "slots_busy",
        "instances",
        "instances_desired",
        "service_seconds",
        "cold_start_seconds",
        "attached",
        "goaways",
        "invokes",
        "invokes_ended",
        "instance_seconds",
        "breaker_open",
        "stale_inputs",
        "unknown_outcome",
        "cost_dollars_per_hour",
        "plain_lambda_cost_dollars_per_hour",
        "spans",
    ] {
        let described =
            page.lines().filter(|l| l.starts_with(&format!("# TYPE dispatch_{family} ")));
        assert_eq!(described.count(), 1, "{family} in\n{page}");
    }
    let described = page.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(described, 35, "{page}");
}

#[test]
fn exchanges_are_counted_by_status_and_reason() {
    let metrics = Metrics::new();
    let pool = metrics.pool("web");
    metrics.record(&access(421, "unknown_host"));
    for (status, reason) in
        [(200, "served"), (200, "served"), (200, "truncated"), (503, "queue_length"), (999, "news")]
    {
        pool.record(&access(status, reason));
    }
    assert_lines(
        &metrics,
        &[
            "dispatch_requests_total{pool=\"\",status=\"421\",reason=\"unknown_host\"} 1",
            "dispatch_requests_total{pool=\"web\",status=\"200\",reason=\"served\"} 2",
            "dispatch_requests_total{pool=\"web\",status=\"200\",reason=\"truncated\"} 1",
            "dispatch_requests_total{pool=\"web\",status=\"503\",reason=\"queue_length\"} 1",
            "dispatch_requests_total{pool=\"web\",status=\"599\",reason=\"other\"} 1",
            "dispatch_redispatch_total{pool=\"web\",proof=\"refused\"} 5",
            "dispatch_redispatch_total{pool=\"web\",proof=\"goaway\"} 0",
            "dispatch_request_body_bytes_total{pool=\"web\"} 50",
            "dispatch_response_body_bytes_total{pool=\"web\"} 100",
            "dispatch_first_byte_seconds_count{pool=\"web\"} 5",
            "dispatch_first_byte_seconds_bucket{le=\"0.025\",pool=\"web\"} 0",
            "dispatch_first_byte_seconds_bucket{le=\"0.05\",pool=\"web\"} 5",
            "dispatch_request_seconds_bucket{le=\"+Inf\",pool=\"web\"} 5",
            "dispatch_request_seconds_sum{pool=\"web\"} 3.5",
            "dispatch_handover_seconds_bucket{le=\"0.00025\",pool=\"web\"} 0",
            "dispatch_handover_seconds_bucket{le=\"0.0005\",pool=\"web\"} 5",
            "dispatch_app_seconds_sum{pool=\"web\"} 0.15",
            "dispatch_slot_seconds_sum{pool=\"web\"} 3.0",
        ],
    );
}

#[test]
fn the_models_orders_and_facts_are_counted() {
    let metrics = Metrics::new();
    let pool = metrics.pool("web");
    let mut watch = pool.watch();
    let (instance, request) = (InstanceId::new(0, 0), RequestId::new(0, 0));
    for outcome in [
        InvokeOutcome::Returned,
        InvokeOutcome::Throttled { retry_after: None },
        InvokeOutcome::Throttled { retry_after: Some(Duration::from_secs(1)) },
    ] {
        watch.input(Time::ZERO, &Input::InvokeEnded { instance, outcome });
    }
    let waited = Duration::from_secs(3);
    watch.output(Time::ZERO, &Output::Dispatch { request, instance, waited, cold_exposed: true });
    watch.output(Time::ZERO, &Output::GoAway { instance, reason: GoAwayReason::Surplus });
    let ending = Ending::Unknown { repeatable: false };
    watch.input(Time::ZERO, &Input::RequestEnded { request, ending });
    let reason = RefuseReason::QueueTimeout;
    watch.output(Time::ZERO, &Output::Refuse { request, reason, retry_after_s: 1 });
    assert_lines(
        &metrics,
        &[
            "dispatch_invokes_ended_total{pool=\"web\",outcome=\"returned\"} 1",
            "dispatch_invokes_ended_total{pool=\"web\",outcome=\"throttled\"} 2",
            "dispatch_invokes_ended_total{pool=\"web\",outcome=\"crashed\"} 0",
            "dispatch_queue_wait_seconds_sum{pool=\"web\"} 3.0",
            "dispatch_queue_wait_seconds_bucket{le=\"2.0\",pool=\"web\"} 0",
            "dispatch_queue_wait_seconds_bucket{le=\"3.0\",pool=\"web\"} 1",
            "dispatch_goaways_total{pool=\"web\",reason=\"surplus\"} 1",
            "dispatch_refused_total{pool=\"web\",reason=\"queue_timeout\"} 1",
            "dispatch_unknown_outcome_total{pool=\"web\"} 1",
        ],
    );
    let problems: Vec<_> = metrics.problems().iter().map(|one| (one.problem, one.count)).collect();
    let expected = [(Problem::Invoke("throttled"), 2), (Problem::Refused("queue_timeout"), 1)];
    assert_eq!(problems, expected, "what returned is none");
}

#[test]
fn a_turn_shows_how_the_model_stands() {
    let metrics = Metrics::new();
    let stats = Stats {
        arrived: 7,
        cold_exposed: 2,
        invokes: 5,
        attached: 4,
        attached_cold: 3,
        instance_time: Duration::from_millis(1_500),
        ..Stats::default()
    };
    let gauges = Gauges {
        queued: 11,
        queued_bytes: 12_000,
        slots: 40,
        slots_busy: 39,
        starting: 1,
        ready: 4,
        desired: 5,
        service: Duration::from_millis(50),
        cold_start: Duration::from_secs(3),
        breaker_open: true,
        ..Gauges::default()
    };
    let pool = metrics.pool("web");
    let mut watch = pool.watch();
    watch.show(&stats, &gauges);
    assert_lines(
        &metrics,
        &[
            "dispatch_arrived_total{pool=\"web\"} 7",
            "dispatch_cold_exposed_total{pool=\"web\"} 2",
            "dispatch_invokes_total{pool=\"web\"} 5",
            "dispatch_attached_total{pool=\"web\",start=\"cold\"} 3",
            "dispatch_attached_total{pool=\"web\",start=\"warm\"} 1",
            "dispatch_instance_seconds_total{pool=\"web\"} 1.5",
            "dispatch_queue_requests{pool=\"web\"} 11",
            "dispatch_queue_bytes{pool=\"web\"} 12000",
            "dispatch_slots{pool=\"web\"} 40",
            "dispatch_slots_busy{pool=\"web\"} 39",
            "dispatch_instances{pool=\"web\",state=\"starting\"} 1",
            "dispatch_instances{pool=\"web\",state=\"ready\"} 4",
            "dispatch_instances_desired{pool=\"web\"} 5",
            "dispatch_service_seconds{pool=\"web\"} 0.05",
            "dispatch_cold_start_seconds{pool=\"web\"} 3.0",
            "dispatch_breaker_open{pool=\"web\"} 1",
        ],
    );
}

#[test]
fn pools_of_one_name_add_up_and_a_removed_pool_has_no_series() {
    let metrics = Metrics::new();
    let (old, new) = (metrics.pool("web"), metrics.pool("web"));
    let (mut before, mut after) = (old.watch(), new.watch());
    let shows = |watch: &mut Watch, arrived, queued| {
        let stats = Stats { arrived, ..Stats::default() };
        watch.show(&stats, &Gauges { queued, ..Gauges::default() });
    };
    shows(&mut before, 5, 3);
    shows(&mut after, 2, 4);
    shows(&mut before, 6, 1);
    let of = |number| format!("dispatch_queue_requests{{pool=\"web\"}} {number}");
    assert_lines(&metrics, &["dispatch_arrived_total{pool=\"web\"} 8", &of(5)]);
    drop((old, before));
    assert_lines(&metrics, &["dispatch_arrived_total{pool=\"web\"} 8", &of(4)]);
    drop((new, after));
    let page = metrics.expose().unwrap();
    assert!(!page.contains("pool=\"web\""), "{page}");
}

#[test]
fn every_reason_is_told_in_the_book() {
    let page = include_str!("../../../docs/src/observe.md");
    let table = page.split_once("## How a request ended").unwrap().1;
    let table = table.split_once("\n## ").unwrap().0;
    let words: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.split(", ").map(|word| word.trim_matches('`')))
        .collect();
    for reason in REASONS {
        assert_eq!(words.iter().filter(|word| **word == reason).count(), 1, "{reason}: {words:?}");
    }
    assert_eq!(words.len(), 1 + REASONS.len(), "beside the table's head: {words:?}");
}

#[test]
fn what_keeps_instances_from_serving_and_requests_out_of_time_are_problems() {
    let metrics = Metrics::new();
    let pool = metrics.pool("web");
    let mut watch = pool.watch();
    for trouble in [Trouble::NeverAttached, Trouble::NeverAttached, Trouble::BreakerOpened] {
        watch.trouble(Time::ZERO, trouble);
    }
    pool.record(&access(504, "total_timeout"));
    // A WebSocket that ended as `timeouts.total` wants it.
    pool.record(&access(101, "total_timeout"));
    let problems: Vec<_> = metrics.problems().iter().map(|one| (one.problem, one.count)).collect();
    let expected = [
        (Problem::Trouble(Trouble::NeverAttached), 2),
        (Problem::Trouble(Trouble::BreakerOpened), 1),
        (Problem::OutOfTime, 1),
    ];
    assert_eq!(problems, expected);
}

#[test]
fn every_word_that_can_be_counted_has_a_counter() {
    for word in REFUSALS {
        assert!(REASONS.contains(&word), "{word}");
    }
    let goaways = [
        GoAwayReason::Hung,
        GoAwayReason::LeaseEnding,
        GoAwayReason::Shutdown,
        GoAwayReason::Silent,
        GoAwayReason::Surplus,
    ];
    assert_eq!(goaways.map(goaway_name), GOAWAYS);
    let outcomes = [
        InvokeOutcome::Crashed,
        InvokeOutcome::Forbidden,
        InvokeOutcome::Returned,
        InvokeOutcome::Throttled { retry_after: None },
        InvokeOutcome::TimedOut,
        InvokeOutcome::Unavailable,
        InvokeOutcome::Unknown,
    ];
    assert_eq!(outcomes.each_ref().map(outcome_name), OUTCOMES);
}
