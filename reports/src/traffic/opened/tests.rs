use super::*;
use crate::{Progress, Spread, Traffic};

fn opened(toml: &str) -> Opened {
    let traffic: Traffic = toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
    let service: Service = toml::from_str(
        "time = { kind = 'exponential', mean = '50ms' }
        cpu = 0.5",
    )
    .unwrap();
    traffic.open(&service, std::path::Path::new("."), &Progress::default()).unwrap()
}

fn arrivals(mut stream: Stream) -> Vec<Arrival> {
    std::iter::from_fn(|| {
        let at = stream.next_at();
        let next = stream.next();
        assert_eq!(at, next.map(|arrival| arrival.at));
        next
    })
    .collect()
}

/// Each kind, and how many requests it has in the mean.
const EACH: [(&str, f64); 8] = [
    ("kind = 'poisson'\nrate = 100\nfor = '100s'", 10_000.0),
    ("kind = 'steady'\nrate = 100\nfor = '100s'", 10_000.0),
    ("kind = 'on-off'\nrate_on = 400\non = '50ms'\noff = '150ms'\nfor = '100s'", 10_000.0),
    (
        "kind = 'diurnal'\nrate = 100\nratio = 4\nperiod = '50s'\npeak_at = '9s'\nfor = '100s'",
        10_000.0,
    ),
    (
        "kind = 'flash-crowd'\nbase = 50\npeak = 250\nat = '10s'\nrise = '20s'\nfall = '30s'\n\
      for = '100s'",
        10_000.0,
    ),
    ("kind = 'steps'\nsteps = [{ for = '50s', rate = 50 }, { for = '50s', rate = 150 }]", 10_000.0),
    ("kind = 'burst'\nrequests = 10000\nat = '1s'\nfor = '100s'", 10_000.0),
    ("kind = 'poisson'\nrate = 50\nscale = 2\nfor = '100s'", 10_000.0),
];

#[test]
fn each_kind_has_its_mean_and_comes_in_order_within_its_span() {
    for (toml, expected) in EACH {
        let opened = opened(toml);
        let arrivals = arrivals(opened.stream(7));
        let ratio = float(arrivals.len() as u64) / expected;
        assert!((0.95..1.05).contains(&ratio), "{toml}: {}", arrivals.len());
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at), "{toml}");
        assert!(arrivals.iter().all(|arrival| arrival.at < Time::ZERO + opened.span()), "{toml}");
        let mean = arrivals.iter().map(|arrival| arrival.service).sum::<Duration>() / 10_000;
        assert!((45..55).contains(&mean.as_millis()), "{toml}: {mean:?}");
        let is_half =
            |arrival: &Arrival| (arrival.service / 2).abs_diff(arrival.cpu).as_nanos() < 2;
        assert!(arrivals.iter().all(is_half), "{toml}");
    }
}

#[test]
fn same_seed_gives_the_same_arrivals_and_another_others() {
    for (toml, _) in EACH {
        let opened = opened(toml);
        let one = arrivals(opened.stream(7));
        assert_eq!(one, arrivals(opened.clone().stream(7)), "{toml}");
        assert_ne!(one, arrivals(opened.stream(8)), "{toml}");
    }
}

#[test]
fn first_arrivals_of_a_seed_never_change() {
    let first: Vec<_> = arrivals(opened(EACH[0].0).stream(7))
        .into_iter()
        .take(3)
        .map(|arrival| (arrival.at.as_nanos(), nanos(arrival.service)))
        .collect();
    let expected = [(22_534_607, 36_221_011), (32_113_684, 10_916_842), (41_063_979, 51_208_681)];
    assert_eq!(first, expected);
}

#[test]
fn scaled_traffic_is_more_of_the_same() {
    for (toml, _) in EACH {
        let opened = opened(toml);
        let ratio = |scale: f64| {
            let all = arrivals(opened.scaled(scale).stream(7)).len();
            float(all as u64) / float(arrivals(opened.stream(7)).len() as u64)
        };
        assert!((2.9..3.1).contains(&ratio(3.0)), "{toml}");
        assert!((0.45..0.55).contains(&ratio(0.5)), "{toml}");
    }
}

