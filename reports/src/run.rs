//! Runs every alternative with every seed over the same arrivals, on all cores, and puts together
//! what a report says.

use std::fmt;
use std::io::Write;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use dispatch_model::Prng;
use sim::outside::Source as _;

use crate::alternative::{Alternative, Containers};
use crate::dispatch::RunError;
use crate::money::Dollars;
use crate::plan::Plan;
use crate::prices::{Arch, Prices, PricesError};
use crate::progress::{Outside, Progress, Survey};
use crate::report::{
    Arrived, Changed, Cost, Estimate, Kind, Measured, Method, Quantiles, Report, Theory,
};
use crate::slo::Slo;
use crate::spread::whole;
use crate::tally::Tally;
use crate::theory::Queue;
use crate::traffic::{Opened, TrafficError};
use crate::usage::{self, MONTH, Usage};
use crate::variations::{Change, changes, swept, tried};
use crate::verdict;

/// What a report is made with, beside its plan.
pub struct Scene<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its traffic, read.
    pub traffic: &'a Opened,
    /// What AWS charges.
    pub prices: &'a Prices,
    /// Who is told how far it is, and says when to stop.
    pub progress: &'a Progress,
}

impl fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("plan", &self.plan.title).finish_non_exhaustive()
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Something of the plan is not as it may be.
    #[error("{0}")]
    Plan(String),
    /// The traffic cannot be read.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    /// An alternative cannot be run.
    #[error("{name}: {error}")]
    Run {
        /// Which.
        name: String,
        /// Why.
        error: RunError,
    },
    /// Nobody wanted it any more.
    #[error("stopped")]
    Stopped,
}

/// One run of one alternative.
#[derive(Clone, Copy, Debug)]
struct Job<'a> {
    alternative: &'a Alternative,
    seed: u64,
    /// Service times and cold starts are so many times as long.
    factors: (f64, f64),
    /// Where to add what can be said of the traffic.
    survey: Option<&'a Mutex<Survey>>,
}

impl<'a> Job<'a> {
    const fn new(alternative: &'a Alternative, seed: u64) -> Self {
        Self { alternative, seed, factors: (1.0, 1.0), survey: None }
    }
}

struct Done {
    tally: Tally,
    usage: Usage,
}

impl<'a> Scene<'a> {
    /// The report. `command` is how to make it again, `version` the program's.
    ///
    /// # Errors
    ///
    /// See [`ReportError`].
    pub fn report(&self, command: &str, version: &str) -> Result<Report, ReportError> {
        let plan = self.plan;
        let slo: Option<Slo> =
            plan.slo.as_ref().map(|text| text.parse()).transpose().map_err(ReportError::Plan)?;
        let alternatives = self.alternatives()?;
        let ours = Alternative::first_dispatch(&alternatives).filter(|_| plan.sweep);
        let (mut changes, mut swept) =
            (ours.map(changes).unwrap_or_default(), ours.map(swept).unwrap_or_default());
        changes.retain(|change| self.allows(&change.alternative));
        swept.retain(|alternative| self.allows(alternative));
        let seeds = 0..u64::from(plan.seeds.max(1));
        let count = seeds.clone().count();
        let mut jobs: Vec<_> = alternatives
            .iter()
            .flat_map(|alternative| seeds.clone().map(move |seed| (alternative, seed)))
            .map(|(alternative, seed)| Job::new(alternative, seed))
            .collect();
        let survey = Mutex::new(Survey::new());
        jobs[..count].iter_mut().for_each(|job| job.survey = Some(&survey));
        jobs.extend(changes.iter().map(|change| {
            let factors = change.factors;
            Job { factors, ..Job::new(&change.alternative, 0) }
        }));
        jobs.extend(swept.iter().map(|alternative| Job::new(alternative, 0)));
        self.progress.expect(self.traffic.expected() * jobs.len() as u64);
        let mut done = self.run_all(&jobs)?.into_iter();

        let mut digest = 0_u64;
        let mut take = |count: usize| done.by_ref().take(count).collect::<Vec<_>>();
        let mut measured = Vec::new();
        // What is otherwise has the first seed only, and is compared with what that came to.
        let mut first = Vec::new();
        for alternative in &alternatives {
            let runs = take(count);
            for run in &runs {
                digest = digest.rotate_left(7) ^ run.tally.digest();
            }
            measured.push(self.measured(alternative, &runs)?);
            first.push(self.measured(alternative, &runs[..1])?);
        }
        let ours = first.iter().find(|it| it.kind == Kind::Dispatch && !changes.is_empty());
        let sensitivity = self.sensitivity(ours, &changes, take(changes.len()))?;
        let swept = swept.iter().zip(take(swept.len()));
        let swept: Result<Vec<_>, _> =
            swept.map(|(alternative, run)| self.measured(alternative, &[run])).collect();
        let tried = tried(&first, &swept?);
        drop(jobs);
        let arrived = self.arrived(&survey.into_inner().unwrap_or_else(PoisonError::into_inner));
        let slo = slo.unwrap_or_else(|| Slo::usual(&measured));
        let best = verdict::best(&measured, &slo).expect("there is an alternative");
        measured[best].is_best = true;
        let break_even = self.break_even(&alternatives, &measured, &slo)?;
        Ok(Report {
            title: plan.title.clone(),
            verdict: verdict::sentence(&measured, best, &slo),
            findings: verdict::findings(&measured, &slo, break_even),
            traffic: arrived,
            tried,
            alternatives: measured,
            sensitivity,
            method: Method {
                seed: plan.seed,
                seeds: plan.seeds.max(1),
                digest: format!("{digest:016x}"),
                version: version.to_owned(),
                prices: self.prices.about(),
                command: command.to_owned(),
                assumptions: self.assumptions(),
            },
        })
    }

