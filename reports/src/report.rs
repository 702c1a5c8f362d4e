//! What a report says: plain data, filled once, from which the page, the terminal's summary, the
//! JSON and the CSV files are written. Durations are whole nanoseconds, money is picodollars,
//! shares are from 0 to 1. How JSON writes them: see `SCHEMA.md`.

use std::time::Duration;

use serde::Serialize;

use crate::money::Dollars;

/// One report: the same traffic, served in several ways.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What it is about, in a few words.
    pub title: String,
    /// The answer in one sentence.
    pub verdict: String,
    /// What else follows from the numbers, a sentence each.
    pub findings: Vec<String>,
    /// What came.
    pub traffic: Arrived,
    /// Who could serve it, in the plan's order.
    pub alternatives: Vec<Measured>,
    /// The first alternative of ours as it is, and with one setting changed at a time; each over
    /// the first seed.
    pub sensitivity: Vec<Changed>,
    /// Settings that were tried, each over the first seed, for the picture of cost against wait.
    pub tried: Vec<Tried>,
    /// Where the numbers come from.
    pub method: Method,
}

/// What came, over all seeds. Who sends after an answer only sends what the first alternative lets
/// it send.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arrived {
    /// Where from, in words: "Poisson, 250/s for 1h", "12 files of an ALB".
    pub about: String,
    /// Requests, the mean over seeds.
    pub requests: u64,
    /// From the start to the end of the traffic, in nanoseconds.
    #[serde(serialize_with = "crate::json::seconds")]
    pub span: Duration,
    /// Requests a second, over the span.
    pub rate_mean: f64,
    /// Requests in the busiest second.
    pub rate_peak: f64,
    /// Mean service time.
    #[serde(serialize_with = "crate::json::seconds")]
    pub service_mean: Duration,
    /// Service time that 99 in 100 do not exceed.
    #[serde(serialize_with = "crate::json::seconds")]
    pub service_p99: Duration,
    /// Time from an invoke to the first free slot of its new environment: T, its mean.
    #[serde(serialize_with = "crate::json::seconds")]
    pub cold_start: Duration,
    /// Lines of recordings that could not be used.
    pub bad_lines: u64,
}

/// A number over all seeds: its mean, and the interval that holds the mean with 95 % confidence
/// (Student's t). With one seed, all three are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean over seeds.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Times that a share of requests does not exceed, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half.
    pub p50: Estimate,
    /// 90 in 100.
    pub p90: Estimate,
    /// 99 in 100.
    pub p99: Estimate,
    /// 999 in 1,000.
    pub p999: Estimate,
    /// The longest.
    pub max: Estimate,
}

/// Which way to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This system: a router's queue in front of instances with several slots.
    Dispatch,
    /// Lambda by itself: a request is bound to the environment that was started for it.
    Lambda,
    /// Lambda by itself, where a request that waits may take an environment that falls free first.
    LambdaReuse,
    /// Lambda with provisioned concurrency.
    Provisioned,
    /// Lambda Managed Instances.
    Managed,
    /// A fleet of containers.
    Containers,
}

impl Kind {
    /// Every way.
    pub const ALL: [Self; 6] = [
        Self::Dispatch,
        Self::Lambda,
        Self::LambdaReuse,
        Self::Provisioned,
        Self::Managed,
        Self::Containers,
    ];
}

/// What one alternative came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Its name, unique in the report.
    pub name: String,
    /// Which way it is.
    pub kind: Kind,
    /// What was set, as (name, value) to be read.
    pub settings: Vec<(String, String)>,
    /// From arrival to the first moment on an instance; requests that got there only. Endless if
    /// none did.
    pub wait: Quantiles,
    /// From arrival to the complete response; requests that were served only. Endless if none was.
    pub total: Quantiles,
    /// The wait of all requests, which limits are about: of who never got to an instance it has no
    /// end, so that a share which fewer reach is endless.
    pub wait_of_all: Quantiles,
    /// The same from arrival to the complete response: who was refused or failed has none.
    pub total_of_all: Quantiles,
    /// Share of requests that paid a cold start: bound to one, or waited as long as one.
    pub cold: Estimate,
    /// Share of requests that were answered with an error: queue full, waited too long, no room.
    pub refused: Estimate,
    /// Share of requests that AWS throttled; a part of `refused` where nobody retries.
    pub throttled: Estimate,
    /// Instances (environments, containers) that were there, over time: on their way, or idle, too.
    /// Environments of Lambda by itself cost nothing while they are idle.
    pub instances_mean: Estimate,
    /// Most at once.
    pub instances_peak: Estimate,
    /// Busy share of the slots that were paid for.
    pub utilisation: Estimate,
    /// Requests that arrive, a month.
    pub requests_month: f64,
    /// GB-seconds of Lambda a month.
    pub gb_seconds_month: f64,
    /// Requests that Lambda charges for, a month.
    pub invokes_month: f64,
    /// What it costs a month, line by line.
    pub costs: Vec<Cost>,
    /// All lines together, a month.
    #[serde(serialize_with = "crate::json::dollars")]
    pub month: Dollars,
    /// The same for a million requests.
    #[serde(serialize_with = "crate::json::dollars")]
    pub per_million: Dollars,
    /// Whether it is the best answer: see the verdict.
    pub is_best: bool,
    /// Total latency at each share of requests, of the first seed, for the plot over nines.
    pub nines: Vec<Nine>,
    /// What happened over time, of the first seed.
    pub timeline: Timeline,
    /// When each of the first instances lived, of the first seed; empty for long traffic.
    pub gantt: Vec<Bar>,
    /// What queueing theory says of the mean wait, where it says anything.
    pub theory: Option<Theory>,
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// What for: "Lambda duration", "router", "load balancer".
    pub what: String,
    /// It costs the same whatever comes.
    pub is_fixed: bool,
    /// A month of it.
    #[serde(serialize_with = "crate::json::dollars")]
    pub month: Dollars,
}

