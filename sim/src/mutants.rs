//! The net catches fish: the code is broken on purpose, once for each entry of `sim/mutants.toml`,
//! in a copy of the workspace, and the seeds that every change's own checks run have to notice.
//!
//! First the code as it is has to pass, since what fails anyway notices nothing; and how long that
//! takes says when a mutant's run counts as one that never ends.
//!
//! A mutant is a piece of text and what stands in its place. So nothing of it is in the code that
//! ships, and a test demands that each still names exactly one place.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::batch::wall_time;

/// What is asked of `cargo sim mutants`.
#[derive(Args, Debug)]
pub struct Options {
    /// Only those whose name has this in it
    #[arg(long, default_value = "")]
    only: String,
    /// Fast seeds that may be spent on each
    #[arg(long, default_value_t = 20_000)]
    fast: u64,
    /// Real seeds that may be spent on each that the fast ones do not notice
    #[arg(long, default_value_t = 300)]
    real: u64,
    /// Where the table is written; without --only it is sim/MUTANTS.md
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One way to break the code.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What is wrong then, in a few words.
    pub name: String,
    /// Where, from the workspace's root.
    pub file: String,
    /// What stands there, once.
    pub find: String,
    /// What stands there then.
    pub replace: String,
}

#[derive(Deserialize)]
struct Table {
    mutant: Vec<Mutant>,
}

/// Every mutant of `text`.
///
/// # Errors
///
/// Where it cannot be read.
pub fn parse(text: &str) -> Result<Vec<Mutant>, String> {
    toml::from_str::<Table>(text).map(|table| table.mutant).map_err(|error| error.to_string())
}

impl Mutant {
    /// The file's text with the mutant in it.
    ///
    /// # Errors
    ///
    /// The place is not there, or more than once.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(format!("{}: its place is in {} {count} times", self.name, self.file)),
        }
    }
}

/// What became of a mutant.
enum Fate {
    /// It does not compile.
    Invalid,
    Noticed(Failure, Duration),
    Survived,
}

/// How a run of the program went wrong.
struct Failure {
    /// What failed, and how.
    by: String,
    /// It said nothing, and had to be stopped.
    is_endless: bool,
}

/// Breaks the code in every way there is, after it has passed unbroken. True if at least 95 in 100
/// were noticed.
///
/// # Errors
///
/// The workspace cannot be copied or built, or fails as it is.
pub fn run(options: &Options) -> Result<bool, String> {
    let mutants = parse(include_str!("../mutants.toml"))?;
    let chosen: Vec<_> = mutants.iter().filter(|it| it.name.contains(&options.only)).collect();
    if chosen.is_empty() {
        return Err(format!("no mutant of sim/mutants.toml has `{}` in its name", options.only));
    }
    let copy = Path::new("target/mutants");
    copy_workspace(copy)?;
    let mut bench = Bench { copy, options, limit: BASELINE_LIMIT, longest: Duration::ZERO };
    bench.baseline()?;
    let mut table = String::from("| mutant | where | noticed by | after |\n|---|---|---|---|\n");
    let (mut noticed, mut endless, mut valid) = (0, 0, 0);
    for mutant in &chosen {
        let path = copy.join(&mutant.file);
        let original = fs::read_to_string(&mutant.file).map_err(|error| error.to_string())?;
        write_file(&path, &mutant.apply(&original)?)?;
        let fate = bench.fate();
        write_file(&path, &original)?;
        let (by, after) = match fate? {
            Fate::Invalid => ("(does not compile)".to_owned(), String::new()),
            Fate::Noticed(Failure { by, is_endless }, after) => {
                (noticed, valid) = (noticed + 1, valid + 1);
                endless += u32::from(is_endless);
                (by, format!("{:.1} s", after.as_secs_f64()))
            }
            Fate::Survived => {
                valid += 1;
                ("**nobody**".to_owned(), String::new())
            }
        };
        let row = format!("| {} | {} | {by} | {after} |\n", mutant.name, mutant.file);
        io::stdout().write_all(row.as_bytes()).ok();
        table += &row;
    }
    let commit = crate::driver::commit();
    let sum = format!(
        "{noticed} of {valid} mutants were noticed, {endless} of them only by a run that never ends"
    );
    writeln!(io::stdout(), "{sum}").ok();
    let whole = options.only.is_empty().then(|| Path::new("sim/MUTANTS.md"));
    if let Some(out) = options.out.as_deref().or(whole) {
        let mut text = format!("# Mutants\n\n`cargo sim mutants`, commit {commit}: {sum}.\n\n");
        write!(text, "{table}").map_err(|error| error.to_string())?;
        write_file(out, &text)?;
    }
    Ok(valid > 0 && noticed * 100 >= valid * 95)
}

