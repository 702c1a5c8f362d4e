//! A report as a real one would be, without an engine: a shop that sells out at noon. Numbers
//! follow from formulas, so that pictures have the shapes that they will have.

use std::time::Duration;

use reports::Dollars;
use reports::report::{
    Arrived, Bar, Changed, Cost, Estimate, Kind, Measured, Method, Nine, Quantiles, Report, Theory,
    Timeline, Tried,
};

const SPANS: u32 = 240;
const BUCKET: Duration = Duration::from_secs(15);

/// What makes one alternative of the fixture differ from another.
struct Way {
    name: &'static str,
    kind: Kind,
    settings: &'static [(&'static str, &'static str)],
    /// Share of requests that wait for a cold start.
    cold: f64,
    /// Requests that an instance serves at once.
    slots: f64,
    /// Instances that are there whatever comes.
    floor: f64,
    costs: &'static [(&'static str, u64)],
}

const WAYS: [Way; 5] = [
    Way {
        name: "lambda-dispatch, 10 slots",
        kind: Kind::Dispatch,
        settings: &[
            ("slots", "10"),
            ("memory", "1,769 MB"),
            ("scaler", "danger"),
            ("linger", "60 s"),
            ("router", "2 × 1 vCPU, 2 GB"),
        ],
        cold: 0.000_6,
        slots: 10.0,
        floor: 2.0,
        costs: &[
            ("Lambda duration", 412),
            ("Lambda requests", 1),
            ("router", 58),
            ("load balancer", 47),
        ],
    },
    Way {
        name: "plain Lambda",
        kind: Kind::Lambda,
        settings: &[("memory", "1,769 MB"), ("idle environments live", "7 min")],
        cold: 0.031,
        slots: 1.0,
        floor: 0.0,
        costs: &[("Lambda duration", 1_873), ("Lambda requests", 129), ("load balancer", 47)],
    },
    Way {
        name: "provisioned concurrency, 60 kept warm",
        kind: Kind::Provisioned,
        settings: &[("memory", "1,769 MB"), ("provisioned", "60, by schedule")],
        cold: 0.008,
        slots: 1.0,
        floor: 60.0,
        costs: &[
            ("Lambda duration", 1_092),
            ("provisioned concurrency", 643),
            ("Lambda requests", 129),
            ("load balancer", 47),
        ],
    },
    Way {
        name: "Managed Instances",
        kind: Kind::Managed,
        settings: &[("instance", "m8g.xlarge"), ("concurrency", "64 per environment")],
        cold: 0.002,
        slots: 32.0,
        floor: 3.0,
        costs: &[("EC2 instances", 393), ("management fee, 15 %", 59), ("Lambda requests", 129)],
    },
    Way {
        name: "containers",
        kind: Kind::Containers,
        settings: &[("tasks", "12 × 1 vCPU, 2 GB")],
        cold: 0.0,
        slots: 8.0,
        floor: 12.0,
        costs: &[("Fargate", 427), ("load balancer", 47)],
    },
];

/// The report of the shop.
pub(crate) fn report() -> Report {
    Report {
        title: "A spiky shop: 250 requests a second, and a sale at noon".to_owned(),
        verdict: "Take lambda-dispatch with 10 slots: at $518 a month 99 in 100 requests are done \
                  within 312 ms; plain Lambda costs four times as much and makes 3.1 % of them \
                  wait 8 s."
            .to_owned(),
        findings: vec![
            "Containers are cheaper by $44 a month, but in the sale their queue takes 40 s to \
             clear."
                .to_owned(),
            "Plain Lambda would be the cheaper one below 14 requests a second.".to_owned(),
            "Two in three dollars pay for Lambda's time; the router is 11 % of the bill."
                .to_owned(),
        ],
        traffic: Arrived {
            about: "Flash crowd over Poisson: 250/s for 1 h, four times that at noon".to_owned(),
            requests: 1_248_731,
            span: BUCKET * SPANS,
            rate_mean: 346.9,
            rate_peak: 1_093.0,
            service_mean: Duration::from_millis(100),
            service_p99: Duration::from_millis(290),
            cold_start: Duration::from_millis(8_040),
            bad_lines: 17,
        },
        alternatives: WAYS.iter().enumerate().map(|(index, way)| measured(index, way)).collect(),
        sensitivity: sensitivity(),
        tried: tried(),
        method: Method {
            seed: 20_261_101,
            seeds: 5,
            digest: "b3a1f7c9d2e84516907fa4c3de5b8812".to_owned(),
            version: "lambda-dispatch 0.1.0 (3327d94)".to_owned(),
            prices: "us-east-1, 2026-11-01, from AWS's price lists".to_owned(),
            command: "lambda-dispatch report examples/spiky-shop.toml --out spiky-shop".to_owned(),
            assumptions: vec![
                "A request keeps one slot busy from its first to its last byte.".to_owned(),
                "Idle environments of Lambda live for 7 min.".to_owned(),
                "A month has 730 h, and every hour is like this one.".to_owned(),
            ],
        },
    }
}