#[test]
fn closed_loop_has_exactly_as_many_on_their_way_as_there_are_clients() {
    let opened = opened("kind = 'closed-loop'\nclients = 5\nscale = 2\nfor = '10s'");
    let mut stream = opened.stream(7);
    let mut ends = std::collections::BTreeSet::new();
    let mut served = 0;
    loop {
        while let Some(arrival) = stream.next() {
            let end = arrival.at + arrival.service;
            assert!(ends.insert((end, arrival.at, served, ends.len())));
        }
        let Some((now, sent, _, _)) = ends.pop_first() else { break };
        if now < Time::ZERO + opened.span() {
            assert_eq!(ends.len() + 1, 10, "at {now}");
        }
        served += 1;
        stream.ended(now, sent);
    }
    // Ten clients, each with a request of 50 ms after the other.
    assert!((1_900..2_100).contains(&served), "{served}");
}

#[test]
fn chance_of_arrivals_and_of_services_are_apart() {
    let traffic: Traffic = toml::from_str(EACH[0].0).unwrap();
    let at = |time: Spread| -> Vec<Time> {
        let (service, here) = (Service::new(time), std::path::Path::new("."));
        let opened = traffic.open(&service, here, &Progress::default()).unwrap();
        arrivals(opened.stream(7)).iter().map(|arrival| arrival.at).collect()
    };
    let second = Duration::from_secs(1);
    assert_eq!(at(Spread::fixed(second)), at(Spread::exponential(second)));
}

#[test]
fn traffic_is_told_in_words() {
    for (toml, about) in [
        ("kind = 'poisson'\nrate = 125\nscale = 2\nfor = '60m'", "Poisson, 250/s for 1h"),
        (
            "kind = 'burst'\nrequests = 100\nfor = '90s'",
            "100 requests at once after 0s, seen for \
         1m30s",
        ),
        (
            "kind = 'closed-loop'\nclients = 50\nthink = '1s'\nfor = '2m'",
            "50 clients that wait for their answers (thinking: 1s), 2m",
        ),
    ] {
        assert_eq!(opened(toml).about(), about);
    }
}

#[test]
fn nonsense_is_refused_with_what_is_allowed() {
    for (toml, what) in [
        ("kind = 'poisson'\nrate = 100", "`for` says how long"),
        ("kind = 'poisson'\nrate = -1\nfor = '1s'", "`rate` is -1, must be from 0"),
        ("kind = 'poisson'\nrate = nan\nfor = '1s'", "`rate` is NaN"),
        ("kind = 'poisson'\nrate = 1\nfor = '0s'", "`for` is 0s"),
        ("kind = 'poisson'\nrate = 1\nfor = '1s'\nrat = 2", "rat"),
        ("kind = 'poisson'\nrate = 1\nfor = '1s'\nscale = 0", "`scale` is 0"),
        ("kind = 'poison'\nrate = 1\nfor = '1s'", "flash-crowd"),
        ("kind = 'burst'\nrequests = 1\nat = '1s'\nfor = '1s'", "before the end"),
        ("kind = 'on-off'\nrate_on = 1\non = '1s'\noff = '0s'\nfor = '1s'", "`off` is 0s"),
        ("kind = 'diurnal'\nrate = 1\nratio = 0.5\npeak_at = '1h'\nfor = '1h'", "at least 1"),
        ("kind = 'alb'", "files"),
        ("kind = 'alb'\nfiles = ['a']\nfor = '0s'", "`for` is 0s"),
    ] {
        let error = toml::from_str::<Traffic>(toml).expect_err(toml).to_string();
        assert!(error.contains(what), "{toml}: {error}");
    }
}

#[test]
fn rates_of_zero_and_endless_pieces_come_to_an_end() {
    for toml in [
        "kind = 'poisson'\nrate = 0\nfor = '1s'",
        "kind = 'diurnal'\nrate = 0\nratio = 2\npeak_at = '0s'\nfor = '72h'",
        "kind = 'on-off'\nrate_on = 0\non = '1ms'\noff = '1ms'\nfor = '1s'",
        "kind = 'steady'\nrate = 0\nfor = '1s'",
        "kind = 'flash-crowd'\nbase = 0\npeak = 0\nat = '0s'\nrise = '0s'\nfall = '0s'\nfor = '1s'",
    ] {
        assert_eq!(arrivals(opened(toml).stream(7)).len(), 0, "{toml}");
    }
}