    /// The alternative of this name.
    ///
    /// # Errors
    ///
    /// There is none; which there are.
    pub fn alternative(&self, name: &str) -> Result<Alternative, ReportError> {
        let mut all = self.alternatives()?;
        if let Some(index) = all.iter().position(|it| it.name() == name) {
            return Ok(all.swap_remove(index));
        }
        let names = all.iter().map(Alternative::name).collect::<Vec<_>>().join("`, `");
        Err(ReportError::Plan(format!("no alternative is called `{name}`; there are `{names}`")))
    }

    /// Runs one alternative with the first seed, and writes a line for each request into `file`.
    ///
    /// # Errors
    ///
    /// See [`ReportError`].
    pub fn per_request(
        &self,
        alternative: &Alternative,
        file: Box<dyn Write + Send>,
    ) -> Result<(), ReportError> {
        let job = Job::new(alternative, 0);
        let tally = Tally::with_requests(self.traffic.span(), file);
        self.run(&job, tally).map(drop)
    }

    /// What alternatives come to, each over one seed.
    pub(crate) fn measure(
        &self,
        alternatives: &[Alternative],
    ) -> Result<Vec<Measured>, ReportError> {
        let jobs: Vec<_> = alternatives.iter().map(|it| Job::new(it, 0)).collect();
        self.progress.expect(self.traffic.expected() * jobs.len() as u64);
        let done = self.run_all(&jobs)?;
        let pairs = alternatives.iter().zip(done);
        pairs.map(|(alternative, run)| self.measured(alternative, &[run])).collect()
    }

    /// Requests a month from which on this system costs less than Lambda by itself, the best of
    /// each, with traffic of this shape: found by running both with more and with fewer, since an
    /// instance that one request keeps is paid for as one that serves many. None where that is not
    /// found with traffic that is soon run.
    fn break_even(
        &self,
        alternatives: &[Alternative],
        measured: &[Measured],
        slo: &Slo,
    ) -> Result<Option<f64>, ReportError> {
        let of = |kind| verdict::best_of(measured, slo, |other| other == kind);
        let (Some(ours), Some(plain)) = (of(Kind::Dispatch), of(Kind::Lambda)) else {
            return Ok(None);
        };
        let pair = [alternatives[ours].clone(), alternatives[plain].clone()];
        let requests = measured[ours].requests_month * self.span_s() / MONTH.as_secs_f64();
        let (least, most) = (TRIED_LEAST / requests, TRIED_MOST / requests);
        // What this system is sent in a month of so many times the traffic, if it is cheaper.
        let pays = |times: f64| -> Result<Option<f64>, ReportError> {
            let traffic = self.traffic.scaled(times);
            let run = Scene { traffic: &traffic, ..*self }.measure(&pair)?;
            Ok((run[0].month < run[1].month).then_some(run[0].requests_month))
        };
        let mut times = most.min(1.0);
        let mut found = pays(times)?;
        let is_more = found.is_none();
        // Doubled until it pays, or halved until it pays no more.
        let (mut low, mut high) = loop {
            let next = if is_more { times * 2.0 } else { times / 2.0 };
            if !(least..=most).contains(&next) {
                return Ok(None);
            }
            let before = std::mem::replace(&mut times, next);
            match pays(times)? {
                Some(requests) if is_more => {
                    found = Some(requests);
                    break (before, times);
                }
                Some(requests) => found = Some(requests),
                None if is_more => {}
                None => break (times, before),
            }
        };
        // To a twentieth.
        for _ in 0..4 {
            let middle = (low * high).sqrt();
            match pays(middle)? {
                Some(requests) => (high, found) = (middle, Some(requests)),
                None => low = middle,
            }
        }
        Ok(found)
    }

