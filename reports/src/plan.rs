//! A plan of a report, as people write it in TOML: what comes, what the function is like, and who
//! might serve.
//!
//! ```toml
//! title = "A shop with spikes"
//!
//! [traffic]
//! kind = "poisson"
//! rate = 250
//! for = "1h"
//!
//! [service]
//! time = { kind = "log-normal", median = "40ms", p99 = "400ms" }
//!
//! [cold_start]
//! time = "3s"
//!
//! [[alternative]]
//! kind = "dispatch"
//! slots = 10
//!
//! [[alternative]]
//! kind = "lambda"
//! ```
//!
//! Everything but `title`, `traffic` and `service` has a default. Without an `[[alternative]]` the
//! usual ones are compared.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sim::span;

use crate::alternative::{Alone, Alternative, Containers, Managed, Provisioned};
use crate::dispatch::Dispatch;
use crate::prices::Arch;
use crate::progress::Progress;
use crate::spread::Spread;
use crate::traffic::{Format, Opened, Service, Traffic, TrafficError};

/// What a report is to be made of.
///
/// ```
/// use std::path::Path;
///
/// use reports::{Plan, Prices, Progress, Scene};
///
/// let mut plan = Plan::parse(
///     r#"
///     title = "Two minutes"
///     seeds = 1
///     sweep = false
///     traffic = { kind = "poisson", rate = 50, for = "2m" }
///     service = { time = "100ms" }
///     cold_start = { time = "3s" }
///     alternative = [{ kind = "dispatch", slots = 10 }, { kind = "lambda" }]
///     "#,
/// )?;
/// let progress = Progress::default();
/// let traffic = plan.open(Path::new("."), &progress)?;
/// let prices = Prices::builtin(&plan.region)?;
/// let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress: &progress };
/// let report = scene.report("an example", "0.1.0")?;
/// let [ours, lambda] = &report.alternatives[..] else { panic!("{report:?}") };
/// assert!(ours.instances_mean.mean < lambda.instances_mean.mean);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is about, in a few words.
    pub title: String,
    /// The first seed; decides all that is left to chance. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// How many seeds, for confidence intervals: 1,000 at most. Default 5.
    #[serde(default = "five")]
    pub seeds: u32,
    /// Whose prices. Default `us-east-1`.
    #[serde(default = "usual_region")]
    pub region: String,
    /// What comes.
    pub traffic: Traffic,
    /// What each request needs.
    pub service: Service,
    /// How long new environments take.
    #[serde(default)]
    pub cold_start: ColdStart,
    /// The Lambda function.
    #[serde(default)]
    pub function: Function,
    /// The load balancer in front of everything.
    #[serde(default)]
    pub balancer: Balancer,
    /// What the answer has to meet, as in `p99<300ms, cold<0.1%`; none: see the verdict.
    #[serde(default)]
    pub slo: Option<String>,
    /// Whether each of t, T and the slots is also tried 20 % lower and higher, and other numbers of
    /// slots are tried. Default true.
    #[serde(default = "yes")]
    pub sweep: bool,
    /// Who might serve; none: the usual ones.
    #[serde(default, rename = "alternative")]
    pub alternatives: Vec<Alternative>,
}

/// How long new environments take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdStart {
    /// T: from an invoke to the first request on its new environment. Default 1 s. With SnapStart
    /// it is the time of a restore.
    pub time: Spread,
}

impl Default for ColdStart {
    fn default() -> Self {
        Self { time: Spread::fixed(Duration::from_secs(1)) }
    }
}

/// The Lambda function and its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Function {
    /// Memory, in MB, from 128 to 10,240. Default 1,024. 1,769 MB come with one processor.
    pub memory_mb: u32,
    /// `arm` (default) or `x86`.
    pub processors: Arch,
    /// Invokes that may be in flight: the account's limit, or what is reserved. Ten times as many
    /// may come in a second. Default 1,000.
    pub concurrency: u32,
    /// New environments allowed in 10 s. Default 1,000.
    pub ramp: u32,
    /// How long an environment is kept without an invoke. Default 7 min.
    #[serde(with = "span")]
    pub idle_timeout: Duration,
    /// How long an invoke may take, from 1 s to 15 min. Default 15 min.
    #[serde(with = "span")]
    pub timeout: Duration,
    /// The part of a cold start that is AWS's own and not billed: T at most, in the mean. Default
    /// 200 ms.
    #[serde(with = "span")]
    pub placing: Duration,
    /// Whether new environments are restored from a snapshot for which AWS charges: SnapStart for
    /// Python and .NET; for Java it is free. T is then the time of a restore. Default false.
    pub snapstart_is_billed: bool,
}

impl Default for Function {
    fn default() -> Self {
        Self {
            memory_mb: 1_024,
            processors: Arch::Arm,
            concurrency: 1_000,
            ramp: 1_000,
            idle_timeout: Duration::from_secs(7 * 60),
            timeout: Duration::from_secs(15 * 60),
            placing: Duration::from_millis(200),
            snapstart_is_billed: false,
        }
    }
}

impl Function {
    /// The part of a start that is AWS's own, where one takes `cold_start` in the mean.
    pub(crate) fn placing(&self, cold_start: Duration) -> Duration {
        self.placing.min(cold_start)
    }

