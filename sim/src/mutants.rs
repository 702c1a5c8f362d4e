//! The net catches fish: the code is broken on purpose, once for each entry of `sim/mutants.toml`,
//! in a copy of the workspace, and the seeds that every change's own checks run have to notice.
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
    /// Where the table is written
    #[arg(long, default_value = "sim/MUTANTS.md")]
    out: PathBuf,
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
    Killed {
        by: String,
        after: Duration,
    },
    Survived,
}

/// Breaks the code in every way there is. True if at least 95 in 100 were noticed.
///
/// # Errors
///
/// The workspace cannot be copied or built.
pub fn run(options: &Options) -> Result<bool, String> {
    let mutants = parse(include_str!("../mutants.toml"))?;
    let chosen: Vec<_> = mutants.iter().filter(|it| it.name.contains(&options.only)).collect();
    let copy = Path::new("target/mutants");
    copy_workspace(copy)?;
    let mut table = String::from("| mutant | where | noticed by | after |\n|---|---|---|---|\n");
    let (mut killed, mut valid) = (0, 0);
    for mutant in &chosen {
        let path = copy.join(&mutant.file);
        let original = fs::read_to_string(&mutant.file).map_err(|error| error.to_string())?;
        write_file(&path, &mutant.apply(&original)?)?;
        let fate = fate(copy, options);
        write_file(&path, &original)?;
        let (by, after) = match fate? {
            Fate::Invalid => ("(does not compile)".to_owned(), String::new()),
            Fate::Killed { by, after } => {
                (killed, valid) = (killed + 1, valid + 1);
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
    let sum = format!("{killed} of {valid} mutants were noticed");
    writeln!(io::stdout(), "{sum}").ok();
    if options.only.is_empty() {
        let mut text = format!("# Mutants\n\n`cargo sim mutants`, commit {commit}: {sum}.\n\n");
        write!(text, "{table}").map_err(|error| error.to_string())?;
        write_file(&options.out, &text)?;
    }
    Ok(valid > 0 && killed * 100 >= valid * 95)
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

fn fate(copy: &Path, options: &Options) -> Result<Fate, String> {
    let build = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--profile", "mutants", "-p", "sim"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", "target")
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !build.success() {
        return Ok(Fate::Invalid);
    }
    let start = wall_time();
    for (driver, seeds) in [("fast", options.fast), ("real", options.real)] {
        if let Some(line) = first_failure(copy, driver, seeds)? {
            let after = wall_time().saturating_sub(start);
            return Ok(Fate::Killed { by: line, after });
        }
    }
    Ok(Fate::Survived)
}

/// Runs seeds until one fails, in steps that grow: most mutants need few.
fn first_failure(copy: &Path, driver: &str, seeds: u64) -> Result<Option<String>, String> {
    let (mut from, mut count) = (0, 20);
    while from < seeds {
        count = count.min(seeds - from);
        let output = Command::new("timeout")
            .args(["120", "target/mutants/sim", driver])
            .args(["--seed", &from.to_string(), "--seeds", &count.max(2).to_string()])
            .current_dir(copy)
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run the mutant: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if let Some(line) = text.lines().find(|line| line.starts_with("cargo sim")) {
            let seed = line.split_whitespace().nth(4).unwrap_or("?");
            let why = line.split_once(": at ").map_or(line, |(_, why)| why);
            let why: String = why.split_once(": ").map_or(why, |(_, why)| why).chars().collect();
            let why: String = why.chars().take(60).collect();
            return Ok(Some(format!("{driver} seed {seed}: {}", why.replace('|', "/"))));
        }
        if output.status.code() == Some(124) {
            return Ok(Some(format!("{driver} seeds {from} on: never ends")));
        }
        from += count;
        count *= 4;
    }
    Ok(None)
}