/// Copies what git knows of, and what is new, so that a build there knows nothing of this one.
fn copy_workspace(to: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    let files = String::from_utf8(listed.stdout).map_err(|_| "a file's name is not text")?;
    for file in files.lines().filter(|file| Path::new(file).is_file()) {
        let text = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        let target = to.join(file);
        // An untouched file keeps its time, so that what depends on it is not built again.
        if fs::read(&target).ok().as_ref() != Some(&text) {
            let folder = target.parent().expect("a file is in a folder");
            fs::create_dir_all(folder).map_err(|error| error.to_string())?;
            fs::write(&target, text).map_err(|error| format!("{}: {error}", target.display()))?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Where mutants are run.
struct Bench<'a> {
    copy: &'a Path,
    options: &'a Options,
    /// How long one process may take.
    limit: Duration,
    /// How long one took at most.
    longest: Duration,
}

impl Bench<'_> {
    /// Runs the code as it is, which has to pass, and takes its time for a measure.
    fn baseline(&mut self) -> Result<(), String> {
        match self.fate()? {
            Fate::Survived => {}
            Fate::Invalid => {
                return Err(
                    "the code as it is does not compile in target/mutants; run this at the \
                            workspace's root"
                        .to_owned(),
                );
            }
            Fate::Noticed(Failure { by, .. }, _) => {
                return Err(format!(
                    "the code as it is fails, so that no mutant would be told from it: {by}"
                ));
            }
        }
        self.limit = (self.longest * SLOWER).max(SHORTEST_LIMIT);
        let (longest, limit) = (self.longest.as_secs_f64(), self.limit.as_secs());
        let line = format!("as it is, all passes; a process took {longest:.1} s and has {limit} s");
        writeln!(io::stdout(), "{line}").ok();
        Ok(())
    }

    fn fate(&mut self) -> Result<Fate, String> {
        let build = Command::new("cargo")
            .args(["build", "--quiet", "--locked", "--profile", "mutants", "-p", "sim"])
            .current_dir(self.copy)
            .env("CARGO_TARGET_DIR", "target")
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !build.success() {
            return Ok(Fate::Invalid);
        }
        let start = wall_time();
        let noticed = |failure| Fate::Noticed(failure, wall_time().saturating_sub(start));
        for (driver, seeds) in [("fast", self.options.fast), ("real", self.options.real)] {
            if let Some(failure) = self.first_failing_seed(driver, seeds)? {
                return Ok(noticed(failure));
            }
            if driver == "fast"
                && let Some(failure) = self.first_failing_scenario()?
            {
                return Ok(noticed(failure));
            }
        }
        Ok(Fate::Survived)
    }

    /// Runs seeds until one fails, in steps that grow: most mutants need few.
    fn first_failing_seed(&mut self, driver: &str, seeds: u64) -> Result<Option<Failure>, String> {
        let (mut from, mut count) = (0, 20);
        while from < seeds {
            count = count.min(seeds - from).min(MOST_AT_ONCE);
            let (first, count_text) = (from.to_string(), count.max(2).to_string());
            let run = [driver, "--seed", &first, "--seeds", &count_text];
            if let Some(Failure { by: line, is_endless }) = self.failure(&run, |_| true)? {
                let seed = line.split_whitespace().nth(4).unwrap_or(&first);
                let why = line.split_once(": at ").map_or(&*line, |(_, why)| why);
                let why = why.split_once(": ").map_or(why, |(_, why)| why);
                let by = cell(&format!("{driver} seed {seed}"), why);
                return Ok(Some(Failure { by, is_endless }));
            }
            from += count;
            count *= 4;
        }
        Ok(None)
    }

    fn first_failing_scenario(&mut self) -> Result<Option<Failure>, String> {
        let failure = self.failure(&["scenarios"], |line| !line.ends_with("# holds"))?;
        Ok(failure.map(|Failure { by: line, is_endless }| {
            let words = line.trim_start_matches("cargo sim ");
            let (name, why) = words.split_once("  # ").unwrap_or(("scenarios", words));
            Failure { by: cell(&name.replace("--", ""), why), is_endless }
        }))
    }

    /// How a run of the program goes wrong, if it does: the first line that has `is_failure`, or
    /// what became of the process.
    fn failure(
        &mut self,
        run: &[&str],
        is_failure: impl Fn(&str) -> bool,
    ) -> Result<Option<Failure>, String> {
        let start = wall_time();
        let output = Command::new("timeout")
            .args([&self.limit.as_secs().to_string(), "target/mutants/sim"])
            .args(run)
            .current_dir(self.copy)
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run the mutant: {error}"))?;
        self.longest = self.longest.max(wall_time().saturating_sub(start));
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        // A batch fails for a seed, or for a kind of fault that has become impossible.
        let mut lines = text.lines();
        let line = lines.find(|line| {
            line.starts_with("planned") || line.starts_with("cargo sim") && is_failure(line)
        });
        let is_endless = line.is_none() && output.status.code() == Some(TIMED_OUT);
        let fate = if is_endless { "**never ends**" } else { "dies" };
        Ok(Some(Failure { by: line.unwrap_or(fate).to_owned(), is_endless }))
    }
}

/// One cell of the table: whose failure, and the beginning of how.
fn cell(whose: &str, how: &str) -> String {
    let how: String = how.replace('|', "/").chars().take(60).collect();
    format!("{whose}: {how}")
}

/// Seeds of one process, so that none of them is stopped while it gets on.
const MOST_AT_ONCE: u64 = 4_000;
/// How long a process of the code as it is may take.
const BASELINE_LIMIT: Duration = Duration::from_secs(3_600);
/// How many times as long as that one of a mutant may.
const SLOWER: u32 = 5;
/// The least that it may.
const SHORTEST_LIMIT: Duration = Duration::from_secs(120);
/// What `timeout` ends with when it had to.
const TIMED_OUT: i32 = 124;
