use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::time::UNIX_EPOCH;

use dispatch_model::{Gauges, GoAwayReason, InstanceId, Output, RequestId, Time};
use io_tokio::observe::{AccessLog as _, Observer as _};

use super::super::tests::access;
use super::*;

/// The list for people, made of the list for the program.
#[test]
fn documented_metrics_for_cloudwatch_are_those_that_there_are() {
    let mut list = "| metric | unit | what it says of a period |\n|---|---|---|\n".to_owned();
    for metric in CLOUDWATCH_METRICS {
        list += &format!("| `{}` | {} | {} |\n", metric.name, metric.unit(), metric.about);
    }
    crate::documented::section("observe.md", "cloudwatch", &list);
}

/// The format's schema, as AWS has published it.
const SCHEMA: &str = include_str!("../../../tests/data/emf.schema.json");

/// Panics where `value` is not as `schema` says. It knows the words of JSON Schema that are in the
/// published one, and panics at any other.
fn check(schema: &Value, value: &Value, at: &str) {
    for (word, rule) in schema.as_object().unwrap() {
        let limit = || usize::try_from(rule.as_u64().unwrap()).unwrap();
        match &**word {
            "$comment" | "$id" | "examples" | "title" => {}
            "items" => {
                for (place, item) in value.as_array().unwrap().iter().enumerate() {
                    check(rule, item, &format!("{at}[{place}]"));
                }
            }
            "maxItems" => assert!(value.as_array().unwrap().len() <= limit(), "{at}"),
            "minItems" => assert!(value.as_array().unwrap().len() >= limit(), "{at}"),
            "maxLength" => assert!(value.as_str().unwrap().chars().count() <= limit(), "{at}"),
            "minLength" => assert!(value.as_str().unwrap().chars().count() >= limit(), "{at}"),
            "pattern" => match rule.as_str().unwrap() {
                "^(.*)$" => assert!(!value.as_str().unwrap().contains('\n'), "{at}"),
                words => {
                    let words = words.strip_prefix("^(").and_then(|it| it.strip_suffix(")$"));
                    let is = value.as_str().unwrap();
                    let mut words = words.unwrap().split('|').map(|it| it.replace('\\', ""));
                    assert!(words.any(|word| word == is), "{at} is {is}");
                }
            },
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(rule, value, &format!("{at}.{name}"));
                    }
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    assert!(value.get(name.as_str().unwrap()).is_some(), "{at} has no {name}");
                }
            }
            "type" => assert!(
                match rule.as_str().unwrap() {
                    "array" => value.is_array(),
                    "integer" => value.is_u64(),
                    "object" => value.is_object(),
                    "string" => value.is_string(),
                    other => panic!("the type {other}"),
                },
                "{at} is {value}"
            ),
            other => panic!("the word {other}"),
        }
    }
}

/// Panics where a line breaks a rule of the format, of those in the schema and of those beside it.
fn checked(line: &str) -> Value {
    assert!(line.len() < 256 << 10, "CloudWatch Logs takes 256 KB, or 1 MB by now");
    let document: Value = serde_json::from_str(line).unwrap();
    check(&serde_json::from_str(SCHEMA).unwrap(), &document, "$");
    for directive in document["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        for dimension in
            directive["Dimensions"].as_array().unwrap().iter().flat_map(|it| it.as_array().unwrap())
        {
            let value =
                document[dimension.as_str().unwrap()].as_str().expect("dimensions are text");
            assert!((1..=1_024).contains(&value.len()), "{value}");
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(metrics.len() <= 100, "{} metrics", metrics.len());
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            match &document[name] {
                Value::Number(_) => {}
                Value::Array(values) => {
                    assert!((1..=100).contains(&values.len()), "{name} has {}", values.len());
                    assert!(values.iter().all(Value::is_number), "{name}");
                }
                other @ (Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_)) => {
                    panic!("{name} is {other}");
                }
            }
        }
    }
    document
}

#[test]
fn a_document_is_as_the_published_schema_says() {
    let metrics = Metrics::new();
    let pool = metrics.pool("web");
    let _other = metrics.pool(&"x".repeat(64));
    let mut watch = pool.watch();
    watch.show_levels(&Gauges { queued: 11, slots: 40, ..Gauges::default() });
    for _ in 0..1_000 {
        pool.record(&access(200, "served"));
    }
    let mut period = Period::default();
    for _ in 0..500 {
        period.sample(&metrics);
    }
    let now = UNIX_EPOCH + Duration::from_millis(1_795_422_552_123);
    let lines = period.end(&metrics, "PwrDrvr", now);
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line.matches('\n').count(), 1);
        let document = checked(line);
        assert_eq!(document["_aws"]["Timestamp"], 1_795_422_552_123_u64);
        let directive = &document["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "PwrDrvr");
        assert_eq!(directive["Dimensions"], json!([[], ["Pool"]]));
    }
    assert!(lines.iter().any(|line| line.contains("\"PendingRequestCount\":[11,11,")));
}