    /// Whether AWS would have it.
    fn check(&self) -> Result<(), String> {
        check_memory(self.memory_mb)?;
        if self.concurrency == 0 {
            return Err("`concurrency` of the function is 0, must be at least 1".to_owned());
        }
        if !TIMEOUT.contains(&self.timeout) {
            let timeout = span::write(self.timeout);
            return Err(format!("`timeout` of the function is {timeout}, must be from 1s to 15m"));
        }
        Ok(())
    }
}

/// Whether a Lambda function can have so much memory.
pub(crate) fn check_memory(mb: u32) -> Result<(), String> {
    if MEMORY_MB.contains(&mb) {
        return Ok(());
    }
    let (least, most) = (MEMORY_MB.start(), MEMORY_MB.end());
    Err(format!("the memory of the function is {mb} MB, must be from {least} to {most}"))
}

/// Whether `value` is one that `name` may have.
pub(crate) fn check_range(
    name: &str,
    value: u32,
    allowed: &RangeInclusive<u32>,
) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!("{name} is {value}, must be from {} to {}", allowed.start(), allowed.end()))
}

/// What Lambda allows.
const MEMORY_MB: RangeInclusive<u32> = 128..=10_240;
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(15);
/// What Fargate has.
pub(crate) const FARGATE_CPU_UNITS: RangeInclusive<u32> = 256..=16_384;
pub(crate) const FARGATE_MEMORY_MB: RangeInclusive<u32> = 512..=122_880;

/// An Application Load Balancer, which is paid for by the hour and by what passes.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Balancer {
    /// Whether there is one. Default true: in front of every alternative, as all need a way in.
    pub used: bool,
    /// Bytes of a request and its response. Default 20,000.
    pub bytes: u64,
    /// Requests of one connection. Default 10.
    pub requests_per_connection: u64,
}

impl Default for Balancer {
    fn default() -> Self {
        Self { used: true, bytes: 20_000, requests_per_connection: 10 }
    }
}

impl Balancer {
    /// Capacity units that `rate` requests a second take: one is 25 new connections a second, or so
    /// many GB an hour, whichever is more.
    pub(crate) fn lcus(&self, rate: f64, gb_per_lcu: f64) -> f64 {
        let connections = rate / self.requests_per_connection.max(1) as f64 / 25.0;
        let gigabytes = rate * self.bytes as f64 * 3_600.0 / 1e9;
        connections.max(gigabytes / gb_per_lcu)
    }
}

impl Plan {
    /// More seeds would say no more, and what each came to is kept until all are done.
    pub const SEEDS_MAX: u32 = 1_000;

    /// Reads the plan that `text` says.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, and why; or what of the function AWS would not have.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        plan.function.check()?;
        check_range("seeds", plan.seeds, &(1..=Self::SEEDS_MAX))?;
        let names: Vec<_> = plan.alternatives.iter().map(Alternative::name).collect();
        let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Err(format!(
                "two alternatives are called `{name}`; give one of them another `name`"
            ));
        }
        Ok(plan)
    }

    /// A plan for what stands in recordings, of a function with this service time where they have
    /// none, this cold start and this memory.
    ///
    /// # Errors
    ///
    /// `format` is none, or no function has this memory.
    pub fn recorded(
        format: &str,
        files: &[PathBuf],
        service: Duration,
        cold_start: Duration,
        memory_mb: u32,
    ) -> Result<Self, String> {
        let format: Format = format.parse()?;
        let function = Function { memory_mb, ..Function::default() };
        function.check()?;
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let title = match &names[..] {
            [only] if only == "-" => "What came on standard input".to_owned(),
            [only] => format!("What stands in {only}"),
            many => format!("What stands in {} files", many.len()),
        };
        Ok(Self {
            title,
            seed: one(),
            seeds: five(),
            region: usual_region(),
            traffic: Traffic::recorded(format, names),
            service: Service::new(Spread::fixed(service)),
            cold_start: ColdStart { time: Spread::fixed(cold_start) },
            function,
            balancer: Balancer::default(),
            slo: None,
            sweep: true,
            alternatives: Vec::new(),
        })
    }

    /// Opens its traffic, unless `progress` is told to stop; paths are relative to `folder`.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or nobody wants it any more.
    pub fn open(&mut self, folder: &Path, progress: &Progress) -> Result<Opened, TrafficError> {
        self.cold_start.time.read(folder)?;
        self.traffic.open(&self.service, folder, progress)
    }

    /// What is compared where nothing is said, for traffic of which at most `peak` requests would
    /// run at once.
    pub(crate) fn usual(&self, peak: u32) -> Vec<Alternative> {
        let containers = Containers::default();
        let count = peak.div_ceil(containers.slots).max(2);
        let environments = peak.min(self.function.concurrency);
        vec![
            Alternative::Dispatch(Dispatch::default()),
            Alternative::Lambda(Alone::default()),
            Alternative::LambdaReuse(Alone::default()),
            Alternative::Provisioned(Provisioned { environments, ..Provisioned::default() }),
            Alternative::Managed(Managed::default()),
            Alternative::Containers(Containers { count, ..containers }),
        ]
    }
}

const fn one() -> u64 {
    1
}

const fn five() -> u32 {
    5
}

const fn yes() -> bool {
    true
}

fn usual_region() -> String {
    "us-east-1".to_owned()
}
