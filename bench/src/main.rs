//! Side-by-side benchmarks: the router and the extension beside nginx, HAProxy and nothing at all,
//! in front of the same app, in one run.
//!
//! ```text
//!   wrk, h2load, ──▶ nginx ─────────────────────▶
//!   or our own       nginx ──▶ nginx ───────────▶  the app
//!                    HAProxy ───────────────────▶
//!                    router ◀── extension ──────▶
//! ```
//!
//! - Every contender is one process a hop with one thread that serves, and writes an access log to
//!   a file. The router has on what production has on: metrics, limits, the flight recorder.
//! - They face a load in turns, A B C A B C, so that whatever the machine does hits all alike, and
//!   ratios are taken within a turn.
//! - What a request costs is read from the kernel's books of each process.
//!
//! | file | what |
//! |---|---|
//! | `plan`, `rounds` | what is measured, and in which turns |
//! | `contender`, `app` | who is measured, and the app behind them all |
//! | `generator`, `load`, `http1` | who makes the load: `wrk`, `h2load` or our own |
//! | `idle`, `long` | what a plain load does not show |
//! | `processes`, `accounting` | how processes are started, and what they cost |
//! | `machine` | where the figures come from |
//! | `results`, `targets`, `report` | what was measured, what was to be reached, and both as text |
//! | `training` | the load that programs are compiled for |
//!
//! `bench/run` builds and starts this; `bench/compare` sets two commits of this repository against
//! each other. Figures are in `bench/RESULTS.md`, what to make of them in `bench/NOTES.md`.

mod accounting;
mod app;
mod contender;
mod generator;
mod http1;
mod idle;
mod load;
mod long;
mod machine;
mod plan;
mod processes;
mod report;
mod results;
mod rounds;
mod targets;
mod training;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::task::LocalSet;

use plan::{Depth, SMALL_100, pair};
use results::{Fact, Results};
use rounds::Rounds;

/// Measures lambda-dispatch beside other proxies.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure this tree's programs beside the others
    Run {
        depth: Depth,
        /// Only what has this in its name: a load's, or parked, idle, burst, soak
        #[arg(long)]
        only: Option<String>,
        /// Not what has this in its name
        #[arg(long)]
        skip: Option<String>,
        /// How often each contender faces a load
        #[arg(long)]
        rounds: Option<u32>,
        /// How long, in seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// Write the results here, as Markdown
        #[arg(long)]
        write: Option<PathBuf>,
        /// Criterion's folder with what one decision of the model takes
        #[arg(long)]
        criterion: Option<PathBuf>,
    },
    /// Set this tree's programs against those in a folder
    Compare {
        folder: PathBuf,
        /// Under the load whose name has this in it
        #[arg(long, default_value = SMALL_100)]
        load: String,
        #[arg(long, default_value_t = 10)]
        rounds: u32,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
    /// Put this tree's programs under the load by which bench/optimise compiles them
    Train,
    /// The app that all pass requests to
    #[command(hide = true)]
    App { address: SocketAddr },
    /// A load
    #[command(hide = true)]
    Load(load::Load),
    /// Lambda with instances that do nothing
    #[command(hide = true)]
    Lambda,
    /// Become a command that ends with its parent
    #[command(hide = true)]
    Exec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Command::Exec { command } = &arguments.command {
        return Err(emulator::exec_with_parent(command).into());
    }
    // One thread: what it starts ends with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(arguments.command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::App { address } => Ok(app::serve(address).await?),
        Command::Load(load) => {
            let measured = load::run(load).await?;
            Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&measured)?)?)
        }
        Command::Lambda => idle::lambda().await,
        Command::Exec { .. } => unreachable!("it has become the command"),
        Command::Run { depth, only, skip, rounds, seconds, write, criterion } => {
            let span = seconds.map_or_else(|| depth.span(), Duration::from_secs);
            let files = tempfile::tempdir()?;
            let rounds = rounds.unwrap_or_else(|| depth.rounds());
            let mut rounds = Rounds::start(rounds, span, files.path(), None).await?;
            let wanted = |name: &str| {
                only.as_ref().is_none_or(|only| name.contains(only))
                    && skip.as_ref().is_none_or(|skip| !name.contains(skip))
            };
            let failed = measure(&mut rounds, depth, wanted, files.path()).await;
            let mut results = rounds.finish().await;
            if let Some(folder) = criterion {
                results.facts.extend(decisions(&folder)?);
            }
            let text = report::whole(&results);
            if let Some(path) = write {
                let page = format!("{PAGE_HEAD}\n{text}");
                std::fs::write(&path, page)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            finish(&results, &text)?;
            anyhow::ensure!(failed == 0, "{failed} of the measurements failed; see above");
            Ok(())
        }
        Command::Train => {
            let files = tempfile::tempdir()?;
            let mut rounds = Rounds::start(1, Duration::ZERO, files.path(), None).await?;
            training::train(&mut rounds, files.path()).await?;
            rounds.finish().await;
            Ok(())
        }
        Command::Compare { folder, load, rounds, seconds } => {
            let load = pair(&load).with_context(|| format!("no load is called {load:?}"))?;
            let files = tempfile::tempdir()?;
            let span = Duration::from_secs(seconds);
            let mut rounds = Rounds::start(rounds, span, files.path(), Some(folder)).await?;
            rounds.load(&load).await?;
            let results = rounds.finish().await;
            finish(&results, &report::pair(&results, &load))
        }
    }
}

