//! `lambda-dispatch report`: what traffic would cost and how long it would wait, if this system, or
//! somebody else, served it. Everything is computed in `reports`; here it is asked for, watched and
//! written down.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use reports::traffic::Opened;
use reports::{
    Alternative, Plan, Prices, Progress, Report, Scene, Slo, csv, json, page, span, summary,
};
use tokio::signal::unix::{SignalKind, signal};

/// What is asked for.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  lambda-dispatch report reports/plans/shop.toml --out shop     # shop/report.html and a summary
  lambda-dispatch report --from alb logs/*.log.gz --cold-start 3s
  lambda-dispatch report solve --slo 'p99<1s' reports/plans/shop.toml"
)]
pub(crate) struct ReportArgs {
    #[command(subcommand)]
    solve: Option<Task>,
    #[command(flatten)]
    input: Input,
    /// Folder for report.html, and for what else is asked for; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write report.json; without --out, print it instead of the summary
    #[arg(long)]
    json: bool,
    /// Also write alternatives.csv, timeline.csv and tried.csv
    #[arg(long, requires = "out")]
    csv: bool,
    /// Also write per-request.csv, of the alternative of this name
    #[arg(long, requires = "out", value_name = "NAME")]
    per_request: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find the cheapest settings that meet a limit, and say what keeps them from being cheaper
    #[command(after_help = "Examples:
  lambda-dispatch report solve --slo 'p99<1s' reports/plans/shop.toml
  lambda-dispatch report solve --slo 'p99<300ms, cold<0.1%' --from alb logs/*.log.gz")]
    Solve {
        /// What must be met, such as 'p99<300ms, cold<0.1%'
        #[arg(long, value_name = "LIMITS")]
        slo: Slo,
        #[command(flatten)]
        input: Input,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
struct Input {
    /// What is recorded in the files: alb, cloudwatch, azure-2019, csv or flight; without it, the
    /// one file is a plan
    #[arg(long, value_name = "FORMAT")]
    from: Option<String>,
    /// A plan, or with --from the recordings; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// T, with --from: how long a new environment takes to its first request
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = span::parse, requires = "from")]
    cold_start: Duration,
    /// Mean service time, with --from, where the recording has none
    #[arg(long, default_value = "100ms", value_name = "TIME", value_parser = span::parse, requires = "from")]
    service: Duration,
    /// The share of a request's time, from 0 to 1, in which it needs a processor, with --from; the
    /// rest waits for others
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = parse_share, requires = "from")]
    cpu: f64,
    /// Memory of the function in MB, with --from
    #[arg(long, default_value_t = 1_024, value_name = "MB", requires = "from")]
    memory: u32,
    /// The first seed, instead of the plan's
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, instead of the plan's
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(Plan::SEEDS_MAX)))]
    seeds: Option<u32>,
    /// Only the alternatives: nothing is tried with other settings
    #[arg(long)]
    quick: bool,
    /// Prices to use instead of the built-in ones of the plan's region
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
}

/// Makes the report, or finds the settings.
pub(crate) async fn run(args: ReportArgs) -> anyhow::Result<()> {
    let progress = Arc::new(Progress::default());
    let shown = Arc::clone(&progress);
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut work = tokio::task::spawn_blocking(move || make(&args, &progress));
    let bar = bar();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                bar.finish_and_clear();
                return done?;
            }
            _ = interrupted.recv() => {
                shown.stop();
                bar.abandon();
                tokio::select! {
                    biased;
                    // Who asks twice does not want to wait for what notices it only now and then.
                    _ = interrupted.recv() => std::process::exit(1),
                    // Too late, if it is done.
                    done = &mut work => {
                        return done?.map_err(|_| anyhow::anyhow!(INTERRUPTED));
                    }
                }
            }
            _ = tick.tick() => {
                bar.set_length(shown.of());
                bar.set_position(shown.done());
            }
        }
    }
}

const INTERRUPTED: &str = "interrupted: nothing was written";

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:30} {human_pos} of {human_len} requests, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is right");
    ProgressBar::new(0).with_style(style)
}

fn make(args: &ReportArgs, progress: &Progress) -> anyhow::Result<()> {
    if let Some(Task::Solve { slo, input, json }) = &args.solve {
        let (plan, prices, traffic) = input.open(progress)?;
        let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress };
        let solved = reports::solve(&scene, slo)?;
        return crate::print(&if *json { json::solved(&solved) } else { summary::solved(&solved) });
    }
    let (plan, prices, traffic) = args.input.open(progress)?;
    let scene = Scene { plan: &plan, traffic: &traffic, prices: &prices, progress };
    // Before anything is computed: a name may be mistyped.
    let listed = args.per_request.as_ref().map(|name| scene.alternative(name)).transpose()?;
    let report = scene.report(&command(), env!("CARGO_PKG_VERSION"))?;
    let Some(out) = &args.out else {
        let text = if args.json { json::write(&report) } else { summary::write(&report) };
        return crate::print(&text);
    };
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    if let Some(alternative) = &listed {
        per_request(&scene, alternative, out)?;
    }
    write(out, &report, args)?;
    crate::print(&summary::write(&report))
}

fn write(out: &Path, report: &Report, args: &ReportArgs) -> anyhow::Result<()> {
    let mut files = vec![("report.html", page::write(report))];
    if args.json {
        files.push(("report.json", json::write(report)));
    }
    if args.csv {
        files.push(("alternatives.csv", csv::alternatives(report)));
        files.push(("timeline.csv", csv::timeline(report)));
        files.push(("tried.csv", csv::tried(report)));
    }
    for (name, text) in files {
        let path = out.join(name);
        let new = out.join(format!(".{name}.new"));
        // Renamed when it is whole, so that nobody finds half of it.
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        crate::say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn per_request(scene: &Scene<'_>, of: &Alternative, out: &Path) -> anyhow::Result<()> {
    let path = out.join("per-request.csv");
    let new = out.join(".per-request.csv.new");
    let cannot = || format!("cannot write {}", path.display());
    let file = File::create(&new).with_context(cannot)?;
    let done = scene.per_request(of, Box::new(BufWriter::new(file)));
    if done.is_err() {
        fs::remove_file(&new).ok();
    }
    done?;
    fs::rename(&new, &path).with_context(cannot)?;
    crate::say(&format!("wrote {}", path.display()));
    Ok(())
}

impl Input {
    /// The plan, what AWS charges, and the traffic; says which lines of it cannot be used.
    fn open(&self, progress: &Progress) -> anyhow::Result<(Plan, Prices, Opened)> {
        let (mut plan, folder) = self.plan()?;
        let prices = self.prices(&plan)?;
        let traffic = plan.open(&folder, progress)?;
        let bad = traffic.bad();
        for line in &bad.first {
            crate::say(line);
        }
        if bad.lines > bad.first.len() as u64 {
            crate::say(&format!("… {} lines could not be used", bad.lines));
        }
        Ok((plan, prices, traffic))
    }

    /// The plan, and the folder that its files are in.
    fn plan(&self) -> anyhow::Result<(Plan, PathBuf)> {
        let (mut plan, folder) = match (&self.from, &self.files[..]) {
            (None, [file]) => {
                let text = fs::read_to_string(file)
                    .with_context(|| format!("cannot read the plan {}", file.display()))?;
                let plan = Plan::parse(&text)
                    .map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
                (plan, file.parent().map(Path::to_owned).unwrap_or_default())
            }
            (None, _) => bail!("more than one plan; with --from FORMAT the files are recordings"),
            (Some(format), files) => {
                let mut plan =
                    Plan::recorded(format, files, self.service, self.cold_start, self.memory)
                        .map_err(anyhow::Error::msg)?;
                plan.service.cpu = self.cpu;
                (plan, PathBuf::new())
            }
        };
        plan.seed = self.seed.unwrap_or(plan.seed);
        plan.seeds = self.seeds.unwrap_or(plan.seeds);
        plan.sweep &= !self.quick;
        Ok((plan, folder))
    }

    fn prices(&self, plan: &Plan) -> anyhow::Result<Prices> {
        let Some(file) = &self.prices else {
            return Ok(Prices::builtin(&plan.region)?);
        };
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the prices {}", file.display()))?;
        Prices::read(&text).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is no share; write a number from 0 to 1, such as 0.3"))
}

/// The command line, as it can be typed again.
fn command() -> String {
    let quoted = |word: String| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,".contains(c));
        if plain && !word.is_empty() { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<_> = words.map(quoted).collect();
    format!("lambda-dispatch {}", words.join(" "))
}
