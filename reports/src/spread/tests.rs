use super::*;

fn spread(toml: &str) -> Spread {
    #[derive(Deserialize)]
    struct Plan {
        time: Spread,
    }
    toml::from_str::<Plan>(&format!("time = {toml}")).map(|plan| plan.time).unwrap()
}

fn refused(toml: &str) -> String {
    toml::from_str::<std::collections::BTreeMap<String, Spread>>(&format!("time = {toml}"))
        .expect_err(toml)
        .to_string()
}

const EACH: [&str; 6] = [
    r#""80ms""#,
    r#"{ kind = "exponential", mean = "80ms" }"#,
    r#"{ kind = "log-normal", median = "40ms", p99 = "400ms" }"#,
    r#"{ kind = "pareto", least = "20ms", p99 = "200ms" }"#,
    r#"{ kind = "empirical", values = ["10ms", "12ms", "95ms"] }"#,
    r#"{ kind = "empirical", values = ["95ms"] }"#,
];

#[test]
fn draws_have_the_mean_that_is_told() {
    for toml in EACH {
        let spread = spread(toml);
        let mut chance = Prng::new(7);
        let draws = 100_000;
        let sum: Duration = (0..draws).map(|_| spread.draw(&mut chance)).sum();
        let ratio = (sum / draws).as_secs_f64() / spread.mean().as_secs_f64();
        assert!((0.98..1.02).contains(&ratio), "{spread}: {ratio}");
    }
}

#[test]
fn shares_of_draws_do_not_exceed_their_quantiles() {
    for toml in EACH {
        let spread = spread(toml);
        let mut chance = Prng::new(8);
        let draws: Vec<_> = (0..50_000).map(|_| spread.draw(&mut chance)).collect();
        for share in [0.1, 0.5, 0.9, 0.99] {
            let limit = spread.quantile(share);
            let within = draws.iter().filter(|draw| **draw <= limit).count();
            let within = float(within as u64) / 50_000.0;
            assert!(within >= share - 0.01, "{spread}: {within} do not exceed p{share}");
        }
    }
}

#[test]
fn median_and_p99_are_those_of_the_plan() {
    let near = |spread: &Spread, share, ms: u64| {
        let ratio = spread.quantile(share).as_secs_f64() / Duration::from_millis(ms).as_secs_f64();
        assert!((ratio - 1.0).abs() < 1e-6, "{spread} at {share}: {ratio}");
    };
    let log_normal = spread(EACH[2]);
    near(&log_normal, 0.5, 40);
    near(&log_normal, 0.99, 400);
    let pareto = spread(EACH[3]);
    near(&pareto, 0.0, 20);
    near(&pareto, 0.99, 200);
}

#[test]
fn percentiles_are_joined_by_straight_lines() {
    let spread = Spread::percentiles(vec![(0.0, 10.0), (0.5, 20.0), (1.0, 120.0)]);
    let at = |share| nanos(spread.quantile(share));
    assert_eq!([at(0.0), at(0.25), at(0.5), at(0.75), at(1.0)], [10, 15, 20, 70, 120]);
    assert_eq!(spread.mean(), Duration::from_nanos(43));
}

#[test]
fn empirical_times_come_from_a_file_beside_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("times.csv"), "10ms\n\n30ms\n").unwrap();
    let mut read = spread(r#"{ kind = "empirical", file = "times.csv" }"#);
    read.read(folder.path()).unwrap();
    assert_eq!(read.mean(), Duration::from_millis(20));

    std::fs::write(folder.path().join("times.csv"), "10ms\n30\n").unwrap();
    let error = spread(r#"{ kind = "empirical", file = "times.csv" }"#)
        .read(folder.path())
        .expect_err("30 has no unit")
        .to_string();
    assert!(error.contains("times.csv:2: `30` is no span"), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_does() {
    for (toml, what) in [
        ("80", "a span such as \"80ms\""),
        (r#""80""#, "ns, us, ms, s, m or h"),
        (r#"{ kind = "normal" }"#, "log-normal"),
        (r#"{ kind = "exponential", median = "1s" }"#, "median"),
        (r#"{ kind = "log-normal", median = "1s", p99 = "10ms" }"#, "p99 not below it"),
        (r#"{ kind = "pareto", least = "10ms", p99 = "1s" }"#, "has no mean"),
        (r#"{ kind = "empirical" }"#, "either `values`"),
    ] {
        let error = refused(toml);
        assert!(error.contains(what), "{toml}: {error}");
    }
}