/// Measures all that is wanted, and says how many of that failed: an hour's other figures are not
/// to be lost for one.
async fn measure(
    rounds: &mut Rounds,
    depth: Depth,
    wanted: impl Fn(&str) -> bool,
    folder: &Path,
) -> usize {
    let mut failed = 0;
    let mut note = |rounds: &mut Rounds, what, done: anyhow::Result<()>| {
        if let Err(error) = done {
            rounds.skip(what, &error);
            failed += 1;
        }
    };
    for load in depth.loads() {
        if wanted(load.name) {
            let done = rounds.load(load).await;
            note(rounds, load.name, done);
        }
    }
    if wanted("parked") {
        let done = long::parked(rounds, folder).await;
        note(rounds, "parked", done);
    }
    if wanted("idle") {
        let done = idle::measure(rounds, folder).await;
        note(rounds, "idle", done);
    }
    if depth == Depth::Full && wanted("burst") {
        let done = long::burst(rounds, folder).await;
        note(rounds, "burst", done);
    }
    if depth == Depth::Full && wanted("soak") {
        let done = long::soak(rounds, folder).await;
        note(rounds, "soak", done);
    }
    failed
}

/// What criterion found out about the model.
fn decisions(folder: &Path) -> anyhow::Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for (name, slots) in [(targets::DECISION_10, "10"), (targets::DECISION_100_000, "100000")] {
        let path = folder.join(format!("decision/half_busy/{slots}/new/estimates.json"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; bench/run full makes it", path.display()))?;
        let estimates: serde_json::Value = serde_json::from_str(&text)?;
        let value = estimates["median"]["point_estimate"].as_f64().context("no median")?;
        facts.push(Fact { name, value, unit: "ns" });
    }
    Ok(facts)
}

/// Prints, and keeps all of it for whoever wants to look closer.
fn finish(results: &Results, text: &str) -> anyhow::Result<()> {
    let folder = Path::new("target/bench");
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("{}.json", results.machine.date.replace(':', "")));
    std::fs::write(&file, serde_json::to_vec_pretty(results)?)?;
    writeln!(std::io::stdout(), "{text}\nEvery sample: {}", file.display())?;
    Ok(())
}

/// A line to whoever waits, if anybody does.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

const PAGE_HEAD: &str = "# Results

What `bench/run` last wrote; [NOTES](NOTES.md) say how to read it. Cells are medians of the rounds,
with min–max. CPU is of all that stands between client and app, by the kernel's accounting; ratios
are taken within a round. Latencies are those at saturation as the load generator tells them, but
for the fixed rate, where they count from the moment at which a request was due.
";