    /// What is compared: the plan's, or the usual ones, as large as the traffic needs them.
    fn alternatives(&self) -> Result<Vec<Alternative>, ReportError> {
        self.check()?;
        if self.plan.alternatives.is_empty() {
            return Ok(self.plan.usual(self.peak_concurrency()?));
        }
        Ok(self.plan.alternatives.clone())
    }

    /// Whether something comes with the first seed, of which most is said, and the plan's
    /// alternatives can be run.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        let seed = self.plan.seed;
        if self.traffic.stream(seed).next_at().is_none() {
            let traffic = format!("{}, with seed {seed}, the first", self.traffic.about());
            return Err(TrafficError::Nothing { traffic }.into());
        }
        let mut all = self.plan.alternatives.iter();
        all.try_for_each(|it| it.check(&self.plan.function, self.traffic))
            .map_err(ReportError::Plan)
    }

    /// Whether what nobody asked for can be run.
    pub(crate) fn allows(&self, alternative: &Alternative) -> bool {
        alternative.check(&self.plan.function, self.traffic).is_ok()
    }

    /// Most requests that would run at once if none had to wait: how large whatever does not grow
    /// by itself must be.
    pub(crate) fn peak_concurrency(&self) -> Result<u32, ReportError> {
        let endless = Alternative::Containers(Containers {
            count: 1,
            slots: u32::MAX,
            cpu_units: u32::MAX,
            ..Containers::default()
        });
        self.progress.expect(self.traffic.expected());
        let done = self.run(&Job::new(&endless, 0), Tally::new(self.traffic.span()))?;
        Ok(done.tally.running_peak.max(1))
    }

    fn measured(&self, alternative: &Alternative, runs: &[Done]) -> Result<Measured, ReportError> {
        let plan = self.plan;
        let each = |value: &dyn Fn(&Done) -> f64| {
            Estimate::not_below_zero(&runs.iter().map(value).collect::<Vec<_>>())
        };
        let share = |count: &dyn Fn(&Done) -> u64| {
            // A seed without a request has no shares.
            let came = runs.iter().filter(|run| run.tally.requests > 0);
            let shares = came.map(|run| count(run) as f64 / run.tally.requests as f64);
            Estimate::not_below_zero(&shares.collect::<Vec<_>>())
        };
        let tallies: Vec<_> = runs.iter().map(|run| &run.tally).collect();
        let first = &runs[0];
        let mut bills = Vec::new();
        for run in runs {
            let bill = self.bill(alternative, run);
            bills.push(bill.map_err(|why| ReportError::Plan(why.to_string()))?);
        }
        let costs = mean_costs(&bills);
        let month: Dollars = costs.iter().map(|cost| cost.month).sum();
        let span = self.traffic.span();
        let requests = runs.iter().map(|run| run.tally.requests as f64).sum::<f64>();
        let a_month = requests / runs.len() as f64 / self.span_s() * MONTH.as_secs_f64();
        let per_million = whole(month.picodollars() as f64 * 1e6 / a_month.max(1e-9));
        Ok(Measured {
            name: alternative.name(),
            kind: alternative.kind(),
            settings: alternative.settings(&plan.function),
            wait: Quantiles::of(&tallies, |it, at| it.wait_among(it.started(), at)),
            total: Quantiles::of(&tallies, |it, at| it.total_among(it.served, at)),
            wait_of_all: Quantiles::of(&tallies, |it, at| it.wait_among(it.requests, at)),
            total_of_all: Quantiles::of(&tallies, |it, at| it.total_among(it.requests, at)),
            cold: share(&|run| run.tally.cold),
            refused: share(&|run| run.tally.refused),
            throttled: share(&|run| run.usage.throttled),
            instances_mean: each(&|run| run.tally.instances_mean()),
            instances_peak: each(&|run| f64::from(run.tally.instances_peak)),
            utilisation: each(&|run| {
                run.tally.busy_seconds() / run.usage.paid_slot_time.as_secs_f64().max(1e-9)
            }),
            requests_month: a_month,
            gb_seconds_month: each(&|run| run.usage.gb_seconds_month(span)).mean,
            invokes_month: each(&|run| run.usage.lambda_requests_month(span) as f64).mean,
            costs,
            month,
            per_million: Dollars::from_picodollars(per_million),
            is_best: false,
            nines: first.tally.nines(),
            timeline: first.tally.timeline(),
            gantt: first.tally.bars(),
            theory: self.theory(alternative, runs),
        })
    }

    /// What a month of `run` costs.
    fn bill(&self, alternative: &Alternative, run: &Done) -> Result<Vec<Cost>, PricesError> {
        let (plan, prices) = (self.plan, self.prices);
        let arch = plan.function.processors;
        let mut costs = usage::cost(&run.usage, self.traffic.span(), prices, arch)?;
        if let Alternative::Dispatch(it) = alternative {
            let router = prices.fargate(Arch::Arm, it.router_cpu_units, it.router_memory_mb, MONTH);
            let month = (0..it.routers.max(1)).map(|_| router).sum();
            costs.push(Cost { what: "routers".to_owned(), is_fixed: true, month });
        }
        let balancer = &plan.balancer;
        if balancer.used {
            let rate = run.tally.requests as f64 / self.span_s();
            let lcus = balancer.lcus(rate, alternative.gb_per_lcu());
            let hours = prices.alb(MONTH, Duration::ZERO);
            let time = Duration::try_from_secs_f64(MONTH.as_secs_f64() * lcus);
            let units = prices.alb(Duration::ZERO, time.unwrap_or(Duration::MAX));
            costs.push(Cost { what: "load balancer".to_owned(), is_fixed: true, month: hours });
            costs.push(Cost {
                what: "its capacity units".to_owned(),
                is_fixed: false,
                month: units,
            });
        }
        Ok(costs)
    }

    /// Erlang's formula, where it holds: a fleet that neither grows nor shrinks, and times and
    /// arrivals without a memory.
    fn theory(&self, alternative: &Alternative, runs: &[Done]) -> Option<Theory> {
        let Alternative::Containers(fleet) = alternative else { return None };
        let (rate, service) = self.traffic.memoryless()?;
        let slots = fleet.count.saturating_mul(fleet.slots);
        let wait = Queue { rate, service, slots }.wait().filter(|_| fleet.tracking.is_none())?;
        let came: Vec<_> = runs.iter().filter(|run| run.tally.requests > 0).collect();
        let simulated = came.iter().map(|run| run.tally.wait_mean()).sum::<f64>();
        Some(Theory {
            formula: format!("Erlang C, M/M/{slots}"),
            wait,
            simulated: simulated / came.len() as f64,
        })
    }

    /// What ours came to as it is, and with each change.
    fn sensitivity(
        &self,
        ours: Option<&Measured>,
        changes: &[Change],
        runs: Vec<Done>,
    ) -> Result<Vec<Changed>, ReportError> {
        let mut all: Vec<_> = ours.map(|it| changed("nothing", 1.0, it)).into_iter().collect();
        for (change, run) in changes.iter().zip(runs) {
            let measured = self.measured(&change.alternative, &[run])?;
            all.push(changed(change.what, change.factor, &measured));
        }
        Ok(all)
    }

    fn arrived(&self, survey: &Survey) -> Arrived {
        Arrived {
            about: self.traffic.about(),
            requests: survey.requests(),
            span: self.traffic.span(),
            rate_mean: survey.rate_mean(self.span_s()),
            rate_peak: survey.rate_peak(),
            service_mean: survey.service_mean(),
            service_p99: survey.service_p99(),
            cold_start: self.plan.cold_start.time.mean(),
            bad_lines: self.traffic.bad().lines,
        }
    }

    /// What was assumed, a sentence each.
    pub(crate) fn assumptions(&self) -> Vec<String> {
        let same = if self.traffic.is_closed_loop() {
            "Clients that wait for their answers send more to who answers sooner: each bill is for \
             what that alternative was sent, and the traffic that is told is the first one's."
        } else {
            "Every alternative was sent the same requests at the same times."
        };
        let mut all = vec![
            same.to_owned(),
            "This system: the dispatcher and the extension's machine that production runs, over \
             discrete events; network delays as set, no losses."
                .to_owned(),
            "Lambda: the emulator's model of it; environments are reaped some minutes after their \
             last invoke, which AWS does not promise."
                .to_owned(),
            "A month is 730 hours of traffic like this.".to_owned(),
            "Left out: data transfer, logs, NAT gateways, free tiers, savings plans.".to_owned(),
        ];
        let processor = if self.traffic.service().needs_processor() {
            "Requests on one instance share its processors as they stand at the start of each; \
             what begins or ends later is not looked at."
        } else {
            "Requests were taken to wait for others and to need no processor; `cpu` of a plan's \
             service, or --cpu beside --from, says otherwise."
        };
        all.push(processor.to_owned());
        all.extend(self.traffic.assumptions());
        all
    }

    fn span_s(&self) -> f64 {
        self.traffic.span().as_secs_f64().max(1e-9)
    }

    fn run(&self, job: &Job<'_>, mut tally: Tally) -> Result<Done, ReportError> {
        let plan = self.plan;
        let seed = plan.seed.wrapping_add(job.seed);
        let (service_factor, cold_factor) = job.factors;
        let cold_start = plan.cold_start.time.mean().mul_f64(cold_factor);
        let open = || Outside {
            traffic: self.traffic.stream(seed),
            cold_start: &plan.cold_start.time,
            placing: plan.function.placing(cold_start),
            chance: Prng::new(seed ^ STARTS),
            service_factor,
            cold_factor,
            progress: self.progress,
            count: 0,
            stopped: false,
            survey: job.survey.map(|place| (Survey::new(), place)),
        };
        let failed = |error| ReportError::Run { name: job.alternative.name(), error };
        let usage =
            job.alternative.run(plan, cold_start, seed, &mut tally, open).map_err(failed)?;
        if self.progress.is_stopped() {
            return Err(ReportError::Stopped);
        }
        Ok(Done { tally, usage })
    }

    /// All of `jobs`, on all cores, in their order.
    fn run_all(&self, jobs: &[Job<'_>]) -> Result<Vec<Done>, ReportError> {
        let next = AtomicUsize::new(0);
        let results: Vec<_> = jobs.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(place) else { break };
                let done = self.run(job, Tally::new(self.traffic.span()));
                if done.is_err() {
                    self.progress.stop();
                }
                *results[place].lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            for _ in 1..cores.min(jobs.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        let mut all = Vec::with_capacity(jobs.len());
        let mut stopped = false;
        for result in results {
            match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Some(Ok(done)) => all.push(done),
                Some(Err(ReportError::Stopped)) | None => stopped = true,
                // One that failed stops the rest, and is the one to tell of.
                Some(Err(error)) => return Err(error),
            }
        }
        if stopped { Err(ReportError::Stopped) } else { Ok(all) }
    }
}

