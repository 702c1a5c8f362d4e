//! A plan from a seed. Each seed draws its own world: settings, sizes, speeds, and which kinds of
//! fault there are at all (about half of them not), each at a rate of its own. So some worlds are
//! full of crashes and others never see one, and what hides in the shade of a common fault is found
//! where that fault is missing (Groce and others, *Swarm testing*, 2012).
//!
//! A run has two phases. In the first anything may happen to anybody, and only safety is asked for.
//! Then everything heals; after the longest time that the router may keep away from a function
//! that failed, all is *calm*, and what arrives then must be served promptly.

use std::time::Duration;

use dispatch_model::{Budget, Prng};

use crate::fault::{Fault, FaultKind, ZONES};
use crate::plan::{Extension, KEPT_AWAY, Lambda, MatchingName, Network, Plan, Pool, ScalingName};
use crate::traffic::Traffic;

/// The plan of `seed`, with the kinds of fault that `may` be in it, and with the second phase or
/// without.
#[must_use]
pub fn plan(seed: u64, calm: bool, may: impl Fn(FaultKind) -> bool) -> Plan {
    let mut draw = Draw(Prng::new(seed ^ SWARM));
    let lambda = Lambda {
        concurrency: draw.of(&[1_000, 1_000, 20, 5, 2]),
        placing: draw.ms(0, 500),
        init: draw.ms(10, 4_000),
        function_timeout: draw.of(&[900, 900, 60, 20, 5].map(Duration::from_secs)),
        idle_timeout: draw.of(&[420, 60, 5].map(Duration::from_secs)),
        ramp: draw.of(&[1_000, 1_000, 10]),
        memory_mb: 1_024,
    };
    let span = draw.ms(500, 20_000);
    let service = draw.of(&[1, 5, 50, 200, 1_000].map(Duration::from_millis));
    let instances_max = draw.of(&[1, 2, 3, 10, 100]);
    let mut pool = Pool {
        cold_start: draw.one_in(2).then_some(lambda.placing + lambda.init),
        instances_max,
        instances_min: if draw.one_in(4) { draw.of(&[1, 2]).min(instances_max) } else { 0 },
        invokes_burst: draw.of(&[1_000, 1_000, 10, 1]),
        invokes_per_second: draw.of(&[100, 100, 5, 1]),
        linger: draw.ms(0, 3_000),
        matching: draw.of(&[MatchingName::LeastOutstanding, MatchingName::Pack]),
        ping_interval: draw.ms(500, 5_000),
        ping_timeout: draw.ms(500, 5_000),
        placement_margin: draw.ms(0, 15_000),
        queue_len_max: draw.of(&[10_000, 0, 100, 5]),
        queue_timeout: draw.of(&[120, 30, 10, 2].map(Duration::from_secs)),
        redispatch_max: draw.of(&[2, 2, 1, 5]),
        retry_repeatable: draw.one_in(2),
        scaling: draw.of(&[
            ScalingName::Rule,
            ScalingName::Rule,
            ScalingName::Simple,
            ScalingName::Ewma,
        ]),
        slots: draw.of(&[1, 2, 5, 10, 10, 50]),
        start_timeout: draw.of(&[30, 30, 15].map(Duration::from_secs)),
        starts_unproven_max: draw.of(&[10, 10, 1]),
        ..Pool::default()
    };
    let extension = Extension {
        async_init: draw.one_in(4),
        linger: draw.one_in(4).then(|| draw.ms(100, 3_000)),
        lead: draw.ms(500, 15_000),
        ..Extension::default()
    };
    let network = match draw.below(3) {
        0 => Network::default(),
        1 => Network { delay_min: draw.ms(1, 5), delay_max: draw.ms(1, 5) },
        _ => Network { delay_min: Duration::ZERO, delay_max: draw.ms(1, 100) },
    };
    let mut traffic = safety_traffic(&mut draw, span, service);
    let fault = faults(&mut draw, span, may);
    for stream in &mut traffic {
        stream.hold = Duration::from_millis(draw.of(&[0, 0, 0, 0, 300, 3_000]));
    }
    let bounded = draw.one_in(4);
    if bounded {
        pool.budget = draw.one_in(2).then(|| budget(&mut draw));
        pool.queue_bytes_max = draw.of(&[64 << 20, 20_000, 2_000, 0]);
    }
    let mut plan = Plan { seed, pool, extension, lambda, network, fault, ..Plan::default() };
    // Who may be refused for money or for memory is promised nothing.
    if calm && !bounded {
        traffic.extend(liveness_traffic(&mut plan, span));
    }
    plan.traffic = traffic;
    plan
}