#[test]
#[should_panic(expected = "$._aws.CloudWatchMetrics[0] has no \"Metrics\"")]
fn the_check_of_documents_finds_what_is_missing() {
    checked(
        r#"{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"a","Dimensions":[[]]}]}}"#,
    );
}

#[test]
fn names_of_the_original_mean_what_they_meant() {
    let metrics = Metrics::new();
    let pool = metrics.pool("web");
    let mut watch = pool.watch();
    let (instance, request) = (InstanceId::new(0, 0), RequestId::new(0, 0));
    for waited in [Duration::ZERO, Duration::ZERO, Duration::from_secs(3)] {
        watch.output(
            Time::ZERO,
            &Output::Dispatch { request, instance, waited, cold_exposed: false },
        );
    }
    for reason in [GoAwayReason::Surplus, GoAwayReason::LeaseEnding, GoAwayReason::Silent] {
        watch.output(Time::ZERO, &Output::GoAway { instance, reason });
    }
    pool.record(&access(200, "served"));
    let gauges =
        Gauges { running: 7, starting: 1, ready: 4, draining: 2, desired: 5, ..Gauges::default() };
    watch.show_levels(&gauges);
    let mut period = Period::default();
    period.sample(&metrics);
    let document = checked(&period.end(&metrics, "PwrDrvr", UNIX_EPOCH)[0]);
    assert_eq!(document["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([[]]), "one pool");
    for (name, value) in [
        ("RunningRequestCount", json!([7])),
        ("LambdaDesiredCount", json!([5])),
        ("LambdaInstanceRunningCount", json!([6])),
        ("LambdaInstanceStartingCount", json!([1])),
        ("LambdaInstanceStoppingCount", json!([2])),
        ("LambdaScaleInCount", json!(1.0)),
        ("LambdaInitiatedClose", json!(1.0)),
        // Only of who waited.
        ("DispatchDelay", json!([3_000.0])),
        ("IncomingRequestDuration", json!([700.0])),
        ("IncomingRequestDurationAfterDispatch", json!([600.0])),
        ("Requests", json!(1.0)),
    ] {
        assert_eq!(document[name], value, "{name}");
    }
    let units = document["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    assert!(units.contains(&json!({"Name": "DispatchDelay", "Unit": "Milliseconds"})));
    assert!(units.contains(&json!({"Name": "LambdaDesiredCount", "Unit": "Count"})));
}

/// The documents of a period that is over.
fn told(period: &mut Period, metrics: &Metrics) -> Vec<Value> {
    period.sample(metrics);
    period.end(metrics, "a", UNIX_EPOCH).iter().map(|line| checked(line)).collect()
}

#[test]
fn a_period_tells_of_itself_and_not_of_those_before() {
    let metrics = Metrics::new();
    let pool = metrics.pool("web");
    let mut period = Period::default();
    pool.record(&access(200, "served"));
    pool.record(&access(503, "queue_length"));
    let first = &told(&mut period, &metrics)[0];
    assert_eq!((&first["Requests"], &first["Requests5xx"]), (&json!(2.0), &json!(1.0)));
    assert_eq!(first["AppTime"].as_array().unwrap().len(), 2);
    pool.record(&access(200, "served"));
    let second = &told(&mut period, &metrics)[0];
    assert_eq!((&second["Requests"], &second["Requests5xx"]), (&json!(1.0), &json!(0.0)));
    assert_eq!(second["AppTime"].as_array().unwrap().len(), 1);
    let third = &told(&mut period, &metrics)[0];
    assert_eq!(third.get("AppTime"), None, "no time is no value");
}

#[test]
fn a_pool_that_goes_is_told_of_to_its_end_and_not_kept() {
    let metrics = Metrics::new();
    let pool = metrics.pool("web");
    let mut period = Period::default();
    pool.record(&access(200, "served"));
    assert_eq!(told(&mut period, &metrics)[0]["Requests"], 1.0);
    for status in [200, 404] {
        pool.record(&access(status, "served"));
    }
    drop(pool);
    period.sample(&metrics);
    assert!(metrics.live().is_empty(), "it is shown no longer");
    let again = metrics.pool("web");
    again.record(&access(200, "served"));
    let both = told(&mut period, &metrics);
    let requests: Vec<_> = both.iter().map(|it| it["Requests"].as_f64().unwrap()).collect();
    assert_eq!(requests, [2.0, 1.0]);
    let dimensions = &both[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
    assert_eq!(*dimensions, json!([[]]), "there was one name");
    drop(again);
    assert_eq!(told(&mut period, &metrics)[0]["Requests"], 0.0);
    assert!(told(&mut period, &metrics).is_empty());
}

#[test]
fn requests_that_reach_no_pool_are_told_of_without_one() {
    let metrics = Metrics::new();
    let _pools = [metrics.pool("web"), metrics.pool("api")];
    let mut period = Period::default();
    assert_eq!(told(&mut period, &metrics).len(), 2, "there were none");
    for (status, reason) in [(404, "unknown_path"), (431, "bad_request"), (505, "bad_request")] {
        metrics.record(&access(status, reason));
    }
    let unrouted = &told(&mut period, &metrics)[2];
    assert_eq!(unrouted["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([[]]));
    assert_eq!(unrouted.get("Pool"), None);
    for (name, count) in [("Requests", 3.0), ("Requests4xx", 2.0), ("Requests5xx", 1.0)] {
        assert_eq!(unrouted[name], count, "{name}");
    }
    assert_eq!(unrouted.get("IncomingRequestDuration"), None);
    assert_eq!(told(&mut period, &metrics).len(), 2, "they are told of once");
}

#[test]
fn no_invoke_fails_while_others_return() {
    let metric = CLOUDWATCH_METRICS.iter().find(|metric| metric.name == "InvokesFailed").unwrap();
    let Of::Count(failed) = metric.of else { panic!("{metric:?} is a count") };
    let pool = Metrics::new().pool("web");
    pool.invokes_ended.add_many("crashed", 3);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                pool.invokes_ended.add("returned");
                pool.invokes_ended.add("throttled");
            }
        });
        // Caught, so that the other thread is told in any case.
        let all_the_time =
            std::panic::catch_unwind(AssertUnwindSafe(|| (0..100_000).all(|_| failed(&pool) == 3)));
        over.store(true, Relaxed);
        assert!(matches!(all_the_time, Ok(true)), "{all_the_time:?}");
    });
}

#[test]
fn a_hundred_values_are_spread_as_a_thousand_times_were() {
    let times = Distribution::default();
    for ms in 1..=1_000 {
        times.add(Duration::from_millis(ms));
    }
    let values = spread_of(&times);
    assert_eq!(values.len(), 100);
    assert!(values.is_sorted());
    for (place, value) in values.iter().enumerate() {
        let right = place as f64 * 10.0 + 5.0;
        assert!((value - right).abs() <= 1.0 + right / 100.0, "{value} for {right}");
    }
}

#[test]
fn mean_of_the_values_is_that_of_the_times_and_each_stays_in_its_bucket() {
    let ms = Duration::from_millis;
    for (all, places) in [
        (vec![ms(105); 1_000], 0..100),
        ([vec![ms(1); 900], vec![ms(240); 100]].concat(), 90..100),
        ([vec![ms(101); 800], vec![ms(9); 200]].concat(), 20..100),
    ] {
        let times = Distribution::default();
        all.iter().for_each(|time| times.add(*time));
        let values = spread_of(&times);
        let mean = values.iter().sum::<f64>() / 100.0;
        let expected = all.iter().sum::<Duration>().as_secs_f64() * 1e3 / all.len() as f64;
        assert!((mean / expected - 1.0).abs() < 0.001, "{mean} for {expected}");
        assert!(values.is_sorted());
        for (place, value) in values.iter().enumerate() {
            assert_eq!((100.0..=250.0).contains(value), places.contains(&place), "{values:?}");
        }
    }
}

#[test]
fn times_above_all_bounds_are_what_is_left_of_the_sum() {
    let values = spread([(1.0, 1), (120.0, 0), (f64::INFINITY, 1)].into_iter(), 0.0, 600.5);
    assert!((values[0] + values[1] - 600_500.0).abs() < 0.01, "{values:?}");
    assert!((500.0..=1_000.0).contains(&values[0]), "{values:?}");
    // Of a sum that was read before the last time was added to it.
    let early = spread([(1.0, 0), (f64::INFINITY, 1)].into_iter(), 0.0, 0.0);
    assert_eq!(early, [1_000.0]);
    assert!(spread([(1.0, 0)].into_iter(), 0.0, 0.0).is_empty());
}

fn spread_of(times: &Distribution) -> Vec<f64> {
    spread(times.buckets().into_iter(), 0.0, times.sum().as_secs_f64())
}
