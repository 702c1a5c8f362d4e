//! What is to be reached, and whether it is: one table, read by the report.

use crate::contender::Contender::{
    Direct, Nginx, NginxTwice, Ours, OursSlowed, OursTls, OursTwoSlowed, OursV1,
};
use crate::contender::INSTANCES;
use crate::plan::{SMALL_100, WORKERS};
use crate::results::{Results, Sample, Spread};

/// One line of what is to be reached.
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) wanted: Wanted,
    pub(crate) must: f64,
    pub(crate) goal: f64,
    /// What was reached, if it was measured.
    pub(crate) reached: fn(&Results) -> Option<Spread>,
}

/// Which side of a bound is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    AtLeast,
    AtMost,
}

/// How far it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Goal,
    Must,
    Missed,
    NotMeasured,
}

impl Target {
    pub(crate) fn verdict(&self, results: &Results) -> Verdict {
        let Some(reached) = (self.reached)(results) else { return Verdict::NotMeasured };
        let meets = |bound: f64| match self.wanted {
            Wanted::AtLeast => reached.median >= bound,
            Wanted::AtMost => reached.median <= bound,
        };
        match (meets(self.goal), meets(self.must)) {
            (true, _) => Verdict::Goal,
            (false, true) => Verdict::Must,
            (false, false) => Verdict::Missed,
        }
    }
}

impl Verdict {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Must => "must",
            Self::Missed => "MISSED",
            Self::NotMeasured => "not measured",
        }
    }
}

const fn at_most(
    what: &'static str,
    [must, goal]: [f64; 2],
    reached: fn(&Results) -> Option<Spread>,
) -> Target {
    Target { what, wanted: Wanted::AtMost, must, goal, reached }
}

const fn at_least(
    what: &'static str,
    [must, goal]: [f64; 2],
    reached: fn(&Results) -> Option<Spread>,
) -> Target {
    Target { what, wanted: Wanted::AtLeast, must, goal, reached }
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    at_most("CPU per small request ÷ two nginx, 100 connections", [0.80, 0.62], |it| {
        it.ratio(SMALL_100, [Ours, NginxTwice], Sample::cpu_us)
    }),
    at_most("the same with TLS on the inner link", [0.95, 0.75], |it| {
        it.ratio(SMALL_100, [OursTls, NginxTwice], Sample::cpu_us)
    }),
    at_most("CPU per small request ÷ two nginx, 10 connections", [0.90, 0.75], |it| {
        it.ratio("small, 10 connections", [Ours, NginxTwice], Sample::cpu_us)
    }),
    at_most("h2 clients, 10 x 10 streams: CPU ÷ one nginx", [0.90, 0.70], |it| {
        it.ratio("h2, 10 x 10 streams", [Ours, Nginx], Sample::cpu_us)
    }),
    at_least("throughput ÷ two nginx, 100 connections", [1.1, 1.4], |it| {
        it.ratio(SMALL_100, [Ours, NginxTwice], Sample::per_second)
    }),
    at_most("p99 ÷ two nginx in the same", [1.0, 1.0], |it| {
        it.ratio(SMALL_100, [Ours, NginxTwice], Sample::p99)
    }),
    at_least("throughput ÷ two nginx, 1,000 connections", [1.2, 1.4], |it| {
        it.ratio("small, 1,000 connections", [Ours, NginxTwice], Sample::per_second)
    }),
    at_most("p99.9 ÷ two nginx in the same", [0.5, 0.1], |it| {
        it.ratio("small, 1,000 connections", [Ours, NginxTwice], Sample::p999)
    }),
    at_most("CPU per MiB ÷ two nginx, 100 KiB bodies", [1.4, 1.0], |it| {
        it.ratio("100 KiB, 10 connections", [Ours, NginxTwice], Sample::cpu_us_per_mib)
    }),
    at_most("CPU per MiB ÷ two nginx, 10 MiB down", [1.4, 1.0], |it| {
        it.ratio("10 MiB down, 4 connections", [Ours, NginxTwice], Sample::cpu_us_per_mib)
    }),
    at_most("CPU per MiB ÷ two nginx, 10 MiB up", [1.4, 1.0], |it| {
        it.ratio("10 MiB up, 4 connections", [Ours, NginxTwice], Sample::cpu_us_per_mib)
    }),
    at_most("p50 added at one connection ÷ that of two nginx", [1.2, 0.9], added_at_one_connection),
    at_most("wire v1: extension's CPU per request ÷ the original's", [0.45, 0.30], |it| {
        original(it)
    }),
    at_most("extension parked: CPU ms per second", [0.1, 0.0], |it| it.fact(PARKED_CPU)),
    at_most("extension after load with 100 slots: MiB resident", [7.0, 5.0], |it| {
        it.fact(EXTENSION_RSS)
    }),
    at_most("extension: ms from exec to first poll", [8.0, 4.0], |it| it.fact(FIRST_POLL)),
    at_most("router: KiB per idle slot, of 1,000 instances x 10", [8.0, 2.0], |it| {
        it.fact(PER_SLOT)
    }),
    at_most("router with these: MiB resident", [250.0, 100.0], |it| it.fact(IDLE_RSS)),
    at_most("router: MiB more after ten minutes under load than after two", [0.5, 0.0], |it| {
        it.fact(GROWTH)
    }),
    at_most("decision in the model, 10 slots: ns", [250.0, 120.0], |it| it.fact(DECISION_10)),
    at_most("decision in the model, 100,000 slots: ns", [250.0, 120.0], |it| {
        it.fact(DECISION_100_000)
    }),
    at_least("throughput of two slowed worker threads ÷ one, 100 connections", [1.4, 1.8], |it| {
        it.ratio(WORKERS, [OursTwoSlowed, OursSlowed], Sample::per_second)
    }),
];