/// What comes while everything may go wrong.
fn safety_traffic(draw: &mut Draw, span: Duration, service: Duration) -> Vec<Traffic> {
    let streams = 1 + draw.below(3);
    let stream = |draw: &mut Draw| Traffic {
        at: draw.ms(0, 2_000).min(span),
        span: if draw.one_in(3) { Duration::ZERO } else { span },
        random: draw.one_in(2),
        requests: draw.of(&[1, 10, 30, 100, 200]),
        service,
        varied: draw.one_in(2),
        patience: draw.one_in(4).then(|| draw.ms(10, 5_000)),
        upload: draw.of(&[0, 0, 100, 100_000]),
        hold: Duration::ZERO,
        download: draw.of(&[0, 100, 100_000]),
    };
    (0..streams)
        .map(|_| stream(draw))
        .map(|stream| Traffic { random: stream.random && !stream.span.is_zero(), ..stream })
        .collect()
}

/// What comes after: somebody each second, so that a router that keeps away finds out that all is
/// well again; nobody for a while, so that instances from before leave; two for whom a new one must
/// start; and then what must be served.
fn liveness_traffic(plan: &mut Plan, span: Duration) -> [Traffic; 3] {
    let healed = plan.healed().max(span);
    let calm = healed + KEPT_AWAY;
    plan.calm = Some(calm);
    let service = Duration::from_millis(50);
    let each_second = KEPT_AWAY - Duration::from_secs(20);
    let pathfinders = u32::try_from(each_second.as_secs()).expect("few");
    let two = Duration::from_secs(10);
    [
        Traffic { span: each_second, ..Traffic::burst(pathfinders, healed, service) },
        Traffic { span: two, ..Traffic::burst(2, calm - two, service) },
        match plan.pool.queue_len_max {
            // Who may not wait comes again each second, until an instance is there.
            0 => Traffic { span: 2 * two, ..Traffic::burst(20, calm, service) },
            most => Traffic::burst((most / 2).clamp(1, 20), calm, service),
        },
    ]
}

/// Money for this many seconds of one instance an hour, all of which may be spent at once. An hour
/// has 3,600: with fewer the rate pays for nobody who stays.
fn budget(draw: &mut Draw) -> Budget {
    let seconds = draw.of(&[1, 10, 100, 3_600, 10_800]);
    Budget { microdollars_per_hour: 20 * seconds, picodollars_per_instance_second: 20_000_000 }
}

fn faults(draw: &mut Draw, span: Duration, may: impl Fn(FaultKind) -> bool) -> Vec<Fault> {
    // A quarter of all worlds is well: what breaks there is broken indeed.
    if draw.one_in(4) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for kind in FaultKind::ALL.into_iter().filter(|kind| may(*kind)) {
        // Drawn for every kind, so that a world without one is else the same world.
        let (on, often) = (draw.one_in(2), draw.of(&[1, 1, 1, 2, 4]));
        for _ in 0..if on { often } else { 0 } {
            faults.push(Fault {
                kind,
                at: Duration::from_nanos(draw.below(nanos(span))),
                span: draw.of(&[10, 100, 1_000, 3_000, 12_000].map(Duration::from_millis)),
                whom: u32::try_from(draw.below(u64::from(ZONES) * 10)).expect("few"),
                size: size(draw, kind),
            });
        }
    }
    faults
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most kinds have no size")]
fn size(draw: &mut Draw, kind: FaultKind) -> u32 {
    match kind {
        FaultKind::Burst | FaultKind::CancelQueued | FaultKind::CancelRunning => {
            draw.of(&[1, 3, 30, 100])
        }
        FaultKind::AppSlow => draw.of(&[2, 5]),
        FaultKind::ColdTail => draw.of(&[2, 5, 20]),
        FaultKind::ClockStep => draw.of(&[1, 10, 100, 4_000]),
        FaultKind::ConnectSlow | FaultKind::SlowReader | FaultKind::SlowUpload => {
            draw.of(&[10, 300, 3_000])
        }
        FaultKind::Limits | FaultKind::Slots => draw.of(&[0, 1, 3, 20]),
        _ => 0,
    }
}

struct Draw(Prng);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, among: &[T]) -> T {
        let index = self.below(among.len() as u64);
        among[usize::try_from(index).expect("an index")]
    }

    /// A span from `least` to `most` milliseconds.
    fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

fn nanos(span: Duration) -> u64 {
    dispatch_model::time::nanos(span)
}

/// Keeps the draw apart from the run.
const SWARM: u64 = 0x7377_6172_6d5f_5f5f;
