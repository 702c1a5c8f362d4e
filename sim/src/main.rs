//! `cargo sim`: simulated pools, each run reproduced by the line that it prints first.

use std::fs::File;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use sim::driver::{Driver, commit};
use sim::{Checks, Plan, batch, meta, mutants, scenario, shrink, soak};

type Failure = Box<dyn std::error::Error>;

/// Simulates lambda-dispatch: the machines that production runs, or all of its adapters, in worlds
/// where everything goes wrong, the same way each time.
#[derive(Parser)]
#[command(
    name = "sim",
    arg_required_else_help = true,
    after_help = "Examples:
  cargo sim fast --seeds 20000            # twenty thousand worlds of their own
  cargo sim fast --scenario burst         # a story of sim/scenarios, or a file
  cargo sim real --seed 7                 # one world, with the router and the extension themselves
  cargo sim shrink --seed 7               # the smallest plan that still fails, as a file
  cargo sim replay /tmp/router.recording  # does a fresh model decide the same?"
)]
struct Arguments {
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand)]
enum Run {
    /// Machines only, over discrete events
    Fast(RunArgs),
    /// The router and the extension themselves, over a simulated network
    Real(RunArgs),
    /// Feed a recording to a fresh model and demand the same orders
    Replay {
        /// A recording of a router, or of a run with --record
        file: PathBuf,
        /// Print it, one line an entry
        #[arg(long)]
        print: bool,
    },
    /// Make a plan that fails as small as it can be, and save it
    Shrink {
        #[command(flatten)]
        which: Which,
        /// Which simulation it fails in
        #[arg(long, value_enum, default_value = "fast")]
        driver: DriverName,
        /// Where to save what is left; no file may be there
        #[arg(long, default_value = "sim/regressions/new.toml")]
        out: PathBuf,
        /// Most runs that may be spent on it
        #[arg(long, default_value_t = 5_000)]
        runs: u32,
    },
    /// Prove that a seed gives the same bytes in every process and build
    Meta {
        /// The first seed that is looked at
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many seeds, from that one on
        #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..))]
        seeds: u64,
    },
    /// Break the code on purpose, once for each entry of sim/mutants.toml, and see whether it shows
    Mutants(mutants::Options),
    /// Run every scenario, and every plan that failed once, in every simulation that can play it
    Scenarios,
    /// Run fast seeds for a given time; a later call goes on where this one ended
    Soak {
        /// How long
        #[arg(long = "for", default_value = "10m", value_parser = sim::span::parse)]
        span: Duration,
        /// Where the next seed is kept
        #[arg(long, default_value = "target/soak-seed")]
        state: PathBuf,
        /// Which simulation
        #[arg(long, value_enum, default_value = "fast")]
        driver: DriverName,
    },
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// How many seeds, from that one on
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    seeds: u64,
    /// Print every input and order of one run
    #[arg(long)]
    trace: bool,
    /// Save what the dispatcher was told and did in one run, for `replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Leave out every check, for speed
    #[arg(long)]
    unchecked: bool,
}

#[derive(Args)]
struct Which {
    /// Decides everything that is left to chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A scenario of sim/scenarios or a plan's file, instead of the seed's own world
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
}