/// What a hop adds to the median of one client that waits for each answer.
fn added_at_one_connection(results: &Results) -> Option<Spread> {
    let load = "small, 1 connection";
    let p50 = |who, round| {
        results.of(load, who).find(|sample| sample.round == round).and_then(Sample::p50)
    };
    let ratios = results.of(load, Ours).filter_map(|sample| {
        let direct = p50(Direct, sample.round)?;
        let theirs = p50(NginxTwice, sample.round)? - direct;
        (theirs > 0.0).then_some((sample.p50()? - direct) / theirs)
    });
    Spread::of(ratios.collect())
}

/// The original was measured elsewhere, beside two nginx: compared by way of these.
fn original(results: &Results) -> Option<Spread> {
    let load = "wire v1, 100 connections";
    let ratios = results.of(load, OursV1).filter_map(|sample| {
        let part = sample.parts.iter().find(|part| part.name == INSTANCES)?;
        let theirs = results.of(load, NginxTwice).find(|other| other.round == sample.round)?;
        Some(sample.of_part(part).cpu_us()? / theirs.cpu_us()? / ORIGINAL_TO_TWO_NGINX)
    });
    Spread::of(ratios.collect())
}

/// 47.2 µs a request where two nginx took 41.4.
const ORIGINAL_TO_TWO_NGINX: f64 = 47.2 / 41.4;

/// Names of facts.
pub(crate) const PARKED_CPU: &str = "extension parked: CPU per second";
pub(crate) const EXTENSION_RSS: &str = "extension after load with 100 slots: resident";
pub(crate) const FIRST_POLL: &str = "extension: exec to first poll";
pub(crate) const PER_SLOT: &str = "router: memory per idle slot";
pub(crate) const IDLE_RSS: &str = "router with 1,000 instances x 10 slots: resident";
pub(crate) const GROWTH: &str = "router: growth from 2 to 10 minutes under load";
pub(crate) const DECISION_10: &str = "decision in the model, 10 slots";
pub(crate) const DECISION_100_000: &str = "decision in the model, 100,000 slots";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::results::Fact;

    #[test]
    fn a_target_is_reached_on_its_good_side_only() {
        let verdict = |value| {
            let facts = vec![Fact { name: IDLE_RSS, value, unit: "MiB" }];
            let (samples, skipped) = (Vec::new(), Vec::new());
            let results = Results { machine: Machine::this(), samples, facts, skipped };
            let target = TARGETS.iter().find(|it| it.what.starts_with("router with these"));
            target.unwrap().verdict(&results)
        };
        assert_eq!(verdict(100.0), Verdict::Goal);
        assert_eq!(verdict(100.1), Verdict::Must);
        assert_eq!(verdict(250.1), Verdict::Missed);
    }
}