fn changed(what: &str, factor: f64, measured: &Measured) -> Changed {
    Changed {
        what: what.to_owned(),
        factor,
        wait_p99: measured.wait.p99.mean,
        cold: measured.cold.mean,
        month: measured.month,
    }
}

/// The lines of several bills, each with its mean.
fn mean_costs(bills: &[Vec<Cost>]) -> Vec<Cost> {
    let mut all: Vec<(Cost, u128)> = Vec::new();
    for cost in bills.iter().flatten() {
        let amount = u128::from(cost.month.picodollars());
        match all.iter_mut().find(|(known, _)| known.what == cost.what) {
            Some((_, sum)) => *sum += amount,
            None => all.push((cost.clone(), amount)),
        }
    }
    let mean = |sum: u128| u64::try_from(sum / bills.len().max(1) as u128).unwrap_or(u64::MAX);
    all.into_iter()
        .map(|(cost, sum)| Cost { month: Dollars::from_picodollars(mean(sum)), ..cost })
        .collect()
}

/// The fewest and the most requests with which the break-even is looked for: of fewer, chance says
/// more than the traffic; more take long.
const TRIED_LEAST: f64 = 100.0;
const TRIED_MOST: f64 = 1e6;

/// Keeps the chance of cold starts apart from everybody else's.
const STARTS: u64 = 0x7374_6172_7473_5f5f;