impl Which {
    fn plan(&self, driver: Driver) -> Result<Plan, String> {
        match &self.scenario {
            None => Ok(driver.plan(self.seed)),
            Some(name) => {
                let plan = scenario::load(name)?;
                // A saved plan has the seed that it failed with.
                let seed = if self.seed == 0 { plan.seed } else { self.seed };
                Ok(Plan { seed, ..plan })
            }
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum DriverName {
    Fast,
    Real,
}

impl From<DriverName> for Driver {
    fn from(name: DriverName) -> Self {
        match name {
            DriverName::Fast => Self::Fast,
            DriverName::Real => Self::Real,
        }
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().run {
        Run::Fast(args) => run(Driver::Fast, &args),
        Run::Real(args) => run(Driver::Real, &args),
        Run::Replay { file, print } => sim::replay::replay(&file, print).map_err(Failure::from),
        Run::Shrink { which, driver, out, runs } => make_smaller(&which, driver.into(), &out, runs),
        Run::Meta { seed, seeds } => prove(seed, seeds),
        Run::Mutants(options) => mutants::run(&options).map_err(Failure::from),
        Run::Scenarios => scenarios(),
        Run::Soak { span, state, driver } => {
            soak::run(driver.into(), span, &state).map_err(Failure::from)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(io::stderr(), "sim: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs one plan and shows it, or many and shows what they came to.
fn run(driver: Driver, args: &RunArgs) -> Result<bool, Failure> {
    let seeds = range(args.which.seed, args.seeds)?;
    if args.seeds > 1 && (args.trace || args.record.is_some()) {
        return Err("--trace and --record show one run: leave out --seeds".into());
    }
    if args.seeds == 1 || args.which.scenario.is_some() {
        let mut all = true;
        for seed in seeds {
            let which = Which { seed, scenario: args.which.scenario.clone() };
            all &= run_one(driver, &which, args)?;
        }
        return Ok(all);
    }
    let checks = if args.unchecked { Checks::NONE } else { Checks::ALL };
    let tell = |line: &str| {
        drop(writeln!(io::stdout(), "{line}"));
    };
    let totals = batch::run(driver, seeds, checks, tell);
    let mut out = io::stdout().lock();
    writeln!(out, "{}\nfaults: {}", totals.marks, totals.fired)?;
    // A few seeds need not draw every kind.
    let silent = if args.seeds >= MANY { totals.silent(driver) } else { Vec::new() };
    for kind in &silent {
        writeln!(out, "planned and never fired in {} seeds: {kind}", args.seeds)?;
    }
    writeln!(out, "sim {driver}, commit {}: {totals}", commit())?;
    Ok(totals.failures.is_empty() && silent.is_empty())
}

/// The seeds from `first` on.
fn range(first: u64, count: u64) -> Result<RangeInclusive<u64>, String> {
    let last = first.checked_add(count - 1).ok_or_else(|| {
        format!("there are no {count} seeds from {first} on: the last one is {}", u64::MAX)
    })?;
    Ok(first..=last)
}

fn run_one(driver: Driver, which: &Which, args: &RunArgs) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    let plan = which.plan(driver)?;
    let seed = which.seed;
    let checks = Checks {
        trace: args.trace,
        record: args.record.is_some(),
        ..if args.unchecked { Checks::NONE } else { Checks::ALL }
    };
    if !args.trace {
        let of = which.scenario.as_ref().map(|name| format!(" --scenario {name}"));
        let of = of.unwrap_or_default();
        writeln!(out, "cargo sim {driver} --seed {seed}{of}  # commit {}", commit())?;
        if which.scenario.is_none() {
            writeln!(out, "{}", toml::to_string(&plan)?)?;
        }
    }
    let cpu = batch::cpu_time();
    let (mut outcome, trace) = match which.scenario {
        Some(_) => driver.run_file(&plan, checks),
        None => driver.run(&plan, checks),
    };
    let cpu = batch::cpu_time().saturating_sub(cpu);
    out.write_all(trace.as_bytes())?;
    writeln!(out, "{}\nbroken        {:?}", outcome.report, outcome.broken)?;
    if !args.trace {
        let rate = outcome.report.requests as f64 / cpu.as_secs_f64().max(1e-9);
        writeln!(
            out,
            "speed         {:.2} CPU-s, {rate:.0} requests per CPU-second",
            cpu.as_secs_f64()
        )?;
    }
    if let (Some(file), Some(recording)) = (&args.record, outcome.recording.take()) {
        std::fs::write(file, recording).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(outcome.broken.is_none())
}

fn scenarios() -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    let mut all = true;
    let mut names: Vec<_> = scenario::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    match regressions() {
        Ok(files) => names.extend(files),
        Err(error) => writeln!(
            out,
            "left out: the plans that failed once, {REGRESSIONS}: {error}; run this at the \
             workspace's root to have them run, too"
        )?,
    }
    for name in names {
        let plan = scenario::load(&name)?;
        let exact = plan.hold.as_ref().is_some_and(|hold| hold.exact);
        for driver in [Driver::Fast, Driver::Real] {
            if driver == Driver::Real && exact || !plan.kinds().all(|kind| driver.plays(kind)) {
                continue;
            }
            let (outcome, _) = driver.run_file(&plan, Checks::ALL);
            all &= outcome.broken.is_none();
            let holds = outcome.broken.unwrap_or_else(|| "holds".to_owned());
            writeln!(out, "cargo sim {driver} --scenario {name}  # {holds}")?;
        }
    }
    Ok(all)
}

/// The plans that failed once, if this is the workspace that has them.
fn regressions() -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(REGRESSIONS)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path.display().to_string());
        }
    }
    files.sort();
    Ok(files)
}

fn make_smaller(which: &Which, driver: Driver, file: &Path, runs: u32) -> Result<bool, Failure> {
    shrink::check_place(file)?;
    let mut out = io::stdout().lock();
    let plan = which.plan(driver)?;
    let Some((small, broken, runs)) = shrink::shrink(driver, &plan, runs) else {
        let what = which.scenario.as_ref().map(|name| format!("--scenario {name}"));
        let what = what.unwrap_or_else(|| format!("--seed {}", plan.seed));
        let (outcome, _) = driver.run_file(&plan, Checks::ALL);
        let why = outcome.broken.filter(|_| which.scenario.is_some());
        let why = why.map_or_else(
            || "does not fail".to_owned(),
            |why| format!("fails for a part that does nothing, {why}"),
        );
        return Err(format!("{driver} {what} {why}: nothing to shrink").into());
    };
    let text = toml::to_string(&small)?;
    let saved = File::create_new(file).and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = saved {
        // What was found is not lost.
        return Err(format!("{}: {error}; the plan is\n{text}", file.display()).into());
    }
    writeln!(
        out,
        "{broken}\n{} arrivals and {} faults are left after {runs} runs: {}\n\
         cargo sim {driver} --scenario {}",
        small.traffic.len(),
        small.fault.len(),
        file.display(),
        file.display()
    )?;
    Ok(true)
}

fn prove(seed: u64, seeds: u64) -> Result<bool, Failure> {
    let seeds = range(seed, seeds)?;
    let this = std::env::current_exe()?;
    // The other level: the profile of `cargo build` optimises nothing.
    let built = Command::new("cargo").args(["build", "--quiet", "-p", "sim"]).status()?;
    if !built.success() {
        return Err("the build without optimisation failed".into());
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let other = target.join("debug/sim");
    for driver in [Driver::Fast, Driver::Real] {
        for seed in seeds.clone() {
            let bytes = meta::prove(driver, seed, OTHERS, &this, &other)?;
            writeln!(
                io::stdout(),
                "{driver} seed {seed}: {bytes} bytes of trace, four times the same"
            )?;
        }
    }
    Ok(true)
}

/// Where plans are kept that failed once.
const REGRESSIONS: &str = "sim/regressions";
/// So many seeds draw every kind of fault.
const MANY: u64 = 200;
/// Seeds that are run between the first time and the last.
const OTHERS: u64 = 100;