/// A point of the plot over nines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Nine {
    /// Share of requests, from 0 to 1.
    pub share: f64,
    /// What they do not exceed, from arrival to the complete response.
    #[serde(serialize_with = "crate::json::seconds")]
    pub total: Duration,
    /// What they do not exceed, from arrival to a slot.
    #[serde(serialize_with = "crate::json::seconds")]
    pub wait: Duration,
}

/// What happened, in spans of equal length; all lists are as long as there are spans.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Length of a span.
    #[serde(serialize_with = "crate::json::seconds")]
    pub bucket: Duration,
    /// Requests that arrived.
    pub arrivals: Vec<u32>,
    /// Most requests that waited at once.
    pub queued: Vec<u32>,
    /// Instances on their way, mean over the span.
    pub starting: Vec<f32>,
    /// Instances that take work, mean over the span.
    pub ready: Vec<f32>,
    /// Instances that finish what they have, mean over the span.
    pub draining: Vec<f32>,
    /// Instances that should serve, at the end of the span; zeros where nobody decides that.
    pub desired: Vec<u32>,
    /// The largest Q/C·t of the span, or wait that ended in it, in units of T: from 1 on the next
    /// request may pay a cold start.
    pub danger: Vec<f32>,
}

/// One instance's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Counted from 1, in the order of their starts.
    pub instance: u32,
    /// It was asked for.
    #[serde(serialize_with = "crate::json::seconds")]
    pub start: Duration,
    /// It took work.
    #[serde(serialize_with = "crate::json::seconds")]
    pub ready: Duration,
    /// It was gone.
    #[serde(serialize_with = "crate::json::seconds")]
    pub end: Duration,
    /// Requests that it served.
    pub served: u32,
}

/// A steady state that theory knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Theory {
    /// Which formula, and whose: "Erlang C, M/M/40".
    pub formula: String,
    /// Mean wait that it gives, in seconds.
    pub wait: f64,
    /// Mean wait that was simulated, in seconds.
    pub simulated: f64,
}

/// What becomes of one alternative when one thing is otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// What: "nothing", "t", "T", "slots".
    pub what: String,
    /// By how much: 0.8 or 1.2; 1 where nothing is.
    pub factor: f64,
    /// Wait that 99 in 100 do not exceed, in seconds.
    pub wait_p99: f64,
    /// Share that paid a cold start.
    pub cold: f64,
    /// A month.
    #[serde(serialize_with = "crate::json::dollars")]
    pub month: Dollars,
}

/// Settings that were tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Which alternative's, or which settings.
    pub name: String,
    /// Which way it is.
    pub kind: Kind,
    /// Latency that 99 in 100 do not exceed, in seconds.
    pub total_p99: f64,
    /// A month.
    #[serde(serialize_with = "crate::json::dollars")]
    pub month: Dollars,
    /// Whether nothing that was tried is both cheaper and faster without refusing more.
    pub is_best_for_its_price: bool,
}

/// Where the numbers come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Method {
    /// The first seed.
    pub seed: u64,
    /// How many.
    pub seeds: u32,
    /// Of every input and output of every dispatcher and of every end of a request, over all
    /// seeds: equal digests are equal runs.
    pub digest: String,
    /// Which program.
    pub version: String,
    /// Which prices: region, date, source.
    pub prices: String,
    /// How to make this report again.
    pub command: String,
    /// What was assumed, a sentence each.
    pub assumptions: Vec<String>,
}