fn measured(index: usize, way: &Way) -> Measured {
    let costs = way.costs.iter().map(|(what, month)| Cost {
        what: (*what).to_owned(),
        is_fixed: false,
        month: dollars(*month),
    });
    let month = way.costs.iter().map(|(_, month)| dollars(*month)).sum();
    let total = quantiles(way, 0.1);
    Measured {
        name: way.name.to_owned(),
        kind: way.kind,
        settings: way.settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        wait: quantiles(way, 0.0),
        total,
        wait_of_all: quantiles(way, 0.0),
        total_of_all: total,
        cold: about(way.cold, 0.04),
        refused: about(if way.kind == Kind::Lambda { 0.000_8 } else { 0.0 }, 0.2),
        throttled: about(if way.kind == Kind::Lambda { 0.000_8 } else { 0.0 }, 0.2),
        instances_mean: about(way.floor + 40.0 / way.slots, 0.01),
        instances_peak: about(way.floor + 180.0 / way.slots, 0.03),
        utilisation: about(0.45 + 0.02 * way.slots.min(10.0), 0.02),
        requests_month: 911_573_630.0,
        gb_seconds_month: if way.slots < 30.0 { 24_712_345.6 } else { 0.0 },
        invokes_month: if way.slots > 1.0 { 48_120.0 } else { 647_000_000.0 },
        costs: costs.collect(),
        month,
        per_million: Dollars::from_picodollars(month.picodollars() / 911),
        is_best: index == 0,
        nines: nines(way),
        timeline: timeline(way),
        gantt: gantt(way),
        theory: (way.kind == Kind::Containers).then(|| Theory {
            formula: "Erlang C, M/M/96".to_owned(),
            wait: 0.004_31,
            simulated: 0.004_33,
        }),
    }
}

fn dollars(whole: u64) -> Dollars {
    Dollars::from_picodollars(whole * 1_000_000_000_000 + 420_000_000_000)
}

fn about(mean: f64, off: f64) -> Estimate {
    Estimate { mean, low: mean * (1.0 - off), high: mean * (1.0 + off) }
}

/// What a share of the requests wait: little, unless they are among those that pay a cold start.
fn wait(way: &Way, share: f64) -> f64 {
    let rest = 1.0 - share;
    let queue = 0.004 * (1.0 / rest.max(1e-6)).ln();
    if rest < way.cold { 8.04 * (1.0 - 0.4 * rest / way.cold) + queue } else { queue }
}

/// What they wait and are served for.
fn latency(way: &Way, share: f64) -> f64 {
    let base = 0.02 + 0.002 * way.slots.min(12.0);
    wait(way, share) + base + 0.045 * (1.0 / (1.0 - share).max(1e-6)).ln()
}

fn quantiles(way: &Way, service: f64) -> Quantiles {
    let at =
        |share| about(if service > 0.0 { latency(way, share) } else { wait(way, share) }, 0.03);
    Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(0.999_999_9) }
}

/// 24 points for each nine.
fn nines(way: &Way) -> Vec<Nine> {
    (0..120_u32)
        .map(|n| {
            let share = 1.0 - 10_f64.powf(-f64::from(n) / 24.0);
            let spans = (latency(way, share), wait(way, share));
            let (total, wait) =
                (Duration::from_secs_f64(spans.0), Duration::from_secs_f64(spans.1));
            Nine { share, total, wait }
        })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers, none below zero"
)]
fn timeline(way: &Way) -> Timeline {
    let mut timeline = Timeline { bucket: BUCKET, ..Timeline::default() };
    let mut have = way.floor;
    for n in 0..SPANS {
        let at = f64::from(n);
        let crowd = if n >= 120 { 3.4 * (-(at - 120.0) / 30.0).exp() } else { 0.0 };
        let wave = 1.0 + 0.15 * (at / 9.0).sin() + 0.05 * (at * 1.7).sin();
        let rate = 250.0 * (wave + crowd);
        let wanted = (rate * 0.1 / way.slots * 1.3).max(way.floor);
        let starting = if way.kind == Kind::Containers { 0.0 } else { (wanted - have).max(0.0) };
        let draining = (have - wanted).max(0.0) * 0.3;
        have += starting * 0.35 - draining;
        let load = rate * 0.1 / (have * way.slots);
        let queued = if load > 1.0 { (load - 1.0) * rate * 20.0 } else { 0.0 };
        timeline.arrivals.push((rate * BUCKET.as_secs_f64()) as u32);
        timeline.queued.push(queued as u32);
        timeline.starting.push(starting as f32);
        timeline.ready.push(have as f32);
        timeline.draining.push(draining as f32);
        let decides = way.kind == Kind::Dispatch;
        timeline.desired.push(if decides { wanted.ceil() as u32 } else { 0 });
        let danger = queued / (have * way.slots) * 0.1 / 8.04;
        timeline.danger.push(if decides { danger as f32 } else { 0.0 });
    }
    timeline
}

fn gantt(way: &Way) -> Vec<Bar> {
    if way.kind == Kind::Containers {
        return Vec::new();
    }
    (0..60_u32)
        .map(|n| {
            let start = Duration::from_millis(u64::from(n) * 90 * u64::from(n % 7 + 1) / 4);
            let ready = start + Duration::from_millis(7_600 + u64::from(n * 37 % 900));
            let end = ready + Duration::from_millis(9_000 + u64::from(n * 613 % 14_000));
            Bar { instance: n + 1, start, ready, end, served: 40 + n * 17 % 90 }
        })
        .collect()
}

fn sensitivity() -> Vec<Changed> {
    let changed = |what: &str, factor, wait_p99, cold, month| Changed {
        what: what.to_owned(),
        factor,
        wait_p99,
        cold,
        month: dollars(month),
    };
    vec![
        changed("nothing", 1.0, 0.018, 0.000_6, 519),
        changed("t", 0.8, 0.012, 0.000_2, 433),
        changed("t", 1.2, 0.041, 0.001_9, 604),
        changed("T", 0.8, 0.017, 0.000_4, 515),
        changed("T", 1.2, 0.021, 0.000_9, 522),
        changed("slots", 0.8, 0.016, 0.000_5, 611),
        changed("slots", 1.2, 0.052, 0.004_1, 447),
    ]
}

fn tried() -> Vec<Tried> {
    let mut tried: Vec<Tried> = (0..40_u32)
        .map(|n| {
            let slots = 4 + n % 8 * 2;
            let (kind, name) = match n % 5 {
                0 => (Kind::Containers, format!("containers, {} tasks", 6 + n / 2)),
                1 => (Kind::Provisioned, format!("provisioned, {} kept warm", n * 3)),
                _ => (Kind::Dispatch, format!("{slots} slots, linger {} s", 15 + n / 8 * 15)),
            };
            let month = 330 + n * 7_919 % 1_000 * 8 / 5;
            let base = f64::from(month);
            let total_p99 = 0.24 + 2.5e5 / (base * base) * (0.8 + f64::from(n % 9) * 0.5);
            Tried {
                name,
                kind,
                total_p99,
                month: dollars(month.into()),
                is_best_for_its_price: false,
            }
        })
        .collect();
    tried.extend(WAYS.iter().enumerate().map(|(index, way)| {
        let measured = measured(index, way);
        Tried {
            name: measured.name,
            kind: measured.kind,
            total_p99: measured.total.p99.mean,
            month: measured.month,
            is_best_for_its_price: false,
        }
    }));
    tried.sort_by_key(|tried| tried.month);
    let mut best = f64::INFINITY;
    for tried in &mut tried {
        tried.is_best_for_its_price = tried.total_p99 < best;
        best = best.min(tried.total_p99);
    }
    tried
}
